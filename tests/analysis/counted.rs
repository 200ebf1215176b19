//! What the recipes should answer: what `trend` says, and counts by hand over the rows of a store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::fixtures::fleet::{CLUSTERS, NIGHTS};
use crate::harness::{Result, Row, files_below, program, succeed};
use crate::nights::date;

/// Cluster, day, value and number of containers of all clusters, as `trend` has them.
pub(crate) fn trend(
    by: &str,
    store: &str,
    configure: impl Fn(&mut Command),
) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for cluster in CLUSTERS {
        let mut command = program();
        command.args(["trend", "--by", by, "--format", "json", "--store", store]);
        command.args(["--cluster", cluster.name]);
        command.args(["--since", &date(0), "--until", &date(NIGHTS - 1)]);
        configure(&mut command);
        let counted: Value = serde_json::from_str(&succeed(&mut command)?)?;
        for row in counted["rows"].as_array().ok_or("no rows")? {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            rows.push(vec![
                cluster.name.to_owned(),
                text("date"),
                text("value"),
                row["containers"].to_string(),
            ]);
        }
    }
    rows.sort();
    Ok(rows)
}

/// The rows that count: of pods that are not over, of the last complete run of each cluster and day.
pub(crate) struct Counted {
    /// Each with its cluster and day.
    rows: Vec<(String, String, Row)>,
    /// The newest day of each cluster.
    newest: BTreeMap<String, String>,
    /// Days that have such a run, by cluster.
    pub(crate) days: BTreeMap<String, usize>,
    /// All files below `csv/`.
    pub(crate) files: usize,
}

impl Counted {
    pub(crate) fn read(store: &Path) -> Result<Self> {
        let mut runs = BTreeMap::new();
        for file in files_below(&store.join("manifest"))? {
            let manifest: Value =
                serde_json::from_slice(&fs::read(store.join("manifest").join(file))?)?;
            let whole = json!({"namespaces": [], "excluded_namespaces": [], "selector": null});
            if manifest["completeness"]["complete"] == true && manifest["scope"] == whole {
                let text = |name: &str| manifest[name].as_str().unwrap_or_default().to_owned();
                let day = text("snapshot_time")[..10].to_owned();
                let last: &mut String = runs.entry((text("cluster_name"), day)).or_default();
                *last = text("run_id").max(last.clone());
            }
        }
        let mut rows = Vec::new();
        for ((cluster, day), run) in &runs {
            let name = format!("cluster={cluster}/dt={day}/image-census_{cluster}_{run}.csv");
            let mut file = csv::Reader::from_path(store.join("csv").join(name))?;
            for row in file.deserialize() {
                let row: Row = row?;
                if !matches!(row["pod_phase"].as_str(), "Succeeded" | "Failed") {
                    rows.push((cluster.clone(), day.clone(), row));
                }
            }
        }
        let mut days = BTreeMap::new();
        for (cluster, _) in runs.keys() {
            *days.entry(cluster.clone()).or_default() += 1;
        }
        Ok(Self {
            rows,
            days,
            newest: runs.into_keys().collect(),
            files: files_below(&store.join("csv"))?.len(),
        })
    }

    /// Per workload's container and distribution the first day without support, from a day on.
    pub(crate) fn entered_eol(&self, from: &str) -> Vec<Vec<String>> {
        let mut first = BTreeMap::<Vec<String>, &str>::new();
        for (cluster, day, row) in &self.rows {
            if row["eol_status"] == "eol" {
                let mut key = vec![cluster.clone()];
                key.extend(
                    [
                        "namespace",
                        "workload_kind",
                        "workload_name",
                        "container",
                        "distro_id",
                        "distro_version",
                    ]
                    .map(|name| row[name].clone()),
                );
                let since = first.entry(key).or_insert(day);
                *since = day.as_str().min(since);
            }
        }
        first.retain(|_, since| *since >= from);
        let line = |(mut key, since): (Vec<String>, &str)| {
            key.push(since.to_owned());
            key
        };
        first.into_iter().map(line).collect()
    }

    /// Of each image the first and the last day, and how many clusters had it.
    pub(crate) fn image_seen(&self) -> Vec<Vec<String>> {
        let mut images = BTreeMap::<[&str; 2], (BTreeSet<&str>, BTreeSet<&str>)>::new();
        for (cluster, day, row) in &self.rows {
            if !row["manifest_digest"].is_empty() {
                let seen = images.entry([&row["repository"], &row["manifest_digest"]]);
                let seen = seen.or_default();
                seen.0.insert(day);
                seen.1.insert(cluster);
            }
        }
        let line = |([repository, digest], (days, clusters)): (
            [&str; 2],
            (BTreeSet<&str>, BTreeSet<&str>),
        )| {
            let day = |day: Option<&&str>| day.copied().unwrap_or_default().to_owned();
            vec![
                repository.to_owned(),
                digest.to_owned(),
                day(days.first()),
                day(days.last()),
                clusters.len().to_string(),
            ]
        };
        images.into_iter().map(line).collect()
    }

    /// Each cluster's rows of its newest day.
    fn newest(&self) -> impl Iterator<Item = (&str, &Row)> {
        let rows = self.rows.iter();
        let newest = rows.filter(|(cluster, day, _)| self.newest.get(cluster) == Some(day));
        newest.map(|(cluster, _, row)| (cluster.as_str(), row))
    }

    /// Where a repository's images run on each cluster's newest day, and in how many pods.
    pub(crate) fn where_it_runs(&self, repository: &str) -> Vec<Vec<String>> {
        let mut pods = BTreeMap::<Vec<String>, BTreeSet<&str>>::new();
        for (cluster, row) in self
            .newest()
            .filter(|(_, row)| row["repository"] == repository)
        {
            let mut key = vec![cluster.to_owned()];
            key.extend(
                [
                    "namespace",
                    "workload_kind",
                    "workload_name",
                    "tag",
                    "manifest_digest",
                ]
                .map(|name| row[name].clone()),
            );
            pods.entry(key).or_default().insert(&row["pod"]);
        }
        let line = |(mut key, pods): (Vec<String>, BTreeSet<&str>)| {
            key.push(pods.len().to_string());
            key
        };
        pods.into_iter().map(line).collect()
    }

    /// Containers without support on the newest day, by cluster, namespace and distribution.
    pub(crate) fn ended(&self) -> BTreeMap<[String; 3], usize> {
        let mut counts = BTreeMap::new();
        for (cluster, row) in self.newest().filter(|(_, row)| row["eol_status"] == "eol") {
            let key = [
                cluster.to_owned(),
                row["namespace"].clone(),
                row["distro_name"].clone(),
            ];
            *counts.entry(key).or_default() += 1;
        }
        counts
    }
}
