//! Where services run and what looks at them.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{
        Access, ApiResource, Cluster, ClusterInfo, Created, Deleted, Dependents, FrontendDeployment,
        FrontendHost, ListQuery, LogOptions, LogStream, Permission, Precondition, ProbeRequest, Prober,
        Production, ProviderError, RecordStore, Verdict, WatchStream, WriteOptions,
    },
};

mockall::mock! {
    #[derive(Debug)]
    pub Cluster {}

    #[async_trait]
    impl Cluster for Cluster {
        async fn describe(&self) -> Result<ClusterInfo, ProviderError>;
        async fn resources(&self, kinds: &[ObjectKind]) -> Result<Vec<ApiResource>, ProviderError>;
        async fn allowed(&self, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError>;
        async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError>;
        async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError>;
        async fn list_metadata(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError>;
        async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError>;
        async fn delete(&self, key: &ObjectKey, precondition: &Precondition, dependents: Dependents) -> Result<Deleted, ProviderError>;
        async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError>;
        async fn logs(&self, pod: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError>;
    }
}

// mockall cannot mock an asynchronous method with an optional reference: the trait is implemented by hand.
mockall::mock! {
    #[derive(Debug)]
    pub FrontendHost {
        pub fn create(
            &self,
            project: &str,
            version: &str,
            tags: &BTreeMap<String, String>,
        ) -> Result<FrontendDeployment, ProviderError>;
        pub fn get(&self, project: &str, id: &str) -> Result<Option<FrontendDeployment>, ProviderError>;
        pub fn find(
            &self,
            project: &str,
            tags: &BTreeMap<String, String>,
        ) -> Result<Vec<FrontendDeployment>, ProviderError>;
        pub fn production(&self, project: &str, domain: Option<String>) -> Result<Production, ProviderError>;
        pub fn promote(&self, project: &str, id: &str, domain: Option<String>) -> Result<(), ProviderError>;
        pub fn remove(&self, project: &str, id: &str) -> Result<(), ProviderError>;
    }
}

#[async_trait]
impl FrontendHost for MockFrontendHost {
    async fn create(
        &self,
        project: &str,
        version: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<FrontendDeployment, ProviderError> {
        self.create(project, version, tags)
    }

    async fn get(&self, project: &str, id: &str) -> Result<Option<FrontendDeployment>, ProviderError> {
        self.get(project, id)
    }

    async fn find(
        &self,
        project: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Vec<FrontendDeployment>, ProviderError> {
        self.find(project, tags)
    }

    async fn production(&self, project: &str, domain: Option<&str>) -> Result<Production, ProviderError> {
        self.production(project, domain.map(str::to_owned))
    }

    async fn promote(&self, project: &str, id: &str, domain: Option<&str>) -> Result<(), ProviderError> {
        self.promote(project, id, domain.map(str::to_owned))
    }

    async fn remove(&self, project: &str, id: &str) -> Result<(), ProviderError> {
        self.remove(project, id)
    }
}

mockall::mock! {
    #[derive(Debug)]
    pub Prober {}

    #[async_trait]
    impl Prober for Prober {
        async fn probe(&self, request: &ProbeRequest, limit: Duration) -> Result<Verdict, ProviderError>;
    }
}

mockall::mock! {
    #[derive(Debug)]
    pub RecordStore {}

    #[async_trait]
    impl RecordStore for RecordStore {
        async fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, ProviderError>;
        async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, ProviderError>;
        async fn list(&self, prefix: &str) -> Result<Vec<String>, ProviderError>;
        async fn delete(&self, key: &str) -> Result<(), ProviderError>;
    }
}
