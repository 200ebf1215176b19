//! A folder as a store. An object appears whole, by a rename within its folder, after its content is
//! on the disk; an unfinished one is a dot file that no listing shows.
//!
//! The calls block for the length of a write; nothing else of the run is under way then.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use tempfile::NamedTempFile;

use super::{ObjectReader, ObjectWriter, Store, StoreError};

/// How a file is named until it is whole.
const UNFINISHED: (&str, &str) = (".image-census-", ".part");
const CREATE_FOLDER: &str = "create the folder";
const IN_THE_WAY: &str = "a file is in the way; remove it or choose another --store";

/// A folder.
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// A store below `root`, which is created when it is first written to.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn begin(&self, key: &str) -> Result<Box<LocalWriter>, StoreError> {
        let path = self.root.join(key);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(|e| failed(CREATE_FOLDER, folder, e))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(UNFINISHED.0).suffix(UNFINISHED.1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Readable by others as far as the umask allows; temporary files are private otherwise.
            builder.permissions(fs::Permissions::from_mode(0o644));
        }
        let file = builder
            .tempfile_in(folder)
            .map_err(|e| failed("write to the folder", folder, e))?;
        Ok(Box::new(LocalWriter { file, path }))
    }
}

struct LocalWriter {
    file: NamedTempFile,
    path: PathBuf,
}

impl LocalWriter {
    fn append(&mut self, content: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all(content)
            .map_err(|e| failed("write", &self.path, e))
    }

    fn finish(self, overwrite: bool) -> Result<(), StoreError> {
        let Self { file, path } = self;
        file.as_file()
            .sync_all()
            .map_err(|e| failed("write", &path, e))?;
        let kept = if overwrite {
            file.persist(&path)
        } else {
            file.persist_noclobber(&path)
        };
        kept.map_err(|e| failed("write", &path, e.error))?;
        // The rename itself is durable once the folder is.
        let folder = path.parent().unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|f| f.sync_all())
            .map_err(|e| failed("write", folder, e))
    }
}

#[async_trait]
impl ObjectWriter for LocalWriter {
    async fn write(&mut self, content: &[u8]) -> Result<(), StoreError> {
        self.append(content)
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.finish(false)
    }

    async fn abort(self: Box<Self>) {}
}

#[async_trait]
impl Store for LocalStore {
    async fn probe(&self, _key: &str) -> Result<(), StoreError> {
        // In the root: folders for the key would stay behind. Without a name, so would the file if the
        // program were killed now.
        let root = &self.root;
        fs::create_dir_all(root).map_err(|e| failed(CREATE_FOLDER, root, e))?;
        let refused = |e| failed("write to the folder", root, e);
        let mut file = tempfile::tempfile_in(root).map_err(refused)?;
        // A full disk takes an empty file; it does not take a page.
        file.write_all(&[0; 4_096]).map_err(refused)?;
        file.sync_all().map_err(refused)
    }

    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(self.begin(key)?)
    }

    async fn replace(&self, key: &str, content: &[u8]) -> Result<(), StoreError> {
        let mut writer = self.begin(key)?;
        writer.append(content)?;
        writer.finish(true)
    }

    async fn open(&self, key: &str) -> Result<ObjectReader, StoreError> {
        let path = self.root.join(key);
        let file = tokio::fs::File::open(&path)
            .await
            .map_err(|e| failed("read", &path, e))?;
        Ok(Box::new(file))
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.root.join(key);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(failed("delete", &path, e));
            }
            _ => {}
        }
        // Partitions that are empty now go, too; the system refuses to remove others.
        let folders = path.ancestors().skip(1);
        for folder in folders.take_while(|folder| *folder != self.root) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let mut keys = Vec::new();
        let mut folders = vec![self.root.join(prefix)];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed("list", &folder, e)),
            };
            for entry in entries {
                let entry = entry.map_err(|e| failed("list", &folder, e))?;
                let kind = entry.file_type().map_err(|e| failed("list", &folder, e))?;
                let path = entry.path();
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file()
                    && let Some(key) = path.strip_prefix(&self.root).ok().and_then(Path::to_str)
                {
                    keys.push(key.to_owned());
                }
            }
        }
        keys.sort();
        Ok(keys)
    }

    async fn unfinished(
        &self,
        prefix: &str,
        before: SystemTime,
    ) -> Result<Vec<String>, StoreError> {
        let mut keys = self.list(prefix).await?;
        keys.retain(|key| {
            let name = key.rsplit('/').next().unwrap_or_default();
            let is_ours = name.starts_with(UNFINISHED.0) && name.ends_with(UNFINISHED.1);
            let written = || fs::metadata(self.root.join(key)).and_then(|found| found.modified());
            is_ours && written().is_ok_and(|written| written < before)
        });
        Ok(keys)
    }

    fn describe(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    let advice = match source.kind() {
        // A folder that is there already is no error, so this is something else under its name.
        io::ErrorKind::AlreadyExists if action == CREATE_FOLDER => IN_THE_WAY,
        io::ErrorKind::NotADirectory => IN_THE_WAY,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full; free some space or choose another --store"
        }
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only; choose another --store",
        io::ErrorKind::PermissionDenied => {
            "check the permissions of the folder, or choose another --store"
        }
        io::ErrorKind::NotFound => "it is not there",
        io::ErrorKind::AlreadyExists => "it is there already and is never overwritten",
        _ => "see the cause",
    };
    StoreError::Local {
        action,
        path: path.display().to_string(),
        advice,
        source,
    }
}
