//! crane's own registry on a free loopback port.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Result, crane};

/// A running registry; it ends when this is dropped.
pub(crate) struct Registry {
    process: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    folder: tempfile::TempDir,
}

impl Registry {
    /// Starts an empty one.
    pub(crate) fn start() -> Result<Self> {
        Self::start_on("127.0.0.1:0")
    }

    /// Starts an empty one where another has ended. What that one held is to be pushed again: crane's
    /// registry keeps manifests in memory.
    pub(crate) fn start_on(address: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("registry.log");
        // crane's registry does not make its folder.
        let blobs = folder.path().join("blobs");
        fs::create_dir(&blobs)?;
        let mut process = Command::new(crane()?)
            .args(["registry", "serve", "--address", address, "--disk"])
            .arg(&blobs)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()?;
        let started = Instant::now();
        loop {
            let said = fs::read_to_string(&log)?;
            let port = said.split("serving on port ").nth(1);
            if let Some(port) = port.and_then(|rest| rest.split_whitespace().next()) {
                let address = format!("127.0.0.1:{port}");
                return Ok(Self {
                    process,
                    address,
                    folder,
                });
            }
            if started.elapsed() > Duration::from_secs(20) {
                process.kill()?;
                process.wait()?;
                return Err(format!("crane's registry does not start: {said}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it was asked since its log had `start` lines, pings left out: `GET /v2/…` each.
    pub(crate) fn requests_since(&self, start: usize) -> Result<Vec<String>> {
        Ok(requests(&self.log()?, start))
    }

    /// Its log so far: a line for each request.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("registry.log"))?)
    }
}

/// The requests in a log after its first `start` lines, pings left out.
pub(super) fn requests(log: &str, start: usize) -> Vec<String> {
    let lines = log.lines().skip(start);
    // Date and time come first, and a refusal last.
    let requests = lines.filter_map(|line| {
        let mut words = line.split(' ').skip(2);
        Some(format!("{} {}", words.next()?, words.next()?))
    });
    requests.filter(|request| request != "GET /v2/").collect()
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
