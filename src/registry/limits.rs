//! What reading one thing from a registry may take, whichever engine reads: time, pace and size.

use std::io::{self, Read};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, Interval, interval, sleep_until};
use tokio_util::sync::CancellationToken;

/// What one thing may take.
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

/// Why reading was ended by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Time,
    Pace,
    Cancelled,
    TooLarge,
}

/// Limits of small content.
pub(super) fn small(time: Duration, max_bytes: u64) -> Limits {
    Limits {
        time,
        pace_window: None,
        min_bytes: 0,
        max_bytes,
    }
}

/// What a reader has seen, and whether it is to stop.
#[derive(Default)]
pub(super) struct Progress {
    bytes: AtomicU64,
    stop: AtomicBool,
    at_end: AtomicBool,
    too_large: AtomicBool,
}

impl Progress {
    /// Whether the reader saw the end of the output.
    pub(super) fn is_at_end(&self) -> bool {
        self.at_end.load(Ordering::Relaxed)
    }

    /// Whether there was more than the limit.
    pub(super) fn is_too_large(&self) -> bool {
        self.too_large.load(Ordering::Relaxed)
    }
}

/// Counts what passes, and ends early when the run is over or the limit met: a decompressor goes on
/// with what it holds long after its source has ended.
pub(super) struct Output<R> {
    pub(super) source: R,
    pub(super) progress: Arc<Progress>,
    pub(super) max_bytes: u64,
}

impl<R: Read> Read for Output<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.progress.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("reading was ended"));
        }
        let count = self.source.read(buffer)?;
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

/// Watches over time and pace, and over the run's end.
pub(super) struct Watch<'a> {
    limits: Limits,
    stop: &'a CancellationToken,
    progress: Arc<Progress>,
    deadline: Instant,
    pace: Option<Interval>,
    seen: u64,
    ended: Option<Ended>,
}

impl<'a> Watch<'a> {
    /// The time begins now.
    pub(super) fn new(
        limits: Limits,
        stop: &'a CancellationToken,
        progress: &Arc<Progress>,
    ) -> Self {
        let pace = limits.pace_window.map(|window| {
            let mut pace = interval(window);
            // The first tick is now.
            pace.reset();
            pace
        });
        Self {
            limits,
            stop,
            progress: Arc::clone(progress),
            deadline: Instant::now() + limits.time,
            pace,
            seen: 0,
            ended: None,
        }
    }

    /// Why it was ended, if it was.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// From now on nothing more is expected: what is left has the rest of the time.
    pub(super) fn no_more_pace(&mut self) {
        self.pace = None;
    }

    /// Tells the reader to stop.
    pub(super) fn end(&mut self, reason: Ended) {
        self.ended.get_or_insert(reason);
        self.progress.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for `work`. When a limit is met, `end` is to make it come to its end.
    pub(super) async fn over<T>(&mut self, work: impl Future<Output = T>, end: impl Fn()) -> T {
        let mut work = pin!(work);
        loop {
            let is_free = self.ended.is_none();
            let reason = tokio::select! {
                value = &mut work => return value,
                () = sleep_until(self.deadline), if is_free => Ended::Time,
                () = self.stop.cancelled(), if is_free => Ended::Cancelled,
                () = tick(self.pace.as_mut()), if is_free => {
                    let bytes = self.progress.bytes.load(Ordering::Relaxed);
                    let is_slow = bytes - self.seen < self.limits.min_bytes;
                    self.seen = bytes;
                    if !is_slow {
                        continue;
                    }
                    Ended::Pace
                }
            };
            self.end(reason);
            end();
        }
    }
}

async fn tick(pace: Option<&mut Interval>) {
    match pace {
        Some(pace) => {
            pace.tick().await;
        }
        None => std::future::pending().await,
    }
}
