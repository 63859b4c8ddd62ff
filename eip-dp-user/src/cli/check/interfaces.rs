//! The uplinks of the configuration and the ports of the table.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Line, Status};
use crate::{
    attach,
    compile::{self, Way},
    config::{Config, Delivery, PortMode, Uplink},
    host::{Family, HostFacts, Link, LinkKind, Offloads, offloads},
    model::{Model, objects::Mac},
};

/// The largest packet that fits one page beside what drivers and programs keep there; larger ones
/// need a driver that hands them to XDP in several buffers.
const LARGEST_IN_ONE_BUFFER: u32 = 3498;

/// What there is to say about an uplink.
pub(super) fn uplink(facts: &HostFacts, uplink: &Uplink) -> Vec<Line> {
    let subject = format!("uplink {}", uplink.name());
    let Some(way) = Way::find(uplink, facts) else {
        return vec![Line::fail(
            subject,
            "no such interface",
            format!(
                "this host has {}; correct `--uplink` or the configuration, or make it: the daemon waits for it",
                compile::names_of_interfaces(facts)
            ),
        )];
    };
    let (index, link) = (way.key.ifindex, way.link);
    if let Err(reason) = attach::can_be_uplink(link, uplink.vlan) {
        return vec![Line::fail_with_cure_inside(subject, reason)];
    }
    if way.is_layer3() {
        return layer3(&subject, facts, &way);
    }
    let mut lines = vec![state(&subject, link), xdp(&subject, index, link)];
    lines.extend(member(&subject, facts, link));
    let vlans = facts.uses_vlans_of(index) || uplink.vlan.is_some();
    lines.push(offload_line(
        &subject,
        link,
        vlans,
        offloads(&link.name).map_err(|error| error.to_string()),
    ));
    lines.extend(next_hops(&subject, facts, &way));
    lines
}

fn state(subject: &str, link: &Link) -> Line {
    if link.up {
        return Line::ok(subject, format!("{}, up, MTU {}", link.kind, link.mtu));
    }
    Line::warn(
        subject,
        format!("{}, down or without carrier", link.kind),
        format!(
            "`ip link set {} up`, and look at the cable or the other end",
            link.name
        ),
    )
}

fn xdp(subject: &str, index: u32, link: &Link) -> Line {
    // What the driver can do, whether the configuration asks for it or not; tags that it takes off
    // are another line.
    if let Some(reason) = attach::uplink(index, link, true, false).no_xdp {
        return Line::warn(
            subject,
            format!("served by tc alone: {reason}"),
            "a NIC whose driver has native XDP forwards several times as much",
        );
    }
    let features = link.xdp.unwrap_or_default();
    if link.mtu > LARGEST_IN_ONE_BUFFER && !features.rx_sg() {
        return Line::warn(
            subject,
            format!(
                "native XDP, but not at MTU {}: its driver has one buffer for each packet",
                link.mtu
            ),
            format!(
                "`ip link set {} mtu {LARGEST_IN_ONE_BUFFER}` or less",
                link.name
            ),
        );
    }
    Line::ok(subject, format!("native XDP ({features})"))
}

fn member(subject: &str, facts: &HostFacts, link: &Link) -> Option<Line> {
    let master = facts.links.get(&link.master?)?;
    // Packets of a VRF come in by the interfaces in it.
    if matches!(&master.kind, LinkKind::Other(kind) if kind == "vrf") {
        return None;
    }
    Some(Line::warn(
        subject,
        format!("belongs to {} {}", master.kind, master.name),
        format!(
            "what the data plane takes never reaches {0}; name {0} as the uplink, or take the interface out of it",
            master.name
        ),
    ))
}

fn offload_line(
    subject: &str,
    link: &Link,
    vlans: bool,
    offloads: Result<Offloads, String>,
) -> Line {
    let offloads = match offloads {
        Ok(offloads) => offloads,
        Err(error) => {
            return Line::ok(subject, format!("offloads unknown: {error}"));
        }
    };
    if offloads.lro {
        return Line::warn(
            subject,
            "LRO is on: merged packets cannot be forwarded",
            format!("ethtool -K {} lro off", link.name),
        );
    }
    if offloads.rx_vlan && vlans && link.kind == LinkKind::Physical {
        return Line::warn(
            subject,
            "the NIC takes VLAN tags off, so that XDP cannot tell VLANs apart: served by tc alone",
            format!("ethtool -K {} rxvlan off", link.name),
        );
    }
    let on_or_off = |on| if on { "on" } else { "off" };
    Line::ok(
        subject,
        format!(
            "LRO {}, rx VLAN offload {}",
            on_or_off(offloads.lro),
            on_or_off(offloads.rx_vlan)
        ),
    )
}

fn next_hops(subject: &str, facts: &HostFacts, way: &Way<'_>) -> Vec<Line> {
    let Some((_, home)) = way.home else {
        return vec![Line::fail(
            subject,
            "the kernel has no interface for the VLAN, so no next hop can be resolved",
            way.to_create_home(),
        )];
    };
    // One router may be IPv4's and IPv6's.
    let found: BTreeSet<_> = Family::ALL
        .into_iter()
        .filter_map(|family| compile::next_hop(facts, way, family))
        .collect();
    let mut lines: Vec<Line> = found
        .into_iter()
        .map(|found| next_hop(subject, facts, way, found))
        .collect();
    for family in Family::ALL {
        if let Some(why) = compile::unclear(facts, way, family) {
            lines.push(Line {
                cure: None,
                ..Line::warn(subject, why, "")
            });
        }
    }
    if !lines.is_empty() {
        return lines;
    }
    vec![Line::fail(
        subject,
        "no next hop: no default route leads through it",
        format!(
            "set `next_hop` of this [[uplink]], or `ip route add default via ROUTER dev {}`",
            home.name
        ),
    )]
}

fn next_hop(subject: &str, facts: &HostFacts, way: &Way<'_>, found: (u32, IpAddr)) -> Line {
    let (_, hop) = found;
    if let Some(mac) = compile::refused_mac(facts, way, found) {
        return Line::warn(
            subject,
            format!("next hop {hop} has the group address {mac}, to which no packet is sent"),
            "find out who says so on the link, or set `next_hop_mac` of this [[uplink]]",
        );
    }
    match compile::next_hop_mac(facts, way, found) {
        Some(mac) => Line::ok(subject, format!("next hop {hop} at {}", Mac(mac))),
        None => Line::ok(
            subject,
            format!("next hop {hop}, which is not resolved now; the daemon keeps it resolved"),
        ),
    }
}

/// What there is to say about an uplink whose packets have no Ethernet header.
fn layer3(subject: &str, facts: &HostFacts, way: &Way<'_>) -> Vec<Line> {
    let mut lines = vec![
        state(subject, way.link),
        Line::ok(
            subject,
            "IP packets without Ethernet headers: served by tc, next hops are not resolved",
        ),
    ];
    lines.extend(member(subject, facts, way.link));
    lines.extend(compile::without_neighbours(way).map(|text| Line {
        cure: None,
        ..Line::warn(subject, text, "")
    }));
    let before = lines.len();
    for family in Family::ALL {
        if compile::leads_on(facts, way, family) {
            lines.push(Line::ok(
                subject,
                format!("{family} packets are sent to its other end"),
            ));
        } else if let Some(why) = compile::unclear(facts, way, family) {
            lines.push(Line {
                cure: None,
                ..Line::warn(subject, why, "")
            });
        }
    }
    if lines.len() == before {
        lines.push(Line::fail(
            subject,
            "nothing is sent there: no default route leads through it",
            format!(
                "set `next_hop` of this [[uplink]] to the address of its other end (of each family), or `ip route add default \
                 dev {}`",
                way.link.name
            ),
        ));
    }
    lines
}

/// The VPCs whose prefixes are also in use on an uplink's link.
pub(super) fn overlaps(facts: &HostFacts, model: &Model, config: &Config) -> Vec<Line> {
    let networks = compile::all_networks(facts, config);
    let vpcs = model.vpcs.values();
    vpcs.flat_map(|vpc| compile::overlaps(vpc, &networks))
        .map(|text| Line {
            cure: None,
            ..Line::warn("vpcs", text, "")
        })
        .collect()
}

/// Who sends ICMP errors of the gateway's own to the Internet, where that is nobody, or nobody's
/// address.
pub(super) fn errors(facts: &HostFacts, model: &Model, config: &Config) -> Vec<Line> {
    let told = compile::without_sources(model, facts, config);
    told.into_iter()
        .map(|text| Line {
            cure: None,
            ..Line::warn("ICMP errors", text, "")
        })
        .collect()
}

/// What there is to say about the ports of attached ENIs.
pub(super) fn ports(facts: &HostFacts, model: &Model, config: Option<&Config>) -> Vec<Line> {
    let names: BTreeSet<&str> = model
        .enis
        .values()
        .filter_map(|eni| eni.port.as_deref())
        .collect();
    let uplinks = config.map_or(&[][..], |config| &config.uplinks);
    let largest = uplinks
        .iter()
        .filter_map(|uplink| facts.link_named(&uplink.interface))
        .map(|(_, link)| link.mtu)
        .max();
    let on_vlans = |name: &str| {
        let mut enis = model.enis.values();
        enis.any(|eni| eni.vlan.is_some() && eni.port.as_deref() == Some(name))
    };
    names
        .into_iter()
        .flat_map(|name| {
            let index = facts.index_of(name);
            let is_uplink = |uplink: &Uplink| match index {
                Some(index) => facts.is_named(index, &uplink.interface),
                None => uplink.interface == name,
            };
            let is_uplink = uplinks.iter().any(is_uplink);
            let mode = config.map_or(PortMode::default(), |config| match index {
                Some(index) => compile::port_mode(config, facts, index),
                None => config.port_mode(|other| other == name),
            });
            let mut lines = port(facts, name, is_uplink, largest, mode);
            let is_used = |(index, _)| facts.uses_vlans_of(index);
            if on_vlans(name) || facts.link_named(name).is_some_and(is_used) {
                lines.extend(vlan_offload(facts, name));
            }
            lines
        })
        .collect()
}

fn port(
    facts: &HostFacts,
    name: &str,
    is_uplink: bool,
    largest: Option<u32>,
    mode: PortMode,
) -> Vec<Line> {
    let subject = format!("port {name}");
    if is_uplink {
        return vec![Line::fail(
            subject,
            "it is an uplink, too",
            "attach the ENIs to another port, or take it out of the uplinks",
        )];
    }
    let Some((_, link)) = facts.link_named(name) else {
        return vec![Line::warn(
            subject,
            "no such interface yet",
            "its ENIs are served as soon as it appears",
        )];
    };
    if let Err(reason) = attach::can_be_port(link) {
        return vec![Line::fail_with_cure_inside(subject, reason)];
    }
    let by = match attach::no_xdp_delivery(link, mode) {
        Some(reason) if mode.delivery == Delivery::Xdp => {
            let cure = "delivered by tc until then; on a veth turn GRO on at its peer: `ethtool -K PEER gro on`";
            return vec![Line::warn(
                subject,
                format!("delivery by XDP is configured, but {reason}"),
                cure,
            )];
        }
        Some(_) => "tc",
        None => "XDP",
    };
    let mut lines = vec![Line {
        seen: format!("{}, delivered by {by}", state(&subject, link).seen),
        ..state(&subject, link)
    }];
    lines.extend(member(&subject, facts, link).map(|line| Line {
        cure: Some(
            "packets of EIPs pass the data plane and not the bridge; take the port out of it, or expect that".into(),
        ),
        ..line
    }));
    if let Some(uplink_mtu) = largest.filter(|uplink_mtu| link.mtu < *uplink_mtu) {
        lines.push(Line::warn(
            subject,
            format!(
                "MTU {} is less than the uplink's {uplink_mtu}: larger packets from the Internet are dropped",
                link.mtu
            ),
            format!("`ip link set {name} mtu {uplink_mtu}`, and the same in the guest"),
        ));
    }
    lines
}

/// Tags that XDP on a port with VLANs does not see.
fn vlan_offload(facts: &HostFacts, name: &str) -> Option<Line> {
    let (_, link) = facts.link_named(name)?;
    let offloads = offloads(&link.name).map_err(|error| error.to_string());
    let told = offload_line(&format!("port {name}"), link, true, offloads);
    (told.status != Status::Ok).then_some(told)
}

#[cfg(test)]
mod tests;
