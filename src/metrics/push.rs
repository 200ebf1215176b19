//! The way to a Pushgateway: its address, and a push that is over soon, whatever answers.

use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::{Authority, Scheme};
use http::{Request, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::storage::ClusterName;

/// The text format's version 0.0.4, which every Pushgateway reads.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// For one attempt: a Pushgateway is near, and a push is some kilobytes.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Attempts after the first. With the pauses, all are over within 20 seconds.
const RETRIES: usize = 2;

/// A Pushgateway's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushgateway {
    scheme: Scheme,
    authority: Authority,
    /// What a proxy or `--web.route-prefix` puts before its own paths; without a slash at its end.
    prefix: String,
}

/// A text that is no address of a Pushgateway. It is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not such a URL.
    #[error("write it as http://host:port or https://host/path, without a query")]
    Url,
    /// With a user.
    #[error(
        "it holds a user name or password, which would stand in process lists and ConfigMaps: name a Pushgateway that asks for none"
    )]
    Credentials,
}

impl FromStr for Pushgateway {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let uri: Uri = text.parse().map_err(|_| AddressError::Url)?;
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let bare = uri.query().is_none() && !text.contains('#');
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(AddressError::Url);
        };
        if authority.as_str().contains('@') {
            return Err(AddressError::Credentials);
        }
        let known = [Scheme::HTTP, Scheme::HTTPS].contains(&scheme);
        if known && bare && !authority.host().is_empty() {
            Ok(Self {
                scheme,
                authority,
                prefix,
            })
        } else {
            Err(AddressError::Url)
        }
    }
}

/// Why a push failed. Nothing of an answer but its status is repeated.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Certificates for an https address.
    #[error("the system's certificates could not be read")]
    Certificates(#[source] std::io::Error),
    /// An address that is none.
    #[error("no request could be made of the address")]
    Request(#[source] http::Error),
    /// No connection, or one that broke off.
    #[error("it cannot be reached or broke off: {0}")]
    Connection(String),
    /// Nothing for too long.
    #[error("it did not answer within {} s", ATTEMPT.as_secs())]
    TimedOut,
    /// Not 2xx.
    #[error("it answered {0}")]
    Status(u16),
}

impl PushError {
    /// What it answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(*status),
            _ => None,
        }
    }

    /// Whether asking again may help.
    fn may_pass(&self) -> bool {
        match self {
            Self::Connection(_) | Self::TimedOut => true,
            Self::Status(status) => matches!(status, 408 | 429 | 500..),
            Self::Certificates(_) | Self::Request(_) => false,
        }
    }
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

impl Pushgateway {
    /// Host and port.
    pub fn host(&self) -> &str {
        self.authority.as_str()
    }

    /// The group of a cluster's metrics. A cluster's name needs no encoding: its grammar has neither
    /// slashes nor percent signs, and it does not begin with a dot.
    fn group(&self, cluster: &ClusterName) -> String {
        let Self {
            scheme,
            authority,
            prefix,
        } = self;
        format!("{scheme}://{authority}{prefix}/metrics/job/image-census/cluster/{cluster}")
    }

    /// Pushes metrics of a cluster: those of the same names are replaced, others stay.
    pub async fn push(&self, cluster: &ClusterName, metrics: String) -> Result<(), PushError> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(PushError::Certificates)?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let (group, metrics) = (self.group(cluster), Bytes::from(metrics));
        let pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(500))
            .with_max_times(RETRIES)
            .with_jitter();
        (|| once(&client, &group, &metrics))
            .retry(pauses)
            .when(PushError::may_pass)
            .await
    }
}

/// One attempt. Of the answer, the head alone is read; redirects are not followed.
async fn once(client: &HttpClient, group: &str, metrics: &Bytes) -> Result<(), PushError> {
    let request = Request::post(group)
        .header(CONTENT_TYPE, TEXT_FORMAT)
        .body(Full::new(metrics.clone()))
        .map_err(PushError::Request)?;
    let response = tokio::time::timeout(ATTEMPT, client.request(request)).await;
    let response = response.map_err(|_| PushError::TimedOut)?;
    let status = response
        .map_err(|error| PushError::Connection(innermost(&error)))?
        .status();
    if status.is_success() {
        Ok(())
    } else {
        Err(PushError::Status(status.as_u16()))
    }
}

/// What the system or TLS say; the errors around it only say that it was so.
fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    crate::report::plain(&innermost.to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_without_credentials_or_query() {
        for (text, group) in [
            ("http://gw:9091", "http://gw:9091/"),
            ("http://gw:9091/", "http://gw:9091/"),
            ("https://gw.example/push//", "https://gw.example/push/"),
            ("http://[::1]:9091", "http://[::1]:9091/"),
        ] {
            let gateway: Result<Pushgateway, _> = text.parse();
            let cluster: Result<ClusterName, _> = "prod-eu".parse();
            let found = gateway.ok().zip(cluster.ok());
            let found = found.map(|(gateway, cluster)| gateway.group(&cluster));
            let expected = format!("{group}metrics/job/image-census/cluster/prod-eu");
            assert_eq!(found, Some(expected), "{text}");
        }
        for (text, error) in [
            ("", AddressError::Url),
            ("gw:9091", AddressError::Url),
            ("/metrics", AddressError::Url),
            ("ftp://gw", AddressError::Url),
            ("http://:9091", AddressError::Url),
            ("http://gw/?a=b", AddressError::Url),
            ("http://gw/#a", AddressError::Url),
            ("http://gw/a b", AddressError::Url),
            ("http://me:hUnTeR2@gw:9091", AddressError::Credentials),
            ("https://me@gw", AddressError::Credentials),
        ] {
            assert_eq!(text.parse::<Pushgateway>(), Err(error), "{text}");
        }
    }
}
