//! The binary, the real crane, and registries that lead it elsewhere: what may not be reached is not
//! connected to, whatever sends crane there, and the row says what was refused and what to do.
//!
//! Nothing leaves the machine: to the program it is a pod in a cluster, where loopback is forbidden, and
//! the registries have names of this machine (RFC 6761) that were allowed by hand. What should not be
//! reached remembers every byte.

mod fixtures;
mod harness;
#[path = "harness/site.rs"]
mod site;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use harness::bad_registry::{BadRegistry, Fault, PING, manifest_path};
use harness::recorder::Recorder;
use harness::running::{Ended, Running, processes_with, until};
use harness::tls::{Certificate, Front};
use harness::{Result, crane, rows, snapshot_with};
use rustix::process::Signal;
use serde_json::json;
use site::{BOUND, Expected, OK, Part, Site, as_in_cluster, debian, run};

/// The fault of a registry's ping, by its host.
type FaultFor<'a> = &'a dyn Fn(&str) -> Option<Fault>;

/// Whether the program said that the kernel cannot confine crane.
fn is_unconfined(ended: &Ended) -> bool {
    ended.stderr.contains("this kernel cannot confine crane")
}

#[test]
fn redirects_and_realms_to_inner_addresses_are_refused_and_nobody_is_connected_to() -> Result {
    let mut site = Site::new()?;
    let (inner, api) = (Recorder::start()?, Recorder::start()?);
    let (port, api_port) = (inner.port, api.port);
    let refused = |words| ("skipped", "policy", words);
    site.registry("good", None, OK)?;
    for (name, to, words) in [
        (
            "name",
            format!("http://inner.localhost:{port}"),
            "a loopback one",
        ),
        (
            "name-tls",
            format!("https://inner.localhost:{port}"),
            "a loopback one",
        ),
        (
            "zero",
            format!("http://0.0.0.0:{port}"),
            "an unspecified one",
        ),
        (
            "number",
            format!("http://2130706433:{port}"),
            "leads to an address that is none",
        ),
        (
            "short",
            format!("http://127.1:{port}"),
            "leads to an address that is none",
        ),
        (
            "metadata",
            "http://169.254.169.254".to_owned(),
            "169.254.169.254:80, which was not asked",
        ),
        (
            "metadata-tls",
            "https://169.254.169.254".to_owned(),
            "a metadata service's",
        ),
        (
            "metadata-v6",
            "http://[fd00:ec2::254]".to_owned(),
            "a metadata service's",
        ),
        (
            "metadata-alibaba",
            "http://100.100.100.200".to_owned(),
            "a metadata service's",
        ),
        (
            "mapped",
            "http://[::ffff:169.254.169.254]".to_owned(),
            "a metadata service's",
        ),
        (
            "nat64",
            "http://[64:ff9b::a9fe:a9fe]".to_owned(),
            "a metadata service's",
        ),
        (
            "link-local",
            "http://[fe80::1]".to_owned(),
            "a link-local one",
        ),
        ("private", "https://10.0.0.1".to_owned(), "a private one"),
        (
            "service",
            "https://vault.vault.svc:8200".to_owned(),
            "one of the cluster's own",
        ),
        (
            "service-long",
            "http://vault.vault.svc.cluster.local".to_owned(),
            "one of the cluster's own",
        ),
        (
            "api-server",
            format!("https://api.localhost:{api_port}"),
            "API server",
        ),
        (
            "downgrade",
            "http://registry.invalid".to_owned(),
            "without TLS",
        ),
    ] {
        let fault = Fault::redirect(&format!("{to}/v2/"));
        site.registry(
            &format!("ping-{name}"),
            Some((Part::Ping, fault)),
            refused(words),
        )?;
    }
    let to = format!("http://inner.localhost:{port}/latest");
    let partial = ("partial", "policy", "a loopback one");
    for (name, part, expected) in [
        ("manifest", Part::Manifest, refused("a loopback one")),
        ("config", Part::Config, refused("a loopback one")),
        ("layer", Part::Layer, partial),
    ] {
        site.registry(name, Some((part, Fault::redirect(&to))), expected)?;
    }
    for (name, realm, words) in [
        (
            "realm",
            format!("http://inner.localhost:{port}/token"),
            "a loopback one",
        ),
        (
            "realm-plain",
            "http://token.invalid/token".to_owned(),
            "without TLS",
        ),
        (
            "realm-service",
            "https://vault.vault.svc/token".to_owned(),
            "one of the cluster's own",
        ),
    ] {
        let fault = Fault::token_from(&realm);
        site.registry(name, Some((Part::Ping, fault)), refused(words))?;
    }
    let api_server = format!("api.localhost:{api_port}");
    run(&mut site.in_cluster(&api_server)?)?;
    assert_eq!((inner.connections(), &*inner.heard()), (0, ""));
    assert_eq!((api.connections(), &*api.heard()), (0, ""));
    site.compare()
}

/// Go's client goes past every proxy to these, so that the guard does not see them: the kernel does.
#[test]
fn what_goes_past_proxies_is_kept_by_the_kernel() -> Result {
    let mut site = Site::new()?;
    let inner = Recorder::start()?;
    let port = inner.port;
    site.registry("good", None, OK)?;
    for (name, host) in [
        ("address", "127.0.0.1"),
        ("other-address", "127.8.9.10"),
        ("localhost", "localhost"),
        ("mapped", "[::ffff:127.0.0.1]"),
    ] {
        let to = format!("http://{host}:{port}/v2/");
        let refused = ("skipped", "policy", "leads to an inner address");
        let fault = Fault::redirect(&to);
        site.registry(&format!("ping-{name}"), Some((Part::Ping, fault)), refused)?;
    }
    let to = format!("http://127.0.0.1:{port}/");
    let realm = Fault::token_from(&format!("http://localhost:{port}/token"));
    for (name, part, fault, status) in [
        ("manifest", Part::Manifest, Fault::redirect(&to), "skipped"),
        ("layer", Part::Layer, Fault::redirect(&to), "partial"),
        ("realm", Part::Ping, realm, "skipped"),
    ] {
        let refused = (status, "policy", "leads to an inner address");
        site.registry(name, Some((part, fault)), refused)?;
    }
    // A registry that is itself past proxies, and allowed: its port is open, and no other is.
    let (direct, image) = (BadRegistry::start()?, debian("direct"));
    direct.add("direct", image.digest(), &image.blobs);
    site.pod("direct", &direct.address, image.digest(), OK);
    let image = debian("direct-away");
    direct.add("direct-away", image.digest(), &image.blobs);
    let manifest = manifest_path("direct-away", image.digest());
    direct.misbehave(&manifest, Fault::redirect(&to));
    let refused = ("skipped", "policy", "leads to an inner address");
    site.pod("direct-away", &direct.address, image.digest(), refused);
    site.allowed.push(direct.address.clone());

    let ended = run(&mut site.in_cluster("10.96.0.1:443")?)?;
    if is_unconfined(&ended) {
        // An older kernel: the program has said so, and there is nothing to compare.
        return Ok(());
    }
    assert_eq!((inner.connections(), &*inner.heard()), (0, ""));
    site.compare()
}

#[test]
fn registries_that_may_not_be_reached_are_refused_before_a_process_starts() -> Result {
    let mut site = Site::new()?;
    let (inner, api) = (Recorder::start()?, Recorder::start()?);
    let digest = debian("x").digest().to_owned();
    let api_server = format!("127.0.0.1:{}", api.port);
    for (name, registry, words) in [
        (
            "address",
            format!("127.0.0.1:{}", inner.port),
            "--allow-host 127.0.0.1:",
        ),
        (
            "other-address",
            format!("127.1.2.3:{}", inner.port),
            "a loopback one",
        ),
        ("v6", format!("[::1]:{}", inner.port), "--allow-host [::1]:"),
        (
            "localhost",
            format!("localhost:{}", inner.port),
            "a loopback one",
        ),
        (
            "below-localhost",
            format!("x.localhost:{}", inner.port),
            "a loopback one",
        ),
        (
            "zero",
            format!("0.0.0.0:{}", inner.port),
            "an unspecified one",
        ),
        (
            "metadata",
            "169.254.169.254".to_owned(),
            "a metadata service's",
        ),
        (
            "metadata-port",
            "169.254.169.254:80".to_owned(),
            "a metadata service's",
        ),
        ("multicast", "224.0.0.1:5000".to_owned(), "a multicast one"),
        (
            "broadcast",
            "255.255.255.255:5000".to_owned(),
            "a reserved one",
        ),
        (
            "service",
            "vault.vault.svc:8200".to_owned(),
            "one of the cluster's own",
        ),
        (
            "service-long",
            "vault.vault.svc.cluster.local".to_owned(),
            "one of the cluster's own",
        ),
        (
            "api-server",
            api_server.clone(),
            "the Kubernetes API server is there",
        ),
    ] {
        site.pod(name, &registry, &digest, ("skipped", "policy", words));
    }
    let script = site.folder.path().join("crane");
    let notes = site.folder.path().join("notes");
    let (shown, real) = (notes.display(), crane()?);
    let real = real.display();
    fs::write(
        &script,
        format!("#!/bin/sh\necho \"$1\" >>'{shown}'\nexec '{real}' \"$@\"\n"),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let mut command = snapshot_with(&script, &site.write_pods()?, &site.store());
    site.prepare(&mut command);
    as_in_cluster(&mut command, &api_server);
    run(&mut command)?;
    assert_eq!(fs::read_to_string(&notes)?, "version\n");
    assert_eq!((inner.connections(), api.connections()), (0, 0));
    site.compare()
}

#[test]
fn on_a_persons_machine_registries_of_this_machine_need_no_permission() -> Result {
    let mut site = Site::new()?;
    site.registry("good", None, OK)?;
    let refused = ("skipped", "policy", "a metadata service's");
    let fault = Fault::redirect("http://169.254.169.254/latest/meta-data/");
    site.registry("metadata", Some((Part::Ping, fault)), refused)?;
    site.allowed.clear();
    let (direct, image) = (BadRegistry::start()?, debian("direct"));
    direct.add("direct", image.digest(), &image.blobs);
    site.pod("direct", &direct.address, image.digest(), OK);
    run(&mut site.command()?)?;
    site.compare()
}

/// A registry behind TLS that asks for a credential, which we have.
fn with_credential(site: &Site, hosts: &[String]) -> Result {
    let auths: BTreeMap<_, _> = hosts
        .iter()
        .map(|host| (host, json!({"username": "u", "password": "hunter2"})))
        .collect();
    let folder = site.folder.path().join("docker");
    fs::create_dir(&folder)?;
    fs::write(
        folder.join("config.json"),
        json!({"auths": auths}).to_string(),
    )?;
    Ok(())
}

#[test]
fn a_credential_goes_to_its_registry_and_nowhere_else() -> Result {
    let mut site = Site::new()?;
    let certificate = Certificate::new(&[
        "asks.localhost",
        "realm.localhost",
        "ping.localhost",
        "down.localhost",
        "evil.localhost",
    ])?;
    let evil = Recorder::start()?;
    let evil_tls = Front::start(&certificate, &format!("127.0.0.1:{}", evil.port))?;
    let realm = format!("https://evil.localhost:{}/token", evil_tls.port);
    let plain = format!("http://evil.localhost:{}/v2/", evil.port);
    let refused = |words| ("skipped", "policy", words);
    let itself = |host: &str| Fault::redirect(&format!("http://{host}/v2/"));
    let faults: [(&str, FaultFor<'_>, Expected); 4] = [
        ("asks", &|_| None, OK),
        ("realm", &|_| Some(Fault::token_from(&realm)), OK),
        ("ping", &|_| Some(Fault::redirect(&plain)), OK),
        ("down", &|host| Some(itself(host)), refused("without TLS")),
    ];
    let mut fronts = Vec::new();
    let mut hosts = Vec::new();
    for (name, fault, expected) in faults {
        let (registry, image) = (BadRegistry::start()?, debian(name));
        registry.add(name, image.digest(), &image.blobs);
        let front = Front::start(&certificate, &registry.address)?;
        let host = format!("{name}.localhost:{}", front.port);
        if let Some(fault) = fault(&host) {
            registry.misbehave(PING, fault);
        }
        site.pod(name, &host, image.digest(), expected);
        hosts.push(host);
        site.registries.push(registry);
        fronts.push(front);
    }
    with_credential(&site, &hosts)?;
    // In a cluster, where they are allowed by hand, and nothing else of this machine is.
    site.allowed.clone_from(&hosts);
    let mut command = site.in_cluster("10.96.0.1:443")?;
    command.env("SSL_CERT_FILE", certificate.file());
    command.env("IMAGE_CENSUS_LOG_LEVEL", "trace");
    let ended = run(&mut command)?;
    for text in [&ended.stdout, &ended.stderr] {
        assert!(
            !text.contains("hunter2") && !text.contains("dTpodW50ZXIy"),
            "{text}"
        );
    }
    // The registry that behaves has had it.
    assert!(site.registries[0].credentials() > 0);
    assert_eq!((evil.connections(), &*evil.heard()), (0, ""));
    let loopback = refused("a loopback one");
    site.cases.insert("realm".into(), loopback);
    site.cases.insert("ping".into(), loopback);
    site.compare()?;

    // On a person's machine loopback is open: what keeps the credential is that it is one.
    fs::remove_dir_all(site.store())?;
    site.allowed.clear();
    let mut command = site.command()?;
    command.env("SSL_CERT_FILE", certificate.file());
    run(&mut command)?;
    assert_eq!((evil.connections(), &*evil.heard()), (0, ""));
    let credential = refused("a credential is in play");
    site.cases.insert("realm".into(), credential);
    site.cases.insert("ping".into(), credential);
    // Its own registry, without TLS, is this machine: nothing to listen in on.
    site.cases.remove("down");
    site.compare()
}

/// What a hanging crane of a registry has in its environment for its proxy.
fn proxy_of(registry: &str) -> Result<(String, u16)> {
    let ids = processes_with(registry)?;
    for id in ids {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        let mut variables = environment.split('\0');
        let proxy = variables.find_map(|variable| variable.strip_prefix("HTTPS_PROXY=http://"));
        if let Some((credential, place)) = proxy.and_then(|proxy| proxy.split_once('@')) {
            let port = place.rsplit(':').next().unwrap_or_default().parse()?;
            return Ok((credential.to_owned(), port));
        }
    }
    Err("no crane has a proxy".into())
}

/// The guard's first line on a CONNECT.
fn connect(port: u16, to: &str, authorization: &str) -> Result<String> {
    let mut client = TcpStream::connect(("127.0.0.1", port))?;
    client.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(
        client,
        "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{authorization}\r\n"
    )?;
    let mut answer = [0; 12];
    client.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn the_guard_serves_living_cranes_only_and_ends_with_the_program() -> Result {
    let mut site = Site::new()?;
    let inner = Recorder::start()?;
    let fault = Some((Part::Manifest, Fault::Silent));
    site.registry("silent", fault, ("failed", "timeout", "did not finish"))?;
    let registry = site.allowed[0].clone();
    let running = Running::start(&mut site.in_cluster("10.96.0.1:443")?)?;
    until(
        "a hanging request",
        || Ok(site.registries[0].hanging() == 1),
    )?;
    let (credential, port) = proxy_of(&registry)?;
    let token = credential.split(':').nth(1).ok_or("no token")?;
    assert!(processes_with(token)?.is_empty(), "a token in an argument");
    let basic = |text: &str| {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(text);
        format!("Proxy-Authorization: Basic {text}\r\n")
    };
    let own = basic(&credential);
    let inner_name = format!("inner.localhost:{}", inner.port);
    for (to, authorization, expected) in [
        (&registry, "", "HTTP/1.1 407"),
        (&registry, &*basic("crane:"), "HTTP/1.1 407"),
        (&registry, &*basic(&credential[..20]), "HTTP/1.1 407"),
        (&inner_name, &*own, "HTTP/1.1 403"),
        (&registry, &*own, "HTTP/1.1 200"),
    ] {
        assert_eq!(
            connect(port, to, authorization)?,
            expected,
            "{to} {authorization}"
        );
    }
    assert_eq!(inner.connections(), 0);

    // Nobody can end the processes of a program that was killed: their connections end with it. The
    // registry lives, and would hang for ever.
    running.signal(Signal::KILL)?;
    running.wait(BOUND, || Ok(()))?;
    until("no crane", || Ok(processes_with(&registry)?.is_empty()))?;
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    Ok(())
}

#[test]
fn a_dead_registry_costs_a_few_time_limits_and_takes_nothing_from_others() -> Result {
    let mut site = Site::new()?;
    let (dead, good) = (BadRegistry::start()?, BadRegistry::start()?);
    dead.misbehave(PING, Fault::Silent);
    for number in 0..200 {
        let expected = ("failed", "timeout", "did not finish within 2 s");
        let name = format!("dead-{number:03}");
        // Two that want the same would ask once.
        let image = debian(&name);
        site.pod(&name, &dead.address, image.digest(), expected);
    }
    for number in 0..30 {
        let name = format!("good-{number:02}");
        let image = debian(&name);
        good.add(&name, image.digest(), &image.blobs);
        site.pod(&name, &good.address, image.digest(), OK);
    }
    let mut command = site.command()?;
    command.args(["--crane-timeout", "2s"]);
    let mut most = 0;
    let mut good_at = None;
    let started = Instant::now();
    let ended = Running::start(&mut command)?.wait(BOUND, || {
        most = most.max(processes_with(&dead.address)?.len());
        // Manifest, configuration and layer of each.
        if good.log().len() == 30 * 3 {
            good_at.get_or_insert(started.elapsed());
        }
        Ok(())
    })?;
    assert!(ended.status.success(), "{}", ended.stderr);
    site.compare()?;
    assert_eq!(most, 4, "half of all slots");
    // One after the other, 200 time limits in fours are 100 s.
    assert!(ended.took < Duration::from_secs(60), "{:?}", ended.took);
    let good_at = good_at.ok_or("the good ones were not all asked for")?;
    assert!(good_at < ended.took / 2, "{good_at:?} of {:?}", ended.took);
    let rows = rows(&site.store())?;
    let rested = rows
        .iter()
        .filter(|row| row["error_message"].contains("not asked any more"));
    let rested = rested.count();
    assert!((100..200).contains(&rested), "{rested}");
    Ok(())
}
