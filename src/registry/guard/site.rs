//! The rules of the place where we run: a pod or a person's machine, and where the API server is.

use std::net::{IpAddr, SocketAddr};

use super::host_port::HostPort;
use super::policy::Rules;
use super::resolve::{Resolve, SystemResolver, cluster_domain};

/// What a pod's environment says of the API server.
const API_SERVER: [(&str, &str); 2] = [
    ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"),
    ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT_HTTPS"),
];

impl Rules {
    /// Reads the environment and resolv.conf. `api_server` is the one that the pods are listed from, if
    /// there is one.
    pub async fn of_this_place(
        in_cluster: bool,
        allowed: Vec<HostPort>,
        api_server: Option<HostPort>,
    ) -> Self {
        let from_environment = API_SERVER.iter().filter_map(|(host, port)| {
            let host = std::env::var(host).ok()?;
            // IPv6 addresses come without brackets.
            let host = match host.parse::<IpAddr>() {
                Ok(IpAddr::V6(address)) => format!("[{address}]"),
                _ => host,
            };
            let port = std::env::var(port).ok()?.parse().ok()?;
            HostPort::parse(&host, Some(port)).ok()
        });
        let mut servers: Vec<_> = from_environment.chain(api_server).collect();
        servers.sort();
        servers.dedup();
        let resolver = SystemResolver { absolute: false };
        let mut api_addresses = Vec::new();
        for server in &servers {
            // One that cannot be resolved is still refused by its name.
            let found = resolver.resolve(server).await.unwrap_or_default();
            api_addresses.extend(found.iter().map(|ip| SocketAddr::new(*ip, server.port)));
        }
        let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        Self {
            in_cluster,
            allowed,
            api_server: servers,
            api_addresses,
            cluster_domain: cluster_domain(&resolv_conf),
        }
    }
}
