//! One crane process's way through the guard: its pass, what it used of it, and how that went.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::host_port::HostPort;
use super::policy::{Pass, Refusal, Rule};
use super::upstream::Stream;
use crate::sync::lock;

/// A process that tries more than this has shown what it is.
const MAX_VERDICTS: usize = 16;
/// Bytes that a process may send, besides a share of what it gets: handshakes, tokens and a few dozen
/// requests. crane follows redirects without an end, thousands a second.
const MAX_SENT_BYTES: u64 = 256 << 10;
/// That share: HTTP/2 acknowledges what it gets.
const SENT_SHARE: u64 = 32;
/// Hosts that are remembered of a process.
const MAX_HOSTS: usize = 16;

/// What went wrong on the way, for the process's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Something was not allowed.
    Refused(Refusal),
    /// More bytes than the pass allows.
    TooMuch,
    /// More requests than anything takes.
    Endless,
    /// A host's name was not found.
    NoSuchHost(HostPort),
    /// A host did not accept a connection.
    Unreachable(HostPort),
}

/// The state of a process's pass.
pub(super) struct Visit {
    pub(super) pass: Pass,
    bytes: AtomicU64,
    /// Those of them that the process sent.
    sent: AtomicU64,
    verdicts: Mutex<Vec<Verdict>>,
    /// Those that a connection was made to, in their order.
    hosts: Mutex<Vec<HostPort>>,
    /// Cancelled when the process has ended: nobody goes on with its connections.
    pub(super) over: CancellationToken,
}

impl Visit {
    pub(super) fn new(pass: Pass) -> Self {
        Self {
            pass,
            bytes: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            verdicts: Mutex::default(),
            hosts: Mutex::default(),
            over: CancellationToken::new(),
        }
    }

    pub(super) fn note(&self, verdict: Verdict) {
        let mut verdicts = lock(&self.verdicts);
        if !verdicts.contains(&verdict) && verdicts.len() < MAX_VERDICTS {
            verdicts.push(verdict);
        }
    }

    pub(super) fn note_host(&self, host: &HostPort) {
        let mut hosts = lock(&self.hosts);
        if !hosts.contains(host) && hosts.len() < MAX_HOSTS {
            hosts.push(host.clone());
        }
    }

    pub(super) fn hosts(&self) -> Vec<HostPort> {
        lock(&self.hosts).clone()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The one that explains a failure best. crane tries plain HTTP by itself where TLS failed, so that
    /// that refusal comes last.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let verdicts = lock(&self.verdicts);
        let rank = |verdict: &&Verdict| match verdict {
            Verdict::Refused(refusal) if refusal.rule == Rule::PlainHttp => 3,
            Verdict::Refused(_) => 0,
            Verdict::TooMuch | Verdict::Endless => 1,
            Verdict::NoSuchHost(_) | Verdict::Unreachable(_) => 2,
        };
        verdicts.iter().min_by_key(rank).cloned()
    }

    /// Counts bytes; an error if that was too many.
    fn count(&self, count: usize) -> io::Result<()> {
        let count = count as u64;
        let before = self.bytes.fetch_add(count, Ordering::Relaxed);
        if before.saturating_add(count) <= self.pass.max_bytes {
            return Ok(());
        }
        self.note(Verdict::TooMuch);
        Err(io::Error::other("more than the pass allows"))
    }

    /// Counts bytes that the process sends; an error if it seems to go on for ever.
    fn count_sent(&self, count: usize) -> io::Result<()> {
        self.count(count)?;
        let count = count as u64;
        let sent = self.sent.fetch_add(count, Ordering::Relaxed) + count;
        let got = self.bytes().saturating_sub(sent);
        if sent <= MAX_SENT_BYTES + got / SENT_SHARE {
            return Ok(());
        }
        self.note(Verdict::Endless);
        Err(io::Error::other("more requests than anything takes"))
    }
}

/// A connection whose bytes count, in both directions.
pub(super) struct Counted {
    pub(super) stream: Box<dyn Stream>,
    pub(super) visit: Arc<Visit>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(self.visit.count(buffer.filled().len() - before))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        Poll::Ready(self.visit.count_sent(count).map(|()| count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
