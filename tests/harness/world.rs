//! The world outside, as a company's proxy that never leaves the machine.
//!
//! In: public names and the servers that stand for them. Out: every host that somebody asked the proxy
//! for, and all that a stranger was told: a name without a server leads to one that answers well and
//! remembers every byte. What is asked for without TLS is remembered, too.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Result;
use super::recorder::Recorder;
use super::tls::{Certificate, Front};

/// The proxy's own user and password.
const USER: &str = "company:hunter2-proxy";

/// A running one; it ends with the test.
pub(crate) struct World {
    port: u16,
    stranger: Recorder,
    shared: Arc<Shared>,
    certificate: Certificate,
    fronts: Vec<Front>,
}

#[derive(Default)]
struct Shared {
    /// By host and port: where a tunnel leads, where a plain request goes.
    servers: Mutex<HashMap<String, Server>>,
    asked: Mutex<Vec<String>>,
    in_clear: Mutex<String>,
}

#[derive(Clone)]
struct Server {
    tunnel: String,
    plain: String,
}

impl World {
    /// Starts one in which every name directly below `.example` has a good certificate.
    pub(crate) fn start() -> Result<Self> {
        let certificate = Certificate::new(&["*.example"])?;
        let stranger = Recorder::start()?;
        let plain = format!("127.0.0.1:{}", stranger.port);
        let front = Front::start(&certificate, &plain)?;
        let other = Server {
            tunnel: format!("127.0.0.1:{}", front.port),
            plain,
        };
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::<Shared>::default();
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (shared, other) = (Arc::clone(&own), other.clone());
                std::thread::spawn(move || pass(client, &shared, other));
            }
        });
        Ok(Self {
            port,
            stranger,
            shared,
            certificate,
            fronts: vec![front],
        })
    }

    /// A name and port lead to a server that speaks no TLS itself.
    pub(crate) fn add(&mut self, host: &str, server: &str) -> Result {
        let front = Front::start(&self.certificate, server)?;
        self.insert(host, &format!("127.0.0.1:{}", front.port), server);
        self.fronts.push(front);
        Ok(())
    }

    /// The same, but with a certificate that nobody trusts.
    pub(crate) fn add_untrusted(&mut self, host: &str, server: &str) -> Result {
        let front = Front::start(&Certificate::new(&["*.example"])?, server)?;
        self.insert(host, &format!("127.0.0.1:{}", front.port), server);
        self.fronts.push(front);
        Ok(())
    }

    /// A name and port lead to a server without TLS, whatever is asked of it.
    pub(crate) fn add_plain(&mut self, host: &str, server: &str) {
        self.insert(host, server, server);
    }

    fn insert(&self, host: &str, tunnel: &str, plain: &str) {
        let server = Server {
            tunnel: tunnel.to_owned(),
            plain: plain.to_owned(),
        };
        lock(&self.shared.servers).insert(host.to_owned(), server);
    }

    /// Its address with its credential, for HTTPS_PROXY.
    pub(crate) fn proxy(&self) -> String {
        format!("http://{USER}@127.0.0.1:{}", self.port)
    }

    /// For SSL_CERT_FILE.
    pub(crate) fn authority(&self) -> std::path::PathBuf {
        self.certificate.file()
    }

    /// `HOST:PORT` of all that was asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }

    /// All that strangers were told.
    pub(crate) fn strangers_heard(&self) -> String {
        self.stranger.heard()
    }

    /// All that went over the network without TLS.
    pub(crate) fn in_clear(&self) -> String {
        lock(&self.shared.in_clear).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pass(mut client: TcpStream, shared: &Shared, other: Server) -> io::Result<()> {
    let head = read_head(&mut client)?;
    let (line, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
    let own = format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(USER));
    let found = headers.to_ascii_lowercase().find(&own.to_ascii_lowercase());
    let Some(at) = found else {
        return client.write_all(b"HTTP/1.1 407 Whatever\r\nContent-Length: 0\r\n\r\n");
    };
    // Another credential for a proxy stays, and is seen where it arrives.
    let headers = format!("{}{}", &headers[..at], &headers[at + own.len()..]);
    let mut words = line.split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let is_tunnel = method == Some("CONNECT");
    let (host, path) = match target.strip_prefix("http://") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => (target, ""),
    };
    let has_port = host.rsplit(':').next().is_some_and(is_number) && !host.ends_with(']');
    let host = if has_port {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    lock(&shared.asked).push(host.clone());
    let server = lock(&shared.servers).get(&host).cloned();
    let server = server.unwrap_or(other);
    let mut upstream = if is_tunnel {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        TcpStream::connect(server.tunnel)?
    } else {
        let request = format!("{} {path} HTTP/1.1\r\n{headers}", method.unwrap_or("GET"));
        lock(&shared.in_clear).push_str(&request);
        let mut upstream = TcpStream::connect(server.plain)?;
        upstream.write_all(request.as_bytes())?;
        upstream
    };
    let (mut back, mut answers) = (client.try_clone()?, upstream.try_clone()?);
    std::thread::spawn(move || {
        let copied = io::copy(&mut answers, &mut back);
        let _ = back.shutdown(Shutdown::Both);
        copied
    });
    let copied = io::copy(&mut client, &mut upstream);
    let _ = upstream.shutdown(Shutdown::Both);
    copied.map(drop)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Up to the blank line, and no byte of what follows.
fn read_head(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
