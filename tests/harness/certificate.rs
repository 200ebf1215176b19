//! A certificate by an authority of one's own.

use std::path::PathBuf;
use std::process::Command;

use super::{Result, succeed};

/// A certificate for 127.0.0.1, if not said otherwise, and the names of this machine, by an authority that
/// no system trusts.
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
        let path = |name: &str| folder.path().join(name).display().to_string();
        let authority = [path("authority.pem"), path("authority.key")];
        let names = [path("cert.pem"), path("key.pem")];
        succeed(&mut openssl("/CN=test authority", &authority))?;
        let mut leaf = openssl("/CN=test", &names);
        leaf.args(["-CA", &authority[0], "-CAkey", &authority[1]]);
        leaf.arg("-addext")
            .arg(format!("subjectAltName=IP:{address},DNS:*.localhost"));
        succeed(leaf.args(["-addext", "basicConstraints=critical,CA:FALSE"]))?;
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
        self.folder.path().join("authority.pem")
    }
}

/// Makes a key, and a certificate that its own key or another's vouches for.
fn openssl(subject: &str, [certificate, key]: &[String; 2]) -> Command {
    let mut openssl = Command::new("openssl");
    openssl.args(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '),
    );
    openssl.args(["-subj", subject, "-out", certificate, "-keyout", key]);
    openssl
}
