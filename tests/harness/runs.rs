//! The files of runs in a store: which there are, changed ones whose manifest vouches for the change,
//! and small ones that no snapshot made.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Result, files_below};

/// The cluster of all runs here.
pub(crate) const CLUSTER: &str = "test";
const HEAD: [&str; 8] = [
    "schema_version",
    "run_id",
    "cluster_name",
    "cluster_id",
    "snapshot_time",
    "scope",
    "versions",
    "completeness",
];

/// The committed runs, oldest first, of whatever cluster.
pub(crate) fn run_ids(root: &Path) -> Result<Vec<String>> {
    let Ok(files) = files_below(&root.join("manifest")) else {
        return Ok(Vec::new());
    };
    let mut runs: Vec<_> = files
        .iter()
        .filter_map(|file| file.strip_suffix(".json")?.rsplit('_').next())
        .map(str::to_owned)
        .collect();
    runs.sort();
    Ok(runs)
}

/// The newest committed run.
pub(crate) fn newest(root: &Path) -> Result<String> {
    Ok(run_ids(root)?.pop().ok_or("no run")?)
}

/// The key of a run's file.
pub(crate) fn key(run: &str, format: &str) -> String {
    let date = format!("{}-{}-{}", &run[..4], &run[4..6], &run[6..8]);
    let extension = match format {
        "csv" | "workloads" => "csv",
        _ => "json",
    };
    format!("{format}/cluster={CLUSTER}/dt={date}/image-census_{CLUSTER}_{run}.{extension}")
}

/// Where a run's file lies.
pub(crate) fn path(root: &Path, run: &str, format: &str) -> PathBuf {
    root.join(key(run, format))
}

/// A run's manifest or report.
pub(crate) fn document(root: &Path, run: &str, format: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(path(root, run, format))?)?)
}

/// What of a committed run is not as its manifest says; nothing if it is whole.
pub(crate) fn damage(root: &Path, run: &str) -> Result<Option<String>> {
    let manifest = match document(root, run, "manifest") {
        Ok(manifest) => manifest,
        Err(error) => return Ok(Some(format!("the manifest of {run}: {error}"))),
    };
    let Some(files) = manifest["files"].as_array() else {
        return Ok(Some(format!("the manifest of {run} names no files")));
    };
    for name in ["csv", "workloads", "json"] {
        if !files.iter().any(|file| file["format"] == name) {
            return Ok(Some(format!("{run} has no {name}")));
        }
    }
    for file in files {
        let key = file["key"].as_str().ok_or("no key")?;
        match fs::read(root.join(key)) {
            Err(error) => return Ok(Some(format!("{key}: {error}"))),
            Ok(content) if file["sha256"] != sha256(&content) => {
                return Ok(Some(format!("{key} has {} other bytes", content.len())));
            }
            Ok(_) => {}
        }
    }
    Ok(None)
}

/// Hexadecimal SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Changes a run's report, and then its manifest so that sizes and digests are right again, as anybody
/// can who may write to the store.
pub(crate) fn reseal(root: &Path, run: &str, change: impl FnOnce(&mut Value)) -> Result {
    let mut report = document(root, run, "json")?;
    change(&mut report);
    // In the order of the contract: head, images, layers, containers.
    let mut facts = String::from("{");
    for name in HEAD {
        facts.push_str(&format!("{}:{},", json!(name), report[name]));
    }
    for name in ["images", "layers"] {
        facts.push_str(&format!("{}:{},\n", json!(name), report[name]));
    }
    facts.push_str("\"containers\":[");
    let rows = report["containers"].to_string();
    let rest = format!("{}}}\n", &rows[1..]);
    reseal_bytes(root, run, facts.as_bytes(), rest.as_bytes())?;
    let mut manifest = document(root, run, "manifest")?;
    for name in HEAD {
        manifest[name] = report[name].clone();
    }
    write_manifest(root, &manifest)
}

/// The same with any bytes: the beginning that the next night reads, and what follows it.
pub(crate) fn reseal_bytes(root: &Path, run: &str, facts: &[u8], rest: &[u8]) -> Result {
    let mut manifest = document(root, run, "manifest")?;
    let whole = [facts, rest].concat();
    fs::write(path(root, run, "json"), &whole)?;
    let files = manifest["files"].as_array_mut().ok_or("no files")?;
    let entry = files.iter_mut().find(|file| file["format"] == "json");
    let entry = entry.ok_or("no report")?;
    entry["size_bytes"] = json!(whole.len());
    entry["sha256"] = json!(sha256(&whole));
    entry["facts"] = json!({"size_bytes": facts.len(), "sha256": sha256(facts)});
    write_manifest(root, &manifest)
}

/// Writes a manifest to where its run's is.
pub(crate) fn write_manifest(root: &Path, manifest: &Value) -> Result {
    let run = manifest["run_id"].as_str().ok_or("no run id")?;
    Ok(fs::write(
        path(root, run, "manifest"),
        format!("{manifest}\n"),
    )?)
}

/// A run that no snapshot made.
#[derive(Clone, Debug)]
pub(crate) struct Tiny {
    pub(crate) run: String,
    pub(crate) complete: bool,
    /// The one namespace that was listed; none means all.
    pub(crate) namespace: Option<String>,
    /// Counts of the manifest that are not zero or empty.
    pub(crate) counts: Value,
}

impl Tiny {
    /// A complete run of everything.
    pub(crate) fn new(run: &str) -> Self {
        Self {
            run: run.to_owned(),
            complete: true,
            namespace: None,
            counts: json!({}),
        }
    }

    /// Writes the manifest alone, which is the run for `list`, `trend` and `prune`.
    pub(crate) fn write(&self, root: &Path) -> Result {
        self.write_with(root, &json!([]))
    }

    /// Writes three files of a few bytes, and the manifest that names them.
    pub(crate) fn write_with_files(&self, root: &Path) -> Result {
        let mut files = Vec::new();
        for format in ["csv", "workloads", "json"] {
            let content = format!("{format} of {}\n", self.run);
            let path = path(root, &self.run, format);
            fs::create_dir_all(path.parent().ok_or("no folder")?)?;
            fs::write(path, &content)?;
            files.push(json!({
                "format": format,
                "key": key(&self.run, format),
                "size_bytes": content.len(),
                "sha256": sha256(content.as_bytes()),
                "rows": 0,
            }));
        }
        self.write_with(root, &json!(files))
    }

    fn write_with(&self, root: &Path, files: &Value) -> Result {
        let run = &self.run;
        let time = format!(
            "{}-{}-{}T{}:{}:{}Z",
            &run[..4],
            &run[4..6],
            &run[6..8],
            &run[9..11],
            &run[11..13],
            &run[13..15]
        );
        let namespaces: Vec<_> = self.namespace.iter().collect();
        let mut counts = json!({
            "pods": 0, "containers": 0, "not_running": 0, "images": 0, "not_inspected": 0,
            "by_distribution": [], "by_eol_status": [], "by_registry": [], "by_inspection_status": [],
        });
        for (name, value) in self.counts.as_object().into_iter().flatten() {
            counts[name] = value.clone();
        }
        let manifest = json!({
            "schema_version": "1.0",
            "run_id": run,
            "cluster_name": CLUSTER,
            "cluster_id": null,
            "snapshot_time": time,
            "scope": {"namespaces": namespaces, "excluded_namespaces": [], "selector": null},
            "versions": {"program": "0.1.0", "crane": null, "detection_rules": 1, "eol_data": "2026-08-22"},
            "completeness": {
                "complete": self.complete,
                "reason": if self.complete { None } else { Some("deadline") },
            },
            "files": files,
            "counts": counts,
            "changes": null,
        });
        let path = path(root, run, "manifest");
        fs::create_dir_all(path.parent().ok_or("no folder")?)?;
        write_manifest(root, &manifest)
    }
}
