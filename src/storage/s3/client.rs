//! From settings to a client: endpoint, region, certificates, proxy, retries and time limits.
//!
//! Credentials are the SDK's business (environment, profile, web identity, Pod Identity, instance):
//! they are resolved when a request is signed, so that they may change during a long run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::types::ServerSideEncryption;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject};

/// A part of 8 MiB at this pace still arrives: 140 KB a second.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// All attempts of one request together.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(300);
/// A connection is there within this time or the host is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Five attempts outlast the seconds of a SlowDown or a fail-over.
const ATTEMPTS: u32 = 5;
/// The largest certificate bundle of a system has 250 KiB.
const MAX_CA_BUNDLE_BYTES: u64 = 8 << 20;

/// How the object store is spoken to.
#[derive(Debug, Clone, Default)]
pub struct S3Settings {
    /// Another service's address; AWS' own for the region if not given.
    pub endpoint: Option<Endpoint>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`.
    pub path_style: bool,
    /// The region, if not the environment's or the profile's.
    pub region: Option<String>,
    /// Server-side encryption to ask for.
    pub encryption: Option<Encryption>,
    /// The key for KMS encryption.
    pub kms_key: Option<String>,
    /// When checksums are sent.
    pub checksum: Checksum,
    /// Whether objects are created with `If-None-Match: *`.
    pub conditional_put: bool,
    /// Certificates to trust besides the system's, PEM.
    pub ca_bundle: Option<PathBuf>,
}

/// The address of an S3 service: scheme, host and port, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// The address as a URL without a path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str =
            "write it as https://host or http://host:port, without user, path or query";
        let uri: http::Uri = text.parse().map_err(|_| HELP)?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if matches!(scheme, "http" | "https") && bare && !authority.contains('@') {
            Ok(Self(format!("{scheme}://{authority}")))
        } else {
            Err(HELP)
        }
    }
}

/// Server-side encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Encryption {
    /// Keys of the service.
    Aes256,
    /// A key of the Key Management Service.
    #[value(name = "aws:kms")]
    Kms,
    /// Two layers of encryption with such a key.
    #[value(name = "aws:kms:dsse")]
    KmsDsse,
}

impl From<Encryption> for ServerSideEncryption {
    fn from(encryption: Encryption) -> Self {
        match encryption {
            Encryption::Aes256 => Self::Aes256,
            Encryption::Kms => Self::AwsKms,
            Encryption::KmsDsse => Self::AwsKmsDsse,
        }
    }
}

/// When checksums are sent with uploads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Checksum {
    /// CRC32 on AWS, none on other endpoints, some of which refuse it
    #[default]
    Auto,
    /// CRC32 with every upload
    Crc32,
    /// Only where the service demands one
    WhenRequired,
}

/// Settings that no client can be made of.
#[derive(Debug, thiserror::Error)]
pub enum S3SettingsError {
    /// The bundle cannot be read.
    #[error("could not read the certificates in {path}")]
    CaBundle {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The bundle holds no certificates.
    #[error("{0} is no bundle of certificates in PEM form")]
    NoCertificates(String),
    /// No region for AWS.
    #[error("no AWS region is set: give --s3-region or AWS_REGION")]
    NoRegion,
    /// An address in the environment is none.
    #[error("{0} is no address of a service: write it as https://host or http://host:port")]
    Endpoint(&'static str),
}

/// A client, and what the store must know of how it was made.
pub(super) struct Connection {
    pub(super) client: Client,
    /// Shown in errors.
    pub(super) endpoint: String,
    /// Whether uploads carry a CRC32.
    pub(super) checksums: bool,
}

/// Makes a client; nothing is sent to the store yet.
pub(super) async fn connect(settings: &S3Settings) -> Result<Connection, S3SettingsError> {
    let endpoint = match &settings.endpoint {
        Some(endpoint) => Some(endpoint.clone()),
        None => endpoint_of_environment()?,
    };
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build(),
        );
    let bundle = settings
        .ca_bundle
        .clone()
        .or_else(|| std::env::var_os("AWS_CA_BUNDLE").map(Into::into));
    if let Some(bundle) = bundle.filter(|path| !path.as_os_str().is_empty()) {
        loader = loader.http_client(trusting(&bundle)?);
    }
    let region = region(settings, endpoint.is_some()).await;
    let region = region.ok_or(S3SettingsError::NoRegion)?;
    let shown = endpoint.as_ref().map_or_else(
        || format!("https://s3.{region}.amazonaws.com"),
        |endpoint| endpoint.as_str().to_owned(),
    );
    let checksums = match settings.checksum {
        Checksum::Auto => endpoint.is_none(),
        Checksum::Crc32 => true,
        Checksum::WhenRequired => false,
    };
    let shared = loader.region(region).load().await;
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(settings.path_style)
        .request_checksum_calculation(if checksums {
            RequestChecksumCalculation::WhenSupported
        } else {
            RequestChecksumCalculation::WhenRequired
        })
        // Content is checked against the manifest's SHA-256 in any case.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    config.set_endpoint_url(endpoint.map(|endpoint| endpoint.0));
    Ok(Connection {
        client: Client::from_conf(config.build()),
        endpoint: shown,
        checksums,
    })
}

/// The variables that the AWS tools know, the more specific first.
fn endpoint_of_environment() -> Result<Option<Endpoint>, S3SettingsError> {
    for name in ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"] {
        match std::env::var(name) {
            Ok(text) if !text.is_empty() => {
                let endpoint = text.parse().map_err(|_| S3SettingsError::Endpoint(name))?;
                return Ok(Some(endpoint));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The region of flag, environment or profile; then, on AWS, of the instance, and elsewhere the one
/// that other services take for any.
async fn region(settings: &S3Settings, custom_endpoint: bool) -> Option<Region> {
    let chain = RegionProviderChain::first_try(settings.region.clone().map(Region::new));
    if custom_endpoint {
        // Asking the metadata service takes seconds where there is none.
        return chain
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else(Region::from_static("us-east-1"))
            .region()
            .await;
    }
    chain.or_default_provider().region().await
}

/// An HTTP client that trusts the system's certificates and those of a bundle. The SDK panics on a
/// bundle that it cannot read, so it is read here first.
fn trusting(path: &Path) -> Result<aws_sdk_s3::config::SharedHttpClient, S3SettingsError> {
    use std::io::Read;

    let shown = || crate::report::plain(&path.display().to_string()).into_owned();
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_CA_BUNDLE_BYTES).read_to_end(&mut pem))
        .map_err(|source| S3SettingsError::CaBundle {
            path: shown(),
            source,
        })?;
    let not_certificates = || S3SettingsError::NoCertificates(shown());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| not_certificates())?;
        roots.add(certificate).map_err(|_| not_certificates())?;
    }
    if roots.is_empty() {
        return Err(not_certificates());
    }
    let context = TlsContext::builder()
        .with_trust_store(TrustStore::default().with_pem_certificate(pem))
        .build()
        .map_err(|_| not_certificates())?;
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_scheme_host_and_port_only() {
        for (text, expected) in [
            ("https://minio.example", Some("https://minio.example")),
            ("http://127.0.0.1:7070/", Some("http://127.0.0.1:7070")),
            ("minio.example:9000", None),
            ("https://user:secret@minio.example", None),
            ("https://minio.example/bucket", None),
            ("https://minio.example?x", None),
            ("ftp://minio.example", None),
            ("", None),
        ] {
            let endpoint = text.parse::<Endpoint>().ok();
            assert_eq!(endpoint.as_ref().map(Endpoint::as_str), expected, "{text}");
        }
    }
}
