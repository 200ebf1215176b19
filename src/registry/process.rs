//! One bounded child process: its output is streamed to a reader; time, pace and size have limits;
//! it ends with its whole process group.

use std::fs::File;
use std::io::{self, Read};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::limits::{Ended, Limits, Output, Progress, Watch};
use super::sandbox::{self, Confinement};

/// Error text beyond this is not kept: 16 KiB hold every message that crane makes by itself.
const MAX_STDERR_BYTES: u64 = 16 * 1024;

/// What a process may write ahead of the reader, who inflates meanwhile: four times Linux's default.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 256 * 1024;

/// How long error text may still arrive after the process and its group have ended.
const STDERR_TIME: Duration = Duration::from_secs(1);

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
    let stdout = stdout.into_owned_fd()?;
    // A smaller one will do, too: a user's pipes may have so much memory together.
    #[cfg(target_os = "linux")]
    let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE_BYTES);
    let mut output = Output {
        source: File::from(stdout),
        progress: Arc::clone(&progress),
        max_bytes: limits.max_bytes,
    };
    let reader = tokio::task::spawn_blocking(move || read(&mut output));
    let over = CancellationToken::new();
    let errors = tokio::spawn(read_errors(stderr, over.clone()));

    let mut watch = Watch::new(limits, stop, &progress);
    let value = watch.over(reader, || group.kill()).await;
    let value = value.map_err(io::Error::other)?;
    if progress.is_too_large() {
        watch.end(Ended::TooLarge);
    }
    // The pipe is closed: a process that still writes ends by SIGPIPE. One that waits for its server
    // would not notice that nobody reads on.
    if !progress.is_at_end() {
        group.kill();
    }
    watch.no_more_pace();
    let status = watch.over(child.wait(), || group.kill()).await?;
    // Helpers of the process that still hold its stderr end with the group.
    group.kill();
    group.0 = None;
    over.cancel();
    if status.success() {
        errors.abort();
    }
    let stderr = errors.await.unwrap_or_default();
    Ok(Outcome {
        value,
        status,
        stderr,
        ended: watch.ended(),
        read_to_end: progress.is_at_end(),
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
