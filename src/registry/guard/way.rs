//! The way out: a host is judged by its name, resolved, judged by its addresses, and connected to at the
//! very address that was judged. The guard's proxy goes it for crane; the native engine goes it itself.

use std::net::IpAddr;

use http::HeaderValue;
use hyper_util::client::proxy::matcher::Intercept;

use super::host_port::HostPort;
use super::policy::{Pass, Rules, check_addresses, check_name};
use super::resolve::Resolve;
use super::upstream::{Stream, Upstream, connect};
use super::visit::Verdict;

/// What decides whether and how a host is reached.
pub struct Way {
    rules: Rules,
    upstream: Upstream,
    resolver: Box<dyn Resolve>,
}

/// A connection for plain HTTP.
pub(in crate::registry) struct Plain {
    pub(in crate::registry) stream: Box<dyn Stream>,
    /// Whether it leads to a company's proxy, which passes a request on.
    pub(in crate::registry) is_proxied: bool,
}

impl Way {
    /// By these rules, through these proxies.
    pub fn new(rules: Rules, upstream: Upstream, resolver: impl Resolve) -> Self {
        Self {
            rules,
            upstream,
            resolver: Box::new(resolver),
        }
    }

    /// What holds for all.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// A connection by which a tunnel or TLS goes on.
    pub(in crate::registry) async fn open(
        &self,
        pass: &Pass,
        host: &HostPort,
    ) -> Result<Box<dyn Stream>, Verdict> {
        let unreachable = |_| Verdict::Unreachable(host.clone());
        check_name(&self.rules, pass, host, false).map_err(Verdict::Refused)?;
        // A company's proxy resolves the name itself; it is outside, and reaches nothing of ours.
        if let Some(proxy) = self.proxy_for(host, false) {
            return self
                .upstream
                .tunnel(&proxy, host)
                .await
                .map_err(unreachable);
        }
        let addresses = self.resolve(pass, host, false).await?;
        connect(&addresses, host.port).await.map_err(unreachable)
    }

    /// A connection for a request in clear.
    pub(in crate::registry) async fn open_plain(
        &self,
        pass: &Pass,
        host: &HostPort,
    ) -> Result<Plain, Verdict> {
        let unreachable = |_| Verdict::Unreachable(host.clone());
        check_name(&self.rules, pass, host, true).map_err(Verdict::Refused)?;
        if let Some(proxy) = self.proxy_for(host, true) {
            let stream = self.upstream.to_proxy(&proxy).await;
            return Ok(Plain {
                stream: stream.map_err(unreachable)?,
                is_proxied: true,
            });
        }
        let addresses = self.resolve(pass, host, true).await?;
        let stream = connect(&addresses, host.port).await;
        Ok(Plain {
            stream: stream.map_err(unreachable)?,
            is_proxied: false,
        })
    }

    /// Whether a proxy passes on what is asked of a host in clear, and its credential.
    pub(in crate::registry) fn proxy_in_clear(
        &self,
        host: &HostPort,
    ) -> Option<Option<HeaderValue>> {
        let proxy = self.proxy_for(host, true)?;
        Some(proxy.basic_auth().cloned())
    }

    /// No proxy leads to this machine.
    fn proxy_for(&self, host: &HostPort, plain: bool) -> Option<Intercept> {
        if host.is_past_proxies() {
            return None;
        }
        self.upstream.proxy_for(host, plain)
    }

    /// A connection to a registry on this machine that was judged before, past every proxy.
    pub(in crate::registry) async fn open_own(
        &self,
        host: &HostPort,
    ) -> Result<Box<dyn Stream>, Verdict> {
        let found = self.resolver.resolve(host).await;
        let addresses = found.map_err(|_| Verdict::NoSuchHost(host.clone()))?;
        let stream = connect(&addresses, host.port).await;
        stream.map_err(|_| Verdict::Unreachable(host.clone()))
    }

    /// Addresses that were checked: nothing is resolved again before the connection.
    async fn resolve(
        &self,
        pass: &Pass,
        host: &HostPort,
        plain: bool,
    ) -> Result<Vec<IpAddr>, Verdict> {
        let found = self.resolver.resolve(host).await;
        let addresses = found.map_err(|_| Verdict::NoSuchHost(host.clone()))?;
        check_addresses(&self.rules, pass, host, plain, &addresses).map_err(Verdict::Refused)?;
        Ok(addresses)
    }
}
