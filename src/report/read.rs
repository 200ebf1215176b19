//! Reads a JSON report as a stream, part by part, and stops when its reader has seen enough.
//!
//! A report in a store is tomorrow's input and may be anybody's: its size is bounded by the caller's
//! reader, its depth by serde_json, and each part by a number of bytes, since a value may take tens of
//! times as much memory as text; nothing of it is repeated in an error.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::rc::Rc;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

use super::{ContainerRow, Header, ImageRecord, LayerRecord, Report, SCHEMA_VERSION};
use crate::intern::Texts;

/// The fields of a [`Header`]. Others, of a later minor version, are not held.
const HEADER_FIELDS: [&str; 8] = [
    "schema_version",
    "run_id",
    "cluster_name",
    "cluster_id",
    "snapshot_time",
    "scope",
    "versions",
    "completeness",
];
/// Bytes of a head, an image or a container. The longest of ours take some 300 KiB, of control
/// characters that JSON writes as six each.
const MAX_PART_BYTES: u64 = 1 << 20;
/// Bytes of a layer: a finding holds at most 256 KiB of text and as much of paths, which JSON may
/// write as six times that.
const MAX_LAYER_BYTES: u64 = 4 << 20;
/// Bytes of a field that is not known, which is passed over.
const MAX_UNKNOWN_BYTES: u64 = 64 << 20;

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
    /// No report of ours has such a part.
    #[error("a part of the report is larger than any that image-census writes")]
    TooLarge,
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
    let left = Rc::new(Cell::new(MAX_PART_BYTES));
    let mut state = State {
        each: &mut each,
        left: Rc::clone(&left),
        stopped: false,
        newer: false,
    };
    let metered = Metered {
        inner: reader,
        left: Rc::clone(&left),
    };
    let mut deserializer = serde_json::Deserializer::from_reader(io::BufReader::new(metered));
    let read = (&mut deserializer).deserialize_map(DocumentVisitor(&mut state));
    let read = read.and_then(|()| deserializer.end());
    match read {
        _ if state.newer => Err(ReadError::Newer),
        _ if state.stopped => Ok(()),
        Ok(()) => Ok(()),
        Err(error) if error.is_io() && left.get() == 0 => Err(ReadError::TooLarge),
        Err(error) if error.is_io() || error.is_eof() => Err(ReadError::Io),
        Err(error) => Err(ReadError::Malformed { line: error.line() }),
    }
}

/// Gathers the parts of a report; of texts that repeat, one copy is kept.
#[derive(Debug, Default)]
pub struct ReportBuilder {
    header: Option<Header>,
    images: Vec<ImageRecord>,
    layers: Vec<LayerRecord>,
    containers: Vec<ContainerRow>,
    texts: Texts,
}

impl ReportBuilder {
    /// Takes a part, in the report's order. A row that points at no image, which no report of ours
    /// holds, is left out.
    pub fn take(&mut self, part: Part) {
        match part {
            Part::Header(header) => self.header = Some(*header),
            Part::Image(image) => self.images.push(*image),
            Part::Layer(layer) => self.layers.push(*layer),
            Part::Container(mut row) if row.image_index < self.images.len() => {
                let row = &mut *row;
                let texts = [
                    Some(&mut row.namespace),
                    Some(&mut row.workload_kind),
                    Some(&mut row.workload_name),
                    Some(&mut row.pod),
                    Some(&mut row.container),
                    Some(&mut row.image),
                    row.pod_phase.as_mut(),
                    row.generate_name.as_mut(),
                    row.node.as_mut(),
                    row.owner.as_mut(),
                    row.tag.as_mut(),
                    row.image_id.as_mut(),
                ];
                texts
                    .into_iter()
                    .flatten()
                    .for_each(|text| self.texts.share(text));
                self.containers.push(row.clone());
            }
            Part::Container(_) => {}
        }
    }

    /// The report; `None` if it had no head.
    pub fn finish(self) -> Option<Report> {
        Some(Report {
            header: self.header?,
            images: self.images,
            layers: self.layers,
            containers: self.containers,
        })
    }
}

/// Whether a report of this schema version is read: of our major version, whatever the minor one.
pub fn is_readable_version(version: &str) -> bool {
    fn major(version: &str) -> Option<&str> {
        version.split('.').next()
    }
    major(version) == major(SCHEMA_VERSION)
}

/// Reads as many bytes as are left for the part that is being read.
struct Metered<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.inner.read(&mut buffer[..most])?;
        self.left.set(left - count as u64);
        Ok(count)
    }
}

struct State<'a> {
    each: &'a mut dyn FnMut(Part) -> ControlFlow<()>,
    /// Bytes that the part under way may still take; what is buffered is not counted again.
    left: Rc<Cell<u64>>,
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
                "images" => map.next_value_seed(Rows {
                    state: self.0,
                    max_bytes: MAX_PART_BYTES,
                    part: |row| Part::Image(Box::new(row)),
                })?,
                "layers" => map.next_value_seed(Rows {
                    state: self.0,
                    max_bytes: MAX_LAYER_BYTES,
                    part: |row| Part::Layer(Box::new(row)),
                })?,
                "containers" => map.next_value_seed(Rows {
                    state: self.0,
                    max_bytes: MAX_PART_BYTES,
                    part: |row| Part::Container(Box::new(row)),
                })?,
                name => match &mut fields {
                    Some(fields) if HEADER_FIELDS.contains(&name) => {
                        fields.insert(key, map.next_value()?);
                    }
                    // Fields of a later minor version.
                    _ => {
                        self.0.left.set(MAX_UNKNOWN_BYTES);
                        map.next_value::<IgnoredAny>()?;
                    }
                },
            }
            self.0.left.set(MAX_PART_BYTES);
        }
        match fields {
            // A document without images is none of ours.
            Some(_) => Err(A::Error::custom("no images")),
            None => Ok(()),
        }
    }
}

/// An array, element by element.
struct Rows<'a, 'b, T> {
    state: &'a mut State<'b>,
    max_bytes: u64,
    part: fn(T) -> Part,
}

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
        loop {
            self.state.left.set(self.max_bytes);
            match rows.next_element()? {
                Some(row) => self.state.pass((self.part)(row))?,
                None => return Ok(()),
            }
        }
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
    fn a_part_that_no_report_of_ours_has_is_refused_before_it_is_held() {
        let long = "x".repeat(2 << 20);
        let many = "[0],".repeat(1 << 20);
        for (text, is_read) in [
            (format!("{{\"run_id\":\"{long}\""), false),
            (format!("{{\"scope\":[{many}"), false),
            (
                format!("{{{HEADER},\"images\":[{{\"registry\":\"{long}\""),
                false,
            ),
            (format!("{{\"{long}\":0"), false),
            // Passed over, not held.
            (
                format!("{{\"new\":[{many}0],{HEADER},\"newer\":\"{long}\",\"images\":[]}}"),
                true,
            ),
        ] {
            let read = parts(&text, 9);
            let expected = if is_read {
                read.is_ok()
            } else {
                matches!(read, Err(ReadError::TooLarge))
            };
            assert!(expected, "{text:.60}: {read:?}");
        }
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
