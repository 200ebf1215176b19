//! Counts per day, from what manifests keep.
//!
//! Pure. The manifest of each day flows in, oldest first, rows flow out.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Serialize;

use crate::report::Manifest;

/// What is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum By {
    /// Distribution.
    Distribution,
    /// Distribution and version.
    Version,
    /// End-of-life status.
    EolStatus,
    /// Registry.
    Registry,
    /// Inspection status, with the reason.
    InspectionStatus,
    /// Kind of change since the day before.
    Change,
}

impl By {
    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Distribution => "distribution",
            Self::Version => "version",
            Self::EolStatus => "eol_status",
            Self::Registry => "registry",
            Self::InspectionStatus => "inspection_status",
            Self::Change => "change",
        }
    }
}

/// A count of one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrendRow {
    /// The day.
    pub date: NaiveDate,
    /// The run that was counted: the last complete one of the day.
    pub run_id: String,
    /// What is counted: a distribution, a status …; null where it is not known.
    pub value: Option<String>,
    /// Containers; of changes, changed containers of workloads.
    pub containers: u64,
    /// Distinct images; null for changes.
    pub images: Option<u64>,
}

/// The rows of one day, sorted by value.
pub fn rows(date: NaiveDate, manifest: &Manifest, by: By) -> Vec<TrendRow> {
    let mut counts = BTreeMap::<Option<String>, (u64, Option<u64>)>::new();
    let mut add = |value: Option<String>, containers: usize, images: Option<usize>| {
        let count = counts.entry(value).or_default();
        count.0 += containers as u64;
        count.1 = images.map(|images| count.1.unwrap_or_default() + images as u64);
    };
    let tally = &manifest.counts;
    match by {
        By::Distribution => tally.by_distribution.iter().for_each(|count| {
            add(
                count.distro_id.clone(),
                count.containers,
                Some(count.images),
            );
        }),
        By::Version => tally.by_distribution.iter().for_each(|count| {
            let value = count
                .distro_id
                .as_ref()
                .map(|id| match &count.distro_version {
                    Some(version) => format!("{id} {version}"),
                    None => id.clone(),
                });
            add(value, count.containers, Some(count.images));
        }),
        By::EolStatus => tally.by_eol_status.iter().for_each(|count| {
            let value = count.eol_status.map(|status| status.to_string());
            add(value, count.containers, Some(count.images));
        }),
        By::Registry => tally
            .by_registry
            .iter()
            .for_each(|count| add(count.registry.clone(), count.containers, Some(count.images))),
        By::InspectionStatus => tally.by_inspection_status.iter().for_each(|count| {
            let status = count.inspection_status.name();
            let value = match count.error_kind {
                Some(kind) => format!("{status} {}", kind.name()),
                None => status,
            };
            add(Some(value), count.containers, Some(count.images));
        }),
        By::Change => manifest
            .changes
            .iter()
            .flat_map(|changes| &changes.by_kind)
            .for_each(|(kind, count)| {
                let count = usize::try_from(*count).unwrap_or(usize::MAX);
                add(Some(kind.clone()), count, None);
            }),
    }
    let row = |(value, (containers, images))| TrendRow {
        date,
        run_id: manifest.header.run_id.clone(),
        value,
        containers,
        images,
    };
    counts.into_iter().map(row).collect()
}
