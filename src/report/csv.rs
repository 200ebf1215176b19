//! Both CSV files (RFC 4180, UTF-8, comma): a row per container, and a row per workload, container
//! and image with the number of pods.

use std::borrow::Cow;

use super::rows::{Row, Value, container_rows, workload_rows};
use super::{CONTAINER_COLUMNS, Chunk, Column, Report, WORKLOAD_COLUMNS, cell, chunked};

/// Tells Excel that a file is UTF-8.
pub const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Encodes the CSV with a row per container; with a byte order mark for Excel, if it is wanted.
pub(super) fn container_csv(report: &Report, with_mark: bool) -> impl Iterator<Item = Chunk> + '_ {
    let head = head(CONTAINER_COLUMNS, with_mark);
    chunked(head, container_rows(report), b"", |row, bytes| {
        encode(CONTAINER_COLUMNS, row, bytes);
    })
}

/// Encodes the CSV with a row per workload, container and image; with a byte order mark for Excel, if
/// it is wanted.
pub(super) fn workload_csv(report: &Report, with_mark: bool) -> impl Iterator<Item = Chunk> + '_ {
    let head = head(WORKLOAD_COLUMNS, with_mark);
    chunked(head, workload_rows(report), b"", |row, bytes| {
        encode(WORKLOAD_COLUMNS, row, bytes);
    })
}

fn head(columns: &[Column], with_mark: bool) -> Vec<u8> {
    let names: Vec<_> = columns.iter().map(|column| column.name).collect();
    let mark = if with_mark { BYTE_ORDER_MARK } else { "" };
    format!("{mark}{}\r\n", names.join(",")).into_bytes()
}

fn encode(columns: &[Column], row: &Row<'_>, bytes: &mut Vec<u8>) {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(bytes);
    let cells = columns.iter().map(|column| match row.value(column.name) {
        None => Cow::Borrowed(""),
        Some(Value::Text(Cow::Borrowed(text))) => cell(text),
        Some(Value::Text(Cow::Owned(text))) => Cow::Owned(cell(&text).into_owned()),
        Some(value) => Cow::Owned(value.to_string()),
    });
    let cells: Vec<_> = cells.collect();
    // Writing to a Vec cannot fail, and each row has as many cells as the head.
    let written = writer.write_record(cells.iter().map(|text| text.as_bytes()));
    debug_assert!(written.is_ok());
}
