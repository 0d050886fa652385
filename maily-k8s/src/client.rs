//! The client, made anew where the server stops taking its credentials.
//!
//! kube runs a credential plugin again shortly before the time that the plugin told, and never where it told none or
//! answered with a certificate. Such credentials end with a 401, which had no effect: they are asked for once more.
//! People may have to log in for it, so that it has a time of its own, and is done once for all requests that wait.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use kube::{Config, client::Body};
use maily_core::runtime::{Moment, Runtime, within};

use crate::{
    connect,
    plugin::Asked,
    transport::{self, Connected},
};

/// So long after a failed connection a server may not know yet who may what.
const STARTS: Duration = Duration::from_secs(15);

/// The renewal of the client of this number.
type Renewal = (u64, Asked<Connected>);

/// A client that renews its credentials.
#[derive(Clone)]
pub(crate) struct Client {
    current: Arc<RwLock<(u64, Connected)>>,
    /// What to make it from; none where nothing new can come of it. The file is not read again: it may speak of
    /// another cluster by now.
    config: Option<Arc<Config>>,
    renewing: Arc<Mutex<Option<Renewal>>>,
    server: Arc<str>,
    /// When a connection failed last.
    away: Arc<Mutex<Option<Moment>>>,
}

/// What a 401 is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// The server's word that the credentials are used up: they are renewed.
    Renewed,
    /// An answer like others: it may be that of a service behind the server.
    Kept,
}

/// Why there is no answer.
pub(crate) enum Unanswered {
    /// The server's time is up.
    Late,
    /// The request could not be sent, or got no answer.
    Failed(Arc<kube::Error>),
}

impl From<Arc<kube::Error>> for Unanswered {
    fn from(error: Arc<kube::Error>) -> Self {
        Self::Failed(error)
    }
}

impl Client {
    pub(crate) fn new(client: Connected, config: Option<Config>) -> Self {
        let server = config.as_ref().map(|config| connect::address(&config.cluster_url)).unwrap_or_default();
        let renews = |config: &Config| {
            let user = &config.auth_info;
            user.exec.is_some() || user.auth_provider.is_some() || user.token_file.is_some()
        };
        Self {
            current: Arc::new(RwLock::new((0, client))),
            config: config.filter(renews).map(Arc::new),
            renewing: Arc::default(),
            server: server.into(),
            away: Arc::default(),
        }
    }

    /// Whether new credentials may be had.
    pub(crate) fn renews(&self) -> bool {
        self.config.is_some()
    }

    /// A connection could not be made, or broke off.
    pub(crate) fn was_away(&self, now: Moment) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether a server may just have started: it listens before it knows who may what. RBAC is judged by lists that it
    /// still reads, and a login that comes from an OIDC issuer before that issuer was asked, so that for some seconds it
    /// answers 403 and 401 to people who may all that they ask for.
    pub(crate) fn may_have_started(&self, now: Moment) -> bool {
        let away = *self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|away| now.since(away) < STARTS)
    }

    /// Host and port of the server; empty where somebody else made the client.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Sends a request, and a second time where new credentials help. The limit is the server's: credentials are waited
    /// for besides. Answers how much of it is left.
    pub(crate) async fn send(
        &self,
        runtime: &dyn Runtime,
        limit: Duration,
        login: Login,
        request: impl Fn() -> Result<Request<Body>, http::Error>,
    ) -> Result<(Response<Body>, Duration), Unanswered> {
        let (number, connected) = self.current();
        let (answer, left) = once(&connected, runtime, limit, &request).await?;
        let used_up = login == Login::Renewed && answer.status() == StatusCode::UNAUTHORIZED;
        let Some(config) = self.config.as_ref().filter(|_| used_up) else {
            return Ok((answer, left));
        };
        let connected = self.renewed(number, config).await?;
        once(&connected, runtime, left, &request).await
    }

    fn current(&self) -> (u64, Connected) {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One renewal for all requests that were refused with the same credentials.
    async fn renewed(&self, refused: u64, config: &Arc<Config>) -> Result<Connected, Arc<kube::Error>> {
        let renewal = {
            let mut renewing = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
            let (number, connected) = self.current();
            if number != refused {
                return Ok(connected);
            }
            match &*renewing {
                Some((of, asked)) if *of == refused && !matches!(asked.peek(), Some(Err(_))) => asked.clone(),
                _ => {
                    tracing::debug!("the server takes the credentials no longer: they are asked for again");
                    let asked = transport::make(Config::clone(config));
                    *renewing = Some((refused, asked.clone()));
                    asked
                }
            }
        };
        let connected = renewal.await?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.0 == refused {
            *current = (refused + 1, connected);
        }
        Ok(current.1.clone())
    }
}

/// Sends a request within the limit; answers how much of it is left.
async fn once(
    connected: &Connected,
    runtime: &dyn Runtime,
    limit: Duration,
    request: impl Fn() -> Result<Request<Body>, http::Error>,
) -> Result<(Response<Body>, Duration), Unanswered> {
    let mut request = request().map_err(|error| Arc::new(kube::Error::HttpError(error)))?;
    if let Some(token) = &connected.token
        && let Some(header) = token.header().await?
    {
        request.headers_mut().insert(AUTHORIZATION, header);
    }
    let began = runtime.now();
    let answer = within(runtime, limit, connected.client.send(request)).await.ok_or(Unanswered::Late)?;
    let answer = answer.map_err(Arc::new)?;
    Ok((answer, limit.saturating_sub(runtime.now().since(began))))
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use http::Method;
    use kube::config::{ExecConfig, ExecInteractiveMode};
    use maily_core::{
        provider::{ErrorKind, ProviderError},
        runtime::TokioRuntime,
    };
    use maily_testkit::harness::{Loopback, Reply};
    use tempfile::TempDir;

    use super::*;
    use crate::{
        error::About,
        request::{Answer, Wire},
    };

    /// What a call may take: less than the plugin does.
    const LIMIT: Duration = Duration::from_millis(400);

    /// A server that takes `Bearer new` alone.
    async fn server() -> Loopback {
        let server = Loopback::serve(|request| match request.header("authorization") {
            Some("Bearer new") => Reply::new(200, "{}"),
            _ => Reply::new(401, r#"{"kind": "Status", "code": 401, "message": "Unauthorized"}"#),
        });
        server.await.expect("has a port")
    }

    /// A wire whose plugin says `old` at first, and then does what the shell is told to.
    async fn wire(folder: &TempDir, server: &Loopback, [expiry, later]: &[String; 2], then: &str) -> Wire {
        let runs = runs_file(folder.path());
        let script = format!(
            r#"echo run >> {runs}
token=old; end='{expiry}'
if test $(wc -l < {runs}) -gt 1; then token=new; end='{later}'; {then}; fi
echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{'$end'"token":"'$token'"}}}}'"#
        );
        let mut config = Config::new(server.url().parse().expect("an address"));
        config.auth_info.exec = Some(ExecConfig {
            api_version: Some("client.authentication.k8s.io/v1".to_owned()),
            command: Some("sh".to_owned()),
            args: Some(vec!["-c".to_owned(), script]),
            interactive_mode: Some(ExecInteractiveMode::Never),
            ..serde_json::from_str("{}").expect("all is optional")
        });
        let client = transport::make(config.clone()).await.expect("the plugin answers");
        Wire { client: Client::new(client, Some(config)), runtime: Arc::new(TokioRuntime) }
    }

    fn runs_file(folder: &Path) -> String {
        folder.join("runs").display().to_string()
    }

    fn runs(folder: &TempDir) -> usize {
        std::fs::read_to_string(runs_file(folder.path())).expect("it was run").lines().count()
    }

    async fn call(wire: &Wire) -> Result<Answer, ProviderError> {
        let about = About { operation: "get", resource: "x" };
        wire.call(about, Method::GET, "/x", None, LIMIT).await
    }

    /// The ends of the tokens: none, so that the server refuses the first, and soon, so that it is renewed before.
    fn expiries() -> [[String; 2]; 2] {
        let end = |seconds| {
            let end = TokioRuntime.wall() + jiff::SignedDuration::from_secs(seconds);
            format!(r#""expirationTimestamp":"{end}","#)
        };
        [[String::new(), String::new()], [end(30), end(3_600)]]
    }

    #[tokio::test]
    async fn a_plugin_may_take_longer_than_a_call_and_runs_once_for_all() {
        for expiry in expiries() {
            let (folder, server) = (TempDir::new().expect("can be made"), server().await);
            let wire = wire(&folder, &server, &expiry, "sleep 1").await;
            let answers = futures::future::join_all((0..4).map(|_| call(&wire))).await;
            for answer in answers {
                answer.expect("is sent with the new token");
            }
            call(&wire).await.expect("the new token is kept");
            assert_eq!(runs(&folder), 2, "{expiry:?}");
        }
    }

    #[tokio::test]
    async fn what_a_plugin_answers_is_kept_though_nobody_waits_any_more() {
        for expiry in expiries() {
            let (folder, server) = (TempDir::new().expect("can be made"), server().await);
            let wire = wire(&folder, &server, &expiry, "sleep 1").await;
            let gone = maily_core::runtime::within(&TokioRuntime, LIMIT, call(&wire)).await;
            assert!(gone.is_none(), "it waits for the plugin");
            call(&wire).await.expect("is sent with the new token");
            assert_eq!(runs(&folder), 2, "{expiry:?}");
        }
    }

    #[tokio::test]
    async fn a_plugin_that_fails_at_a_renewal_is_the_error() {
        for expiry in expiries() {
            let (folder, server) = (TempDir::new().expect("can be made"), server().await);
            let then = "sleep 1; echo 'the session has ended' >&2; exit 7";
            let wire = wire(&folder, &server, &expiry, then).await;
            for answer in futures::future::join_all((0..3).map(|_| call(&wire))).await {
                let error = answer.expect_err("there is no new token");
                assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
                assert!(error.message().contains("the session has ended"), "{error}");
            }
            assert_eq!(runs(&folder), 2, "once for all: {expiry:?}");
            call(&wire).await.expect_err("there is no new token");
            assert_eq!(runs(&folder), 3, "who comes later has it asked again: {expiry:?}");
        }
    }

    /// A service that wants a login of its own says nothing of ours.
    #[tokio::test]
    async fn a_401_of_a_service_that_is_checked_is_not_the_servers() {
        let server = Loopback::serve(|request| match request.header("authorization") {
            Some("Bearer old") if request.path.contains("/mine:80/") => Reply::new(401, "log in first"),
            Some("Bearer new") => Reply::new(200, "{}"),
            _ => Reply::new(
                401,
                r#"{"kind": "Status", "apiVersion": "v1", "code": 401, "message": "Unauthorized"}"#,
            ),
        });
        let server = server.await.expect("has a port");
        let folder = TempDir::new().expect("can be made");
        let wire = wire(&folder, &server, &expiries()[0], "true").await;
        let look =
            async |name| crate::probe::service(&wire, "n", name, 80, "/", Duration::from_secs(5)).await;
        for _ in 0..3 {
            assert_eq!(look("mine").await.expect("answers"), 401);
        }
        assert_eq!(runs(&folder), 1, "nobody has to log in for it");
        assert_eq!(look("other").await.expect("is sent with the new token"), 200);
        assert_eq!(runs(&folder), 2);
    }
}
