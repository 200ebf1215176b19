//! Where crane finds its one credential: a fresh `config.json` for each process, in a private folder
//! that is memory-backed where there is such a place, and gone when the process has ended.
//!
//! A run's folder is locked while the run lives. One that nobody locks was left by a run that was
//! killed: the next start removes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock, statfs};
use tempfile::TempDir;

/// Beginning of a run's folder; before it is locked, it has another name.
const PREFIX: &str = "image-census-run-";
const NEW_PREFIX: &str = ".image-census-new-";
const LOCK: &str = "lock";
/// It has the other name for a moment only: long after, its run was killed in that moment.
const MAX_NEW_AGE: Duration = Duration::from_secs(3_600);
/// Linux's `TMPFS_MAGIC` and `RAMFS_MAGIC` (statfs(2)).
const MEMORY_BACKED: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// A run's folder; it goes when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    /// Held as long as the run lives; the system lets go of it when the run is killed.
    _lock: File,
}

/// A `config.json` in a folder of its own; it goes when this is dropped.
#[derive(Debug)]
pub struct ConfigFile {
    folder: TempDir,
}

impl Scratch {
    /// Makes a run's folder, and removes those of runs that were killed.
    pub fn open() -> io::Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let shared = cfg!(target_os = "linux").then(|| PathBuf::from("/dev/shm"));
        let ordinary = std::env::temp_dir();
        let places = runtime.into_iter().chain(shared).chain([ordinary.clone()]);
        let mut usable = None;
        for place in places {
            // Also where a run with other variables was killed.
            sweep(&place);
            if usable.is_none() && is_memory_backed(&place) {
                usable = Self::open_in(&place).ok();
            }
        }
        match usable {
            Some(usable) => Ok(usable),
            None => Self::open_in(&ordinary),
        }
    }

    fn open_in(place: &Path) -> io::Result<Self> {
        let new = tempfile::Builder::new()
            .prefix(NEW_PREFIX)
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir_in(place)?;
        let lock = private_file(&new.path().join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let name = new.path().file_name().unwrap_or_default().to_string_lossy();
        let folder = place.join(name.replacen(NEW_PREFIX, PREFIX, 1));
        fs::rename(new.path(), &folder)?;
        // Under its new name it is ours to remove.
        let _ = new.keep();
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// Writes a `config.json`.
    pub fn config(&self, content: &[u8]) -> io::Result<ConfigFile> {
        let folder = tempfile::Builder::new()
            .prefix("c")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir_in(&self.folder)?;
        let mut file = private_file(&folder.path().join("config.json"))?;
        file.write_all(content)?;
        Ok(ConfigFile { folder })
    }

    /// Writes certificates, for as long as the run lives.
    pub fn certificates(&self, content: &[u8]) -> io::Result<PathBuf> {
        let (mut file, path) = tempfile::Builder::new()
            .suffix(".pem")
            .tempfile_in(&self.folder)?
            .keep()?;
        file.write_all(content)?;
        Ok(path)
    }

    /// Where it is.
    #[cfg(test)]
    pub fn path(&self) -> &Path {
        &self.folder
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

impl ConfigFile {
    /// For `DOCKER_CONFIG`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn is_memory_backed(place: &Path) -> bool {
    // The field's type differs from one architecture to the next.
    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "see above"
    )]
    statfs(place).is_ok_and(|found| MEMORY_BACKED.contains(&(found.f_type as i64)))
}

/// Removes the folders of runs of this user that are no more.
fn sweep(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else {
        return;
    };
    let user = rustix::process::geteuid().as_raw();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_named = |found: &fs::Metadata| {
            let age = found
                .modified()
                .map(|made| made.elapsed().unwrap_or_default());
            name.starts_with(PREFIX)
                || name.starts_with(NEW_PREFIX) && age.is_ok_and(|age| age > MAX_NEW_AGE)
        };
        // Not through a link: in a shared folder anybody may put one there.
        let is_ours = fs::symlink_metadata(entry.path())
            .is_ok_and(|found| found.is_dir() && found.uid() == user && is_named(&found));
        if is_ours && !is_locked(&entry.path().join(LOCK)) {
            match fs::remove_dir_all(entry.path()) {
                Ok(()) => tracing::debug!("removed what a run that was killed had left"),
                Err(error) => {
                    tracing::warn!(%error, "could not remove what a run that was killed had left");
                }
            }
        }
    }
}

/// Whether a run holds it. Without the file nobody can.
fn is_locked(path: &Path) -> bool {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

    fn names(place: &Path) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(place)?.collect::<io::Result<Vec<_>>>()?;
        let names = entries
            .iter()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.collect())
    }

    fn mode(path: &Path) -> io::Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o777)
    }

    #[test]
    fn a_configuration_is_private_and_goes_with_its_process() -> io::Result<()> {
        let place = tempfile::tempdir()?;
        let scratch = Scratch::open_in(place.path())?;
        let config = scratch.config(b"{}")?;
        let file = config.folder().join("config.json");
        assert_eq!(fs::read(&file)?, b"{}");
        assert_eq!(
            (mode(&file)?, mode(config.folder())?, mode(scratch.path())?),
            (0o600, 0o700, 0o700)
        );
        drop(config);
        assert_eq!(names(scratch.path())?, [LOCK]);
        drop(scratch);
        assert!(names(place.path())?.is_empty());
        Ok(())
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_another_run_uses_is_not() -> io::Result<()> {
        let place = tempfile::tempdir()?;
        let living = Scratch::open_in(place.path())?;
        living.config(b"{}")?;
        // As a kill leaves it: the file without its lock.
        let dead = place.path().join(format!("{PREFIX}dead"));
        fs::DirBuilder::new().mode(0o700).create(&dead)?;
        fs::write(dead.join(LOCK), "")?;
        fs::create_dir(dead.join("c1"))?;
        fs::write(dead.join("c1/config.json"), "hunter2")?;
        // Killed before it was locked, long ago and just now.
        let new = ["old", "now"].map(|name| place.path().join(format!("{NEW_PREFIX}{name}")));
        for folder in &new {
            fs::create_dir(folder)?;
        }
        let long_ago = std::time::SystemTime::now() - 2 * MAX_NEW_AGE;
        File::open(&new[0])?.set_modified(long_ago)?;
        // What is not ours.
        fs::create_dir(place.path().join("image-census-other"))?;
        let elsewhere = tempfile::tempdir()?;
        fs::write(elsewhere.path().join("kept"), "")?;
        std::os::unix::fs::symlink(elsewhere.path(), place.path().join(format!("{PREFIX}link")))?;
        sweep(place.path());
        assert!(!dead.exists());
        assert!(!new[0].exists() && new[1].exists());
        assert!(living.path().exists() && place.path().join("image-census-other").exists());
        assert!(elsewhere.path().join("kept").exists());
        Ok(())
    }
}
