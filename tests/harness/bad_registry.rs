//! A registry on a free loopback port that serves built images and misbehaves where it is told to.
//!
//! In: an image's blobs for a repository, and a [`Fault`] for a path. Out: answers over HTTP/1.1, as crane
//! asks for them, and a log of what was asked. Every connection has a thread; all end with the guard.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Result;

/// Where a client asks first, whatever it wants.
pub(crate) const PING: &str = "/v2/";

/// What it does instead of answering well.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Reads the request and never answers.
    Silent,
    /// Answers headers at once and then the content, a byte a second.
    Drip,
    /// Answers headers and these bytes, and then nothing more.
    Stall(Vec<u8>),
    /// Answers this instead of the content, under the digest that was asked for.
    Forged {
        media_type: &'static str,
        bytes: Vec<u8>,
    },
    /// Answers these bytes and then others without an end.
    Endless(Vec<u8>),
    /// Answers half the content and closes the connection.
    Truncated,
    /// Answers half the content and resets the connection.
    Reset,
    /// Answers a status with a header line and a body.
    Status {
        status: u16,
        header: String,
        body: Vec<u8>,
    },
    /// Answers the content with one more header line.
    Header(&'static str),
    /// Refuses, and repeats all that it was told.
    Echo,
}

impl Fault {
    /// A status with a body.
    pub(crate) fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Status {
            status,
            header: "Content-Type: text/html".to_owned(),
            body: body.into(),
        }
    }

    /// Sends the client elsewhere.
    pub(crate) fn redirect(to: &str) -> Self {
        Self::Status {
            status: 307,
            header: format!("Location: {to}"),
            body: Vec::new(),
        }
    }

    /// Asks for a token from elsewhere, with a credential if the client has one.
    pub(crate) fn token_from(realm: &str) -> Self {
        Self::Status {
            status: 401,
            header: format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"registry\""),
            body: Vec::new(),
        }
    }
}

/// How many requests it takes.
struct Limit {
    per_second: u32,
    /// In the second that began then.
    second: Instant,
    count: u32,
}

/// A request, pings among them.
#[derive(Clone, Copy)]
pub(crate) struct Access {
    pub(crate) at: Instant,
    /// Whether it was answered 429.
    pub(crate) refused: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
}

#[derive(Clone)]
struct Content {
    media_type: String,
    bytes: Arc<Vec<u8>>,
}

/// Tokens that it gives, without which it answers nothing.
struct Tokens {
    /// How often each serves.
    uses: usize,
    /// How often each of those that were given still does.
    left: HashMap<String, usize>,
    /// The scopes that were asked for.
    scopes: Vec<String>,
}

#[derive(Default)]
struct State {
    contents: Mutex<HashMap<String, Content>>,
    faults: Mutex<HashMap<String, Fault>>,
    log: Mutex<Vec<String>>,
    accesses: Mutex<Vec<Access>>,
    refusals: AtomicUsize,
    delay: Mutex<Duration>,
    limit: Mutex<Option<Limit>>,
    tokens: Mutex<Option<Tokens>>,
    connections: Mutex<Vec<TcpStream>>,
    hanging: AtomicUsize,
    credentials: AtomicUsize,
    heads: Mutex<Vec<String>>,
    ended: AtomicBool,
}

/// A running registry; it ends, with its connections, when this is dropped.
pub(crate) struct BadRegistry {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    state: Arc<State>,
}

impl BadRegistry {
    /// Starts one that holds nothing.
    pub(crate) fn start() -> Result<Self> {
        Self::start_on("127.0.0.1")
    }

    /// The same at another address of this machine.
    pub(crate) fn start_on(address: &str) -> Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        let address = listener.local_addr()?.to_string();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(stream) = stream.try_clone() {
                    lock(&shared.connections).push(stream);
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let _ = serve(&stream, &shared);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Ok(Self { address, state })
    }

    /// Serves an image's blobs by their digests, and its manifest by the tag `1`, too.
    pub(crate) fn add(&self, repository: &str, manifest: &str, blobs: &BTreeMap<String, Vec<u8>>) {
        let mut contents = lock(&self.state.contents);
        for (digest, bytes) in blobs {
            // Manifests and indexes say what they are; of blobs nobody asks.
            let document = serde_json::from_slice::<Document>(bytes);
            let media_type = document.ok().and_then(|document| document.media_type);
            let content = Content {
                media_type: media_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
                bytes: Arc::new(bytes.clone()),
            };
            contents.insert(manifest_path(repository, digest), content.clone());
            contents.insert(blob_path(repository, digest), content.clone());
            if digest == manifest {
                contents.insert(manifest_path(repository, "1"), content);
            }
        }
    }

    /// Misbehaves on a path from now on.
    pub(crate) fn misbehave(&self, path: &str, fault: Fault) {
        lock(&self.state.faults).insert(path.to_owned(), fault);
    }

    /// Behaves on a path again.
    pub(crate) fn behave(&self, path: &str) {
        lock(&self.state.faults).remove(path);
    }

    /// Answers 429 to what comes beyond so many requests in a second, pings among them.
    pub(crate) fn limit(&self, per_second: u32) {
        *lock(&self.state.limit) = Some(Limit {
            per_second,
            second: Instant::now(),
            count: 0,
        });
    }

    /// Asks for a token from now on, and gives ones that serve so often.
    pub(crate) fn ask_for_tokens(&self, uses: usize) {
        *lock(&self.state.tokens) = Some(Tokens {
            uses,
            left: HashMap::new(),
            scopes: Vec::new(),
        });
    }

    /// The scopes for which a token was asked, in their order.
    pub(crate) fn scopes(&self) -> Vec<String> {
        let tokens = lock(&self.state.tokens);
        let scopes = tokens.as_ref().map(|tokens| tokens.scopes.clone());
        scopes.unwrap_or_default()
    }

    /// How many connections there were so far.
    pub(crate) fn connections(&self) -> usize {
        lock(&self.state.connections).len()
    }

    /// Answers 429 to so many requests from now on, whenever they come.
    pub(crate) fn refuse(&self, requests: usize) {
        self.state.refusals.store(requests, Ordering::SeqCst);
    }

    /// Waits so long before each answer.
    pub(crate) fn delay(&self, time: Duration) {
        *lock(&self.state.delay) = time;
    }

    /// All requests so far, in their order.
    pub(crate) fn accesses(&self) -> Vec<Access> {
        lock(&self.state.accesses).clone()
    }

    /// How many requests were answered 429.
    pub(crate) fn refused(&self) -> usize {
        let accesses = self.accesses();
        accesses.iter().filter(|access| access.refused).count()
    }

    /// How many requests came with a credential.
    pub(crate) fn credentials(&self) -> usize {
        self.state.credentials.load(Ordering::SeqCst)
    }

    /// The lines of each request up to its body, in the order in which they came.
    pub(crate) fn heads(&self) -> Vec<String> {
        lock(&self.state.heads).clone()
    }

    /// The port alone, for another name of this machine.
    pub(crate) fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap_or_default()
    }

    /// `GET PATH` of each request so far, pings left out.
    pub(crate) fn log(&self) -> Vec<String> {
        lock(&self.state.log).clone()
    }

    /// How many requests wait for an answer that will not come.
    pub(crate) fn hanging(&self) -> usize {
        self.state.hanging.load(Ordering::SeqCst)
    }
}

impl Drop for BadRegistry {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(&self.address);
        for stream in lock(&self.state.connections).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Where a manifest or index is asked for.
pub(crate) fn manifest_path(repository: &str, reference: &str) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

/// Where a configuration or layer is asked for.
pub(crate) fn blob_path(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers one connection's requests.
fn serve(mut stream: &TcpStream, state: &State) -> io::Result<()> {
    let mut first = [0];
    if stream.peek(&mut first)? == 1 && first == [0x16] {
        return refuse_tls(stream);
    }
    loop {
        let line = read_line(stream)?;
        let mut words = line.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Ok(());
        };
        let path = path.split('?').next().unwrap_or_default();
        let fault = lock(&state.faults).get(path).cloned();
        // Closing a connection whose input was not read is what resets it.
        let mut head = line.clone();
        if !matches!(fault, Some(Fault::Reset)) {
            loop {
                let header = read_line(stream)?;
                if header.to_ascii_lowercase().starts_with("authorization:") {
                    state.credentials.fetch_add(1, Ordering::SeqCst);
                }
                if header.is_empty() {
                    break;
                }
                head = head + "\n" + &header;
            }
        }
        lock(&state.heads).push(head.clone());
        if let Some(answer) = about_tokens(stream, state, &line, &head)? {
            stream.write_all(&answer)?;
            continue;
        }
        let refused = is_too_many(state);
        let at = Instant::now();
        lock(&state.accesses).push(Access { at, refused });
        if refused {
            let answer = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer)?;
            continue;
        }
        if path != PING {
            lock(&state.log).push(format!("{method} {path}"));
        }
        let delay = *lock(&state.delay);
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let content = lock(&state.contents).get(path).cloned();
        match fault {
            Some(Fault::Echo) => return echo(stream, &head),
            Some(fault) => return misbehave(stream, state, path, fault, content),
            None => stream.write_all(&good_answer(method, path, content))?,
        }
    }
}

/// A token, or the demand for one; nothing where a request has one that still serves.
fn about_tokens(
    stream: &TcpStream,
    state: &State,
    line: &str,
    head: &str,
) -> io::Result<Option<Vec<u8>>> {
    let mut tokens = lock(&state.tokens);
    let Some(tokens) = tokens.as_mut() else {
        return Ok(None);
    };
    let target = line.split(' ').nth(1).unwrap_or_default();
    if let Some(query) = target.strip_prefix("/token?") {
        let token = format!("token-{}", tokens.scopes.len());
        let scope = query
            .split('&')
            .find_map(|part| part.strip_prefix("scope="));
        tokens.scopes.push(
            scope
                .unwrap_or_default()
                .replace("%3A", ":")
                .replace("%2F", "/"),
        );
        tokens.left.insert(token.clone(), tokens.uses);
        let body = format!("{{\"token\":\"{token}\",\"expires_in\":300}}");
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        return Ok(Some(answer.into()));
    }
    let shown = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.eq_ignore_ascii_case("authorization");
        value.trim().strip_prefix("Bearer ").filter(|_| is_it)
    });
    let left = shown.and_then(|token| tokens.left.get_mut(token));
    if let Some(left) = left.filter(|left| **left > 0) {
        *left -= 1;
        return Ok(None);
    }
    let address = stream.local_addr()?;
    Ok(Some(
        format!(
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"bad\"\r\nContent-Length: 0\r\n\r\n"
        )
        .into(),
    ))
}

fn is_too_many(state: &State) -> bool {
    let one_less = |left: usize| left.checked_sub(1);
    let refusals = &state.refusals;
    if refusals
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
        .is_ok()
    {
        return true;
    }
    let mut limit = lock(&state.limit);
    let Some(limit) = limit.as_mut() else {
        return false;
    };
    if limit.second.elapsed() >= Duration::from_secs(1) {
        limit.second = Instant::now();
        limit.count = 0;
    }
    limit.count += 1;
    limit.count > limit.per_second
}

/// crane tries TLS first also on loopback. Go's servers answer so; then crane goes on without.
fn refuse_tls(mut stream: &TcpStream) -> io::Result<()> {
    let mut header = [0; 5];
    stream.read_exact(&mut header)?;
    let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut hello)?;
    stream
        .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent a TLS request to a plain port.\n")
}

/// Up to a line feed, byte by byte: what follows may have to stay unread.
fn read_line(mut stream: &TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte)?;
        match byte {
            [b'\n'] => return Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
            [other] => line.push(other),
        }
    }
}

fn good_answer(method: &str, path: &str, content: Option<Content>) -> Vec<u8> {
    let Some(content) = content else {
        return if path == PING {
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec()
        } else {
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()
        };
    };
    let mut answer = head(path, &content.media_type, Some(content.bytes.len()), "");
    if method != "HEAD" {
        answer.extend_from_slice(&content.bytes);
    }
    answer
}

/// The head of a 200 that claims to be what was asked for.
fn head(path: &str, media_type: &str, length: Option<usize>, header: &str) -> Vec<u8> {
    let asked = path.rsplit('/').next().filter(|name| name.contains(':'));
    let digest = asked.map(|digest| format!("Docker-Content-Digest: {digest}\r\n"));
    // Without a length the content ends with the connection.
    let length = length.map(|length| format!("Content-Length: {length}\r\n"));
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\n{}{}{header}\r\n",
        digest.unwrap_or_default(),
        length.unwrap_or_default()
    )
    .into_bytes()
}

fn misbehave(
    mut stream: &TcpStream,
    state: &State,
    path: &str,
    fault: Fault,
    content: Option<Content>,
) -> io::Result<()> {
    let content = content.unwrap_or_else(|| Content {
        media_type: "application/octet-stream".to_owned(),
        bytes: Arc::default(),
    });
    let (media_type, bytes) = (&*content.media_type, &*content.bytes);
    let whole = head(path, media_type, Some(bytes.len()), "");
    let (half, _) = bytes.split_at(bytes.len() / 2);
    match fault {
        Fault::Silent => hang(stream, state),
        Fault::Stall(start) => {
            stream.write_all(&head(path, media_type, Some(1 << 30), ""))?;
            stream.write_all(&start)?;
            hang(stream, state)
        }
        Fault::Drip => {
            stream.write_all(&whole)?;
            for byte in bytes {
                stream.write_all(&[*byte])?;
                std::thread::sleep(Duration::from_secs(1));
            }
            Ok(())
        }
        Fault::Forged { media_type, bytes } => {
            stream.write_all(&head(path, media_type, Some(bytes.len()), ""))?;
            stream.write_all(&bytes)
        }
        Fault::Endless(start) => {
            stream.write_all(&head(path, media_type, None, ""))?;
            stream.write_all(&start)?;
            let more = [b'x'; 64 * 1024];
            loop {
                stream.write_all(&more)?;
            }
        }
        Fault::Truncated | Fault::Reset => {
            if !half.is_empty() {
                stream.write_all(&whole)?;
                stream.write_all(half)?;
            }
            // The client sees the half before the connection ends.
            std::thread::sleep(Duration::from_millis(100));
            Ok(())
        }
        Fault::Status {
            status,
            header,
            body,
        } => {
            let head = format!(
                "HTTP/1.1 {status} Whatever\r\nConnection: close\r\n{header}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)
        }
        Fault::Echo => Ok(()),
        Fault::Header(line) => {
            let line = format!("{line}\r\n");
            stream.write_all(&head(path, media_type, Some(bytes.len()), &line))?;
            stream.write_all(bytes)
        }
    }
}

/// An error document that holds a request.
fn echo(mut stream: &TcpStream, head: &str) -> io::Result<()> {
    let errors = serde_json::json!({"errors": [{"code": "DENIED", "message": head}]}).to_string();
    let length = errors.len();
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{errors}"
    );
    stream.write_all(answer.as_bytes())
}

/// Waits until the client gives up.
fn hang(mut stream: &TcpStream, state: &State) -> io::Result<()> {
    state.hanging.fetch_add(1, Ordering::SeqCst);
    let mut rest = [0; 1024];
    let outcome = loop {
        match stream.read(&mut rest) {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    state.hanging.fetch_sub(1, Ordering::SeqCst);
    outcome
}
