//! The guard as its clients meet it: real connections on loopback, names that lead where a test says.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What names lead to: the first answer, then the next, and the last one for ever.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<HashMap<String, Vec<Vec<IpAddr>>>>>);

impl Names {
    fn with(self, name: &str, answers: &[&[&str]]) -> Result<Self> {
        let mut parsed = Vec::new();
        for answer in answers.iter().rev() {
            let addresses: std::result::Result<_, _> = answer.iter().map(|a| a.parse()).collect();
            parsed.push(addresses?);
        }
        lock(&self.0).insert(name.into(), parsed);
        Ok(self)
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &HostPort) -> io::Result<Vec<IpAddr>> {
        if let Some(address) = host.address() {
            return Ok(vec![address]);
        }
        let mut names = lock(&self.0);
        let answers = names.get_mut(&*host.host).ok_or(io::ErrorKind::NotFound)?;
        let answer = if answers.len() > 1 {
            answers.pop()
        } else {
            answers.last().cloned()
        };
        answer.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A server that says `hello`, and remembers all that it was told.
struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    async fn start(hello: &'static [u8]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    let mut greeted = false;
                    while let Ok(count @ 1..) = client.read(&mut buffer).await {
                        lock(&shared).extend_from_slice(&buffer[..count]);
                        if !greeted {
                            let _ = client.write_all(hello).await;
                            greeted = true;
                        }
                    }
                });
            }
        });
        Ok(Self { port, heard })
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&lock(&self.heard)).into_owned()
    }
}

async fn guard(rules: Rules, names: &Names) -> Result<Guard> {
    let way = Way::new(rules, Upstream::direct(), names.clone());
    Ok(Guard::on(Arc::new(way)).await?)
}

fn allowing(hosts: &[&str]) -> Result<Rules> {
    let allowed: std::result::Result<_, _> = hosts.iter().map(|host| host.parse()).collect();
    Ok(Rules {
        in_cluster: true,
        allowed: allowed?,
        ..Rules::default()
    })
}

fn ticket(guard: &Guard, registry: &str) -> Result<Ticket> {
    Ok(guard.admit(Pass::new(registry, 1 << 20)?)?)
}

/// Sends a request as Go does, with `more` behind the blank line; what comes back, to its end or to
/// `enough`.
async fn send(
    guard: &Guard,
    credential: &str,
    head: &str,
    more: &[u8],
    enough: &str,
) -> Result<String> {
    let mut client = TcpStream::connect(("127.0.0.1", guard.port())).await?;
    let authorization = match credential {
        "" => String::new(),
        credential => format!("Proxy-Authorization: {credential}\r\n"),
    };
    let head = format!("{head}\r\n{authorization}\r\n");
    client.write_all(head.as_bytes()).await?;
    client.write_all(more).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(enough.as_bytes()) {
        let read = client.read_buf(&mut answer);
        if tokio::time::timeout(Duration::from_secs(20), read).await?? == 0 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Where an answer without content ends.
const EMPTY: &str = "\r\n\r\n";
/// What no answer ends with.
const NEVER: &str = "\0";

fn connect_head(to: &str) -> String {
    format!("CONNECT {to} HTTP/1.1\r\nHost: {to}")
}

async fn connect(guard: &Guard, ticket: &Ticket, to: &str) -> Result<String> {
    send(guard, &ticket.credential, &connect_head(to), b"", EMPTY).await
}

fn rule(ticket: &Ticket) -> Option<Rule> {
    match ticket.verdict() {
        Some(Verdict::Refused(refusal)) => Some(refusal.rule),
        _ => None,
    }
}

#[tokio::test]
async fn without_the_token_of_a_living_process_nothing_is_reached() -> Result {
    let server = Server::start(b"").await?;
    let target = format!("127.0.0.1:{}", server.port);
    let guard = guard(allowing(&[&target])?, &Names::default()).await?;
    let over = ticket(&guard, &target)?.credential.clone();
    let living = ticket(&guard, &target)?;
    let get_head = format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}");
    for head in [connect_head(&target), get_head] {
        for credential in [
            "",
            "Basic",
            "Basic Og==",
            "Basic Y3JhbmU6",
            "Bearer x",
            &over,
        ] {
            let answer = send(&guard, credential, &head, b"", EMPTY).await?;
            assert!(
                answer.starts_with("HTTP/1.1 407 "),
                "{credential}: {answer}"
            );
        }
    }
    assert_eq!(server.heard(), "");
    let answer = connect(&guard, &living, &target).await?;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Tokens are as many as tickets, and no two are alike.
    let other = ticket(&guard, &target)?;
    assert_ne!(living.credential, other.credential);
    let place = format!("@127.0.0.1:{}", guard.port());
    assert!(living.proxy().ends_with(&place));
    Ok(())
}

#[tokio::test]
async fn names_that_lead_to_inner_addresses_are_refused_and_nobody_is_connected_to() -> Result {
    let server = Server::start(b"").await?;
    let names = Names::default()
        .with("loopback.example", &[&["127.0.0.2"]])?
        .with("mixed.example", &[&["1.1.1.1", "127.0.0.2"]])?
        .with("api.example", &[&["127.0.0.1"]])?
        .with("mapped.example", &[&["::ffff:127.0.0.1"]])?
        .with("metadata.example", &[&["169.254.169.254"]])?
        .with("private.example", &[&["10.0.0.5"]])?;
    let mut rules = allowing(&[])?;
    rules.api_addresses = vec![format!("127.0.0.1:{}", server.port).parse()?];
    let guard = guard(rules, &names).await?;
    for (host, expected) in [
        ("loopback.example", Rule::Address(Place::Loopback)),
        ("mixed.example", Rule::Address(Place::Loopback)),
        ("api.example", Rule::ApiServer),
        ("mapped.example", Rule::ApiServer),
        ("metadata.example", Rule::Address(Place::Metadata)),
        ("private.example", Rule::ElsewherePrivate),
        ("vault.vault.svc", Rule::ClusterName),
        ("127.0.0.1", Rule::ApiServer),
        ("127.1", Rule::Malformed),
        ("2130706433", Rule::Malformed),
        ("[::1]", Rule::Address(Place::Loopback)),
    ] {
        let to = format!("{host}:{}", server.port);
        let ticket = ticket(&guard, "registry.example")?;
        let answer = connect(&guard, &ticket, &to).await?;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
        assert_eq!(rule(&ticket), Some(expected), "{host}");
    }
    let ticket = ticket(&guard, "registry.example")?;
    let answer = connect(&guard, &ticket, "nowhere.example:443").await?;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let expected = Verdict::NoSuchHost("nowhere.example:443".parse()?);
    assert_eq!(ticket.verdict(), Some(expected));
    assert_eq!(server.heard(), "");
    Ok(())
}

#[tokio::test]
async fn a_name_is_resolved_once_and_its_checked_address_is_connected_to() -> Result {
    let good = Server::start(b"good").await?;
    // The second answer would be the attack.
    let names = Names::default().with("r.example", &[&["127.0.0.1"], &["127.0.0.2"]])?;
    let to = format!("r.example:{}", good.port);
    let guard = guard(allowing(&[&to])?, &names).await?;
    let ticket = ticket(&guard, &to)?;
    let answer = send(
        &guard,
        &ticket.credential,
        &connect_head(&to),
        b"hi",
        "good",
    )
    .await?;
    assert!(answer.ends_with("\r\n\r\ngood"), "{answer}");
    assert_eq!(good.heard(), "hi");
    assert_eq!(ticket.bytes(), 6);
    let left = lock(&names.0)["r.example"].clone();
    assert_eq!(left, [["127.0.0.2".parse::<IpAddr>()?]], "resolved once");
    Ok(())
}

#[tokio::test]
async fn plain_requests_are_passed_on_as_a_server_wants_them() -> Result {
    let hello = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nKeep-Alive: x\r\n\r\nbody";
    let server = Server::start(hello).await?;
    let to = format!("127.0.0.1:{}", server.port);
    let guard = guard(allowing(&[&to])?, &Names::default()).await?;
    let ticket = ticket(&guard, &to)?;
    let head = format!(
        "GET http://{to}/v2/?a=b HTTP/1.1\r\nHost: other.example\r\nConnection: X-Hop\r\nX-Hop: 1\r\nAccept: */*"
    );
    let answer = send(&guard, &ticket.credential, &head, b"", "body").await?;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nbody"), "{answer}");
    assert!(!answer.to_lowercase().contains("keep-alive"), "{answer}");
    let heard = server.heard().to_lowercase();
    assert!(heard.starts_with("get /v2/?a=b http/1.1\r\n"), "{heard}");
    assert!(heard.contains(&format!("host: {to}\r\n")), "{heard}");
    for gone in [
        "proxy-authorization",
        "x-hop",
        "other.example",
        "connection",
    ] {
        assert!(!heard.contains(gone), "{gone}: {heard}");
    }
    // Not a proxy's form, and nothing that we serve ourselves.
    let answer = send(
        &guard,
        &ticket.credential,
        "GET / HTTP/1.1\r\nHost: x",
        b"",
        EMPTY,
    )
    .await?;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let head = format!("GET https://{to}/ HTTP/1.1\r\nHost: {to}");
    let answer = send(&guard, &ticket.credential, &head, b"", EMPTY).await?;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    Ok(())
}

#[tokio::test]
async fn bytes_are_counted_and_capped_and_end_with_the_process() -> Result {
    let server = Server::start(&[b'x'; 10_000]).await?;
    let to = format!("127.0.0.1:{}", server.port);
    let guard = guard(allowing(&[&to])?, &Names::default()).await?;
    let capped = guard.admit(Pass::new(&to, 5_000)?)?;
    let answer = send(&guard, &capped.credential, &connect_head(&to), b"hi", NEVER).await?;
    assert!(answer.len() < 5_200, "{}", answer.len());
    assert_eq!(capped.verdict(), Some(Verdict::TooMuch));
    assert!(capped.bytes() > 5_000);
    let again = send(&guard, &capped.credential, &connect_head(&to), b"hi", NEVER).await?;
    assert!(!again.contains('x'), "{again}");

    let endless = ticket(&guard, &to)?;
    let much = vec![b'x'; 1 << 20];
    // The connection is gone in the middle of it.
    let head = connect_head(&to);
    let _ = send(&guard, &endless.credential, &head, &much, NEVER).await;
    assert_eq!(endless.verdict(), Some(Verdict::Endless));
    assert!(endless.bytes() < 400_000, "{}", endless.bytes());

    let ticket = ticket(&guard, &to)?;
    let mut client = TcpStream::connect(("127.0.0.1", guard.port())).await?;
    let authorization = format!("Proxy-Authorization: {}", ticket.credential);
    let head = format!("{}\r\n{authorization}\r\n\r\n", connect_head(&to));
    client.write_all(head.as_bytes()).await?;
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop(ticket);
    let mut rest = Vec::new();
    let ended = client.read_to_end(&mut rest);
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
    assert!(ended.is_ok(), "the tunnel outlives its process");
    Ok(())
}

#[tokio::test]
async fn what_is_allowed_goes_through_a_companys_proxy_and_what_is_not_does_not() -> Result {
    let proxy = Server::start(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
    let exempt = Server::start(b"direct").await?;
    let url = format!("http://user:secret@127.0.0.1:{}", proxy.port);
    let upstream = Upstream::through(&url, &url, "exempt.example")?;
    let names = Names::default().with("exempt.example", &[&["127.0.0.1"]])?;
    let direct = format!("exempt.example:{}", exempt.port);
    let mut rules = allowing(&[&direct, "plain.example:80"])?;
    rules.api_server = vec!["api.example:6443".parse()?];
    let guard = Guard::on(Arc::new(Way::new(rules, upstream, names))).await?;
    let ticket = ticket(&guard, "registry.example")?;
    for refused in [
        "vault.vault.svc:8200",
        "api.example:6443",
        "169.254.169.254:80",
        "127.0.0.1:443",
        "10.0.0.5:443",
        "2130706433:443",
    ] {
        let answer = connect(&guard, &ticket, refused).await?;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{refused}: {answer}");
    }
    assert_eq!(proxy.heard(), "");
    // Nobody here knows this name: the proxy does.
    let answer = connect(&guard, &ticket, "registry.example:443").await?;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let head = "GET http://plain.example/v2/ HTTP/1.1\r\nHost: plain.example";
    let answer = send(&guard, &ticket.credential, head, b"", EMPTY).await?;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let heard = proxy.heard();
    let connected = "CONNECT registry.example:443 HTTP/1.1\r\n";
    assert!(heard.starts_with(connected), "{heard}");
    let passed_on = "GET http://plain.example/v2/ HTTP/1.1\r\n";
    assert!(heard.contains(passed_on), "{heard}");
    let credential = format!("Basic {}", STANDARD.encode("user:secret"));
    assert_eq!(heard.matches(&credential).count(), 2, "{heard}");
    assert!(!heard.contains(&ticket.credential), "{heard}");
    let answer = send(
        &guard,
        &ticket.credential,
        &connect_head(&direct),
        b"hi",
        "direct",
    )
    .await?;
    assert!(answer.ends_with("direct"), "{answer}");
    Ok(())
}

#[test]
fn proxies_that_cannot_be_used_are_told() {
    for (url, expected) in [
        ("http://proxy.example:3128", true),
        ("https://proxy.example", true),
        ("proxy.example:3128", true),
        ("socks5://proxy.example:1080", false),
        ("http://", false),
        ("a b", false),
    ] {
        assert_eq!(upstream::is_http_proxy(url), expected, "{url}");
    }
}

#[test]
fn the_plain_http_that_crane_tries_last_explains_least() -> Result {
    let visit = Visit::new(Pass::new("10.0.0.5:5000", 0)?);
    let to: HostPort = "10.0.0.5:5000".parse()?;
    let plain = Refusal {
        host: Some(to.clone()),
        rule: Rule::PlainHttp,
    };
    visit.note(Verdict::Refused(plain.clone()));
    assert_eq!(visit.verdict(), Some(Verdict::Refused(plain)));
    visit.note(Verdict::Unreachable(to.clone()));
    assert_eq!(visit.verdict(), Some(Verdict::Unreachable(to)));
    Ok(())
}
