//! Thirty images that go wrong, each in its own way, in one run of 300 with the real crane: each is a row
//! of the right kind, the others lose nothing, and time and memory stay near those of a good night.
//!
//! The longest single wait is that for a registry which answers 429 for ever: four times crane's three
//! attempts, with pauses, 20 to 28 s.

#![allow(
    clippy::print_stdout,
    reason = "the figures are what a reader of the log looks for"
)]

mod fixtures;
mod harness;
#[path = "harness/site.rs"]
mod site;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use fixtures::images::{Built, Format, digest_of};
use fixtures::indexes::{Artifact, ImageIndex, nested};
use fixtures::pods::{Container, Pod, Workload};
use harness::bad_registry::{BadRegistry, Fault};
use harness::docker_registry::{DockerRegistry, docker_config, password};
use harness::engines::expect_same_rows;
use harness::running::{Ended, Memory, Running, assert_no_process_with};
use harness::tls::{Certificate, Front};
use harness::{Result, is_native, rows};
use serde_json::json;
use site::{Expected, OK, Part, Site, debian};

/// All images of a run, and how many of them are good.
const IMAGES: usize = 300;
const GOOD: usize = 270;
/// `--crane-timeout`, the longest limit; crane's three attempts take 4 s.
const LIMIT: Duration = Duration::from_secs(10);
/// A run that takes longer is ended.
const BOUND: Duration = Duration::from_secs(400);

const UNAUTHORIZED: Expected = ("failed", "unauthorized", "log in");
const NOT_FOUND: Expected = ("failed", "not_found", "does not have this image");
const NETWORK: Expected = ("failed", "network", "could not be reached or broke off");
const TLS: Expected = ("failed", "tls", "no certificate that is trusted");
const SLOW: Expected = ("partial", "timeout", "too slowly");
/// crane believes what calls itself signed schema 1; then we do not.
const INVALID: Expected = ("failed", "invalid", "digest");

/// A site with one large registry, and whatever else has to live as long as the run.
struct Faults {
    site: Site,
    main: BadRegistry,
    address: String,
    docker: DockerRegistry,
    fronts: Vec<Front>,
    /// What crane trusts.
    certificates: Vec<u8>,
}

impl Faults {
    fn new() -> Result<Self> {
        let (mut site, main) = (Site::new()?, BadRegistry::start()?);
        let address = format!("main.localhost:{}", main.port());
        let docker = DockerRegistry::start(&["alice"])?;
        site.allowed
            .extend([address.clone(), docker.address.clone()]);
        let certificates = fs::read(docker.authority())?;
        Ok(Self {
            site,
            main,
            address,
            docker,
            fronts: Vec::new(),
            certificates,
        })
    }

    /// Whatever it is, at the large registry.
    fn image(&mut self, name: &str, image: &Built, expected: Expected) {
        self.main.add(name, image.digest(), &image.blobs);
        let address = self.address.clone();
        self.site.pod(name, &address, image.digest(), expected);
    }

    /// A good image there, of which a part is served badly.
    fn part(&mut self, name: &str, part: Part, fault: Fault, expected: Expected) {
        let image = debian(name);
        self.main.misbehave(&part.path(name, &image), fault);
        self.image(name, &image, expected);
    }

    /// Good images there, until there are so many images in all.
    fn fill(&mut self, count: usize) {
        for number in self.site.cases.len()..count {
            let name = format!("good-{number:03}");
            self.image(&name, &debian(&name), OK);
        }
    }

    /// A good image of a registry behind TLS, whose certificate has a fault.
    fn behind(&mut self, name: &str, certificate: &Certificate, trusted: bool) -> Result {
        let (registry, image) = (BadRegistry::start()?, debian(name));
        registry.add(name, image.digest(), &image.blobs);
        let front = Front::start(certificate, &registry.address)?;
        let host = format!("{name}.localhost:{}", front.port);
        self.site.pod(name, &host, image.digest(), TLS);
        self.site.allowed.push(host);
        self.site.registries.push(registry);
        self.fronts.push(front);
        if trusted {
            self.certificates.extend(fs::read(certificate.file())?);
        }
        Ok(())
    }

    /// Runs it as in a cluster; how it ended, and its memory. The native engine finds the same.
    fn run(&self) -> Result<(Ended, Memory)> {
        let authorities = self.site.folder.path().join("authorities.pem");
        fs::write(&authorities, &self.certificates)?;
        let mut command = self.site.in_cluster("10.96.0.1:443")?;
        command.env("SSL_CERT_FILE", authorities);
        command.env(
            "IMAGE_CENSUS_CRANE_TIMEOUT",
            format!("{}s", LIMIT.as_secs()),
        );
        let (ended, memory) = Running::start(&mut command)?.wait_and_measure_all(BOUND)?;
        assert!(ended.status.success(), "{}", ended.stderr);
        assert_no_process_with(&self.address)?;
        expect_same_rows(&command, &self.site.store())?;
        Ok((ended, memory))
    }

    /// A registry that asks for passwords.
    fn add_private(&mut self) -> Result {
        let address = self.docker.address.clone();
        let pusher = self.docker.crane_as("alice")?;
        let mut entries = Vec::new();
        for (name, secret, expected) in [
            ("private", Some(password("alice")), OK),
            ("wrong-password", Some("guessed".to_owned()), UNAUTHORIZED),
            ("no-credentials", None, UNAUTHORIZED),
            ("missing-repository", Some(password("alice")), NOT_FOUND),
            ("missing-tag", Some(password("alice")), NOT_FOUND),
            ("missing-digest", Some(password("alice")), NOT_FOUND),
        ] {
            let image = debian(name);
            if name != "missing-repository" {
                let reference = format!("{address}/{name}:1");
                fixtures::registry::push(&image, &pusher, &reference)?;
            }
            let digest = match name {
                "missing-digest" => digest_of(b"another"),
                _ => image.digest().to_owned(),
            };
            self.site.pod(name, &address, &digest, expected);
            if let Some(secret) = secret {
                entries.push((format!("{address}/{name}"), secret));
            }
        }
        // A pod that has not started yet knows its tag only.
        let container = Container::new("app", &format!("{address}/missing-tag:2"));
        let pod = Pod::new("n", Workload::deployment("missing-tag", 1), 0).container(container);
        let missing = self.site.pods.iter_mut().rev().nth(1);
        *missing.ok_or("no pod")? = pod;

        let entries: Vec<_> = entries
            .iter()
            .map(|(key, secret)| (&**key, "alice", &**secret))
            .collect();
        let folder = self.site.folder.path().join("docker");
        fs::create_dir(&folder)?;
        fs::write(
            folder.join("config.json"),
            docker_config(&entries).to_string(),
        )?;
        Ok(())
    }

    /// Registries that answer everything badly, or nothing.
    fn add_hosts(&mut self) -> Result {
        let document = |code: &str| {
            let errors = json!({"errors": [{"code": code, "message": "no", "detail": null}]});
            errors.to_string()
        };
        let html = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
        let denied = Fault::status(403, document("DENIED"));
        let limited = Fault::status(429, document("TOOMANYREQUESTS"));
        let broken = Fault::status(500, document("UNKNOWN"));
        let gateway = Fault::status(502, html);
        let rate_limited = ("failed", "rate_limited", "limits requests");
        let late = ("failed", "timeout", "did not finish within 10 s");
        for (name, part, fault, expected) in [
            (
                "denied",
                Part::Manifest,
                denied,
                ("failed", "denied", "let them pull it"),
            ),
            ("status-429", Part::Manifest, limited, rate_limited),
            ("status-500", Part::Manifest, broken, NETWORK),
            ("status-502-html", Part::Ping, gateway, NETWORK),
            ("hang-before-headers", Part::Ping, Fault::Silent, late),
        ] {
            self.site.registry(name, Some((part, fault)), expected)?;
        }
        let path = Part::Manifest.path("redirect-loop", &debian("redirect-loop"));
        let redirect = Some((Part::Manifest, Fault::redirect(&path)));
        // crane follows without an end: the guard ends it.
        let circles = ("failed", "invalid", "leads round in circles");
        self.site.registry("redirect-loop", redirect, circles)?;

        let digest = digest_of(b"never seen");
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let refused = format!("refused.localhost:{free}");
        for (name, host) in [
            ("dns-failure", "no-such-host.invalid:5000"),
            ("refused", &refused),
        ] {
            self.site.pod(name, host, &digest, NETWORK);
            self.site.allowed.push(host.to_owned());
        }
        // crane asks 127.0.0.1 and *.localhost without TLS by itself; this one it does not.
        let plain = BadRegistry::start_on("127.0.0.2")?;
        self.site
            .pod("http-for-https", &plain.address, &digest, TLS);
        self.site.allowed.push(plain.address.clone());
        self.site.registries.push(plain);

        let unknown = Certificate::new(&["unknown-ca.localhost"])?;
        self.behind("unknown-ca", &unknown, false)?;
        let expired = Certificate::expired(&["expired.localhost"])?;
        self.behind("expired", &expired, true)?;
        let other = Certificate::new(&["other.localhost"])?;
        self.behind("wrong-name", &other, true)
    }

    /// Parts of images that the large registry serves badly.
    fn add_parts(&mut self) {
        let other = debian("another");
        let bytes = |digest: &str| other.blobs.get(digest).cloned().unwrap_or_default();
        let layer = other.layers.first().map(|layer| bytes(&layer.digest));
        let layer = layer.unwrap_or_default();
        let stalled = Fault::Stall(layer[..64].to_vec());
        self.part("hang-in-body", Part::Layer, stalled, SLOW);
        self.part("byte-a-second", Part::Layer, Fault::Drip, SLOW);
        let broke_off = ("partial", "network", "broke off");
        self.part("truncated", Part::Layer, Fault::Truncated, broke_off);
        let media_type = "application/octet-stream";
        let forged = Fault::Forged {
            media_type,
            bytes: layer,
        };
        let wrong = ("partial", "invalid", "not what the digest names");
        self.part("wrong-digest", Part::Layer, forged, wrong);
        let media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
        let bytes = bytes(other.digest());
        let forged = Fault::Forged { media_type, bytes };
        self.part("forged-schema-1", Part::Manifest, forged, INVALID);
        // crane panics on it; the native engine does not look at it.
        let warning = Fault::Header("Warning: 299 - nope");
        let internal = ("failed", "internal", "crane manifest");
        let expected = if is_native() { OK } else { internal };
        self.part("panic", Part::Manifest, warning, expected);

        // The content is what was asked for, whatever the registry calls it.
        let image = debian("wrong-content-type");
        let fault = Fault::Forged {
            media_type: "text/html",
            bytes: image.blobs.get(image.digest()).cloned().unwrap_or_default(),
        };
        self.part("wrong-content-type", Part::Manifest, fault, OK);
    }

    /// Documents that are no image for this node.
    fn add_documents(&mut self) {
        let unsupported = |words| ("failed", "unsupported", words);
        let document = |media_type: &str, bytes: Vec<u8>| {
            let mut built = Built::empty();
            built.manifest = built.add(media_type, bytes);
            built
        };
        let signed = "application/vnd.docker.distribution.manifest.v1+json";
        let old = json!({
            "schemaVersion": 1, "mediaType": signed, "name": "old", "tag": "1",
            "architecture": "amd64", "fsLayers": [], "history": [],
        });
        let old = document(signed, old.to_string().into());
        self.image("schema-1", &old, unsupported("schema 1"));
        let chart = Artifact::helm_chart("deploy", "1.3.0").build();
        self.image("helm-chart", &chart, unsupported("a Helm chart"));
        let empty = "application/vnd.oci.empty.v1+json";
        let spdx = "application/spdx+json";
        let bill = Artifact::of_types(Some(spdx), empty, spdx).build();
        self.image("sbom", &bill, unsupported("another artifact"));
        let nothing = ("failed", "not_found", "no manifest for linux/amd64");
        self.image("empty-index", &ImageIndex::default().build(), nothing);
        let endless = nested(nested(nested(nested(debian("inner")))));
        let words = "index of indexes";
        self.image("index-of-indexes", &endless, unsupported(words));
        let unreadable = ("failed", "invalid", "cannot be read");
        let no_json = document(Format::Oci.manifest(), b"<html>hello</html>".to_vec());
        self.image("no-json", &no_json, unreadable);
        let padding = "x".repeat(99_000_000);
        let large = json!({"schemaVersion": 2, "annotations": {"padding": padding}});
        let large = document(Format::Oci.manifest(), large.to_string().into());
        let policy = ("skipped", "policy", "more than the limit");
        self.image("manifest-of-99-mb", &large, policy);
    }
}

fn print_row(what: &str, took: Duration, memory: Memory) {
    let mib = |kib: u64| kib as f64 / 1024.0;
    println!(
        "| {what} | {:.1} | {:.0} | {:.0} | {:.0} | {} |",
        took.as_secs_f64(),
        mib(memory.program),
        mib(memory.child),
        mib(memory.all),
        memory.children
    );
}

#[test]
fn thirty_faults_in_a_run_of_300_images_cost_little_and_spoil_nothing() -> Result {
    let mut good = Faults::new()?;
    // Beside another registry, the large one has half of all slots.
    good.site.registry("beside", None, OK)?;
    good.fill(IMAGES);
    let (calm, calm_memory) = good.run()?;
    good.site.compare()?;
    drop(good);

    let mut bad = Faults::new()?;
    bad.add_private()?;
    bad.add_hosts()?;
    bad.add_parts();
    bad.add_documents();
    let mut shapes = bad.site.cases.clone();
    shapes.retain(|_, expected| expected.0 != "ok");
    let good = GOOD + usize::from(is_native());
    assert_eq!(shapes.len(), IMAGES - good, "{shapes:?}");
    bad.fill(IMAGES);
    let (mixed, memory) = bad.run()?;
    println!("| run | seconds | program MiB | largest crane MiB | all MiB | cranes at once |");
    print_row("300 good images", calm.took, calm_memory);
    print_row("270 good images, 30 faults", mixed.took, memory);
    let ratio = mixed.took.as_secs_f64() / calm.took.as_secs_f64();
    println!("ratio of the times: {ratio:.2}; the longest limit: {LIMIT:?}");

    bad.site.compare()?;
    let mut kinds = BTreeMap::<_, usize>::new();
    for row in rows(&bad.site.store())? {
        let key = (row["inspection_status"].clone(), row["error_kind"].clone());
        *kinds.entry(key).or_default() += 1;
    }
    let ok = kinds.get(&("ok".to_owned(), String::new()));
    assert_eq!(ok, Some(&good), "{kinds:?}");
    for memory in [calm_memory, memory] {
        assert!(is_native() || memory.children > 1, "nothing was measured");
        assert!(memory.program < 256 << 10, "{memory:?}");
        assert!(memory.all < 512 << 10, "{memory:?}");
    }
    // Loosely: others use the machine, too. One after the other, the faults alone would take 2 minutes.
    let most = calm.took * 2 + LIMIT + Duration::from_secs(60);
    assert!(mixed.took < most, "{:?}, {:?}", mixed.took, calm.took);
    Ok(())
}
