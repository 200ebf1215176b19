//! What others on this machine can see of a running program, and what they can use of it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::bad_registry::Fault;
use crate::harness::recorder::Recorder;
use crate::harness::running::{Running, processes_with, until};
use crate::harness::{Result, is_native, rows};
use crate::outside::Outside;
use crate::secrets::{auth, secrets_in};
use crate::site::{BOUND, OK, Part, Site};

/// A crane of a registry: its process, and its user, token and port at the guard.
struct Seen {
    id: u32,
    credential: String,
    port: u16,
}

/// Looks at the crane of a registry, as a process of the same user can.
fn look_at(registry: &str) -> Result<Seen> {
    for id in processes_with(registry)? {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        let mut variables = environment.split('\0');
        let proxy = variables.find_map(|variable| variable.strip_prefix("HTTPS_PROXY=http://"));
        if let Some((credential, place)) = proxy.and_then(|proxy| proxy.split_once('@')) {
            let found = secrets_in(&environment);
            assert!(
                found.is_empty(),
                "crane's environment holds secrets of {found:?}"
            );
            return Ok(Seen {
                id,
                credential: credential.to_owned(),
                port: place.rsplit(':').next().unwrap_or_default().parse()?,
            });
        }
    }
    Err("no crane has a proxy".into())
}

/// Fails if a command line of any process holds a secret.
fn expect_no_secret_in_command_lines() -> Result {
    for mark in ["hunter2-", "dTpodW50ZXIy"] {
        let found = processes_with(mark)?;
        assert!(found.is_empty(), "arguments of {found:?} hold a secret");
    }
    Ok(())
}

/// The guard's first line on a CONNECT.
fn connect(port: u16, to: &str, credential: Option<&str>) -> Result<String> {
    let mut client = TcpStream::connect(("127.0.0.1", port))?;
    client.set_read_timeout(Some(Duration::from_secs(20)))?;
    let authorization = credential.map_or(String::new(), |credential| {
        format!(
            "Proxy-Authorization: Basic {}\r\n",
            STANDARD.encode(credential)
        )
    });
    write!(
        client,
        "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{authorization}\r\n"
    )?;
    let mut answer = [0; 12];
    client.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn a_running_crane_shows_no_credential_and_its_way_is_its_own_and_ends_with_it() -> Result {
    // There is no process, and nothing listens.
    if is_native() {
        return Ok(());
    }
    let mut outside = Outside::new()?;
    for name in ["silent", "silent-too"] {
        let fault = Some((Part::Manifest, Fault::Silent));
        outside.registry(name, fault, OK)?;
        outside.log_in(&format!("{name}.example"), auth(name));
    }
    let running = Running::start(&mut outside.command()?)?;
    for name in ["silent", "silent-too"] {
        let registry = outside.of(name)?;
        until("a hanging request", || Ok(registry.hanging() == 1))?;
    }
    let (one, other) = (look_at("silent.example")?, look_at("silent-too.example")?);
    expect_no_secret_in_command_lines()?;
    let token = one.credential.split(':').nth(1).ok_or("no token")?;
    assert!(processes_with(token)?.is_empty(), "a token in an argument");
    // Each has its own credential, and a file of its own for it.
    assert_ne!(one.credential, other.credential);
    let own = Some(&*one.credential);
    for (scenario, to, credential, expected) in [
        ("no-token", "silent.example:443", None, "HTTP/1.1 407"),
        (
            "empty-token",
            "silent.example:443",
            Some("crane:"),
            "HTTP/1.1 407",
        ),
        (
            "half-token",
            "silent.example:443",
            Some(&one.credential[..20]),
            "HTTP/1.1 407",
        ),
        (
            "other-registry",
            "silent-too.example:443",
            own,
            "HTTP/1.1 403",
        ),
        ("inner-name", "inner.localhost:443", own, "HTTP/1.1 403"),
        ("own-registry", "silent.example:443", own, "HTTP/1.1 200"),
    ] {
        assert_eq!(connect(one.port, to, credential)?, expected, "{scenario}");
    }

    // With its process its token ends.
    let id = i32::try_from(one.id).ok().and_then(Pid::from_raw);
    kill_process(id.ok_or("no process id")?, Signal::KILL)?;
    until("the token is over", || {
        Ok(connect(one.port, "silent.example:443", own)? == "HTTP/1.1 407")
    })?;
    assert_eq!(
        connect(
            other.port,
            "silent-too.example:443",
            Some(&other.credential)
        )?,
        "HTTP/1.1 200"
    );

    // Nobody can end the processes of a program that was killed: their connections end with it. The
    // registry lives, and would hang for ever.
    running.signal(Signal::KILL)?;
    running.wait(BOUND, || Ok(()))?;
    until("no crane", || {
        Ok(processes_with("silent-too.example")?.is_empty())
    })?;
    assert!(TcpStream::connect(("127.0.0.1", other.port)).is_err());
    let asked = outside.world.asked();
    assert!(
        asked.iter().all(|host| host.starts_with("silent")),
        "{asked:?}"
    );
    Ok(())
}

/// A proxy that is spoken to otherwise than by HTTP would be a way past the guard, or none.
#[test]
fn a_proxy_of_another_kind_ends_the_run_and_is_not_connected_to() -> Result {
    let proxy = Recorder::start()?;
    let mut site = Site::new()?;
    site.registry("good", None, OK)?;
    let command = |name: &str| -> Result<Command> {
        let mut command = site.in_cluster("10.96.0.1:443")?;
        command.env(
            name,
            format!("socks5://u:hunter2-socks@127.0.0.1:{}", proxy.port),
        );
        Ok(command)
    };
    for name in ["HTTPS_PROXY", "http_proxy"] {
        let ended = Running::start(&mut command(name)?)?.wait(BOUND, || Ok(()))?;
        assert_eq!(ended.status.code(), Some(2), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains(name), "{name}: {}", ended.stderr);
        assert!(
            secrets_in(&ended.stderr).is_empty(),
            "{name}: {}",
            ended.stderr
        );
    }
    // Neither crane nor we read this one.
    let ended = Running::start(&mut command("ALL_PROXY")?)?.wait(BOUND, || Ok(()))?;
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(rows(&site.store())?.len(), 1);
    assert_eq!((proxy.connections(), &*proxy.heard()), (0, ""));
    site.compare()
}
