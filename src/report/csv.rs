//! Both CSV files (RFC 4180, UTF-8, comma): a row per container, and a row per workload, container
//! and image with the number of pods.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::value::{Row, Value};
use super::{
    CONTAINER_COLUMNS, Chunk, Column, ContainerRow, Report, WORKLOAD_COLUMNS, cell, chunked,
};

/// Encodes the CSV with a row per container.
pub fn container_rows(report: &Report) -> impl Iterator<Item = Chunk> + '_ {
    let rows = report.containers.iter();
    chunked(head(CONTAINER_COLUMNS), rows, b"", move |row, bytes| {
        encode(CONTAINER_COLUMNS, &Row::of(report, row), bytes);
    })
}

/// Encodes the CSV with a row per workload, container and image.
pub fn workload_rows(report: &Report) -> impl Iterator<Item = Chunk> + '_ {
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
    let rows = report.containers.chunk_by(same).flat_map(move |group| {
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
    });
    chunked(head(WORKLOAD_COLUMNS), rows, b"", |row, bytes| {
        encode(WORKLOAD_COLUMNS, row, bytes);
    })
}

fn head(columns: &[Column]) -> Vec<u8> {
    let names: Vec<_> = columns.iter().map(|column| column.name).collect();
    format!("{}\r\n", names.join(",")).into_bytes()
}

fn encode(columns: &[Column], row: &Row<'_>, bytes: &mut Vec<u8>) {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(bytes);
    let cells = columns.iter().map(|column| match row.value(column.name) {
        Some(Value::Text(Cow::Borrowed(text))) => cell(text),
        Some(value) => cell(&value.to_string()).into_owned().into(),
        None => Cow::default(),
    });
    let cells: Vec<_> = cells.collect();
    // Writing to a Vec cannot fail, and each row has as many cells as the head.
    let written = writer.write_record(cells.iter().map(|text| text.as_bytes()));
    debug_assert!(written.is_ok());
}
