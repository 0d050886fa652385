//! A look at a Service through the API server.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use kube::client::Body;
use maily_core::{
    provider::{ErrorKind, ProviderError},
    runtime::within,
};

use crate::{
    error::{About, PROVIDER, failed},
    request::{Wire, is_gateway},
};

pub(crate) async fn service(
    wire: &Wire,
    namespace: &str,
    name: &str,
    port: u16,
    path: &str,
    limit: Duration,
) -> Result<u16, ProviderError> {
    let resource = format!("Service {namespace}/{name}:{port}");
    let about = About { operation: "probe", resource: &resource };
    let path = path.trim_start_matches('/');
    let uri = format!("/api/v1/namespaces/{namespace}/services/{name}:{port}/proxy/{path}");
    let refuse =
        |kind, message: String| ProviderError::new(kind, PROVIDER, "probe", resource.clone(), message);
    let request = || Request::builder().method(Method::GET).uri(uri.as_str()).body(Body::empty());
    let answer = within(&*wire.runtime, limit, wire.client.send(request)).await;
    let Some(answer) = answer else {
        return Err(refuse(ErrorKind::DeadlineExceeded, format!("no answer within {} s", limit.as_secs())));
    };
    let status = answer.map_err(|error| failed(about, wire.client.server(), error))?.status();
    // The proxy's own answers look like the service's: these two cannot be told from "nobody was reached".
    if is_gateway(status) || status == StatusCode::FORBIDDEN {
        return Err(refuse(ErrorKind::Unavailable, format!("the API server answered {status} for it")));
    }
    Ok(status.as_u16())
}
