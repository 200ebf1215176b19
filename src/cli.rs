//! The command line, as typed; [`crate::commands`] gives it meaning.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::diff::ChangeKind;
use crate::duration::{age, duration};
use crate::image::{ImageReference, Platform};
use crate::os::LayerPolicy;
use crate::registry::guard::HostPort;
use crate::registry::pattern::{AllowedRegistries, RegistryPattern};
use crate::report::{Compression, EngineName, Scope};
use crate::storage::{
    Checksum, ClusterName, Encryption, Endpoint, Format, S3Settings, StoreLocation,
};
use crate::trend::By;

/// What operating system does each container of a Kubernetes cluster really run?
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 no report or no such run, 2 wrong usage, 3 with --strict: something was not inspected, 4 with diff --exit-code: something changed."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How the log on stderr looks: text on a terminal, JSON elsewhere.
    #[arg(long, global = true, env = "IMAGE_CENSUS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
    /// How much is logged.
    #[arg(long, global = true, env = "IMAGE_CENSUS_LOG_LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for tracing::level_filters::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it")]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List all pods, inspect their images and write a report
    Snapshot(Box<SnapshotArgs>),
    /// Show the runs in a store
    List(ListArgs),
    /// Print or download one run, verified
    Get(GetArgs),
    /// Show what changed between two runs
    Diff(DiffArgs),
    /// Show counts per day over a period
    Trend(TrendArgs),
    /// Remove old runs by retention rules
    Prune(PruneArgs),
    /// Find out before the night whether a snapshot would work: cluster, crane, store
    Check(Box<CheckArgs>),
    /// Show when which distribution's support ends, as this program knows it
    Eol(EolArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Where runs are kept. A heading holds for what follows it, also behind a flattened group: groups come
/// last.
#[derive(Debug, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// A folder, or s3://bucket/prefix [default: ./reports; required inside a cluster]
    #[arg(long, env = "IMAGE_CENSUS_STORE", value_name = "STORE")]
    pub store: Option<StoreLocation>,
    /// How an object store is spoken to.
    #[command(flatten)]
    pub s3: S3Args,
}

/// The object store. Credentials, region and profile come from the AWS variables and files.
#[derive(Debug, Args)]
#[command(next_help_heading = "Object store")]
pub struct S3Args {
    /// Address of another S3 service, e.g. `https://minio.example:9000` [default: AWS_ENDPOINT_URL_S3, or AWS itself]
    #[arg(long, env = "IMAGE_CENSUS_S3_ENDPOINT", value_name = "URL")]
    pub s3_endpoint: Option<Endpoint>,
    /// Put the bucket into the path instead of the host's name, as MinIO, Ceph and others want it
    #[arg(long, env = "IMAGE_CENSUS_S3_PATH_STYLE")]
    pub s3_path_style: bool,
    /// The bucket's region [default: AWS_REGION, the profile's, or us-east-1 with another endpoint]
    #[arg(long, env = "IMAGE_CENSUS_S3_REGION", value_name = "REGION")]
    pub s3_region: Option<String>,
    /// Ask for encryption by the service [default: the bucket's own setting]
    #[arg(long, env = "IMAGE_CENSUS_S3_SSE", value_enum, value_name = "KIND")]
    pub s3_sse: Option<Encryption>,
    /// The KMS key to encrypt with
    #[arg(
        long,
        env = "IMAGE_CENSUS_S3_KMS_KEY",
        value_name = "KEY",
        requires = "s3_sse"
    )]
    pub s3_kms_key: Option<String>,
    /// When uploads carry a checksum
    #[arg(
        long,
        env = "IMAGE_CENSUS_S3_CHECKSUM",
        value_enum,
        value_name = "MODE",
        default_value = "auto"
    )]
    pub s3_checksum: Checksum,
    /// Create objects only where there are none (If-None-Match); not every service honours it
    #[arg(long, env = "IMAGE_CENSUS_S3_CONDITIONAL_PUT")]
    pub s3_conditional_put: bool,
    /// Certificates to trust besides the system's, PEM [default: AWS_CA_BUNDLE]
    #[arg(long, env = "IMAGE_CENSUS_S3_CA_BUNDLE", value_name = "FILE")]
    pub s3_ca_bundle: Option<PathBuf>,
}

impl S3Args {
    /// The settings, for the store.
    pub fn settings(&self) -> S3Settings {
        S3Settings {
            endpoint: self.s3_endpoint.clone(),
            path_style: self.s3_path_style,
            region: self.s3_region.clone(),
            encryption: self.s3_sse,
            kms_key: self.s3_kms_key.clone(),
            checksum: self.s3_checksum,
            conditional_put: self.s3_conditional_put,
            ca_bundle: self.s3_ca_bundle.clone(),
        }
    }
}

/// Which part of which cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// The cluster's name in keys and rows [default: the kubeconfig's context; required inside a cluster]
    #[arg(long, env = "IMAGE_CENSUS_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<ClusterName>,
    /// The kubeconfig's context [default: its current one; inside a cluster, that cluster]
    #[arg(long, env = "IMAGE_CENSUS_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// Only this namespace, for which a Role suffices; may be given more than once
    #[arg(
        long,
        env = "IMAGE_CENSUS_NAMESPACE",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = namespace
    )]
    pub namespace: Vec<String>,
    /// All namespaces but this; may be given more than once
    #[arg(
        long,
        env = "IMAGE_CENSUS_EXCLUDE_NAMESPACE",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = namespace,
        conflicts_with = "namespace"
    )]
    pub exclude_namespace: Vec<String>,
    /// Only pods with these labels, e.g. app=web,tier!=test
    #[arg(long, env = "IMAGE_CENSUS_SELECTOR", value_name = "SELECTOR", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub selector: Option<String>,
    /// The platform of pods whose node's is not known
    #[arg(
        long,
        env = "IMAGE_CENSUS_DEFAULT_PLATFORM",
        value_name = "OS/ARCH",
        default_value = "linux/amd64"
    )]
    pub default_platform: Platform,
}

impl ClusterArgs {
    /// What is to be listed; equal scopes are equal whatever the order of their flags.
    pub fn scope(&self) -> Scope {
        let sorted = |names: &[String]| {
            let names: BTreeSet<_> = names.iter().cloned().collect();
            names.into_iter().collect()
        };
        Scope {
            namespaces: sorted(&self.namespace),
            excluded_namespaces: sorted(&self.exclude_namespace),
            selector: self.selector.clone(),
        }
    }
}

/// What reads the registries, and how long it may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Inspection")]
pub struct EngineArgs {
    /// What reads the registries
    #[arg(
        long,
        env = "IMAGE_CENSUS_ENGINE",
        value_name = "ENGINE",
        default_value = "crane"
    )]
    pub engine: EngineName,
    /// The crane program; the native engine does without
    #[arg(
        long,
        env = "IMAGE_CENSUS_CRANE",
        value_name = "PATH",
        default_value = "crane"
    )]
    pub crane: PathBuf,
    /// Time limit of a request, by either engine; a layer must make progress within it
    #[arg(long, env = "IMAGE_CENSUS_CRANE_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub crane_timeout: Duration,
}

/// What is special about registries, which of them are asked, and with whose credentials.
#[derive(Debug, Args)]
#[command(next_help_heading = "Registries")]
pub struct RegistryArgs {
    /// Settings of registries, YAML (schemas/registries.schema.json describes them)
    #[arg(long, env = "IMAGE_CENSUS_REGISTRIES", value_name = "FILE")]
    pub registries: Option<PathBuf>,
    /// Whose pull secrets are used besides
    #[arg(
        long,
        env = "IMAGE_CENSUS_PULL_SECRETS",
        value_enum,
        value_name = "WHOSE",
        default_value_t = PullSecretsOf::Nobody
    )]
    pub pull_secrets: PullSecretsOf,
    /// Ask no registries but these: hosts, `*` for any text within a label, with a path for a part of one
    #[arg(
        long,
        env = "IMAGE_CENSUS_ALLOW_REGISTRY",
        value_name = "PATTERN",
        value_delimiter = ','
    )]
    pub allow_registry: Vec<RegistryPattern>,
    /// Do not ask these registries, even if they are allowed
    #[arg(
        long,
        env = "IMAGE_CENSUS_DENY_REGISTRY",
        value_name = "PATTERN",
        value_delimiter = ','
    )]
    pub deny_registry: Vec<RegistryPattern>,
    /// Let this host and port be reached whatever its name and address, also without TLS; may be given more than once
    #[arg(
        long,
        env = "IMAGE_CENSUS_ALLOW_HOST",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub allow_host: Vec<HostPort>,
    /// Images in work at once of one registry [default: half of --concurrency if there are several]
    #[arg(long, env = "IMAGE_CENSUS_REGISTRY_CONCURRENCY", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub registry_concurrency: Option<u16>,
}

impl RegistryArgs {
    /// Which registries are asked.
    pub fn allowed(&self) -> AllowedRegistries {
        AllowedRegistries {
            allow: self.allow_registry.clone(),
            deny: self.deny_registry.clone(),
        }
    }
}

/// Whose pull secrets are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PullSecretsOf {
    /// Nobody's
    #[value(name = "none")]
    Nobody,
    /// Those that pods and their service accounts name, for images of these pods; Roles must allow to get them
    Namespace,
}

/// `check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  image-census check --store s3://census/reports       cluster, crane and store
  image-census check registry.example/shop/catalog:1   with whose credentials, through which mirrors")]
pub struct CheckArgs {
    /// An image: which credentials, mirrors and hosts are used for it, and whether that works
    #[arg(value_name = "IMAGE")]
    pub image: Option<ImageReference>,
    /// How the answers are printed
    #[arg(long, env = "IMAGE_CENSUS_FORMAT", value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
    /// What it would list.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What it would inspect with.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Which registries, and with whose credentials.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Where the snapshot would write.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// How a table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// For people
    Table,
    /// For scripts
    Json,
}

/// `snapshot`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl get pods -A -o json | image-census snapshot --pods - --cluster-name prod
  image-census snapshot --store s3://census/reports --cluster-name prod --deadline 45m
  image-census snapshot --context staging --namespace shop --formats ndjson --compress zstd
  image-census snapshot --registries registries.yaml --pull-secrets namespace")]
pub struct SnapshotArgs {
    /// Take the pods from the output of `kubectl get pods -A -o json` (- for stdin) instead of a cluster
    #[arg(
        long,
        env = "IMAGE_CENSUS_PODS",
        value_name = "FILE",
        conflicts_with_all = ["context", "selector"]
    )]
    pub pods: Option<PathBuf>,
    /// Take the nodes' platforms from the output of `kubectl get nodes -o json`
    #[arg(
        long,
        env = "IMAGE_CENSUS_NODES",
        value_name = "FILE",
        requires = "pods"
    )]
    pub nodes: Option<PathBuf>,
    /// The time of the pod list, for lists of other days [default: now]
    #[arg(
        long,
        env = "IMAGE_CENSUS_SNAPSHOT_TIME",
        value_name = "RFC3339",
        requires = "pods"
    )]
    pub snapshot_time: Option<DateTime<Utc>>,
    /// The pod label or annotation that names an owner
    #[arg(long, env = "IMAGE_CENSUS_OWNER_LABEL", value_name = "KEY")]
    pub owner_label: Option<String>,
    /// Images in work at once, each with one crane process
    #[arg(long, env = "IMAGE_CENSUS_CONCURRENCY", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Inspection")]
    pub concurrency: u16,
    /// Stop inspecting after this time and write what is known
    #[arg(long, env = "IMAGE_CENSUS_DEADLINE", value_name = "TIME", value_parser = duration, help_heading = "Inspection")]
    pub deadline: Option<Duration>,
    /// Which layers are read: auto, base or all
    #[arg(
        long,
        env = "IMAGE_CENSUS_LAYERS",
        value_name = "POLICY",
        default_value = "auto",
        help_heading = "Inspection"
    )]
    pub layers: LayerPolicy,
    /// Largest layer that is read, in MiB
    #[arg(long, env = "IMAGE_CENSUS_MAX_LAYER", value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=65_536), help_heading = "Inspection")]
    pub max_layer: u64,
    /// Days before its end in which a distribution is `ending`
    #[arg(
        long,
        env = "IMAGE_CENSUS_EOL_WARN_DAYS",
        value_name = "DAYS",
        default_value_t = 90
    )]
    pub eol_warn_days: u32,
    /// Ask for everything anew instead of using what the last run knows
    #[arg(long, env = "IMAGE_CENSUS_NO_REUSE", help_heading = "Reuse")]
    pub no_reuse: bool,
    /// Oldest facts that are used; each image is renewed at an age of its own from half of this on
    #[arg(long, env = "IMAGE_CENSUS_REUSE_MAX_AGE", value_name = "TIME", default_value = "30d", value_parser = age, help_heading = "Reuse")]
    pub reuse_max_age: TimeDelta,
    /// Sign manifests with the key in this file, and reuse only runs that it has signed
    #[arg(
        long,
        env = "IMAGE_CENSUS_SIGNING_KEY_FILE",
        value_name = "FILE",
        help_heading = "Reuse"
    )]
    pub signing_key_file: Option<PathBuf>,
    /// Believe the last run although the cluster's certificate authority is another: after a renewal, once
    #[arg(
        long,
        env = "IMAGE_CENSUS_ACCEPT_NEW_CLUSTER_ID",
        help_heading = "Reuse"
    )]
    pub accept_new_cluster_id: bool,
    /// Take the ends of support from this table instead of the program's own (see `image-census eol`)
    #[arg(long, env = "IMAGE_CENSUS_EOL_DATA", value_name = "FILE")]
    pub eol_data: Option<PathBuf>,
    /// Do not rewrite `latest`
    #[arg(long, env = "IMAGE_CENSUS_NO_LATEST")]
    pub no_latest: bool,
    /// How the committed run is told of on stdout; json is its manifest
    #[arg(long, env = "IMAGE_CENSUS_FORMAT", value_enum, default_value_t = TableFormat::Table, help_heading = "Report")]
    pub format: TableFormat,
    /// Push metrics of the committed run to this Pushgateway, e.g. `http://pushgateway.monitoring:9091`
    // A text, and not shown: a mistaken one may hold a password, which clap would repeat.
    #[arg(
        long,
        env = "IMAGE_CENSUS_PUSHGATEWAY",
        value_name = "URL",
        hide_env_values = true
    )]
    pub pushgateway: Option<String>,
    /// Further formats, besides CSV and JSON
    #[arg(
        long,
        env = "IMAGE_CENSUS_FORMATS",
        value_enum,
        value_name = "FORMAT",
        value_delimiter = ',',
        help_heading = "Report"
    )]
    pub formats: Vec<FurtherFormat>,
    /// Compress CSV, JSON and NDJSON files
    #[arg(
        long,
        env = "IMAGE_CENSUS_COMPRESS",
        value_enum,
        value_name = "HOW",
        help_heading = "Report"
    )]
    pub compress: Option<Compression>,
    /// Begin CSV files with a byte order mark, for Excel
    #[arg(long, env = "IMAGE_CENSUS_CSV_BOM", help_heading = "Report")]
    pub csv_bom: bool,
    /// Exit with 3 if anything could not be inspected, or the run was cut off; what a policy leaves out is neither
    #[arg(long, env = "IMAGE_CENSUS_STRICT")]
    pub strict: bool,
    /// What to list.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What to inspect with.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Which registries, and with whose credentials.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Where to write.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// A format that is written where it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FurtherFormat {
    /// A line per container, typed, for Athena, Spark and others
    Ndjson,
    /// Containers and images as typed columns, for engines
    Parquet,
    /// A workbook for Excel and LibreOffice
    Xlsx,
    /// A page for a browser, in one file
    Html,
}

impl FurtherFormat {
    /// The files that it consists of.
    pub fn files(self) -> &'static [Format] {
        match self {
            Self::Ndjson => &[Format::Ndjson],
            Self::Parquet => &[Format::Parquet, Format::ParquetImages],
            Self::Xlsx => &[Format::Xlsx],
            Self::Html => &[Format::Html],
        }
    }
}

/// `eol`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  image-census eol
  image-census eol --format csv >eol.csv    to be changed, and given to snapshot --eol-data")]
pub struct EolArgs {
    /// Show this table instead of the program's own
    #[arg(long, env = "IMAGE_CENSUS_EOL_DATA", value_name = "FILE")]
    pub eol_data: Option<PathBuf>,
    /// How to print it; csv can be changed and given to --eol-data
    #[arg(long, env = "IMAGE_CENSUS_EOL_FORMAT", value_enum, default_value_t = EolFormat::Table)]
    pub format: EolFormat,
}

/// What `eol` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it")]
pub enum EolFormat {
    Table,
    Csv,
    Json,
}

/// `list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  image-census list --store s3://census/reports
  image-census list --max-age 26h           exits with 1 if a night was lost
  image-census list --format json | jq -r '.runs[] | select(.complete) | .run_id'")]
pub struct ListArgs {
    /// Only this cluster
    #[arg(long, env = "IMAGE_CENSUS_CLUSTER", value_name = "NAME")]
    pub cluster: Option<ClusterName>,
    /// Show each cluster's last complete run, and exit with 1 if one is older than this
    #[arg(long, env = "IMAGE_CENSUS_MAX_AGE", value_name = "TIME", value_parser = age)]
    pub max_age: Option<TimeDelta>,
    /// How the runs are printed
    #[arg(long, env = "IMAGE_CENSUS_FORMAT", value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
    /// Where to look.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// The runs of one cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "Store")]
pub struct RunsArgs {
    /// Which cluster, where the store holds several
    #[arg(long, env = "IMAGE_CENSUS_CLUSTER", value_name = "NAME")]
    pub cluster: Option<ClusterName>,
    /// Where they are.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `diff`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  image-census diff                        the newest complete run against the last of an earlier day
  image-census diff yesterday latest       two runs by name
  image-census diff 2026-11-01 2026-11-22  two days
  image-census diff old.json new.json      two reports in files
  image-census diff --cluster prod --against staging")]
pub struct DiffArgs {
    /// The earlier run, or a report in a file [default: the last complete run of an earlier day]
    pub old: Option<String>,
    /// The later run, or a report in a file [default: the newest complete run]
    pub new: Option<String>,
    /// Compare with this cluster's runs
    #[arg(
        long,
        env = "IMAGE_CENSUS_AGAINST",
        value_name = "NAME",
        requires = "cluster"
    )]
    pub against: Option<ClusterName>,
    /// Only this kind of change; may be given more than once
    #[arg(
        long,
        env = "IMAGE_CENSUS_ONLY",
        value_name = "KIND",
        value_enum,
        value_delimiter = ','
    )]
    pub only: Vec<ChangeKind>,
    /// Only this namespace; may be given more than once
    #[arg(long, env = "IMAGE_CENSUS_NAMESPACE", value_name = "NAME", value_delimiter = ',', value_parser = namespace)]
    pub namespace: Vec<String>,
    /// List Jobs without a CronJob, pods that have run to completion and debug containers, too
    #[arg(long, env = "IMAGE_CENSUS_INCLUDE_TRANSIENT")]
    pub include_transient: bool,
    /// Compare runs of different scopes, as far as both listed
    #[arg(long, env = "IMAGE_CENSUS_ALLOW_SCOPE_MISMATCH")]
    pub allow_scope_mismatch: bool,
    /// Compare although the cluster's certificate authority is another: after a renewal
    #[arg(long, env = "IMAGE_CENSUS_ACCEPT_NEW_CLUSTER_ID")]
    pub accept_new_cluster_id: bool,
    /// Exit with 4 if something changed
    #[arg(long, env = "IMAGE_CENSUS_EXIT_CODE")]
    pub exit_code: bool,
    /// How the changes are printed
    #[arg(long, env = "IMAGE_CENSUS_FORMAT", value_enum, default_value_t = DiffFormat::Table)]
    pub format: DiffFormat,
    /// Write to this file instead of stdout
    #[arg(long, short, env = "IMAGE_CENSUS_OUTPUT", value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Whose runs, and where.
    #[command(flatten)]
    pub runs: RunsArgs,
}

/// How `diff` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// For people
    Table,
    /// A row for each change and kind
    Csv,
    /// For scripts
    Json,
    /// For pull requests and chats
    Markdown,
    /// A page for a browser, in one file
    Html,
}

/// `trend`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  image-census trend                        by end-of-life status, 30 days
  image-census trend --by version --since 2026-01-01
  image-census trend --by registry --format csv --output registries.csv")]
pub struct TrendArgs {
    /// What is counted by
    #[arg(long, env = "IMAGE_CENSUS_BY", value_enum, default_value_t = By::EolStatus)]
    pub by: By,
    /// How many days, up to the last
    #[arg(long, env = "IMAGE_CENSUS_DAYS", value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=36_600), conflicts_with = "since")]
    pub days: u32,
    /// The first day
    #[arg(long, env = "IMAGE_CENSUS_SINCE", value_name = "DATE")]
    pub since: Option<NaiveDate>,
    /// The last day [default: that of the newest run]
    #[arg(long, env = "IMAGE_CENSUS_UNTIL", value_name = "DATE")]
    pub until: Option<NaiveDate>,
    /// Count runs of other scopes than the newest's, too
    #[arg(long, env = "IMAGE_CENSUS_ALLOW_SCOPE_MISMATCH")]
    pub allow_scope_mismatch: bool,
    /// How the counts are printed
    #[arg(long, env = "IMAGE_CENSUS_FORMAT", value_enum, default_value_t = TrendFormat::Table)]
    pub format: TrendFormat,
    /// Write to this file instead of stdout
    #[arg(long, short, env = "IMAGE_CENSUS_OUTPUT", value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Whose runs, and where.
    #[command(flatten)]
    pub runs: RunsArgs,
}

/// How `trend` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TrendFormat {
    /// A line a day
    Table,
    /// A row for each day and value
    Csv,
    /// For scripts
    Json,
}

/// `prune`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  image-census prune --keep-daily 30 --keep-monthly 12 --dry-run
  image-census prune --cluster prod --keep-daily 30 --keep-weekly 12 --keep-monthly 24 --keep-yearly 10

The newest run and the newest complete run are always kept. Runs that were cut off count for
--keep-last only. Runs of different scopes are judged apart. A run that is dated over a day ahead stays,
and no rule counts it.")]
pub struct PruneArgs {
    /// Keep the newest N runs
    #[arg(
        long,
        env = "IMAGE_CENSUS_KEEP_LAST",
        value_name = "N",
        default_value_t = 0
    )]
    pub keep_last: u32,
    /// Keep the newest run of each of the newest N days that have one
    #[arg(
        long,
        env = "IMAGE_CENSUS_KEEP_DAILY",
        value_name = "N",
        default_value_t = 0
    )]
    pub keep_daily: u32,
    /// The same for weeks (Monday to Sunday)
    #[arg(
        long,
        env = "IMAGE_CENSUS_KEEP_WEEKLY",
        value_name = "N",
        default_value_t = 0
    )]
    pub keep_weekly: u32,
    /// The same for months
    #[arg(
        long,
        env = "IMAGE_CENSUS_KEEP_MONTHLY",
        value_name = "N",
        default_value_t = 0
    )]
    pub keep_monthly: u32,
    /// The same for years
    #[arg(
        long,
        env = "IMAGE_CENSUS_KEEP_YEARLY",
        value_name = "N",
        default_value_t = 0
    )]
    pub keep_yearly: u32,
    /// Show what would be removed, and remove nothing
    #[arg(long, short = 'n', env = "IMAGE_CENSUS_DRY_RUN")]
    pub dry_run: bool,
    /// How it is printed
    #[arg(long, env = "IMAGE_CENSUS_FORMAT", value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
    /// Whose runs, and where.
    #[command(flatten)]
    pub runs: RunsArgs,
}

/// `get`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  image-census get latest                                        a table of what runs where
  image-census get 2026-11-22 --format csv --csv-bom --output census.csv
  image-census get yesterday --cluster prod --format workloads
  image-census get report.json.gz --format ndjson                a report that was downloaded")]
pub struct GetArgs {
    /// A run id, latest, latest~N, yesterday, a date, or a JSON report in a file
    pub run: String,
    /// What to print; what the run has no file of is made from its report
    #[arg(long, env = "IMAGE_CENSUS_FORMAT", value_enum, default_value_t = GetFormat::Table)]
    pub format: GetFormat,
    /// Begin CSV with a byte order mark, for Excel
    #[arg(long, env = "IMAGE_CENSUS_CSV_BOM")]
    pub csv_bom: bool,
    /// Write to this file instead of stdout
    #[arg(long, short, env = "IMAGE_CENSUS_OUTPUT", value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Whose runs, and where.
    #[command(flatten)]
    pub runs: RunsArgs,
}

/// What `get` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GetFormat {
    /// Namespace, pod, image and operating system
    Table,
    /// A row per container
    Csv,
    /// A row per workload, container and image
    Workloads,
    /// The report
    Json,
    /// A line per container, typed, for engines
    Ndjson,
    /// A row per container, in typed columns
    Parquet,
    /// A row per image, in typed columns
    ParquetImages,
    /// A workbook for Excel and LibreOffice
    Xlsx,
    /// A page for a browser, in one file
    Html,
    /// What changed since the last complete run of an earlier day
    Diff,
    /// The run's manifest
    Manifest,
}

impl GetFormat {
    /// The file of the run that it is made of.
    pub fn file(self) -> Format {
        match self {
            Self::Table | Self::Csv => Format::Csv,
            Self::Workloads => Format::Workloads,
            Self::Json => Format::Json,
            Self::Ndjson => Format::Ndjson,
            Self::Parquet => Format::Parquet,
            Self::ParquetImages => Format::ParquetImages,
            Self::Xlsx => Format::Xlsx,
            Self::Html => Format::Html,
            Self::Diff => Format::Diff,
            Self::Manifest => Format::Manifest,
        }
    }
}

/// A namespace's name becomes a part of a path: RFC 1123 labels only, as Kubernetes has them.
fn namespace(text: &str) -> Result<String, &'static str> {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let valid = (1..=63).contains(&text.len())
        && text.bytes().all(|b| word(b) || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if valid {
        Ok(text.into())
    } else {
        Err("a namespace's name is 1 to 63 of a-z, 0-9 and inner dashes")
    }
}
