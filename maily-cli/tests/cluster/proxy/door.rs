//! A proxy as companies have them: it stands between client and API server with a certificate that clients trust, speaks
//! HTTP/1.1, and does with requests what its weather says.

use std::{
    io::Result,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use maily_testkit::harness::Stack;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, BufReader},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    weather::{Card, Fate, Weather},
    wire::{Head, hand_on, send},
};

/// The proxy; it ends when it is dropped.
pub(crate) struct Door {
    pub(crate) port: u16,
    pub(super) weather: Arc<Weather>,
    /// What stands in for the pods of the stack.
    pub(crate) services: Arc<Services>,
    over: CancellationToken,
}

/// What Services answer to who asks them through the API server: simulated pods serve nothing.
#[derive(Debug, Default)]
pub(crate) struct Services(Mutex<(Option<u16>, Vec<String>)>);

impl Services {
    /// From now on every Service answers so.
    pub(crate) fn answer(&self, code: u16) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(code);
    }

    /// What they were asked.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// The answer to a request for a Service; none where it is for the API server.
    fn says(&self, start: &str) -> Option<u16> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let code = known.0.filter(|_| start.contains("/services/") && start.contains("/proxy/"))?;
        known.1.push(start.to_owned());
        Some(code)
    }
}

impl Door {
    /// Opens before the API server of a stack, and hands everything on as it is.
    pub(crate) fn calm(stack: &Stack) -> Self {
        Self::before(stack, Weather::calm())
    }

    /// Opens before the API server of a stack, with a bad line by a seed.
    pub(super) fn open(stack: &Stack, seed: u64) -> Self {
        Self::before(stack, Weather::new(seed))
    }

    fn before(stack: &Stack, weather: Weather) -> Self {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("can be set");
        let port = listener.local_addr().expect("has an address").port();
        let (weather, over) = (Arc::new(weather), CancellationToken::new());
        let services = Arc::<Services>::default();
        let (acceptor, server) = (acceptor(stack), Server::of(stack));
        let (shared, pods, ends) = (Arc::clone(&weather), Arc::clone(&services), over.clone());
        // Tests block their own thread while they run commands.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("can be made").block_on(async {
                tokio::select! {
                    () = ends.cancelled() => {}
                    () = serve(listener, acceptor, server, shared, pods) => {}
                }
            });
        });
        Self { port, weather, services, over }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

/// The API server behind the door.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    connector: TlsConnector,
}

impl Server {
    fn of(stack: &Stack) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(stack.file("ca.crt")).expect("is a certificate");
        roots.add(authority).expect("can be trusted");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let port = stack.etcd().expect("is ours").port() - 1;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Self { address, connector: TlsConnector::from(Arc::new(config)) }
    }

    async fn connect(&self) -> Result<BufReader<TlsStream<TcpStream>>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(Ipv4Addr::LOCALHOST);
        Ok(BufReader::new(self.connector.connect(name, stream).await?))
    }
}

fn acceptor(stack: &Stack) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(stack.file("apiserver.crt")).expect("is a certificate");
    let key = PrivateKeyDer::from_pem_file(stack.file("apiserver.key")).expect("is a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    TlsAcceptor::from(Arc::new(config.expect("fit")))
}

async fn serve(
    listener: StdListener,
    acceptor: TlsAcceptor,
    server: Server,
    weather: Arc<Weather>,
    services: Arc<Services>,
) {
    let listener = TcpListener::from_std(listener).expect("is one");
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, server) = (acceptor.clone(), server.clone());
        let (weather, services) = (Arc::clone(&weather), Arc::clone(&services));
        tokio::spawn(async move {
            // Who goes away, on either side, ends this connection and no more.
            let _ = converse(stream, &acceptor, &server, &weather, &services).await;
        });
    }
}

async fn converse(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    server: &Server,
    weather: &Weather,
    services: &Services,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut client = BufReader::new(acceptor.accept(stream).await?);
    let mut behind = server.connect().await?;
    while let Some(request) = Head::read(&mut client).await? {
        let body = request.body(&mut client).await?;
        if let Some(code) = services.says(request.start()) {
            let answer = format!("HTTP/1.1 {code} -\r\ncontent-length: 0\r\n\r\n");
            send(&mut client, answer.as_bytes()).await?;
            continue;
        }
        let card = weather.draw(request.start());
        match card.fate {
            Fate::Busy => refuse(&mut client, 429, "TooManyRequests", "").await?,
            Fate::BusyFor => refuse(&mut client, 429, "TooManyRequests", "retry-after: 1\r\n").await?,
            Fate::Broken => refuse(&mut client, 500, "InternalError", "").await?,
            Fate::Passes | Fate::Late | Fate::Lost | Fate::Cut => {
                send(&mut behind, &[request.bytes(), body].concat()).await?;
                let Some(answer) = Head::read(&mut behind).await? else { return Ok(()) };
                if request.start().contains("watch=true") && answer.is_chunked() {
                    send(&mut client, &answer.bytes()).await?;
                    if card.fate == Fate::Cut {
                        return break_off(&mut behind, &mut client, card).await;
                    }
                    hand_on(&mut behind, &mut client).await?;
                    continue;
                }
                let body = answer.body(&mut behind).await?;
                if card.fate == Fate::Lost {
                    refuse(&mut client, 504, "Timeout", "").await?;
                    continue;
                }
                if card.fate == Fate::Late {
                    sleep(card.late).await;
                }
                send(&mut client, &[answer.bytes(), body].concat()).await?;
            }
        }
    }
    Ok(())
}

/// Hands a watch on for a while, and then perhaps half of what comes next.
async fn break_off(
    behind: &mut BufReader<TlsStream<TcpStream>>,
    client: &mut (impl AsyncWrite + Unpin),
    card: Card,
) -> Result<()> {
    if let Ok(ended) = timeout(card.life, hand_on(behind, client)).await {
        return ended;
    }
    let mut next = [0; 4 * 1024];
    if card.torn
        && let Ok(read) = timeout(Duration::from_secs(1), behind.read(&mut next)).await
    {
        send(client, &next[..read? / 2]).await?;
    }
    Ok(())
}

async fn refuse(to: &mut (impl AsyncWrite + Unpin), code: u16, reason: &str, header: &str) -> Result<()> {
    let body =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": "the line is bad"})
        .to_string();
    let head = format!("HTTP/1.1 {code} -\r\ncontent-type: application/json\r\n{header}");
    send(to, format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await
}
