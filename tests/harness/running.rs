//! A program under test while it runs: signals, a time in which it must end, and what it leaves behind.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Result;

/// A started program; it is killed when this is dropped before it has ended.
pub(crate) struct Running {
    child: Child,
    folder: tempfile::TempDir,
    started: Instant,
}

/// How a program ended, and all that it wrote.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Running {
    /// Starts it; its output goes to files, so that it never waits for us.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(folder.path().join("stdout"))?)
            .stderr(File::create(folder.path().join("stderr"))?)
            .spawn()?;
        Ok(Self {
            child,
            folder,
            started: Instant::now(),
        })
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or("no process id")?, signal)?;
        Ok(())
    }

    /// Waits for its end, which must come within `limit` of its start; `meanwhile` is called now and
    /// then.
    pub(crate) fn wait(
        mut self,
        limit: Duration,
        mut meanwhile: impl FnMut() -> Result,
    ) -> Result<Ended> {
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if self.started.elapsed() > limit {
                let said = fs::read_to_string(self.folder.path().join("stderr"))?;
                return Err(format!("it did not end within {limit:?}: {said}").into());
            }
            meanwhile()?;
            std::thread::sleep(Duration::from_millis(10));
        };
        let read = |name| fs::read(self.folder.path().join(name));
        Ok(Ended {
            status,
            stdout: String::from_utf8_lossy(&read("stdout")?).into_owned(),
            stderr: String::from_utf8_lossy(&read("stderr")?).into_owned(),
            took: self.started.elapsed(),
        })
    }
}

/// The most memory that was seen, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Of the program.
    pub(crate) program: u64,
    /// Of one of its children.
    pub(crate) child: u64,
    /// Of the program and its children together: each process that was alive with its own peak so far.
    pub(crate) all: u64,
    /// How many children were alive at once.
    pub(crate) children: usize,
}

impl Running {
    /// Waits as [`Running::wait`] does; also the most memory that it was seen to hold, in KiB.
    pub(crate) fn wait_and_measure(self, limit: Duration) -> Result<(Ended, u64)> {
        let (ended, memory) = self.wait_and_measure_all(limit)?;
        Ok((ended, memory.program))
    }

    /// The same with its children.
    pub(crate) fn wait_and_measure_all(self, limit: Duration) -> Result<(Ended, Memory)> {
        let id = self.child.id();
        let mut most = Memory::default();
        let ended = self.wait(limit, || {
            let children: Vec<_> = children_of(id).into_iter().map(peak_of).collect();
            let program = peak_of(id);
            most.program = most.program.max(program);
            most.child = most.child.max(children.iter().copied().max().unwrap_or(0));
            most.all = most.all.max(program + children.iter().sum::<u64>());
            most.children = most.children.max(children.len());
            Ok(())
        })?;
        Ok((ended, most))
    }
}

/// The most memory that a process has held so far, in KiB; 0 if it has ended.
fn peak_of(id: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.unwrap_or_default()
}

/// The children of a process, whichever of its threads has started them; not those that are still
/// copies of itself, on their way to another program.
fn children_of(id: u32) -> Vec<u32> {
    let program = |id: u32| fs::read_link(format!("/proc/{id}/exe")).ok();
    let own = program(id);
    let threads = fs::read_dir(format!("/proc/{id}/task"));
    let mut children = Vec::new();
    for thread in threads.into_iter().flatten().flatten() {
        let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.extend(
            text.split_whitespace()
                .filter_map(|id| id.parse::<u32>().ok())
                .filter(|id| program(*id) != own),
        );
    }
    children
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result {
    let started = Instant::now();
    while !is_so()? {
        if started.elapsed() > Duration::from_secs(60) {
            return Err(format!("in vain waited for: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The ids of all processes alive whose command line holds `text`.
pub(crate) fn processes_with(text: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have ended a moment ago; one that has ended and waits for its parent has none.
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(text) {
            found.push(id);
        }
    }
    Ok(found)
}

/// Fails if a process whose command line holds `text` is alive. One that was killed gets a moment.
pub(crate) fn assert_no_process_with(text: &str) -> Result {
    let started = Instant::now();
    loop {
        let left = processes_with(text)?;
        if left.is_empty() {
            return Ok(());
        }
        if started.elapsed() > Duration::from_secs(2) {
            return Err(format!("processes {left:?} with {text} were left behind").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
