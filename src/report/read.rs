//! Reads a JSON report as a stream, part by part, and stops when its reader has seen enough.
//!
//! A report in a store is tomorrow's input and may be anybody's: its size is bounded by the caller's
//! reader, its depth by serde_json, its texts by what the parts take; nothing of it is repeated in an
//! error.

use std::fmt;
use std::io::Read;
use std::ops::ControlFlow;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

use super::{ContainerRow, Header, ImageRecord, LayerRecord, SCHEMA_VERSION};

/// Fields that precede the images at the most: a header has about ten.
const MAX_HEADER_FIELDS: usize = 64;

/// A part of a report, in the order of the document.
#[derive(Debug)]
pub enum Part {
    /// Comes first.
    Header(Box<Header>),
    /// One of `images`.
    Image(Box<ImageRecord>),
    /// One of `layers`.
    Layer(Box<LayerRecord>),
    /// One of `containers`.
    Container(Box<ContainerRow>),
}

/// Why a report could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It breaks off, or cannot be read.
    #[error("the report breaks off or cannot be read")]
    Io,
    /// It is no report of ours.
    #[error("this is no report of image-census, or a damaged one (line {line})")]
    Malformed {
        /// One-based.
        line: usize,
    },
    /// A newer program wrote it.
    #[error(
        "the report has a newer major schema version than {SCHEMA_VERSION}: use a newer image-census"
    )]
    Newer,
}

/// Hands the parts of a report to `each` until it breaks off or the report ends.
pub fn read_report(
    reader: impl Read,
    mut each: impl FnMut(Part) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let mut state = State {
        each: &mut each,
        stopped: false,
        newer: false,
    };
    let mut deserializer = serde_json::Deserializer::from_reader(std::io::BufReader::new(reader));
    let read = (&mut deserializer).deserialize_map(DocumentVisitor(&mut state));
    let read = read.and_then(|()| deserializer.end());
    match read {
        _ if state.newer => Err(ReadError::Newer),
        _ if state.stopped => Ok(()),
        Ok(()) => Ok(()),
        Err(error) if error.is_io() || error.is_eof() => Err(ReadError::Io),
        Err(error) => Err(ReadError::Malformed { line: error.line() }),
    }
}

/// Whether a report of this schema version is read: of our major version, whatever the minor one.
pub fn is_readable_version(version: &str) -> bool {
    fn major(version: &str) -> Option<&str> {
        version.split('.').next()
    }
    major(version) == major(SCHEMA_VERSION)
}

struct State<'a> {
    each: &'a mut dyn FnMut(Part) -> ControlFlow<()>,
    stopped: bool,
    newer: bool,
}

impl State<'_> {
    fn header<E: serde::de::Error>(&mut self, fields: Map<String, Value>) -> Result<(), E> {
        let version = fields.get("schema_version").and_then(Value::as_str);
        if version.is_some_and(|version| !is_readable_version(version)) {
            self.newer = true;
        }
        let header = Header::deserialize(Value::Object(fields)).map_err(E::custom)?;
        if self.newer {
            return Err(E::custom("newer"));
        }
        self.pass(Part::Header(Box::new(header)))
    }

    fn pass<E: serde::de::Error>(&mut self, part: Part) -> Result<(), E> {
        if (self.each)(part).is_continue() {
            return Ok(());
        }
        // The only way out of a visitor; read_report tells it from a failure.
        self.stopped = true;
        Err(E::custom("stopped"))
    }
}

struct DocumentVisitor<'a, 'b>(&'a mut State<'b>);

impl<'de> Visitor<'de> for DocumentVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a report")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fields = Some(Map::new());
        while let Some(key) = map.next_key::<String>()? {
            if matches!(key.as_str(), "images" | "layers" | "containers")
                && let Some(fields) = fields.take()
            {
                self.0.header(fields)?;
            }
            match key.as_str() {
                "images" => map.next_value_seed(Rows(self.0, |row| Part::Image(Box::new(row))))?,
                "layers" => map.next_value_seed(Rows(self.0, |row| Part::Layer(Box::new(row))))?,
                "containers" => {
                    map.next_value_seed(Rows(self.0, |row| Part::Container(Box::new(row))))?;
                }
                _ => match &mut fields {
                    Some(fields) if fields.len() < MAX_HEADER_FIELDS => {
                        fields.insert(key, map.next_value()?);
                    }
                    // Fields of a later minor version.
                    _ => drop(map.next_value::<IgnoredAny>()?),
                },
            }
        }
        match fields {
            // A document without images is none of ours.
            Some(_) => Err(A::Error::custom("no images")),
            None => Ok(()),
        }
    }
}

/// An array, element by element.
struct Rows<'a, 'b, T>(&'a mut State<'b>, fn(T) -> Part);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Rows<'_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Rows<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element()? {
            self.0.pass((self.1)(row))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str, stop_at: usize) -> Result<usize, ReadError> {
        let mut seen = 0;
        read_report(text.as_bytes(), |_| {
            seen += 1;
            if seen == stop_at {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(seen)
    }

    const HEADER: &str = r#""schema_version":"1.9","run_id":"20261123T020000Z-1f3a","cluster_name":"c",
        "cluster_id":null,"snapshot_time":"2026-11-23T02:00:00Z",
        "scope":{"namespaces":[],"excluded_namespaces":[],"selector":null},
        "versions":{"program":"0.1.0","crane":null,"detection_rules":1,"eol_data":"2026-11-01"},
        "completeness":{"complete":true,"reason":null},"added_later":{"a":[1]}"#;

    #[test]
    fn a_report_of_a_later_minor_version_is_read() {
        let text = format!("{{{HEADER},\"images\":[],\"more\":[[1]],\"containers\":[]}}");
        assert!(matches!(parts(&text, 9), Ok(1)));
    }

    #[test]
    fn what_is_behind_the_stop_is_not_read() {
        let text = format!("{{{HEADER},\"images\":[nonsense");
        assert!(matches!(parts(&text, 1), Ok(1)));
        assert!(matches!(parts(&text, 2), Err(ReadError::Malformed { .. })));
    }

    #[test]
    fn what_is_no_report_is_an_error_that_repeats_nothing() {
        let newer = format!("{{{HEADER},\"images\":[]}}").replace("\"1.9\"", "\"2.0\"");
        assert!(matches!(parts(&newer, 9), Err(ReadError::Newer)));
        let deep = format!("{{{HEADER},\"x\":{}", "[".repeat(100_000));
        for text in ["", "[]", "{}", "{\"secret\":1}", "{\"images\":[]}", &deep] {
            let error = parts(text, 9);
            assert!(error.is_err(), "{text:.40}");
            let shown = error.err().map(|error| error.to_string());
            assert!(
                shown.is_some_and(|text| !text.contains("secret")),
                "{text:.40}"
            );
        }
        let cut_off = format!("{{{HEADER},\"images\":[");
        assert!(matches!(parts(&cut_off, 9), Err(ReadError::Io)));
    }
}
