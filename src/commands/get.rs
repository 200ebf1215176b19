//! `get`: one run's file, verified before a byte of it is shown.

use std::io::{BufReader, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, bail};

use super::{Outcome, open_store};
use crate::cli::{GetArgs, GetFormat};
use crate::history;
use crate::image::Sha256Writer;
use crate::storage::Store;

/// Prints or downloads a run.
pub async fn get(arguments: &GetArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let store = open_store(&arguments.store)?;
    let run = history::find(&store, &arguments.run, arguments.cluster.as_ref()).await?;
    let manifest = history::manifest(&store, &run).await?;
    let format = arguments.format.file();
    let key = run.object(format);
    let mut object = store.open(&key).await?;

    // The copy lies beside the output, so that it can take its place whole.
    let folder = arguments
        .output
        .as_deref()
        .and_then(Path::parent)
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = match &arguments.output {
        Some(_) => folder.unwrap_or(Path::new(".")).to_owned(),
        None => std::env::temp_dir(),
    };
    let copy = tempfile::Builder::new()
        .prefix(".image-census-")
        .tempfile_in(&folder);
    let copy = copy.with_context(|| format!("could not write to {}", folder.display()))?;
    let mut hash = Sha256Writer::new(copy);
    if arguments.format == GetFormat::Manifest {
        std::io::copy(&mut object, &mut hash)?;
    } else {
        let entry = manifest
            .files
            .iter()
            .find(|file| file.format == format.name());
        let entry =
            entry.with_context(|| format!("run {} has no {} file", run.run, format.name()))?;
        std::io::copy(
            &mut object.take(entry.size_bytes.saturating_add(1)),
            &mut hash,
        )?;
        let (copy, digest, size) = hash.finish();
        if (digest.hex(), size) != (entry.sha256.clone(), entry.size_bytes) {
            bail!(
                "{} is not what its manifest says: it was changed or cut off after the run",
                store.describe(&key)
            );
        }
        hash = Sha256Writer::new(copy);
    }
    let (mut copy, ..) = hash.finish();
    copy.rewind()?;
    match &arguments.output {
        Some(path) if arguments.format == GetFormat::Table => {
            let mut file = std::fs::File::create(path)
                .with_context(|| format!("could not write {}", path.display()))?;
            print_table(&mut copy, &mut file)?;
        }
        Some(path) => {
            copy.persist(path)
                .with_context(|| format!("could not write {}", path.display()))?;
        }
        None if arguments.format == GetFormat::Table => print_table(&mut copy, out)?,
        None => {
            std::io::copy(&mut copy, out)?;
        }
    }
    Ok(Outcome::Done)
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
