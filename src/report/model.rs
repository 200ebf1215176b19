//! What a report holds. The field names are those of the JSON report and of the CSV columns.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Compression, Counts};
use crate::image::{Digest, Platform};
use crate::os::{Distribution, EolStatus, LayerFinding, LayerPolicy};

/// Version of the report, manifest and diff schemas. A minor version may add; a reader accepts every
/// report of its own major version.
pub const SCHEMA_VERSION: &str = "1.0";

/// How a container belongs to its pod. The order is the order of rows.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ContainerType {
    /// `spec.containers`.
    Container,
    /// `spec.ephemeralContainers`.
    Ephemeral,
    /// `spec.initContainers`, sidecars among them.
    Init,
}

/// Where a row's platform comes from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PlatformSource {
    /// The node that the pod runs on.
    Node,
    /// The pod's node selector.
    Selector,
    /// Nothing was known: `--default-platform`.
    Default,
}

/// Where a row's digest comes from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DigestSource {
    /// `imageID` in the pod's status: the running image.
    Status,
    /// The digest in the pod's reference; no status says otherwise.
    Reference,
    /// The tag, as it resolved tonight.
    Tag,
    /// The tag or digest in the reference, after its configuration was seen to be the bare image id
    /// in the pod's status.
    ImageId,
}

/// Whether an image could be inspected.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum InspectionStatus {
    /// Inspected in full, also where that proved that there is no distribution.
    Ok,
    /// The configuration was read, a needed layer was not.
    Partial,
    /// Not inspected; `error_kind` says why.
    Failed,
    /// Not tried: by policy, deadline, or because the pod is over.
    Skipped,
}

/// Why an image could not be inspected: a closed list.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "the names are the documentation; README has the table"
)]
pub enum ErrorKind {
    Unauthorized,
    Denied,
    NotFound,
    RateLimited,
    Timeout,
    Network,
    Tls,
    Unsupported,
    Invalid,
    Policy,
    Deadline,
    NotRunning,
    Internal,
}

macro_rules! lower_case_name {
    ($($type:ty),*) => {$(
        impl $type {
            /// The name in reports.
            pub fn name(self) -> String {
                serde_json::to_value(self).ok().and_then(|v| v.as_str().map(Into::into)).unwrap_or_default()
            }
        }
    )*};
}
lower_case_name!(
    ContainerType,
    PlatformSource,
    DigestSource,
    InspectionStatus,
    ErrorKind
);

/// Which part of the cluster was listed; empty lists mean all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scope {
    /// Namespaces that were listed.
    pub namespaces: Vec<String>,
    /// Namespaces that were left out.
    pub excluded_namespaces: Vec<String>,
    /// The label selector.
    pub selector: Option<String>,
}

impl Scope {
    /// Whether a namespace's pods belong to it. Selectors are the API server's to apply.
    pub fn includes(&self, namespace: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == namespace);
        (self.namespaces.is_empty() || named(&self.namespaces)) && !named(&self.excluded_namespaces)
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if !self.namespaces.is_empty() {
            parts.push(self.namespaces.join(","));
        }
        if !self.excluded_namespaces.is_empty() {
            parts.push(format!("all but {}", self.excluded_namespaces.join(",")));
        }
        if let Some(selector) = &self.selector {
            parts.push(format!("pods {selector}"));
        }
        if parts.is_empty() {
            parts.push("all".into());
        }
        f.write_str(&parts.join("; "))
    }
}

/// What reads registries.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum EngineName {
    /// The crane program, a process for each request
    #[default]
    Crane,
    /// This program itself, whose connections and tokens serve many requests
    Native,
}

/// What made the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Versions {
    /// This program.
    pub program: String,
    /// What read the registries; where it is missing, it was crane.
    #[serde(default)]
    pub engine: EngineName,
    /// crane, as it names itself; null where it was not used.
    pub crane: Option<String>,
    /// The number of the distribution rules; facts of other rules are learned anew.
    pub detection_rules: u32,
    /// How many layers were read to tell distributions, at the least; facts of a weaker choice than
    /// tonight's are learned anew, unless every layer that matters was read. Where it is missing,
    /// `base` is assumed, which is the weakest.
    #[serde(default = "LayerPolicy::weakest")]
    pub layers: LayerPolicy,
    /// The date of the end-of-life table.
    pub eol_data: NaiveDate,
}

impl Versions {
    /// What read the registries, for people.
    pub fn engine_text(&self) -> String {
        match (self.engine, &self.crane) {
            (EngineName::Native, _) => "native engine".into(),
            (EngineName::Crane, Some(version)) => format!("crane {version}"),
            (EngineName::Crane, None) => "crane unknown".into(),
        }
    }
}

/// Whether the run saw everything that it was asked to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Completeness {
    /// Listed in full, and no deadline or signal cut it off. Failed images don't count.
    pub complete: bool,
    /// What cut it off: `deadline` or `signal`.
    pub reason: Option<String>,
}

/// The head of a report, and of its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Version of this schema.
    pub schema_version: String,
    /// Start of the listing and four hexadecimal digits.
    pub run_id: String,
    /// The cluster's name.
    pub cluster_name: String,
    /// SHA-256 of the API server's CA certificates; null for a pod list from a file.
    pub cluster_id: Option<String>,
    /// Start of the listing, UTC, to the second.
    #[serde(with = "seconds")]
    #[schemars(with = "DateTime<Utc>")]
    pub snapshot_time: DateTime<Utc>,
    /// What was listed.
    pub scope: Scope,
    /// What made the report.
    pub versions: Versions,
    /// Whether anything is missing.
    pub completeness: Completeness,
}

/// An image: a repository, digest and platform, with all that was learned of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageRecord {
    /// Host and port; null if the reference could not be read.
    pub registry: Option<Arc<str>>,
    /// Path below the registry.
    pub repository: Option<Arc<str>>,
    /// The tag that was asked for, where no digest is known.
    pub tag: Option<Arc<str>>,
    /// The digest as observed: of an index or of a manifest.
    pub digest: Option<Digest>,
    /// The bare image id that the tag was compared with and differs from.
    pub image_id: Option<Digest>,
    /// The platform that was asked for: the node's.
    pub platform: Arc<Platform>,
    /// The platform's manifest that `digest` resolves to. Identity is compared by it.
    pub manifest_digest: Option<Digest>,
    /// The configuration's digest, Docker's image id.
    pub config_digest: Option<Digest>,
    /// From the configuration.
    pub os: Option<String>,
    /// From the configuration.
    pub architecture: Option<String>,
    /// From the configuration: `v8`.
    pub variant: Option<String>,
    /// From the configuration; Windows' build.
    pub os_version: Option<String>,
    /// The distribution; null if there is none or it is not known.
    pub distribution: Option<Distribution>,
    /// The layer that the distribution was read from.
    pub distribution_layer: Option<Digest>,
    /// True where every layer that can change the answer was read and verified; false also where one
    /// was left out because its history says that it changes nothing.
    pub distribution_certain: bool,
    /// `none` where the layers were read and hold no distribution, else the file that answered.
    pub distro_source: Option<String>,
    /// Windows' release name or a point release.
    pub distro_release: Option<String>,
    /// Support status on the run's date.
    pub eol_status: Option<EolStatus>,
    /// End of ordinary support.
    pub eol_date: Option<NaiveDate>,
    /// End of extended support.
    pub eol_extended_date: Option<NaiveDate>,
    /// The base image that the image names.
    pub base_image: Option<String>,
    /// `annotation` (of the manifest, of its entry in the index, of the index) or `label`.
    pub base_image_source: Option<String>,
    /// From the configuration; null also for the dates that mean "none" (before 1980).
    #[serde(default, with = "optional_seconds")]
    #[schemars(with = "Option<DateTime<Utc>>")]
    pub created: Option<DateTime<Utc>>,
    /// Compressed size of configuration and layers.
    pub size_bytes: Option<u64>,
    /// The user that the configuration names.
    pub user: Option<String>,
    /// The OCI labels (`org.opencontainers.image.*`) of the configuration.
    pub labels: BTreeMap<String, String>,
    /// Whether it could be inspected.
    pub inspection_status: InspectionStatus,
    /// Why not.
    pub error_kind: Option<ErrorKind>,
    /// Our own sentence, with what to do.
    pub error_message: Option<String>,
    /// The mirror that answered, if another than `registry`.
    pub inspected_via: Option<String>,
    /// When these facts were learned.
    #[serde(default, with = "optional_seconds")]
    #[schemars(with = "Option<DateTime<Utc>>")]
    pub inspected_at: Option<DateTime<Utc>>,
    /// Since when it has been asked for in vain; null where it is known.
    #[serde(default, with = "optional_seconds")]
    #[schemars(with = "Option<DateTime<Utc>>")]
    pub waiting_since: Option<DateTime<Utc>>,
    /// The last run in which a container ran it, if that is an earlier one: its facts are carried.
    #[serde(default, with = "optional_seconds")]
    #[schemars(with = "Option<DateTime<Utc>>")]
    pub last_seen: Option<DateTime<Utc>>,
}

impl ImageRecord {
    /// `registry/repository:tag`, or with a shortened digest; raw, and `None` where the reference could
    /// not be read.
    pub fn short_name(&self) -> Option<String> {
        let (registry, repository) = (self.registry.as_deref()?, self.repository.as_deref()?);
        let end = match (&self.tag, &self.digest) {
            (Some(tag), _) => format!(":{tag}"),
            (None, Some(digest)) => format!("@{}", digest.short()),
            (None, None) => String::new(),
        };
        Some(format!("{registry}/{repository}{end}"))
    }
}

/// What one layer says about the distribution, read to its end and verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayerRecord {
    /// The layer's digest.
    pub digest: Digest,
    /// The entries that matter; empty where it has none.
    pub finding: LayerFinding,
    /// When it was read.
    #[serde(with = "seconds")]
    #[schemars(with = "DateTime<Utc>")]
    pub inspected_at: DateTime<Utc>,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(
    missing_docs,
    reason = "the fields are columns of the CSV, described in columns.rs"
)]
pub struct ContainerRow {
    pub namespace: Arc<str>,
    pub workload_kind: Arc<str>,
    pub workload_name: Arc<str>,
    pub pod: Arc<str>,
    pub pod_phase: Option<Arc<str>>,
    /// `generateName` of bare pods and of pods of controllers that are not known.
    pub generate_name: Option<Arc<str>>,
    pub node: Option<Arc<str>>,
    pub container: Arc<str>,
    pub container_type: ContainerType,
    pub owner: Option<Arc<str>>,
    /// The reference as the pod's author wrote it.
    pub image: Arc<str>,
    pub tag: Option<Arc<str>>,
    pub digest_source: Option<DigestSource>,
    /// `imageID` as the node reported it.
    pub image_id: Option<Arc<str>>,
    pub platform_source: PlatformSource,
    /// Zero-based place of the image in `images`.
    pub image_index: usize,
}

impl ContainerRow {
    /// Whether its pod has ended; headline counts leave such containers out.
    pub fn is_over(&self) -> bool {
        matches!(self.pod_phase.as_deref(), Some("Succeeded" | "Failed"))
    }
}

/// A whole report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Head.
    pub header: Header,
    /// Images, sorted.
    pub images: Vec<ImageRecord>,
    /// Layers that were read, by digest.
    pub layers: Vec<LayerRecord>,
    /// Containers, sorted.
    pub containers: Vec<ContainerRow>,
}

impl Report {
    /// How many distinct pods its rows are of.
    pub fn pod_count(&self) -> usize {
        let pods = self.containers.iter().map(|row| (&row.namespace, &row.pod));
        pods.collect::<HashSet<_>>().len()
    }
}

/// The shape of the JSON report, for its schema; reports are written and read as streams.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct ReportDocument {
    /// Head.
    #[serde(flatten)]
    pub header: Header,
    /// Images come before containers, a guarantee of this schema. Those that no container points at
    /// are carried from earlier runs.
    pub images: Vec<ImageRecord>,
    /// What the images' layers say, so that no layer is read twice. Between images and containers.
    #[serde(default)]
    pub layers: Vec<LayerRecord>,
    /// One each, in the order of the CSV.
    pub containers: Vec<ContainerRow>,
}

/// A file of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileEntry {
    /// `csv`, `workloads`, `json`, `diff`, or one of the further formats.
    pub format: String,
    /// Where it lies. Readers derive the key from run id and format and never use this one.
    pub key: String,
    /// How it is compressed; size and checksum are of the file as it lies in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Size.
    pub size_bytes: u64,
    /// SHA-256 of the content, 64 hexadecimal digits.
    pub sha256: String,
    /// Rows, without the head.
    pub rows: u64,
    /// Of the JSON report: its beginning up to the containers, which the next night reads alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<FactsEntry>,
}

/// The beginning of a JSON report: head, images and layers; where it is compressed, a member of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FactsEntry {
    /// Its size.
    pub size_bytes: u64,
    /// Its SHA-256, 64 hexadecimal digits.
    pub sha256: String,
}

/// The commit of a run: written last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Head.
    #[serde(flatten)]
    pub header: Header,
    /// The run's files.
    pub files: Vec<FileEntry>,
    /// What `list` and `trend` show.
    pub counts: Counts,
    /// How much changed since an earlier run; null if there was none to compare with.
    #[serde(default)]
    pub changes: Option<ChangeCounts>,
    /// HMAC-SHA-256 of all before it, where a signing key was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl Manifest {
    /// What it says of a file.
    pub fn file(&self, format: crate::storage::Format) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.format == format.name())
    }
}

/// How much changed since an earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeCounts {
    /// The earlier run: the last complete one of an earlier day with the same scope.
    pub against: String,
    /// Changed containers of workloads by kind of change.
    pub by_kind: BTreeMap<String, u64>,
}

/// `YYYY-MM-DDTHH:MM:SSZ`.
pub fn format_time(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

mod seconds {
    use super::{DateTime, Deserialize, Utc, format_time};

    pub(super) fn serialize<S: serde::Serializer>(
        time: &DateTime<Utc>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_time(time))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<DateTime<Utc>, D::Error> {
        DateTime::deserialize(deserializer)
    }
}

mod optional_seconds {
    use super::{DateTime, Deserialize, Serialize, Utc, format_time};

    #[allow(
        clippy::ref_option,
        reason = "serde's `with` passes a reference to the field"
    )]
    pub(super) fn serialize<S: serde::Serializer>(
        time: &Option<DateTime<Utc>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.as_ref().map(format_time).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<DateTime<Utc>>, D::Error> {
        Option::deserialize(deserializer)
    }
}
