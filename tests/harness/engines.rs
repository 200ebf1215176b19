//! The native engine against crane: the same snapshot once more, and the same rows.
//!
//! A suite makes its snapshot with crane, the oracle, and compares what it finds with what is right. Then
//! it hands the command in here: the same registries are read by the native engine into a store of its
//! own, and row by row every cell must be the same. What may differ has a name and a reason in [`KNOWN`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::running::Running;
use super::{Result, Row, is_native, rows};

/// Cells that two runs never share.
const OF_A_RUN: [&str; 3] = ["run_id", "snapshot_time", "inspected_at"];

/// A difference that is known: who is concerned, and why.
struct Known {
    /// What crane's message says; all of the row may differ if the native one is `ok`.
    crane: &'static str,
    /// What the native engine's message says.
    native: &'static str,
}

const KNOWN: [Known; 3] = [
    // crane panics on a Warning header without a text; the native engine does not look at it.
    Known {
        crane: "crane failed at",
        native: "",
    },
    // A sentence that names crane.
    Known {
        crane: "crane failed at",
        native: "answered in an unknown way",
    },
    // crane believes a forged manifest that calls itself signed schema 1; then our own check finds it.
    Known {
        crane: "does not have the digest that was asked for: do not trust it",
        native: "is not what the digest names: push the image again",
    },
];

impl Known {
    fn explains(&self, crane: &Row, native: &Row) -> bool {
        let is_said = |row: &Row, words: &str| {
            let message = &row["error_message"];
            message.contains(words) && message.is_empty() == words.is_empty()
        };
        let is_same_kind = crane["error_kind"] == native["error_kind"]
            && crane["inspection_status"] == native["inspection_status"];
        is_said(crane, self.crane)
            && is_said(native, self.native)
            && (is_same_kind || self.native.is_empty())
    }
}

/// Makes a snapshot once more by the native engine, and compares. `store` is the one of `command`, which
/// was run.
pub(crate) fn expect_same_rows(command: &Command, store: &Path) -> Result {
    // Then the whole suite is its.
    if is_native() {
        return Ok(());
    }
    let mut other = store.as_os_str().to_owned();
    other.push("-native");
    let other = PathBuf::from(other);
    let mut again = by_native(command, store, &other);
    let output = Running::start(&mut again)?.wait(BOUND, || Ok(()))?;
    assert!(output.status.success(), "{}", output.stderr);
    let (crane, native) = (rows(store)?, rows(&other)?);
    let wrong = differences(&crane, &native);
    fs::remove_dir_all(&other)?;
    assert!(
        wrong.is_empty(),
        "{} differences by engine in {} rows:\n{}",
        wrong.len(),
        crane.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// No run may take longer.
const BOUND: std::time::Duration = std::time::Duration::from_secs(300);

/// The same command with the other engine, into another store.
fn by_native(command: &Command, store: &Path, other: &Path) -> Command {
    let mut again = Command::new(command.get_program());
    for argument in command.get_args() {
        again.arg(if argument == store.as_os_str() {
            other.as_os_str()
        } else {
            argument
        });
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => again.env(name, value),
            None => again.env_remove(name),
        };
    }
    again.env("IMAGE_CENSUS_ENGINE", "native");
    again.stdin(std::process::Stdio::null());
    again
}

/// What differs, a line each.
fn differences(crane: &[Row], native: &[Row]) -> Vec<String> {
    let key = |row: &Row| {
        [
            "namespace",
            "workload_name",
            "pod",
            "container_type",
            "container",
            "image",
        ]
        .map(|column| row[column].clone())
    };
    let mut others: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in native {
        others.entry(key(row)).or_default().push(row);
    }
    let mut wrong = Vec::new();
    if crane.len() != native.len() {
        wrong.push(format!("{} rows, and {}", crane.len(), native.len()));
    }
    for row in crane {
        let Some(other) = others.get_mut(&key(row)).and_then(Vec::pop) else {
            wrong.push(format!("{:?} is missing", key(row)));
            continue;
        };
        if KNOWN.iter().any(|known| known.explains(row, other)) {
            continue;
        }
        let mut columns: Vec<_> = row.keys().collect();
        columns.sort();
        for column in columns {
            let (one, two) = (&row[column], other.get(column));
            if !OF_A_RUN.contains(&&**column) && Some(one) != two {
                let name = &row["workload_name"];
                wrong.push(format!("{name}: {column}: {one:?}, and {two:?}"));
            }
        }
    }
    wrong
}
