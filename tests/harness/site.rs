//! Pods, the registries behind them, and the row that is expected of each.
//!
//! A test that has `mod fixtures;` and `mod harness;` includes it by its path.

#![allow(
    dead_code,
    reason = "every test includes all of this and uses a part of it"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::fixtures::images::{Built, ImageSpec, Platform};
use crate::fixtures::pods::{Container, Pod, Workload};
use crate::fixtures::{distributions, manifests};
use crate::harness::bad_registry::{BadRegistry, Fault, PING, blob_path, manifest_path};
use crate::harness::running::{Ended, Running};
use crate::harness::{Result, Row, rows, snapshot_of};

/// No run of these tests may take longer; the program's own limits are far below.
pub(crate) const BOUND: Duration = Duration::from_secs(120);

/// Status, kind, and words of the message.
pub(crate) type Expected = (&'static str, &'static str, &'static str);

pub(crate) const OK: Expected = ("ok", "", "");

pub(crate) fn debian(name: &str) -> Built {
    let layer = distributions::debian_12().file("srv/name", name);
    ImageSpec::new(Platform::linux("amd64"))
        .layer(layer)
        .build()
}

/// Pods, the rows that are expected, and the registries behind them.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) pods: Vec<Pod>,
    pub(crate) cases: BTreeMap<String, Expected>,
    pub(crate) allowed: Vec<String>,
    pub(crate) registries: Vec<BadRegistry>,
}

impl Site {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            pods: Vec::new(),
            cases: BTreeMap::new(),
            allowed: Vec::new(),
            registries: Vec::new(),
        })
    }

    pub(crate) fn pod(&mut self, name: &str, registry: &str, digest: &str, expected: Expected) {
        self.pod_in("n", name, registry, digest, expected);
    }

    /// The same in a namespace of one's choice.
    pub(crate) fn pod_in(
        &mut self,
        namespace: &str,
        name: &str,
        registry: &str,
        digest: &str,
        expected: Expected,
    ) {
        let image = format!("{registry}/{name}:1");
        self.pod_of(namespace, name, &image, digest, expected);
    }

    /// The same with an image of one's choice.
    pub(crate) fn pod_of(
        &mut self,
        namespace: &str,
        name: &str,
        image: &str,
        digest: &str,
        expected: Expected,
    ) {
        let container = Container::new("app", image).running(digest);
        let pod = Pod::new(namespace, Workload::deployment(name, 1), 0);
        self.pods.push(pod.container(container));
        self.cases.insert(name.to_owned(), expected);
    }

    /// A good image at a registry of its own, which is reached by way of the guard. All that is
    /// answered to a path may be a fault.
    pub(crate) fn registry(
        &mut self,
        name: &str,
        fault: Option<(Part, Fault)>,
        expected: Expected,
    ) -> Result {
        let (registry, image) = (BadRegistry::start()?, debian(name));
        registry.add(name, image.digest(), &image.blobs);
        if let Some((part, fault)) = fault {
            registry.misbehave(&part.path(name, &image), fault);
        }
        let address = format!("{name}.localhost:{}", registry.port());
        self.pod(name, &address, image.digest(), expected);
        self.allowed.push(address);
        self.registries.push(registry);
        Ok(())
    }

    /// Writes a settings file for `--registries`.
    pub(crate) fn settings(&self, text: &str) -> Result<PathBuf> {
        let file = self.folder.path().join("registries.yaml");
        fs::write(&file, text)?;
        Ok(file)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn write_pods(&self) -> Result<PathBuf> {
        let pods = self.folder.path().join("pods.json");
        fs::write(&pods, manifests::pod_list(&self.pods)?)?;
        Ok(pods)
    }

    /// `snapshot` of its pods on a machine of one's own.
    pub(crate) fn command(&self) -> Result<Command> {
        let mut command = snapshot_of(&self.write_pods()?, &self.store())?;
        self.prepare(&mut command);
        Ok(command)
    }

    pub(crate) fn prepare(&self, command: &mut Command) {
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
            command.env_remove(name);
        }
        command.env("DOCKER_CONFIG", self.folder.path().join("docker"));
        command.env("IMAGE_CENSUS_CRANE_TIMEOUT", "60s");
        for host in &self.allowed {
            command.args(["--allow-host", host]);
        }
    }

    /// The same in a cluster whose API server is there.
    pub(crate) fn in_cluster(&self, api_server: &str) -> Result<Command> {
        let mut command = self.command()?;
        as_in_cluster(&mut command, api_server);
        Ok(command)
    }

    pub(crate) fn compare(&self) -> Result {
        let wrong = self.wrong_rows()?;
        assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
        Ok(())
    }

    /// What is wrong with the rows, by name.
    pub(crate) fn wrong_rows(&self) -> Result<Vec<String>> {
        let by_name = |row: Row| (row["workload_name"].clone(), row);
        let rows: BTreeMap<_, _> = rows(&self.store())?.into_iter().map(by_name).collect();
        let mut wrong = Vec::new();
        for (name, (status, kind, words)) in &self.cases {
            let row = rows.get(name).ok_or("a row is missing")?;
            let (found, found_kind) = (&row["inspection_status"], &row["error_kind"]);
            let message = &row["error_message"];
            if (&**found, &**found_kind) != (status, kind) || !message.contains(words) {
                wrong.push(format!(
                    "{name}: expected {status} {kind} {words:?}, found {found} {found_kind} {message:?}"
                ));
            }
        }
        Ok(wrong)
    }
}

pub(crate) fn as_in_cluster(command: &mut Command, api_server: &str) {
    let (host, port) = api_server.rsplit_once(':').unwrap_or((api_server, "443"));
    command.env("KUBERNETES_SERVICE_HOST", host);
    command.env("KUBERNETES_SERVICE_PORT", port);
}

/// Which request a fault is about.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Ping,
    Manifest,
    Config,
    Layer,
}

impl Part {
    pub(crate) fn path(self, name: &str, image: &Built) -> String {
        let layer = image.layers.first().map_or("", |layer| &layer.digest);
        match self {
            Self::Ping => PING.to_owned(),
            Self::Manifest => manifest_path(name, image.digest()),
            Self::Config => blob_path(name, image.config_digest()),
            Self::Layer => blob_path(name, layer),
        }
    }
}

pub(crate) fn run(command: &mut Command) -> Result<Ended> {
    let ended = Running::start(command)?.wait(BOUND, || Ok(()))?;
    assert!(ended.status.success(), "{}", ended.stderr);
    Ok(ended)
}
