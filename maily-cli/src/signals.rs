//! Signals to this process. They stop what is under way in an orderly way; where nothing is, they end the process as
//! they would without us.

use std::{
    io::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::{CliError, Code};

/// What this process does. Signals are the process's, and so is this.
static STATE: Mutex<State> = Mutex::new(State { listens: false, asks: false, done: None, under_way: None });

struct State {
    /// Nobody can give signals back to the system: once heard they have to be answered.
    listens: bool,
    /// Whether a question waits for its answer.
    asks: bool,
    /// What this command has done before.
    done: Option<String>,
    under_way: Option<(CancellationToken, Option<&'static str>)>,
}

impl State {
    /// From now on signals are this process's to answer.
    fn hear(&mut self) {
        if !self.listens {
            self.listens = hear();
        }
    }
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that the first signal stops in an orderly way, until this is dropped. The second one ends the process.
pub(crate) struct UnderWay(CancellationToken);

impl UnderWay {
    /// From now on; the first signal is answered with a line, where there is one.
    pub(crate) fn begin(line: Option<&'static str>) -> Self {
        let token = CancellationToken::new();
        let mut state = state();
        state.under_way = Some((token.clone(), line));
        state.hear();
        Self(token)
    }

    /// Cancelled by the first signal.
    pub(crate) fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        state().under_way = None;
    }
}

/// A question that waits for its answer, until this is dropped. A signal ends the process, and says so.
pub(crate) struct Asking;

impl Asking {
    pub(crate) fn begin() -> Self {
        let mut state = state();
        state.asks = true;
        state.hear();
        Self
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        state().asks = false;
    }
}

/// What this command has done before, and how it goes back: whoever is stopped at a question is told so.
pub(crate) fn has_done(what: String) {
    state().done = Some(what);
}

/// Before a run has begun there is nothing to go on with.
const UNTOUCHED: &str = "interrupted before any change";

/// Does something that changes nothing. A signal drops it, and with it ends the programs that it has started.
pub(crate) async fn unless_stopped<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let under_way = UnderWay::begin(None);
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = under_way.0.cancelled() => {
            Err(CliError::new(Code::Interrupted, UNTOUCHED))
        }
    }
}

/// The signals that ask for an end.
struct Heard {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
}

impl Heard {
    fn new() -> Self {
        let heard = |kind| signal(kind).ok();
        Self {
            interrupt: heard(SignalKind::interrupt()),
            terminate: heard(SignalKind::terminate()),
            // Who had hangups ignored, as `nohup` does, is not stopped by one.
            hangup: if hangups_are_ignored() { None } else { heard(SignalKind::hangup()) },
        }
    }
}

/// Listens on a thread of its own: whoever waits for an answer on the terminal, or computes, keeps the others. Returns
/// whether that could be had; else signals end the process as they would without us.
fn hear() -> bool {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            let heard = Heard::new();
            let _ = tell.send(());
            listen(heard).await;
        });
    });
    thread.is_ok() && told.recv().is_ok()
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

async fn listen(mut heard: Heard) {
    let mut hung_up = false;
    loop {
        let hangs = tokio::select! {
            biased;
            () = next(&mut heard.interrupt) => false,
            () = next(&mut heard.terminate) => false,
            () = next(&mut heard.hangup) => true,
        };
        // The kernel and the shell may both tell of a terminal that closes: a second time means nothing.
        if hangs && std::mem::replace(&mut hung_up, true) {
            continue;
        }
        let first = match &state().under_way {
            Some((token, line)) if !token.is_cancelled() => {
                token.cancel();
                Some(*line)
            }
            _ => None,
        };
        match first {
            Some(Some(line)) => say(line),
            Some(None) => {}
            // A hangup after another signal is no second wish.
            None if hangs && state().under_way.is_some() => {}
            None => {
                let last = {
                    let state = state();
                    let is_told = state.asks || (state.done.is_some() && state.under_way.is_none());
                    is_told.then(|| state.done.as_ref().map(|done| format!(" here: {done}")))
                };
                if let Some(here) = last {
                    last_word(here.unwrap_or_default());
                }
                #[expect(
                    clippy::exit,
                    reason = "it is asked for; the journal of a run holds what is needed to resume"
                )]
                std::process::exit(Code::Interrupted as i32);
            }
        }
    }
}

/// So long the end waits for whoever reads standard error.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Says that a signal ends the process. Nobody may read it, and the end does not wait for that.
fn last_word(here: String) {
    let (tell, told) = std::sync::mpsc::channel();
    let said = move || {
        // The question stands in this line, and what the terminal makes of the key.
        let _ = writeln!(std::io::stderr(), "\nerror: {UNTOUCHED}{here}");
        let _ = tell.send(());
    };
    if std::thread::Builder::new().name("last-word".to_owned()).spawn(said).is_ok() {
        let _ = told.recv_timeout(LAST_WORD);
    }
}

/// Nobody may read what is said: a thread of its own waits for that, so that the next signal is heard.
fn say(line: &'static str) {
    let said = move || {
        // A tree on the terminal says it itself: a line across it would tear it.
        if !crate::render::beside(line) {
            let _ = writeln!(std::io::stderr().lock(), "\n{line}");
        }
    };
    // Without a thread it stays unsaid, and the signal has its effect.
    drop(std::thread::Builder::new().name("signal-line".to_owned()).spawn(said));
}

/// Whether this process was started with hangups ignored; where the system does not say, it was not.
fn hangups_are_ignored() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The first bit is the signal 1.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
