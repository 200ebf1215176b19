//! `eol`: the table of ends of support, and where it comes from.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::{Outcome, UsageError};
use crate::cli::{EolArgs, EolFormat};
use crate::os::{Ending, EolTable, Release, distro_ids};
use crate::report::plain;
use crate::terminal::{Terminal, keep_whole};

/// Prints the table.
pub fn eol(arguments: &EolArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let table = eol_table(arguments.eol_data.as_deref())?;
    match arguments.format {
        EolFormat::Table => print_table(&table, arguments.eol_data.is_none(), out)?,
        EolFormat::Csv => print_csv(&table, out)?,
        EolFormat::Json => {
            let releases: Vec<Value> = table.releases().iter().map(release_json).collect();
            let document = json!({"as_of": table.as_of, "releases": releases});
            writeln!(out, "{document:#}")?;
        }
    }
    Ok(Outcome::Done)
}

/// The table in a file, or the program's own.
pub(super) fn eol_table(path: Option<&Path>) -> Result<EolTable, UsageError> {
    let Some(path) = path else {
        return Ok(EolTable::embedded());
    };
    let table = File::open(path)
        .map_err(|error| error.to_string())
        .and_then(|file| {
            EolTable::from_reader(file, None).map_err(|error| UsageError::caused_by(&error).0)
        });
    table.map_err(|error| UsageError(format!("--eol-data {}: {error}", path.display())))
}

fn print_table(table: &EolTable, is_embedded: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut rows = Terminal::of_stdout(true).table([
        "DISTRO ID",
        "PRODUCT",
        "CYCLE",
        "RELEASED",
        "END OF SUPPORT",
        "EXTENDED UNTIL",
    ]);
    for release in table.releases() {
        rows.add_row([
            distro_ids(&release.product).join(" "),
            plain(&release.product).into_owned(),
            plain(&release.cycle).into_owned(),
            release
                .release_date
                .map_or_else(String::new, |day| day.to_string()),
            in_words(release.end_of_life),
            in_words(release.end_of_extended_support),
        ]);
    }
    keep_whole(&mut rows, [3, 4, 5]);
    writeln!(out, "{}", rows.trim_fmt())?;
    let source = if is_embedded {
        " (endoflife.date, MIT licence)"
    } else {
        ""
    };
    writeln!(out, "\ndata of {}{source}", table.as_of)?;
    Ok(())
}

fn in_words(ending: Ending) -> String {
    match ending {
        Ending::Unstated => String::new(),
        Ending::Date(day) => day.to_string(),
        Ending::Over => "over".into(),
        Ending::Open => "no date yet".into(),
    }
}

/// In the form that `--eol-data` reads.
fn print_csv(table: &EolTable, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record([
        "distro_ids",
        "product",
        "cycle",
        "release_date",
        "end_of_life",
        "end_of_extended_support",
        "lts",
        "latest",
        "as_of",
    ])?;
    for release in table.releases() {
        csv.write_record([
            distro_ids(&release.product).join(" "),
            release.product.clone(),
            release.cycle.clone(),
            release
                .release_date
                .map_or_else(String::new, |day| day.to_string()),
            in_csv(release.end_of_life),
            in_csv(release.end_of_extended_support),
            if release.lts {
                "true".into()
            } else {
                String::new()
            },
            release.latest.clone().unwrap_or_default(),
            table.as_of.to_string(),
        ])?;
    }
    csv.flush()?;
    Ok(())
}

fn in_csv(ending: Ending) -> String {
    match ending {
        Ending::Unstated => String::new(),
        Ending::Date(day) => day.to_string(),
        Ending::Over => "true".into(),
        Ending::Open => "false".into(),
    }
}

fn release_json(release: &Release) -> Value {
    let ending = |ending| match ending {
        Ending::Unstated => Value::Null,
        Ending::Date(day) => json!(day),
        Ending::Over => json!(true),
        Ending::Open => json!(false),
    };
    json!({
        "distro_ids": distro_ids(&release.product),
        "product": release.product,
        "cycle": release.cycle,
        "release_date": release.release_date,
        "end_of_life": ending(release.end_of_life),
        "end_of_extended_support": ending(release.end_of_extended_support),
        "lts": release.lts,
        "latest": release.latest,
    })
}
