//! A report as flat rows, a value for each column: what CSV, NDJSON and the like are written from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};

use super::{ContainerRow, Header, ImageRecord, Report, format_time};

/// The value of a column, as it was learned: how it is made safe and written is the format's matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Of pods, images and registries: anything.
    Text(Cow<'a, str>),
    /// Of ours: a name of a closed list, or a digest.
    Name(String),
    /// A number.
    Integer(u64),
    /// Yes or no.
    Boolean(bool),
    /// A day.
    Date(NaiveDate),
    /// A time, to the second.
    Time(DateTime<Utc>),
}

/// As CSV has it, but for what makes a cell of a text.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Name(name) => f.write_str(name),
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(truth) => truth.fmt(f),
            Self::Date(date) => date.fmt(f),
            Self::Time(time) => f.write_str(&format_time(time)),
        }
    }
}

/// A row: a container, or a container of a workload with its image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    report: &'a Report,
    container: &'a ContainerRow,
    /// How many pods it stands for.
    pods: u64,
    pods_running: u64,
}

/// A row for each container, in the report's order.
pub(super) fn container_rows(report: &Report) -> impl Iterator<Item = Row<'_>> {
    report.containers.iter().map(move |container| Row {
        report,
        container,
        pods: 1,
        pods_running: 0,
    })
}

/// A row for each workload, container and image, in the report's order.
pub(super) fn workload_rows(report: &Report) -> impl Iterator<Item = Row<'_>> {
    fn key(row: &ContainerRow) -> impl PartialEq + '_ {
        (
            &row.namespace,
            &row.workload_kind,
            &row.workload_name,
            row.container_type,
            &row.container,
        )
    }
    let same = |a: &ContainerRow, b: &ContainerRow| key(a) == key(b);
    report.containers.chunk_by(same).flat_map(move |group| {
        let mut images = BTreeMap::<_, Row<'_>>::new();
        for container in group {
            let key = (&container.image, container.image_index, &container.owner);
            let row = images.entry(key).or_insert(Row {
                report,
                container,
                pods: 0,
                pods_running: 0,
            });
            row.pods += 1;
            row.pods_running += u64::from(container.pod_phase.as_deref() == Some("Running"));
        }
        images.into_values()
    })
}

impl<'a> Row<'a> {
    /// The image that it runs.
    fn image(&self) -> Option<&'a ImageRecord> {
        self.report.images.get(self.container.image_index)
    }

    /// The value of a column; `None` where it is not known.
    pub(super) fn value(&self, column: &str) -> Option<Value<'a>> {
        let container = self.container;
        match column {
            "namespace" => text(&container.namespace),
            "workload_kind" => text(&container.workload_kind),
            "workload_name" => text(&container.workload_name),
            "pod" => text(&container.pod),
            "pod_phase" => text(container.pod_phase.as_deref()?),
            "node" => text(container.node.as_deref()?),
            "container" => text(&container.container),
            "container_type" => name(container.container_type.name()),
            "owner" => text(container.owner.as_deref()?),
            "pods" => Some(Value::Integer(self.pods)),
            "pods_running" => Some(Value::Integer(self.pods_running)),
            "image" => text(&container.image),
            "tag" => text(container.tag.as_deref()?),
            "digest_source" => name(container.digest_source?.name()),
            "image_id" => text(container.image_id.as_deref()?),
            "platform_source" => name(container.platform_source.name()),
            _ => of_image(&self.report.header, self.image()?, column),
        }
    }
}

/// A row of a table of images.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageRow<'a> {
    header: &'a Header,
    pub(super) image: &'a ImageRecord,
    /// Its place in the report.
    pub(super) place: usize,
    /// How many containers have it.
    pub(super) containers: u64,
}

/// A row for each image, in the report's order: also for those that are carried from earlier runs,
/// which no container has.
pub(super) fn image_rows(report: &Report) -> impl Iterator<Item = ImageRow<'_>> {
    let mut counts = vec![0; report.images.len()];
    for container in &report.containers {
        if let Some(count) = counts.get_mut(container.image_index) {
            *count += 1;
        }
    }
    let images = report.images.iter().zip(counts).enumerate();
    images.map(|(place, (image, containers))| ImageRow {
        header: &report.header,
        image,
        place,
        containers,
    })
}

impl<'a> ImageRow<'a> {
    /// The value of a column; `None` where it is not known.
    pub(super) fn value(&self, column: &str) -> Option<Value<'a>> {
        match column {
            "containers" => Some(Value::Integer(self.containers)),
            _ => of_image(self.header, self.image, column),
        }
    }
}

fn text(text: &str) -> Option<Value<'_>> {
    Some(Value::Text(Cow::Borrowed(text)))
}

fn name<'a>(name: String) -> Option<Value<'a>> {
    Some(Value::Name(name))
}

fn of_image<'a>(header: &'a Header, image: &'a ImageRecord, column: &str) -> Option<Value<'a>> {
    let distribution = image.distribution.as_ref();
    match column {
        "run_id" => text(&header.run_id),
        "snapshot_time" => Some(Value::Time(header.snapshot_time)),
        "cluster_name" => text(&header.cluster_name),
        "registry" => text(image.registry.as_deref()?),
        "repository" => text(image.repository.as_deref()?),
        "tag" => text(image.tag.as_deref()?),
        "digest" => name(image.digest?.to_string()),
        "manifest_digest" => name(image.manifest_digest?.to_string()),
        "config_digest" => name(image.config_digest?.to_string()),
        "platform" => Some(Value::Text(image.platform.to_string().into())),
        "os" => text(image.os.as_deref()?),
        "architecture" => text(image.architecture.as_deref()?),
        "variant" => text(image.variant.as_deref()?),
        "os_version" => text(image.os_version.as_deref()?),
        "distro_id" => text(distribution?.id.as_deref()?),
        "distro_version" => text(distribution?.version.as_deref()?),
        "distro_name" => text(distribution?.name.as_deref()?),
        "distro_release" => text(image.distro_release.as_deref()?),
        "distro_source" => text(image.distro_source.as_deref()?),
        "distribution_layer" => name(image.distribution_layer?.to_string()),
        "distribution_certain" => Some(Value::Boolean(image.distribution_certain)),
        "eol_status" => name(image.eol_status?.to_string()),
        "eol_date" => Some(Value::Date(image.eol_date?)),
        "eol_extended_date" => Some(Value::Date(image.eol_extended_date?)),
        "base_image" => text(image.base_image.as_deref()?),
        "base_image_source" => text(image.base_image_source.as_deref()?),
        "image_created" => Some(Value::Time(image.created?)),
        "image_size_bytes" => Some(Value::Integer(image.size_bytes?)),
        "image_user" => text(image.user.as_deref()?),
        "inspection_status" => name(image.inspection_status.name()),
        "error_kind" => name(image.error_kind?.name()),
        "error_message" => text(image.error_message.as_deref()?),
        "inspected_via" => text(image.inspected_via.as_deref()?),
        "inspected_at" => Some(Value::Time(image.inspected_at?)),
        "waiting_since" => Some(Value::Time(image.waiting_since?)),
        "last_seen" => Some(Value::Time(image.last_seen?)),
        _ => {
            debug_assert!(false, "no value for column {column}");
            None
        }
    }
}
