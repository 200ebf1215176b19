//! What kind of place an address is, also where one family hides in the other.
//!
//! In: an address that a name was resolved to, or that stands in a URL. Out: its [`Place`]. The ranges are
//! those of IANA's special-purpose registries (RFC 6890 and its successors), and the metadata services'
//! own addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Anyone's.
    Public,
    /// Somebody's own network, the cluster's among them: registries of one's own are here.
    Private,
    /// This machine, or this pod.
    Loopback,
    /// This link only.
    LinkLocal,
    /// A cloud's metadata service, which hands out credentials.
    Metadata,
    /// No address: many systems take it for themselves.
    Unspecified,
    /// A group.
    Multicast,
    /// All, or set aside: no host has it.
    Reserved,
}

impl Place {
    /// Whether no registry is there, whoever says so.
    pub fn is_forbidden(self) -> bool {
        !matches!(self, Self::Public | Self::Private)
    }

    /// In a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata service",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
        }
    }

    /// The place of an address. Of an IPv6 address that carries IPv4 ones, the worst of them.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

fn of_v4(address: Ipv4Addr) -> Place {
    match address.octets() {
        // Alibaba Cloud, Azure's host agent, Oracle Cloud's old one.
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => Place::Metadata,
        // The same address in AWS, Azure, Google Cloud, Oracle Cloud, OpenStack, DigitalOcean; then the
        // ones of ECS tasks and of EKS Pod Identity.
        [169, 254, 169, 254] | [169, 254, 170, 2 | 23] => Place::Metadata,
        [0, 0, 0, 0] => Place::Unspecified,
        [127, ..] => Place::Loopback,
        [169, 254, ..] => Place::LinkLocal,
        [224..=239, ..] => Place::Multicast,
        // "This network", protocol assignments, 6to4 relays, former class E with the broadcast address.
        [0, ..] | [192, 0, 0, _] | [192, 88, 99, _] | [240..=255, ..] => Place::Reserved,
        // One's own; carrier-grade NAT, which clusters use for pods; benchmarks; documentation.
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Place::Private,
        [198, 18..=19, ..] | [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Place::Private
        }
        _ => Place::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Place {
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        of_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Place::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Place::Loopback,
        // IPv4-mapped, IPv4-compatible and IPv4-translated addresses are IPv4 to many systems.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            embedded(high, low)
        }
        // NAT64: the well-known prefix, and the one for local use, whose layout is the network's own.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => Place::Reserved,
        // 6to4 carries the address of its router; Teredo that of its server and, inverted, its client.
        [0x2002, high, low, ..] => embedded(high, low),
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            embedded(server_high, server_low).max(embedded(!high, !low))
        }
        // EC2's services, and Google Cloud's metadata server.
        [0xfd00, 0xec2, ..] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Place::Metadata,
        [0xfe80..=0xfebf, ..] => Place::LinkLocal,
        [0xff00..=0xffff, ..] => Place::Multicast,
        // Unique local and the former site-local addresses; documentation.
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] | [0x2001, 0xdb8, ..] => Place::Private,
        // Global addresses are in this range, and in no other.
        [0x2000..=0x3fff, ..] => Place::Public,
        _ => Place::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_place() -> Result<(), std::net::AddrParseError> {
        use Place::{
            LinkLocal, Loopback, Metadata, Multicast, Private, Public, Reserved, Unspecified,
        };
        for (address, expected) in [
            ("1.1.1.1", Public),
            ("100.63.255.255", Public),
            ("172.15.0.1", Public),
            ("172.32.0.1", Public),
            ("223.255.255.254", Public),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.31.255.254", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("100.127.255.254", Private),
            ("203.0.113.9", Private),
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("169.254.0.1", LinkLocal),
            ("169.254.169.254", Metadata),
            ("169.254.170.2", Metadata),
            ("169.254.170.23", Metadata),
            ("100.100.100.200", Metadata),
            ("168.63.129.16", Metadata),
            ("192.0.0.192", Metadata),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Reserved),
            ("192.0.0.1", Reserved),
            ("224.0.0.1", Multicast),
            ("239.255.255.255", Multicast),
            ("240.0.0.1", Reserved),
            ("255.255.255.255", Reserved),
            ("2606:4700::1111", Public),
            ("::", Unspecified),
            ("::1", Loopback),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("fec0::1", Private),
            ("ff02::1", Multicast),
            ("fc00::1", Private),
            ("fd12:3456::1", Private),
            ("2001:db8::1", Private),
            ("fd00:ec2::254", Metadata),
            ("fd00:ec2::23", Metadata),
            ("fd20:ce::254", Metadata),
            ("100::1", Reserved),
            ("4000::1", Reserved),
            // IPv4 in IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo.
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:10.0.0.1", Private),
            ("::ffff:169.254.169.254", Metadata),
            ("::ffff:1.1.1.1", Public),
            ("::127.0.0.1", Loopback),
            ("::ffff:0:127.0.0.1", Loopback),
            ("64:ff9b::7f00:1", Loopback),
            ("64:ff9b::a9fe:a9fe", Metadata),
            ("64:ff9b::101:101", Public),
            ("64:ff9b:1::7f00:1", Reserved),
            ("2002:7f00:1::", Loopback),
            ("2002:a9fe:a9fe::1", Metadata),
            ("2002:101:101::1", Public),
            ("2001:0:101:101::80ff:fffe", Loopback),
            ("2001:0:7f00:1::fefe:fefe", Loopback),
        ] {
            assert_eq!(Place::of(address.parse()?), expected, "{address}");
        }
        Ok(())
    }
}
