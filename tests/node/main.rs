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

use census::{Census, job_of};
use fixtures::distributions as distro;
use harness::cluster::{Cluster, REGISTRY, Usage};
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

/// Kept where the report of a build shows it: what the pod used, beside what the manifest asks for.
#[allow(clippy::print_stdout, reason = "a figure that people look for")]
fn show(firing: &str, used: Usage) {
    println!(
        "{firing}: {:.1} MB of memory at most, {:.2} s of CPU",
        used.memory_bytes as f64 / 1e6,
        used.cpu_microseconds as f64 / 1e6
    );
}

#[test]
fn the_cronjob_reports_a_real_nodes_containers_night_after_night_whatever_happens() -> Result {
    let cluster = Cluster::start()?;
    let private = DockerRegistry::start_in(&cluster, &[PUSHER, TEAM])?;
    let mut workloads = Workloads::new(&cluster)?;
    let namespaces = ["shop", TEAM]
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    apply(&cluster, &namespaces)?;
    workloads.add_all()?;
    let ledger =
        workloads.add_private(&private, "ledger", distro::debian_12(), ["debian", "12"])?;
    workloads.objects.push(ledger);
    workloads
        .objects
        .push(workloads::pull_secret(&private.address));
    apply(&cluster, &workloads.objects)?;
    job_of(&cluster, "shop", "cleanup", 1)?;
    settle(&cluster, &workloads.expected)?;

    let mut census = Census::deploy(&cluster, &private)?;
    let namespace = cluster.read(&["get", "namespace", "image-census"])?;
    let standard = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(standard, "restricted");
    let limits = census.resources()?;
    show(
        &format!("requests and limits are {limits}; the first night"),
        {
            let first = census.wait_for_schedule()?;
            census.wait(&first)?
        },
    );
    let first = assert_whole(&census, &workloads.expected)?;

    // Nothing is asked for again but what is not known.
    let (asked, asked_private) = (
        cluster.registry_log()?.lines().count(),
        private.answers_below("/v2/team/")?,
    );
    assert!(asked_private > 0, "its log is not understood");
    let firing = census.fire()?;
    show("the second", census.wait(&firing)?);
    let requests = cluster.requests_since(asked)?;
    let own = format!("/v2/{MISSING}/");
    assert!(
        requests.iter().all(|request| request.contains(&own)),
        "{requests:?}"
    );
    assert_eq!(private.answers_below("/v2/team/")?, asked_private);
    let second = assert_whole(&census, &workloads.expected)?;
    let times = |rows: &[Row]| -> BTreeSet<_> {
        let known = rows.iter().filter(|row| row["inspection_status"] == "ok");
        known
            .map(|row| (row["digest"].clone(), row["inspected_at"].clone()))
            .collect()
    };
    assert_eq!(times(&first), times(&second));

    // A new version of one Deployment is all the difference.
    let built = workloads.push("shop/catalog:2", distro::ubuntu_24_04())?;
    let image = format!("app={REGISTRY}/shop/catalog:2");
    succeed(&mut cluster.kubectl(&[
        "set",
        "image",
        "-n",
        "shop",
        "deployment/catalog",
        &image,
    ])?)?;
    workloads
        .expected
        .retain(|expected| expected.place[2] != "catalog");
    workloads.expect(
        ["shop", "Deployment", "catalog", "container", "app"],
        &built,
        ["ubuntu", "24.04"],
    );
    settle(&cluster, &workloads.expected)?;
    let firing = census.fire()?;
    show("the third", census.wait(&firing)?);
    assert_whole(&census, &workloads.expected)?;
    let diff = census.json(&["diff", "latest~1", "latest", "--format", "json"])?;
    let changes = diff["changes"].as_array().ok_or("no changes")?;
    let cells = |change: &Value| {
        json!([
            change["namespace"],
            change["workload_name"],
            change["kinds"]
        ])
    };
    assert_eq!(
        changes.iter().map(cells).collect::<Vec<_>>(),
        [json!([
            "shop",
            "catalog",
            ["distribution_changed", "reference_changed"]
        ])],
        "{diff}"
    );

    // The node is drained in the middle of a run, which waits for a registry that says nothing.
    let wallet =
        workloads.add_private(&private, "wallet", distro::debian_11(), ["debian", "11"])?;
    apply(&cluster, &[wallet])?;
    settle(&cluster, &workloads.expected)?;
    private.stop()?;
    let firing = census.fire()?;
    census.wait_for_crane(&firing)?;
    let drain = [
        "drain",
        "lab",
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--force",
        "--timeout=100s",
    ];
    succeed(&mut cluster.kubectl(&drain)?)?;
    let manifest = census.json(&["get", "latest", "--format", "manifest"])?;
    assert_eq!(
        manifest["completeness"],
        json!({"complete": false, "reason": "signal"})
    );
    private.wake()?;
    succeed(&mut cluster.kubectl(&["uncordon", "lab"])?)?;
    job_of(&cluster, "shop", "cleanup", 2)?;
    settle(&cluster, &workloads.expected)?;
    let firing = census.fire()?;
    show("after the drain", census.wait(&firing)?);
    assert_whole(&census, &workloads.expected)?;

    // The program is killed in the middle of a run: the Job's next attempt does it all.
    let vault = workloads.add_private(&private, "vault", distro::ubi_9(), ["rhel", "9.8"])?;
    apply(&cluster, &[vault])?;
    settle(&cluster, &workloads.expected)?;
    let runs = census.runs()?;
    private.stop()?;
    let firing = census.fire()?;
    census.wait_for_crane(&firing)?;
    census.kill(&firing)?;
    private.wake()?;
    census.wait(&firing)?;
    assert_eq!(census.runs()?, runs + 1);
    assert_whole(&census, &workloads.expected)?;
    Ok(())
}
