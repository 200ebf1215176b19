//! The way out: straight to an address that was checked, or through a company's proxy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tower_service::Service;

use super::host_port::HostPort;

/// How long one address may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// A connection to somewhere.
pub(in crate::registry) trait Stream:
    AsyncRead + AsyncWrite + Send + Unpin
{
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The proxies of our own environment, as far as crane would have used them.
pub struct Upstream {
    proxies: Matcher,
    connector: Option<HttpsConnector<HttpConnector>>,
}

/// A proxy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Not a URL, or of a kind that is not spoken here.
    #[error("{0} is not the URL of an HTTP proxy, e.g. http://proxy.example:3128")]
    Url(&'static str),
    /// Certificates for an https proxy.
    #[error("the system's certificates for the proxy could not be read")]
    Certificates(#[source] io::Error),
}

impl Upstream {
    /// No proxy.
    pub fn direct() -> Self {
        Self {
            proxies: Matcher::builder().build(),
            connector: None,
        }
    }

    /// The proxies that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name, in the spellings that Go reads.
    pub fn from_environment() -> Result<Self, UpstreamError> {
        let first = |names: [&'static str; 2]| {
            let set = names.into_iter().find_map(|name| {
                let value = std::env::var(name).ok()?;
                (!value.is_empty()).then_some((name, value))
            });
            set.unwrap_or_default()
        };
        let https = first(["HTTPS_PROXY", "https_proxy"]);
        let http = first(["HTTP_PROXY", "http_proxy"]);
        let (_, exempt) = first(["NO_PROXY", "no_proxy"]);
        for (name, url) in [&https, &http] {
            if !url.is_empty() && !is_http_proxy(url) {
                return Err(UpstreamError::Url(name));
            }
        }
        Self::through(&https.1, &http.1, &exempt)
    }

    /// These proxies, by their URLs; an empty one is none.
    pub(super) fn through(https: &str, http: &str, exempt: &str) -> Result<Self, UpstreamError> {
        if https.is_empty() && http.is_empty() {
            return Ok(Self::direct());
        }
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let builder = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(UpstreamError::Certificates)?;
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIME));
        tcp.enforce_http(false);
        Ok(Self {
            proxies: Matcher::builder()
                .https(https)
                .http(http)
                .no(exempt)
                .build(),
            connector: Some(builder.https_or_http().enable_http1().wrap_connector(tcp)),
        })
    }

    /// The proxy through which a host is reached; it resolves the host's name.
    pub(super) fn proxy_for(&self, host: &HostPort, plain: bool) -> Option<Intercept> {
        let scheme = if plain { "http" } else { "https" };
        let uri: Uri = format!("{scheme}://{host}/").parse().ok()?;
        self.proxies.intercept(&uri)
    }

    /// A tunnel through a proxy.
    pub(super) async fn tunnel(
        &self,
        proxy: &Intercept,
        host: &HostPort,
    ) -> io::Result<Box<dyn Stream>> {
        let connector = self.connector.clone().ok_or(io::ErrorKind::Unsupported)?;
        let mut tunnel = Tunnel::new(proxy.uri().clone(), connector);
        if let Some(credential) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(credential.clone());
        }
        let target: Uri = format!("https://{host}/")
            .parse()
            .map_err(io::Error::other)?;
        let stream = tunnel.call(target).await.map_err(io::Error::other)?;
        Ok(Box::new(TokioIo::new(stream)))
    }

    /// A connection to a proxy, for a request that it passes on.
    pub(super) async fn to_proxy(&self, proxy: &Intercept) -> io::Result<Box<dyn Stream>> {
        let mut connector = self.connector.clone().ok_or(io::ErrorKind::Unsupported)?;
        let stream = connector.call(proxy.uri().clone()).await;
        let stream = stream.map_err(io::Error::other)?;
        Ok(Box::new(TokioIo::new(stream)))
    }
}

/// Whether a proxy is spoken to by HTTP; without a scheme it is.
pub(super) fn is_http_proxy(url: &str) -> bool {
    let uri: Result<Uri, _> = url.parse();
    uri.is_ok_and(|uri| {
        uri.host().is_some() && matches!(uri.scheme_str(), None | Some("http" | "https"))
    })
}

/// Connects to the first address that accepts. They were checked, and nothing else is connected to.
pub(super) async fn connect(addresses: &[IpAddr], port: u16) -> io::Result<Box<dyn Stream>> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in addresses {
        let target = SocketAddr::new(*address, port);
        match tokio::time::timeout(CONNECT_TIME, TcpStream::connect(target)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(Box::new(stream));
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}
