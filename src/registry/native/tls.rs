//! Whom TLS trusts: the system's authorities, a bundle of the settings, or anybody where that was allowed.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// Where systems keep single certificates, besides the file that they keep them all in.
const FOLDERS: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// The system's certificates, by the variables that crane reads: each replaces one of two places.
pub(super) fn system_certificates() -> Vec<CertificateDer<'static>> {
    let set = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let (file, folders) = (set("SSL_CERT_FILE"), set("SSL_CERT_DIR"));
    let mut found = if file.is_none() && folders.is_none() {
        rustls_native_certs::load_native_certs()
    } else {
        rustls_native_certs::load_certs_from_paths(file.as_deref().map(Path::new), None)
    };
    let folders: Vec<PathBuf> = match (&file, &folders) {
        (_, Some(folders)) => std::env::split_paths(folders).collect(),
        (Some(_), None) => FOLDERS.into_iter().map(PathBuf::from).collect(),
        (None, None) => Vec::new(),
    };
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let more = rustls_native_certs::load_certs_from_paths(None, Some(folder));
        found.certs.extend(more.certs);
    }
    if found.certs.is_empty() {
        tracing::warn!(
            "no certificates of the system were found: set SSL_CERT_FILE, or no registry is trusted"
        );
    }
    found.certs
}

/// A client that trusts these, and a bundle.
pub(super) fn trusting(
    system: &[CertificateDer<'static>],
    bundle: Option<&Path>,
) -> io::Result<ClientConfig> {
    let mut certificates = system.to_vec();
    if let Some(bundle) = bundle {
        let more = CertificateDer::pem_file_iter(bundle).map_err(io::Error::other)?;
        for certificate in more {
            certificates.push(certificate.map_err(io::Error::other)?);
        }
    }
    let mut roots = RootCertStore::empty();
    // What cannot be parsed is nobody's certificate.
    roots.add_parsable_certificates(certificates.iter().cloned());
    let provider = provider();
    let verifier = if roots.is_empty() {
        None
    } else {
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        Some(builder.build().map_err(io::Error::other)?)
    };
    let whom = Whom::Trusted {
        verifier,
        certificates,
    };
    config(provider, whom)
}

/// A client that trusts anybody who has the certificate's key: `insecure`.
pub(super) fn trusting_anybody() -> io::Result<ClientConfig> {
    config(provider(), Whom::Anybody)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn config(provider: Arc<CryptoProvider>, whom: Whom) -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { whom, provider }));
    Ok(builder.with_no_client_auth())
}

/// Sees that a server has its certificate's key, and whether the certificate is trusted.
#[derive(Debug)]
struct Verifier {
    whom: Whom,
    provider: Arc<CryptoProvider>,
}

/// Whose certificate will do.
#[derive(Debug)]
enum Whom {
    /// Authorities; and certificates that are trusted themselves, which are often their own authority.
    /// Those webpki refuses as a server's, and Go does not.
    Trusted {
        verifier: Option<Arc<WebPkiServerVerifier>>,
        certificates: Vec<CertificateDer<'static>>,
    },
    Anybody,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Whom::Trusted {
            verifier,
            certificates,
        } = &self.whom
        else {
            return Ok(ServerCertVerified::assertion());
        };
        let Some(verifier) = verifier else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let found = verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        let found = match found {
            // Its time was looked at before this: one that is over is refused for that.
            Err(error) if is_authority(&error) && certificates.contains(end_entity) => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, name)
                    .map(|()| ServerCertVerified::assertion())
            }
            found => found,
        };
        match found {
            // Names are looked at last: all else is right.
            Err(error) if is_below_one_label(&error, name) => Ok(ServerCertVerified::assertion()),
            found => found,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Whether a certificate was refused as a server's because it may sign others.
fn is_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else {
        return false;
    };
    other.0.to_string() == "CaUsedAsEndEntity"
}

/// Whether a certificate is for all names below a domain of one label, `*.corp`, of which this is one.
/// webpki takes no such wildcard, and Go does; companies have them.
fn is_below_one_label(error: &rustls::Error, name: &ServerName<'_>) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
        presented,
        ..
    }) = error
    else {
        return false;
    };
    let ServerName::DnsName(name) = name else {
        return false;
    };
    let Some((_, domain)) = name.as_ref().split_once('.') else {
        return false;
    };
    let wildcard = format!("DnsName(\"*.{domain}\")");
    !domain.contains('.')
        && presented
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&wildcard))
}
