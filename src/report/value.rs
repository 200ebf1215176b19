//! What stands in a column: a typed value that each format writes in its own way.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};

use super::{ContainerRow, Header, ImageRecord, Report, format_time};

/// A value of a column. Texts are those of pods, images and registries, as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Text(Cow<'a, str>),
    Integer(u64),
    Boolean(bool),
    Date(NaiveDate),
    Time(DateTime<Utc>),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(truth) => truth.fmt(f),
            Self::Date(date) => date.fmt(f),
            Self::Time(time) => f.write_str(&format_time(time)),
        }
    }
}

fn text(text: &str) -> Option<Value<'_>> {
    Some(Value::Text(text.into()))
}

fn name<'a>(name: String) -> Option<Value<'a>> {
    Some(Value::Text(name.into()))
}

/// A row of a table of containers or workloads.
pub(crate) struct Row<'a> {
    pub(crate) report: &'a Report,
    pub(crate) container: &'a ContainerRow,
    pub(crate) pods: u64,
    pub(crate) pods_running: u64,
}

impl<'a> Row<'a> {
    /// A row for a container alone.
    pub(crate) fn of(report: &'a Report, container: &'a ContainerRow) -> Self {
        Self {
            report,
            container,
            pods: 1,
            pods_running: 0,
        }
    }

    /// The value of a column of `CONTAINER_COLUMNS` or `WORKLOAD_COLUMNS`; `None` is an empty cell.
    pub(crate) fn value(&self, column: &str) -> Option<Value<'a>> {
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
            _ => {
                let image = self.report.images.get(container.image_index)?;
                of_image(&self.report.header, image, column)
            }
        }
    }
}

/// A row of a table of images.
pub(crate) struct ImageRow<'a> {
    pub(crate) header: &'a Header,
    pub(crate) image: &'a ImageRecord,
    /// Its place in the report.
    pub(crate) place: usize,
    pub(crate) containers: u64,
}

impl<'a> ImageRow<'a> {
    /// The value of a column of `IMAGE_COLUMNS`; `None` is an empty cell.
    pub(crate) fn value(&self, column: &str) -> Option<Value<'a>> {
        match column {
            "containers" => Some(Value::Integer(self.containers)),
            _ => of_image(self.header, self.image, column),
        }
    }
}

/// The images of a report, in its order, and how many of its containers have each: none has one that is
/// carried from earlier runs.
pub(crate) fn image_rows(report: &Report) -> impl Iterator<Item = ImageRow<'_>> {
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
        "platform" => name(image.platform.to_string()),
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
