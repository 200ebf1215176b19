//! Both Parquet files: a row per container in the columns of the CSV, and a row per image.
//!
//! Typed, for engines: times are UTC timestamps of microseconds, texts are as raw as in JSON. Written
//! in row groups, each handed on when it is whole, so that one of them is the most that is held.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Mutex};

use chrono::{Datelike, NaiveDate};
use parquet::basic::{
    Compression, LogicalType, Repetition, TimeUnit, Type as PhysicalType, ZstdLevel,
};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use super::rows::{ImageRow, Row, Value, container_rows, image_rows};
use super::{CONTAINER_COLUMNS, Chunk, Chunks, Column, ColumnType, IMAGE_COLUMNS, Report};
use crate::sync::lock;

/// Rows of a row group: enough for an engine to skip by, few enough to hold.
const GROUP_ROWS: usize = 16 * 1024;
/// Values that are handed to a column's writer at once.
const BATCH_ROWS: usize = 1_024;

/// The order of the rows of containers, told to engines.
const SORTED_BY: [&str; 6] = [
    "namespace",
    "workload_kind",
    "workload_name",
    "container_type",
    "container",
    "pod",
];

/// Encodes the file with a row per container.
pub(super) fn container_parquet(report: &Report) -> Chunks<'_> {
    let rows = container_rows(report);
    parquet(CONTAINER_COLUMNS, &SORTED_BY, rows, Row::value)
}

/// Encodes the file with a row per image.
pub(super) fn image_parquet(report: &Report) -> Chunks<'_> {
    let rows = image_rows(report);
    parquet(IMAGE_COLUMNS, &[], rows, ImageRow::value)
}

/// A chunk for each row group, and one for the end of the file.
fn parquet<'a, T: 'a>(
    columns: &'static [Column],
    sorted_by: &[&str],
    mut rows: impl Iterator<Item = T> + 'a,
    value: impl Fn(&T, &'static str) -> Option<Value<'a>> + 'a,
) -> Chunks<'a> {
    let written = Written::default();
    let mut writer = match begin(columns, sorted_by, &written) {
        Ok(writer) => writer,
        Err(error) => return Box::new(std::iter::once(Err(error.into()))),
    };
    let mut ended = false;
    Box::new(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let group: Vec<_> = rows.by_ref().take(GROUP_ROWS).collect();
        ended = group.is_empty();
        let encoded = if ended {
            writer.finish().map(drop)
        } else {
            write_group(&mut writer, columns, &group, &value)
        };
        // What is half written is no chunk, and nothing comes after it.
        ended |= encoded.is_err();
        Some(encoded.map_err(io::Error::from).and_then(|()| {
            writer.flush()?;
            Ok(Chunk::new(written.take(), group.len() as u64))
        }))
    }))
}

fn begin(
    columns: &[Column],
    sorted_by: &[&str],
    written: &Written,
) -> Result<SerializedFileWriter<Written>, ParquetError> {
    let properties = properties(columns, sorted_by);
    SerializedFileWriter::new(written.clone(), schema(columns)?, properties.into())
}

fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let fields = columns.iter().map(|column| {
        let (physical, logical) = match column.column_type {
            ColumnType::String => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            ColumnType::Integer => (PhysicalType::INT64, None),
            ColumnType::Boolean => (PhysicalType::BOOLEAN, None),
            ColumnType::Date => (PhysicalType::INT32, Some(LogicalType::Date)),
            ColumnType::Datetime => (
                PhysicalType::INT64,
                Some(LogicalType::timestamp(true, TimeUnit::MICROS)),
            ),
        };
        let field = Type::primitive_type_builder(column.name, physical)
            .with_logical_type(logical)
            .with_repetition(Repetition::OPTIONAL)
            .build()?;
        Ok(Arc::new(field))
    });
    let fields = fields.collect::<Result<_, ParquetError>>()?;
    let schema = Type::group_type_builder("row")
        .with_fields(fields)
        .build()?;
    Ok(schema.into())
}

fn properties(columns: &[Column], sorted_by: &[&str]) -> WriterProperties {
    let sorted = sorted_by.iter().filter_map(|name| {
        let place = columns.iter().position(|column| column.name == *name)?;
        Some(SortingColumn {
            column_idx: i32::try_from(place).ok()?,
            descending: false,
            nulls_first: false,
        })
    });
    let sorted: Vec<_> = sorted.collect();
    // Dictionaries and the statistics of pages and row groups are the writer's defaults.
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_sorting_columns((!sorted.is_empty()).then_some(sorted))
        .build()
}

/// Column by column, as the format wants it.
fn write_group<'a, T>(
    writer: &mut SerializedFileWriter<Written>,
    columns: &'static [Column],
    rows: &[T],
    value: &impl Fn(&T, &'static str) -> Option<Value<'a>>,
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for column in columns {
        let Some(mut writer) = group.next_column()? else {
            return Err(ParquetError::General(format!("no column {}", column.name)));
        };
        for rows in rows.chunks(BATCH_ROWS) {
            let values = rows.iter().map(|row| value(row, column.name));
            write_batch(&mut writer, values)?;
        }
        writer.close()?;
    }
    group.close().map(drop)
}

fn write_batch<'a>(
    writer: &mut SerializedColumnWriter<'_>,
    values: impl Iterator<Item = Option<Value<'a>>>,
) -> Result<(), ParquetError> {
    let values: Vec<_> = values.collect();
    let levels: Vec<i16> = values.iter().map(|value| value.is_some().into()).collect();
    let levels = Some(&levels[..]);
    let values = values.into_iter().flatten();
    match writer.untyped() {
        ColumnWriter::ByteArrayColumnWriter(writer) => {
            let texts: Vec<_> = values.filter_map(text).collect();
            writer.write_batch(&texts, levels, None)?
        }
        ColumnWriter::Int64ColumnWriter(writer) => {
            let numbers: Vec<_> = values.filter_map(long).collect();
            writer.write_batch(&numbers, levels, None)?
        }
        ColumnWriter::Int32ColumnWriter(writer) => {
            let days: Vec<_> = values.filter_map(days).collect();
            writer.write_batch(&days, levels, None)?
        }
        ColumnWriter::BoolColumnWriter(writer) => {
            let truths: Vec<_> = values.filter_map(truth).collect();
            writer.write_batch(&truths, levels, None)?
        }
        _ => return Err(ParquetError::General("a column of another type".into())),
    };
    Ok(())
}

fn text(value: Value<'_>) -> Option<ByteArray> {
    match value {
        Value::Text(text) => Some(text.into_owned().into_bytes().into()),
        Value::Name(name) => Some(name.into_bytes().into()),
        _ => None,
    }
}

/// A size that no registry holds is the largest number, rather than an error.
fn long(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(i64::try_from(number).unwrap_or(i64::MAX)),
        Value::Time(time) => Some(time.timestamp_micros()),
        _ => None,
    }
}

fn days(value: Value<'_>) -> Option<i32> {
    match value {
        Value::Date(date) => Some(date.num_days_from_ce() - epoch_days()),
        _ => None,
    }
}

fn epoch_days() -> i32 {
    NaiveDate::default().num_days_from_ce()
}

fn truth(value: Value<'_>) -> Option<bool> {
    match value {
        Value::Boolean(truth) => Some(truth),
        _ => None,
    }
}

/// What the writer has written and nobody has taken yet.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Vec<u8> {
        mem::take(&mut lock(&self.0))
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::report;

    #[test]
    fn row_groups_are_handed_on_one_by_one() -> Result<(), Box<dyn std::error::Error>> {
        let report = report(2 * GROUP_ROWS + 1)?;
        let chunks = container_parquet(&report).collect::<io::Result<Vec<_>>>()?;
        let rows: Vec<_> = chunks.iter().map(|chunk| chunk.rows).collect();
        assert_eq!(rows, [GROUP_ROWS as u64, GROUP_ROWS as u64, 1, 0]);
        assert!(chunks.iter().all(|chunk| !chunk.bytes.is_empty()));
        assert!(chunks[0].bytes.starts_with(b"PAR1"));
        assert!(chunks[3].bytes.ends_with(b"PAR1"));
        let none = container_parquet(&Report {
            containers: Vec::new(),
            ..report
        })
        .map(|chunk| chunk.map(|chunk| chunk.rows))
        .collect::<io::Result<Vec<_>>>()?;
        assert_eq!(none, [0]);
        Ok(())
    }
}
