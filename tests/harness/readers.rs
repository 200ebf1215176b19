//! The files of runs, read as a data person would: `tests/readers.py`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::{Result, root, succeed, tool};

/// What is wrong with each file of a folder, by its path in it; nothing, where all is well.
pub(crate) type Findings = BTreeMap<String, Vec<String>>;

/// Reads every file in folders that hold a store, or a download of one, with jsonschema, frictionless
/// and pandas against `schemas/`. All at once, since Python takes seconds to start.
pub(crate) fn findings(folders: &[&Path]) -> Result<Vec<Findings>> {
    let mut python = Command::new(tool("python/bin/python")?);
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python.arg(root().join("tests/readers.py"));
    python.arg(root().join("schemas")).args(folders);
    Ok(serde_json::from_str(&succeed(&mut python)?)?)
}

/// Expects a folder whose files, `count` of them besides `latest`, are all as `schemas/` says.
pub(crate) fn expect_valid(folder: &Path, count: usize) -> Result {
    let found = findings(&[folder])?;
    let found = found.first().ok_or("no findings")?;
    let wrong: Vec<_> = found
        .iter()
        .filter(|(_, wrong)| !wrong.is_empty())
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(found.len(), count, "{found:?}");
    Ok(())
}
