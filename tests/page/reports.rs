//! Reports that no cluster has: hostile, empty and large ones.

use image_census::diff::Diff;
use image_census::report::{Report, ReportDocument, plain};
use serde_json::{Value, json};

use crate::harness::Result;
use crate::harness::hostile::PAYLOADS;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OTHER: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A report and a diff of hostile texts, and which of them must be read where.
pub(crate) struct Hostile {
    pub(crate) report: Report,
    pub(crate) diff: Diff,
    pub(crate) on_report: Value,
    pub(crate) on_diff: Value,
}

/// Makes hostile texts that can be told apart, and remembers how they must be shown.
#[derive(Default)]
struct Author {
    written: usize,
    /// Shown also without JavaScript.
    plain: Vec<String>,
    /// Shown in details only.
    folded: Vec<String>,
}

impl Author {
    fn text(&mut self, field: &str) -> String {
        let payload = PAYLOADS[self.written % PAYLOADS.len()];
        self.written += 1;
        format!("{field}{}{payload}", self.written)
    }

    fn seen(&mut self, field: &str) -> String {
        let text = self.text(field);
        self.plain.push(plain(&text).into_owned());
        text
    }

    fn folded(&mut self, field: &str) -> String {
        let text = self.text(field);
        self.folded.push(plain(&text).into_owned());
        text
    }

    fn expected(&self) -> Value {
        let all: Vec<_> = self.plain.iter().chain(&self.folded).collect();
        json!({"plain": self.plain, "all": all})
    }
}

fn report(header: Value, images: Vec<Value>, containers: Vec<Value>) -> Result<Report> {
    let mut document = header;
    document["images"] = images.into();
    document["containers"] = containers.into();
    let document: ReportDocument = serde_json::from_value(document)?;
    Ok(Report {
        header: document.header,
        images: document.images,
        layers: document.layers,
        containers: document.containers,
    })
}

fn header(cluster: &str, run: &str) -> Value {
    json!({
        "schema_version": "1.0",
        "run_id": run,
        "cluster_name": cluster,
        "cluster_id": null,
        "snapshot_time": "2026-11-24T02:00:00Z",
        "scope": {"namespaces": [], "excluded_namespaces": [], "selector": null},
        "versions": {
            "program": "0.1.0", "crane": "0.22.1", "detection_rules": 1, "layers": "auto",
            "eol_data": "2026-08-22",
        },
        "completeness": {"complete": true, "reason": null},
    })
}

fn image(repository: &str, distribution: Value, eol: (&str, &str)) -> Value {
    let (status, date) = eol;
    json!({
        "registry": "registry.example.com",
        "repository": repository,
        "tag": null, "digest": DIGEST, "image_id": null,
        "platform": "linux/amd64",
        "manifest_digest": DIGEST, "config_digest": DIGEST,
        "os": "linux", "architecture": "amd64", "variant": null, "os_version": null,
        "distribution": distribution,
        "distribution_layer": null, "distribution_certain": true,
        "distro_source": "etc/os-release", "distro_release": null,
        "eol_status": status, "eol_date": date, "eol_extended_date": null,
        "base_image": null, "base_image_source": null,
        "created": "2026-10-01T00:00:00Z", "size_bytes": 30_000_000, "user": null,
        "labels": {},
        "inspection_status": "ok", "error_kind": null, "error_message": null,
        "inspected_via": null, "inspected_at": "2026-11-24T02:00:05Z",
        "waiting_since": null, "last_seen": null,
    })
}

fn distribution(id: &str, version: &str, name: &str) -> Value {
    json!({
        "id": id, "version": version, "name": name,
        "source": "etc/os-release", "rule": "os-release", "layer": 0,
    })
}

fn container(number: usize, workload: (&str, &str, &str), pod: &str, image: usize) -> Value {
    let (namespace, kind, name) = workload;
    let container = if number.is_multiple_of(2) {
        "app"
    } else {
        "sidecar"
    };
    json!({
        "namespace": namespace, "workload_kind": kind, "workload_name": name,
        "pod": pod, "pod_phase": "Running", "generate_name": null,
        "node": format!("node-{:04}", number % 1_500),
        "container": container, "container_type": "container",
        "owner": null,
        "image": format!("registry.example.com/scale/app-{image:05}:1.0"),
        "tag": "1.0", "digest_source": "status", "image_id": null,
        "platform_source": "node", "image_index": image,
    })
}

/// A report without pods.
pub(crate) fn empty() -> Result<Report> {
    report(header("empty", "20261124T020000Z-0001"), vec![], vec![])
}

/// A diff without changes.
pub(crate) fn empty_diff() -> Result<Diff> {
    diff(("empty", "20261123T020000Z-0001"), vec![])
}

fn diff((cluster, old_run): (&str, &str), changes: Vec<Value>) -> Result<Diff> {
    let run = |run: &str, time: &str| {
        json!({
            "run_id": run, "cluster_name": cluster, "cluster_id": null, "snapshot_time": time,
            "scope": {"namespaces": [], "excluded_namespaces": [], "selector": null},
            "completeness": {"complete": true, "reason": null},
        })
    };
    let counts = match changes.len() {
        0 => json!({}),
        count => json!({"moved_tag": count, "entered_eol": count}),
    };
    Ok(serde_json::from_value(json!({
        "schema_version": "1.0",
        "old": run(old_run, "2026-11-23T02:00:00Z"),
        "new": run("20261124T020000Z-0001", "2026-11-24T02:00:00Z"),
        "counts": counts,
        "transient": {"added": 2, "removed": 1},
        "changes": changes,
    }))?)
}

/// Containers of 50-pod workloads in 120 namespaces over some images, most of whose systems are old.
pub(crate) fn large(containers: usize, images: usize) -> Result<Report> {
    let systems = [
        ("debian", "12", "supported", "2028-06-30"),
        ("debian", "10", "eol", "2022-09-10"),
        ("ubuntu", "22.04", "ending", "2027-01-31"),
        ("alpine", "3.24.1", "supported", "2028-05-01"),
        ("rhel", "9.6", "supported", "2027-05-31"),
        ("ubuntu", "18.04", "extended", "2023-05-31"),
    ];
    let made = (0..images).map(|number| {
        let (id, version, status, date) = systems[number % systems.len()];
        let name = distribution(id, version, &format!("{id} {version}"));
        let mut image = image(&format!("scale/app-{number:05}"), name, (status, date));
        image["digest"] = format!("sha256:{number:064x}").into();
        image["manifest_digest"] = format!("sha256:{:064x}", number + images).into();
        image
    });
    let rows = (0..containers).map(|number| {
        let pod = number / 2;
        let workload = pod / 50;
        let namespace = format!("team-{:03}", workload % 120);
        let name = format!("service-{workload:05}");
        let pod_name = format!("{name}-7d9f8b6c5d-{:05}", pod % 50);
        let image = (workload * 2 + number % 2) % images;
        container(number, (&namespace, "Deployment", &name), &pod_name, image)
    });
    let mut rows: Vec<_> = rows.collect();
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    rows.sort_by_cached_key(|row| {
        ["namespace", "workload_name", "container", "pod"].map(|field| text(row, field))
    });
    report(
        header("large", "20261124T020000Z-0002"),
        made.collect(),
        rows,
    )
}

/// Pods that are workloads themselves; the last one alone is on a system whose support has ended.
pub(crate) fn bare_pods(count: usize) -> Result<Report> {
    let current = distribution("debian", "12", "Debian 12");
    let old = distribution("debian", "10", "Debian 10");
    let images = vec![
        image("scale/new", current, ("supported", "2028-06-30")),
        image("scale/old", old, ("eol", "2022-09-10")),
    ];
    let rows = (0..count).map(|number| {
        let name = format!("bare-{number:05}");
        let image = usize::from(number + 1 == count);
        container(0, ("batch", "Pod", &name), &name, image)
    });
    report(
        header("bare", "20261124T020000Z-0003"),
        images,
        rows.collect(),
    )
}

/// Every text that anybody else writes is hostile.
pub(crate) fn hostile() -> Result<Hostile> {
    let mut on_report = Author::default();
    let mut header = header(&on_report.seen("cluster"), &on_report.seen("run"));
    header["cluster_id"] = on_report.seen("cluster-id").into();
    header["scope"]["namespaces"] = json!([on_report.seen("scope")]);
    header["scope"]["selector"] = on_report.seen("selector").into();
    header["versions"]["program"] = on_report.seen("program").into();
    header["versions"]["crane"] = on_report.seen("crane").into();
    header["completeness"] = json!({"complete": false, "reason": on_report.seen("reason")});

    let mut images = Vec::new();
    let mut containers = Vec::new();
    for number in 0..PAYLOADS.len() {
        let name = distribution(
            &on_report.seen("id"),
            &on_report.seen("version"),
            &on_report.folded("name"),
        );
        let statuses = ["eol", "extended", "ending"];
        let status = statuses[number % statuses.len()];
        let mut image = image(&on_report.text("repository"), name, (status, "2026-12-01"));
        // Together they are under the 300 characters that a page shows of a text.
        image["registry"] = on_report.text("registry").into();
        image["tag"] = on_report.text("tag").into();
        for field in [
            "distro_release",
            "distro_source",
            "base_image",
            "user",
            "inspected_via",
        ] {
            image[field] = on_report.folded(field).into();
        }
        image["platform"] = "linux/amd64".into();
        image["inspection_status"] = "failed".into();
        image["error_kind"] = "network".into();
        image["error_message"] = on_report.seen("message").into();
        images.push(image);

        let pod = on_report.seen("pod");
        let (namespace, kind, workload) = (
            on_report.seen("namespace"),
            on_report.seen("kind"),
            on_report.seen("workload"),
        );
        let mut row = container(number, (&namespace, &kind, &workload), &pod, number);
        for field in ["container", "owner", "image"] {
            row[field] = on_report.seen(field).into();
        }
        for field in ["node", "pod_phase"] {
            row[field] = on_report.folded(field).into();
        }
        containers.push(row);
    }

    let mut on_diff = Author::default();
    let (cluster, run) = (on_diff.seen("cluster"), on_diff.seen("old-run"));
    let mut changes = Vec::new();
    for _ in PAYLOADS {
        let mut side = |digest: &str| {
            json!([{
                "image": on_diff.seen("image"), "manifest_digest": digest,
                "platform": "linux/amd64",
                "distro_id": on_diff.text("id"), "distro_version": on_diff.text("version"),
                "distro_name": on_diff.text("name"),
                "eol_status": "eol", "inspection_status": "failed", "error_kind": "network",
            }])
        };
        let (old, new) = (side(DIGEST), side(OTHER));
        let mut change = json!({
            "container_type": "container", "kinds": ["entered_eol", "moved_tag"],
            "old": old, "new": new,
        });
        for field in ["namespace", "workload_kind", "workload_name", "container"] {
            change[field] = on_diff.seen(field).into();
        }
        changes.push(change);
    }
    Ok(Hostile {
        report: report(header, images, containers)?,
        diff: diff((&cluster, &run), changes)?,
        on_report: on_report.expected(),
        on_diff: on_diff.expected(),
    })
}
