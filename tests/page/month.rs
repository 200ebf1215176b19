//! Thirty nights of the demo's cluster: its first night again and again, then its second.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{Days, NaiveDate};

use crate::fixtures::demo_images::{self, Night};
use crate::fixtures::{self, demo_pods, manifests, nodes};
use crate::harness::registry::Registry;
use crate::harness::{Result, crane, get, program, succeed};

const NIGHTS: u64 = 30;
/// Where the pods say that their images are: a name that nobody has, so that pages look the same
/// whatever port the mirror got.
const REGISTRY: &str = "registry.example.com";

/// The pages of the last night's report, and of what changed in it.
pub(crate) fn pages(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let registry = Registry::start()?;
    let settings = folder.join("registries.yaml");
    let mirror = &registry.address;
    fs::write(
        &settings,
        format!("registries:\n- host: {REGISTRY}\n  mirrors:\n  - location: {mirror}\n"),
    )?;
    let store = folder.join("store");
    let mut date = NaiveDate::from_ymd_opt(2026, 10, 26).ok_or("no day")?;
    for (night, times) in [(Night::First, NIGHTS - 1), (Night::Second, 1)] {
        for (name, image) in demo_images::images(night) {
            fixtures::registry::push(&image, &crane()?, &format!("{mirror}/{name}"))?;
        }
        let pods = manifests::pod_list(&demo_pods::pods(REGISTRY, night))?;
        fs::write(folder.join("pods.json"), pods)?;
        let items: Vec<_> = demo_pods::nodes(night)
            .iter()
            .map(nodes::Node::to_json)
            .collect();
        fs::write(folder.join("nodes.json"), manifests::list(&items)?)?;
        for _ in 0..times {
            succeed(&mut snapshot(folder, &store, date)?)?;
            date = date.checked_add_days(Days::new(1)).ok_or("no day")?;
        }
    }
    let (report, diff) = (folder.join("report.html"), folder.join("diff.html"));
    fs::write(&report, get(&store, "latest", "html")?)?;
    let mut command = program();
    command.args(["diff", "--format", "html", "--output"]);
    succeed(command.arg(&diff).arg("--store").arg(&store))?;
    Ok((report, diff))
}

fn snapshot(folder: &Path, store: &Path, date: NaiveDate) -> Result<Command> {
    let mut command = program();
    command.args([
        "snapshot",
        "--cluster-name",
        "demo",
        "--owner-label",
        "team",
    ]);
    command.args(["--snapshot-time", &format!("{date}T02:00:00Z")]);
    command.arg("--crane").arg(crane()?);
    command.arg("--store").arg(store);
    for name in ["pods", "nodes"] {
        let file = folder.join(format!("{name}.json"));
        command.arg(format!("--{name}")).arg(file);
    }
    command
        .arg("--registries")
        .arg(folder.join("registries.yaml"));
    Ok(command)
}
