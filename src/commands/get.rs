//! `get`: one run's file, verified before a byte of it is shown.

use std::fs::File;
use std::io::{BufReader, IsTerminal, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, bail};
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt;

use super::{
    Outcome, UsageError, folder_of, local_file, open_local, open_store, scratch_file, shown,
    write_output,
};
use crate::cli::{GetArgs, GetFormat};
use crate::history::{self, MAX_REPORT_BYTES};
use crate::image::Sha256Writer;
use crate::report::{
    BYTE_ORDER_MARK, FileEntry, Manifest, Report, Surroundings, decompressed, encode, plain,
};
use crate::storage::{Format, ObjectReader, RunKey, Store};

/// Bytes that are taken from a store at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Prints or downloads a run.
pub async fn get(arguments: &GetArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let folder = arguments
        .output
        .as_deref()
        .map_or_else(std::env::temp_dir, folder_of);
    let format = arguments.format.file();
    if arguments.output.is_none() && format.is_binary() && std::io::stdout().is_terminal() {
        let problem = format!(
            "a terminal cannot show a {} file: name one with --output",
            format.name()
        );
        return Err(UsageError(problem).into());
    }
    let mut copy = match local_file(&arguments.run) {
        Some(path) => {
            let read = history::report_of_file(open_local(path)?);
            let report = read.map_err(|error| UsageError(format!("{}: {error}", shown(path))))?;
            make(&report, &Surroundings::default(), arguments, &folder)?
        }
        None => {
            let store = open_store(&arguments.runs.store).await?;
            let store = store.as_ref();
            let runs = history::runs_of_one(store, arguments.runs.cluster.as_ref()).await?;
            let run = history::find(store, &arguments.run, &runs).await?;
            let (manifest, text) = history::manifest_with_text(store, &run).await?;
            if format == Format::Manifest {
                let mut copy = scratch_file(&folder)?;
                copy.write_all(&text)?;
                copy
            } else if let Some(entry) = manifest.file(format) {
                download(store, &run, format, entry, &folder).await?
            } else {
                convert(store, &run, &manifest, arguments, &folder).await?
            }
        }
    };
    copy.rewind()?;
    match (&arguments.output, arguments.format) {
        (output, GetFormat::Table) => write_output(output.as_deref(), out, |out| {
            print_table(copy.as_file_mut(), out)
        })?,
        (output, GetFormat::Csv | GetFormat::Workloads) if arguments.csv_bom => {
            write_output(output.as_deref(), out, |out| {
                copy_marked(copy.as_file_mut(), out)
            })?;
        }
        (None, _) => {
            std::io::copy(&mut copy, out)?;
        }
        // A rename: a link at this path is replaced, not followed.
        (Some(path), _) => {
            copy.persist(path)
                .with_context(|| format!("could not write {}", path.display()))?;
        }
    }
    Ok(Outcome::Done)
}

/// A CSV file with a byte order mark, whether or not it had one.
fn copy_marked(file: &mut File, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut start = Vec::new();
    file.take(BYTE_ORDER_MARK.len() as u64)
        .read_to_end(&mut start)?;
    out.write_all(BYTE_ORDER_MARK.as_bytes())?;
    if start != BYTE_ORDER_MARK.as_bytes() {
        out.write_all(&start)?;
    }
    std::io::copy(file, out)?;
    Ok(())
}

/// A file of the run, verified and not compressed any more.
async fn download(
    store: &dyn Store,
    run: &RunKey,
    format: Format,
    entry: &FileEntry,
    folder: &Path,
) -> anyhow::Result<NamedTempFile> {
    let key = run.object_as(format, entry.compression);
    let described = store.describe(&key);
    let object = store.open(&key).await?;
    let mut copy = scratch_file(folder)?;
    if !copy_verified(object, entry, copy.as_file_mut())
        .await
        .with_context(|| format!("could not read {described}"))?
    {
        bail!("{described} is not what its manifest says: it was changed or cut off after the run");
    }
    if entry.compression.is_none() {
        return Ok(copy);
    }
    copy.rewind()?;
    let mut plain = scratch_file(folder)?;
    let mut text = decompressed(copy.as_file())?.take(MAX_REPORT_BYTES);
    let copied = std::io::copy(&mut text, &mut plain);
    if copied.with_context(|| format!("could not decompress {described}"))? == MAX_REPORT_BYTES {
        bail!("{described} holds more than any report of image-census");
    }
    drop(text);
    Ok(plain)
}

/// A format that the run has no file of, made from its report.
async fn convert(
    store: &dyn Store,
    run: &RunKey,
    manifest: &Manifest,
    arguments: &GetArgs,
    folder: &Path,
) -> anyhow::Result<NamedTempFile> {
    let report = history::report(store, run, manifest).await;
    let report = report.with_context(|| format!("could not read run {}", run.run))?;
    let nights = if arguments.format.file().shows_nights() {
        history::nights(store, run, &report.header.scope, manifest.counts.clone()).await?
    } else {
        Vec::new()
    };
    let changes = match manifest.file(Format::Diff) {
        Some(entry) => {
            let mut file = download(store, run, Format::Diff, entry, folder).await?;
            file.rewind()?;
            let changes = serde_json::from_reader(BufReader::new(file));
            Some(changes.context("what changed since the run before cannot be read")?)
        }
        None => None,
    };
    let surroundings = Surroundings {
        changes: changes.as_ref(),
        nights: &nights,
    };
    make(&report, &surroundings, arguments, folder)
}

fn make(
    report: &Report,
    surroundings: &Surroundings<'_>,
    arguments: &GetArgs,
    folder: &Path,
) -> anyhow::Result<NamedTempFile> {
    let format = arguments.format.file();
    let chunks = encode(format, report, surroundings, arguments.csv_bom);
    let chunks = chunks.with_context(|| {
        let name = format.name();
        let run = &report.header.run_id;
        format!(
            "run {} has no {name} file, and it cannot be made from the report",
            plain(run)
        )
    })?;
    let mut copy = scratch_file(folder)?;
    for chunk in chunks {
        let chunk = chunk.with_context(|| format!("could not make the {} file", format.name()))?;
        copy.write_all(&chunk.bytes)?;
    }
    Ok(copy)
}

/// Copies an object, at most one byte more than it should have; whether it is what `entry` says.
async fn copy_verified(
    object: ObjectReader,
    entry: &FileEntry,
    file: &mut File,
) -> std::io::Result<bool> {
    let mut object = object.take(entry.size_bytes.saturating_add(1));
    let mut hash = Sha256Writer::new(file);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = object.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        hash.write_all(&buffer[..count])?;
    }
    let (_, digest, size) = hash.finish();
    Ok(digest.hex() == entry.sha256 && size == entry.size_bytes)
}

/// Namespace, pod, image and operating system, in columns of one width.
fn print_table(file: &mut (impl Read + Seek), out: &mut dyn Write) -> anyhow::Result<()> {
    let names = ["namespace", "pod", "image"];
    let mut widths = names.map(str::len);
    // Twice through the file instead of once into memory.
    for printing in [false, true] {
        file.rewind()?;
        let mut reader = csv::Reader::from_reader(BufReader::new(&mut *file));
        let headers = reader.headers()?.clone();
        let place = |name: &str| headers.iter().position(|header| header == name);
        if printing {
            let [a, b, c] = widths;
            writeln!(
                out,
                "{:a$}  {:b$}  {:c$}  OPERATING SYSTEM",
                "NAMESPACE", "POD", "IMAGE"
            )?;
        }
        for record in reader.records() {
            let record = record?;
            let cell = |name: &str| {
                place(name)
                    .and_then(|place| record.get(place))
                    .unwrap_or_default()
            };
            let cells = names.map(cell);
            if printing {
                let [a, b, c] = widths;
                let [namespace, pod, image] = cells;
                writeln!(
                    out,
                    "{namespace:a$}  {pod:b$}  {image:c$}  {}",
                    operating_system(&cell)
                )?;
            } else {
                for (width, text) in widths.iter_mut().zip(cells) {
                    *width = (*width).max(text.chars().count()).min(72);
                }
            }
        }
    }
    Ok(())
}

fn operating_system<'a>(cell: &dyn Fn(&str) -> &'a str) -> String {
    let name = if cell("distro_name").is_empty() {
        cell("distro_id")
    } else {
        cell("distro_name")
    };
    let status = match cell("eol_status") {
        "" | "supported" | "unknown" => String::new(),
        status => format!(" ({status})"),
    };
    match (name, cell("os"), cell("inspection_status")) {
        ("", "windows", "ok") => format!("{}{status}", cell("distro_release")),
        ("", os, "ok") => format!("{os}, no distribution"),
        ("", _, inspection) => format!("{inspection}: {}", cell("error_kind")),
        (name, ..) => format!("{name}{status}"),
    }
}
