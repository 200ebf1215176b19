//! A certificate of one's own.

use std::path::PathBuf;
use std::process::Command;

use super::{Result, succeed};

/// A certificate, for 127.0.0.1 if not said otherwise, that no system trusts.
pub(crate) struct Certificate {
    folder: tempfile::TempDir,
    names: [String; 2],
}

impl Certificate {
    pub(crate) fn new() -> Result<Self> {
        Self::for_address("127.0.0.1")
    }

    /// The same for another address.
    pub(crate) fn for_address(address: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let names =
            ["cert.pem", "key.pem"].map(|name| folder.path().join(name).display().to_string());
        let mut openssl = Command::new("openssl");
        openssl.args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '),
        );
        openssl.args(["-subj", "/CN=test", "-addext"]);
        openssl.arg(format!("subjectAltName=IP:{address}"));
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        succeed(openssl.args(["-out", &names[0], "-keyout", &names[1]]))?;
        Ok(Self { folder, names })
    }

    /// As versitygw takes it.
    pub(crate) fn arguments(&self) -> [&str; 4] {
        ["--cert", &self.names[0], "--key", &self.names[1]]
    }

    /// The files of certificate and key.
    pub(crate) fn names(&self) -> &[String; 2] {
        &self.names
    }

    /// What makes a client trust it.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }
}
