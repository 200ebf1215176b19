//! Both CSV files (RFC 4180, UTF-8, comma): a row per container, and a row per workload, container
//! and image with the number of pods.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{
    CONTAINER_COLUMNS, Chunk, Column, ContainerRow, Header, ImageRecord, Report, WORKLOAD_COLUMNS,
    cell, chunked, format_time,
};

/// Encodes the CSV with a row per container.
pub fn container_rows(report: &Report) -> impl Iterator<Item = Chunk> + '_ {
    let rows = report.containers.iter();
    chunked(head(CONTAINER_COLUMNS), rows, b"", move |row, bytes| {
        let row = Row {
            report,
            container: row,
            pods: 1,
            pods_running: 0,
        };
        encode(CONTAINER_COLUMNS, &row, bytes);
    })
}

/// Encodes the CSV with a row per workload, container and image.
pub fn workload_rows(report: &Report) -> impl Iterator<Item = Chunk> + '_ {
    let rows = workloads(report);
    chunked(head(WORKLOAD_COLUMNS), rows, b"", |row, bytes| {
        encode(WORKLOAD_COLUMNS, row, bytes);
    })
}

/// A row per workload, container and image, in the order of the containers.
pub(super) fn workloads(report: &Report) -> impl Iterator<Item = Row<'_>> {
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

/// A row of either file.
pub(super) struct Row<'a> {
    report: &'a Report,
    /// The container; of several alike the first.
    pub(super) container: &'a ContainerRow,
    /// Pods with this container and image.
    pub(super) pods: u64,
    /// Those of them in phase Running.
    pub(super) pods_running: u64,
}

fn head(columns: &[Column]) -> Vec<u8> {
    let names: Vec<_> = columns.iter().map(|column| column.name).collect();
    format!("{}\r\n", names.join(",")).into_bytes()
}

fn encode(columns: &[Column], row: &Row<'_>, bytes: &mut Vec<u8>) {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(bytes);
    let cells = columns
        .iter()
        .map(|column| value(column.name, row).unwrap_or_default());
    let cells: Vec<_> = cells.collect();
    // Writing to a Vec cannot fail, and each row has as many cells as the head.
    let written = writer.write_record(cells.iter().map(|text| text.as_bytes()));
    debug_assert!(written.is_ok());
}

/// The cell of a column; `None` is an empty cell.
fn value<'a>(column: &str, row: &Row<'a>) -> Option<Cow<'a, str>> {
    let container = row.container;
    let header: &'a Header = &row.report.header;
    let image: &'a ImageRecord = row.report.images.get(container.image_index)?;
    let distribution = image.distribution.as_ref();
    let text = |text: &'a str| Some(cell(text));
    let owned = |text: String| Some(Cow::Owned(text));
    match column {
        "run_id" => text(&header.run_id),
        "snapshot_time" => owned(format_time(&header.snapshot_time)),
        "cluster_name" => text(&header.cluster_name),
        "namespace" => text(&container.namespace),
        "workload_kind" => text(&container.workload_kind),
        "workload_name" => text(&container.workload_name),
        "pod" => text(&container.pod),
        "pod_phase" => text(container.pod_phase.as_deref()?),
        "node" => text(container.node.as_deref()?),
        "container" => text(&container.container),
        "container_type" => owned(container.container_type.name()),
        "owner" => text(container.owner.as_deref()?),
        "pods" => owned(row.pods.to_string()),
        "pods_running" => owned(row.pods_running.to_string()),
        "image" => text(&container.image),
        "registry" => text(image.registry.as_deref()?),
        "repository" => text(image.repository.as_deref()?),
        "tag" => text(container.tag.as_deref()?),
        "digest" => owned(image.digest?.to_string()),
        "digest_source" => owned(container.digest_source?.name()),
        "manifest_digest" => owned(image.manifest_digest?.to_string()),
        "image_id" => text(container.image_id.as_deref()?),
        "platform" => owned(cell(&image.platform.to_string()).into_owned()),
        "platform_source" => owned(container.platform_source.name()),
        "os" => text(image.os.as_deref()?),
        "architecture" => text(image.architecture.as_deref()?),
        "os_version" => text(image.os_version.as_deref()?),
        "distro_id" => text(distribution?.id.as_deref()?),
        "distro_version" => text(distribution?.version.as_deref()?),
        "distro_name" => text(distribution?.name.as_deref()?),
        "distro_release" => text(image.distro_release.as_deref()?),
        "distro_source" => text(image.distro_source.as_deref()?),
        "eol_status" => owned(image.eol_status?.to_string()),
        "eol_date" => owned(image.eol_date?.to_string()),
        "eol_extended_date" => owned(image.eol_extended_date?.to_string()),
        "base_image" => text(image.base_image.as_deref()?),
        "base_image_source" => text(image.base_image_source.as_deref()?),
        "image_created" => owned(format_time(&image.created?)),
        "image_size_bytes" => owned(image.size_bytes?.to_string()),
        "image_user" => text(image.user.as_deref()?),
        "inspection_status" => owned(image.inspection_status.name()),
        "error_kind" => owned(image.error_kind?.name()),
        "error_message" => text(image.error_message.as_deref()?),
        "inspected_via" => text(image.inspected_via.as_deref()?),
        "inspected_at" => owned(format_time(&image.inspected_at?)),
        _ => {
            debug_assert!(false, "no value for column {column}");
            None
        }
    }
}
