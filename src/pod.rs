//! The few fields of pods and nodes that the census needs, and a reader that streams them out of a
//! list.
//!
//! Everything else in a pod, its environment above all, is skipped by the parser and never held. A
//! parse error therefore names a place, never a value.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};

use serde::Deserialize;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

/// A pod, as far as the census looks at it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the fields are those of the Kubernetes API reference, Pod v1"
)]
pub struct Pod {
    pub kind: Option<String>,
    pub metadata: Metadata,
    pub spec: PodSpec,
    pub status: PodStatus,
}

/// A node, as far as the census looks at it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the fields are those of the Kubernetes API reference, Node v1"
)]
pub struct Node {
    pub kind: Option<String>,
    pub metadata: Metadata,
    pub status: NodeStatus,
}

/// `ObjectMeta`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the fields are those of the Kubernetes API reference, ObjectMeta"
)]
pub struct Metadata {
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub generate_name: Option<String>,
    pub creation_timestamp: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
    pub annotations: Option<Annotations>,
    pub owner_references: Option<Vec<OwnerReference>>,
}

/// Annotations; `kubectl` keeps whole manifests in one of them, so the large ones are dropped.
#[derive(Debug, Default)]
pub struct Annotations(pub BTreeMap<String, String>);

/// An annotation that is read (an owner's name, the mirror mark) is short; longer ones are dropped.
const MAX_ANNOTATION_BYTES: usize = 1_024;

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Short;

        impl<'de> Visitor<'de> for Short {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut annotations = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if value.len() <= MAX_ANNOTATION_BYTES {
                        annotations.insert(key, value);
                    }
                }
                Ok(Annotations(annotations))
            }
        }

        deserializer.deserialize_map(Short)
    }
}

/// `OwnerReference`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the fields are those of the Kubernetes API reference, OwnerReference"
)]
pub struct OwnerReference {
    pub kind: String,
    pub name: String,
    pub controller: Option<bool>,
}

/// `PodSpec`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the fields are those of the Kubernetes API reference, PodSpec"
)]
pub struct PodSpec {
    pub containers: Option<Vec<ContainerSpec>>,
    pub init_containers: Option<Vec<ContainerSpec>>,
    pub ephemeral_containers: Option<Vec<ContainerSpec>>,
    pub node_name: Option<String>,
    pub node_selector: Option<BTreeMap<String, String>>,
    pub os: Option<PodOs>,
    pub service_account_name: Option<String>,
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,
}

/// `LocalObjectReference`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the field is that of the Kubernetes API reference, LocalObjectReference"
)]
pub struct LocalObjectReference {
    pub name: Option<String>,
}

/// `PodOS`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the field is that of the Kubernetes API reference, PodOS"
)]
pub struct PodOs {
    pub name: Option<String>,
}

/// `Container` and `EphemeralContainer`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the fields are those of the Kubernetes API reference, Container"
)]
pub struct ContainerSpec {
    pub name: String,
    pub image: Option<String>,
}

/// `PodStatus`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the fields are those of the Kubernetes API reference, PodStatus"
)]
pub struct PodStatus {
    pub phase: Option<String>,
    pub container_statuses: Option<Vec<ContainerStatus>>,
    pub init_container_statuses: Option<Vec<ContainerStatus>>,
    pub ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

/// `ContainerStatus`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the fields are those of the Kubernetes API reference, ContainerStatus"
)]
pub struct ContainerStatus {
    pub name: String,
    #[serde(rename = "imageID")]
    pub image_id: Option<String>,
}

/// `NodeStatus`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the fields are those of the Kubernetes API reference, NodeStatus"
)]
pub struct NodeStatus {
    pub node_info: Option<NodeInfo>,
}

/// `NodeSystemInfo`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the fields are those of the Kubernetes API reference, NodeSystemInfo"
)]
pub struct NodeInfo {
    pub operating_system: Option<String>,
    pub architecture: Option<String>,
    pub kernel_version: Option<String>,
}

/// Why a text is not a list that can be read. The messages hold places, never content.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The reader failed.
    #[error("it could not be read")]
    Read(#[source] std::io::Error),
    /// Nothing in it.
    #[error("it is empty: was the command that wrote it successful?")]
    Empty,
    /// Another encoding.
    #[error("it is {0}, not UTF-8 JSON: {1}")]
    Encoding(&'static str, &'static str),
    /// The JSON ends too early.
    #[error("it ends in the middle (line {line}): it was cut off while it was written or copied")]
    Truncated {
        /// Line of the end.
        line: usize,
    },
    /// Broken JSON.
    #[error("it is not valid JSON at line {line}, column {column}")]
    Syntax {
        /// Line of the error.
        line: usize,
        /// Column of the error.
        column: usize,
    },
    /// Valid JSON, but a field has another type than the Kubernetes API gives it.
    #[error(
        "a field does not have the type that the Kubernetes API gives it, near line {line}, column {column}"
    )]
    Shape {
        /// Line of the error.
        line: usize,
        /// Column of the error.
        column: usize,
    },
    /// Another kind of object or list.
    #[error("it holds {found}, not {wanted}: {advice}")]
    Kind {
        /// What it seems to be.
        found: String,
        /// What was asked for.
        wanted: &'static str,
        /// The command that gives it.
        advice: &'static str,
    },
    /// One page of several: rows would be missing.
    #[error(
        "it is one page of a longer list (metadata.continue is set): take the list without a limit"
    )]
    Partial,
}

/// Kinds that lists are read of.
pub trait ListItem: DeserializeOwned + Send + 'static {
    /// `Pod`.
    const KIND: &'static str;
    /// `pods`, for messages.
    const PLURAL: &'static str;
    /// The command that writes such a list.
    const COMMAND: &'static str;
    /// The object's own `kind`, which `PodList`s leave out.
    fn kind(&self) -> Option<&str>;
}

impl ListItem for Pod {
    const KIND: &'static str = "Pod";
    const PLURAL: &'static str = "pods";
    const COMMAND: &'static str = "kubectl get pods -A -o json";

    fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }
}

impl ListItem for Node {
    const KIND: &'static str = "Node";
    const PLURAL: &'static str = "nodes";
    const COMMAND: &'static str = "kubectl get nodes -o json";

    fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }
}

/// The end of a list, or of one page of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ListEnd {
    /// Where the next page goes on.
    pub continue_token: Option<String>,
}

/// Reads a list of `T`, or a single one, from JSON as `kubectl get … -o json` or the API server
/// writes it, and hands over each item as soon as it is parsed.
///
/// Memory: one item. A page of a longer list is an error here; see [`read_page`].
pub fn read_list<T: ListItem>(reader: impl Read, mut each: impl FnMut(T)) -> Result<(), ListError> {
    let mut reader = BufReader::with_capacity(256 * 1024, reader);
    let start = reader.fill_buf().map_err(ListError::Read)?;
    let skipped = without_mark::<T>(start)?;
    reader.consume(skipped);
    let end = read_document(serde_json::Deserializer::from_reader(reader), &mut each)?;
    match end.continue_token {
        None => Ok(()),
        Some(_) => Err(ListError::Partial),
    }
}

/// Like [`read_list`], for one page of a list, which is at hand: half the time of a reader's.
pub fn read_page<T: ListItem>(page: &[u8], mut each: impl FnMut(T)) -> Result<ListEnd, ListError> {
    let page = &page[without_mark::<T>(page)?..];
    read_document(serde_json::Deserializer::from_slice(page), &mut each)
}

/// Where a list goes on behind this page, if that stands before the items, as the API server writes it:
/// the next page can be asked for before this one is parsed.
pub fn token_ahead(page: &[u8]) -> Option<String> {
    let mut token = None;
    let mut deserializer = serde_json::Deserializer::from_slice(page);
    // It ends with an error at the items: they are not for this.
    let _ = deserializer.deserialize_map(HeadVisitor(&mut token));
    token.filter(|token| !token.is_empty())
}

/// Finds `metadata.continue` before `items`.
struct HeadVisitor<'a>(&'a mut Option<String>);

impl<'de> Visitor<'de> for HeadVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the head of a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct Metadata {
            r#continue: Option<String>,
        }
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "items" => return Err(serde::de::Error::custom("the head ends here")),
                "metadata" => *self.0 = map.next_value::<Metadata>()?.r#continue,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

fn read_document<'de, T: ListItem>(
    mut deserializer: serde_json::Deserializer<impl serde_json::de::Read<'de>>,
    each: &mut dyn FnMut(T),
) -> Result<ListEnd, ListError> {
    let document = deserializer.deserialize_map(DocumentVisitor(each));
    let document = document
        .and_then(|document| deserializer.end().map(|()| document))
        .map_err(from_json)?;
    document.finish(each)
}

/// Bytes of the byte order mark, which is passed over; an error if what follows is no JSON.
fn without_mark<T: ListItem>(start: &[u8]) -> Result<usize, ListError> {
    let mark = b"\xef\xbb\xbf";
    if start.starts_with(mark) {
        return Ok(mark.len());
    }
    refuse_other_encodings::<T>(start)?;
    Ok(0)
}

fn refuse_other_encodings<T: ListItem>(start: &[u8]) -> Result<(), ListError> {
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    let encoding = match (start, first) {
        ([0xff, 0xfe, ..] | [0xfe, 0xff, ..], _) => (
            "UTF-16 text",
            "in PowerShell write it with `| Out-File -Encoding utf8`",
        ),
        ([0x1f, 0x8b, ..], _) => ("gzip", "decompress it first (gzip -d)"),
        ([0x28, 0xb5, 0x2f, 0xfd, ..], _) => ("zstd", "decompress it first (zstd -d)"),
        (_, Some(b'{')) => return Ok(()),
        (_, None) => return Err(ListError::Empty),
        (_, Some(b'[')) => ("a bare JSON array", T::COMMAND),
        (_, Some(b'a'..=b'z' | b'-' | b'#')) => ("something else, perhaps YAML", T::COMMAND),
        _ => ("something else", T::COMMAND),
    };
    Err(ListError::Encoding(encoding.0, encoding.1))
}

fn from_json(error: serde_json::Error) -> ListError {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Io => ListError::Read(error.into()),
        serde_json::error::Category::Eof => ListError::Truncated { line },
        serde_json::error::Category::Syntax => ListError::Syntax { line, column },
        serde_json::error::Category::Data => ListError::Shape { line, column },
    }
}

/// What stood around the items. `kind` may come behind them, so it is judged at the end.
#[derive(Default)]
struct Document {
    has_items: bool,
    foreign_item: Option<String>,
    /// `kind` and `metadata`, and for a single object also `spec` and `status`.
    rest: Map<String, Value>,
}

impl Document {
    fn finish<T: ListItem>(self, each: &mut dyn FnMut(T)) -> Result<ListEnd, ListError> {
        let kind = self
            .rest
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let not_wanted = |found: &str| ListError::Kind {
            found: describe_kind(found),
            wanted: T::PLURAL,
            advice: T::COMMAND,
        };
        if let Some(found) = &self.foreign_item {
            return Err(not_wanted(found));
        }
        if self.has_items {
            if kind != "List" && kind.strip_suffix("List") != Some(T::KIND) {
                return Err(not_wanted(kind));
            }
            let token = self
                .rest
                .get("metadata")
                .and_then(|metadata| metadata.get("continue"));
            let token = token
                .and_then(Value::as_str)
                .filter(|token| !token.is_empty());
            return Ok(ListEnd {
                continue_token: token.map(Into::into),
            });
        }
        if kind != T::KIND {
            return Err(not_wanted(kind));
        }
        // A single object, as `kubectl get pod NAME -o json` writes it.
        each(serde_json::from_value(Value::Object(self.rest)).map_err(from_json)?);
        Ok(ListEnd::default())
    }
}

/// Names a kind for a message; a kind is a short word, and anything else is not repeated.
fn describe_kind(kind: &str) -> String {
    let is_word = kind.len() <= 64 && kind.bytes().all(|b| b.is_ascii_alphanumeric());
    match kind {
        "" => "no Kubernetes list".into(),
        kind if is_word => format!("a {kind}"),
        _ => "an object of an odd kind".into(),
    }
}

struct DocumentVisitor<'f, T>(&'f mut dyn FnMut(T));

impl<'de, T: ListItem> Visitor<'de> for DocumentVisitor<'_, T> {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {}", T::PLURAL)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut document = Document::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "items" => {
                    document.has_items = true;
                    map.next_value_seed(Items {
                        each: self.0,
                        foreign_item: &mut document.foreign_item,
                    })?;
                }
                "kind" | "metadata" | "spec" | "status" => {
                    document.rest.insert(key, map.next_value()?);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(document)
    }
}

/// The `items`, handed over one by one; the first of another kind is noted.
struct Items<'f, T> {
    each: &'f mut dyn FnMut(T),
    foreign_item: &'f mut Option<String>,
}

impl<'de, T: ListItem> DeserializeSeed<'de> for Items<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Any: also `null`.
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: ListItem> Visitor<'de> for Items<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of {}", T::PLURAL)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<T>()? {
            match item.kind() {
                Some(kind) if kind != T::KIND => {
                    self.foreign_item.get_or_insert_with(|| kind.to_owned());
                }
                _ => (self.each)(item),
            }
        }
        Ok(())
    }

    // An empty list is `null` when Go writes it from a nil slice.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &[u8]) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        read_list(text, |pod: Pod| {
            names.push(pod.metadata.name.unwrap_or_default());
        })
        .map(|()| names)
        .map_err(|error| error.to_string())
    }

    #[test]
    fn lists_of_kubectl_and_of_the_api_and_single_pods_are_read() {
        let one = r#"{"metadata":{"name":"a"}}"#;
        for text in [
            format!(
                r#"{{"apiVersion":"v1","items":[{one}],"kind":"List","metadata":{{"resourceVersion":""}}}}"#
            ),
            format!(
                r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"continue":""}},"items":[{one}]}}"#
            ),
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{},"status":{}}"#
                .into(),
            format!("\u{feff}{{\"kind\":\"List\",\"items\":[{one}]}}"),
        ] {
            assert_eq!(names(text.as_bytes()), Ok(vec!["a".into()]), "{text}");
        }
        assert_eq!(names(br#"{"kind":"PodList","items":null}"#), Ok(vec![]));
    }

    #[test]
    fn a_page_says_ahead_where_the_list_goes_on() {
        let metadata = r#""metadata":{"resourceVersion":"7","continue":"abc"}"#;
        for (text, expected) in [
            (
                format!(r#"{{"kind":"PodList",{metadata},"items":[nonsense"#),
                Some("abc"),
            ),
            (format!(r#"{{"items":[],{metadata}}}"#), None),
            (r#"{"metadata":{"continue":""},"items":[]}"#.into(), None),
            (r#"{"metadata":{},"items":[]}"#.into(), None),
            ("nonsense".into(), None),
        ] {
            assert_eq!(token_ahead(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn other_inputs_are_named_for_what_they_are() {
        for (text, expected) in [
            (&b""[..], "is empty"),
            (b" \n", "is empty"),
            (b"apiVersion: v1\nitems: []\n", "perhaps YAML"),
            (b"---\nkind: List\n", "perhaps YAML"),
            (b"[]", "bare JSON array"),
            (b"\xff\xfe{\0", "UTF-16"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"{}", "no Kubernetes list"),
            (
                br#"{"kind":"NodeList","items":[]}"#,
                "a NodeList, not pods: kubectl get pods -A -o json",
            ),
            (
                br#"{"kind":"List","items":[{"kind":"Service"}]}"#,
                "a Service",
            ),
            (
                br#"{"kind":"Deployment","metadata":{},"spec":{}}"#,
                "a Deployment",
            ),
            (
                br#"{"kind":"List","items":[{"metadata":{"name":"a"}},"#,
                "ends in the middle (line 1)",
            ),
            (
                br#"{"kind":"List","items":[]} x"#,
                "not valid JSON at line 1",
            ),
            (
                br#"{"kind":"List","items":[{"metadata":{"name":7}}]}"#,
                "Kubernetes API gives it",
            ),
            (
                br#"{"kind":"PodList","metadata":{"continue":"x"},"items":[]}"#,
                "one page of a longer list",
            ),
        ] {
            let error = names(text).err().unwrap_or_default();
            assert!(
                error.contains(expected),
                "{}: {error}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn an_error_repeats_no_value() {
        let text = br#"{"kind":"List","items":[{"spec":{"nodeName":{"PASSWORD":"hunter2"}}}]}"#;
        let error = names(text).err().unwrap_or_default();
        assert!(
            !error.is_empty() && !error.contains("hunter2") && !error.contains("PASSWORD"),
            "{error}"
        );
    }
}
