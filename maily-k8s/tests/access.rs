//! Ways to a real API server: credentials that are renewed, and proxies.

#![allow(clippy::disallowed_methods, reason = "tests of processes live by the machine's clock")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use maily_core::{
    object::{ObjectKey, ObjectKind},
    provider::{Cluster as _, Dependents, ErrorKind, Precondition},
};
use maily_k8s::{ConnectOptions, KubeCluster};
use maily_testkit::harness::{Loopback, Reply, Stack};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

/// A folder with a service account that may read namespaces, and kubeconfigs of its own.
struct Desk {
    folder: TempDir,
    admin: PathBuf,
    name: String,
}

impl Desk {
    fn new(purpose: &str) -> Self {
        let admin = Stack::from_env().expect("the test stack runs").kubeconfig();
        let name = format!("{purpose}-{}", std::process::id());
        let desk = Self { folder: TempDir::new().expect("can be made"), admin, name };
        desk.account();
        let role = format!("{}-reads", desk.name);
        desk.kubectl(&["create", "clusterrole", &role, "--verb=get", "--resource=namespaces"]);
        let account = format!("--serviceaccount=default:{}", desk.name);
        desk.kubectl(&["create", "clusterrolebinding", &role, &format!("--clusterrole={role}"), &account]);
        desk
    }

    fn account(&self) {
        self.kubectl(&["create", "serviceaccount", &self.name]);
        let token = self.kubectl(&["create", "token", &self.name]);
        self.write("token", token.trim());
    }

    fn kubectl(&self, args: &[&str]) -> String {
        let output = Command::new("kubectl").arg("--kubeconfig").arg(&self.admin).args(args).output();
        let output = output.expect("kubectl starts");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("can be written");
    }

    /// Times that the plugin was run.
    fn runs(&self) -> usize {
        std::fs::read_to_string(self.path("runs")).unwrap_or_default().lines().count()
    }

    /// A kubeconfig whose plugin answers with the token of the file and the given expiry, a shell expression.
    fn plugin(&self, expiry: &str) -> PathBuf {
        let folder = self.folder.path().display();
        let script = format!(
            r#"echo run >> {folder}/runs
test ! -e {folder}/broken || {{ echo printed-secret; echo "the session has ended" >&2; exit 7; }}
echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{'{expiry}'"token":"'$(cat {folder}/token)'"}}}}'"#
        );
        self.write("plugin.sh", &script);
        let user = format!(
            r#"{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, args: ["{folder}/plugin.sh"], env: [{{name: KEY, value: secret-in-variable}}], interactiveMode: Never}}}}"#
        );
        self.config(&user, "")
    }

    fn config(&self, user: &str, cluster: &str) -> PathBuf {
        let own = std::fs::read_to_string(&self.admin).expect("can be read");
        let users = own.find("users:").expect("has users");
        let text = format!("{}users: [{{name: admin, user: {user}}}]\n", &own[..users]);
        let path = self.path("kubeconfig");
        std::fs::write(&path, text.replace("cluster: {server:", &format!("cluster: {{{cluster}server:")))
            .expect("can be written");
        path
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let role = format!("{}-reads", self.name);
        for what in [["serviceaccount", &self.name], ["clusterrole", &role], ["clusterrolebinding", &role]] {
            let mut command = Command::new("kubectl");
            command.arg("--kubeconfig").arg(&self.admin).args([
                "delete",
                "--ignore-not-found",
                "--wait=false",
            ]);
            let _ = command.args(what).output();
        }
    }
}

async fn connect(kubeconfig: &Path) -> KubeCluster {
    let options = ConnectOptions { kubeconfig: Some(kubeconfig.to_owned()), context: None };
    KubeCluster::connect(&options).await.expect("connects")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn credentials_of_a_plugin_are_renewed_before_they_expire() {
    let desk = Desk::new("expires");
    // They are renewed a minute before their end: here two seconds after they were got.
    let expiry = r#"'"expirationTimestamp":"'$(date -u -d '+62 seconds' +%Y-%m-%dT%H:%M:%SZ)'",'"#;
    let cluster = connect(&desk.plugin(expiry)).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        cluster.describe().await.expect("is never refused");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let runs = desk.runs();
    assert!((2..=6).contains(&runs), "{runs} runs of the plugin: renewed, and not for every request");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn credentials_that_the_server_stops_taking_are_asked_for_again() {
    let desk = Desk::new("revoked");
    let cluster = connect(&desk.plugin("")).await;
    cluster.describe().await.expect("answers");
    assert_eq!(desk.runs(), 1, "a token without an end is kept");
    // A new account of that name is another one: the old token ends.
    desk.kubectl(&["delete", "serviceaccount", &desk.name]);
    desk.account();
    let start = Instant::now();
    while desk.runs() == 1 {
        // The server itself remembers a token for some seconds.
        assert!(start.elapsed() < Duration::from_secs(60), "the old token is still taken");
        cluster.describe().await.expect("is renewed in time");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for _ in 0..5 {
        cluster.describe().await.expect("answers");
    }
    assert_eq!(desk.runs(), 2, "the new token is kept");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_plugin_that_fails_is_a_question_of_credentials() {
    let desk = Desk::new("fails");
    desk.write("broken", "");
    let options = ConnectOptions { kubeconfig: Some(desk.plugin("")), context: None };
    let error = KubeCluster::connect(&options).await.expect_err("the plugin fails");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    let told = format!("{error} {error:?}");
    assert!(told.contains("the session has ended"), "{told}");
    assert!(!told.contains("printed-secret") && !told.contains("secret-in-variable"), "{told}");
    // In the middle of a run, too.
    std::fs::remove_file(desk.path("broken")).expect("is there");
    let expiry = r#"'"expirationTimestamp":"'$(date -u -d '+61 seconds' +%Y-%m-%dT%H:%M:%SZ)'",'"#;
    let cluster = connect(&desk.plugin(expiry)).await;
    cluster.describe().await.expect("answers");
    desk.write("broken", "");
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let error = cluster.describe().await.expect_err("cannot be renewed");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}: {:?}", std::error::Error::source(&error));
    assert!(error.hint().is_some());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn the_way_goes_through_the_proxy_of_the_kubeconfig() {
    let desk = Desk::new("proxied");
    let tunnels = Arc::new(AtomicUsize::new(0));
    let address = proxy(Arc::clone(&tunnels)).await;
    let token = std::fs::read_to_string(desk.path("token")).expect("is there");
    let user = format!("{{token: '{token}'}}");
    let cluster = connect(&desk.config(&user, &format!("proxy-url: 'http://{address}', "))).await;
    cluster.describe().await.expect("answers through the proxy");
    assert!(tunnels.load(Ordering::Relaxed) > 0, "nobody came by");
    let absent = connect(&desk.config(&user, "proxy-url: 'http://127.0.0.1:1', ")).await;
    let error = absent.describe().await.expect_err("there is no such proxy");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

/// kube would repeat what was refused for load, up to 15 times, on the way that it makes itself: through a proxy.
#[tokio::test]
async fn t13_a_refusal_for_load_comes_through_a_proxy_at_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let server = Loopback::serve(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Reply::new(503, r#"{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 503}"#)
    });
    let server = server.await.expect("has a port");
    let proxy = proxy(Arc::default()).await;
    let folder = TempDir::new().expect("can be made");
    let kubeconfig = folder.path().join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
        clusters: [{{name: c, cluster: {{server: '{}', proxy-url: 'http://{proxy}'}}}}]\n\
        users: [{{name: u, user: {{token: t}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
        server.url()
    );
    std::fs::write(&kubeconfig, text).expect("can be written");
    let options = ConnectOptions { kubeconfig: Some(kubeconfig), context: None };
    let cluster = KubeCluster::connect(&options).await.expect("connects");
    let key = ObjectKey::new(ObjectKind::new("v1", "ConfigMap"), Some("n"), "a");
    let before = asked.load(Ordering::Relaxed);
    let error = cluster.delete(&key, &Precondition::Any, Dependents::Follow).await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(asked.load(Ordering::Relaxed) - before, 1, "one request, no retry");
}

/// A proxy that makes tunnels, and counts them.
async fn proxy(tunnels: Arc<AtomicUsize>) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("has an address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let tunnels = Arc::clone(&tunnels);
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                let mut first = String::new();
                client.read_line(&mut first).await.ok()?;
                let target = first.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
                let mut line = String::new();
                while client.read_line(&mut line).await.ok()? > 2 {
                    line.clear();
                }
                let mut server = tokio::net::TcpStream::connect(target).await.ok()?;
                tunnels.fetch_add(1, Ordering::Relaxed);
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()
            });
        }
    });
    address
}
