//! An admission webhook that can hold an operator's requests back. It stands behind all policies: what it lets go was
//! admitted before.

use std::{
    net::{Ipv4Addr, TcpListener as StdListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maily_testkit::harness::Stack;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::site::Site;

#[derive(Debug, Default)]
struct Wishes {
    hold: AtomicBool,
    held: AtomicBool,
}

/// The webhook; its configuration goes when it is dropped.
pub(crate) struct Webhook<'a> {
    site: &'a Site,
    name: String,
    wishes: Arc<Wishes>,
}

impl<'a> Webhook<'a> {
    /// Holds back what this operator creates of Deployments in the site's namespace.
    pub(crate) fn hold(site: &'a Site, stack: &Stack, operator: &str) -> Self {
        let wishes = Arc::new(Wishes { hold: AtomicBool::new(true), held: AtomicBool::new(false) });
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("has an address").port();
        let user = format!("system:serviceaccount:{}:{operator}", site.namespace);
        let (acceptor, shared) = (acceptor(stack), Arc::clone(&wishes));
        // Tests block their own thread while they run commands.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("can be made").block_on(serve(listener, acceptor, user, shared));
        });
        let name = format!("slow-{}", site.namespace);
        let authority = STANDARD.encode(std::fs::read(stack.file("ca.crt")).expect("is there"));
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": "slow.stack.maily.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "timeoutSeconds": 30, "failurePolicy": "Ignore",
                "clientConfig": {"url": format!("https://127.0.0.1:{port}/"), "caBundle": authority},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": site.namespace}},
                "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
                    "resources": ["deployments"]}],
            }],
        });
        site.write("webhook.json", &configuration.to_string());
        site.kubectl(&["apply", "-f", "webhook.json"]).expect(0);
        Self { site, name, wishes }
    }

    /// Whether a request is held back.
    pub(crate) fn holds(&self) -> bool {
        self.wishes.held.load(SeqCst)
    }

    /// Lets everything go.
    pub(crate) fn let_go(&self) {
        self.wishes.hold.store(false, SeqCst);
    }
}

impl Drop for Webhook<'_> {
    fn drop(&mut self) {
        self.let_go();
        let _ = self.site.kubectl(&["delete", "validatingwebhookconfiguration", &self.name]);
    }
}

fn acceptor(stack: &Stack) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(stack.file("apiserver.crt")).expect("is a certificate");
    let key = PrivateKeyDer::from_pem_file(stack.file("apiserver.key")).expect("is a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    TlsAcceptor::from(Arc::new(config.expect("fit")))
}

async fn serve(listener: StdListener, acceptor: TlsAcceptor, user: String, wishes: Arc<Wishes>) {
    listener.set_nonblocking(true).expect("can be set");
    let listener = TcpListener::from_std(listener).expect("is one");
    let user: Arc<str> = user.into();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, user, wishes) = (acceptor.clone(), Arc::clone(&user), Arc::clone(&wishes));
        tokio::spawn(async move {
            // A client that goes away ends its connection, and no more.
            let _ = converse(stream, &acceptor, &user, &wishes).await;
        });
    }
}

async fn converse(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    user: &str,
    wishes: &Wishes,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await?);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or_default();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let review: Value = serde_json::from_slice(&body)?;
        let request = &review["request"];
        if request["userInfo"]["username"] == user && request["dryRun"] != true {
            while wishes.hold.load(SeqCst) {
                wishes.held.store(true, SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {"uid": request["uid"], "allowed": true}})
        .to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        let text = format!("{head}content-length: {}\r\n\r\n{answer}", answer.len());
        stream.write_all(text.as_bytes()).await?;
        stream.flush().await?;
    }
}
