//! A report as flat rows, a value for each column: what CSV, NDJSON and the like are written from.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

use super::{ContainerRow, Header, ImageRecord, Report};

/// The value of a column, as it was learned: how it is made safe and written is the format's matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Of pods, images and registries: anything.
    Text(Cow<'a, str>),
    /// Of ours: a name of a closed list, or a digest.
    Name(String),
    /// A number.
    Integer(u64),
    /// A day.
    Date(NaiveDate),
    /// A time, to the second.
    Time(DateTime<Utc>),
}

/// A row: a container, or a container of a workload with its image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    report: &'a Report,
    pub(super) container: &'a ContainerRow,
    /// How many pods it stands for.
    pub(super) pods: u64,
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
        use Value::{Date, Integer, Name, Text, Time};
        let container = self.container;
        let header: &'a Header = &self.report.header;
        let image = self.image()?;
        let distribution = image.distribution.as_ref();
        let text = |text: &'a str| Some(Text(Cow::Borrowed(text)));
        let name = |name: String| Some(Name(name));
        match column {
            "run_id" => text(&header.run_id),
            "snapshot_time" => Some(Time(header.snapshot_time)),
            "cluster_name" => text(&header.cluster_name),
            "namespace" => text(&container.namespace),
            "workload_kind" => text(&container.workload_kind),
            "workload_name" => text(&container.workload_name),
            "pod" => text(&container.pod),
            "pod_phase" => text(container.pod_phase.as_deref()?),
            "node" => text(container.node.as_deref()?),
            "container" => text(&container.container),
            "container_type" => name(container.container_type.name()),
            "owner" => text(container.owner.as_deref()?),
            "pods" => Some(Integer(self.pods)),
            "pods_running" => Some(Integer(self.pods_running)),
            "image" => text(&container.image),
            "registry" => text(image.registry.as_deref()?),
            "repository" => text(image.repository.as_deref()?),
            "tag" => text(container.tag.as_deref()?),
            "digest" => name(image.digest?.to_string()),
            "digest_source" => name(container.digest_source?.name()),
            "manifest_digest" => name(image.manifest_digest?.to_string()),
            "image_id" => text(container.image_id.as_deref()?),
            "platform" => Some(Text(image.platform.to_string().into())),
            "platform_source" => name(container.platform_source.name()),
            "os" => text(image.os.as_deref()?),
            "architecture" => text(image.architecture.as_deref()?),
            "os_version" => text(image.os_version.as_deref()?),
            "distro_id" => text(distribution?.id.as_deref()?),
            "distro_version" => text(distribution?.version.as_deref()?),
            "distro_name" => text(distribution?.name.as_deref()?),
            "distro_release" => text(image.distro_release.as_deref()?),
            "distro_source" => text(image.distro_source.as_deref()?),
            "eol_status" => name(image.eol_status?.to_string()),
            "eol_date" => Some(Date(image.eol_date?)),
            "eol_extended_date" => Some(Date(image.eol_extended_date?)),
            "base_image" => text(image.base_image.as_deref()?),
            "base_image_source" => text(image.base_image_source.as_deref()?),
            "image_created" => Some(Time(image.created?)),
            "image_size_bytes" => Some(Integer(image.size_bytes?)),
            "image_user" => text(image.user.as_deref()?),
            "inspection_status" => name(image.inspection_status.name()),
            "error_kind" => name(image.error_kind?.name()),
            "error_message" => text(image.error_message.as_deref()?),
            "inspected_via" => text(image.inspected_via.as_deref()?),
            "inspected_at" => Some(Time(image.inspected_at?)),
            _ => {
                debug_assert!(false, "no value for column {column}");
                None
            }
        }
    }
}
