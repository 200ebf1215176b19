//! What changed between two reports.
//!
//! Pure. Two [`Side`]s flow in, a [`Diff`] flows out: a line for each container of a workload whose
//! set of (reference, manifest digest, platform, distribution) changed, with all kinds of change that
//! it shows. What could not be inspected is "not known today": an outage is neither a removal nor a
//! change. Formats are in [`formats`].

mod compare;
#[cfg(test)]
mod compare_tests;
pub mod formats;
mod side;

pub use compare::{DiffOptions, compare};
pub use side::Side;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image::Digest;
use crate::os::EolStatus;
use crate::report::{Completeness, ContainerType, ErrorKind, Header, InspectionStatus, Scope};

/// A kind of change. The order is that of their weight to an operator.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Its distribution's support has ended, the extended one too; also by the calendar alone.
    EnteredEol,
    /// Its distribution's ordinary support has ended, the extended one has not.
    EnteredExtended,
    /// The same reference and platform lead to another manifest, also within one night.
    MovedTag,
    /// Another distribution, or another version of it.
    DistributionChanged,
    /// Another registry.
    RegistryChanged,
    /// Another reference in the pod.
    ReferenceChanged,
    /// Not there before.
    Added,
    /// Not there any more.
    Removed,
    /// A CronJob without a pod this time.
    NotRunning,
    /// It could be inspected, and cannot.
    NoLongerInspectable,
    /// It could not be inspected, and can.
    AgainInspectable,
}

impl ChangeKind {
    /// The name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::EnteredEol => "entered_eol",
            Self::EnteredExtended => "entered_extended",
            Self::MovedTag => "moved_tag",
            Self::DistributionChanged => "distribution_changed",
            Self::RegistryChanged => "registry_changed",
            Self::ReferenceChanged => "reference_changed",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::NotRunning => "not_running",
            Self::NoLongerInspectable => "no_longer_inspectable",
            Self::AgainInspectable => "again_inspectable",
        }
    }
}

/// Which run one side was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the fields are those of the report's head")]
pub struct DiffRun {
    pub run_id: String,
    pub cluster_name: String,
    pub cluster_id: Option<String>,
    pub snapshot_time: DateTime<Utc>,
    pub scope: Scope,
    pub completeness: Completeness,
}

impl From<&Header> for DiffRun {
    fn from(header: &Header) -> Self {
        Self {
            run_id: header.run_id.clone(),
            cluster_name: header.cluster_name.clone(),
            cluster_id: header.cluster_id.clone(),
            snapshot_time: header.snapshot_time,
            scope: header.scope.clone(),
            completeness: header.completeness.clone(),
        }
    }
}

/// An image that a container ran on one side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the fields are columns of the report")]
pub struct DiffImage {
    pub image: String,
    pub manifest_digest: Option<Digest>,
    pub platform: String,
    pub distro_id: Option<String>,
    pub distro_version: Option<String>,
    pub distro_name: Option<String>,
    pub eol_status: Option<EolStatus>,
    pub inspection_status: InspectionStatus,
    pub error_kind: Option<ErrorKind>,
}

/// A container of a workload that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the fields are columns of the report")]
pub struct Change {
    pub namespace: String,
    pub workload_kind: String,
    /// Of bare pods and of unknown controllers their `generateName`, where they have one.
    pub workload_name: String,
    pub container_type: ContainerType,
    pub container: String,
    /// In what ways it changed.
    pub kinds: Vec<ChangeKind>,
    /// What it ran then; several during a rollout.
    pub old: Vec<DiffImage>,
    /// What it runs now.
    pub new: Vec<DiffImage>,
}

/// What comes and goes by its nature and is counted only: ephemeral containers, and what runs to
/// completion without a CronJob.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransientCounts {
    /// There now and not then.
    pub added: u64,
    /// There then and not now.
    pub removed: u64,
}

/// What changed between two runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diff {
    /// Version of this schema.
    pub schema_version: String,
    /// The earlier run.
    pub old: DiffRun,
    /// The later run.
    pub new: DiffRun,
    /// How many changes show each kind.
    pub counts: BTreeMap<ChangeKind, u64>,
    /// What is only counted.
    pub transient: TransientCounts,
    /// Sorted by namespace, workload kind and name, container type, container.
    pub changes: Vec<Change>,
}

impl Diff {
    /// The cluster, or both: `prod and staging`.
    pub fn clusters(&self) -> String {
        let (old, new) = (&self.old.cluster_name, &self.new.cluster_name);
        if old == new {
            new.clone()
        } else {
            format!("{old} and {new}")
        }
    }
}
