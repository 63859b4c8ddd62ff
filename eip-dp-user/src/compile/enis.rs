//! Which ENIs and EIPs are served, and where they are: VPCs, targets, ports and MACs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use eip_dp_common::abi::{
    Checksummed, Cidr, LinkKey, MAX_CIDRS, MacKey, NONE, Port, PortMac, PortRole, Target,
    TargetFlags, Vpc, maps,
};
use ipnet::IpNet;

use super::{
    Address, Allocations, Content, DesiredState, HashMap, Limits,
    context::{CompileContext, InterfaceUses, ServedAssociation, is_local},
    fill, limits,
    port_binding::{PortBinder, PortBinding, Unserved, port_mode},
};
use crate::{
    attach::{self, Attachment},
    config::Config,
    host::{self, HostFacts, VlanTag},
    model::{
        Model,
        objects::{self, Antispoof, Eni, Mac, Mode},
    },
};

/// The table as this host sees it, or a part of it: which ENI stands where, and which EIPs are its.
pub struct Resolved<'a> {
    /// The ENIs that are served, in the order of their ids.
    pub enis: Vec<ResolvedEni<'a>>,
    /// The addresses of the EIPs that are served, in order.
    pub eips: Vec<IpAddr>,
    /// The pools, and the VPCs.
    pub model: &'a Model,
    /// The VPCs, by tag.
    pub vpcs: BTreeMap<u64, &'a str>,
    /// The ENIs, counted.
    pub crowds: InterfaceUses,
    /// Whether anything is refused because of another object.
    pub conflicting: bool,
    /// See [`PortBinder::unbound`] and [`PortBinder::closed`].
    unbound: (Vec<(String, u32)>, BTreeSet<u32>),
    /// What cannot be served.
    pub unserved: Vec<Unserved>,
}

/// An ENI and where it stands.
pub struct ResolvedEni<'a> {
    /// The ENI.
    pub eni: &'a Eni,
    /// Hash of its id.
    pub tag: u64,
    /// Hash of its VPC's id.
    pub vpc: u64,
    /// Where it stands; `None` while it is detached, or where its port is not there.
    pub stand: Option<PortBinding<'a>>,
    /// Its associations whose EIPs are served.
    pub associations: &'a [ServedAssociation],
    /// Its VPC's index. Without one an ENI cannot be told from those of other VPCs.
    pub vpc_index: Option<u32>,
    /// Its target, if it stands somewhere and its VPC has an index.
    pub target: Option<u32>,
}

impl ResolvedEni<'_> {
    /// Whether the ENI is in cut-through mode: its private networking is off, in both families.
    pub fn is_cut_through(&self) -> bool {
        let mut associations = self.associations.iter();
        associations.any(|link| link.mode == Mode::CutThrough)
    }

    /// The EIP that the guest has itself, of a family.
    pub fn cut_through<A: Address>(&self) -> Option<A> {
        self.associations
            .iter()
            .filter(|link| link.mode == Mode::CutThrough)
            .find_map(|link| A::of(link.eip))
    }
}

/// A VPC's CIDRs of a family, with their routers.
pub fn networks<A: Address>(vpc: &objects::Vpc) -> impl Iterator<Item = (IpNet, IpAddr)> + '_ {
    vpc.cidrs
        .iter()
        .map(IpNet::trunc)
        .filter(|cidr| A::of(cidr.network()).is_some())
        .map(|cidr| (cidr, vpc.router_of(&cidr)))
}

impl<'a> Resolved<'a> {
    /// Looks at these ENIs, which come in the order of their ids. What cannot be served is left out
    /// with a warning. The EIPs are still to be named.
    pub fn new(
        warnings: &mut Vec<String>,
        (model, facts, config): (&'a Model, &'a HostFacts, &'a Config),
        known: &'a CompileContext,
        enis: impl Iterator<Item = &'a Eni>,
        is_careful: bool,
    ) -> Self {
        let mut placer = PortBinder::new(facts, config, known, is_careful);
        let mut all = Vec::with_capacity(enis.size_hint().0);
        let mut vpcs = BTreeMap::new();
        let mut crowds = InterfaceUses::default();
        for eni in enis.filter(|eni| is_local(eni.region.as_ref(), config)) {
            if let Some(tag) = placer.tag("eni", &eni.id, warnings)
                && let Some(vpc) = placer.tag("vpc", &eni.vpc, warnings)
            {
                if !crowds.vpcs.contains_key(&vpc) {
                    vpcs.insert(vpc, eni.vpc.as_str());
                }
                let one = ResolvedEni {
                    eni,
                    tag,
                    vpc,
                    stand: placer.place(eni, warnings),
                    associations: known.links.get(&tag).map_or(&[], |links| links.as_slice()),
                    vpc_index: None,
                    target: None,
                };
                crowds.add(&one);
                all.push(one);
            }
        }
        Self {
            enis: all,
            eips: Vec::new(),
            model,
            vpcs,
            crowds,
            conflicting: placer.conflicting,
            unbound: (placer.unbound, placer.closed),
            unserved: placer.unserved,
        }
    }

    /// The ENIs whose ports are not known yet to be these interfaces, and the interfaces that are
    /// closed.
    pub fn take_unbound(&mut self) -> (Vec<(String, u32)>, BTreeSet<u32>) {
        std::mem::take(&mut self.unbound)
    }

    /// Whether there are such.
    pub fn has_unbound(&self) -> bool {
        !self.unbound.0.is_empty()
    }

    /// Hands out indexes.
    pub fn allocate(&mut self, image: &mut DesiredState, limits: &Limits) {
        let allocations = &mut image.allocations;
        let (eips, missing_eips6) = limits::eips(&self.eips, allocations, limits);
        let slots = allocations.slots_of(&eips);
        let missing_slots = allocations.slots.assign(&slots);
        let targets = allocations.targets_of(self.standing());
        let missing_targets = allocations.targets.assign(&targets);
        let vpcs: Vec<_> = self.vpcs.keys().map(|tag| (*tag).into()).collect();
        let missing_vpcs = allocations.vpcs.assign(&vpcs);
        image.out_of_indexes = (missing_slots > 0 && allocations.slots.has_quarantined())
            || (missing_targets > 0 && allocations.targets.has_quarantined())
            || (missing_vpcs > 0 && allocations.vpcs.has_quarantined());
        for (map, size, missing) in [
            (maps::EIP6, limits.eips6, missing_eips6),
            (maps::EIP_IN, limits.eips, missing_slots),
            (maps::NEXT_HOPS, limits.targets, missing_targets),
            (maps::VPCS, limits.vpcs, missing_vpcs),
        ] {
            if missing > 0 {
                image.over_capacity = true;
                image.warnings.push(limits::full(map, size, missing));
            }
        }
        self.look_up(&image.allocations);
    }

    /// Looks up the ENIs' indexes.
    pub fn look_up(&mut self, allocations: &Allocations) {
        for placed in &mut self.enis {
            placed.vpc_index = allocations.vpcs.get(&placed.vpc);
            if placed.stand.is_some() && placed.vpc_index.is_some() {
                placed.target = allocations.targets.get(&placed.tag);
            }
        }
    }

    /// What is left of it: how many there are.
    pub fn into_crowds(self) -> InterfaceUses {
        self.crowds
    }

    /// The tags and MACs of the ENIs that stand somewhere.
    pub fn standing(&self) -> impl Iterator<Item = (u64, Mac)> + '_ {
        let standing = self.enis.iter().filter(|placed| placed.stand.is_some());
        standing.map(|placed| (placed.tag, placed.eni.mac))
    }

    /// Fills in VPCs and their CIDRs.
    pub fn vpcs(
        &self,
        content: &mut Content,
        warnings: &mut Vec<String>,
        allocations: &Allocations,
    ) {
        for (tag, id) in &self.vpcs {
            let (Some(vpc), Some(index)) = (self.model.vpcs.get(*id), allocations.vpcs.get(tag))
            else {
                continue;
            };
            let record = Vpc {
                tag: *tag,
                reserved: 0,
                seal: 0,
            };
            content.vpcs.insert(index, record.sealed(&index));
            cidrs::<[u8; 4]>(content, warnings, vpc, index);
            cidrs::<[u8; 16]>(content, warnings, vpc, index);
        }
    }

    /// Fills in targets and MACs. Returns whether two ENIs have one Ethernet address on the same
    /// port.
    pub fn places(
        &self,
        targets: &mut BTreeMap<u32, Target>,
        macs: &mut BTreeMap<MacKey, PortMac>,
        (facts, config): (&HostFacts, &Config),
    ) -> bool {
        let mut by_xdp = HashMap::default();
        let mut found_targets = Vec::with_capacity(self.enis.len());
        let mut found_macs = Vec::with_capacity(self.enis.len());
        for placed in &self.enis {
            let (Some(stand), Some(vpc), Some(index)) =
                (&placed.stand, placed.vpc_index, placed.target)
            else {
                continue;
            };
            let key = stand.key;
            let by_xdp = *by_xdp.entry(key.ifindex).or_insert_with(|| {
                let mode = port_mode(config, facts, key.ifindex);
                attach::no_xdp_delivery(stand.link, mode).is_none()
            });
            let target = target(placed, stand, vpc, by_xdp);
            found_targets.push((index, target.sealed(&index)));
            let key = MacKey::on(key, placed.eni.mac.0);
            let record = PortMac {
                target: index,
                seal: 0,
            };
            found_macs.push((key, record.sealed(&key)));
        }
        fill(targets, found_targets);
        fill(macs, found_macs)
    }
}

/// Who stands on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The VPC's index.
    pub vpc: u32,
    /// The ENI's target.
    pub target: u32,
    /// The ENI's Ethernet address.
    pub mac: [u8; 6],
}

/// The record of a port that `first` stands on, alone or not.
pub fn port(key: LinkKey, first: Member, is_alone: bool, facts: &HostFacts) -> Option<Port> {
    let link = facts.links.get(&key.ifindex)?;
    let (target, eni_mac) = if is_alone {
        (first.target, first.mac)
    } else {
        (NONE, [0; 6])
    };
    let port = Port {
        role: PortRole::Enis as u32,
        vpc: first.vpc,
        target,
        mac: link.mac,
        eni_mac,
        seal: 0,
    };
    Some(port.sealed(&key))
}

/// What of an interface with ports may be the host's own, unless ENIs stand there: its untagged
/// frames, and the VLANs that it has interfaces for, or all of them as a bridge's member.
pub fn host_keys(facts: &HostFacts) -> HashMap<u32, Vec<LinkKey>> {
    let mut keys: HashMap<u32, Vec<LinkKey>> = HashMap::default();
    for (ifindex, link) in &facts.links {
        if is_untagged_hosts(*ifindex, link, facts) {
            keys.entry(*ifindex)
                .or_default()
                .push(LinkKey::untagged(*ifindex));
        }
        let master = link.master.and_then(|master| facts.links.get(&master));
        if master.is_some_and(|master| master.kind.is_bridge()) {
            keys.entry(*ifindex)
                .or_default()
                .push(LinkKey::any_vlan(*ifindex));
        }
        if let Some(key) = vlan_key(link, facts) {
            keys.entry(key.ifindex).or_default().push(key);
        }
    }
    keys
}

/// Whether untagged frames of an interface are the host's where they are no ENI's. A veth or tap is
/// there for a guest, and what comes in untagged beside its VLANs is nobody's, unless the host uses
/// the interface itself. (Every interface gets a link-local IPv6 address: that says nothing.)
fn is_untagged_hosts(ifindex: u32, link: &host::Link, facts: &HostFacts) -> bool {
    let is_given = |net: IpNet| match net.addr() {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    };
    !link.kind.is_virtual_port()
        || link.master.is_some()
        || facts.addresses_of(ifindex).any(is_given)
}

/// The VLAN that an interface of the host is for, by the interface that carries the tagged frames.
fn vlan_key(link: &host::Link, facts: &HostFacts) -> Option<LinkKey> {
    let key = match link.vlan? {
        (lower, VlanTag::Service(outer)) => LinkKey::stacked(lower, outer, 0),
        (lower, VlanTag::Customer(id)) => match facts.links.get(&lower)?.vlan {
            Some((lower, VlanTag::Service(outer))) => LinkKey::stacked(lower, outer, id),
            _ => LinkKey::tagged(lower, id),
        },
    };
    // VLAN 0 is no VLAN.
    (!key.is_untagged()).then_some(key)
}

/// The record of what of an interface is the host's own.
pub fn host_port(key: LinkKey, facts: &HostFacts) -> Option<Port> {
    let port = Port {
        role: PortRole::Host as u32,
        vpc: NONE,
        target: NONE,
        mac: facts.links.get(&key.ifindex)?.mac,
        eni_mac: [0; 6],
        seal: 0,
    };
    Some(port.sealed(&key))
}

/// Fills in what is the host's own on interfaces with ports.
pub fn host_ports(content: &mut Content, known: &CompileContext, facts: &HostFacts) {
    for ifindex in known.interfaces.keys() {
        for key in known.host_keys_of(*ifindex) {
            if let Some(port) = host_port(*key, facts) {
                // The ENIs come first.
                content.ports.entry(*key).or_insert(port);
            }
        }
    }
}

/// Fills in the ports, and the interfaces that XDP sends to: wherever there is an Ethernet address.
pub fn ports(content: &mut Content, facts: &HostFacts) {
    let mut ports = Vec::new();
    let mut members = content.macs.iter().peekable();
    while let Some((mac, record)) = members.next() {
        let Some(target) = content.targets.get(&record.target) else {
            continue;
        };
        let key = LinkKey::stacked(mac.ifindex, mac.outer, mac.vlan);
        let first = Member {
            vpc: target.vpc,
            target: record.target,
            mac: mac.mac,
        };
        let mut is_alone = true;
        let is_here = |other: &MacKey| MacKey::on(key, other.mac) == *other;
        while members.next_if(|(other, _)| is_here(other)).is_some() {
            is_alone = false;
        }
        ports.extend(port(key, first, is_alone, facts).map(|port| (key, port)));
        if target.flags & TargetFlags::XDP != 0 {
            content.devices.insert(mac.ifindex);
        }
    }
    fill(&mut content.ports, ports);
}

/// What goes on the port of that interface.
pub fn attachment(
    ifindex: u32,
    needs_tags: bool,
    facts: &HostFacts,
    config: &Config,
) -> Option<Attachment> {
    let link = facts.links.get(&ifindex)?;
    let mode = port_mode(config, facts, ifindex);
    Some(attach::port(ifindex, link, mode, needs_tags))
}

/// Fills in the CIDRs of one family of the VPC with that index.
fn cidrs<A: Address>(
    content: &mut Content,
    warnings: &mut Vec<String>,
    vpc: &objects::Vpc,
    index: u32,
) {
    for (place, (cidr, gateway)) in (0..).zip(networks::<A>(vpc)) {
        if place == MAX_CIDRS {
            warnings.push(format!(
                "vpc {}: only its first {MAX_CIDRS} {} CIDRs are served, more are not built yet; spread the ENIs over \
                 more VPCs",
                vpc.id,
                A::FAMILY
            ));
            break;
        }
        let (Some(network), Some(mask), Some(gateway)) =
            (A::of(cidr.network()), A::of(cidr.netmask()), A::of(gateway))
        else {
            continue;
        };
        let index = Cidr::<A>::index(index, place);
        let record = Cidr {
            network,
            mask,
            gateway,
            used: 1,
            seal: 0,
        };
        let cidrs = &mut A::part_mut(content).cidrs;
        cidrs.insert(index, record.sealed(&index));
    }
}

fn target(placed: &ResolvedEni<'_>, stand: &PortBinding<'_>, vpc: u32, by_xdp: bool) -> Target {
    let mut flags = TargetFlags::RESOLVED;
    if by_xdp {
        flags |= TargetFlags::XDP;
    }
    if placed.eni.antispoof == Antispoof::Eni {
        flags |= TargetFlags::ANTISPOOF_ENI;
    }
    if !placed.eni.shared_ips.is_empty() {
        flags |= TargetFlags::SHARES;
    }
    Target {
        tag: placed.tag,
        // An ENI without an instance shares its addresses with no other.
        instance: stand.instance.unwrap_or(placed.tag),
        ifindex: stand.key.ifindex,
        mtu: u16::try_from(stand.mtu()).unwrap_or(u16::MAX),
        vpc,
        dst_mac: placed.eni.mac.0,
        src_mac: stand.link.mac,
        vlan: stand.key.vlan,
        outer: stand.key.outer,
        flags,
        seal: 0,
    }
}
