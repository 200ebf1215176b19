//! The workbook: Summary, Containers, Images, Changes and Not inspected, as tables with filters.
//!
//! Every text is a text: no formula, no link, no number made of a tag. The rows of a sheet go to a
//! temporary file as they come; only the texts that occur, once each, are held. Two ways of the library
//! are worked around: what it holds for each cell of a table ([`mod@stretch`]), and what it takes for markup
//! ([`sheet`]).

mod sheet;
mod stretch;
mod styles;
mod summary;
mod tally;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Seek, Write};
use std::mem;
use std::panic::{self, AssertUnwindSafe};

use rust_xlsxwriter::{DocProperties, Workbook, Worksheet, XlsxError};

use super::rows::{ImageRow, Row, Value, container_rows, image_rows};
use super::{
    CHUNK_BYTES, CONTAINER_COLUMNS, Chunk, Chunks, Column, ErrorKind, IMAGE_COLUMNS,
    InspectionStatus, Report, plain,
};
use crate::diff::Diff;
use crate::diff::formats::{self, DIFF_COLUMNS};
use sheet::Table;
use stretch::stretch;
use styles::Styles;

/// Rows of a sheet below the head of a table.
const MAX_ROWS: usize = 1_048_575;
/// Columns at the beginning of a table that say the same in every row: the runs and the cluster.
const COLUMNS_OF_RUN: u16 = 3;
/// Namespaces that are named for an image that could not be inspected.
const MAX_NAMESPACES: usize = 20;

/// Why there is no workbook.
#[derive(Debug, thiserror::Error)]
pub enum WorkbookError {
    /// A sheet cannot hold that much.
    #[error(
        "a sheet of a workbook holds 1,048,575 rows, and there are {rows} {what}: take CSV instead (--format csv), which has no such limit"
    )]
    TooManyRows {
        /// What the rows are.
        what: &'static str,
        /// How many there are.
        rows: usize,
    },
    /// It could not be made.
    #[error("could not make the workbook")]
    Make(#[from] XlsxError),
    /// It could not be copied from its temporary file.
    #[error("could not write the workbook")]
    Copy(#[from] zip::result::ZipError),
    /// Its temporary file could not be used.
    #[error("could not use a temporary file for the workbook: TMPDIR names a folder for it")]
    Temporary(#[from] io::Error),
    /// Its temporary files could not be written to their end.
    #[error(
        "could not write the workbook's temporary files: they take some 2 KB for each container; TMPDIR names a folder for them"
    )]
    NoRoom,
}

/// Columns of the sheet of what could not be inspected.
const NOT_INSPECTED_COLUMNS: &[Column] = &[
    Column::text("inspection_status", "partial, failed or skipped"),
    Column::text("error_kind", "Why"),
    Column::text("error_message", "The reason in words, and what to do"),
    Column::text("registry", "Host and port of the registry"),
    Column::text("repository", "Path of the repository"),
    Column::text("tag", "The tag that was asked for"),
    Column::text("digest", "The digest as observed"),
    Column::text("platform", "The node's platform"),
    Column::integer("containers", "Containers that run it"),
    Column::text("namespaces", "Where they run"),
    Column::time("waiting_since", "Since when it has been asked for in vain"),
];

/// The workbook, piece by piece: its parts are known when it is whole, so it waits in a temporary file.
pub(super) fn chunks<'a>(report: &'a Report, changes: Option<&'a Diff>) -> Chunks<'a> {
    let mut made = None;
    let mut rows = report.containers.len() as u64;
    Box::new(std::iter::from_fn(move || {
        let file = match &mut made {
            Some(file) => file,
            none => match make(report, changes) {
                Ok(file) => none.insert(file),
                Err(error) => {
                    *none = Some(Box::new(io::empty()));
                    return Some(Err(io::Error::other(error)));
                }
            },
        };
        let mut bytes = Vec::new();
        let read = file.take(CHUNK_BYTES as u64).read_to_end(&mut bytes);
        match read {
            Ok(0) => None,
            Ok(_) => Some(Ok(Chunk::new(bytes, mem::take(&mut rows)))),
            Err(error) => Some(Err(error)),
        }
    }))
}

fn make(report: &Report, changes: Option<&Diff>) -> Result<Box<dyn Read>, WorkbookError> {
    let mut file = tempfile::tempfile()?;
    // The library panics where its own temporary files take no more, which must cost no night its run.
    let made = panic::catch_unwind(AssertUnwindSafe(|| {
        write_workbook(report, changes, &mut file)
    }));
    made.unwrap_or(Err(WorkbookError::NoRoom))?;
    file.rewind()?;
    Ok(Box::new(file))
}

/// Writes the workbook of a report and of what changed since an earlier run, if there is one.
pub fn write_workbook(
    report: &Report,
    changes: Option<&Diff>,
    out: impl Write + Send,
) -> Result<(), WorkbookError> {
    let changed: Vec<_> = changes.into_iter().flat_map(formats::rows).collect();
    expect_room("containers", report.containers.len())?;
    expect_room("changes", changed.len())?;
    let mut workbook = Workbook::new();
    workbook.set_properties(&properties(report));
    let styles = Styles::new();
    let sheet = workbook.add_worksheet();
    let mut tables = summary::write(sheet, &styles, report, changes)?;
    let images: Vec<_> = image_rows(report)
        .filter(|row| row.containers > 0)
        .collect();

    let sheet = add_sheet(&mut workbook, "Containers", styles::BLUE)?;
    let table = Table {
        name: "Containers",
        columns: CONTAINER_COLUMNS,
        rows: report.containers.len(),
        folded: COLUMNS_OF_RUN,
        frozen_to: "workload_name",
        ..Table::default()
    };
    let rows = container_rows(report);
    tables.push(table.write_sheet(sheet, &styles, rows, Row::value)?);

    let sheet = add_sheet(&mut workbook, "Images", styles::BLUE)?;
    let table = Table {
        name: "Images",
        columns: IMAGE_COLUMNS,
        rows: images.len(),
        folded: COLUMNS_OF_RUN,
        frozen_to: "tag",
        ..Table::default()
    };
    let rows = images.iter();
    tables.push(table.write_sheet(sheet, &styles, rows, |row, column| row.value(column))?);

    let sheet = add_sheet(&mut workbook, "Changes", styles::AMBER)?;
    let table = Table {
        name: "Changes",
        columns: DIFF_COLUMNS,
        rows: changed.len(),
        folded: COLUMNS_OF_RUN,
        frozen_to: "kind",
        instead: changes.map_or_else(
            || "There is no earlier run to compare with.".into(),
            |diff| format!("Nothing changed since {}.", diff.old.run_id),
        ),
        ..Table::default()
    };
    let value = |row: &&'_ [String; DIFF_COLUMNS.len()], column: &str| {
        let place = DIFF_COLUMNS.iter().position(|known| known.name == column)?;
        Some(Value::Text(row.get(place)?.clone().into()))
    };
    tables.push(table.write_sheet(sheet, &styles, changed.iter(), value)?);

    let sheet = add_sheet(&mut workbook, "Not inspected", styles::RED)?;
    let missing = not_inspected(report, &images);
    let table = Table {
        name: "NotInspected",
        columns: NOT_INSPECTED_COLUMNS,
        rows: missing.len(),
        frozen_to: "error_kind",
        instead: "Every image was inspected.".into(),
        ..Table::default()
    };
    let rows = missing.iter();
    tables.push(table.write_sheet(sheet, &styles, rows, |row, column| row.value(column))?);

    let mut narrow = tempfile::tempfile()?;
    workbook.save_to_writer(&mut narrow)?;
    // Its texts are held no longer than they are needed.
    drop(workbook);
    stretch(narrow, &tables, out)
}

fn add_sheet<'a>(
    workbook: &'a mut Workbook,
    name: &str,
    colour: u32,
) -> Result<&'a mut Worksheet, XlsxError> {
    let sheet = workbook.add_worksheet_with_low_memory()?;
    sheet.set_name(name)?.set_tab_color(colour);
    Ok(sheet)
}

fn expect_room(what: &'static str, rows: usize) -> Result<(), WorkbookError> {
    if rows > MAX_ROWS {
        return Err(WorkbookError::TooManyRows { what, rows });
    }
    Ok(())
}

fn properties(report: &Report) -> DocProperties {
    let header = &report.header;
    DocProperties::new()
        .set_title(plain(&format!("Image census of {}", header.cluster_name)))
        .set_comment(plain(&format!("Run {}", header.run_id)))
        .set_creation_datetime(&header.snapshot_time)
}

struct NotInspected<'a> {
    image: &'a ImageRow<'a>,
    namespaces: String,
}

impl<'a> NotInspected<'a> {
    fn value(&self, column: &str) -> Option<Value<'a>> {
        match column {
            "namespaces" => Some(Value::Text(self.namespaces.clone().into())),
            _ => self.image.value(column),
        }
    }
}

/// What could not be inspected, the most frequent first; of pods that are over, nothing was tried.
fn not_inspected<'a>(report: &Report, images: &'a [ImageRow<'a>]) -> Vec<NotInspected<'a>> {
    let missing = images.iter().filter(|row| {
        row.image.inspection_status != InspectionStatus::Ok
            && row.image.error_kind != Some(ErrorKind::NotRunning)
    });
    let mut missing: Vec<_> = missing.collect();
    missing.sort_by_key(|row| Reverse(row.containers));
    let places = missing.iter().map(|row| row.place);
    let places: HashMap<usize, usize> = places.zip(0..).collect();
    let mut namespaces = vec![BTreeSet::new(); missing.len()];
    for container in &report.containers {
        if let Some(place) = places.get(&container.image_index) {
            namespaces[*place].insert(&*container.namespace);
        }
    }
    let rows = missing.into_iter().zip(namespaces);
    rows.map(|(image, names)| {
        let more = names.len().saturating_sub(MAX_NAMESPACES);
        let named: Vec<_> = names.into_iter().take(MAX_NAMESPACES).collect();
        let more = match more {
            0 => String::new(),
            _ => format!(" and {more} more"),
        };
        NotInspected {
            image,
            namespaces: named.join(", ") + &more,
        }
    })
    .collect()
}
