//! A control group with a limit of memory, for a program and all that it starts, in both versions of
//! control groups. Needs root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Result;

/// A group; it goes when this is dropped, once nobody is in it.
pub(crate) struct MemoryGroup {
    folder: PathBuf,
    unified: bool,
}

/// What a group has seen.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The most memory that it held, page cache included.
    pub(crate) peak: u64,
    /// Processes that the kernel killed because there was no more.
    pub(crate) killed: u64,
    /// How often it ran against the limit; page cache is given up then.
    pub(crate) hits: u64,
}

impl MemoryGroup {
    /// Makes one with a limit in bytes, without swap. None where this machine does not let us, which in
    /// CI is an error: nobody would miss a part that never runs there.
    pub(crate) fn create(limit: u64) -> Result<Option<Self>> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let root = Path::new("/sys/fs/cgroup").join(if unified { "." } else { "memory" });
        // Not the beginning of a cluster's name: scripts/cluster removes those that no cluster has.
        let (id, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let group = Self {
            folder: root.join(format!("census-limit-{id}-{count}")),
            unified,
        };
        match group.set_up(limit) {
            Ok(()) => Ok(Some(group)),
            Err(error) => {
                let why =
                    format!("not tested: no control group can be made, which needs root: {error}");
                if std::env::var_os("CI").is_some() {
                    return Err(why.into());
                }
                io::Write::write_all(&mut io::stderr(), format!("{why}\n").as_bytes())?;
                Ok(None)
            }
        }
    }

    fn set_up(&self, limit: u64) -> io::Result<()> {
        fs::create_dir(&self.folder)?;
        let set = |name: &str, value: u64| fs::write(self.folder.join(name), value.to_string());
        if self.unified {
            set("memory.max", limit)?;
            return set("memory.swap.max", 0);
        }
        set("memory.limit_in_bytes", limit)?;
        // Only where the kernel counts swap.
        let swap = "memory.memsw.limit_in_bytes";
        if self.folder.join(swap).exists() {
            set(swap, limit)?;
        }
        Ok(())
    }

    /// The same command, whose process enters the group before it becomes the program.
    pub(crate) fn enter(&self, program: &Command) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ >\"$1\" && shift && exec \"$@\"", "sh"]);
        command.arg(self.folder.join("cgroup.procs"));
        command.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> Result<Seen> {
        let read = |name: &str| fs::read_to_string(self.folder.join(name));
        let line = |text: &str, key: &str| -> Result<u64> {
            let mut lines = text.lines().filter_map(|line| line.split_once(' '));
            let found = lines.find(|(name, _)| *name == key);
            let (_, value) = found.ok_or_else(|| format!("no {key} in {text}"))?;
            Ok(value.trim().parse()?)
        };
        if self.unified {
            let events = read("memory.events")?;
            return Ok(Seen {
                peak: read("memory.peak")?.trim().parse()?,
                killed: line(&events, "oom_kill")?,
                hits: line(&events, "max")?,
            });
        }
        Ok(Seen {
            peak: read("memory.max_usage_in_bytes")?.trim().parse()?,
            killed: line(&read("memory.oom_control")?, "oom_kill")?,
            hits: read("memory.failcnt")?.trim().parse()?,
        })
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // What was killed leaves its group with a delay.
        for _ in 0..50 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
