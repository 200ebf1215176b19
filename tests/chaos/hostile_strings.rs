//! A page of hostile strings, and 25 hostile images, through every output.
//!
//! *Promised*: no text of a pod, an image or a registry is a formula, markup, a line of its own or something
//! that steers a terminal, in any output; it becomes neither a key nor an argument.
//! *Tested* over two nights of pods whose every text is hostile, of images whose release files, labels and
//! users are, and of registries whose errors are: each string is looked for in each output, in the form
//! that would do harm there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::fixtures::images::{Built, ImageSpec, Platform};
use crate::fixtures::layers::Layer;
use crate::fixtures::manifests;
use crate::fixtures::pods::{Container, Pod, Workload};
use crate::harness::bad_registry::{BadRegistry, Fault, manifest_path};
use crate::harness::docker_registry::{notes, noting_crane};
use crate::harness::hostile::{PAYLOADS, TEXTS, hostile_pod, steers};
use crate::harness::prometheus::Pushgateway;
use crate::harness::terminal::{in_terminal, without_colours};
use crate::harness::{Result, files_below, program, snapshot_with, stderr, succeed};
use crate::tally::{Tally, Wrong};

/// Hostile images; as many repositories answer errors.
const IMAGES: usize = 25;

/// In which form a text does harm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Lines: what steers or ends them.
    Lines,
    /// Cells: the same, and formulas.
    Cells,
    /// Elements: the same as in lines, and markup.
    Markup,
    /// JSON, a document or one a line: what is not escaped, so that it is no JSON.
    Json,
    /// Words of a known alphabet.
    Words,
}

fn texts() -> Vec<String> {
    let long = ["=", "x", "<b>"].map(|text| text.repeat(30_000));
    let texts = TEXTS.iter().map(|(text, _)| (*text).to_owned());
    let payloads = PAYLOADS.iter().map(|text| (*text).to_owned());
    texts.chain(payloads).chain(long).collect()
}

/// An image that says nothing but a text.
fn image(text: &str) -> Built {
    let release: String = ["ID", "VERSION_ID", "NAME", "VERSION", "PRETTY_NAME"]
        .iter()
        .map(|key| format!("{key}=\"{}\"\n", text.replace('"', "\\\"")))
        .collect();
    let mut spec = ImageSpec::new(Platform::linux("amd64"))
        .layer(Layer::new(text).file("etc/os-release", release))
        .user(text);
    for key in ["base.name", "version", "title", "source", "revision"] {
        spec = spec.label(&format!("org.opencontainers.image.{key}"), text);
    }
    spec.build()
}

/// The characters of an output that may not be in it, where a text may hold such.
fn wrong_characters(kind: Kind, output: &str) -> Vec<char> {
    let is_wrong = |c: &char| match kind {
        Kind::Json => *c < ' ' && *c != '\n',
        Kind::Words => !(c.is_ascii_alphanumeric() || "=._-/:@ ".contains(*c)),
        _ => steers(*c) && *c != '\n',
    };
    let mut found: Vec<_> = output.chars().filter(is_wrong).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The texts that do harm in an output.
fn harmful<'a>(kind: Kind, output: &str, texts: &'a [String]) -> Result<Vec<&'a String>> {
    // The ends of CSV's lines, and of a terminal's.
    let output = output.replace("\r\n", "\n");
    let characters = wrong_characters(kind, &output);
    let mut formulas = Vec::new();
    if kind == Kind::Cells {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(output.as_bytes());
        for record in reader.records() {
            let record = record?;
            let begins = |cell: &&str| cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
            formulas.extend(record.iter().filter(begins).map(str::to_owned));
        }
    }
    let is_harmful = |text: &&String| {
        let begins = text.chars().take(20).collect::<String>();
        text.contains(|c: char| characters.contains(&c))
            || formulas.iter().any(|cell| cell.starts_with(&begins))
            || (kind == Kind::Markup && text.contains('<') && output.contains(&begins))
    };
    Ok(texts.iter().filter(is_harmful).collect())
}

/// What was said, by place.
#[derive(Default)]
struct Outputs(BTreeMap<String, (Kind, String)>);

impl Outputs {
    fn add(&mut self, name: impl Into<String>, kind: Kind, text: String) {
        self.0.insert(name.into(), (kind, text));
    }
}

/// The nights' pods: the strings that are there in that night, the images, and what the registry refuses.
fn pods(night: usize, texts: &[String], registry: &BadRegistry) -> Result<Vec<Value>> {
    let own = texts.iter().skip(night).step_by(2);
    let mut pods: Vec<_> = own.map(|text| hostile_pod(text)).collect();
    let mut described = Vec::new();
    for number in 0..IMAGES {
        // The strings that only the second half has are the worst ones.
        let text = |number: usize| &texts[texts.len() - 1 - number];
        let image = image(text((number + night) % IMAGES));
        let repository = format!("hostile/image-{number}");
        registry.add(&repository, image.digest(), &image.blobs);
        let refused = format!("hostile/refused-{number}");
        let text = text(number);
        let body = json!({"errors": [{"code": text, "message": text, "detail": text}]});
        let line = text.replace(['\r', '\n', '\0'], " ");
        let fault = Fault::Status {
            status: [400, 401, 403, 404, 500][number % 5],
            header: format!("X-Said: {}", line.chars().take(1_000).collect::<String>()),
            body: body.to_string().into_bytes(),
        };
        registry.misbehave(&manifest_path(&refused, image.digest()), fault);
        for repository in [repository, refused] {
            let reference = format!("{}/{repository}:1", registry.address);
            let container = Container::new("app", &reference).running(image.digest());
            let workload =
                Workload::stateful_set(repository.rsplit('/').next().unwrap_or_default());
            described.push(Pod::new("images", workload, 0).container(container));
        }
    }
    let list: Value = serde_json::from_str(&manifests::pod_list(&described)?)?;
    pods.extend(list["items"].as_array().ok_or("no items")?.iter().cloned());
    Ok(pods)
}

/// The XML of a workbook.
fn unpacked(workbook: &Path) -> Result<String> {
    let mut archive = zip::ZipArchive::new(fs::File::open(workbook)?)?;
    let mut text = String::new();
    for number in 0..archive.len() {
        let mut file = archive.by_index(number)?;
        std::io::Read::read_to_string(&mut file, &mut text)?;
    }
    Ok(text)
}

#[test]
fn no_hostile_string_is_raw_in_any_output() -> Result {
    let (registry, gateway) = (BadRegistry::start()?, Pushgateway::start()?);
    let folder = tempfile::tempdir()?;
    let (store, list) = (folder.path().join("store"), folder.path().join("pods.json"));
    let (crane, noted) = noting_crane(folder.path())?;
    let (texts, mut outputs) = (texts(), Outputs::default());
    for (night, format) in [(0, "text"), (1, "json")] {
        let items = pods(night, &texts, &registry)?;
        fs::write(&list, json!({"kind": "List", "items": items}).to_string())?;
        let mut command = snapshot_with(&crane, &list, &store);
        command.args([
            "--owner-label",
            "team",
            "--allow-registry",
            &registry.address,
        ]);
        command.args(["--pushgateway", &gateway.url(), "--log-format", format]);
        command.args(["--log-level", "trace"]);
        command.args([
            "--snapshot-time",
            &format!("2026-11-2{}T02:00:00Z", 3 + night),
        ]);
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
            command.env_remove(name);
        }
        let output = command.output()?;
        let log = stderr(&output);
        assert!(output.status.success(), "{log}");
        if format == "json" {
            for line in log.lines() {
                serde_json::from_str::<Value>(line).map_err(|error| format!("{error}: {line}"))?;
            }
        }
        outputs.add(format!("log in {format}"), Kind::Lines, log);
    }
    let command = |arguments: &[&str]| -> Command {
        let mut command = program();
        command.args(arguments).arg("--store").arg(&store);
        command
    };
    for (format, kind) in [
        ("table", Kind::Lines),
        ("csv", Kind::Cells),
        ("workloads", Kind::Cells),
        ("json", Kind::Json),
        ("ndjson", Kind::Json),
        ("html", Kind::Markup),
        ("diff", Kind::Json),
        ("manifest", Kind::Json),
    ] {
        let text = succeed(&mut command(&["get", "latest", "--format", format]))?;
        outputs.add(format!("get {format}"), kind, text);
    }
    let book = folder.path().join("book.xlsx");
    let mut get = command(&["get", "latest", "--format", "xlsx"]);
    succeed(get.arg("--output").arg(&book))?;
    let book = unpacked(&book)?;
    assert!(
        !book.contains("<f>") && !book.contains("<f "),
        "a workbook with a formula"
    );
    outputs.add("get xlsx", Kind::Markup, book);
    for (format, kind) in [
        ("table", Kind::Lines),
        ("csv", Kind::Cells),
        ("json", Kind::Json),
        ("markdown", Kind::Markup),
        ("html", Kind::Markup),
    ] {
        let text = succeed(&mut command(&["diff", "--format", format]))?;
        outputs.add(format!("diff {format}"), kind, text);
    }
    for by in ["version", "registry", "inspection_status"] {
        for (format, kind) in [
            ("table", Kind::Lines),
            ("csv", Kind::Cells),
            ("json", Kind::Json),
        ] {
            let text = succeed(&mut command(&["trend", "--by", by, "--format", format]))?;
            outputs.add(format!("trend {by} {format}"), kind, text);
        }
    }
    for arguments in [
        &["list"][..],
        &["get", "latest"],
        &["diff"],
        &["trend", "--by", "version"],
    ] {
        let text = in_terminal(100, &mut command(arguments))?;
        let text = without_colours(&text);
        outputs.add(
            format!("terminal: {}", arguments.join(" ")),
            Kind::Lines,
            text,
        );
    }
    let page = gateway.page()?;
    outputs.add("metrics", Kind::Lines, page);
    let keys: Vec<_> = files_below(&store)?.into_iter().collect();
    outputs.add("keys", Kind::Words, keys.join(" "));
    let arguments: Vec<_> = notes(&noted)?
        .into_iter()
        .map(|note| note.request)
        .collect();
    assert!(
        arguments.len() > 2 * IMAGES,
        "{} starts of crane",
        arguments.len()
    );
    outputs.add("arguments", Kind::Words, arguments.join(" "));

    let mut tally = Tally::new("hostile strings and 25 hostile images: strings times outputs");
    for (name, (kind, output)) in &outputs.0 {
        let found = harmful(*kind, output, &texts)?;
        texts.iter().for_each(|_| tally.round());
        for text in found {
            tally.wrong(Wrong::Leaked, format!("{name}: {text:.60?}"));
        }
        if *kind == Kind::Json {
            let documents = serde_json::Deserializer::from_str(output).into_iter::<Value>();
            for document in documents {
                document.map_err(|error| format!("{name}: {error}"))?;
            }
        }
    }
    let (strings, places) = (texts.len(), outputs.0.len());
    tally.finish(&format!("{strings} strings, {places} outputs"))?;
    expect_the_texts(&outputs)
}

/// Where nothing arrives, nothing can be raw: in the report and its tables the texts are, made harmless.
fn expect_the_texts(outputs: &Outputs) -> Result {
    for (name, mark) in [
        ("get csv", "'@SUM(A1)"),
        ("get json", "window.canary=1"),
        ("get html", "canary=3"),
        ("get xlsx", "canary=3"),
        ("diff csv", "'@SUM(A1)"),
        ("diff markdown", "canary=3"),
        ("trend version json", "canary"),
    ] {
        let (_, text) = outputs.0.get(name).ok_or(name)?;
        if !text.contains(mark) {
            let start: String = text.chars().take(2_000).collect();
            return Err(format!("{name} does not hold {mark}: {start}").into());
        }
    }
    Ok(())
}
