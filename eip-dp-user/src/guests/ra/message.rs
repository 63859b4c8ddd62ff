//! What an advertisement says (RFC 4861, 4.2; RFC 8106).

use std::{net::Ipv6Addr, time::Duration};

use ipnet::Ipv6Net;

use super::SOURCE_LINK_ADDRESS;
use crate::{
    config::DomainName,
    guests::{Lease6, names},
};

const ROUTER_ADVERTISEMENT: u8 = 134;
const PREFIX_INFORMATION: u8 = 3;
const MTU: u8 = 5;
const NAME_SERVERS: u8 = 25;

/// What guests take for the hop limit of what they send.
const HOP_LIMIT: u8 = 64;
/// Addresses and everything else come by DHCPv6, also where a guest may make its one itself.
const MANAGED_AND_OTHER: u8 = 0x80 | 0x40;
const SEARCH_LIST: u8 = 31;

/// The prefix is on the link.
const ON_LINK: u8 = 0x80;
/// Whoever likes makes an address of it.
const AUTONOMOUS: u8 = 0x40;
/// The option's length is a byte, in units of 8 bytes.
const MOST_NAME_SERVERS: usize = 127;

/// A prefix of a guest's, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    net: Ipv6Net,
    flags: u8,
}

impl Prefix {
    /// That of a lease.
    pub(super) fn of(lease: &Lease6) -> Option<Self> {
        let autonomous = if lease.autonomous { AUTONOMOUS } else { 0 };
        Some(Self {
            net: lease.on_link?,
            flags: ON_LINK | autonomous,
        })
    }

    /// What of it is no longer so in `now`.
    pub(super) fn without(self, now: Option<Self>) -> Option<Self> {
        let same = now.filter(|now| now.net == self.net);
        let flags = self.flags & !same.map_or(0, |now| now.flags);
        (flags != 0).then_some(Self { flags, ..self })
    }
}

/// An advertisement whose checksum, as yet, is zero. All of it holds for `lifetime`; zero takes it
/// back. `gone` is a prefix that was another one before.
pub(super) fn advertisement(lease: &Lease6, lifetime: Duration, gone: Option<Prefix>) -> Vec<u8> {
    let lifetime = lifetime.as_secs();
    let seconds = u32::try_from(lifetime).unwrap_or(u32::MAX).to_be_bytes();
    let short_seconds = u16::try_from(lifetime).unwrap_or(u16::MAX).to_be_bytes();

    let mut message = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, HOP_LIMIT, MANAGED_AND_OTHER];
    message.extend(short_seconds);
    // Reachable time and retransmission timer: whatever the guest likes.
    message.extend([0; 8]);

    message.extend([SOURCE_LINK_ADDRESS, 1]);
    message.extend(lease.port_mac);

    message.extend([MTU, 1, 0, 0]);
    message.extend(lease.mtu.to_be_bytes());

    if let Some(prefix) = Prefix::of(lease) {
        add_prefix(&mut message, prefix, seconds);
    }
    if let Some(prefix) = gone {
        add_prefix(&mut message, prefix, [0; 4]);
    }
    add_name_servers(&mut message, &lease.dns, seconds);
    add_search_list(&mut message, lease.site.search_or_domain(), seconds);
    message
}

fn add_prefix(message: &mut Vec<u8>, Prefix { net, flags }: Prefix, lifetime: [u8; 4]) {
    message.extend([PREFIX_INFORMATION, 4, net.prefix_len(), flags]);
    // Valid and preferred.
    message.extend(lifetime);
    message.extend(lifetime);
    message.extend([0; 4]);
    message.extend(net.network().octets());
}

fn add_name_servers(message: &mut Vec<u8>, servers: &[Ipv6Addr], lifetime: [u8; 4]) {
    let servers = &servers[..servers.len().min(MOST_NAME_SERVERS)];
    let Ok(count @ 1..) = u8::try_from(servers.len()) else {
        return;
    };
    message.extend([NAME_SERVERS, 1 + 2 * count, 0, 0]);
    message.extend(lifetime);
    for server in servers {
        message.extend(server.octets());
    }
}

fn add_search_list(message: &mut Vec<u8>, domains: &[DomainName], lifetime: [u8; 4]) {
    let names = names::plain(domains);
    // With the option's head, in units of 8 bytes; the rest is filled with zeros.
    let length = (8 + names.len()).div_ceil(8);
    let Ok(units @ 2..) = u8::try_from(length) else {
        return;
    };
    let end = message.len() + 8 * length;
    message.extend([SEARCH_LIST, units, 0, 0]);
    message.extend(lifetime);
    message.extend(names);
    message.resize(end, 0);
}
