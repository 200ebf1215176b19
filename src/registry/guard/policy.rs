//! What one crane process may reach: host, port and addresses against its [`Pass`].
//!
//! Everything here is decided from its arguments; the proxy asks, and does what it is told. A name is
//! judged before it is resolved, its addresses before anything is sent to one of them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::address::Place;
use super::host_port::{HostPort, HostPortError};
use crate::registry::pattern::matches_label;

/// What holds for all processes of a run.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Whether we run in a pod. Elsewhere this machine's own registries are a person's.
    pub in_cluster: bool,
    /// What the operator has named, host and port: the rules on names, addresses and plain HTTP do not
    /// hold for it.
    pub allowed: Vec<HostPort>,
    /// The API server, as it is named.
    pub api_server: Vec<HostPort>,
    /// The API server's addresses, each with its port.
    pub api_addresses: Vec<SocketAddr>,
    /// The cluster's own domain, if it is another than `cluster.local`.
    pub cluster_domain: Option<String>,
}

/// What one process is for.
#[derive(Debug, Clone)]
pub struct Pass {
    /// The registry, by TLS.
    pub registry: HostPort,
    /// The registry, by plain HTTP: the same, or port 80 where none is named.
    pub plain_registry: HostPort,
    /// Where else the registry leads: its token and blob hosts.
    pub extra: Vec<HostPattern>,
    /// With a credential in play, nothing but the registry and `extra` is reached.
    pub has_credential: bool,
    /// Whether the registry may be spoken to without TLS.
    pub plain_http: bool,
    /// Bytes in both directions.
    pub max_bytes: u64,
}

impl Pass {
    /// The pass for a registry as references name it.
    pub fn new(registry: &str, max_bytes: u64) -> Result<Self, HostPortError> {
        // crane asks Docker Hub there.
        let host = match registry {
            "docker.io" => "index.docker.io",
            other => other,
        };
        let registry = HostPort::parse(host, Some(443))?;
        Ok(Self {
            plain_registry: HostPort::parse(host, Some(80))?,
            extra: super::presets::hosts_of(&registry.host),
            registry,
            has_credential: false,
            plain_http: false,
            max_bytes,
        })
    }

    fn is_registry(&self, host: &HostPort, plain: bool) -> bool {
        let registry = if plain {
            &self.plain_registry
        } else {
            &self.registry
        };
        host == registry
    }

    fn is_extra(&self, host: &HostPort) -> bool {
        self.extra.iter().any(|pattern| pattern.matches(host))
    }
}

/// A host, with `*` for any characters within a label, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    labels: String,
    port: u16,
}

impl HostPattern {
    /// Reads `host`, `*.host` or `host:port`; without a port, 443.
    pub fn parse(text: &str) -> Result<Self, HostPortError> {
        // A star is no letter of a name; a letter in its place shows whether the rest is one.
        let host = HostPort::parse(&text.replace('*', "x"), Some(443))?;
        let labels = if host.address().is_some() {
            host.host.to_string()
        } else {
            let name = text.split(':').next().unwrap_or_default();
            name.trim_end_matches('.').to_ascii_lowercase()
        };
        Ok(Self {
            labels,
            port: host.port,
        })
    }

    /// A pattern that is part of the program.
    pub(super) fn fixed(text: &str) -> Self {
        Self {
            labels: text.to_owned(),
            port: 443,
        }
    }

    /// Whether a host has this form, whatever the port.
    pub(super) fn matches_host(&self, host: &str) -> bool {
        let (pattern, host) = (self.labels.split('.'), host.split('.'));
        pattern.clone().count() == host.clone().count()
            && pattern
                .zip(host)
                .all(|(glob, label)| matches_label(glob, label))
    }

    /// Whether a host and port have this form.
    pub fn matches(&self, host: &HostPort) -> bool {
        self.port == host.port && self.matches_host(&host.host)
    }
}

/// Which rule a host breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// What was asked for is no host and port.
    Malformed,
    /// A name of the cluster's own.
    ClusterName,
    /// The API server.
    ApiServer,
    /// Not of the registry, while a credential is in play.
    Credential,
    /// Without TLS.
    PlainHttp,
    /// An address that no registry has.
    Address(Place),
    /// An address of somebody's own network, where only the registry's own name may lead.
    ElsewherePrivate,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed",
            Self::ClusterName => "cluster-name",
            Self::ApiServer => "api-server",
            Self::Credential => "credential",
            Self::PlainHttp => "plain-http",
            Self::Address(place) => place.name(),
            Self::ElsewherePrivate => "private",
        })
    }
}

/// Something that was not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked for; none if it could not be read.
    pub host: Option<HostPort>,
    /// Why it was refused.
    pub rule: Rule,
}

impl Refusal {
    fn new(host: &HostPort, rule: Rule) -> Self {
        Self {
            host: Some(host.clone()),
            rule,
        }
    }

    /// What a row says: the host, the rule, and what to do.
    pub fn sentence(&self, registry: &str) -> String {
        let Some(host) = &self.host else {
            return format!(
                "{registry} leads to an address that is none: ask its operator where it redirects to"
            );
        };
        let is_registry = HostPort::parse(registry, Some(host.port))
            .is_ok_and(|registry| registry.host == host.host);
        let who = if is_registry {
            format!("{host} was not asked")
        } else {
            format!("{registry} leads to {host}, which was not asked")
        };
        let allow = format!("if it is right, allow it with --allow-host {host}");
        match self.rule {
            Rule::Malformed => format!("{who}, since it is no host and port: {allow}"),
            Rule::ClusterName => {
                format!("{who}, since its name is one of the cluster's own: {allow}")
            }
            Rule::ApiServer => {
                format!("{who}, since the Kubernetes API server is there: correct the image")
            }
            Rule::Credential => format!(
                "{who}, since a credential is in play and it is none of the registry's hosts: if it is right, name it in token_hosts or blob_hosts in --registries"
            ),
            Rule::PlainHttp => {
                format!(
                    "{who} without TLS: give it a certificate, or set insecure for it in --registries; where no credential is in play, --allow-host {host} does, too"
                )
            }
            Rule::Address(Place::Metadata) => {
                format!("{who}, since its address is a metadata service's: {allow}")
            }
            Rule::Address(place) => {
                let name = place.name();
                let article = if name.starts_with('u') { "an" } else { "a" };
                format!("{who}, since its address is {article} {name} one: {allow}")
            }
            Rule::ElsewherePrivate => {
                format!("{who}, since its address is a private one and not the registry's: {allow}")
            }
        }
    }
}

/// Judges a host by its name; an address that stands for one is judged, too.
pub fn check_name(rules: &Rules, pass: &Pass, host: &HostPort, plain: bool) -> Result<(), Refusal> {
    let refuse = |rule| Err(Refusal::new(host, rule));
    if rules.allowed.contains(host) {
        // Named by hand, but a credential does not go out in clear for that.
        let in_clear = plain && pass.has_credential && !pass.plain_http;
        return if in_clear {
            refuse(Rule::PlainHttp)
        } else {
            Ok(())
        };
    }
    if rules.api_server.contains(host) {
        return refuse(Rule::ApiServer);
    }
    if is_cluster_name(&host.host, rules) {
        return refuse(Rule::ClusterName);
    }
    if let Some(address) = host.address() {
        check_addresses(rules, pass, host, plain, &[address])?;
    }
    // The name alone says where it leads, and crane may go there past the guard.
    let is_own = host.is_local();
    if is_own && rules.in_cluster {
        return refuse(Rule::Address(Place::Loopback));
    }
    let is_registry = pass.is_registry(host, plain);
    if pass.has_credential && !is_registry && !pass.is_extra(host) {
        return refuse(Rule::Credential);
    }
    if plain && !is_own && !(is_registry && pass.plain_http) {
        return refuse(Rule::PlainHttp);
    }
    Ok(())
}

/// Judges what a name was resolved to: one wrong address is enough, since the name's owner chooses.
pub(super) fn check_addresses(
    rules: &Rules,
    pass: &Pass,
    host: &HostPort,
    plain: bool,
    addresses: &[IpAddr],
) -> Result<(), Refusal> {
    if rules.allowed.contains(host) {
        return Ok(());
    }
    let is_own = !rules.in_cluster && host.is_local();
    let is_known = pass.is_registry(host, plain) || pass.is_extra(host);
    for address in addresses {
        let is_api_server = |api: &SocketAddr| {
            api.port() == host.port && api.ip().to_canonical() == address.to_canonical()
        };
        let rule = if rules.api_addresses.iter().any(is_api_server) {
            Rule::ApiServer
        } else {
            match Place::of(*address) {
                Place::Loopback if is_own => continue,
                Place::Private if !is_known => Rule::ElsewherePrivate,
                place if place.is_forbidden() => Rule::Address(place),
                _ => continue,
            }
        };
        return Err(Refusal::new(host, rule));
    }
    Ok(())
}

fn is_cluster_name(host: &str, rules: &Rules) -> bool {
    let mut domains = vec!["svc", "cluster.local"];
    domains.extend(rules.cluster_domain.as_deref());
    let is_below = |rest: &str| rest.is_empty() || rest.ends_with('.');
    domains
        .iter()
        .any(|domain| host.strip_suffix(domain).is_some_and(is_below))
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
