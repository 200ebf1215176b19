//! A real API server with etcd, by `scripts/control-plane`.

use std::path::PathBuf;
use std::process::Command;

use super::{Result, root, succeed};

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
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let _ = script().arg("down").arg(self.folder.path()).output();
    }
}

fn script() -> Command {
    Command::new(root().join("scripts/control-plane"))
}
