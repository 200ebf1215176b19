//! Names to addresses, by the system, and never by way of a cluster's search domains.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use async_trait::async_trait;

use super::host_port::HostPort;

/// Longest wait for an answer; the system's resolver asks several servers several times.
const TIME: Duration = Duration::from_secs(15);

/// Where names are looked up. A trait so that tests can say what a name leads to.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of a host; at least one.
    async fn resolve(&self, host: &HostPort) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver {
    /// Whether names are whole. In a pod `vault.vault` would become `vault.vault.svc.cluster.local` by
    /// the search domains of its resolv.conf, and no rule on names would have seen that.
    pub absolute: bool,
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &HostPort) -> io::Result<Vec<IpAddr>> {
        if let Some(address) = host.address() {
            return Ok(vec![address]);
        }
        // RFC 6761: these are this machine, whatever a server says; not every system knows it.
        if host.is_local() {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        // A name of the pod's hostAliases is found without a final dot only.
        let name = if self.absolute && !is_in_hosts_file(&host.host) {
            format!("{}.", host.host)
        } else {
            host.host.to_string()
        };
        let lookup = tokio::net::lookup_host((name, host.port));
        let found = tokio::time::timeout(TIME, lookup).await??;
        let addresses: Vec<_> = found.map(|address| address.ip()).collect();
        if addresses.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(addresses)
    }
}

fn is_in_hosts_file(host: &str) -> bool {
    let text = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    text.lines().any(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut names = line.split_whitespace().skip(1);
        names.any(|name| name.eq_ignore_ascii_case(host))
    })
}

/// The cluster's own domain, which Kubernetes writes into a pod's resolv.conf: `svc.DOMAIN` is searched.
pub(super) fn cluster_domain(resolv_conf: &str) -> Option<String> {
    let search = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("search "))
        .next_back()?;
    let mut domains = search.split_whitespace();
    let domain = domains.find_map(|domain| domain.strip_prefix("svc."))?;
    Some(domain.trim_end_matches('.').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clusters_domain_is_read_from_the_search_list() {
        let text = "search team-a.svc.k8s.corp svc.k8s.corp k8s.corp corp\nnameserver 10.96.0.10\noptions ndots:5\n";
        assert_eq!(cluster_domain(text).as_deref(), Some("k8s.corp"));
        assert_eq!(cluster_domain("search corp\n"), None);
        assert_eq!(cluster_domain("nameserver 1.1.1.1\n"), None);
    }

    #[tokio::test]
    async fn names_of_this_machine_need_no_server() -> Result<(), Box<dyn std::error::Error>> {
        for absolute in [false, true] {
            let resolver = SystemResolver { absolute };
            let found = resolver.resolve(&"x.localhost:1".parse()?).await?;
            assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
            let found = resolver.resolve(&"10.0.0.5:1".parse()?).await?;
            assert_eq!(found, ["10.0.0.5".parse::<IpAddr>()?]);
        }
        Ok(())
    }
}
