//! The world in a file.
//!
//! The file is replaced as a whole whenever a record of the journal is written, before the write is answered: who
//! kills the process at any moment finds a world and a journal of one and the same moment.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use maily_core::runtime::Runtime;

use super::shared::Shared;
use crate::world::World;

/// Format of the file.
const FORMAT: u32 = 1;

/// What the sandbox is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Look: any number of processes at once, also beside one that changes it.
    Read,
    /// Change: one process at a time.
    Write,
}

/// A world in a file.
#[derive(Debug)]
pub struct Sandbox {
    /// The world.
    pub shared: Arc<Shared>,
    _lock: Option<File>,
    /// Of a world that is new: where it is kept, and what it was made as.
    fresh: Option<(PathBuf, serde_json::Value)>,
}

/// Why a sandbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Another process has it.
    #[error("the sandbox `{path}` is in use by {holder}")]
    Busy {
        /// The file.
        path: PathBuf,
        /// Who.
        holder: String,
    },
    /// The file cannot be read or written.
    #[error("failed to use the sandbox `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is damaged or of another version.
    #[error("the sandbox `{path}` is damaged or was written by another version: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        message: String,
    },
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Saved<W> {
    format: u32,
    world: W,
}

impl Sandbox {
    /// Opens the sandbox in a file; a new world where there is none.
    ///
    /// # Errors
    /// When another process changes it, or the file cannot be used.
    pub fn open(
        path: &Path,
        mode: Mode,
        runtime: Arc<dyn Runtime>,
        namespaces: &[&str],
    ) -> Result<Self, SandboxError> {
        let failed = |source| SandboxError::File { path: path.to_owned(), source };
        let lock = match mode {
            Mode::Read => None,
            Mode::Write => {
                if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
                    fs::create_dir_all(folder).map_err(failed)?;
                    // Nothing of a simulated world belongs into a repository.
                    fs::write(folder.join(".gitignore"), "*\n").map_err(failed)?;
                }
                Some(lock(path)?)
            }
        };
        let mut fresh = None;
        let mut world = match fs::read(path) {
            Ok(bytes) => {
                let saved: Saved<World> = serde_json::from_slice(&bytes).map_err(|error| {
                    SandboxError::Damaged { path: path.to_owned(), message: error.to_string() }
                })?;
                if saved.format != FORMAT {
                    let message = format!("format {}", saved.format);
                    return Err(SandboxError::Damaged { path: path.to_owned(), message });
                }
                saved.world
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let world = World::new(runtime.wall(), runtime.random(), namespaces);
                fresh = lock.as_ref().map(|_| (path.to_owned(), timeless(&world)));
                world
            }
            Err(error) => return Err(failed(error)),
        };
        for namespace in namespaces {
            world.add_namespace(namespace);
        }
        // While nobody looked, time went on.
        let now = world.time_at(runtime.wall());
        if now > world.now {
            world.advance(now);
        }
        let save = (mode == Mode::Write).then(|| {
            let path = path.to_owned();
            let save = move |world: &World| {
                write(&path, world).map_err(|error| format!("failed to write `{}`: {error}", path.display()))
            };
            Box::new(save) as Box<dyn Fn(&World) -> Result<(), String> + Send + Sync>
        });
        let shared = Shared::with_save(world, runtime, save);
        if mode == Mode::Write {
            // A file that cannot be written is told before anything else happens.
            shared.save().map_err(|message| failed(std::io::Error::other(message)))?;
        }
        Ok(Self { shared, _lock: lock, fresh })
    }
}

/// A world as it is, whatever the time, and whoever has looked at it.
fn timeless(world: &World) -> serde_json::Value {
    let mut value = serde_json::to_value(world).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        for passing in ["now", "calls", "log"] {
            fields.remove(passing);
        }
    }
    value
}

impl Drop for Sandbox {
    /// A command that was refused leaves nothing behind: a new world that nobody changed goes.
    fn drop(&mut self) {
        let Some((path, made)) = self.fresh.take() else { return };
        if timeless(&self.shared.world()) != made {
            return;
        }
        // What cannot be taken away does no harm.
        let _ = remove(&path);
        let _ = remove(&path.with_extension("lock"));
        if let Some(folder) = path.parent() {
            let mut left = fs::read_dir(folder).into_iter().flatten().flatten();
            if left.all(|entry| entry.file_name() == ".gitignore") {
                let _ = remove(&folder.join(".gitignore"));
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

impl Sandbox {
    /// Throws a world away, also one that cannot be read.
    ///
    /// # Errors
    /// When another process works on it, or its file cannot be removed.
    pub fn reset(path: &Path) -> Result<(), SandboxError> {
        let failed = |source| SandboxError::File { path: path.to_owned(), source };
        if !path.parent().is_some_and(Path::exists) {
            return Ok(());
        }
        let _lock = lock(path)?;
        let file = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        remove(&temporary(&file)).and_then(|()| remove(&file)).map_err(failed)
    }
}

fn lock(path: &Path) -> Result<File, SandboxError> {
    let failed = |source| SandboxError::File { path: path.to_owned(), source };
    let lock_path = path.with_extension("lock");
    let mut options = File::options();
    options.create(true).truncate(false).read(true).write(true);
    let mut file = options.open(&lock_path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {
            // Whoever had it may have taken the file away meanwhile: then it locks nothing any more.
            let there = |found: std::io::Result<fs::Metadata>| found.ok().map(|m| (m.dev(), m.ino()));
            if there(file.metadata()) != there(fs::metadata(&lock_path)) {
                file = options.open(&lock_path).map_err(failed)?;
                file.try_lock().map_err(|error| failed(error.into()))?;
            }
            file.set_len(0).map_err(failed)?;
            writeln!(file, "process {}", std::process::id()).map_err(failed)?;
            Ok(file)
        }
        Err(fs::TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&lock_path).unwrap_or_default();
            let holder = if holder.trim().is_empty() { "another process" } else { holder.trim() };
            Err(SandboxError::Busy { path: path.to_owned(), holder: holder.to_owned() })
        }
        Err(fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Where the next file is written: in our own folder, and under the lock.
fn temporary(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// A file of which there is none is gone, too.
fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn write(path: &Path, world: &World) -> std::io::Result<()> {
    // A link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temporary = temporary(&path);
    let bytes = serde_json::to_vec(&Saved { format: FORMAT, world })?;
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&temporary, &path)
    })();
    if written.is_err() {
        // On a full disk it would only be in the way.
        let _ = fs::remove_file(&temporary);
    }
    written
}
