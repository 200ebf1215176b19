//! NDJSON: a line a container, an object with the columns of the CSV, typed; what is not known is null.
//!
//! Strings are raw, as in the JSON report: engines read it, not spreadsheets.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::rows::{Row, Value, container_rows};
use super::{CONTAINER_COLUMNS, Chunk, Report, chunked};

/// Encodes a line for each container.
pub(super) fn container_lines(report: &Report) -> impl Iterator<Item = Chunk> + '_ {
    chunked(Vec::new(), container_rows(report), b"", |row, bytes| {
        // Writing to a Vec cannot fail, and the keys are strings.
        let written = serde_json::to_writer(&mut *bytes, &Line(row));
        debug_assert!(written.is_ok());
        bytes.push(b'\n');
    })
}

struct Line<'a>(&'a Row<'a>);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(Some(CONTAINER_COLUMNS.len()))?;
        for column in CONTAINER_COLUMNS {
            let name = column.name;
            match self.0.value(name) {
                None => line.serialize_entry(name, &())?,
                Some(Value::Text(text)) => line.serialize_entry(name, &text)?,
                Some(Value::Integer(number)) => line.serialize_entry(name, &number)?,
                Some(Value::Boolean(truth)) => line.serialize_entry(name, &truth)?,
                Some(value) => line.serialize_entry(name, &value.to_string())?,
            }
        }
        line.end()
    }
}
