//! The program's reports as far as JSON goes: the model, its reader, its writer.

#[path = "../../../src/report/chunk.rs"]
mod chunk;
#[path = "../../../src/report/compression.rs"]
mod compression;
#[path = "../../../src/report/counts.rs"]
mod counts;
#[path = "../../../src/report/json.rs"]
mod json;
#[path = "../../../src/report/model.rs"]
mod model;
#[path = "../../../src/report/read.rs"]
mod read;

use chunk::chunked;

pub use chunk::Chunk;
pub use compression::Compression;
pub use counts::Counts;
pub use model::*;
pub use read::{Part, ReadError, ReportBuilder, read_report};

/// A report as the program writes it.
pub fn written(report: &Report) -> Vec<u8> {
    json::json_chunks(report)
        .flat_map(|chunk| chunk.bytes)
        .collect()
}
