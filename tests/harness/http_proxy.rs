//! A small HTTP proxy in front of a real server, which numbers the requests and does something wrong at
//! some of them. What is not meant to go wrong passes unchanged.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Result;

/// What goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Wrong {
    /// The server is not asked; this is the answer, with an S3 error of this code.
    Answer(u16, &'static str),
    /// The connection is reset before the server has the request.
    Reset,
    /// Nothing is ever answered.
    Hang,
    /// The server has the request, and its answer is lost with the connection.
    LoseAnswer,
    /// The connection ends in the middle of the answer.
    CutAnswer,
    /// As a server that knows no `If-None-Match`: what lies under this folder is overwritten.
    IgnoreCondition(PathBuf),
}

/// A running proxy; it ends with the test.
pub(crate) struct HttpProxy {
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    shared: Arc<Shared>,
}

struct Shared {
    server: String,
    wrong: Wrong,
    /// The numbers of the requests at which it goes wrong; the first has 1.
    at: Range<usize>,
    requests: Mutex<Vec<String>>,
}

impl Shared {
    fn requests(&self) -> MutexGuard<'_, Vec<String>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a request; what is to go wrong with it.
    fn number(&self, line: &str) -> Option<&Wrong> {
        let mut requests = self.requests();
        requests.push(line.trim_end().to_owned());
        self.at.contains(&requests.len()).then_some(&self.wrong)
    }

    /// Whether the connection is to be reset at the next request, which is then counted. It stays unread:
    /// a connection that is closed so is reset by the system.
    fn resets(&self, client: &TcpStream) -> io::Result<bool> {
        if !matches!(self.wrong, Wrong::Reset) {
            return Ok(false);
        }
        let mut start = [0; 256];
        let count = client.peek(&mut start)?;
        let mut requests = self.requests();
        let resets = count > 0 && self.at.contains(&(requests.len() + 1));
        if resets {
            let text = String::from_utf8_lossy(&start[..count]);
            requests.push(text.lines().next().unwrap_or_default().to_owned());
        }
        Ok(resets)
    }
}

impl HttpProxy {
    /// Listens on a free port.
    pub(crate) fn start(server: &str, wrong: Wrong, at: Range<usize>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            wrong,
            at,
            requests: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&own);
                std::thread::spawn(move || serve(client, &shared));
            }
        });
        Ok(Self { address, shared })
    }

    /// The first lines of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests().clone()
    }

    /// Whether something went wrong so far.
    pub(crate) fn struck(&self) -> bool {
        self.shared.requests().len() >= self.shared.at.start
    }
}

/// A request's or an answer's lines up to the blank one, and what they say of what follows.
#[derive(Default)]
struct Head {
    lines: Vec<String>,
    length: u64,
    chunked: bool,
    expects: bool,
}

impl Head {
    /// Nothing at the end of the connection.
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = Self::default();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let lower = line.to_ascii_lowercase();
            match lower.split_once(':') {
                Some(("content-length", value)) => {
                    head.length = value.trim().parse().map_err(io::Error::other)?;
                }
                Some(("transfer-encoding", _)) => head.chunked = true,
                Some(("expect", _)) => head.expects = true,
                _ => {}
            }
            let ended = line.trim().is_empty();
            head.lines.push(line);
            if ended {
                return Ok(Some(head));
            }
        }
    }

    fn first(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(self.lines.concat().as_bytes())
    }

    /// Its body, framing included.
    fn body(&self, from: &mut impl BufRead) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if !self.chunked {
            from.take(self.length).read_to_end(&mut body)?;
            return Ok(body);
        }
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            body.extend_from_slice(line.as_bytes());
            // The chunk and its line's end.
            from.take(size + 2).read_to_end(&mut body)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut requests = BufReader::new(client.try_clone()?);
    let mut server = TcpStream::connect(&shared.server)?;
    let mut answers = BufReader::new(server.try_clone()?);
    loop {
        if requests.buffer().is_empty() && shared.resets(&client)? {
            return Ok(());
        }
        let Some(request) = Head::read(&mut requests)? else {
            return Ok(());
        };
        let wrong = shared.number(request.first());
        if request.expects {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = request.body(&mut requests)?;
        let mut aside = None;
        match wrong {
            Some(Wrong::Answer(status, code)) => {
                let content = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
                let head = format!(
                    "HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n",
                    content.len()
                );
                client.write_all(head.as_bytes())?;
                if !request.first().starts_with("HEAD ") {
                    client.write_all(content.as_bytes())?;
                }
                continue;
            }
            Some(Wrong::Hang) => {
                // Until the client gives up.
                io::copy(&mut requests, &mut io::sink())?;
                return Ok(());
            }
            Some(Wrong::IgnoreCondition(bucket)) => aside = put_aside(&request, bucket),
            _ => {}
        }
        request.write(&mut server)?;
        server.write_all(&body)?;
        let answer = loop {
            let Some(answer) = Head::read(&mut answers)? else {
                return client.shutdown(Shutdown::Both);
            };
            if !answer.first().contains(" 100 ") {
                break answer;
            }
        };
        if let Some(aside) = aside {
            put_back(aside)?;
        }
        let has_no_body = request.first().starts_with("HEAD ")
            || [" 204 ", " 304 "]
                .iter()
                .any(|status| answer.first().contains(status));
        let content = if has_no_body {
            Vec::new()
        } else {
            answer.body(&mut answers)?
        };
        match wrong {
            Some(Wrong::LoseAnswer) => return client.shutdown(Shutdown::Both),
            Some(Wrong::CutAnswer) => {
                answer.write(&mut client)?;
                client.write_all(&content[..content.len() / 2])?;
                return client.shutdown(Shutdown::Both);
            }
            _ => {}
        }
        answer.write(&mut client)?;
        client.write_all(&content)?;
    }
}

/// Takes away the object that a request with a condition is about to create: where it was, and where it is.
fn put_aside(request: &Head, bucket: &Path) -> Option<(PathBuf, PathBuf)> {
    let has_condition = request
        .lines
        .iter()
        .any(|line| line.to_ascii_lowercase().starts_with("if-none-match"));
    let mut words = request.first().split([' ', '?']);
    let path = words.nth(1)?;
    let (_, key) = path.trim_start_matches('/').split_once('/')?;
    // Equals signs of keys come encoded.
    let object = bucket.join(key.replace("%3D", "="));
    let aside = object.with_extension("aside");
    let is_away = has_condition && std::fs::rename(&object, &aside).is_ok();
    is_away.then_some((object, aside))
}

/// What the server has not replaced comes back: an upload that is over cannot be completed again.
fn put_back((object, aside): (PathBuf, PathBuf)) -> io::Result<()> {
    if object.exists() {
        std::fs::remove_file(aside)
    } else {
        std::fs::rename(aside, object)
    }
}
