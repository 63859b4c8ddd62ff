//! Which settings of interfaces the data plane needs.

use std::collections::BTreeSet;

use super::{
    context::CompileContext,
    uplinks::{Way, ways},
};
use crate::{
    config::Config,
    host::{HostFacts, Setting},
    model::Model,
};

/// The settings.
pub fn compile(
    known: &CompileContext,
    model: &Model,
    facts: &HostFacts,
    config: &Config,
) -> BTreeSet<(u32, Setting)> {
    let mut settings = BTreeSet::new();
    let mut pools = model.pools.keys();
    let solicited = pools.any(|cidr| cidr.addr().is_ipv6());
    let answers = |way: &Way<'_>| way.uplink.answer_arp && !way.is_layer3();
    for way in ways(config, facts).filter(|way| solicited && answers(way)) {
        settings.insert((way.key.ifindex, Setting::AllMulticast));
    }
    for (ifindex, crowd) in &known.interfaces {
        let Some(link) = facts.links.get(ifindex) else {
            continue;
        };
        // A veth or tap takes every frame; a NIC only those to addresses that somebody joined.
        if !link.kind.is_virtual_port() && crowd.with_ipv6 > 0 {
            settings.insert((*ifindex, Setting::AllMulticast));
        }
    }
    settings
}
