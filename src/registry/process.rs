//! One bounded child process: its output is streamed to a reader; time, pace and size have limits;
//! it ends with its whole process group.

use std::fs::File;
use std::io::{self, Read};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};
use tokio::time::{Instant, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::sandbox::{self, Confinement};

/// Error text beyond this is not kept: 16 KiB hold every message that crane makes by itself.
const MAX_STDERR_BYTES: u64 = 16 * 1024;

/// How long error text may still arrive after the process and its group have ended.
const STDERR_TIME: Duration = Duration::from_secs(1);

/// What a process may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From start to end.
    pub(super) time: Duration,
    /// At least [`Self::min_bytes`] arrive in each of these; none where output is small.
    pub(super) pace_window: Option<Duration>,
    /// See [`Self::pace_window`].
    pub(super) min_bytes: u64,
    /// Output beyond this ends it.
    pub(super) max_bytes: u64,
}

/// Why a process was ended by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Time,
    Pace,
    Cancelled,
    TooLarge,
}

/// What became of a process.
pub(super) struct Outcome<T> {
    pub(super) value: T,
    pub(super) status: ExitStatus,
    pub(super) stderr: String,
    pub(super) ended: Option<Ended>,
    /// Whether the reader saw the end of the output.
    pub(super) read_to_end: bool,
}

/// Kills the process group unless it was reaped; also when the run is dropped half-way.
struct Group(Option<Pid>);

impl Group {
    fn kill(&self) {
        if let Some(pid) = self.0 {
            // It may have ended by itself a moment ago.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Counts what passes, and ends early when the run is over or the limit met: a decompressor goes on
/// with what it holds long after the process has died.
struct Output {
    pipe: File,
    progress: Arc<Progress>,
    max_bytes: u64,
}

#[derive(Default)]
struct Progress {
    bytes: AtomicU64,
    stop: AtomicBool,
    at_end: AtomicBool,
    too_large: AtomicBool,
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.progress.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("reading was ended"));
        }
        let count = self.pipe.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.progress.at_end.store(true, Ordering::Relaxed);
        }
        let total = self
            .progress
            .bytes
            .fetch_add(count as u64, Ordering::Relaxed)
            + count as u64;
        if total > self.max_bytes {
            self.progress.too_large.store(true, Ordering::Relaxed);
            return Err(io::Error::other("the output is larger than its limit"));
        }
        Ok(count)
    }
}

/// Runs `command`, whose program, arguments and environment are set, and streams its output through
/// `read`.
pub(super) async fn run<T: Send + 'static>(
    mut command: Command,
    confinement: Confinement,
    limits: Limits,
    stop: &CancellationToken,
    read: impl FnOnce(&mut dyn Read) -> T + Send + 'static,
) -> io::Result<Outcome<T>> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = sandbox::spawn(&mut command, confinement)?;
    let mut group = Group(
        child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw),
    );
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("the process has no output"));
    };

    let progress = Arc::new(Progress::default());
    let mut output = Output {
        pipe: stdout.into_owned_fd()?.into(),
        progress: Arc::clone(&progress),
        max_bytes: limits.max_bytes,
    };
    let mut reader = tokio::task::spawn_blocking(move || read(&mut output));
    let over = CancellationToken::new();
    let errors = tokio::spawn(read_errors(stderr, over.clone()));

    let deadline = Instant::now() + limits.time;
    let mut ended = None;
    let end = |reason: Ended, ended: &mut Option<Ended>| {
        ended.get_or_insert(reason);
        progress.stop.store(true, Ordering::Relaxed);
        group.kill();
    };
    let mut pace = interval(limits.pace_window.unwrap_or(limits.time));
    pace.tick().await;
    let mut seen = 0;
    let value = loop {
        tokio::select! {
            value = &mut reader => break value.map_err(io::Error::other)?,
            () = sleep_until(deadline), if ended.is_none() => end(Ended::Time, &mut ended),
            () = stop.cancelled(), if ended.is_none() => end(Ended::Cancelled, &mut ended),
            _ = pace.tick(), if limits.pace_window.is_some() && ended.is_none() => {
                let bytes = progress.bytes.load(Ordering::Relaxed);
                if bytes - seen < limits.min_bytes { end(Ended::Pace, &mut ended); }
                seen = bytes;
            }
        }
    };
    if progress.too_large.load(Ordering::Relaxed) {
        end(Ended::TooLarge, &mut ended);
    }
    // The pipe is closed: a process that still writes ends by SIGPIPE. One that waits for its server
    // would not notice that nobody reads on.
    if !progress.at_end.load(Ordering::Relaxed) {
        group.kill();
    }
    let status = tokio::select! {
        status = child.wait() => status?,
        () = sleep_until(deadline), if ended.is_none() => { end(Ended::Time, &mut ended); child.wait().await? }
        () = stop.cancelled(), if ended.is_none() => { end(Ended::Cancelled, &mut ended); child.wait().await? }
    };
    // Helpers of the process that still hold its stderr end with the group.
    group.kill();
    group.0 = None;
    over.cancel();
    if status.success() {
        errors.abort();
    }
    let stderr = errors.await.unwrap_or_default();
    let read_to_end = progress.at_end.load(Ordering::Relaxed);
    Ok(Outcome {
        value,
        status,
        stderr,
        ended,
        read_to_end,
    })
}

/// What a process says on standard error. A helper of it that left its group, such as an agent, may
/// keep that open for ever: once the process is `over`, there is a moment for what is on its way.
async fn read_errors(stderr: ChildStderr, over: CancellationToken) -> String {
    let mut text = Vec::new();
    let reading = async {
        let mut start = stderr.take(MAX_STDERR_BYTES);
        let _ = start.read_to_end(&mut text).await;
        // The rest is read and dropped, so that the writer does not wait for ever.
        let _ = tokio::io::copy(&mut start.into_inner(), &mut tokio::io::sink()).await;
    };
    let late = async {
        over.cancelled().await;
        sleep(STDERR_TIME).await;
    };
    tokio::select! {
        () = reading => {}
        () = late => {}
    }
    String::from_utf8_lossy(&text).into_owned()
}
