//! The CronJob on a real node, night after night: it is deployed as its README says, fires by itself,
//! and reports what runs there; then things change, and go wrong.
//!
//! [`workloads`] is what runs, with the rows that it must have; [`census`] is the CronJob and what it
//! leaves in the store. Needs root on a machine that lets root make namespaces and control groups.

mod census;
#[path = "../fixtures/mod.rs"]
mod fixtures;
#[path = "../harness/mod.rs"]
mod harness;
mod leftovers;
mod workloads;

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use census::{Census, Firing, job_of};
use fixtures::distributions as distro;
use fixtures::layers::Layer;
use harness::cluster::{Cluster, Usage};
use harness::docker_registry::DockerRegistry;
use harness::running::until;
use harness::{Result, Row, succeed};
use workloads::{Expected, MISSING, PUSHER, TEAM, Workloads};

/// What runs, as objects for kubectl.
fn apply(cluster: &Cluster, objects: &[Value]) -> Result {
    let file = tempfile::NamedTempFile::new()?;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    fs::write(file.path(), list.to_string())?;
    succeed(cluster.kubectl(&["apply", "-f"])?.arg(file.path())).map(drop)
}

/// Whether a pod runs, or is over and well, and is not about to go.
fn is_settled(pod: &Value) -> bool {
    let status = &pod["status"];
    let containers = status["containerStatuses"].as_array();
    let is_ready = containers.is_some_and(|containers| {
        let mut containers = containers.iter();
        containers.all(|container| container["ready"] == true)
    });
    pod["metadata"]["deletionTimestamp"].is_null() && (is_ready || status["phase"] == "Succeeded")
}

/// Waits until exactly the expected pods run, and the one that cannot be pulled waits.
fn settle(cluster: &Cluster, expected: &[Expected]) -> Result {
    let names = |expected: &Expected| expected.place.iter().take(3).cloned().collect::<Vec<_>>();
    let wanted = expected.iter().map(names).collect::<BTreeSet<_>>().len();
    let mut seen = Value::Null;
    let settled = until("the workloads", || {
        let mut pods = Vec::new();
        for namespace in ["shop", TEAM] {
            let list = cluster.read(&["get", "pods", "-n", namespace])?;
            pods.extend(list["items"].as_array().cloned().unwrap_or_default());
        }
        let (missing, others): (Vec<_>, Vec<_>) = pods
            .iter()
            .partition(|pod| pod["metadata"]["labels"]["app"] == "missing");
        let waits = missing.iter().any(|pod| {
            let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
            waiting == "ErrImagePull" || waiting == "ImagePullBackOff"
        });
        let settled = waits && others.len() == wanted && others.into_iter().all(is_settled);
        seen = pods
            .iter()
            .map(|pod| json!([pod["metadata"]["name"], pod["status"]]))
            .collect();
        Ok(settled)
    });
    settled.map_err(|error| format!("{error}: {seen}").into())
}

/// The newest run is complete and has exactly the expected rows, each with what the node itself says.
fn assert_whole(census: &Census<'_>, expected: &[Expected]) -> Result<Vec<Row>> {
    let manifest = census.json(&["get", "latest", "--format", "manifest"])?;
    assert_eq!(manifest["completeness"]["complete"], true, "{manifest}");
    assert!(manifest["signature"].is_string(), "{manifest}");
    let rows = census.rows()?;
    let (missing, others): (Vec<_>, Vec<_>) = rows
        .iter()
        .filter(|row| ["shop", TEAM].contains(&&*row["namespace"]))
        .partition(|row| row["workload_name"] == "missing");
    let found: BTreeSet<_> = others.iter().map(|row| Expected::of(row)).collect();
    let expected: BTreeSet<_> = expected.iter().cloned().collect();
    let differ: Vec<_> = found.symmetric_difference(&expected).collect();
    assert!(differ.is_empty(), "{differ:#?}");
    assert_eq!(others.len(), expected.len());
    for row in others {
        assert_eq!(row["inspection_status"], "ok", "{row:?}");
        assert!(row["image_id"].ends_with(&row["digest"]), "{row:?}");
        assert!(row["image_id"].contains('@'), "{row:?}");
        assert_eq!(
            [&*row["node"], &*row["platform_source"]],
            ["lab", "node"],
            "{row:?}"
        );
    }
    let cells =
        |row: &&Row| ["inspection_status", "error_kind", "image_id"].map(|name| row[name].clone());
    assert_eq!(
        missing.iter().map(cells).collect::<Vec<_>>(),
        [["failed", "not_found", ""].map(String::from)]
    );
    // It sees itself, and that it is made of a few files only.
    let mut own = rows.iter().filter(|row| row["namespace"] == "image-census");
    let own = own.next().ok_or("no row of its own")?;
    let cells = [
        "workload_kind",
        "workload_name",
        "inspection_status",
        "distro_source",
    ];
    assert_eq!(
        cells.map(|name| &*own[name]),
        ["CronJob", "image-census", "ok", "none"],
        "{own:?}"
    );
    Ok(rows)
}

/// What the pod used; `--nocapture` shows it.
#[allow(clippy::print_stdout, reason = "a figure that people look for")]
fn show(firing: &str, used: Usage) {
    println!(
        "{firing}: {:.1} MB of memory at most, {:.2} s of CPU",
        used.memory_bytes as f64 / 1e6,
        used.cpu_microseconds as f64 / 1e6
    );
}

/// A cluster with all that runs in it.
struct Nights<'a> {
    cluster: &'a Cluster,
    private: &'a DockerRegistry,
    workloads: Workloads<'a>,
    census: Census<'a>,
}

impl<'a> Nights<'a> {
    /// Everything runs, and the CronJob is deployed.
    fn prepare(cluster: &'a Cluster, private: &'a DockerRegistry) -> Result<Self> {
        let namespace =
            |name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        apply(cluster, &["shop", TEAM].map(namespace))?;
        let mut workloads = Workloads::new(cluster)?;
        let mut objects = workloads.add_all()?;
        let debian = distro::debian_12();
        objects.push(workloads::pull_secret(&private.address));
        objects.push(workloads.add_private(private, "ledger", debian, ["debian", "12"])?);
        apply(cluster, &objects)?;
        job_of(cluster, "shop", "cleanup", 1)?;
        settle(cluster, &workloads.expected)?;
        let census = Census::deploy(cluster, private)?;
        Ok(Self {
            cluster,
            private,
            workloads,
            census,
        })
    }

    /// A firing is whole; its rows.
    fn night(&mut self, name: &str) -> Result<Vec<Row>> {
        let firing = self.census.fire()?;
        show(name, self.census.wait(&firing)?);
        assert_whole(&self.census, &self.workloads.expected)
    }

    /// A new private image is there, which a run has to ask for.
    fn add_private(&mut self, name: &str, layer: Layer, truth: [&'static str; 2]) -> Result {
        let object = self
            .workloads
            .add_private(self.private, name, layer, truth)?;
        apply(self.cluster, &[object])?;
        settle(self.cluster, &self.workloads.expected)
    }

    /// A run that waits for a registry which says nothing.
    fn fire_and_hold(&mut self) -> Result<Firing> {
        self.private.stop()?;
        let firing = self.census.fire()?;
        self.census.wait_for_crane(&firing)?;
        Ok(firing)
    }

    fn the_schedule_fires_by_itself(&mut self) -> Result<Vec<Row>> {
        let namespace = ["get", "namespace", "image-census"];
        let labels = &self.cluster.read(&namespace)?["metadata"]["labels"];
        assert_eq!(
            labels["pod-security.kubernetes.io/enforce"], "restricted",
            "{labels}"
        );
        let asked = self.census.resources()?;
        let firing = self.census.wait_for_schedule()?;
        let used = self.census.wait(&firing)?;
        show(&format!("the manifest says {asked}; the first night"), used);
        assert_whole(&self.census, &self.workloads.expected)
    }

    fn nothing_is_asked_again_but_what_is_not_known(&mut self, first: &[Row]) -> Result {
        let team = format!("/v2/{TEAM}/");
        let asked = self.cluster.registry_log()?.lines().count();
        let asked_private = self.private.answers_below(&team)?;
        assert!(asked_private > 0, "its log is not understood");
        let second = self.night("the second")?;
        // The node goes on trying to pull it, too.
        let missing = format!("/v2/{MISSING}/");
        let requests = self.cluster.requests_since(asked)?;
        let mut others = requests.iter().filter(|it| !it.contains(&missing));
        assert_eq!(others.next(), None);
        assert_eq!(self.private.answers_below(&team)?, asked_private);
        let times = |rows: &[Row]| -> BTreeSet<_> {
            let known = rows.iter().filter(|row| row["inspection_status"] == "ok");
            let cells = |row: &Row| [row["digest"].clone(), row["inspected_at"].clone()];
            known.map(cells).collect()
        };
        assert_eq!(times(first), times(&second));
        Ok(())
    }

    fn a_new_version_is_all_the_difference(&mut self) -> Result {
        self.workloads
            .replace("catalog", distro::ubuntu_24_04(), ["ubuntu", "24.04"])?;
        settle(self.cluster, &self.workloads.expected)?;
        self.night("the third")?;
        let diff = ["diff", "latest~1", "latest", "--format", "json"];
        let diff = self.census.json(&diff)?;
        let changes = diff["changes"].as_array().ok_or("no changes")?;
        let cells = |change: &Value| {
            json!([
                change["namespace"],
                change["workload_name"],
                change["kinds"]
            ])
        };
        let kinds = ["distribution_changed", "reference_changed"];
        assert_eq!(
            changes.iter().map(cells).collect::<Vec<_>>(),
            [json!(["shop", "catalog", kinds])],
            "{diff}"
        );
        Ok(())
    }

    /// The run that the drain ends leaves what it knows; the next one is whole.
    fn the_node_is_drained_in_mid_run(&mut self) -> Result {
        self.add_private("wallet", distro::debian_11(), ["debian", "11"])?;
        self.fire_and_hold()?;
        let mut drain = self.cluster.kubectl(&["drain", "lab", "--timeout=100s"])?;
        drain.args(["--ignore-daemonsets", "--delete-emptydir-data"]);
        succeed(drain.arg("--force"))?;
        let manifest = ["get", "latest", "--format", "manifest"];
        assert_eq!(
            self.census.json(&manifest)?["completeness"],
            json!({"complete": false, "reason": "signal"})
        );
        self.private.wake()?;
        succeed(&mut self.cluster.kubectl(&["uncordon", "lab"])?)?;
        // What was over is gone with the drain, and nobody makes it again.
        job_of(self.cluster, "shop", "cleanup", 2)?;
        settle(self.cluster, &self.workloads.expected)?;
        self.night("after the drain").map(drop)
    }

    /// The Job's next attempt does it all.
    fn the_program_is_killed_in_mid_run(&mut self) -> Result {
        self.add_private("vault", distro::ubi_9(), ["rhel", "9.8"])?;
        let runs = self.census.runs()?;
        let firing = self.fire_and_hold()?;
        self.census.kill(&firing)?;
        self.private.wake()?;
        self.census.wait(&firing)?;
        assert_eq!(self.census.runs()?, runs + 1);
        assert_whole(&self.census, &self.workloads.expected)?;
        self.night("after the kill").map(drop)
    }
}

#[test]
fn the_cronjob_reports_a_real_nodes_containers_night_after_night_whatever_happens() -> Result {
    let cluster = Cluster::start()?;
    let private = DockerRegistry::start_in(&cluster, &[PUSHER, TEAM])?;
    let mut nights = Nights::prepare(&cluster, &private)?;
    let first = nights.the_schedule_fires_by_itself()?;
    nights.nothing_is_asked_again_but_what_is_not_known(&first)?;
    nights.a_new_version_is_all_the_difference()?;
    nights.the_node_is_drained_in_mid_run()?;
    nights.the_program_is_killed_in_mid_run()
}
