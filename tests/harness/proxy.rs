//! A small TCP proxy in front of a real server, which does one thing wrong.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Result;

/// What the proxy does wrong.
#[derive(Clone)]
pub(crate) struct Fault {
    request: Vec<u8>,
    times: usize,
}

impl Fault {
    /// The first request that begins so reaches the server, whose answer is dropped with the connection.
    pub(crate) fn lose_first_answer(request: &str) -> Self {
        Self {
            request: request.into(),
            times: 1,
        }
    }
}

/// A running proxy; it ends with the test.
pub(crate) struct Proxy {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    done: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens on a free port and passes connections on to `server`.
    pub(crate) fn start(server: &str, fault: Fault) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let done = Arc::new(AtomicUsize::new(0));
        let (server, counter) = (server.to_owned(), Arc::clone(&done));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, fault, done) = (server.clone(), fault.clone(), Arc::clone(&counter));
                std::thread::spawn(move || pass(client, &server, &fault, &done));
            }
        });
        Ok(Self { address, done })
    }

    /// How often the fault has happened.
    pub(crate) fn faults(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }
}

fn pass(
    mut client: TcpStream,
    server: &str,
    fault: &Fault,
    done: &Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let mut upstream = TcpStream::connect(server)?;
    let (mut answers, mut back) = (upstream.try_clone()?, client.try_clone()?);
    let losing = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let lose = Arc::clone(&losing);
    let counter = Arc::clone(done);
    std::thread::spawn(move || -> std::io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let count = answers.read(&mut buffer)?;
            if count > 0 && lose.load(Ordering::SeqCst) && !buffer.starts_with(b"HTTP/1.1 100") {
                counter.fetch_add(1, Ordering::SeqCst);
                return back.shutdown(Shutdown::Both);
            }
            if count == 0 {
                return back.shutdown(Shutdown::Write);
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
        if buffer[..count].starts_with(&fault.request) && done.load(Ordering::SeqCst) < fault.times
        {
            losing.store(true, Ordering::SeqCst);
        }
        upstream.write_all(&buffer[..count])?;
    }
}
