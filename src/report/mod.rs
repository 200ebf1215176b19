//! The report: the model that CSV, JSON and manifest are written from.
//!
//! Pure: a [`Report`] flows in, bytes flow out in chunks (one file a format), so that no format is
//! ever held whole. Where the bytes go, and when, is not known here.

mod cell;
mod columns;
mod counts;
mod csv;
pub mod html;
mod json;
mod model;
mod read;
pub(crate) mod schema;

pub use cell::{cell, plain};
pub use columns::{CONTAINER_COLUMNS, Column, ColumnType, WORKLOAD_COLUMNS};
pub use counts::{Counts, DistributionCount, EolCount, RegistryCount, StatusCount};
pub use csv::{container_rows, workload_rows};
pub use json::json_chunks;
pub use model::*;
pub use read::{Part, ReadError, is_readable_version, read_report};

/// Version of the report, manifest and diff schemas. A minor version may add; a reader accepts every
/// report of its own major version.
pub const SCHEMA_VERSION: &str = "1.0";

/// Chunks are handed over at about this size: large enough for few writes, small enough for memory.
const CHUNK_BYTES: usize = 64 * 1024;

/// What a page shows beside its report: what changed, and the nights before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// What changed since an earlier run; none where there is none to compare with.
    pub changes: Option<&'a crate::diff::Diff>,
    /// Complete nights, oldest first, at most 30; this one included.
    pub nights: &'a [Night],
}

/// The counts of a night.
#[derive(Debug, Clone)]
pub struct Night {
    /// The day of its run.
    pub date: chrono::NaiveDate,
    /// What its manifest counts.
    pub counts: Counts,
}

/// A piece of an encoded report, and how many rows end in it.
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
