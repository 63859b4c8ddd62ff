//! Arithmetic on addresses and prefixes: which one routes, which ones nobody may have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::objects::{Pool, PoolGateway, Vpc};

impl Pool {
    /// The router of the prefix for guests in cut-through mode; a pool of one address, or with
    /// `gateway = none`, has none.
    pub fn router(&self) -> Option<IpAddr> {
        match self.gateway {
            Some(PoolGateway::None) => None,
            Some(PoolGateway::Address(address)) => Some(address),
            None if self.cidr.prefix_len() == self.cidr.max_prefix_len() => None,
            None => Some(first_host(&self.cidr)),
        }
    }

    /// Why no EIP can have this address of the pool; `None`: one can.
    pub fn reserved(&self, address: IpAddr) -> Option<&'static str> {
        self.blocked()
            .into_iter()
            .find(|(first, last, _)| (*first..=*last).contains(&address))
            .map(|(_, _, why)| why)
    }

    /// The ranges of the pool that no EIP can lie in, in no order, each with what it is.
    pub(crate) fn blocked(&self) -> Vec<(IpAddr, IpAddr, &'static str)> {
        let mut blocked: Vec<_> = self
            .reserve
            .iter()
            .map(|range| (range.first, range.last, "in a reserved range"))
            .collect();
        if let Some(router) = self.router() {
            blocked.push((router, router, "the gateway"));
        }
        if self.gateway != Some(PoolGateway::None) {
            blocked.extend(edges(&self.cidr));
        }
        blocked
    }
}

impl Vpc {
    /// The CIDR that contains the address.
    pub fn cidr_of(&self, address: IpAddr) -> Option<&IpNet> {
        self.cidrs.iter().find(|cidr| cidr.contains(&address))
    }

    /// The router of one of the VPC's CIDRs.
    pub fn router_of(&self, cidr: &IpNet) -> IpAddr {
        self.gateway
            .filter(|gateway| cidr.contains(gateway))
            .unwrap_or_else(|| first_host(cidr))
    }

    /// Why no ENI can have this address of one of the VPC's CIDRs; `None`: one can.
    pub fn reserved(&self, cidr: &IpNet, address: IpAddr) -> Option<&'static str> {
        if address == self.router_of(cidr) {
            return Some("the gateway");
        }
        edges(cidr)
            .into_iter()
            .find(|(edge, _, _)| *edge == address)
            .map(|(_, _, why)| why)
    }
}

/// `IPv4` or `IPv6`.
pub(crate) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The first address of a prefix that a host can have.
fn first_host(cidr: &IpNet) -> IpAddr {
    if edges(cidr).is_empty() {
        cidr.network()
    } else {
        next(cidr.network()).unwrap_or_else(|| cidr.network())
    }
}

/// The first and last address of a prefix where they are not a host's: IPv4's network and broadcast
/// address, and IPv6's subnet-router anycast address. Point-to-point prefixes (RFC 3021, RFC 6164)
/// have neither.
pub(crate) fn edges(cidr: &IpNet) -> Vec<(IpAddr, IpAddr, &'static str)> {
    if cidr.prefix_len() + 1 >= cidr.max_prefix_len() {
        return Vec::new();
    }
    let (first, last) = (cidr.network(), cidr.broadcast());
    match cidr {
        IpNet::V4(_) => vec![
            (first, first, "the network address"),
            (last, last, "the broadcast address"),
        ],
        IpNet::V6(_) => vec![(first, first, "the subnet-router anycast address")],
    }
}

/// The highest address of a prefix (of either family).
pub(crate) fn last(cidr: &IpNet) -> IpAddr {
    cidr.broadcast()
}

/// The address after this one, if there is one.
pub(crate) fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4
            .to_bits()
            .checked_add(1)
            .map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6
            .to_bits()
            .checked_add(1)
            .map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

/// The address before this one, if there is one.
pub(crate) fn previous(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4
            .to_bits()
            .checked_sub(1)
            .map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6
            .to_bits()
            .checked_sub(1)
            .map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

/// Whether two prefixes share addresses.
pub(crate) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// Whether every address of the prefix can be an EIP as far as its family goes: IPv6's global
/// unicast space (RFC 4291 2.4) as far as it is given out, and its unique local one (RFC 4193).
pub(crate) fn can_be_eips(cidr: &IpNet) -> bool {
    let within = |block: Ipv6Net| matches!(cidr, IpNet::V6(v6) if block.contains(v6));
    cidr.addr().is_ipv4() || within(GLOBAL) || within(UNIQUE_LOCAL)
}

const GLOBAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const UNIQUE_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);

/// The block of private addresses that shares some with the prefix: RFC 1918, RFC 6598, RFC 4193.
/// Other networks have them, too, and the Internet reaches none.
pub(crate) fn private_block(cidr: &IpNet) -> Option<IpNet> {
    const BLOCKS: [(Ipv4Addr, u8); 4] = [
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(100, 64, 0, 0), 10),
    ];
    let blocks = BLOCKS.map(|(network, length)| IpNet::V4(Ipv4Net::new_assert(network, length)));
    let mut blocks = blocks.into_iter().chain([UNIQUE_LOCAL.into()]);
    blocks.find(|block| overlap(block, cidr))
}

/// The block that no router forwards (RFC 6890) which shares addresses with the prefix.
pub(crate) fn unroutable(cidr: &IpNet) -> Option<IpNet> {
    const BLOCKS: [&str; 9] = [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/8",
        "100::/64",
        "fe80::/10",
        "ff00::/8",
    ];
    BLOCKS
        .iter()
        .filter_map(|block| block.parse().ok())
        .find(|block| overlap(block, cidr))
}
