//! A service that nobody should reach: it remembers every byte, and answers as if all were well.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use super::Result;

/// A running one; its threads end with the test.
pub(crate) struct Recorder {
    /// Of 127.0.0.1.
    pub(crate) port: u16,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    connections: usize,
    bytes: Vec<u8>,
}

impl Recorder {
    /// Starts one.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let heard = Arc::new(Mutex::<Heard>::default());
        let shared = Arc::clone(&heard);
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                lock(&shared).connections += 1;
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = client.read(&mut buffer) {
                        lock(&shared).bytes.extend_from_slice(&buffer[..count]);
                        let answer =
                            "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"token\":\"x\"}";
                        let _ = client.write_all(answer.as_bytes());
                    }
                });
            }
        });
        Ok(Self { port, heard })
    }

    /// How often somebody connected.
    pub(crate) fn connections(&self) -> usize {
        lock(&self.heard).connections
    }

    /// All that it was told.
    pub(crate) fn heard(&self) -> String {
        String::from_utf8_lossy(&lock(&self.heard).bytes).into_owned()
    }
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
