//! `get`: one run's file, verified before a byte of it is shown.

use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};

use anyhow::{Context, bail};
use tokio::io::AsyncReadExt;

use super::{Outcome, folder_of, open_store, scratch_file, write_output};
use crate::cli::{GetArgs, GetFormat};
use crate::history;
use crate::image::Sha256Writer;
use crate::report::FileEntry;
use crate::storage::{Format, ObjectReader};

/// Bytes that are taken from a store at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Prints or downloads a run.
pub async fn get(arguments: &GetArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let store = open_store(&arguments.runs.store).await?;
    let store = store.as_ref();
    let runs = history::runs_of_one(store, arguments.runs.cluster.as_ref()).await?;
    let run = history::find(store, &arguments.run, &runs).await?;
    let (manifest, text) = history::manifest_with_text(store, &run).await?;
    let folder = arguments
        .output
        .as_deref()
        .map_or_else(std::env::temp_dir, folder_of);
    let mut copy = scratch_file(&folder)?;
    let format = arguments.format.file();
    if format == Format::Manifest {
        copy.write_all(&text)?;
    } else {
        let entry = manifest.file(format);
        let entry =
            entry.with_context(|| format!("run {} has no {} file", run.run, format.name()))?;
        let key = run.object(format);
        let object = store.open(&key).await?;
        if !copy_verified(object, entry, copy.as_file_mut())
            .await
            .with_context(|| format!("could not read {}", store.describe(&key)))?
        {
            bail!(
                "{} is not what its manifest says: it was changed or cut off after the run",
                store.describe(&key)
            );
        }
    }
    copy.rewind()?;
    match (&arguments.output, arguments.format) {
        (output, GetFormat::Table) => write_output(output.as_deref(), out, |out| {
            print_table(copy.as_file_mut(), out)
        })?,
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
