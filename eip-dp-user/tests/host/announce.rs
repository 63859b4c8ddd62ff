//! Gratuitous ARP and unsolicited neighbour advertisements, as the neighbours on an uplink take
//! them.

use std::{collections::HashSet, net::IpAddr};

use eip_dp_common::abi::LinkKey;
use eip_dp_user::{announce::Announcer, host::Watcher};

use crate::netns::{run, sh, until};

const NEW: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// A neighbour that is a Linux host: it takes announcements for entries that it has.
fn a_neighbour_learns(own: &'static str, eip: &'static str) {
    run(move || async move {
        sh("ip link add uplink type veth peer name router");
        sh("ip link set uplink up");
        sh("ip link set router up");
        let watcher = Watcher::start().await.unwrap();
        let mut facts = watcher.subscribe();
        let index = |name| watcher.facts().link_named(name).unwrap().0;
        let (uplink, router) = (index("uplink"), index("router"));
        until(&mut facts, "both up", |facts| {
            facts.links[&uplink].up && facts.links[&router].up
        })
        .await;
        sh(&format!("ip addr add {own} dev router"));
        sh(&format!(
            "ip neigh add {eip} lladdr 02:00:00:00:00:66 dev router nud stale"
        ));
        let (tell, _news) = tokio::sync::mpsc::unbounded_channel();
        let announcer = Announcer::start(Box::new(HashSet::new), tell).unwrap();
        let eip: IpAddr = eip.parse().unwrap();
        announcer.announce(LinkKey::untagged(uplink), NEW, eip);
        until(&mut facts, "the new address", |facts| {
            facts.mac_of(router, eip) == Some(NEW)
        })
        .await;
    });
}

#[test]
fn a_neighbour_with_a_stale_arp_entry_learns_the_new_address() {
    a_neighbour_learns("203.0.113.1/24", "203.0.113.9");
}

#[test]
fn a_neighbour_with_a_stale_nd_entry_learns_the_new_address() {
    a_neighbour_learns("2001:db8::1/64", "2001:db8::9");
}
