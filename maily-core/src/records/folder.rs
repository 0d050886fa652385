//! Records as files of a local folder.
//!
//! A record is written to a temporary file, flushed to the disk and then linked to its name: a hard link fails
//! where the name exists, so creation is atomic and exclusive also between processes.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use async_trait::async_trait;

use super::check_key;
use crate::provider::{Created, ErrorKind, ProviderError, RecordStore};

/// Records below a folder. The operations are short and done in place.
#[derive(Debug)]
pub struct FolderRecords {
    root: PathBuf,
}

impl FolderRecords {
    /// Records below this folder, which is made when the first record is.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, operation: &'static str, key: &str) -> Result<PathBuf, ProviderError> {
        check_key(operation, key)?;
        Ok(self.root.join(format!("{key}.record")))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<Created> {
        let folder = path.parent().unwrap_or(&self.root);
        make_folder(folder)?;
        // Never a name that was used before: what a killed process left behind may be a second name of its record.
        let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let temporary = folder.join(format!(".new-{random:016x}"));
        let linked = (|| {
            let mut file = fs::File::create_new(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            match fs::hard_link(&temporary, path) {
                Ok(()) => {
                    flush_folder(folder)?;
                    Ok(Created::Created)
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Exists),
                Err(error) => Err(error),
            }
        })();
        let _ = fs::remove_file(&temporary);
        linked
    }

    fn failed(&self, operation: &'static str, key: &str, error: io::Error) -> ProviderError {
        let folder = self.root.display();
        let (kind, hint) = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                (ErrorKind::PermissionDenied, Some(format!("let this user read and write `{folder}`")))
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                (ErrorKind::Internal, Some(format!("make room in `{folder}`")))
            }
            _ => (ErrorKind::Internal, None),
        };
        let failed = ProviderError::new(kind, "folder", operation, key, error.to_string()).with_source(error);
        match hint {
            Some(hint) => failed.with_hint(hint),
            None => failed,
        }
    }

    fn walk(folder: &Path, prefix: &str, keys: &mut Vec<String>) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                Self::walk(&entry.path(), &format!("{prefix}{name}/"), keys)?;
            } else if let Some(name) = name.strip_suffix(".record") {
                keys.push(format!("{prefix}{name}"));
            }
        }
        Ok(())
    }
}

/// Makes a folder and those above it, each with its entry on the disk.
fn make_folder(folder: &Path) -> io::Result<()> {
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    let mut made = fs::create_dir(folder);
    let alone = matches!(&made, Err(error) if error.kind() == io::ErrorKind::NotFound);
    if alone && let Some(above) = above {
        make_folder(above)?;
        made = fs::create_dir(folder);
    }
    match made {
        Ok(()) => flush_folder(above.unwrap_or(Path::new("."))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn flush_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[async_trait]
impl RecordStore for FolderRecords {
    async fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, ProviderError> {
        let path = self.path("create", key)?;
        self.write(&path, bytes).map_err(|error| self.failed("create", key, error))
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, ProviderError> {
        match fs::read(self.path("get", key)?) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("get", key, error)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ProviderError> {
        let mut keys = Vec::new();
        Self::walk(&self.root, "", &mut keys).map_err(|error| self.failed("list", prefix, error))?;
        keys.retain(|key| key.starts_with(prefix));
        keys.sort();
        Ok(keys)
    }

    async fn delete(&self, key: &str) -> Result<(), ProviderError> {
        match fs::remove_file(self.path("delete", key)?) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.failed("delete", key, error)),
        }
    }
}
