//! The chart on a real node: installed, upgraded and uninstalled by Helm. Its notes' commands lead to a
//! report, and nothing is left of it but the reports.
//!
//! Needs root on a machine that lets root make namespaces and control groups, and the image of
//! `scripts/image --local`.

mod harness;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use harness::cluster::{Cluster, OBJECT_STORE, REGISTRY};
use harness::container;
use harness::helm::{Helm, RELEASE};
use harness::{Result, program, root, succeed};
use serde_json::{Value, json};

/// A firing takes seconds.
const LIMIT: Duration = Duration::from_secs(180);

/// Every object of the cluster that people or Helm make, or that is made of theirs, by its kind and name.
fn objects(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let list = [
        "api-resources",
        "--verbs=list",
        "-o",
        "name",
        "--cached=false",
    ];
    let kinds = succeed(&mut cluster.kubectl(&list)?)?;
    // What comes and goes by itself: reports of what happened, and of who is alive.
    let passing = [
        "events",
        "events.events.k8s.io",
        "leases.coordination.k8s.io",
    ];
    let kinds: Vec<_> = kinds
        .lines()
        .filter(|kind| !passing.contains(kind))
        .collect();
    let columns = "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name";
    let mut get = cluster.kubectl(&["get", "-A", "--ignore-not-found", "--no-headers"])?;
    get.args(["-o", columns]);
    let found = succeed(get.arg(kinds.join(",")))?;
    Ok(found.lines().map(words).collect())
}

/// A line of a table, however wide its columns are.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs a line of the notes as people paste it.
fn paste(cluster: &Cluster, line: &str) -> Result<String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]);
    succeed(&mut cluster.enter(&shell))
}

/// Waits until a Job is complete.
fn complete(cluster: &Cluster, job: &str) -> Result {
    let Err(job) = cluster.complete(RELEASE, job, LIMIT)? else {
        return Ok(());
    };
    let mut describe = cluster.kubectl(&["describe", "pods", "-n", RELEASE])?;
    let mut logs = cluster.kubectl(&["logs", "-n", RELEASE, "--prefix"])?;
    logs.args(["-l", "app.kubernetes.io/name=image-census"]);
    let texts = [describe.output()?, logs.output()?];
    let texts = texts.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    Err(format!("{}: {}", job["status"], texts.join("\n")).into())
}

/// The runs that are committed.
fn runs(cluster: &Cluster) -> Result<Vec<Value>> {
    let mut list = program();
    list.args(["list", "--format", "json", "--store", &Cluster::store()]);
    let runs: Value = serde_json::from_str(&succeed(&mut cluster.enter(&list))?)?;
    Ok(runs["runs"].as_array().ok_or("no list")?.clone())
}

/// The commands of Helm's notes.
fn commands(notes: &str) -> Vec<&str> {
    let lines = notes.lines().filter(|line| line.starts_with("  "));
    lines.map(str::trim).collect()
}

#[test]
fn helm_installs_upgrades_and_uninstalls_it_and_leaves_nothing_but_the_reports() -> Result {
    let cluster = Cluster::start()?;
    let helm = Helm::new()?;
    let image = format!("{REGISTRY}/tools/image-census");
    let digest = container::push(&cluster, &format!("{image}:test"))?;
    // What is there before a release: the namespace, and the keys of both accounts.
    let namespace = root().join("cronjob/base/namespace.yaml");
    succeed(cluster.kubectl(&["apply", "-f"])?.arg(namespace))?;
    let keys = cluster.keys()?;
    for name in [
        "image-census-object-store",
        "image-census-prune-object-store",
    ] {
        let mut create = cluster.kubectl(&["create", "secret", "generic", "-n", RELEASE, name])?;
        for key in keys.lines() {
            create.arg(format!("--from-literal={key}"));
        }
        succeed(&mut create)?;
    }
    // Controllers add what every namespace has.
    harness::running::until("the namespace's own objects", || {
        let found = objects(&cluster)?;
        Ok(found.contains("ServiceAccount image-census default")
            && found.contains("ConfigMap image-census kube-root-ca.crt"))
    })?;
    let mut before = objects(&cluster)?;

    let values = json!({
        "image": {"repository": image, "digest": digest},
        "clusterName": "lab",
        "store": Cluster::store(),
        "s3": {"endpoint": OBJECT_STORE, "pathStyle": true, "keysSecret": "image-census-object-store"},
        "pullSecrets": {"default": {"secrets": ["registry-login"]}},
        "registries": {"config": {"registries": [{"host": REGISTRY, "insecure": true}]}},
        "signingKeySecret": "signing-key",
        "networkPolicy": {"enabled": true},
    });
    let values = helm.values("values", &values)?;
    let release = |action: &str, more: &[&str]| -> Result<String> {
        let mut command = helm.command(&[action, RELEASE, "-n", RELEASE])?;
        if action != "uninstall" {
            command.args(["cronjob/chart", "-f", &values]);
        }
        succeed(&mut cluster.enter(command.args(more)))
    };
    let notes = release("install", &[])?;
    let notes = commands(&notes);
    let [secret, key, job, logs, list] = notes[..] else {
        return Err(format!("other notes: {notes:?}").into());
    };
    assert!(secret.contains("create secret generic image-census-object-store"));
    paste(&cluster, key)?;
    // Secrets are yours: Helm takes none of them away.
    before.insert("Secret image-census signing-key".into());
    paste(&cluster, job)?;
    paste(&cluster, logs)?;
    complete(&cluster, "first-night")?;
    // Following a log may end before its last lines.
    let logged = paste(&cluster, &logs.replace(" -f ", " "))?;
    assert!(logged.contains("report: s3://"), "{logged}");
    let program = program();
    let program = program.get_program().to_str().ok_or("no path")?;
    let listed = paste(&cluster, &list.replacen("image-census", program, 1))?;
    assert!(listed.contains("lab"), "{listed}");
    let reports = runs(&cluster)?;
    assert_eq!(reports.len(), 1, "{reports:?}");
    let mut get = self::program();
    get.args(["get", "latest", "--format", "manifest"]);
    get.args(["--store", &Cluster::store()]);
    let manifest: Value = serde_json::from_str(&succeed(&mut cluster.enter(&get))?)?;
    assert!(manifest["signature"].is_string(), "{manifest}");

    // Of the next run and this one, pruning keeps the next.
    let keep = "prune.keep.last=1,prune.keep.daily=0,prune.keep.weekly=0,prune.keep.monthly=0,prune.keep.yearly=0";
    let more = ["--set", "schedule=30 3 * * *,prune.enabled=true"];
    release("upgrade", &[&more[..], &["--set", keep]].concat())?;
    let jobs = cluster.read(&["get", "cronjobs", "-n", RELEASE])?;
    let schedules = jobs["items"].as_array().ok_or("no list")?;
    let schedules: Vec<_> = schedules
        .iter()
        .map(|job| &job["spec"]["schedule"])
        .collect();
    assert_eq!(schedules, ["30 3 * * *", "0 6 * * 0"]);
    for (cron_job, job) in [
        (RELEASE, "second-night"),
        ("image-census-prune", "first-sunday"),
    ] {
        let from = format!("--from=cronjob/{cron_job}");
        succeed(&mut cluster.kubectl(&["create", "job", "-n", RELEASE, &from, job])?)?;
        complete(&cluster, job)?;
    }
    let kept = runs(&cluster)?;
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_ne!(kept, reports);
    let during = objects(&cluster)?;
    let own = during.difference(&before).collect::<Vec<_>>();
    assert!(own.len() > 15, "{own:#?}");

    release("uninstall", &["--wait"])?;
    let mut left = BTreeSet::new();
    // Jobs and pods go with their CronJobs, a moment later.
    let gone = harness::running::until("all of it to go", || {
        let after = objects(&cluster)?;
        left = after.difference(&before).cloned().collect();
        Ok(left.is_empty())
    });
    gone.map_err(|error| format!("{error}: {left:#?}"))?;
    let labelled = "app.kubernetes.io/name=image-census";
    let kinds = "clusterroles,clusterrolebindings,roles,rolebindings,all,configmaps,serviceaccounts,networkpolicies";
    let found = cluster.read(&["get", kinds, "-A", "-l", labelled])?;
    assert_eq!(found["items"], json!([]));
    assert_eq!(runs(&cluster)?, kept);
    Ok(())
}
