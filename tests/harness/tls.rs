//! TLS in front of a plain server on loopback, with a certificate of one's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::{Result, succeed};

/// A running front; it ends when this is dropped.
pub(crate) struct Front {
    /// Of 127.0.0.1.
    pub(crate) port: u16,
    _runtime: Runtime,
}

/// A certificate for hosts, its own authority.
pub(crate) struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    /// Makes one.
    pub(crate) fn new(hosts: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut openssl = request(hosts);
        openssl.args(["-x509", "-days", "2", "-out", "certificate.pem"]);
        succeed(openssl.current_dir(folder.path()))?;
        Ok(Self { folder })
    }

    /// Makes one that has expired.
    pub(crate) fn expired(hosts: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut openssl = request(hosts);
        succeed(openssl.args(["-out", "request.pem"]).current_dir(&folder))?;
        // Only `openssl ca` makes one whose time is over.
        fs::write(folder.path().join("ca.conf"), CA)?;
        fs::write(folder.path().join("index"), "")?;
        let mut openssl = Command::new("openssl");
        openssl.args("ca -batch -notext -config ca.conf -selfsign -keyfile key.pem".split(' '));
        openssl.args("-startdate 20240101000000Z -enddate 20240201000000Z".split(' '));
        openssl.args(["-in", "request.pem", "-out", "certificate.pem"]);
        succeed(openssl.current_dir(&folder))?;
        Ok(Self { folder })
    }

    /// For SSL_CERT_FILE.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// A server's settings with it, which speaks these protocols; none is HTTP/1.1.
    pub(crate) fn server(&self, protocols: &[&[u8]]) -> Result<ServerConfig> {
        let mut config = config(&self.file(), &self.key())?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}

/// The settings of an authority that signs what it is given.
const CA: &str = "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nnew_certs_dir = .\nrand_serial = yes\n\
    default_md = sha256\ncopy_extensions = copy\npolicy = any\n[any]\ncommonName = supplied\n";

/// `openssl req` with a new key, `key.pem`.
fn request(hosts: &[&str]) -> Command {
    let names: Vec<_> = hosts.iter().map(|host| format!("DNS:{host}")).collect();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-newkey", "ec", "-nodes", "-keyout", "key.pem"]);
    openssl.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=test"]);
    openssl.args(["-addext", &format!("subjectAltName={}", names.join(","))]);
    openssl
}

impl Front {
    /// Listens on a free port and passes what comes on to `server`.
    pub(crate) fn start(certificate: &Certificate, server: &str) -> Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(certificate.server(&[])?));
        let (runtime, listener, port) = listen()?;
        let server = server.to_owned();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, server) = (acceptor.clone(), server.clone());
                tokio::spawn(async move {
                    let mut client = acceptor.accept(client).await?;
                    let mut server = TcpStream::connect(server).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Ok(Self {
            port,
            _runtime: runtime,
        })
    }
}

/// A thread of its own, what listens on it, and on which port.
pub(super) fn listen() -> Result<(Runtime, TcpListener, u16)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let port = listener.local_addr()?.port();
    Ok((runtime, listener, port))
}

pub(super) fn config(certificate: &Path, key: &Path) -> Result<ServerConfig> {
    let certificate = CertificateDer::from_pem_file(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?)
}
