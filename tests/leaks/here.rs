//! Registries of this machine that lead crane to what else listens on it: real names and addresses, in a
//! cluster, where loopback is forbidden, and on a person's machine.
//!
//! Nothing leaves the machine: the registries have names of it (RFC 6761) that were allowed by hand.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use crate::harness::bad_registry::{BadRegistry, Fault, PING, manifest_path};
use crate::harness::engines::expect_same_rows;
use crate::harness::recorder::Recorder;
use crate::harness::running::Ended;
use crate::harness::tls::{Certificate, Front};
use crate::harness::{Result, crane, is_native, snapshot_with};
use crate::secrets::{auth, secrets_in};
use crate::site::{Expected, OK, Part, Site, as_in_cluster, debian, run};

use Part::{Config, Layer, Manifest, Ping};

/// What listens on this machine beside the registries, each for one scenario.
#[derive(Default)]
struct Inner(BTreeMap<String, Recorder>);

impl Inner {
    /// The port of one more.
    fn start(&mut self, scenario: &str) -> Result<u16> {
        let recorder = Recorder::start()?;
        let port = recorder.port;
        self.0.insert(scenario.to_owned(), recorder);
        Ok(port)
    }

    /// Fails if one was connected to, or a row is not as it must be.
    fn expect_silence(&self, site: &Site) -> Result {
        let mut wrong = site.wrong_rows()?;
        for (registry, host) in site.registries.iter().zip(&site.allowed) {
            let heads = registry.heads().concat().to_ascii_lowercase();
            if heads.contains("proxy-authorization") {
                wrong.push(format!("{host}: was told the guard's token"));
            }
        }
        for (name, inner) in &self.0 {
            if inner.connections() > 0 {
                wrong.push(format!(
                    "{name}: was connected to, and told {:?}",
                    inner.heard()
                ));
            }
        }
        assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
        Ok(())
    }
}

#[test]
fn redirects_and_realms_to_names_of_this_machine_connect_to_nobody() -> Result {
    let (mut site, mut inner) = (Site::new()?, Inner::default());
    site.registry("good", None, OK)?;
    for (name, part, scheme) in [
        ("ping-name", Ping, "http"),
        ("ping-name-tls", Ping, "https"),
        ("manifest-name", Manifest, "http"),
        ("config-name", Config, "https"),
        ("layer-name", Layer, "http"),
    ] {
        let to = format!("{scheme}://inner.localhost:{}/v2/", inner.start(name)?);
        let status = if matches!(part, Layer) {
            "partial"
        } else {
            "skipped"
        };
        let row = (status, "policy", "a loopback one");
        site.registry(name, Some((part, Fault::redirect(&to))), row)?;
    }
    let realm = format!(
        "http://inner.localhost:{}/token",
        inner.start("realm-name")?
    );
    let row = ("skipped", "policy", "a loopback one");
    site.registry("realm-name", Some((Ping, Fault::token_from(&realm))), row)?;
    // 0.0.0.0 is this machine to connect(2).
    let to = format!("http://0.0.0.0:{}/", inner.start("ping-zero-address")?);
    let row = ("skipped", "policy", "an unspecified one");
    site.registry("ping-zero-address", Some((Ping, Fault::redirect(&to))), row)?;
    let api_server = format!("api.localhost:{}", inner.start("ping-api-server-name")?);
    let to = Fault::redirect(&format!("https://{api_server}/v2/"));
    let row = ("skipped", "policy", "the Kubernetes API server is there");
    site.registry("ping-api-server-name", Some((Ping, to)), row)?;
    let mut command = site.in_cluster(&api_server)?;
    run(&mut command)?;
    expect_same_rows(&command, &site.store())?;
    inner.expect_silence(&site)
}

/// Whether the program said that the kernel cannot confine crane. In CI that is a failure: nobody would
/// miss a part that never runs there.
fn is_unconfined(ended: &Ended) -> Result<bool> {
    let is_unconfined = ended.stderr.contains("this kernel cannot confine crane");
    if is_unconfined {
        let why = "not tested: this kernel cannot confine crane, which needs Landlock of Linux 6.7";
        if std::env::var_os("CI").is_some() {
            return Err(why.into());
        }
        writeln!(std::io::stderr(), "{why}")?;
    }
    Ok(is_unconfined)
}

/// Go's client goes past every proxy to these, so that the guard does not see them: the kernel does.
#[test]
fn what_goes_past_proxies_is_kept_by_the_kernel() -> Result {
    let (mut site, mut inner) = (Site::new()?, Inner::default());
    site.registry("good", None, OK)?;
    let refused = |status| (status, "policy", "leads to an inner address");
    for (name, part, host) in [
        ("ping-address", Ping, "127.0.0.1"),
        ("ping-other-address", Ping, "127.8.9.10"),
        ("ping-localhost", Ping, "localhost"),
        ("ping-mapped", Ping, "[::ffff:127.0.0.1]"),
        ("manifest-address", Manifest, "127.0.0.1"),
        ("layer-address", Layer, "127.0.0.1"),
    ] {
        let to = format!("http://{host}:{}/v2/", inner.start(name)?);
        let status = if matches!(part, Layer) {
            "partial"
        } else {
            "skipped"
        };
        site.registry(name, Some((part, Fault::redirect(&to))), refused(status))?;
    }
    let realm = format!("http://localhost:{}/token", inner.start("realm-localhost")?);
    site.registry(
        "realm-localhost",
        Some((Ping, Fault::token_from(&realm))),
        refused("skipped"),
    )?;
    // A registry that is itself past proxies, and allowed: its port is open, and no other is.
    let (direct, image) = (BadRegistry::start()?, debian("direct"));
    direct.add("direct", image.digest(), &image.blobs);
    site.pod("direct", &direct.address, image.digest(), OK);
    let image = debian("direct-away");
    direct.add("direct-away", image.digest(), &image.blobs);
    let to = format!("http://127.0.0.1:{}/", inner.start("direct-away")?);
    direct.misbehave(
        &manifest_path("direct-away", image.digest()),
        Fault::redirect(&to),
    );
    site.pod(
        "direct-away",
        &direct.address,
        image.digest(),
        refused("skipped"),
    );
    site.allowed.push(direct.address.clone());

    let mut command = site.in_cluster("10.96.0.1:443")?;
    let ended = run(&mut command)?;
    if is_unconfined(&ended)? {
        return Ok(());
    }
    expect_same_rows(&command, &site.store())?;
    inner.expect_silence(&site)
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
    expect_same_rows(&command, &site.store())?;
    site.compare()?;
    let started = fs::read_to_string(&notes).unwrap_or_default();
    assert_eq!(started, if is_native() { "" } else { "version\n" });
    assert_eq!((inner.connections(), api.connections()), (0, 0));
    Ok(())
}

#[test]
fn a_credential_stays_where_it_is_though_names_lead_to_this_machine() -> Result {
    let mut site = Site::new()?;
    let names = ["asks", "realm", "ping", "down", "evil"].map(|name| format!("{name}.localhost"));
    let certificate = Certificate::new(&names.each_ref().map(String::as_str))?;
    let evil = Recorder::start()?;
    let evil_tls = Front::start(&certificate, &format!("127.0.0.1:{}", evil.port))?;
    let realm = format!("https://evil.localhost:{}/token", evil_tls.port);
    let plain = format!("http://evil.localhost:{}/v2/", evil.port);
    let refused = |words| ("skipped", "policy", words);
    let (mut fronts, mut hosts) = (Vec::new(), Vec::new());
    for (name, row) in [
        ("asks", OK),
        ("realm", refused("a loopback one")),
        ("ping", refused("a loopback one")),
        ("down", refused("without TLS")),
    ] {
        let (registry, image) = (BadRegistry::start()?, debian(name));
        registry.add(name, image.digest(), &image.blobs);
        let front = Front::start(&certificate, &registry.address)?;
        let host = format!("{name}.localhost:{}", front.port);
        let fault = match name {
            "realm" => Some(Fault::token_from(&realm)),
            "ping" => Some(Fault::redirect(&plain)),
            // Itself, but in clear.
            "down" => Some(Fault::redirect(&format!("http://{host}/v2/"))),
            _ => None,
        };
        if let Some(fault) = fault {
            registry.misbehave(PING, fault);
        }
        site.pod(name, &host, image.digest(), row);
        hosts.push((host, auth(name)));
        site.registries.push(registry);
        fronts.push(front);
    }
    let folder = site.folder.path().join("docker");
    fs::create_dir(&folder)?;
    let auths: BTreeMap<_, _> = hosts.iter().cloned().collect();
    let config = serde_json::json!({"auths": auths}).to_string();
    fs::write(folder.join("config.json"), config)?;
    // In a cluster, where they are allowed by hand, and nothing else of this machine is.
    site.allowed = hosts.into_iter().map(|(host, _)| host).collect();
    let mut command = site.in_cluster("10.96.0.1:443")?;
    command.env("SSL_CERT_FILE", certificate.file());
    command.env("IMAGE_CENSUS_LOG_LEVEL", "trace");
    let ended = run(&mut command)?;
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(secrets_in(&said).is_empty(), "{said}");
    // The registry that behaves has had it.
    assert!(site.registries[0].credentials() > 0);
    expect_same_rows(&command, &site.store())?;
    assert_eq!((evil.connections(), &*evil.heard()), (0, ""));
    site.compare()?;

    // On a person's machine loopback is open: what keeps the credential is that it is one. No host is
    // exempt from the guard, whatever is exempt from a company's proxy.
    fs::remove_dir_all(site.store())?;
    site.allowed.clear();
    let credential: Expected = refused("a credential is in play");
    site.cases.insert("realm".into(), credential);
    site.cases.insert("ping".into(), credential);
    // Its own registry, without TLS, is this machine: nothing to listen in on.
    site.cases.remove("down");
    let mut command = site.command()?;
    command.env("SSL_CERT_FILE", certificate.file());
    for name in ["NO_PROXY", "no_proxy"] {
        command.env(name, "*");
    }
    run(&mut command)?;
    expect_same_rows(&command, &site.store())?;
    assert_eq!((evil.connections(), &*evil.heard()), (0, ""));
    site.compare()
}
