//! A small TCP proxy in front of a real server, which does one thing wrong.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Result;

/// What the proxy does wrong.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Nothing: it only counts.
    None,
    /// As many requests that begin so reach the server; their answers are dropped with the connection.
    LoseAnswers { request: Vec<u8>, times: usize },
    /// After that many bytes from the server, over all connections, everything waits until the test
    /// says how it goes on. TLS may pass through: nothing is changed, only held or cut.
    Hold { after_bytes: usize },
}

impl Fault {
    /// The first request that begins so reaches the server, whose answer is dropped with the connection.
    pub(crate) fn lose_first_answer(request: &str) -> Self {
        Self::LoseAnswers {
            request: request.into(),
            times: 1,
        }
    }
}

/// A running proxy; it ends with the test.
pub(crate) struct Proxy {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    shared: Arc<Shared>,
}

struct Shared {
    server: String,
    fault: Fault,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Bytes from the server so far.
    bytes: usize,
    faults: usize,
    released: Option<Release>,
}

#[derive(Clone, Copy)]
enum Release {
    GoOn,
    Cut,
}

impl Proxy {
    /// Listens on a free port and passes connections on to `server`.
    pub(crate) fn start(server: &str, fault: Fault) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            fault,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&own);
                std::thread::spawn(move || pass(client, &shared));
            }
        });
        Ok(Self { address, shared })
    }

    /// How often the fault has happened.
    pub(crate) fn faults(&self) -> usize {
        self.shared.state().faults
    }

    /// Bytes that the server has sent.
    pub(crate) fn bytes(&self) -> usize {
        self.shared.state().bytes
    }

    /// Waits until the fault has happened.
    pub(crate) fn wait_for_fault(&self) -> Result {
        let started = Instant::now();
        while self.faults() == 0 {
            if started.elapsed() > Duration::from_secs(120) {
                return Err("the proxy's fault did not happen".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// What was held goes on.
    pub(crate) fn go_on(&self) {
        self.shared.release(Release::GoOn);
    }

    /// What was held is dropped with its connections; later ones pass.
    pub(crate) fn cut(&self) {
        self.shared.release(Release::Cut);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, how: Release) {
        self.state().released = Some(how);
        self.changed.notify_all();
    }

    /// Counts bytes from the server and waits where they are to be held; whether they may pass.
    fn admit(&self, count: usize) -> bool {
        let mut state = self.state();
        state.bytes += count;
        let Fault::Hold { after_bytes } = self.fault else {
            return true;
        };
        if state.bytes <= after_bytes || state.released.is_some() {
            return true;
        }
        state.faults += 1;
        let state = self
            .changed
            .wait_while(state, |state| state.released.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        matches!(state.released, Some(Release::GoOn))
    }
}

fn pass(mut client: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let mut upstream = TcpStream::connect(&shared.server)?;
    let (mut answers, mut back) = (upstream.try_clone()?, client.try_clone()?);
    let losing = Arc::new(AtomicBool::new(false));
    let lose = Arc::clone(&losing);
    let counter = Arc::clone(shared);
    std::thread::spawn(move || -> std::io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            // A server that crashed is the end of the connection, as a clean end is.
            let count = answers.read(&mut buffer).unwrap_or_default();
            if count > 0 && lose.load(Ordering::SeqCst) && !buffer.starts_with(b"HTTP/1.1 100") {
                counter.state().faults += 1;
                return back.shutdown(Shutdown::Both);
            }
            if count == 0 {
                return back.shutdown(Shutdown::Write);
            }
            if !counter.admit(count) {
                return back.shutdown(Shutdown::Both);
            }
            back.write_all(&buffer[..count])?;
        }
    });
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = client.read(&mut buffer)?;
        if count == 0 {
            return upstream.shutdown(Shutdown::Write);
        }
        // A client sends a request in one piece, or at least its first line.
        if let Fault::LoseAnswers { request, times } = &shared.fault
            && buffer[..count].starts_with(request)
            && shared.state().faults < *times
        {
            losing.store(true, Ordering::SeqCst);
        }
        upstream.write_all(&buffer[..count])?;
    }
}
