//! `snapshot`: pods → distinct images → facts → report → commit.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::eol::eol_table;
use super::summary::summarise;
use super::{
    Outcome, UsageError, cluster_name, connect, credentials, engine_settings, open_store,
    registry_settings, start_engine,
};
use crate::cli::{SnapshotArgs, TableFormat};
use crate::cluster::Cluster;
use crate::diff::{Diff, DiffOptions, Side, compare};
use crate::history::{self, SigningKey, Trust, knowledge, last_comparable};
use crate::inspect::{Inspector, InspectorSettings, Plan, join};
use crate::metrics::{AddressError, Pushgateway, exposition};
use crate::os::{EolTable, RULES_VERSION, ScanLimits};
use crate::pod::{ListItem, read_list};
use crate::registry::Engine;
use crate::report::{
    ChangeCounts, Chunk, Completeness, ContainerRow, Counts, FileEntry, Header, ImageRecord,
    InspectionStatus, Manifest, Night, Report, SCHEMA_VERSION, Surroundings, Versions, encode,
    plain,
};
use crate::reuse::{Knowledge, Reuse};
use crate::snapshot::{ClusterSnapshot, RowOptions, SnapshotBuilder};
use crate::storage::{Format, RunId, RunKey, Store, latest_key, upload};

/// Takes a snapshot and commits its report. `interrupted` is cancelled by the first signal.
pub async fn snapshot(
    arguments: &SnapshotArgs,
    interrupted: CancellationToken,
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    let started = tokio::time::Instant::now();
    let eol = eol_table(arguments.eol_data.as_deref())?;
    let pushgateway = pushgateway(arguments.pushgateway.as_deref())?;
    let store = open_store(&arguments.store).await?;
    let cluster_name = cluster_name(&arguments.cluster)?;
    let signing_key = arguments.signing_key_file.as_deref().map(SigningKey::read);
    let signing_key = signing_key
        .transpose()
        .map_err(|error| UsageError::caused_by(&error))?;
    // A time that is given says nothing about the order of runs that are given the same one.
    let run = match arguments.snapshot_time {
        Some(time) => RunId::new(time, random_suffix()?),
        None => RunId::starting(Utc::now()),
    };
    let time = run.time();
    let source = match arguments.pods.as_deref() {
        Some(pods) => Source::Read(read_pods(pods, arguments)?),
        None => Source::Live(Box::new(connect(&arguments.cluster).await?)),
    };
    let live = match &source {
        Source::Live(cluster) => Some(&**cluster),
        Source::Read(_) => None,
    };
    let registries = registry_settings(&arguments.registry)?;
    let credentials = credentials(arguments.registry.pull_secrets, &registries, live)?;

    let key = RunKey {
        run,
        cluster: cluster_name,
    };
    store.probe(&key.object(Format::Manifest)).await?;
    let stop = CancellationToken::new();
    let (engine, registry) = (&arguments.engine, &arguments.registry);
    let settings = engine_settings(
        engine,
        registry,
        arguments.max_layer << 20,
        registries,
        live,
    )
    .await;
    let list = async {
        match source {
            Source::Read(snapshot) => Ok(snapshot),
            Source::Live(cluster) => tokio::select! {
                snapshot = cluster.snapshot(arguments.cluster.scope(), row_options(arguments)) => Ok(snapshot?),
                () = interrupted.cancelled() => anyhow::bail!("interrupted while the pods were listed: no report"),
            },
        }
    };
    let start = start_engine(settings, credentials, stop.clone());
    // crane is seen to work while the API server is at its list.
    let (engine, cluster) = tokio::try_join!(start, list)?;
    let plan = Plan::of(&cluster);
    tracing::info!(
        pods = cluster.pod_count,
        containers = cluster.containers.len(),
        images = plan.targets.len(),
        "listed"
    );

    let crane_version = engine.crane_version().map(ToOwned::to_owned);
    let eol_data = eol.as_of;
    if eol.is_stale(time.date_naive()) {
        tracing::warn!(as_of = %eol_data, "the end-of-life table is over 180 days old: use a newer release, or --eol-data");
    }
    let trust = Trust {
        key: signing_key,
        cluster_id: cluster.cluster_id.clone(),
        accept_new_cluster_id: arguments.accept_new_cluster_id,
    };
    let known = if arguments.no_reuse {
        Knowledge::default()
    } else {
        let reuse = Reuse {
            now: time,
            max_age: arguments.reuse_max_age,
            layers: arguments.layers,
        };
        knowledge(store.as_ref(), &key, &trust, reuse).await
    };
    let inspector = Inspector::new(engine, inspector_settings(arguments, eol, time), known);
    let cut_off = tokio::spawn(watch(
        stop,
        interrupted,
        arguments.deadline.map(|deadline| started + deadline),
    ));
    let images = inspect(&inspector, &plan).await;
    cut_off.abort();
    let reason = cut_off.await.ok();

    let header = Header {
        schema_version: SCHEMA_VERSION.into(),
        run_id: key.run.to_string(),
        cluster_name: key.cluster.to_string(),
        cluster_id: cluster.cluster_id.clone(),
        snapshot_time: time,
        scope: cluster.scope.clone(),
        versions: Versions {
            program: env!("CARGO_PKG_VERSION").into(),
            engine: arguments.engine.engine,
            crane: crane_version,
            detection_rules: RULES_VERSION,
            layers: arguments.layers,
            eol_data,
        },
        completeness: Completeness {
            complete: reason.is_none(),
            reason: reason.map(Into::into),
        },
    };
    let pods = cluster.pod_count;
    let carried = inspector.carried(&images);
    let report = join(header, cluster, plan, images, carried, inspector.layers());
    let run = Run {
        store: store.as_ref(),
        key,
        trust,
        arguments,
    };
    let (manifest, diff) = run.commit(&report, pods).await?;
    tracing::info!(
        run_id = %run.key.run,
        containers = manifest.counts.containers,
        images = manifest.counts.images,
        not_inspected = manifest.counts.not_inspected,
        not_inspected_by = ?manifest.counts.reasons(),
        complete = manifest.header.completeness.complete,
        reason = manifest.header.completeness.reason.as_deref(),
        "committed"
    );
    if let Some(pushgateway) = &pushgateway {
        push(pushgateway, &run.key, &manifest, started.elapsed()).await;
    }
    match arguments.format {
        TableFormat::Json => writeln!(out, "{:#}", serde_json::json!(manifest))?,
        TableFormat::Table => {
            summarise(run.store, &run.key, &report, &manifest, diff.as_ref(), out)?;
        }
    }
    let lacks = |row: &ContainerRow| {
        let image = report.images.get(row.image_index);
        image.is_some_and(|image| {
            use InspectionStatus::{Failed, Partial};
            matches!(image.inspection_status, Failed | Partial)
        })
    };
    let incomplete = !report.header.completeness.complete || report.containers.iter().any(lacks);
    Ok(if arguments.strict && incomplete {
        Outcome::Incomplete
    } else {
        Outcome::Done
    })
}

fn pushgateway(address: Option<&str>) -> Result<Option<Pushgateway>, UsageError> {
    let parsed = address.map(str::parse).transpose();
    parsed.map_err(|error: AddressError| UsageError(format!("--pushgateway: {error}")))
}

/// Tells the Pushgateway. The report is committed: that this fails is no failure of the run.
async fn push(pushgateway: &Pushgateway, key: &RunKey, manifest: &Manifest, took: Duration) {
    let host = pushgateway.host();
    let metrics = match exposition(manifest, took) {
        Ok(metrics) => metrics,
        Err(error) => {
            tracing::warn!(%error, "the report is committed, but no metrics could be made of it");
            return;
        }
    };
    match pushgateway.push(&key.cluster, metrics).await {
        Ok(()) => tracing::info!(host, "metrics pushed"),
        Err(error) => tracing::warn!(
            host,
            status = error.status(),
            "the report is committed, but its metrics were not pushed: {error}"
        ),
    }
}

/// Where the pods come from: a file that was read, or a cluster that is still to be listed.
enum Source {
    Read(ClusterSnapshot),
    Live(Box<Cluster>),
}

fn row_options(arguments: &SnapshotArgs) -> RowOptions {
    RowOptions {
        owner_label: arguments.owner_label.clone(),
        default_platform: arguments.cluster.default_platform.clone(),
    }
}

fn inspector_settings(
    arguments: &SnapshotArgs,
    eol: EolTable,
    now: DateTime<Utc>,
) -> InspectorSettings {
    InspectorSettings {
        layers: arguments.layers,
        scan_limits: ScanLimits {
            max_compressed_bytes: arguments.max_layer << 20,
            ..ScanLimits::default()
        },
        concurrency: arguments.concurrency.into(),
        allowed: arguments.registry.allowed(),
        registry_concurrency: arguments.registry.registry_concurrency.map(Into::into),
        eol,
        eol_warn_days: arguments.eol_warn_days,
        now,
    }
}

fn read_pods(pods: &Path, arguments: &SnapshotArgs) -> Result<ClusterSnapshot, UsageError> {
    let mut builder = SnapshotBuilder::new(arguments.cluster.scope(), row_options(arguments));
    if let Some(nodes) = &arguments.nodes {
        read_file(nodes, |node| builder.add_node(node))?;
    }
    read_file(pods, |pod| builder.add_pod(pod))?;
    Ok(builder.finish(None))
}

fn read_file<T: ListItem>(path: &Path, each: impl FnMut(T)) -> Result<(), UsageError> {
    let name = if path == Path::new("-") {
        "standard input".into()
    } else {
        path.display().to_string()
    };
    let name = plain(&name).into_owned();
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(
            File::open(path)
                .map_err(|error| UsageError(format!("could not read {name}: {error}")))?,
        )
    };
    read_list(reader, each)
        .map_err(|error| UsageError(format!("could not read {} from {name}: {error}", T::PLURAL)))
}

/// Ends the inspection at the deadline or the first signal, and says which it was.
async fn watch(
    stop: CancellationToken,
    interrupted: CancellationToken,
    deadline: Option<tokio::time::Instant>,
) -> &'static str {
    let at_deadline = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    let reason = tokio::select! {
        () = at_deadline => "deadline",
        () = interrupted.cancelled() => "signal",
    };
    stop.cancel();
    tracing::warn!(
        reason,
        "inspection ends here; the report is written with what is known"
    );
    reason
}

async fn inspect(inspector: &Inspector<Engine>, plan: &Plan) -> Vec<ImageRecord> {
    let progress = if std::io::stderr().is_terminal() {
        ProgressBar::new(plan.targets.len() as u64)
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) =
        ProgressStyle::with_template("inspecting {bar:30} {pos}/{len} images, {eta} left")
    {
        progress.set_style(style);
    }
    let images = inspector
        .inspect(&plan.targets, |image| {
            progress.inc(1);
            if let (Some(kind), InspectionStatus::Failed) =
                (image.error_kind, image.inspection_status)
            {
                let registry = plain(image.registry.as_deref().unwrap_or_default()).into_owned();
                tracing::debug!(registry, kind = kind.name(), "could not be inspected");
            }
        })
        .await;
    progress.finish_and_clear();
    images
}

fn random_suffix() -> anyhow::Result<u16> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system has no randomness: {error}"))?;
    Ok(u16::from_le_bytes(bytes))
}

/// A run on its way into a store.
struct Run<'a> {
    store: &'a dyn Store,
    key: RunKey,
    trust: Trust,
    arguments: &'a SnapshotArgs,
}

impl Run<'_> {
    /// Writes the files, then the manifest that makes the run exist.
    async fn commit(
        &self,
        report: &Report,
        pods: usize,
    ) -> anyhow::Result<(Manifest, Option<Diff>)> {
        let Self {
            store, key, trust, ..
        } = self;
        let mut files = Vec::new();
        for format in [Format::Csv, Format::Workloads, Format::Json] {
            files.push(self.write(format, report, &Surroundings::default()).await?);
        }
        let diff = self.write_diff(report).await.unwrap_or_else(|error| {
            tracing::warn!("the report has no diff: {error:#}");
            None
        });
        let diff = diff.map(|(diff, file)| {
            files.push(file);
            diff
        });
        let counts = Counts::of(report, pods);
        files.extend(self.write_further(report, diff.as_ref(), &counts).await);
        let manifest = Manifest {
            header: report.header.clone(),
            files,
            counts,
            changes: diff.as_ref().map(|diff| ChangeCounts {
                against: diff.old.run_id.clone(),
                by_kind: diff
                    .counts
                    .iter()
                    .map(|(kind, count)| (kind.name().into(), *count))
                    .collect(),
            }),
            signature: None,
        };
        let mut line = serde_json::to_vec(&manifest).context("could not encode the manifest")?;
        line.push(b'\n');
        if let Some(key) = &trust.key {
            key.sign(&mut line);
        }
        let line = std::iter::once(Ok(Chunk::new(line, 0)));
        upload(*store, key, Format::Manifest, None, line).await?;
        if !self.arguments.no_latest {
            self.write_latest().await;
        }
        Ok((manifest, diff))
    }

    async fn write(
        &self,
        format: Format,
        report: &Report,
        surroundings: &Surroundings<'_>,
    ) -> anyhow::Result<FileEntry> {
        let arguments = self.arguments;
        let chunks = encode(format, report, surroundings, arguments.csv_bom);
        let chunks = chunks.context("this is no format of a report")?;
        Ok(upload(self.store, &self.key, format, arguments.compress, chunks).await?)
    }

    /// Writes the further formats. That one fails is a warning: the report has all facts.
    async fn write_further(
        &self,
        report: &Report,
        changes: Option<&Diff>,
        counts: &Counts,
    ) -> Vec<FileEntry> {
        let mut files = Vec::new();
        let formats = self.arguments.formats.iter();
        let formats: BTreeSet<_> = formats.flat_map(|format| format.files()).collect();
        let nights = if formats.iter().any(|format| format.shows_nights()) {
            self.nights(report, counts).await
        } else {
            Vec::new()
        };
        let surroundings = Surroundings {
            changes,
            nights: &nights,
        };
        for format in formats {
            match self.write(*format, report, &surroundings).await {
                Ok(file) => files.push(file),
                Err(error) => tracing::warn!(
                    format = format.name(),
                    "the report lacks a format: {error:#}"
                ),
            }
        }
        files
    }

    /// The nights that a page shows: this one alone if the earlier ones cannot be read.
    async fn nights(&self, report: &Report, counts: &Counts) -> Vec<Night> {
        let scope = &report.header.scope;
        let nights = history::nights(self.store, &self.key, scope, counts.clone()).await;
        nights.unwrap_or_else(|error| {
            tracing::warn!("earlier nights are not shown: {error}");
            vec![Night {
                date: self.key.run.date(),
                counts: counts.clone(),
            }]
        })
    }

    /// Compares with the last complete run of an earlier day, if there is one.
    async fn write_diff(&self, report: &Report) -> anyhow::Result<Option<(Diff, FileEntry)>> {
        let Self {
            store, key, trust, ..
        } = self;
        let Some(old) = last_comparable(*store, key, &report.header, trust).await? else {
            return Ok(None);
        };
        let new = Side::of(report);
        let Some(diff) = compare(&old, &new, &DiffOptions::default()) else {
            return Ok(None);
        };
        let surroundings = Surroundings {
            changes: Some(&diff),
            nights: &[],
        };
        let file = self.write(Format::Diff, report, &surroundings).await?;
        Ok(Some((diff, file)))
    }

    async fn write_latest(&self) {
        let Self { store, key, .. } = self;
        let latest = serde_json::json!({"run_id": key.run.to_string(), "manifest": key.object(Format::Manifest)});
        let written = store
            .replace(&latest_key(&key.cluster), format!("{latest}\n").as_bytes())
            .await;
        if let Err(error) = written {
            tracing::warn!("the report is committed, but latest is not up to date: {error}");
        }
    }
}
