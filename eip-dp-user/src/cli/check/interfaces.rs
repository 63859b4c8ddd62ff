//! The uplinks of the configuration and the ports of the table.

use std::collections::BTreeSet;

use super::{Line, Status};
use crate::{
    attach,
    config::{Config, Delivery, Uplink},
    host::{Family, HostFacts, Link, LinkKind, Offloads, Setting, offloads, reverse_path_of_all},
    image::{self, Way},
    model::{Model, objects::Mac},
    requirements::REVERSE_PATH,
};

/// The largest packet that fits one page beside what drivers and programs keep there; larger ones need a driver that
/// hands them to XDP in several buffers.
const LARGEST_IN_ONE_BUFFER: u32 = 3498;

/// What there is to say about an uplink.
pub(super) fn uplink(facts: &HostFacts, uplink: &Uplink) -> Vec<Line> {
    let subject = format!("uplink {}", uplink.name());
    let Some(way) = Way::find(uplink, facts) else {
        return vec![Line::fail(
            subject,
            "no such interface",
            "`ip link` lists those there are; correct `--uplink` or the configuration",
        )];
    };
    let (index, link) = (way.key.ifindex, way.link);
    if let Err(reason) = attach::can_carry(link) {
        return vec![Line::fail_with_cure_inside(subject, reason)];
    }
    let mut lines = vec![state(&subject, link), xdp(&subject, index, link)];
    lines.extend(member(&subject, facts, link));
    let vlans = facts
        .links
        .values()
        .any(|link| link.kind == LinkKind::Other("vlan".to_owned()))
        || uplink.vlan != 0;
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
    if let Some(reason) = attach::uplink(index, link).no_xdp {
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
            "the NIC takes VLAN tags off, and XDP takes such frames for untagged ones",
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
            format!(
                "`ip link add link {0} name {0}.{1} type vlan id {1}`, and set it up",
                way.link.name, way.key.vlan
            ),
        )];
    };
    let lines: Vec<Line> = Family::ALL
        .into_iter()
        .filter_map(|family| image::next_hop(facts, way, family))
        .map(|(home, hop)| match facts.mac_of(home, hop) {
            Some(mac) => Line::ok(subject, format!("next hop {hop} at {}", Mac(mac))),
            None => Line::ok(
                subject,
                format!("next hop {hop}, which is not resolved now; the daemon keeps it resolved"),
            ),
        })
        .collect();
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

/// What there is to say about the ports of attached ENIs.
pub(super) fn ports(facts: &HostFacts, model: &Model, config: Option<&Config>) -> Vec<Line> {
    let names: BTreeSet<&str> = model
        .enis
        .values()
        .filter_map(|eni| eni.port.as_deref())
        .collect();
    let uplinks = config.map_or(&[][..], |config| &config.uplinks);
    let smallest = config.and_then(|config| image::smallest_mtu(facts, config));
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
            let is_uplink = uplinks.iter().any(|uplink| uplink.interface == name);
            let delivery = config.map_or(Delivery::Auto, |config| config.delivery(name));
            let mut lines = port(facts, name, is_uplink, (smallest, largest), delivery);
            if on_vlans(name) {
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
    (smallest, largest): (Option<u32>, Option<u32>),
    delivery: Delivery,
) -> Vec<Line> {
    let subject = format!("port {name}");
    if is_uplink {
        return vec![Line::fail(
            subject,
            "it is an uplink, too",
            "attach the ENIs to another port, or take it out of the uplinks",
        )];
    }
    let Some((index, link)) = facts.link_named(name) else {
        return vec![Line::warn(
            subject,
            "no such interface yet",
            "its ENIs are served as soon as it appears",
        )];
    };
    if let Err(reason) = attach::can_carry(link) {
        return vec![Line::fail_with_cure_inside(subject, reason)];
    }
    let attachment = attach::port(index, link, delivery);
    let by = match attachment.no_xdp_delivery {
        Some(reason) if delivery == Delivery::Xdp => {
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
    if let Some(uplink_mtu) = smallest.filter(|uplink_mtu| *uplink_mtu < link.mtu) {
        lines.push(fragmenting(&subject, link, uplink_mtu));
    }
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
    let offloads = offloads(name).map_err(|error| error.to_string());
    let told = offload_line(&format!("port {name}"), link, true, offloads);
    (told.status != Status::Ok).then_some(told)
}

/// What the kernel has to do for a port whose packets may be larger than an uplink takes.
fn fragmenting(subject: &str, link: &Link, uplink_mtu: u32) -> Line {
    let seen = format!(
        "MTU {} is more than the uplink's {uplink_mtu}: IPv4 packets that may be fragmented are, by the kernel, and the daemon \
         sets {} = 1 and {} = 0 for them",
        link.mtu,
        Setting::Forwarding.name(&link.name),
        Setting::NoReversePath.name(&link.name)
    );
    match reverse_path_of_all() {
        Ok(1..) => Line::warn(subject, seen, REVERSE_PATH),
        Ok(0) | Err(_) => Line::ok(subject, seen),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::host::{Neighbour, Route, XdpFeatures};

    fn link(name: &str, kind: LinkKind, features: u64) -> Link {
        Link {
            name: name.to_owned(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            up: true,
            kind,
            master: None,
            vlan: None,
            xdp: Some(XdpFeatures(features)),
        }
    }

    /// An uplink `up0` with index 1, its next hop resolved, and `nic` with index 2.
    fn facts() -> HostFacts {
        let hop: IpAddr = "192.0.2.1".parse().unwrap();
        let mut facts = HostFacts::default();
        facts.links.insert(1, link("up0", LinkKind::Physical, 0x7f));
        facts.links.insert(2, link("nic", LinkKind::Physical, 0x7f));
        facts.routes.push(Route {
            interface: 1,
            family: Family::V4,
            metric: 0,
            gateway: Some(hop),
        });
        facts.neighbours.insert(
            (1, hop),
            Neighbour {
                mac: Some([2, 0, 0, 0, 0, 0xfe]),
                usable: true,
                permanent: false,
                managed: None,
            },
        );
        facts
    }

    fn uplink_lines(facts: &HostFacts, interface: &str) -> Vec<Line> {
        uplink(facts, &Uplink::new(interface))
    }

    /// The one line of that status, as `seen → cure`.
    #[track_caller]
    fn only(lines: &[Line], status: Status) -> String {
        let mut found = lines.iter().filter(|line| line.status == status);
        let line = found.next().expect("a line of that status");
        assert_eq!(found.next(), None);
        format!("{} → {}", line.seen, line.cure.as_deref().unwrap_or(""))
    }

    #[test]
    fn a_good_uplink_has_nothing_to_cure() {
        let lines = uplink_lines(&facts(), "up0");
        assert!(
            lines.iter().all(|line| line.status == Status::Ok),
            "{lines:?}"
        );
        assert_eq!(
            lines.last().unwrap().seen,
            "next hop 192.0.2.1 at 02:00:00:00:00:fe"
        );
    }

    #[test]
    fn each_fault_of_an_uplink_is_one_line() {
        assert!(
            only(&uplink_lines(&facts(), "up9"), Status::Fail).starts_with("no such interface → ")
        );
        assert!(only(&uplink_lines(&facts(), "nic"), Status::Fail).contains("no next hop"));
        let with = |change: fn(&mut Link)| {
            let mut facts = facts();
            change(facts.links.get_mut(&1).unwrap());
            facts
                .links
                .insert(3, link("br0", LinkKind::Other("bridge".into()), 0));
            uplink_lines(&facts, "up0")
        };
        let down = with(|link| link.up = false);
        assert!(only(&down, Status::Warn).contains("ip link set up0 up"));
        let no_xdp = with(|link| link.xdp = Some(XdpFeatures(0)));
        assert!(only(&no_xdp, Status::Warn).contains("tc alone: the driver has no native XDP"));
        let old = with(|link| link.xdp = None);
        assert!(only(&old, Status::Warn).contains("does not tell"));
        let jumbo = with(|link| {
            link.mtu = 9000;
            link.xdp = Some(XdpFeatures(7));
        });
        assert!(only(&jumbo, Status::Warn).contains("not at MTU 9000"));
        let large_buffers = with(|link| link.mtu = 9000);
        assert!(large_buffers.iter().all(|line| line.status == Status::Ok));
        let bridged = with(|link| link.master = Some(3));
        assert!(only(&bridged, Status::Warn).contains("belongs to bridge br0"));
        let loopback = with(|link| link.kind = LinkKind::Loopback);
        assert!(only(&loopback, Status::Fail).contains("no Ethernet frames"));
    }

    #[test]
    fn offloads_that_hurt_are_named_with_the_command_that_ends_them() {
        let nic = link("up0", LinkKind::Physical, 0x7f);
        let line = |vlans, rx_vlan, lro| {
            offload_line("uplink up0", &nic, vlans, Ok(Offloads { rx_vlan, lro }))
        };
        assert_eq!(line(false, true, false).status, Status::Ok);
        assert_eq!(line(true, false, false).status, Status::Ok);
        let tags = line(true, true, false);
        assert_eq!(tags.status, Status::Warn);
        assert_eq!(tags.cure.unwrap(), "ethtool -K up0 rxvlan off");
        assert_eq!(
            line(false, false, true).cure.unwrap(),
            "ethtool -K up0 lro off"
        );
        let unknown = offload_line("uplink up0", &nic, true, Err("not supported".into()));
        assert_eq!(unknown.seen, "offloads unknown: not supported");
    }

    #[test]
    fn ports_that_are_missing_bridged_small_or_uplinks_are_told() {
        let mut facts = facts();
        let lines = |facts: &HostFacts, name: &str, is_uplink, delivery| {
            port(facts, name, is_uplink, (Some(1500), Some(1500)), delivery)
        };
        let auto = Delivery::Auto;
        assert_eq!(
            lines(&facts, "nic", false, auto)[0].seen,
            "ethernet, up, MTU 1500, delivered by XDP"
        );
        assert!(only(&lines(&facts, "tap9", false, auto), Status::Warn).contains("as soon as"));
        assert!(only(&lines(&facts, "up0", true, auto), Status::Fail).contains("uplink"));
        facts.links.get_mut(&2).unwrap().mtu = 1400;
        assert!(
            only(&lines(&facts, "nic", false, auto), Status::Warn)
                .contains("`ip link set nic mtu 1500`")
        );
        facts.links.insert(3, link("v0", LinkKind::Veth, 3));
        assert!(
            lines(&facts, "v0", false, auto)[0]
                .seen
                .ends_with("delivered by tc")
        );
        assert!(only(&lines(&facts, "v0", false, Delivery::Xdp), Status::Warn).contains("gro on"));
    }
}
