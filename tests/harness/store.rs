//! A store of either kind, for tests that hold on both: a folder, or a bucket of a real S3 server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::object_store::{BUCKET, ObjectStore};
use super::{Result, Row, crane, program, succeed};

/// What the bucket's keys begin with.
const PREFIX: &str = "fleet/census";

/// A store; it ends when this is dropped.
pub(crate) enum Store {
    Folder(tempfile::TempDir),
    /// A folder that somebody else keeps.
    At(PathBuf),
    Bucket(Bucket),
}

/// A part of a bucket.
pub(crate) struct Bucket {
    server: Arc<ObjectStore>,
    prefix: String,
    /// Instead of the server's own address.
    endpoint: Option<String>,
}

impl Store {
    /// An empty folder.
    pub(crate) fn folder() -> Result<Self> {
        Ok(Self::Folder(tempfile::tempdir()?))
    }

    /// An empty bucket of a server of its own.
    pub(crate) fn bucket() -> Result<Self> {
        Ok(Self::part_of(&Arc::new(ObjectStore::start(&[])?), PREFIX))
    }

    /// An empty part of a server's bucket.
    pub(crate) fn part_of(server: &Arc<ObjectStore>, prefix: &str) -> Self {
        Self::Bucket(Bucket {
            server: Arc::clone(server),
            prefix: prefix.to_owned(),
            endpoint: None,
        })
    }

    /// The same bucket by another way, such as a proxy's `127.0.0.1:PORT`; a folder has one only.
    pub(crate) fn through(&self, address: &str) -> Result<Self> {
        let Self::Bucket(bucket) = self else {
            return Err("a folder is reached directly".into());
        };
        Ok(Self::Bucket(Bucket {
            server: Arc::clone(&bucket.server),
            prefix: bucket.prefix.clone(),
            endpoint: Some(format!("http://{address}")),
        }))
    }

    /// The server of a bucket.
    pub(crate) fn server(&self) -> Option<&ObjectStore> {
        match self {
            Self::Bucket(bucket) => Some(&bucket.server),
            Self::Folder(_) | Self::At(_) => None,
        }
    }

    /// One of each.
    pub(crate) fn both() -> Result<[Self; 2]> {
        Ok([Self::folder()?, Self::bucket()?])
    }

    /// An empty one of the same kind.
    pub(crate) fn another(&self) -> Result<Self> {
        match self {
            Self::Folder(_) | Self::At(_) => Self::folder(),
            Self::Bucket(_) => Self::bucket(),
        }
    }

    /// What `--store` is given.
    pub(crate) fn location(&self) -> String {
        match self {
            Self::Folder(folder) => folder.path().join("store").display().to_string(),
            Self::At(path) => path.display().to_string(),
            Self::Bucket(bucket) => format!("s3://{BUCKET}/{}", bucket.prefix),
        }
    }

    /// Where its objects lie as files: versitygw keeps them so.
    pub(crate) fn root(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.path().join("store"),
            Self::At(path) => path.clone(),
            Self::Bucket(bucket) => bucket.server.bucket().join(&bucket.prefix),
        }
    }

    /// image-census with these arguments, on this store.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .args(arguments)
            .args(["--store", &self.location()])
            .args(["--log-format", "text"]);
        if let Self::Bucket(bucket) = self {
            bucket.server.configure(&mut command);
            if let Some(endpoint) = &bucket.endpoint {
                command.env("IMAGE_CENSUS_S3_ENDPOINT", endpoint);
            }
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
