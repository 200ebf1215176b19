//! Pod lists: of one image that a registry holds, of the demo's cluster on its two nights, of nothing
//! that runs.
//!
//! A test that has `mod fixtures;` and `mod harness;` includes it by its path.

#![allow(
    dead_code,
    reason = "every test includes all of this and uses a part of it"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixtures::{self, demo_images, demo_pods, distributions, images, manifests, pods};
use crate::harness::registry::Registry;
use crate::harness::{Result, crane, snapshot_of, succeed};

/// A folder with a pod list of one image that a registry holds.
pub(crate) struct Night {
    folder: tempfile::TempDir,
    registry: Registry,
}

impl Night {
    pub(crate) fn new() -> Result<Self> {
        let registry = Registry::start()?;
        let image = images::ImageSpec::new(images::Platform::linux("amd64"))
            .layer(distributions::debian_12())
            .build();
        let reference = format!("{}/shop/catalog:1.0.0", registry.address);
        fixtures::registry::push(&image, &crane()?, &reference)?;
        let container = pods::Container::new("app", &reference).running(image.digest());
        let pod = pods::Pod::new("shop", pods::Workload::deployment("catalog", 1), 0);
        let list = manifests::pod_list(&[pod.container(container)])?;
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("pods.json"), list)?;
        Ok(Self { folder, registry })
    }

    /// A scratch folder that ends with this.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pods(&self) -> PathBuf {
        self.folder.path().join("pods.json")
    }

    /// How many requests the registry has answered.
    pub(crate) fn requests(&self) -> Result<usize> {
        Ok(self.registry.log()?.lines().count())
    }
}

/// Writes a pod list that needs no registry, since its pods are over: a row and a workload each.
pub(crate) fn write_idle_pods(path: &Path, count: usize) -> Result {
    let pods: Vec<_> = idle_pods(count).collect();
    Ok(fs::write(path, manifests::pod_list(&pods)?)?)
}

/// Pods that are over.
pub(crate) fn idle_pods(count: usize) -> impl Iterator<Item = pods::Pod> {
    (0..count).map(|number| {
        let workload = pods::Workload::bare(&format!("job-{number:05}"));
        pods::Pod::new("batch", workload, 0)
            .phase(pods::Phase::Succeeded)
            .container(pods::Container::new("main", "registry.example/job:1"))
    })
}

/// Takes the demo's two nights into a store; `configure` completes the commands.
pub(crate) fn demo_nights(store: &Path, configure: impl Fn(&mut Command)) -> Result {
    let registry = Registry::start()?;
    let folder = tempfile::tempdir()?;
    let (pods, nodes) = (folder.path().join("pods"), folder.path().join("nodes"));
    let mut pushed = BTreeMap::new();
    for (night, time) in [
        (demo_images::Night::First, "2026-11-23T02:00:00Z"),
        (demo_images::Night::Second, "2026-11-24T02:00:00Z"),
    ] {
        for (name, image) in demo_images::images(night) {
            let digest = image.digest().to_owned();
            if pushed.insert(name, digest.clone()) != Some(digest) {
                let reference = format!("{}/{name}", registry.address);
                fixtures::registry::push(&image, &crane()?, &reference)?;
            }
        }
        let list = manifests::pod_list(&demo_pods::pods(&registry.address, night))?;
        fs::write(&pods, list)?;
        let items: Vec<_> = demo_pods::nodes(night)
            .iter()
            .map(fixtures::nodes::Node::to_json)
            .collect();
        fs::write(&nodes, manifests::list(&items)?)?;
        let mut command = snapshot_of(&pods, store)?;
        command.arg("--nodes").arg(&nodes);
        command.args(["--snapshot-time", time, "--owner-label", "team"]);
        configure(&mut command);
        succeed(&mut command)?;
    }
    Ok(())
}
