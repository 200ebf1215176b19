//! Both engines against one registry: the same rows, and what the native one saves: processes,
//! connections, pings and tokens.
//!
//! That the rows are the same in every case that the project has is compared where the cases are:
//! `expect_same_rows` in the suites truth, faults, bad_registry, private_images, credentials and leaks.

#![allow(
    clippy::print_stdout,
    reason = "the figures are what a reader of the log looks for"
)]

mod fixtures;
mod harness;
#[path = "harness/site.rs"]
mod site;

use std::collections::BTreeSet;
use std::path::Path;

use fixtures::images::{ImageSpec, Platform};
use fixtures::{distributions, layers::Layer};
use harness::bad_registry::{BadRegistry, Fault, PING, manifest_path};
use harness::engines::expect_same_rows;
use harness::http2::Http2Registry;
use harness::recorder::Recorder;
use harness::tls::Certificate;
use harness::{Result, program, rows, snapshot_with, stderr};
use site::{OK, Site, run};

/// What a registry saw of a run.
#[derive(Debug)]
struct Seen {
    requests: usize,
    connections: usize,
    pings: usize,
    tokens: usize,
}

impl Seen {
    fn of(registry: &BadRegistry) -> Self {
        let heads = registry.heads();
        let pings = heads.iter().filter(|head| head.starts_with("GET /v2/ "));
        Self {
            requests: heads.len(),
            connections: registry.connections(),
            pings: pings.count(),
            tokens: registry.scopes().len(),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            connections: self.connections - before.connections,
            pings: self.pings - before.pings,
            tokens: self.tokens - before.tokens,
        }
    }
}

/// Forty images of four repositories, which share their base.
fn forty() -> Result<(Site, BadRegistry)> {
    let (mut site, registry) = (Site::new()?, BadRegistry::start()?);
    let address = registry.address.clone();
    for number in 0..40 {
        let repository = format!("team/app-{}", number % 4);
        let image = ImageSpec::new(Platform::linux("amd64"))
            .layer(distributions::debian_12())
            .layer(Layer::new("COPY app /srv").file("srv/app", number.to_string()))
            .build();
        registry.add(&repository, image.digest(), &image.blobs);
        let name = format!("app-{number:02}");
        let reference = format!("{address}/{repository}:1");
        site.pod_of("n", &name, &reference, image.digest(), OK);
    }
    Ok((site, registry))
}

#[test]
fn connections_pings_and_tokens_serve_many_requests() -> Result {
    let (site, registry) = forty()?;
    registry.ask_for_tokens(1_000);
    let mut command = site.command()?;
    run(&mut command)?;
    site.compare()?;
    let crane = Seen::of(&registry);
    expect_same_rows(&command, &site.store())?;
    let native = Seen::of(&registry).since(&crane);
    println!("40 images with tokens: crane {crane:?}, native {native:?}");
    // Three things of each image, and the base; crane pings and asks for a token for each of them.
    let things = 40 * 3 + 1;
    assert_eq!((crane.pings, crane.tokens), (things, things));
    assert_eq!((native.pings, native.tokens), (1, 4));
    assert_eq!(native.requests, things + 1 + 4);
    // Eight images in work at once, and TLS is tried first.
    assert!(native.connections <= 16, "{native:?}");
    let scopes: BTreeSet<_> = registry.scopes().into_iter().collect();
    let own = |number| format!("repository:team/app-{number}:pull");
    assert_eq!(scopes, (0..4).map(own).collect());
    Ok(())
}

#[test]
fn a_token_that_is_over_before_its_time_is_asked_for_once_more() -> Result {
    let (site, registry) = forty()?;
    registry.ask_for_tokens(7);
    let mut command = site.command()?;
    command.args(["--concurrency", "1"]);
    command.env("IMAGE_CENSUS_ENGINE", "native");
    run(&mut command)?;
    site.compare()?;
    let seen = Seen::of(&registry);
    assert!((12..60).contains(&seen.tokens), "{seen:?}");
    // One that is never taken is asked for twice and then believed to be none.
    let (site, registry) = forty()?;
    registry.ask_for_tokens(0);
    let mut command = site.command()?;
    command.env("IMAGE_CENSUS_ENGINE", "native");
    run(&mut command)?;
    let rows = rows(&site.store())?;
    assert!(rows.iter().all(|row| row["error_kind"] == "unauthorized"));
    assert_eq!(rows.len(), 40);
    Ok(())
}

#[test]
fn crane_is_not_started_and_its_version_is_not_claimed() -> Result {
    let mut site = Site::new()?;
    site.registry("good", None, OK)?;
    let nowhere = Path::new("/nonexistent/crane");
    let mut command = snapshot_with(nowhere, &site.write_pods()?, &site.store());
    site.prepare(&mut command);
    command.args(["--engine", "native"]);
    run(&mut command)?;
    site.compare()?;
    let manifest: serde_json::Value =
        serde_json::from_str(&harness::get(&site.store(), "latest", "manifest")?)?;
    let versions = &manifest["versions"];
    assert_eq!(versions["engine"], "native");
    assert!(versions["crane"].is_null(), "{versions}");
    let mut check = program();
    check
        .args(["check", "--engine", "native", "--crane"])
        .arg(nowhere);
    check
        .args(["--cluster-name", "test", "--store"])
        .arg(site.store());
    check.env("KUBECONFIG", "/nonexistent");
    let output = check.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("native: crane is not used"),
        "{said}{}",
        stderr(&output)
    );
    Ok(())
}

/// A registry's credential is not for whom it sends the client to, nor is its token.
#[test]
fn a_token_stays_with_its_registry() -> Result {
    let mut site = Site::new()?;
    let (registry, image) = (BadRegistry::start()?, site::debian("away"));
    let elsewhere = Recorder::start()?;
    registry.add("away", image.digest(), &image.blobs);
    registry.ask_for_tokens(100);
    let to = format!("http://127.0.0.1:{}/m", elsewhere.port);
    registry.misbehave(&manifest_path("away", image.digest()), Fault::redirect(&to));
    let address = registry.address.clone();
    site.pod("away", &address, image.digest(), ("failed", "invalid", ""));
    let mut command = site.command()?;
    command.env("IMAGE_CENSUS_ENGINE", "native");
    run(&mut command)?;
    let heard = elsewhere.heard();
    assert!(heard.starts_with("GET /m "), "{heard:?}");
    assert!(
        !heard.to_ascii_lowercase().contains("authorization"),
        "{heard:?}"
    );
    assert!(
        registry
            .heads()
            .iter()
            .any(|head| head.contains("Bearer token-0") || head.contains("bearer token-0"))
    );
    site.compare()?;
    assert!(registry.heads().iter().any(|head| head.contains(PING)));
    Ok(())
}

/// All goes over one connection, flow control and all.
#[test]
fn http_2_is_spoken_where_a_registry_speaks_it() -> Result {
    let mut site = Site::new()?;
    let mut spec = ImageSpec::new(Platform::linux("amd64")).layer(distributions::debian_12());
    // Over the window of a stream.
    let large: Vec<u8> = (0..3_u32 << 20)
        .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    spec = spec.layer(Layer::new("COPY large /srv").file("srv/large", large));
    let image = spec.build();
    let certificate = Certificate::new(&["modern.localhost"])?;
    let registry = Http2Registry::start(&certificate, "modern", &image.blobs)?;
    let host = format!("modern.localhost:{}", registry.port);
    site.pod("modern", &host, image.digest(), OK);
    let mut command = site.command()?;
    command.args(["--layers", "all"]);
    command.env("SSL_CERT_FILE", certificate.file());
    run(&mut command)?;
    site.compare()?;
    let crane = registry.seen();
    expect_same_rows(&command, &site.store())?;
    let (connections, requests) = registry.seen();
    // A ping, a manifest, a configuration and two layers; crane pings for each.
    assert_eq!((crane.1, requests - crane.1), (8, 5));
    assert_eq!(connections - crane.0, 1);
    Ok(())
}
