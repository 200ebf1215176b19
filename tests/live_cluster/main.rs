//! The binary and a real API server: rows, scope, permissions, pages, and a server that crashes.
//!
//! [`fleet`] is a cluster whose every row is known, which the tests of [`rows`] and [`check`] share;
//! [`pool`] has nodes of three platforms, [`pull_secrets`] private images; [`crowd`] is one
//! whose list has many pages, and which changes.

mod check;
mod crowd;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod fleet;
#[path = "../harness/mod.rs"]
mod harness;
mod pool;
mod pull_secrets;
mod rows;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use harness::{Result, crane, files_below, get, program};

/// `snapshot` of the cluster of a kubeconfig.
pub(crate) fn snapshot(kubeconfig: &Path, store: &Path) -> Result<Command> {
    let mut command = program();
    command.env("KUBECONFIG", kubeconfig).arg("snapshot");
    command.arg("--crane").arg(crane()?);
    command.arg("--store").arg(store);
    command.args(["--owner-label", "team"]);
    Ok(command)
}

/// A store for one run.
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
        })
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn has_no_report(&self) -> Result<bool> {
        Ok(!self.store().exists() || files_below(&self.store())?.is_empty())
    }

    pub(crate) fn manifest(&self) -> Result<Value> {
        Ok(serde_json::from_str(&get(
            &self.store(),
            "latest",
            "manifest",
        )?)?)
    }
}
