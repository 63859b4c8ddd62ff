//! Which settings of interfaces the data plane needs.

use std::net::IpAddr;

use super::{Image, enis::Scene, uplinks::ways};
use crate::{
    config::Config,
    host::{Family, HostFacts, Setting},
};

/// Fills in the settings.
pub fn compile(image: &mut Image, scene: &Scene<'_>, facts: &HostFacts, config: &Config) {
    let mut pools = scene.model.pools.keys();
    let solicited = pools.any(|cidr| cidr.addr().is_ipv6());
    for way in ways(config, facts).filter(|way| solicited && way.uplink.answer_arp) {
        let setting = (way.key.ifindex, Setting::AllMulticast);
        image.settings.insert(setting);
    }
    let smallest = smallest_mtu(facts, config);
    let mut fragmenting = Vec::new();
    for placed in &scene.enis {
        let Some(stand) = &placed.stand else { continue };
        let (ifindex, link) = (stand.key.ifindex, stand.link);
        let mut addresses = placed.eni.private_ips.iter();
        // A veth or tap takes every frame; a NIC only those to addresses that somebody joined.
        if !link.kind.is_virtual_port() && addresses.any(IpAddr::is_ipv6) {
            image.settings.insert((ifindex, Setting::AllMulticast));
        }
        let sends_ipv4 = placed.associations.iter().any(|(_, eip, _)| eip.is_ipv4());
        if sends_ipv4 && smallest.is_some_and(|mtu| mtu < stand.mtu()) {
            image.settings.insert((ifindex, Setting::Forwarding));
            image.settings.insert((ifindex, Setting::NoReversePath));
            fragmenting.push(link.name.as_str());
        }
    }
    let mut homes = ways(config, facts).filter_map(|way| way.home);
    let is_routed = homes.any(|(home, _)| facts.next_hop(home, None, Family::V4).is_some());
    if !fragmenting.is_empty() && !is_routed {
        fragmenting.sort_unstable();
        fragmenting.dedup();
        image.warnings.push(format!(
            "port {}: its MTU is larger than the uplink's, and this host has no IPv4 default route through an uplink: packets \
             that have to be fragmented are lost; `ip route add default via ROUTER`, or give the port the uplink's MTU",
            fragmenting.join(", ")
        ));
    }
}

/// The MTU of the uplink with the smallest one.
pub fn smallest_mtu(facts: &HostFacts, config: &Config) -> Option<u32> {
    ways(config, facts).map(|way| way.mtu()).min()
}
