//! Helm, with the chart of this project and no settings of whoever runs the tests.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{Result, root, tool};

/// The release and its namespace.
pub(crate) const RELEASE: &str = "image-census";

/// Helm with folders of its own.
pub(crate) struct Helm {
    folder: tempfile::TempDir,
}

impl Helm {
    /// Nothing is started.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
        })
    }

    /// Helm itself, in the project's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(tool("bin/helm")?);
        for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(name, self.folder.path());
        }
        command.args(arguments).current_dir(root());
        Ok(command)
    }

    /// What it would install.
    pub(crate) fn template(&self) -> Result<Command> {
        let mut command = self.command(&["template", RELEASE, "cronjob/chart", "-n", RELEASE])?;
        command.args(["--kube-version", &kubernetes_version()?]);
        Ok(command)
    }

    /// The chart with values, as strictly as Helm judges.
    pub(crate) fn lint(&self) -> Result<Command> {
        let mut command = self.command(&["lint", "--strict", "cronjob/chart"])?;
        command.args(["--kube-version", &kubernetes_version()?]);
        Ok(command)
    }

    /// A file of values.
    pub(crate) fn values(&self, name: &str, values: &Value) -> Result<String> {
        let file = self.folder.path().join(format!("{name}.yaml"));
        fs::write(&file, values.to_string())?;
        Ok(file.display().to_string())
    }
}

/// The one that the tests' API server has; without a cluster, Helm takes a version of its own.
fn kubernetes_version() -> Result<String> {
    let versions = fs::read_to_string(root().join("scripts/versions.env"))?;
    let mut lines = versions.lines();
    let version = lines.find_map(|line| line.strip_prefix("KUBERNETES_VERSION="));
    Ok(version.ok_or("no KUBERNETES_VERSION")?.to_owned())
}
