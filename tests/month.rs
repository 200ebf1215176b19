//! A month of nights whose every change is known beforehand: `diff` of each neighbouring pair and of
//! first and last is a table that was written by hand, on a folder and on a bucket.

mod fixtures;
mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fixtures::images::{Built, ImageSpec, Platform};
use fixtures::indexes::ImageIndex;
use fixtures::layers::Layer;
use fixtures::nodes::Node;
use fixtures::pods::{Container, Phase, Pod, Workload, safe_letters};
use fixtures::{distributions as distro, manifests};
use harness::readers::expect_valid;
use harness::registry::Registry;
use harness::running::{Running, until};
use harness::runs::{self, document, newest, run_ids};
use harness::store::Store;
use harness::{Result, crane, stderr, succeed};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The runs of the month. The first night is that of 10 August 2026, so that 1 September, when the
/// support of Debian 11 is over, is the 23rd. On the 21st there is none: it was killed.
#[rustfmt::skip]
const RUNS: &[Run] = &[
    run("01"), run("02"), run("03"), run("04"), run("05"), run("06"), run("07"), run("08"),
    run("09"), run("10"), run("11"), run("12"), run("13"), run("14"), run("15"), run("16"),
    run("17"), run("18"), run("19"), run("20"), run("20 noon"), run("22"), run("23"),
    run("24"), run("25"), run("26"), run("27"), run("28"), run("29"), run("30"),
];

/// What changes from each run to the next.
#[rustfmt::skip]
const CHANGES: &[(&str, &str, &[&str])] = &[
    ("01", "02", &[
        "ci Pod/debug-shell shell: added",
    ]),
    // The CronJob does not run on the third night.
    ("02", "03", &[
        "shop CronJob/import import: not_running",
        "shop Deployment/cart app: reference_changed",
    ]),
    ("03", "04", &[
        "ci Pod/debug-shell shell: removed",
        "shop CronJob/import import: added",
    ]),
    // A tag moves, to another base. A Job comes.
    ("04", "05", &[
        "payments Deployment/gateway app: moved_tag distribution_changed",
        "1 came, 0 went",
    ]),
    // Caught in the middle of a rollout.
    ("05", "06", &[
        "shop Deployment/cart app: reference_changed",
        "0 came, 1 went",
    ]),
    ("06", "07", &[
        "shop Deployment/cart app: reference_changed",
        "1 came, 0 went",
    ]),
    // A node joins: two DaemonSets grow.
    ("07", "08", &[
        "0 came, 1 went",
    ]),
    ("08", "09", &[
        "shop Deployment/catalog app: distribution_changed reference_changed",
    ]),
    // Nodes report platform manifests from now on, where they reported index digests: no change.
    ("09", "10", &[
        "1 came, 0 went",
    ]),
    ("10", "11", &[
        "shop CronJob/import import: not_running",
        "0 came, 1 went",
    ]),
    // A tag moves on one of two nodes.
    ("11", "12", &[
        "payments DaemonSet/agent app: moved_tag",
    ]),
    ("12", "13", &[
        "shop CronJob/import import: added",
    ]),
    // The registry is down for two nights, while one workload moves on and another comes.
    ("13", "14", &[
        "ci Deployment/web app: no_longer_inspectable",
        "payments Deployment/ledger app: reference_changed no_longer_inspectable",
        "1 came, 0 went",
    ]),
    ("14", "15", &[
        "payments Deployment/fresh app: added",
        "1 came, 1 went",
    ]),
    ("15", "16", &[
        "ci Deployment/web app: again_inspectable",
        "payments Deployment/fresh app: again_inspectable",
        "payments Deployment/ledger app: again_inspectable",
        "0 came, 1 went",
    ]),
    // A namespace disappears.
    ("16", "17", &[
        "legacy Deployment/old-a app: removed",
        "legacy StatefulSet/old-b app: removed",
    ]),
    // The 18th lists the namespace shop only, and is compared as far as that goes.
    ("17", "18", &[
        "shop Deployment/cart app: reference_changed",
    ]),
    ("18", "19", &[]),
    ("17", "19", &[
        "payments Deployment/gateway app: moved_tag",
        "shop Deployment/cart app: reference_changed",
    ]),
    ("19", "20", &[
        "1 came, 0 went",
    ]),
    // Repeated at noon.
    ("20", "20 noon", &[
        "shop Deployment/cart app: reference_changed",
    ]),
    ("20 noon", "22", &[
        "0 came, 1 went",
    ]),
    // By the calendar alone.
    ("22", "23", &[
        "shop StatefulSet/search app: entered_eol",
    ]),
    // Ended at its deadline: what it did not know it did not learn.
    ("23", "24", &[
        "ci Deployment/web app: no_longer_inspectable",
        "shop Deployment/cart app: reference_changed no_longer_inspectable",
    ]),
    ("24", "25", &[
        "ci Deployment/web app: again_inspectable",
        "shop Deployment/cart app: again_inspectable",
        "1 came, 0 went",
    ]),
    // Another registry, the same manifest.
    ("25", "26", &[
        "shop Deployment/frontend app: registry_changed reference_changed",
        "0 came, 1 went",
    ]),
    // Somebody debugs.
    ("26", "27", &[
        "1 came, 0 went",
    ]),
    ("27", "28", &[
        "1 came, 1 went",
    ]),
    ("28", "29", &[
        "0 came, 1 went",
    ]),
    ("29", "30", &[
        "1 came, 0 went",
    ]),
    // The whole month.
    ("01", "30", &[
        "legacy Deployment/old-a app: removed",
        "legacy StatefulSet/old-b app: removed",
        "payments DaemonSet/agent app: moved_tag",
        "payments Deployment/fresh app: added",
        "payments Deployment/gateway app: moved_tag distribution_changed",
        "payments Deployment/ledger app: reference_changed",
        "shop Deployment/cart app: reference_changed",
        "shop Deployment/catalog app: distribution_changed reference_changed",
        "shop Deployment/frontend app: registry_changed reference_changed",
        "shop StatefulSet/search app: entered_eol",
        "1 came, 0 went",
    ]),
];

/// Which run the snapshot itself compared with, where it is not the one before: the last complete one
/// of an earlier day and of the same scope.
const AGAINST: &[(&str, Option<&str>)] = &[
    ("01", None),
    ("18", None),
    ("19", Some("17")),
    ("20 noon", Some("19")),
    ("25", Some("23")),
];

#[derive(Clone, Copy)]
struct Run {
    name: &'static str,
}

const fn run(name: &'static str) -> Run {
    Run { name }
}

impl Run {
    fn night(self) -> u32 {
        self.name[..2].parse().unwrap_or_default()
    }

    fn is_noon(self) -> bool {
        self.name.ends_with("noon")
    }

    fn date(self) -> String {
        match 9 + self.night() {
            day @ 1..=31 => format!("2026-08-{day:02}"),
            day => format!("2026-09-{:02}", day - 31),
        }
    }

    fn time(self) -> String {
        let hour = if self.is_noon() { "12" } else { "02" };
        format!("{}T{hour}:00:00Z", self.date())
    }
}

/// The cluster's registries and images.
struct Cluster {
    registry: String,
    mirror: String,
    images: BTreeMap<&'static str, Built>,
}

/// An application on a base.
fn app(name: &str, base: Layer) -> ImageSpec {
    app_for("amd64", name, base)
}

fn app_for(architecture: &str, name: &str, base: Layer) -> ImageSpec {
    ImageSpec::new(Platform::linux(architecture))
        .layer(base)
        .layer(distro::application(
            &format!("{name} for {architecture}"),
            "1",
        ))
}

fn for_two(name: &str, base: fn() -> Layer) -> Built {
    ImageIndex {
        images: ["amd64", "arm64"]
            .map(|architecture| app_for(architecture, name, base()))
            .to_vec(),
        ..ImageIndex::default()
    }
    .build()
}

/// Each image by a name that is its repository and a tag of its own: a tag that moves does so in the
/// pods' statuses.
fn images() -> BTreeMap<&'static str, Built> {
    let alpine = || distro::alpine("3.24.1");
    let mut images = BTreeMap::from([
        (
            "shop/frontend:3.1.0",
            for_two("frontend", distro::ubuntu_24_04),
        ),
        (
            "kube-system/proxy:1.36",
            for_two("proxy", distro::distroless_debian_12),
        ),
        (
            "payments/gateway:first",
            app("gateway 1", distro::ubuntu_22_04()).build(),
        ),
        (
            "payments/gateway:second",
            app("gateway 2", distro::ubuntu_24_04()).build(),
        ),
        (
            "payments/gateway:third",
            app("gateway 3", distro::ubuntu_24_04()).build(),
        ),
        (
            "shop/catalog:5.0",
            app("catalog 5.0", distro::debian_11()).build(),
        ),
        (
            "shop/catalog:5.1",
            app("catalog 5.1", distro::debian_12()).build(),
        ),
        ("shop/search:2", app("search", distro::debian_11()).build()),
    ]);
    for name in [
        "shop/cart:1.0",
        "shop/cart:1.1",
        "shop/cart:1.2",
        "shop/cart:1.3",
        "shop/cart:1.4",
        "shop/cart:1.5",
        "shop/import:1",
        "payments/agent:first",
        "payments/agent:second",
        "payments/ledger:1",
        "payments/ledger:2",
        "payments/fresh:1",
        "legacy/old:1",
        "ci/web:1",
        "ci/build:1",
        "ci/job:1",
        "tools/debug:1",
    ] {
        images.insert(name, app(name, alpine()).build());
    }
    images
}

impl Cluster {
    fn push_all(&self) -> Result {
        for (name, image) in &self.images {
            push(image, &self.registry, name)?;
        }
        Ok(())
    }

    /// A container that runs `image`, and whose pod says `reference`.
    fn runs(&self, name: &str, reference: &str, digest: &str) -> Container {
        Container::new(name, &format!("{}/{reference}", self.registry)).running(digest)
    }

    fn app(&self, image: &str) -> Container {
        self.runs("app", image, self.images[image].digest())
    }

    /// The digest that a node reports of an image for several platforms.
    fn digest_on(&self, image: &str, node: &str, night: u32) -> &str {
        let image = &self.images[image];
        let architecture = if is_arm(node) { "arm64" } else { "amd64" };
        if night < 10 {
            image.digest()
        } else {
            image.platform("linux", architecture).digest()
        }
    }

    fn pods(&self, run: Run) -> Vec<Value> {
        let night = run.night();
        let mut pods = self.shop(run);
        pods.extend(self.payments(night));
        pods.extend(self.kube_system(night));
        if night < 17 {
            let old = self.app("legacy/old:1");
            pods.push(pod(
                "legacy",
                Workload::deployment("old-a", 1),
                0,
                "worker-1",
                &old,
            ));
            pods.push(pod(
                "legacy",
                Workload::stateful_set("old-b"),
                0,
                "worker-2",
                &old,
            ));
        }
        let mut pods: Vec<_> = pods.iter().map(manifests::pod).collect();
        pods.extend(self.ci(night));
        pods
    }

    fn shop(&self, run: Run) -> Vec<Pod> {
        let night = run.night();
        let versions: &[u32] = match night {
            1..=2 => &[0],
            3..=5 => &[1],
            6 => &[1, 2],
            7..=17 => &[2],
            20 if run.is_noon() => &[4],
            18..=20 => &[3],
            21..=23 => &[4],
            _ => &[5],
        };
        let mut pods = Vec::new();
        for (number, node) in ["worker-1", "worker-2", "worker-1"].into_iter().enumerate() {
            let version = versions[number % versions.len()];
            let cart = self.app(&format!("shop/cart:1.{version}"));
            pods.push(pod(
                "shop",
                Workload::deployment("cart", version),
                number,
                node,
                &cart,
            ));
        }
        if night == 27 {
            let debugger = self.runs(
                "debugger-x7k2p",
                "tools/debug:1",
                self.images["tools/debug:1"].digest(),
            );
            pods[0].ephemeral_containers.push(debugger);
        }

        let catalog = if night < 9 {
            "shop/catalog:5.0"
        } else {
            "shop/catalog:5.1"
        };
        let workload = Workload::deployment("catalog", night / 9);
        pods.push(pod("shop", workload, 0, "worker-2", &self.app(catalog)));
        let search = Workload::stateful_set("search");
        pods.push(pod(
            "shop",
            search,
            0,
            "worker-1",
            &self.app("shop/search:2"),
        ));

        for (number, node) in ["worker-1", "worker-3"].into_iter().enumerate() {
            let image = "shop/frontend:3.1.0";
            let mut frontend = self.runs("app", image, self.digest_on(image, node, night));
            if night >= 26 {
                let digest = self.digest_on(image, node, night);
                frontend =
                    Container::new("app", &format!("{}/{image}", self.mirror)).running(digest);
            }
            let workload = Workload::deployment("frontend", night / 26);
            pods.push(pod("shop", workload, number, node, &frontend));
        }

        if !matches!(night, 3 | 11 | 12) {
            // An hour before the run. 2026-08-10T01:00Z is the first night's.
            let due = 1_786_323_600 / 60 + u64::from(night - 1) * 24 * 60;
            let image = self.images["shop/import:1"].digest();
            let import = self.runs("import", "shop/import:1", image);
            let workload = Workload::cron_job("import", due);
            pods.push(pod("shop", workload, 0, "worker-2", &import).phase(Phase::Succeeded));
        }
        pods
    }

    fn payments(&self, night: u32) -> Vec<Pod> {
        let gateway = match night {
            1..=4 => "payments/gateway:first",
            5..=17 => "payments/gateway:second",
            _ => "payments/gateway:third",
        };
        let gateway = self.runs(
            "app",
            "payments/gateway:stable",
            self.images[gateway].digest(),
        );
        let mut pods = Vec::new();
        for (number, node) in ["worker-1", "worker-2"].into_iter().enumerate() {
            let workload = Workload::deployment("gateway", 1);
            pods.push(pod("payments", workload, number, node, &gateway));
            let is_new = night > 12 || (night == 12 && number == 0);
            let agent = if is_new {
                "payments/agent:second"
            } else {
                "payments/agent:first"
            };
            let agent = self.runs("app", "payments/agent:stable", self.images[agent].digest());
            pods.push(pod(
                "payments",
                Workload::daemon_set("agent"),
                number,
                node,
                &agent,
            ));
        }
        let ledger = if night < 14 {
            "payments/ledger:1"
        } else {
            "payments/ledger:2"
        };
        let workload = Workload::deployment("ledger", night / 14);
        pods.push(pod("payments", workload, 0, "worker-2", &self.app(ledger)));
        if night >= 15 {
            let fresh = Workload::deployment("fresh", 1);
            pods.push(pod(
                "payments",
                fresh,
                0,
                "worker-2",
                &self.app("payments/fresh:1"),
            ));
        }
        pods
    }

    fn kube_system(&self, night: u32) -> Vec<Pod> {
        let nodes = node_names(night).into_iter().enumerate();
        nodes
            .map(|(number, node)| {
                let image = "kube-system/proxy:1.36";
                let proxy = self.runs("app", image, self.digest_on(image, node, night));
                pod(
                    "kube-system",
                    Workload::daemon_set("proxy"),
                    number,
                    node,
                    &proxy,
                )
            })
            .collect()
    }

    /// What has names that are made up every night, and a pod that waits for its node.
    fn ci(&self, night: u32) -> Vec<Value> {
        let job = |name: &str| self.runs(name, "ci/job:1", self.images["ci/job:1"].digest());
        let bare = |prefix: &str, container: &Container| {
            let name = format!("{prefix}-{}", safe_letters(&format!("{prefix} {night}"), 5));
            let pod = pod("ci", Workload::bare(&name), 0, "worker-1", container);
            (pod, format!("{prefix}-"))
        };
        let generated = |pod: &Pod, prefix: &str| {
            let mut pod = manifests::pod(pod);
            pod["metadata"]["generateName"] = json!(prefix);
            pod
        };
        let (runner, prefix) = bare("runner", &job("runner"));
        let mut pods = vec![generated(&runner, &prefix)];
        if night.is_multiple_of(7) {
            let (migrate, prefix) = bare("migrate", &job("migrate"));
            pods.push(generated(&migrate.phase(Phase::Succeeded), &prefix));
        }
        if night.is_multiple_of(5) {
            let schema = Workload::job(&format!("schema-{night}"));
            let schema = pod("ci", schema, 0, "worker-1", &job("schema"));
            pods.push(manifests::pod(&schema.phase(Phase::Succeeded)));
        }
        if matches!(night, 2 | 3) {
            let shell = Workload::bare("debug-shell");
            pods.push(manifests::pod(&pod(
                "ci",
                shell,
                0,
                "worker-1",
                &job("shell"),
            )));
        }
        let build = Workload::other("argoproj.io/v1alpha1", "Workflow", "build");
        pods.push(manifests::pod(&pod(
            "ci",
            build,
            0,
            "worker-2",
            &self.app("ci/build:1"),
        )));
        let web = Container::new("app", &format!("{}/ci/web:1", self.registry));
        let web = Pod::new("ci", Workload::deployment("web", 1), 0)
            .phase(Phase::Pending)
            .container(web.waiting("ContainerCreating"));
        pods.push(manifests::pod(&web));
        pods
    }
}

fn pod(
    namespace: &str,
    workload: Workload,
    ordinal: usize,
    node: &str,
    container: &Container,
) -> Pod {
    Pod::new(namespace, workload, ordinal)
        .node(node)
        .container(container.clone())
}

fn is_arm(node: &str) -> bool {
    matches!(node, "worker-3" | "worker-4")
}

fn node_names(night: u32) -> Vec<&'static str> {
    let mut names = vec!["worker-1", "worker-2", "worker-3"];
    if night >= 8 {
        names.push("worker-4");
    }
    names
}

fn push(image: &Built, registry: &str, name: &str) -> Result {
    let reference = format!("{registry}/{name}");
    Ok(fixtures::registry::push(image, &crane()?, &reference)?)
}

/// Pods and nodes of a run, as files.
struct Lists {
    folder: tempfile::TempDir,
}

impl Lists {
    fn pods(&self) -> PathBuf {
        self.folder.path().join("pods.json")
    }

    fn write(&self, cluster: &Cluster, run: Run) -> Result {
        fs::write(self.pods(), manifests::list(&cluster.pods(run))?)?;
        let nodes: Vec<_> = node_names(run.night())
            .into_iter()
            .map(|name| Node::new(name, "linux", if is_arm(name) { "arm64" } else { "amd64" }))
            .map(|node| node.to_json())
            .collect();
        let file = self.folder.path().join("nodes.json");
        Ok(fs::write(file, manifests::list(&nodes)?)?)
    }

    fn snapshot(&self, store: &Store, run: Run) -> Result<std::process::Command> {
        let mut command = store.snapshot(&self.pods(), &run.time())?;
        command
            .arg("--nodes")
            .arg(self.folder.path().join("nodes.json"));
        Ok(command)
    }
}

/// Takes the month into the stores; run ids by the names in [`RUNS`], a map for each store.
fn take_month(stores: &[Store]) -> Result<Vec<BTreeMap<&'static str, String>>> {
    let mut registry = Some(Registry::start()?);
    let mirror = Registry::start()?;
    let address = registry.as_ref().map(|registry| registry.address.clone());
    let cluster = Cluster {
        registry: address.ok_or("no registry")?,
        mirror: mirror.address.clone(),
        images: images(),
    };
    cluster.push_all()?;
    push(
        &cluster.images["shop/frontend:3.1.0"],
        &cluster.mirror,
        "shop/frontend:3.1.0",
    )?;
    let lists = Lists {
        folder: tempfile::tempdir()?,
    };
    let mut ids = vec![BTreeMap::new(); stores.len()];
    for run in RUNS {
        match run.night() {
            14 => registry = None,
            16 => {
                registry = Some(Registry::start_on(&cluster.registry)?);
                cluster.push_all()?;
            }
            22 => kill_a_run(&cluster, &lists, &stores[0])?,
            _ => {}
        }
        lists.write(&cluster, *run)?;
        for (store, ids) in stores.iter().zip(&mut ids) {
            let mut command = lists.snapshot(store, *run)?;
            match run.night() {
                18 => command.args(["--namespace", "shop"]),
                24 => command.args(["--deadline", "1ms"]),
                _ => &mut command,
            };
            succeed(&mut command)?;
            ids.insert(run.name, newest(&store.root())?);
        }
    }
    drop(registry);
    Ok(ids)
}

/// The 21st night's run, killed while it inspects.
fn kill_a_run(cluster: &Cluster, lists: &Lists, store: &Store) -> Result {
    let run = run("21");
    lists.write(cluster, run)?;
    let marker = lists.folder.path().join("asked");
    let crane_that_hangs = lists.folder.path().join("crane");
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = version ]; then exec '{}' version; fi\ntouch '{}'\nexec sleep 60\n",
        crane()?.display(),
        marker.display()
    );
    fs::write(&crane_that_hangs, text)?;
    make_executable(&crane_that_hangs)?;
    let before = run_ids(&store.root())?;
    let mut command = lists.snapshot(store, run)?;
    command
        .arg("--crane")
        .arg(&crane_that_hangs)
        .arg("--no-reuse");
    let killed = Running::start(&mut command)?;
    until("crane is asked", || Ok(marker.exists()))?;
    killed.signal(Signal::KILL)?;
    let ended = killed.wait(Duration::from_secs(60), || Ok(()))?;
    assert_eq!(ended.status.code(), None);
    assert_eq!(run_ids(&store.root())?, before);
    Ok(())
}

fn make_executable(path: &Path) -> Result {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o755),
    )?)
}

/// A diff in the words of [`CHANGES`].
fn shown(diff: &Value) -> Result<Vec<String>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for change in diff["changes"].as_array().ok_or("no changes")? {
        let kinds: Vec<_> = change["kinds"]
            .as_array()
            .ok_or("no kinds")?
            .iter()
            .map(text)
            .collect();
        lines.push(format!(
            "{} {}/{} {}: {}",
            text(&change["namespace"]),
            text(&change["workload_kind"]),
            text(&change["workload_name"]),
            text(&change["container"]),
            kinds.join(" ")
        ));
    }
    let (came, went) = (&diff["transient"]["added"], &diff["transient"]["removed"]);
    if came != 0 || went != 0 {
        lines.push(format!("{came} came, {went} went"));
    }
    Ok(lines)
}

#[test]
fn every_diff_of_a_month_is_as_the_table_says() -> Result {
    let stores = Store::both()?;
    let ids = take_month(&stores)?;
    for (store, ids) in stores.iter().zip(&ids) {
        assert_eq!(ids.len(), RUNS.len());
        let neighbours = RUNS.windows(2).map(|pair| (pair[0].name, pair[1].name));
        for (old, new) in neighbours.chain([("01", "30")]) {
            let listed = CHANGES.iter().any(|(a, b, _)| (*a, *b) == (old, new));
            assert!(listed, "the table lacks {old} → {new}");
        }
        for (old, new, expected) in CHANGES {
            let (of_old, of_new) = (&ids[old], &ids[new]);
            let mut arguments = vec!["diff", of_old, of_new, "--format", "json"];
            if [old, new].contains(&&"18") {
                let output = store.command(&arguments).output()?;
                assert_eq!(output.status.code(), Some(1));
                assert!(
                    stderr(&output).contains("different scopes (all and shop)")
                        || stderr(&output).contains("different scopes (shop and all)")
                );
                arguments.push("--allow-scope-mismatch");
            }
            let diff = store.json(&arguments)?;
            assert_eq!(&shown(&diff)?, expected, "{old} → {new}");
        }
        expect_stored_diffs(store, ids)?;
        expect_lists(store, ids)?;
    }
    // Whatever the nights held, the files are as the schemas say.
    let folder = &stores[0];
    let files: usize = RUNS.len() * 5 - 2;
    expect_valid(&folder.root(), files)?;
    expect_valid(&stores[1].root(), files)?;
    Ok(())
}

/// Each run's own diff is what `diff` says of the two runs, and the manifest counts it.
fn expect_stored_diffs(store: &Store, ids: &BTreeMap<&str, String>) -> Result {
    for (place, run) in RUNS.iter().enumerate() {
        let before = place.checked_sub(1).map(|place| RUNS[place].name);
        let exception = AGAINST.iter().find(|(name, _)| *name == run.name);
        let against = exception.map_or(before, |(_, against)| *against);
        let id = &ids[run.name];
        let manifest = document(&store.root(), id, "manifest")?;
        let Some(against) = against else {
            assert_eq!(manifest["changes"], Value::Null, "{}", run.name);
            assert!(!runs::path(&store.root(), id, "diff").exists());
            continue;
        };
        assert_eq!(manifest["changes"]["against"], ids[against], "{}", run.name);
        let stored = store.json(&["get", id, "--format", "diff"])?;
        let made = store.json(&["diff", &ids[against], id, "--format", "json"])?;
        assert_eq!(stored, made, "{}", run.name);
        assert_eq!(
            manifest["changes"]["by_kind"], made["counts"],
            "{}",
            run.name
        );
    }
    Ok(())
}

/// What `list`, `trend` and the names of runs make of the month.
fn expect_lists(store: &Store, ids: &BTreeMap<&str, String>) -> Result {
    let listed = store.json(&["list", "--format", "json"])?;
    let listed = listed["runs"].as_array().ok_or("no runs")?;
    assert_eq!(listed.len(), RUNS.len());
    let of = |name: &str| {
        listed
            .iter()
            .find(|run| run["run_id"] == ids[name])
            .ok_or("no run")
    };
    assert_eq!(of("24")?["complete"], false);
    assert_eq!(of("24")?["reason"], "deadline");
    assert_eq!(of("24")?["not_inspected"], 2);
    assert_eq!(of("24")?["not_inspected_by"], json!({"deadline": 2}));
    assert_eq!(of("18")?["scope"], "shop");
    // The registry that is down costs what was not known, and nothing else.
    assert_eq!(of("14")?["not_inspected"], 2);
    assert_eq!(of("14")?["not_inspected_by"], json!({"network": 2}));
    assert_eq!(of("15")?["not_inspected"], 3);
    assert_eq!(of("16")?["not_inspected"], 0);

    let table = store.print(&["list"])?;
    assert!(table.contains("2 (2 deadline)"), "{table}");
    assert!(table.contains("no (deadline)"), "{table}");

    let named = |name: &str| -> Result<String> {
        let manifest = store.json(&["get", name, "--format", "manifest"])?;
        Ok(manifest["run_id"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(named("2026-08-29")?, ids["20 noon"]);
    assert_eq!(named("latest")?, ids["30"]);
    assert_eq!(named("latest~6")?, ids["24"]);
    assert_eq!(named("yesterday")?, ids["29"]);
    for absent in ["2026-08-30", "2026-09-02", "latest~30"] {
        let output = store.command(&["get", absent]).output()?;
        assert_eq!(output.status.code(), Some(1), "{absent}");
    }
    // Without arguments: the newest complete run against the last one of an earlier day.
    let default = store.json(&["diff", "--format", "json"])?;
    assert_eq!(default["old"]["run_id"], ids["29"]);
    assert_eq!(default["new"]["run_id"], ids["30"]);

    // A day each, by the last complete run of the whole cluster: 18, 21 and 24 have none.
    let trend = store.json(&[
        "trend", "--by", "version", "--days", "30", "--format", "json",
    ])?;
    let rows = trend["rows"].as_array().ok_or("no rows")?;
    let containers = |value: &str, run: Run| {
        let rows = rows.iter().filter(|row| row["date"] == run.date());
        let mut of_value = rows.filter(|row| row["value"] == value);
        of_value.next().and_then(|row| row["containers"].as_u64())
    };
    for run in RUNS {
        let expected = match run.night() {
            18 | 24 => None,
            1..=8 => Some(2),
            _ => Some(1),
        };
        assert_eq!(containers("debian 11", *run), expected, "{}", run.name);
    }
    let changes = store.json(&["trend", "--by", "change", "--format", "json"])?;
    let moved: Vec<_> = changes["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["value"] == "moved_tag")
        .map(|row| row["date"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(moved, ["2026-08-14", "2026-08-21", "2026-08-28"]);
    let eol = store.print(&["trend", "--since", "2026-08-31", "--until", "2026-09-01"])?;
    let lines: Vec<_> = eol
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .collect();
    assert_eq!(lines.len(), 3, "{eol}");
    assert!(
        lines[0].contains(&"extended") && lines[0].contains(&"eol"),
        "{eol}"
    );
    Ok(())
}
