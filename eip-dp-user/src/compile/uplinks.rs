//! Uplinks, the next hops, and the prefixes that are the gateway's.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use eip_dp_common::abi::{
    AddressClass, Checksummed, LinkKey, NONE, PREFIX_CHECKSUM, PrefixKey, Target, TargetFlags,
    Uplink, UplinkFlags, layer3,
};
use ipnet::IpNet;

use super::{
    Address, DesiredState, FamilyContent, PrefixRecord, answering::number_of, family::screen_bits,
    link_name,
};
use crate::{
    attach,
    config::{self, Config},
    host::{Doubt, Family, HostFacts, Link, is_link_local},
    model::{
        Model, Vlan,
        objects::{AddressRange, Mac, Pool, Vpc},
    },
};

/// An uplink whose interface is there.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// What the configuration says about it.
    pub uplink: &'a config::Uplink,
    /// The interface, and the VLAN on it.
    pub key: LinkKey,
    /// The interface.
    pub link: &'a Link,
    /// The interface whose addresses, routes and neighbours are the uplink's: itself, or the
    /// kernel's interface for the VLAN. `None`: the kernel has none for the VLAN.
    pub home: Option<(u32, &'a Link)>,
}

/// The uplinks whose interfaces are there, in the configuration's order. Of two that name the same
/// one, by two of its names, the first.
pub fn ways<'a>(config: &'a Config, facts: &'a HostFacts) -> impl Iterator<Item = Way<'a>> {
    let mut seen = BTreeSet::new();
    let uplinks = config.uplinks.iter();
    uplinks
        .filter_map(|uplink| Way::find(uplink, facts))
        .filter(move |way| seen.insert(way.key))
}

impl<'a> Way<'a> {
    /// The uplink; `None` if its interface is not there.
    pub fn find(uplink: &'a config::Uplink, facts: &'a HostFacts) -> Option<Self> {
        let (ifindex, link) = facts.link_named(&uplink.interface)?;
        let home = facts
            .vlan_interface(ifindex, uplink.vlan)
            .and_then(|home| Some((home, facts.links.get(&home)?)));
        Some(Self {
            uplink,
            key: Vlan::key(uplink.vlan, ifindex),
            link,
            home,
        })
    }

    /// Whether packets can be sent.
    pub fn is_up(&self) -> bool {
        self.link.up && self.home.is_none_or(|(_, link)| link.up)
    }

    /// Whether its packets have no Ethernet header. Nobody is asked there who has which address.
    pub fn is_layer3(&self) -> bool {
        self.link.is_layer3()
    }

    /// The MAC that packets to the uplink have; without Ethernet, within this host.
    pub fn mac(&self) -> [u8; 6] {
        if self.is_layer3() {
            return layer3::OWN_MAC;
        }
        self.home.map_or(self.link.mac, |(_, link)| link.mac)
    }

    /// The largest packet that is sent there.
    pub fn mtu(&self) -> u32 {
        let mtu = self.link.mtu_behind(self.key);
        match self.home {
            Some((_, home)) if self.key.outer != 0 => mtu.min(home.mtu),
            Some((_, home)) => home.mtu,
            None => mtu,
        }
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        self.uplink.name()
    }

    /// The commands that make the host's own interface for its VLAN.
    pub fn to_create_home(&self) -> String {
        let vlan = self.uplink.vlan;
        vlan.map(|vlan| vlan.to_create(&self.link.name))
            .unwrap_or_default()
    }
}

/// The next hop of an uplink for one family, and the interface on which it is a neighbour. That of
/// IPv4 may have an IPv6 address (RFC 8950).
pub fn next_hop(facts: &HostFacts, way: &Way<'_>, family: Family) -> Option<(u32, IpAddr)> {
    let (home, _) = way.home?;
    let address = facts.next_hop(home, way.uplink.next_hop_of(family), family)?;
    Some((home, address))
}

/// Whether packets of a family are sent through an uplink without Ethernet: there is a next hop,
/// which is not asked for, or a default route. Which router that names does not matter, the other
/// end of the tunnel gets all.
pub fn leads_on(facts: &HostFacts, way: &Way<'_>, family: Family) -> bool {
    let Some((home, _)) = way.home else {
        return false;
    };
    way.uplink.next_hop_of(family).is_some()
        || facts.default_route(home, family).is_some()
        || matches!(facts.doubts.get(&(home, family)), Some(Doubt::Routers(_)))
}

/// The next hops of all uplinks, each with the uplink and the interface on which it is a neighbour.
pub fn next_hops<'a>(
    config: &'a Config,
    facts: &'a HostFacts,
) -> impl Iterator<Item = (Way<'a>, (u32, IpAddr))> {
    ways(config, facts).flat_map(|way| {
        let hops = Family::ALL.map(|family| next_hop(facts, &way, family));
        hops.into_iter().flatten().map(move |hop| (way, hop))
    })
}

/// The routers on the uplinks' links: the next hops, and those of every other default route there,
/// which may be the next hop in a moment.
pub fn routers(config: &Config, facts: &HostFacts) -> BTreeSet<IpAddr> {
    let mut routers: BTreeSet<IpAddr> = next_hops(config, facts)
        .map(|(_, (_, address))| address)
        .collect();
    for (home, _) in ways(config, facts).filter_map(|way| way.home) {
        let through = facts.routes.iter().filter(|route| route.interface == home);
        routers.extend(through.filter_map(|route| route.gateway));
        for family in Family::ALL {
            if let Some(Doubt::Routers(of_tables)) = facts.doubts.get(&(home, family)) {
                routers.extend(of_tables.iter().map(|(_, router)| *router));
            }
        }
    }
    routers
}

/// The Ethernet address of that next hop, as configured or as the kernel knows it.
pub fn next_hop_mac(
    facts: &HostFacts,
    way: &Way<'_>,
    (home, next_hop): (u32, IpAddr),
) -> Option<[u8; 6]> {
    if way.is_layer3() {
        return None;
    }
    let configured = way.uplink.next_hop_mac.map(|mac| mac.0);
    configured.or_else(|| facts.mac_of(home, next_hop))
}

/// The group address that the neighbour table has for that next hop, where nothing else is
/// configured.
pub fn refused_mac(
    facts: &HostFacts,
    way: &Way<'_>,
    (home, next_hop): (u32, IpAddr),
) -> Option<Mac> {
    let offered = facts.group_mac_of(home, next_hop).map(Mac);
    offered.filter(|_| way.uplink.next_hop_mac.is_none())
}

/// Fills in uplinks, the uplinks' targets, prefixes, the screens, and the uplinks' attachments.
pub fn compile(image: &mut DesiredState, model: &Model, facts: &HostFacts, config: &Config) {
    let mut egress = Egress::new(model);
    let mut attached = BTreeSet::new();
    let mut names: BTreeMap<LinkKey, String> = BTreeMap::new();
    for uplink in &config.uplinks {
        let Some(way) = Way::find(uplink, facts) else {
            image.warnings.push(missing(uplink, facts));
            continue;
        };
        if let Some(first) = names.get(&way.key) {
            image.warnings.push(format!(
                "uplink {}: it is the uplink {first} by another name, whose settings hold; keep one of the two",
                uplink.name()
            ));
            continue;
        }
        names.insert(way.key, uplink.name());
        if let Err(why) = attach::can_be_uplink(way.link, uplink.vlan) {
            let name = uplink.name();
            image.warnings.push(format!("uplink {name}: {why}"));
            continue;
        }
        let number = number_of(config, uplink);
        let record = record(model, facts, &way, number);
        image.warnings.extend(without_source(&record, model, &way));
        image.warnings.extend(without_neighbours(&way));
        let mut insert = |key: LinkKey| {
            let record = record.sealed(&key);
            image.content.uplinks.insert(key, record);
        };
        insert(way.key);
        match way.home {
            // Where the kernel is to find the next hop's MAC, packets leave through its own
            // interface for the VLAN.
            Some((home, _)) => insert(LinkKey::untagged(home)),
            None => image.warnings.push(format!(
                "uplink {}: this host has no interface for the VLAN, so its next hop cannot be resolved and nothing is \
                 sent there; {}",
                way.name(),
                way.to_create_home()
            )),
        }
        if attach::takes_xdp_frames(way.link) {
            image.content.devices.insert(way.key.ifindex);
        }
        if attached.insert(way.key.ifindex) {
            let ifindex = way.key.ifindex;
            let mut uplinks = ways(config, facts).filter(|other| other.key.ifindex == ifindex);
            let needs_tags =
                uplinks.any(|other| !other.key.is_untagged()) || facts.uses_vlans_of(ifindex);
            let asks_for_xdp = config.asks_for_xdp();
            let attachment = attach::uplink(ifindex, way.link, asks_for_xdp, needs_tags);
            image.attachments.push(attachment);
        }
        egress.consider(&mut image.warnings, facts, &way);
    }
    egress.write(image);
    prefixes::<[u8; 4]>(image, model, facts, config);
    prefixes::<[u8; 16]>(image, model, facts, config);
}

/// What to say of an uplink whose interface is not there. Perhaps its name is misspelt.
pub fn missing(uplink: &config::Uplink, facts: &HostFacts) -> String {
    format!(
        "uplink {}: there is no such interface; it is used as soon as it appears; this host has {}",
        uplink.name(),
        names_of_interfaces(facts)
    )
}

/// The names of this host's interfaces, those first that may be meant as uplinks.
pub fn names_of_interfaces(facts: &HostFacts) -> String {
    /// There may be thousands of guests' ports.
    const NAMED: usize = 16;
    let mut links: Vec<&Link> = facts.links.values().collect();
    links.sort_by_key(|link| (link.kind.is_virtual_port(), !link.up));
    let mut names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let listed = names.join(", ");
    if more == 0 {
        listed
    } else {
        format!("{listed} and {more} more")
    }
}

/// The way to the Internet of each family: the first uplink that is up and has a next hop.
struct Egress {
    v4: Option<Target>,
    v6: Option<Target>,
    /// The families that there are pools of.
    wanted: Vec<Family>,
    /// Those of which there is a warning already that says why there is no next hop.
    told: BTreeSet<Family>,
}

impl Egress {
    fn new(model: &Model) -> Self {
        let has_pool = |family: &Family| {
            let mut pools = model.pools.keys();
            pools.any(|cidr| Family::of(cidr.addr()) == *family)
                || (*family == Family::V4 && model.pools.is_empty())
        };
        Self {
            v4: None,
            v6: None,
            wanted: Family::ALL.into_iter().filter(has_pool).collect(),
            told: BTreeSet::new(),
        }
    }

    fn consider(&mut self, warnings: &mut Vec<String>, facts: &HostFacts, way: &Way<'_>) {
        if !way.is_up() {
            return;
        }
        for family in Family::ALL {
            if way.is_layer3() && leads_on(facts, way, family) {
                self.of(family).get_or_insert_with(|| target_of_layer3(way));
                continue;
            }
            let found = next_hop(facts, way, family);
            if self.wanted.contains(&family)
                && let Some(why) = unclear(facts, way, family)
            {
                warnings.push(format!("uplink {}: {why}", way.name()));
                if found.is_none() {
                    self.told.insert(family);
                }
            }
            let Some(hop) = found else { continue };
            // The kernel is not asked to send there either: it would, and everybody on the link
            // would read it.
            if let Some(mac) = refused_mac(facts, way, hop) {
                self.told.insert(family);
                warnings.push(format!(
                    "uplink {}: its next hop {} has the group address {mac} in this host's neighbour table, to which no packet is \
                     sent; find out who says so on the link, or set `next_hop_mac` in its [[uplink]]",
                    way.name(),
                    hop.1
                ));
            } else {
                self.of(family)
                    .get_or_insert_with(|| egress_target(facts, way, hop, family));
            }
        }
    }

    fn of(&mut self, family: Family) -> &mut Option<Target> {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    fn write(self, image: &mut DesiredState) {
        for (egress, family) in [(&self.v4, Family::V4), (&self.v6, Family::V6)] {
            let is_wanted = self.wanted.contains(&family);
            let is_told = self.told.contains(&family) || image.content.uplinks.is_empty();
            if egress.is_none() && is_wanted && !is_told {
                image.warnings.push(format!(
                    "no uplink is up and has an {family} next hop: no {family} packet can be sent to the Internet; give \
                     the host an {family} default route through the uplink, or set `next_hop` in its [[uplink]]"
                ));
            }
        }
        put_target::<[u8; 4]>(image, self.v4);
        put_target::<[u8; 16]>(image, self.v6);
    }
}

/// Why the host's routes do not say which the next hop of an uplink is, or not for all packets;
/// with the cure.
pub fn unclear(facts: &HostFacts, way: &Way<'_>, family: Family) -> Option<String> {
    let (home, _) = way.home?;
    let is_sent = way.is_layer3() && leads_on(facts, way, family);
    if is_sent || way.uplink.next_hop_of(family).is_some() {
        return None;
    }
    let router = next_hop(facts, way, family).map(|(_, router)| router);
    match (facts.doubts.get(&(home, family)), router) {
        (Some(doubt), Some(router)) => Some(format!(
            "for {family}, {doubt}; packets of EIPs go to {router}; set `next_hop` in its [[uplink]], to that one or another"
        )),
        (Some(doubt), None) => Some(format!(
            "for {family}, {doubt}, and no packet of an EIP is sent there; set `next_hop` in its [[uplink]]"
        )),
        (None, None) => facts.default_route(home, family).map(|_| {
            format!(
                "its {family} default route names no router, as if every address were on the link, and no packet of an EIP \
                 is sent there; set `next_hop` in its [[uplink]], or give the route a router"
            )
        }),
        (None, Some(_)) => None,
    }
}

fn put_target<A: Address>(image: &mut DesiredState, egress: Option<Target>) {
    let index = A::UPLINK_TARGET;
    let target = egress.unwrap_or_else(no_egress).sealed(&index);
    image.content.targets.insert(index, target);
}

fn record(model: &Model, facts: &HostFacts, way: &Way<'_>, number: usize) -> Uplink {
    let mut flags = UplinkFlags::numbered(number);
    // Where IPv4 has no address here its packets go to IPv6's router.
    let next_hop6 = hop_of::<[u8; 16]>(facts, way, Family::V6)
        .or_else(|| hop_of(facts, way, Family::V4))
        .unwrap_or_default();
    if way.uplink.answer_arp && !way.is_layer3() {
        flags |= UplinkFlags::ANSWER_ARP;
    }
    if way.uplink.drop_private_sources {
        flags |= UplinkFlags::DROP_PRIVATE_SOURCES;
    }
    Uplink {
        next_hop4: hop_of(facts, way, Family::V4).unwrap_or_default(),
        next_hop6,
        icmp_source4: icmp_source_of(model, facts, way),
        icmp_source6: icmp_source_of(model, facts, way),
        mac: way.mac(),
        flags,
        seal: 0,
    }
}

/// The next hop for one family, if it has an address of the other or the same that is asked for.
fn hop_of<A: Address>(facts: &HostFacts, way: &Way<'_>, family: Family) -> Option<A> {
    next_hop(facts, way, family).and_then(|(_, address)| A::of(address))
}

/// The address that stands for an IPv4 node without one (RFC 7600, 4.8), which the kernel uses,
/// too.
const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Who sends ICMP errors to the Internet: as configured, else the uplink's own address, else a
/// pool's gateway, else another of the host's. In a private cloud the uplink's may be unique local.
fn icmp_source_of<A: Address>(model: &Model, facts: &HostFacts, way: &Way<'_>) -> A {
    let own = || facts.first_global(way.home?.0, A::FAMILY);
    let pools = || {
        let mut routers = model.pools.values().filter_map(Pool::router);
        routers.find(|router| Family::of(*router) == A::FAMILY)
    };
    let of_cloud = || {
        let mut pools = model.pools.keys();
        let is_private =
            pools.any(|cidr| matches!(cidr, IpNet::V6(v6) if v6.addr().is_unique_local()));
        let mut addresses = facts.addresses_of(way.home?.0).map(|net| net.addr());
        let found = addresses.find(|one| matches!(one, IpAddr::V6(v6) if v6.is_unique_local()));
        found.filter(|_| is_private && A::FAMILY == Family::V6)
    };
    let dummy = || (A::FAMILY == Family::V4).then_some(DUMMY.into());
    let configured = way.uplink.icmp_source.of(A::FAMILY);
    configured
        .or_else(own)
        .or_else(pools)
        .or_else(of_cloud)
        .or_else(|| facts.any_global(A::FAMILY))
        .or_else(dummy)
        .and_then(A::of)
        .unwrap_or_default()
}

/// What to say where ICMP errors to the Internet have no sender, or one that is nobody's address.
pub fn without_sources(model: &Model, facts: &HostFacts, config: &Config) -> Vec<String> {
    ways(config, facts)
        .flat_map(|way| {
            without_source(
                &record(model, facts, &way, number_of(config, way.uplink)),
                model,
                &way,
            )
        })
        .collect()
}

/// What a warning says where senders are not told of what is dropped.
const UNTOLD: &str = "no ICMPv6 error is sent to the Internet";

/// Whether a warning says so.
pub fn says_untold(warning: &str) -> bool {
    warning.contains(UNTOLD)
}

fn without_source(record: &Uplink, model: &Model, way: &Way<'_>) -> Vec<String> {
    let has_pool = |family| {
        let mut pools = model.pools.keys();
        pools.any(|cidr| Family::of(cidr.addr()) == family)
    };
    let mut told = Vec::new();
    if has_pool(Family::V4) && record.icmp_source4 == DUMMY.octets() {
        told.push(format!(
            "uplink {}: this host has no IPv4 address, so ICMP errors come from {DUMMY}, which others may filter; give it one, \
             on `lo` perhaps, or set `icmp_source` in its [[uplink]]",
            way.name()
        ));
    }
    if has_pool(Family::V6) && record.icmp_source6 == [0; 16] {
        told.push(format!(
            "uplink {}: this host has no global IPv6 address, so {UNTOLD}, and who sends what is \
             too big is not told; give it one, on `lo` perhaps, or set `icmp_source` in its [[uplink]]",
            way.name()
        ));
    }
    told
}

fn egress_target(facts: &HostFacts, way: &Way<'_>, hop: (u32, IpAddr), family: Family) -> Target {
    let mac = next_hop_mac(facts, way, hop);
    // Of two IPv6 routers the record has the one that is IPv6's own. The kernel is asked for the
    // other one all the same, and it is used once it is resolved.
    if mac.is_none()
        && Family::of(hop.1) != family
        && next_hop(facts, way, Family::V6).is_some_and(|other| other != hop)
    {
        return no_egress();
    }
    let by_xdp = if attach::takes_xdp_frames(way.link) {
        TargetFlags::XDP
    } else {
        0
    };
    let mut target = Target {
        ifindex: way.key.ifindex,
        mtu: u16::try_from(way.mtu()).unwrap_or(u16::MAX),
        dst_mac: mac.unwrap_or_default(),
        src_mac: way.mac(),
        vlan: way.key.vlan,
        outer: way.key.outer,
        flags: by_xdp,
        ..no_egress()
    };
    if mac.is_some() {
        target.flags |= TargetFlags::RESOLVED;
    } else if way.key.vlan != 0 {
        // The kernel asks for the next hop on its own interface for the VLAN, which tags what it
        // sends.
        (target.ifindex, target.flags) = (hop.0, 0);
        (target.vlan, target.outer) = (0, 0);
    }
    target
}

/// Everything that goes there goes to the other end.
fn target_of_layer3(way: &Way<'_>) -> Target {
    Target {
        ifindex: way.key.ifindex,
        mtu: u16::try_from(way.mtu()).unwrap_or(u16::MAX),
        dst_mac: layer3::OTHER_MAC,
        src_mac: way.mac(),
        flags: TargetFlags::RESOLVED,
        ..no_egress()
    }
}

/// What of the configuration means nothing on an uplink without Ethernet.
pub fn without_neighbours(way: &Way<'_>) -> Option<String> {
    (way.is_layer3() && way.uplink.next_hop_mac.is_some()).then(|| {
        format!(
            "uplink {}: nobody has an Ethernet address there ({}), so `next_hop_mac` of its [[uplink]] means nothing; leave it \
             out",
            way.name(),
            way.link.kind
        )
    })
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
        outer: 0,
        flags: 0,
        seal: 0,
    }
}

/// A network on an uplink's link.
struct OnLink {
    net: IpNet,
    /// The interface whose neighbours are there.
    home: u32,
    mtu: u32,
}

/// The networks on the uplinks' links, and the next hops there, which may be outside of them. What
/// is on two links counts for the first of them that is up.
fn on_links(facts: &HostFacts, config: &Config) -> (Vec<OnLink>, Vec<OnLink>) {
    let (up, down): (Vec<_>, Vec<_>) = ways(config, facts)
        .filter(|way| attach::can_be_uplink(way.link, way.uplink.vlan).is_ok())
        .partition(Way::is_up);
    let (mut nets, mut next_hops) = (Vec::new(), Vec::new());
    for way in up.iter().chain(&down) {
        let Some((home, _)) = way.home else { continue };
        let on_link = |net: IpNet| OnLink {
            net,
            home,
            mtu: way.mtu(),
        };
        // The other end of a tunnel has all of its network, whatever prefix an address was given: a
        // pool's part there is routed to this host as all of it is.
        if !way.is_layer3() {
            let networks = facts.addresses_of(home).map(|address| address.trunc());
            nets.extend(networks.map(on_link));
        }
        let hops = Family::ALL.map(|family| next_hop(facts, way, family));
        let hops = hops.into_iter().flatten().map(|(_, address)| address);
        next_hops.extend(hops.map(IpNet::from).map(on_link));
    }
    (nets, next_hops)
}

/// The networks on the uplinks' links, each with the uplink's name.
pub fn all_networks(facts: &HostFacts, config: &Config) -> Vec<(String, IpNet)> {
    ways(config, facts)
        .flat_map(|way| {
            let name = way.name();
            let networks = networks(facts, &way).into_iter();
            networks.map(move |net| (name.clone(), net))
        })
        .collect()
}

/// What to say of the prefixes of a VPC that are also in use on an uplink's link: an address there
/// is nobody's on the Internet.
pub fn overlaps(vpc: &Vpc, networks: &[(String, IpNet)]) -> Vec<String> {
    vpc.cidrs
        .iter()
        .flat_map(|cidr| {
            let shared = networks.iter().filter(|(_, net)| do_overlap(cidr, net));
            shared.map(|(uplink, net)| overlap(&vpc.id, cidr, uplink, net))
        })
        .collect()
}

/// The networks on an uplink's link, and its next hops that are in none of them, without what is
/// link-local.
pub fn networks(facts: &HostFacts, way: &Way<'_>) -> BTreeSet<IpNet> {
    let home = way.home.map(|(home, _)| home);
    let networks = home.into_iter().flat_map(|home| facts.addresses_of(home));
    let mut networks: BTreeSet<IpNet> = networks.map(|net| net.trunc()).collect();
    for (_, hop) in Family::ALL
        .into_iter()
        .filter_map(|family| next_hop(facts, way, family))
    {
        if !networks.iter().any(|net| net.contains(&hop)) {
            networks.insert(hop.into());
        }
    }
    networks.retain(|net| !is_link_local(net.addr()));
    networks
}

/// Of two prefixes that share addresses one is within the other.
pub fn do_overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// What to say of a prefix of a VPC that is also in use on an uplink's link.
pub fn overlap(vpc: &str, cidr: &IpNet, uplink: &str, net: &IpNet) -> String {
    format!(
        "vpc-overlaps-uplink: vpc {vpc}: its CIDR {cidr} and {net} on the link of uplink {uplink} have addresses in common: \
         hosts there cannot reach the EIPs of the VPC's ENIs (their packets are dropped as martian), nor these ENIs them; give \
         the VPC another CIDR"
    )
}

/// Whether an address means something on its own link only, so that no packet from elsewhere has
/// it.
fn is_of_a_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

/// Fills in what addresses are that are no EIP's, and the screen. What is said last of an address
/// holds.
fn prefixes<A: Address>(
    image: &mut DesiredState,
    model: &Model,
    facts: &HostFacts,
    config: &Config,
) {
    let content = A::part_mut(&mut image.content);
    let (nets, next_hops) = on_links(facts, config);
    for pool in model.pools.values() {
        if Family::of(pool.cidr.network()) == A::FAMILY {
            prefixes_of_pool(content, pool, &nets);
        }
    }
    // The first of two with one address holds.
    for hop in next_hops.iter().rev() {
        if !is_link_local(hop.net.addr()) {
            put(content, &hop.net, hop.record(gateway_of(model, &hop.net)));
        }
    }
    for address in facts.host_addresses() {
        if !is_of_a_link(address) {
            put(content, &address.into(), plain(AddressClass::Host));
        }
    }
}

fn prefixes_of_pool<A: Address>(content: &mut FamilyContent<A>, pool: &Pool, nets: &[OnLink]) {
    let cidr = pool.cidr.trunc();
    let router = pool.router();
    let gateway = router.and_then(A::of).unwrap_or_default();
    let of_pool = |class| PrefixRecord {
        gateway,
        ..plain(class)
    };
    put(content, &cidr, of_pool(AddressClass::Pool));
    let mut on_link = Vec::new();
    for net in nets.iter().rev() {
        // Of two prefixes that share addresses one is within the other.
        let part = if net.net.contains(&cidr) {
            cidr
        } else if cidr.contains(&net.net) {
            net.net
        } else {
            continue;
        };
        put(content, &part, net.record(gateway));
        on_link.push(part);
    }
    // Nobody is asked for the link's broadcast address and its first one, which was one, too (RFC
    // 919, RFC 1122 3.3.6): the kernel sends to all there. As a pool's they are nobody's.
    for group in nets.iter().flat_map(|net| groups_of_link(&net.net)) {
        if cidr.contains(&group) {
            put(content, &group, of_pool(AddressClass::Reserved));
        }
    }
    for part in pool.reserve.iter().flat_map(AddressRange::prefixes) {
        // On the link, whoever holds an address is asked for it, reserved or not.
        if !on_link.iter().any(|net| net.contains(&part)) {
            put(content, &part, of_pool(AddressClass::Reserved));
        }
    }
    // On an on-link pool the gateway is the upstream router itself: nothing of ours answers for it.
    if let Some(router) = router
        && !nets.iter().any(|net| net.net.contains(&router))
    {
        put(content, &router.into(), plain(AddressClass::PoolGateway));
    }
}

/// The addresses of an IPv4 link that mean all who are on it; a link of two has none (RFC 3021).
fn groups_of_link(net: &IpNet) -> impl Iterator<Item = IpNet> {
    let is_shared = matches!(net, IpNet::V4(net) if net.prefix_len() < 31);
    let groups = [net.network(), net.broadcast()].map(IpNet::from);
    groups.into_iter().filter(move |_| is_shared)
}

/// The gateway of the pool that an address is in.
fn gateway_of<A: Address>(model: &Model, address: &IpNet) -> A {
    let mut pools = model.pools.values();
    let pool = pools.find(|pool| pool.cidr.contains(address));
    pool.and_then(Pool::router)
        .and_then(A::of)
        .unwrap_or_default()
}

impl OnLink {
    fn record<A: Address>(&self, gateway: A) -> PrefixRecord<A> {
        PrefixRecord {
            gateway,
            ifindex: self.home,
            mtu: self.mtu,
            ..plain(AddressClass::OnLink)
        }
    }
}

fn plain<A: Address>(class: AddressClass) -> PrefixRecord<A> {
    PrefixRecord {
        gateway: A::default(),
        class: class as u32,
        ifindex: 0,
        mtu: 0,
        seal: 0,
    }
}

/// Puts a prefix, if it is of the family. A program asks for the record of an address only where
/// the screen has it.
fn put<A: Address>(content: &mut FamilyContent<A>, cidr: &IpNet, record: PrefixRecord<A>) {
    let Some(network) = A::of(cidr.network()) else {
        return;
    };
    let key = PrefixKey {
        length: u32::from(cidr.prefix_len()),
        network,
    };
    content
        .prefixes
        .insert(key, record.sealed(&PREFIX_CHECKSUM));
    for bit in screen_bits::<A>(cidr) {
        let word = content.prefilter.entry(bit / 64).or_default();
        *word |= 1 << (bit % 64);
    }
}

impl config::Uplink {
    /// Its name in messages.
    pub fn name(&self) -> String {
        link_name(&self.interface, self.vlan)
    }
}
