//! A host and a port as the guard compares them: one spelling for each.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// A host in lower case, without a final dot or brackets, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// A name, or a canonical address.
    pub host: Arc<str>,
    /// Of TCP.
    pub port: u16,
}

/// What is no host and port. The text is not repeated: it may be a registry's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a host and a port, e.g. registry.example:5000 or [2001:db8::1]:443")]
pub struct HostPortError;

impl HostPort {
    /// Reads an authority; `default_port` where it names none.
    pub fn parse(authority: &str, default_port: Option<u16>) -> Result<Self, HostPortError> {
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(HostPortError)?;
                let address: Ipv6Addr = address.parse().map_err(|_| HostPortError)?;
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':').ok_or(HostPortError)?),
                };
                (address.to_string(), port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (name(host)?, Some(port)),
                None => (name(authority)?, None),
            },
        };
        let port = match port {
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                port.parse().map_err(|_| HostPortError)?
            }
            Some(_) => return Err(HostPortError),
            None => default_port.ok_or(HostPortError)?,
        };
        if port == 0 {
            return Err(HostPortError);
        }
        let host = host.into();
        Ok(Self { host, port })
    }

    /// The address, if the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether the host is this machine by its name alone (RFC 6761) or by its address.
    pub fn is_local(&self) -> bool {
        self.is_past_proxies() || self.host.ends_with(".localhost")
    }

    /// Whether Go's client connects to it past every proxy.
    pub fn is_past_proxies(&self) -> bool {
        let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
        &*self.host == "localhost" || self.address().is_some_and(is_loopback)
    }
}

/// A DNS name or an IPv4 address. A name that ends in a number is another spelling of an address to
/// some resolvers (`127.1`, `0x7f.1`, `2130706433`), and no name.
fn name(text: &str) -> Result<String, HostPortError> {
    let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if let Ok(IpAddr::V4(address)) = host.parse() {
        return Ok(address.to_string());
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let number = last.strip_prefix("0x").unwrap_or(last);
    let is_number = number.bytes().all(|b| b.is_ascii_digit())
        || (number.len() < last.len() && number.bytes().all(|b| b.is_ascii_hexdigit()));
    if host.len() <= 253 && !is_number && host.split('.').all(is_label) {
        Ok(host)
    } else {
        Err(HostPortError)
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        Self::parse(text, None)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_have_one_spelling() {
        for (text, expected) in [
            ("Registry.Example:443", Some("registry.example:443")),
            ("registry.example.:443", Some("registry.example:443")),
            ("a_b.example:1", Some("a_b.example:1")),
            ("127.0.0.1:65535", Some("127.0.0.1:65535")),
            ("[::1]:5000", Some("[::1]:5000")),
            ("[0:0:0:0:0:0:0:1]:5000", Some("[::1]:5000")),
            ("[::ffff:7f00:1]:80", Some("[::ffff:127.0.0.1]:80")),
            ("registry.example", None),
            ("registry.example:", None),
            ("registry.example:0", None),
            ("registry.example:+1", None),
            ("registry.example:65536", None),
            ("registry..example:1", None),
            ("registry.example..:1", None),
            (":1", None),
            (".:1", None),
            ("127.1:80", None),
            ("0x7f.1:80", None),
            ("0x7f000001:80", None),
            ("2130706433:80", None),
            ("0177.0.0.1:80", None),
            ("127.0.0.01:80", None),
            ("[fe80::1%25eth0]:80", None),
            ("[fe80::1%eth0]:80", None),
            ("[::1:80", None),
            ("::1", None),
            ("user@host:80", None),
            ("a b:80", None),
            ("a\n:80", None),
            ("é.example:80", None),
        ] {
            let found = text.parse::<HostPort>().ok();
            let found = found.map(|host| host.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_goes_past_proxies_is_known() -> Result<(), HostPortError> {
        for (text, local, past) in [
            ("localhost:1", true, true),
            ("127.9.9.9:1", true, true),
            ("[::1]:1", true, true),
            ("[::ffff:127.0.0.1]:1", true, true),
            ("registry.localhost:1", true, false),
            ("localhost.example:1", false, false),
            ("10.0.0.1:1", false, false),
            ("0.0.0.0:1", false, false),
        ] {
            let host: HostPort = text.parse()?;
            let found = (host.is_local(), host.is_past_proxies());
            assert_eq!(found, (local, past), "{text}");
        }
        Ok(())
    }
}
