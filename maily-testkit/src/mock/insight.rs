//! Monitoring.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use maily_core::provider::{
    Answer, Marker, MarkerQuery, Monitor, Monitoring, ProviderError, RangeQuery, Silence,
};

mockall::mock! {
    #[derive(Debug)]
    pub Monitoring {}

    #[async_trait]
    impl Monitoring for Monitoring {
        async fn query(&self, query: &str, at: Option<Timestamp>) -> Result<Answer, ProviderError>;
        async fn range(&self, query: &RangeQuery) -> Result<Answer, ProviderError>;
        async fn mark(&self, marker: &Marker) -> Result<String, ProviderError>;
        async fn markers(&self, query: &MarkerQuery) -> Result<Vec<Marker>, ProviderError>;
        async fn monitors(&self, tags: &BTreeMap<String, String>) -> Result<Vec<Monitor>, ProviderError>;
        async fn silence(&self, silence: &Silence) -> Result<String, ProviderError>;
        async fn unsilence(&self, id: &str) -> Result<(), ProviderError>;
    }
}
