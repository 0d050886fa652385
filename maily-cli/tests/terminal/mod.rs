//! A command on a terminal of its own: what a person sees there, and types. The pictures of the documentation are taken
//! from one, too.
#![allow(dead_code, reason = "each suite uses its part")]

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// Rows enough for every screen: nothing scrolls away.
pub(crate) const ROWS: u16 = 120;
pub(crate) const COLUMNS: u16 = 120;

pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    seen: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

/// Runs a command to its end, with a line for the first question that it asks; its exit code, and everything that stood
/// on the terminal. Without such a line nobody can be asked.
pub(crate) fn run(command: Command, columns: u16, answer: Option<&str>) -> (i32, String) {
    let mut terminal = Terminal::open(command, columns, answer.is_some());
    if let Some(answer) = answer {
        terminal.types(&format!("{answer}\n"));
    }
    terminal.end()
}

impl Terminal {
    pub(crate) fn start(command: Command) -> Self {
        Self::open(command, COLUMNS, true)
    }

    fn open(mut command: Command, columns: u16, keyboard: bool) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("there are terminals");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("is ours");
        let name = ptsname(&ours, Vec::new()).expect("has a name");
        let path = OsStr::from_bytes(name.as_bytes());
        // Nor may what another test starts at this moment inherit it: it would keep the terminal open.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(path, flags, Mode::empty()).expect("is there");
        let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&theirs, size).expect("has a size");
        let theirs = File::from(theirs);
        let side = || theirs.try_clone().expect("can be shared");
        let input = if keyboard { Stdio::from(side()) } else { Stdio::null() };
        command.stdin(input).stdout(side()).stderr(side()).env("TERM", "xterm-256color");
        let child = command.spawn().expect("starts");
        // The terminal ends when the last copy of its other side is closed: ours, too.
        drop((command, theirs));
        let mut screen = File::from(ours);
        let keyboard = screen.try_clone().expect("can be shared");
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let written = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            // Linux answers the read after the last close with an error, not with an end.
            while let Ok(read @ 1..) = screen.read(&mut part) {
                written.lock().expect("not poisoned").extend_from_slice(&part[..read]);
            }
        });
        Self { child, keyboard, seen, reader }
    }

    /// Everything that was written so far.
    pub(crate) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("not poisoned")).into_owned()
    }

    /// Waits until a text was written so often.
    #[track_caller]
    pub(crate) fn until(&self, text: &str, times: usize) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.seen().matches(text).count() < times {
            assert!(Instant::now() < until, "`{text}` is not there {times} times:\n{}", self.seen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("is taken");
    }

    /// Ctrl-C: the terminal shows it, and tells the process.
    pub(crate) fn interrupt(&mut self) {
        self.types("\u{3}");
        self.until("^C", 1);
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("is ours");
    }

    /// Waits for the end; the exit code, and everything that was written.
    pub(crate) fn end(mut self) -> (i32, String) {
        let code = self.child.wait().expect("ends").code().unwrap_or(-1);
        self.reader.join().expect("reads to the end");
        let seen = self.seen.lock().expect("not poisoned");
        (code, String::from_utf8_lossy(&seen).into_owned())
    }
}
