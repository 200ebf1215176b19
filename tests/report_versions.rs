//! Reports of every schema version that was ever released are read for ever: `tests/fixtures/reports/`
//! holds a store of two nights of each, as the program of its time left it. These files are for ever: they
//! are never made anew, changed or removed, and a new version adds a folder.
//!
//! 1.0: the demo's namespaces payments and ci on its two nights, signed with [`KEY`].

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use harness::runs::{self, document, newest, reseal, run_ids};
use harness::store::Store;
use harness::{Result, files_below, root, stderr};
use serde_json::{Value, json};

const KEY: &str = "a-key-for-tests-that-signs-nothing-else\n";
const FIRST: &str = "20261123T020000Z-5187";
const SECOND: &str = "20261124T020000Z-4d6d";
/// Nobody listens on TCP port 1 (tcpmux).
const CLOSED: &str = "127.0.0.1:1";

/// A copy of the store of a version.
fn store_of(version: &str) -> Result<Store> {
    let from = root().join("tests/fixtures/reports").join(version);
    let store = Store::folder()?;
    for file in files_below(&from)? {
        let target = store.root().join(&file);
        fs::create_dir_all(target.parent().ok_or("no folder")?)?;
        fs::copy(from.join(&file), target)?;
    }
    Ok(store)
}

#[test]
fn version_1_0_is_listed_shown_and_compared() -> Result {
    let store = store_of("1.0")?;
    let listed = store.json(&["list", "--format", "json"])?;
    let runs = listed["runs"].as_array().ok_or("no runs")?;
    let lines: Vec<_> = runs
        .iter()
        .map(|run| {
            format!(
                "{} {} {} {} {} {}",
                run["run_id"],
                run["pods"],
                run["containers"],
                run["images"],
                run["not_inspected"],
                run["complete"]
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            format!("\"{FIRST}\" 16 15 10 2 true"),
            format!("\"{SECOND}\" 15 14 9 2 true"),
        ]
    );
    // get verifies sizes and digests, so nothing has changed a byte on its way here.
    for (run, rows) in [(FIRST, 16), (SECOND, 15)] {
        let found = store.rows(run)?;
        assert_eq!(found.len(), rows);
        let gateway = found.iter().filter(|row| row["workload_name"] == "gateway");
        let gateway: Vec<_> = gateway.map(|row| &*row["distro_version"]).collect();
        assert_eq!(gateway, [if run == FIRST { "22.04" } else { "24.04" }; 3]);
        let report = store.json(&["get", run, "--format", "json"])?;
        assert_eq!(report["containers"].as_array().map(Vec::len), Some(rows));
        assert!(
            !store
                .print(&["get", run, "--format", "workloads"])?
                .is_empty()
        );
        assert!(
            store
                .print(&["get", run])?
                .contains("Red Hat Enterprise Linux 9.8")
        );
    }
    let stored = store.json(&["get", "latest", "--format", "diff"])?;
    let made = store.json(&["diff", "--format", "json"])?;
    for name in ["old", "counts", "transient", "changes"] {
        assert_holds(name, &stored[name], &made[name]);
    }
    assert_eq!(
        stored["counts"],
        json!({"moved_tag": 1, "distribution_changed": 1, "removed": 1})
    );
    let csv = store.print(&["diff", FIRST, SECOND, "--format", "csv"])?;
    assert_eq!(csv.lines().count(), 4, "{csv}");
    let trend = store.json(&["trend", "--by", "version", "--format", "json"])?;
    let rhel = trend["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["value"] == "rhel 9.8");
    assert_eq!(rhel.count(), 2);
    let pruned = store.print(&["prune", "--keep-last", "1"])?;
    assert!(pruned.contains("1 runs kept, 1 removed"), "{pruned}");
    Ok(())
}

/// Every command that reads runs, in every format. None is to warn of anything.
fn readers() -> Vec<Vec<&'static str>> {
    let mut commands = vec![vec!["list"], vec!["list", "--format", "json"]];
    for run in [FIRST, SECOND, "2026-11-23", "latest~1", "latest"] {
        for format in ["table", "csv", "workloads", "json", "manifest"] {
            commands.push(vec!["get", run, "--format", format]);
        }
    }
    commands.push(vec!["get", "latest", "--format", "diff"]);
    for pair in [&[FIRST, SECOND][..], &["2026-11-23", "latest"], &[]] {
        for format in ["table", "csv", "json", "markdown"] {
            commands.push([&["diff"], pair, &["--format", format]].concat());
        }
    }
    for by in [
        "distribution",
        "version",
        "eol_status",
        "registry",
        "inspection_status",
        "change",
    ] {
        for format in ["table", "csv", "json"] {
            commands.push(vec!["trend", "--by", by, "--format", format]);
        }
    }
    commands.push(vec!["prune", "--keep-last", "1", "--dry-run"]);
    commands
}

#[test]
fn version_1_0_is_read_by_every_command_in_every_format_without_a_warning() -> Result {
    let store = store_of("1.0")?;
    let before = files_below(&store.root())?;
    for arguments in readers() {
        let output = store.command(&arguments).output()?;
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert_eq!(stderr(&output), "", "{arguments:?}");
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
    let pruned = store.print(&["prune", "--keep-last", "1", "--dry-run"])?;
    assert!(pruned.contains(FIRST), "{pruned}");
    assert_eq!(files_below(&store.root())?, before);
    Ok(())
}

/// The pods of a run whose images are known by digest, of a registry that nobody reaches.
fn pods_of(report: &Value) -> Result<Value> {
    let images = report["images"].as_array().ok_or("no images")?;
    let rows = report["containers"].as_array().ok_or("no containers")?;
    let mut pods = Vec::new();
    for row in rows {
        let place = row["image_index"].as_u64().ok_or("no image")?;
        let image = &images[usize::try_from(place)?];
        let is_known = image["inspection_status"] == "ok" && row["digest_source"] == "status";
        if !is_known || image["os"] == "windows" {
            continue;
        }
        let reference = row["image"].as_str().ok_or("no reference")?;
        pods.push(json!({
            "metadata": {"name": row["pod"], "namespace": row["namespace"]},
            "spec": {"containers": [{"name": row["container"], "image": reference.replace("127.0.0.1:5000", CLOSED)}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": row["container"], "imageID": row["image_id"]}]},
        }));
    }
    Ok(json!({"kind": "List", "items": pods}))
}

/// What a report says of its images and layers, by what they are: all but where the registry is, and what depends
/// on the day.
fn facts_of(report: &Value) -> Result<BTreeMap<String, Value>> {
    let mut facts = BTreeMap::new();
    for image in report["images"].as_array().ok_or("no images")? {
        let mut image = image.clone();
        for field in [
            "registry",
            "eol_status",
            "eol_date",
            "eol_extended_date",
            "waiting_since",
            "last_seen",
        ] {
            image.as_object_mut().ok_or("no object")?.remove(field);
        }
        let name = [&image["repository"], &image["digest"], &image["platform"]];
        facts.insert(json!(name).to_string(), image);
    }
    for layer in report["layers"].as_array().ok_or("no layers")? {
        facts.insert(layer["digest"].to_string(), layer.clone());
    }
    Ok(facts)
}

/// Asserts that a value holds all of an older one. A later minor version may add fields.
fn assert_holds(name: &str, old: &Value, new: &Value) {
    match old {
        Value::Object(fields) => {
            for (field, value) in fields {
                assert_holds(&format!("{name} {field}"), value, &new[field]);
            }
        }
        Value::Array(items) => {
            assert_eq!(new.as_array().map(Vec::len), Some(items.len()), "{name}");
            for (place, item) in items.iter().enumerate() {
                assert_holds(&format!("{name} {place}"), item, &new[place]);
            }
        }
        _ => assert_eq!(new, old, "{name}"),
    }
}

fn next_night(store: &Store, time: &str, flags: &[&str]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let (pods, key) = (folder.path().join("pods.json"), folder.path().join("key"));
    fs::write(&key, KEY)?;
    fs::write(
        &pods,
        pods_of(&document(&store.root(), SECOND, "json")?)?.to_string(),
    )?;
    let mut command = store.snapshot(Path::new(&pods), time)?;
    command.args(flags);
    if flags.contains(&"--signing-key-file") {
        command.arg(&key);
    }
    let output = command.output()?;
    assert!(output.status.success(), "{}", stderr(&output));
    Ok(stderr(&output))
}

#[test]
fn version_1_0_is_reused_and_its_signature_holds() -> Result {
    let store = store_of("1.0")?;
    // The number of today's rules, from a run that knows nothing: they may have changed since.
    let scratch = Store::folder()?;
    let idle = tempfile::NamedTempFile::new()?;
    fs::write(idle.path(), r#"{"kind":"List","items":[]}"#)?;
    let output = scratch
        .snapshot(idle.path(), "2026-11-24T02:00:00Z")?
        .output()?;
    assert!(output.status.success(), "{}", stderr(&output));
    let rules = document(&scratch.root(), &newest(&scratch.root())?, "manifest")?;
    let rules = rules["versions"]["detection_rules"].clone();

    let said = next_night(&store, "2026-11-25T02:00:00Z", &["--signing-key-file"])?;
    assert!(
        said.contains(&format!(
            "reusing what an earlier run knows run_id={SECOND}"
        )),
        "{said}"
    );
    assert!(
        !said.contains("not reused") && !said.contains("no diff"),
        "{said}"
    );
    let runs = run_ids(&store.root())?;
    assert_eq!(runs.len(), 3);
    let latest = fs::read_to_string(store.root().join("latest/cluster=test.json"))?;
    assert!(latest.contains(&runs[2]), "{latest}");
    let manifest = store.json(&["get", "latest", "--format", "manifest"])?;
    assert_eq!(manifest["changes"]["against"], SECOND, "{manifest}");

    let store = store_of("1.0")?;
    for run in [FIRST, SECOND] {
        reseal(&store.root(), run, |report| {
            report["versions"]["detection_rules"] = rules.clone();
        })?;
    }
    next_night(&store, "2026-11-25T02:00:00Z", &[])?;
    let rows = store.rows("latest")?;
    assert_eq!(rows.len(), 9);
    for row in rows {
        let outcome = (&*row["inspection_status"], &*row["registry"]);
        assert_eq!(outcome, ("ok", CLOSED), "{}", row["image"]);
        assert!(
            *row["inspected_at"] < *"2026-11-25",
            "{}",
            row["inspected_at"]
        );
        assert_ne!(row["distro_version"], "");
    }
    // All that was known still is, down to the last field.
    let old = facts_of(&document(&store.root(), SECOND, "json")?)?;
    let new = facts_of(&store.json(&["get", "latest", "--format", "json"])?)?;
    let reused: Vec<_> = old.keys().filter(|name| new.contains_key(*name)).collect();
    assert!(reused.len() > 10, "{reused:?}");
    for name in reused {
        assert_holds(name, &old[name], &new[name]);
    }
    // And what a damaged copy says is not taken.
    let csv = runs::path(&store.root(), SECOND, "csv");
    fs::write(&csv, fs::read_to_string(&csv)?.replace("24.04", "26.04"))?;
    let output = store
        .command(&["get", SECOND, "--format", "csv"])
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}
