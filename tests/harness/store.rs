//! A store of either kind, for tests that hold on both: a folder, or a bucket of a real S3 server.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::object_store::{BUCKET, ObjectStore};
use super::{Result, Row, crane, program, succeed};

/// What the bucket's keys begin with.
const PREFIX: &str = "fleet/census";

/// A store; it ends when this is dropped.
pub(crate) enum Store {
    Folder(tempfile::TempDir),
    Bucket(Box<ObjectStore>),
}

impl Store {
    /// An empty folder.
    pub(crate) fn folder() -> Result<Self> {
        Ok(Self::Folder(tempfile::tempdir()?))
    }

    /// An empty bucket of a server of its own.
    pub(crate) fn bucket() -> Result<Self> {
        Ok(Self::Bucket(Box::new(ObjectStore::start(&[])?)))
    }

    /// One of each.
    pub(crate) fn both() -> Result<[Self; 2]> {
        Ok([Self::folder()?, Self::bucket()?])
    }

    /// An empty one of the same kind.
    pub(crate) fn another(&self) -> Result<Self> {
        match self {
            Self::Folder(_) => Self::folder(),
            Self::Bucket(_) => Self::bucket(),
        }
    }

    /// What `--store` is given.
    pub(crate) fn location(&self) -> String {
        match self {
            Self::Folder(folder) => folder.path().join("store").display().to_string(),
            Self::Bucket(_) => format!("s3://{BUCKET}/{PREFIX}"),
        }
    }

    /// Where its objects lie as files: versitygw keeps them so.
    pub(crate) fn root(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.path().join("store"),
            Self::Bucket(server) => server.bucket().join(PREFIX),
        }
    }

    /// image-census with these arguments, on this store.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .args(arguments)
            .args(["--store", &self.location()])
            .args(["--log-format", "text"]);
        if let Self::Bucket(server) = self {
            server.configure(&mut command);
        }
        command
    }

    /// `snapshot` of a pod list as of a time, with the cluster name `test`.
    pub(crate) fn snapshot(&self, pods: &Path, time: &str) -> Result<Command> {
        let mut command = self.command(&["snapshot", "--cluster-name", "test"]);
        // A variable, so that a test can name another.
        command.env("IMAGE_CENSUS_CRANE", crane()?);
        command.arg("--pods").arg(pods);
        command.args(["--snapshot-time", time]);
        Ok(command)
    }

    /// What a command that must succeed prints.
    pub(crate) fn print(&self, arguments: &[&str]) -> Result<String> {
        succeed(&mut self.command(arguments))
    }

    /// The same as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.print(arguments)?)?)
    }

    /// The rows of a run.
    pub(crate) fn rows(&self, run: &str) -> Result<Vec<Row>> {
        let csv = self.print(&["get", run, "--cluster", "test", "--format", "csv"])?;
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        Ok(reader
            .deserialize()
            .collect::<std::result::Result<_, _>>()?)
    }
}
