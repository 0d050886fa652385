//! The provider itself.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::FutureExt as _;
use http::header;
use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    planted::{Defect, is_planted},
    provider::{
        Access, ApiResource, Cluster, ClusterIdentity, ClusterInfo, Deleted, Dependents, ErrorKind,
        ListQuery, LogOptions, LogStream, Permission, Precondition, ProviderError, WatchStream, WriteOptions,
    },
    runtime::{Runtime, TokioRuntime},
};
use serde_json::Value;

use crate::{
    access,
    client::Client,
    connect,
    connect::ConnectOptions,
    discovery::Discovery,
    error::{About, PROVIDER, failed, garbled, is_no_path},
    logs, probe,
    request::{CALL, JSON, METADATA, Wire, collection, is_absent, item, query_value},
    transport, watch, write,
};

/// Objects of one page of a list.
const PAGE_SIZE: usize = 500;
/// How often a list begins anew when its snapshot was lost on the way.
const RESTARTS: u32 = 3;
/// An answer that took longer says nothing of the server's clock: somebody may have had to log in for it.
const AT_ONCE: Duration = Duration::from_secs(2);
/// The oldest server that has all that is used, by its minor version: parameters of admission policies.
const OLDEST: u32 = 30;

/// A Kubernetes cluster by its API server.
#[derive(Clone)]
pub struct KubeCluster {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) wire: Wire,
    pub(crate) discovery: Discovery,
    server: String,
    context: String,
    ca: String,
}

impl fmt::Debug for KubeCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeCluster").field("server", &self.inner.server).finish_non_exhaustive()
    }
}

impl KubeCluster {
    /// Reads the kubeconfig and prepares a client; nothing is sent yet.
    ///
    /// # Errors
    /// `NotFound` for a missing file or context, `Invalid` for one that cannot be used.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ProviderError> {
        let connection = connect::configure(options).await?;
        let url = &connection.config.cluster_url;
        let (server, address) = (connect::without_credentials(url), connect::address(url));
        let about = About { operation: "connect", resource: &server };
        let client = transport::make(connection.config.clone())
            .await
            .map_err(|error| failed(about, &address, error))?;
        let client = Client::new(client, Some(connection.config));
        Ok(Self::build(client, Arc::new(TokioRuntime), server, connection.context, connection.ca))
    }

    /// A provider over a client of the caller's own making. Its retries must be off.
    pub fn with_client(client: kube::Client, runtime: Arc<dyn Runtime>) -> Self {
        let connected = transport::Connected { client, token: None };
        Self::build(Client::new(connected, None), runtime, String::new(), String::new(), String::new())
    }

    fn build(client: Client, runtime: Arc<dyn Runtime>, server: String, context: String, ca: String) -> Self {
        let wire = Wire { client, runtime };
        Self { inner: Arc::new(Inner { wire, discovery: Discovery::default(), server, context, ca }) }
    }

    /// The context of the kubeconfig that was chosen.
    pub fn context(&self) -> &str {
        &self.inner.context
    }

    /// Asks a Service for a path through the API server and answers the status.
    ///
    /// # Errors
    /// When the Service has nobody who answers, or not within the limit.
    pub async fn probe_service(
        &self,
        namespace: &str,
        name: &str,
        port: u16,
        path: &str,
        limit: Duration,
    ) -> Result<u16, ProviderError> {
        probe::service(&self.inner.wire, namespace, name, port, path, limit).await
    }

    pub(crate) async fn path_of(&self, key: &ObjectKey, about: About<'_>) -> Result<String, ProviderError> {
        let resource = self.inner.discovery.resource(&self.inner.wire, &key.kind).await?;
        item(&resource, key, about)
    }
}

#[async_trait]
impl Cluster for KubeCluster {
    async fn describe(&self) -> Result<ClusterInfo, ProviderError> {
        let wire = &self.inner.wire;
        let about = About { operation: "describe", resource: "cluster" };
        let ask = async || {
            let (began, sent) = (wire.runtime.now(), wire.runtime.wall());
            let version = wire.get(about, "/version", CALL).await?;
            let at_once = wire.runtime.now().since(began) <= AT_ONCE;
            Ok::<_, ProviderError>((version, Some(sent).filter(|_| at_once)))
        };
        let (mut version, mut sent) = ask().await?;
        if sent.is_none() {
            (version, sent) = ask().await?;
        }
        let skew = version.headers.get(header::DATE).zip(sent).and_then(|(date, sent)| {
            let date = jiff::fmt::rfc2822::parse(date.to_str().ok()?).ok()?.timestamp();
            // The header has whole seconds: half of one is the best guess.
            Some(date.as_millisecond() + 500 - sent.as_millisecond())
        });
        let version = version.json(about)?;
        let version = version.get("gitVersion").and_then(Value::as_str).unwrap_or_default();
        if let Some(minor) = minor(version)
            && minor < OLDEST
        {
            let message = format!("the API server is Kubernetes {version}, which is too old");
            return Err(ProviderError::new(
                ErrorKind::Unsupported,
                PROVIDER,
                about.operation,
                about.resource,
                message,
            )
            .with_hint(format!("upgrade the cluster to Kubernetes 1.{OLDEST} or newer")));
        }
        let namespace = wire.get(about, "/api/v1/namespaces/kube-system", CALL).await?.json(about)?;
        let uid = namespace.pointer("/metadata/uid").and_then(Value::as_str);
        let uid = uid.ok_or_else(|| garbled(about, "the namespace kube-system has no uid"))?.to_owned();
        Ok(ClusterInfo {
            identity: ClusterIdentity { uid, ca: self.inner.ca.clone() },
            server: self.inner.server.clone(),
            version: version.trim_start_matches('v').to_owned(),
            clock_skew_ms: skew,
        })
    }

    async fn resources(&self, kinds: &[ObjectKind]) -> Result<Vec<ApiResource>, ProviderError> {
        // Boxed one by one: a join over borrowing closures could not be sent to another thread.
        let finds = kinds.iter().map(|kind| self.inner.discovery.find(&self.inner.wire, kind).boxed());
        Ok(futures::future::try_join_all(finds).await?.into_iter().flatten().collect())
    }

    async fn allowed(&self, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError> {
        access::allowed(&self.inner.wire, permissions).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError> {
        let name = key.to_string();
        let about = About { operation: "get", resource: &name };
        let mut path = self.path_of(key, about).await?;
        // Without a resourceVersion the read is from a quorum (T12).
        if is_planted(Defect::OldReadsTaken) {
            path.push_str("?resourceVersion=0");
        }
        match self.inner.wire.get(about, &path, CALL).await {
            Ok(answer) => object(answer.json(about)?, &key.kind, about).map(Some),
            Err(error) if is_no_path(&error) => {
                self.inner.discovery.is_served_still(&self.inner.wire, &key.kind).await?;
                Ok(None)
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        let name = query.kind.to_string();
        let about = About { operation: "list", resource: &name };
        let resource = self.inner.discovery.resource(&self.inner.wire, &query.kind).await?;
        Ok(list_all(&self.inner.wire, &resource, query, JSON, about).await?.0)
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        let name = query.kind.to_string();
        let about = About { operation: "list", resource: &name };
        let resource = self.inner.discovery.resource(&self.inner.wire, &query.kind).await?;
        Ok(list_all(&self.inner.wire, &resource, query, METADATA, about).await?.0)
    }

    async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError> {
        write::write(self, object, options).await
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        precondition: &Precondition,
        dependents: Dependents,
    ) -> Result<Deleted, ProviderError> {
        write::delete(self, key, precondition, dependents).await
    }

    async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError> {
        let resource = self.inner.discovery.resource(&self.inner.wire, &query.kind).await?;
        watch::watch(Arc::clone(&self.inner), resource, query.clone()).await
    }

    async fn logs(&self, pod: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError> {
        logs::logs(self, pod, options).await
    }
}

/// The minor version of `v1.36.3` or `v1.30.1-eks-1`; none where the server calls itself something else.
fn minor(version: &str) -> Option<u32> {
    let mut parts = version.trim_start_matches('v').split('.');
    let major: u32 = parts.next()?.parse().ok()?;
    let minor: u32 = parts.next()?.trim_end_matches('+').parse().ok()?;
    (major == 1).then_some(minor)
}

/// All pages of a list, and the resource version to watch from.
pub(crate) async fn list_all(
    wire: &Wire,
    resource: &ApiResource,
    query: &ListQuery,
    form: &'static str,
    about: About<'_>,
) -> Result<(Vec<Object>, String), ProviderError> {
    let path = collection(resource, query.namespace.as_deref());
    let labels = selector(query);
    let mut found = Vec::new();
    let mut token = String::new();
    let mut restarts = 0;
    loop {
        let mut uri = format!("{path}?limit={PAGE_SIZE}{labels}");
        if is_planted(Defect::OldReadsTaken) {
            uri.push_str("&resourceVersion=0");
        }
        if !token.is_empty() {
            uri.push_str("&continue=");
            uri.push_str(&query_value(&token));
        }
        let mut page = match wire.page(about, &uri, form).await {
            Ok(page) => page.json(about)?,
            // 410: the snapshot that the pages are cut from was compacted away; they do not fit a newer one.
            Err(error) if !token.is_empty() && is_absent(&error) && restarts < RESTARTS => {
                restarts += 1;
                found.clear();
                token.clear();
                continue;
            }
            Err(error) => return Err(error),
        };
        let metadata = page.get("metadata").cloned().unwrap_or_default();
        let text = |field: &str| metadata.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
            for mut item in items {
                if form == METADATA
                    && let Value::Object(map) = &mut item
                {
                    // What they are called there is no kind of their own.
                    map.retain(|field, _| !matches!(field.as_str(), "apiVersion" | "kind"));
                }
                found.push(of_interest(object(item, &resource.kind, about)?, query));
            }
        }
        token = text("continue");
        if token.is_empty() {
            return Ok((found, text("resourceVersion")));
        }
    }
}

/// The labels of a query as a part of a URI.
pub(crate) fn selector(query: &ListQuery) -> String {
    if query.labels.is_empty() {
        return String::new();
    }
    let labels: Vec<String> = query.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("&labelSelector={}", query_value(&labels.join(",")))
}

/// What a query is interested in.
pub(crate) fn of_interest(object: Object, query: &ListQuery) -> Object {
    if query.state_only { object.state_only() } else { object }
}

/// An object of an answer; items of a list lack their kind.
pub(crate) fn object(mut value: Value, kind: &ObjectKind, about: About<'_>) -> Result<Object, ProviderError> {
    if let Value::Object(map) = &mut value {
        map.entry("apiVersion").or_insert_with(|| kind.api_version.clone().into());
        map.entry("kind").or_insert_with(|| kind.kind.clone().into());
    }
    Object::from_value(value).map_err(|error| garbled(about, format!("an object of the answer: {error}")))
}
