//! The live tree: drawn ten times a second over itself, and once for good at the end.

use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use maily_core::engine::{Event, Listener};

use super::{paint::Paint, tree::Tree};

/// A tree on a terminal.
pub(crate) struct Live {
    tree: Arc<Mutex<Tree>>,
    bar: ProgressBar,
    paint: Paint,
    drawer: tokio::task::JoinHandle<()>,
}

struct Told(Arc<Mutex<Tree>>);

impl Listener for Told {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fold(event);
    }
}

impl Live {
    pub(super) fn start(title: &str, environment: &str, paint: Paint) -> Self {
        let tree = Arc::new(Mutex::new(Tree::new(title, environment)));
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let (drawn, shown) = (Arc::clone(&tree), bar.clone());
        let drawer = tokio::spawn(async move {
            let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
            loop {
                tick.tick().await;
                shown.set_message(text(&drawn, true, paint));
                shown.tick();
            }
        });
        Self { tree, bar, paint, drawer }
    }

    pub(super) fn listener(&self) -> Arc<dyn Listener> {
        Arc::new(Told(Arc::clone(&self.tree)))
    }

    /// Ends the drawing; returns the whole tree as it was last.
    pub(super) fn finish(self) -> String {
        self.drawer.abort();
        self.bar.finish_and_clear();
        text(&self.tree, false, self.paint)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.drawer.abort();
    }
}

fn text(tree: &Mutex<Tree>, limited: bool, paint: Paint) -> String {
    let (height, width) = terminal();
    let height = if limited { height.saturating_sub(1) } else { usize::MAX };
    let now = crate::wire::runtime().wall();
    let lines = tree.lock().unwrap_or_else(PoisonError::into_inner).lines(now, width, height, paint);
    lines.join("\n")
}

/// Rows and columns; those of a small terminal where they are not known.
fn terminal() -> (usize, usize) {
    let (rows, columns) = console::Term::stderr().size_checked().unwrap_or((24, 80));
    (rows.into(), columns.into())
}
