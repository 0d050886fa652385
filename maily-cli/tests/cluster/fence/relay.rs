//! A relay between a client and a server that can hold back what it carries, byte for byte. It lives on threads of
//! its own: tests block theirs while they run commands.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

const LOOK: Duration = Duration::from_millis(2);
/// So much later than the server sent it does a slow relay hand an answer on.
const SLOW: Duration = Duration::from_millis(400);

#[derive(Debug, Default)]
struct Wishes {
    hold: AtomicBool,
    held: AtomicBool,
    slow: AtomicBool,
    lag: AtomicBool,
    over: AtomicBool,
}

/// A relay; it takes no more connections once dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) port: u16,
    wishes: Arc<Wishes>,
}

impl Relay {
    /// A relay to a server. Answers on connections on which a client sent `marks` can be made to lag.
    pub(crate) fn to(server: SocketAddr, marks: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("has an address").port();
        let wishes = Arc::<Wishes>::default();
        let shared = Arc::clone(&wishes);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else { continue };
                if shared.over.load(SeqCst) {
                    return;
                }
                carry(client, server, marks, &shared);
            }
        });
        Self { port, wishes }
    }

    /// Holds back what clients send.
    pub(crate) fn hold(&self, hold: bool) {
        self.wishes.hold.store(hold, SeqCst);
    }

    /// Whether something is held back.
    pub(crate) fn holds(&self) -> bool {
        self.wishes.held.load(SeqCst)
    }

    /// Hands answers on later.
    pub(crate) fn slow(&self, slow: bool) {
        self.wishes.slow.store(slow, SeqCst);
    }

    /// Holds back answers on marked connections.
    pub(crate) fn lag(&self, lag: bool) {
        self.wishes.lag.store(lag, SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.wishes.over.store(true, SeqCst);
        self.wishes.hold.store(false, SeqCst);
        self.wishes.lag.store(false, SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn carry(client: TcpStream, server: TcpStream, marks: &'static str, wishes: &Arc<Wishes>) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let marked = Arc::new(AtomicBool::new(false));
    let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else { return };
    let (asks, sees) = (Arc::clone(wishes), Arc::clone(&marked));
    thread::spawn(move || {
        pump(from, to, |bytes| {
            if !marks.is_empty() && bytes.windows(marks.len()).any(|some| some == marks.as_bytes()) {
                sees.store(true, SeqCst);
            }
            while asks.hold.load(SeqCst) {
                asks.held.store(true, SeqCst);
                thread::sleep(LOOK);
            }
        });
    });
    let answers = Arc::clone(wishes);
    thread::spawn(move || {
        pump(server, client, |_| {
            if answers.slow.load(SeqCst) {
                thread::sleep(SLOW);
            }
            while marked.load(SeqCst) && answers.lag.load(SeqCst) {
                thread::sleep(LOOK);
            }
        });
    });
}

fn pump(mut from: TcpStream, mut to: TcpStream, before: impl Fn(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            break;
        }
        before(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
