//! Uplinks, the next hop, and the prefixes that are the gateway's.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use eip_dp_common::{
    abi::{
        AddressClass, LinkKey, NONE, PREFIX_SEAL, PrefixKey, Sealed, Target, TargetFlags,
        UPLINK_TARGET4, Uplink, UplinkFlags,
    },
    family::{Family as _, V4},
};
use ipnet::{IpNet, Ipv4Net};

use super::{Image, PrefixRecord};
use crate::{
    attach,
    config::{self, Config},
    host::{Family, HostFacts, Link},
    model::{Model, objects::Pool},
};

/// Fills in uplinks, the uplink's target, prefixes, the screen, and the uplinks' attachments.
pub fn compile(image: &mut Image, model: &Model, facts: &HostFacts, config: &Config) {
    let mut egress = None;
    for uplink in &config.uplinks {
        let Some((ifindex, link)) = facts.link_named(&uplink.interface) else {
            image.warnings.push(format!(
                "uplink {}: there is no such interface; it is used as soon as it appears",
                uplink.interface
            ));
            continue;
        };
        if let Err(why) = attach::can_carry(link) {
            image
                .warnings
                .push(format!("uplink {}: {why}", uplink.interface));
            continue;
        }
        let next_hop = next_hop(facts, ifindex, uplink);
        let key = LinkKey::untagged(ifindex);
        let record = record(uplink, link, next_hop).sealed(&key);
        image.content.uplinks.insert(key, record);
        if attach::takes_xdp_frames(link) {
            image.content.devices.insert(ifindex);
        }
        image.attachments.push(attach::uplink(ifindex, link));
        if egress.is_none() && link.up {
            egress = next_hop.map(|next_hop| egress_target(facts, ifindex, link, next_hop));
        }
    }
    if egress.is_none() && !image.content.uplinks.is_empty() {
        image.warnings.push(
            "no uplink is up and has a next hop: nothing can be sent to the Internet; give the host a default \
             route through the uplink, or set `next_hop` in its [[uplink]]"
                .to_owned(),
        );
    }
    let target = egress.unwrap_or_else(no_egress).sealed(&UPLINK_TARGET4);
    image.content.targets.insert(UPLINK_TARGET4, target);
    prefixes(image, model, facts, config);
}

/// The next hop of an uplink.
pub fn next_hop(facts: &HostFacts, ifindex: u32, uplink: &config::Uplink) -> Option<Ipv4Addr> {
    let configured = uplink.next_hop.map(IpAddr::V4);
    match facts.next_hop(ifindex, configured, Family::V4)? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn record(uplink: &config::Uplink, link: &Link, next_hop: Option<Ipv4Addr>) -> Uplink {
    Uplink {
        next_hop4: next_hop.map_or([0; 4], |address| address.octets()),
        next_hop6: [0; 16],
        icmp_source4: [0; 4],
        icmp_source6: [0; 16],
        mac: link.mac,
        flags: if uplink.answer_arp {
            UplinkFlags::ANSWER_ARP
        } else {
            0
        },
        seal: 0,
    }
}

fn egress_target(facts: &HostFacts, ifindex: u32, link: &Link, next_hop: Ipv4Addr) -> Target {
    let mac = facts.mac_of(ifindex, next_hop.into());
    let mut flags = 0;
    if attach::takes_xdp_frames(link) {
        flags |= TargetFlags::XDP;
    }
    if mac.is_some() {
        flags |= TargetFlags::RESOLVED;
    }
    Target {
        ifindex,
        mtu: link.mtu,
        dst_mac: mac.unwrap_or_default(),
        src_mac: link.mac,
        flags,
        ..no_egress()
    }
}

fn no_egress() -> Target {
    Target {
        tag: 0,
        instance: 0,
        ifindex: 0,
        mtu: 0,
        vpc: NONE,
        dst_mac: [0; 6],
        src_mac: [0; 6],
        vlan: 0,
        flags: 0,
        seal: 0,
    }
}

fn prefixes(image: &mut Image, model: &Model, facts: &HostFacts, config: &Config) {
    let content = &mut image.content;
    let uplink_nets: Vec<IpNet> = config
        .uplinks
        .iter()
        .filter_map(|uplink| facts.link_named(&uplink.interface))
        .flat_map(|(ifindex, _)| facts.addresses_of(ifindex))
        .collect();
    for pool in model.pools.values() {
        let IpNet::V4(cidr) = pool.cidr else { continue };
        let cidr = cidr.trunc();
        let gateway = gateway_of(pool);
        put(&mut content.prefixes, cidr, AddressClass::Pool, gateway);
        screen(&mut content.screen, cidr);
        // On an on-link pool the gateway is the upstream router itself: nothing of ours answers for it.
        let gateway = gateway.filter(|gateway| {
            !uplink_nets
                .iter()
                .any(|net| net.contains(&IpAddr::V4(*gateway)))
        });
        if let Some(gateway) = gateway {
            put(
                &mut content.prefixes,
                host(gateway),
                AddressClass::PoolGateway,
                None,
            );
        }
    }
    for address in facts.host_addresses() {
        if let IpAddr::V4(address) = address
            && !address.is_loopback()
        {
            put(
                &mut content.prefixes,
                host(address),
                AddressClass::Host,
                None,
            );
        }
    }
}

/// The router of an IPv4 pool's guests; `None` for a routed pool.
pub fn gateway_of(pool: &Pool) -> Option<Ipv4Addr> {
    match pool.router()? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn host(address: Ipv4Addr) -> Ipv4Net {
    Ipv4Net::from(address)
}

fn put(
    prefixes: &mut BTreeMap<super::Prefix, PrefixRecord>,
    cidr: Ipv4Net,
    class: AddressClass,
    gateway: Option<Ipv4Addr>,
) {
    let key = PrefixKey {
        length: u32::from(cidr.prefix_len()),
        network: cidr.network().octets(),
    };
    let record = PrefixRecord {
        gateway: gateway.map_or([0; 4], |gateway| gateway.octets()),
        class: class as u32,
        seal: 0,
    };
    prefixes.insert(key, record.sealed(&PREFIX_SEAL));
}

/// Sets the bits of every /16 that overlaps `cidr`.
fn screen(words: &mut BTreeMap<u32, u64>, cidr: Ipv4Net) {
    let first = V4::screen(&cidr.network().octets());
    let last = V4::screen(&cidr.broadcast().octets());
    for value in first..=last {
        *words.entry(u32::from(value >> 6)).or_default() |= 1 << (value & 63);
    }
}
