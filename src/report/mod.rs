//! The report: the model that CSV, JSON and manifest are written from.
//!
//! Pure: a [`Report`] flows in, bytes flow out in chunks (one file a format), so that no format is
//! ever held whole. Where the bytes go, and when, is not known here.

mod cell;
mod columns;
mod compression;
mod counts;
mod csv;
mod json;
mod model;
mod ndjson;
mod parquet;
mod read;
mod rows;
pub(crate) mod schema;
#[cfg(test)]
mod testing;
mod xlsx;

pub use cell::{cell, plain};
pub use columns::{CONTAINER_COLUMNS, Column, ColumnType, IMAGE_COLUMNS, WORKLOAD_COLUMNS};
pub use compression::{Compression, compressed, decompressed};
pub use counts::{Counts, DistributionCount, EolCount, RegistryCount, StatusCount};
pub use csv::BYTE_ORDER_MARK;
pub use model::*;
pub use read::{Part, ReadError, ReportBuilder, is_readable_version, read_report};
pub use xlsx::{WorkbookError, write_workbook};

use std::io;

use chrono::NaiveDate;

use crate::diff::Diff;
use crate::storage::Format;

/// Version of the report, manifest and diff schemas. A minor version may add; a reader accepts every
/// report of its own major version.
pub const SCHEMA_VERSION: &str = "1.0";

/// What a report is shown beside, where there is more than a table of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// What changed since the last complete run of an earlier day.
    pub changes: Option<&'a Diff>,
    /// The last complete run of each day, oldest first, and the report's own: at most 30.
    pub nights: &'a [Night],
}

/// What a day's run counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Night {
    /// The day.
    pub date: NaiveDate,
    /// Its counts.
    pub counts: Counts,
}

/// A report in a format, piece by piece.
pub type Chunks<'a> = Box<dyn Iterator<Item = io::Result<Chunk>> + 'a>;

/// Encodes a report in one of its formats; `None` for what is no format of a report.
pub fn encode<'a>(
    format: Format,
    report: &'a Report,
    surroundings: &Surroundings<'a>,
    csv_with_mark: bool,
) -> Option<Chunks<'a>> {
    Some(match format {
        Format::Csv => Box::new(csv::container_csv(report, csv_with_mark).map(Ok)),
        Format::Workloads => Box::new(csv::workload_csv(report, csv_with_mark).map(Ok)),
        Format::Json => Box::new(json::json_chunks(report).map(Ok)),
        Format::Ndjson => Box::new(ndjson::container_lines(report).map(Ok)),
        Format::Parquet => parquet::container_parquet(report),
        Format::ParquetImages => parquet::image_parquet(report),
        Format::Xlsx => xlsx::chunks(report, surroundings.changes),
        Format::Diff => {
            let changes = surroundings.changes?;
            let rows = changes.changes.len() as u64;
            let line = serde_json::to_vec(changes).map_err(io::Error::from);
            Box::new(std::iter::once(line.map(|mut line| {
                line.push(b'\n');
                Chunk::new(line, rows)
            })))
        }
        Format::Manifest => return None,
    })
}

/// Chunks are handed over at about this size: large enough for few writes, small enough for memory.
const CHUNK_BYTES: usize = 64 * 1024;

/// A piece of an encoded report, and how many rows end in it.
#[derive(Debug)]
pub struct Chunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Rows whose last byte is in this chunk.
    pub rows: u64,
    /// Whether the facts of a JSON report (head, images, layers) end with this chunk.
    pub ends_facts: bool,
}

impl Chunk {
    /// A piece within the report, or a whole file.
    pub fn new(bytes: Vec<u8>, rows: u64) -> Self {
        Self {
            bytes,
            rows,
            ends_facts: false,
        }
    }
}

/// Gathers encoded rows into chunks.
fn chunked<'a, T>(
    header: Vec<u8>,
    rows: impl Iterator<Item = T> + 'a,
    footer: &'a [u8],
    encode: impl Fn(&T, &mut Vec<u8>) + 'a,
) -> impl Iterator<Item = Chunk> + 'a {
    let mut rows = rows;
    let mut buffer = Some(header);
    std::iter::from_fn(move || {
        let mut bytes = buffer.take()?;
        let mut count = 0;
        while bytes.len() < CHUNK_BYTES {
            let Some(row) = rows.next() else {
                bytes.extend_from_slice(footer);
                return Some(Chunk::new(bytes, count));
            };
            encode(&row, &mut bytes);
            count += 1;
        }
        buffer = Some(Vec::with_capacity(CHUNK_BYTES + 4_096));
        Some(Chunk::new(bytes, count))
    })
}
