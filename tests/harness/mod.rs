//! What the tests of the binary share: the program itself, crane's own registry, reports read back.
//!
//! `mod harness;` in a test. Every server that is started here ends with its guard. A tool that is
//! missing is an error that names the script which installs it, never a reason to skip.

#![allow(
    dead_code,
    reason = "every test includes all of this and uses a part of it"
)]

pub(crate) mod api_proxy;
pub(crate) mod bad_registry;
pub(crate) mod certificate;
pub(crate) mod cluster;
pub(crate) mod container;
pub(crate) mod control_plane;
pub(crate) mod docker_registry;
pub(crate) mod engines;
pub(crate) mod helm;
pub(crate) mod hostile;
pub(crate) mod http2;
pub(crate) mod http_proxy;
pub(crate) mod identity;
pub(crate) mod memory_group;
pub(crate) mod mounts;
pub(crate) mod object_store;
pub(crate) mod prometheus;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod readers;
pub(crate) mod recorder;
pub(crate) mod registry;
pub(crate) mod running;
pub(crate) mod runs;
pub(crate) mod spark;
pub(crate) mod store;
pub(crate) mod terminal;
pub(crate) mod tls;
pub(crate) mod world;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A row of a CSV, by column.
pub(crate) type Row = HashMap<String, String>;

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that `scripts/tools` installs.
pub(crate) fn tool(name: &str) -> Result<PathBuf> {
    let path = root().join(".tools").join(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is missing: run scripts/tools", path.display()).into())
    }
}

/// crane.
pub(crate) fn crane() -> Result<PathBuf> {
    tool("bin/crane")
}

/// Whether a whole suite runs by the native engine: `TEST_ENGINE=native cargo test --test faults`.
pub(crate) fn is_native() -> bool {
    std::env::var_os("TEST_ENGINE").is_some_and(|engine| engine == "native")
}

/// image-census, without the settings of whoever runs the tests.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-census"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let own = ["KUBECONFIG", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"];
        if text.starts_with("IMAGE_CENSUS_") || text.starts_with("AWS_") || own.contains(&&*text) {
            command.env_remove(name);
        }
    }
    if is_native() {
        command.env("IMAGE_CENSUS_ENGINE", "native");
    }
    command.stdin(Stdio::null());
    command
}

/// `snapshot` of a pod list into a store, with the cluster name `test`.
pub(crate) fn snapshot_of(pods: &Path, store: &Path) -> Result<Command> {
    Ok(snapshot_with(&crane()?, pods, store))
}

/// The same with another crane.
pub(crate) fn snapshot_with(crane: &Path, pods: &Path, store: &Path) -> Command {
    let mut command = program();
    command.args(["snapshot", "--cluster-name", "test", "--pods"]);
    command.arg(pods).arg("--store").arg(store);
    command.arg("--crane").arg(crane);
    command
}

/// Runs a command that must succeed; its output.
pub(crate) fn succeed(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        Err(format!("{command:?}: {}: {}", output.status, stderr(&output)).into())
    }
}

/// What a command wrote on standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `get` of a run, in a format.
pub(crate) fn get(store: &Path, run: &str, format: &str) -> Result<String> {
    let mut command = program();
    succeed(
        command
            .args(["get", run, "--format", format, "--store"])
            .arg(store),
    )
}

/// The runs of a store, as `list` shows them.
pub(crate) fn list(store: &Path) -> Result<String> {
    succeed(program().args(["list", "--store"]).arg(store))
}

/// All files below a folder, by their path in it.
pub(crate) fn files_below(folder: &Path) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder)?.display().to_string());
            }
        }
    }
    Ok(files)
}

/// The rows of a store's newest run.
pub(crate) fn rows(store: &Path) -> Result<Vec<Row>> {
    let csv = get(store, "latest", "csv")?;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    Ok(reader
        .deserialize()
        .collect::<std::result::Result<_, _>>()?)
}
