//! The report: the model that CSV, JSON and manifest are written from.
//!
//! Pure: a [`Report`] flows in, bytes flow out in chunks (one file a format), so that no format is
//! ever held whole. Where the bytes go, and when, is not known here.

mod cell;
mod chunk;
mod columns;
mod compression;
mod counts;
mod csv;
pub mod html;
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
pub use chunk::Chunk;
pub use columns::{CONTAINER_COLUMNS, Column, ColumnType, IMAGE_COLUMNS, WORKLOAD_COLUMNS};
pub use compression::{Compression, compressed, decompressed};
pub use counts::{Counts, DistributionCount, EolCount, RegistryCount, StatusCount};
pub use csv::BYTE_ORDER_MARK;
pub use model::*;
pub use read::{Part, ReadError, ReportBuilder, is_readable_version, read_report};
pub use xlsx::{WorkbookError, write_workbook};

use std::io;

use chrono::NaiveDate;

use self::chunk::{CHUNK_BYTES, chunked};
use crate::diff::Diff;
use crate::storage::Format;

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
        Format::Html => {
            let page = html::report_page(report, surroundings).map_err(io::Error::other);
            let rows = report.containers.len() as u64;
            Box::new(std::iter::once(
                page.map(|page| Chunk::new(page.into_bytes(), rows)),
            ))
        }
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
