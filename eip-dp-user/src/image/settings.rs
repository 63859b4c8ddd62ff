//! Which settings of interfaces the data plane needs.

use std::collections::BTreeSet;

use super::{known::Known, uplinks::ways};
use crate::{
    config::Config,
    host::{Family, HostFacts, Setting},
    model::Model,
};

/// The settings, and the warning about ports whose packets would have to be fragmented and cannot be.
pub fn compile(
    known: &Known,
    model: &Model,
    facts: &HostFacts,
    config: &Config,
) -> (BTreeSet<(u32, Setting)>, Option<String>) {
    let mut settings = BTreeSet::new();
    let mut pools = model.pools.keys();
    let solicited = pools.any(|cidr| cidr.addr().is_ipv6());
    for way in ways(config, facts).filter(|way| solicited && way.uplink.answer_arp) {
        settings.insert((way.key.ifindex, Setting::AllMulticast));
    }
    let smallest = smallest_mtu(facts, config);
    let mut fragmenting = Vec::new();
    for (ifindex, crowd) in &known.interfaces {
        let Some(link) = facts.links.get(ifindex) else {
            continue;
        };
        // A veth or tap takes every frame; a NIC only those to addresses that somebody joined.
        if !link.kind.is_virtual_port() && crowd.with_ipv6 > 0 {
            settings.insert((*ifindex, Setting::AllMulticast));
        }
        if crowd.sending_ipv4 > 0 && smallest.is_some_and(|mtu| mtu < link.mtu) {
            settings.insert((*ifindex, Setting::Forwarding));
            settings.insert((*ifindex, Setting::NoReversePath));
            fragmenting.push(link.name.as_str());
        }
    }
    let mut homes = ways(config, facts).filter_map(|way| way.home);
    let is_routed = homes.any(|(home, _)| facts.next_hop(home, None, Family::V4).is_some());
    if fragmenting.is_empty() || is_routed {
        return (settings, None);
    }
    fragmenting.sort_unstable();
    let warning = format!(
        "port {}: its MTU is larger than the uplink's, and this host has no IPv4 default route through an uplink: packets \
         that have to be fragmented are lost; `ip route add default via ROUTER`, or give the port the uplink's MTU",
        fragmenting.join(", ")
    );
    (settings, Some(warning))
}

/// The MTU of the uplink with the smallest one.
pub fn smallest_mtu(facts: &HostFacts, config: &Config) -> Option<u32> {
    ways(config, facts).map(|way| way.mtu()).min()
}
