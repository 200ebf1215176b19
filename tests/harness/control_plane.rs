//! A real API server with etcd, by `scripts/control-plane`.

use std::path::PathBuf;
use std::process::Command;

use super::{Result, root, succeed, tool};

/// A running control plane; it ends when this is dropped.
pub(crate) struct ControlPlane {
    folder: tempfile::TempDir,
}

impl ControlPlane {
    /// Starts an empty one.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        succeed(script().arg("up").arg(folder.path()))?;
        Ok(Self { folder })
    }

    /// The administrator's kubeconfig; its context is `lab`.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// kubectl as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(tool("bin/kubectl")?);
        // Its cache of the API must not be another run's, nor fill the user's home.
        command
            .arg("--cache-dir")
            .arg(self.folder.path().join("cache"));
        command.env("KUBECONFIG", self.kubeconfig()).args(arguments);
        Ok(command)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let _ = script().arg("down").arg(self.folder.path()).output();
    }
}

fn script() -> Command {
    Command::new(root().join("scripts/control-plane"))
}
