//! The live tree: drawn ten times a second over itself, and once for good at the end.

use std::{
    io::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use maily_core::engine::{Event, Listener};

use super::{canvas::Canvas, paint::Paint, tree::Tree};

/// The tree on the terminal, of which a process has one.
static SHOWN: Mutex<Weak<Mutex<Scene>>> = Mutex::new(Weak::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is drawn, and where.
struct Scene {
    tree: Tree,
    canvas: Canvas,
    paint: Paint,
    /// Nothing is drawn any more.
    over: bool,
}

/// A tree on a terminal.
pub(crate) struct Live {
    scene: Arc<Mutex<Scene>>,
    drawer: tokio::task::JoinHandle<()>,
}

struct Told(Arc<Mutex<Scene>>);

impl Listener for Told {
    fn event(&self, event: &Event) {
        locked(&self.0).tree.fold(event);
    }
}

/// Says something to who watches the tree, in the tree; whether there is one.
pub(crate) fn beside(line: &str) -> bool {
    let Some(scene) = locked(&SHOWN).upgrade() else { return false };
    let mut scene = locked(&scene);
    if scene.over {
        return false;
    }
    scene.tree.notice(line);
    scene.draw();
    true
}

impl Scene {
    fn draw(&mut self) {
        if self.over {
            return;
        }
        let (rows, columns) = terminal();
        let now = crate::wire::runtime().wall();
        let lines = self.tree.lines(now, columns, rows.saturating_sub(1), self.paint);
        if let Some(text) = self.canvas.frame(&lines, (rows, columns)) {
            put(&text);
        }
    }
}

/// A terminal that is gone shows nothing; the run goes on.
fn put(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

impl Live {
    pub(super) fn start(tree: Tree, paint: Paint) -> Self {
        let scene = Arc::new(Mutex::new(Scene { tree, canvas: Canvas::default(), paint, over: false }));
        *locked(&SHOWN) = Arc::downgrade(&scene);
        let drawn = Arc::clone(&scene);
        let drawer = tokio::spawn(async move {
            let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
            loop {
                tick.tick().await;
                locked(&drawn).draw();
            }
        });
        Self { scene, drawer }
    }

    pub(super) fn listener(&self) -> Arc<dyn Listener> {
        Arc::new(Told(Arc::clone(&self.scene)))
    }

    /// Ends the drawing; returns the whole tree as it was last.
    pub(super) fn finish(self) -> String {
        let mut scene = locked(&self.scene);
        scene.over = true;
        let columns = terminal().1;
        put(&scene.canvas.clear(columns));
        let now = crate::wire::runtime().wall();
        scene.tree.lines(now, columns, usize::MAX, scene.paint).join("\n")
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        locked(&self.scene).over = true;
        self.drawer.abort();
    }
}

/// Rows and columns; those of a small terminal where they are not known.
fn terminal() -> (usize, usize) {
    let (rows, columns) = console::Term::stderr().size_checked().unwrap_or((24, 80));
    (rows.into(), columns.into())
}
