//! Tables of their full height.
//!
//! The library keeps an entry for each cell of a table, half a gigabyte for 300,000 containers. So each
//! table is declared with one row, and its range is corrected in the finished file: a table's part of
//! it is some kilobytes; all others are copied as they are.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};

use rust_xlsxwriter::utility::cell_range;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::WorkbookError;

/// Where the parts of a workbook that declare tables are.
const TABLES: &str = "xl/tables/";
/// Bytes of such a part: ours take a few kilobytes.
const MAX_TABLE_BYTES: u64 = 1 << 20;

/// A table, as it was declared and as it should be.
pub(super) struct Stretch {
    name: String,
    declared: String,
    meant: String,
}

impl Stretch {
    /// A table from a head in row `top` to row `bottom`, all counted from 0.
    pub(super) fn new(name: &str, top: u32, last_column: u16, bottom: u32) -> Self {
        let range = |last| format!(" ref=\"{}\"", cell_range(top, 0, last, last_column));
        Self {
            name: format!(" name=\"{name}\""),
            declared: range(top + 1),
            meant: range(bottom),
        }
    }
}

/// Copies a workbook and gives its tables their height.
pub(super) fn stretch(
    narrow: File,
    tables: &[Stretch],
    out: impl Write,
) -> Result<(), WorkbookError> {
    let mut narrow = ZipArchive::new(BufReader::new(narrow))?;
    let mut wide = ZipWriter::new_stream(BufWriter::new(out));
    for place in 0..narrow.len() {
        let part = narrow.by_index_raw(place)?;
        if !part.name()?.starts_with(TABLES) {
            wide.raw_copy_file(part)?;
            continue;
        }
        drop(part);
        let mut text = String::new();
        let mut part = narrow.by_index(place)?;
        let options = SimpleFileOptions::default()
            .last_modified_time(part.last_modified().unwrap_or_default());
        let name = part.name()?.into_owned();
        part.by_ref()
            .take(MAX_TABLE_BYTES)
            .read_to_string(&mut text)?;
        wide.start_file(name, options)?;
        let table = tables.iter().find(|table| text.contains(&table.name));
        if let Some(table) = table {
            text = text.replace(&table.declared, &table.meant);
        }
        wide.write_all(text.as_bytes())?;
    }
    wide.finish()?.into_inner().flush()?;
    Ok(())
}
