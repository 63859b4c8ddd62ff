//! Which ENIs and EIPs are served, and where they are: VPCs, targets, ports and MACs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use eip_dp_common::abi::{
    Cidr, MAX_CIDRS, MacKey, NONE, Port, PortMac, Sealed, Target, TargetFlags, Vpc, maps,
};
use ipnet::IpNet;

use super::{
    Address, Image, Limits, limits,
    place::{Placer, Stand},
    tag,
};
use crate::{
    attach,
    config::Config,
    host::HostFacts,
    model::{
        Model,
        objects::{self, Antispoof, Eni, Mode},
    },
};

/// The table as this host sees it: which ENI stands where, and which EIPs are its.
pub struct Scene<'a> {
    /// The ENIs that are served, in the order of their ids.
    pub enis: Vec<Placed<'a>>,
    /// The EIPs that are served, by address.
    pub eips: BTreeMap<IpAddr, &'a objects::Eip>,
    /// The pools.
    pub model: &'a Model,
    /// The ids of the VPCs that the served ENIs are in.
    vpcs: BTreeSet<&'a str>,
}

/// An ENI and where it stands.
pub struct Placed<'a> {
    /// The ENI.
    pub eni: &'a Eni,
    /// Hash of its id.
    pub tag: u64,
    /// Where it stands; `None` while it is detached, or where its port is not there.
    pub stand: Option<Stand<'a>>,
    /// Its associations whose EIPs are served: the private address, the EIP's address, the mode.
    pub associations: Vec<(IpAddr, IpAddr, Mode)>,
}

impl Placed<'_> {
    /// Whether the ENI is in cut-through mode: its private networking is off, in both families.
    pub fn is_cut_through(&self) -> bool {
        let mut associations = self.associations.iter();
        associations.any(|(_, _, mode)| *mode == Mode::CutThrough)
    }

    /// The EIP that the guest has itself, of a family.
    pub fn cut_through<A: Address>(&self) -> Option<A> {
        self.associations
            .iter()
            .filter(|(_, _, mode)| *mode == Mode::CutThrough)
            .find_map(|(_, eip, _)| A::of(*eip))
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

impl<'a> Scene<'a> {
    /// Looks at the table; what cannot be served is left out with a warning.
    pub fn new(image: &mut Image, model: &'a Model, facts: &'a HostFacts, config: &Config) -> Self {
        let served = |region: &Option<String>| {
            config.region.is_none() || region.is_none() || *region == config.region
        };
        let hosts: HashSet<IpAddr> = facts.host_addresses().collect();
        let mut eips = BTreeMap::new();
        for eip in model.eips.values().filter(|eip| served(&eip.region)) {
            if hosts.contains(&eip.address) {
                image.warnings.push(format!(
                    "eip {}: this host itself has the address {}, so it is left to the host; take it off the host's \
                     interface, or release the EIP",
                    eip.id, eip.address
                ));
                continue;
            }
            eips.insert(eip.address, eip);
        }
        let mut associations: HashMap<&str, Vec<_>> = HashMap::new();
        for association in model.associations.values() {
            if let Some(eip) = model.eips.get(&association.eip)
                && eips.contains_key(&eip.address)
            {
                let of_eni = associations.entry(association.eni.as_str()).or_default();
                of_eni.push((association.private_ip, eip.address, association.mode));
            }
        }
        let mut placer = Placer::new(facts, config);
        let mut enis = Vec::new();
        let mut vpcs = BTreeSet::new();
        for eni in model.enis.values().filter(|eni| served(&eni.region)) {
            if let Some(tag) = placer.tag("eni", &eni.id, image)
                && placer.tag("vpc", &eni.vpc, image).is_some()
            {
                vpcs.insert(eni.vpc.as_str());
                enis.push(Placed {
                    eni,
                    tag,
                    stand: placer.place(eni, image),
                    associations: associations.remove(eni.id.as_str()).unwrap_or_default(),
                });
            }
        }
        Self {
            enis,
            eips,
            model,
            vpcs,
        }
    }

    /// Hands out indexes.
    pub fn allocate(&self, image: &mut Image, limits: &Limits) {
        let allocations = &mut image.allocations;
        let missing_slots = allocations
            .slots
            .assign(&self.eips.keys().copied().collect());
        let placed = self.enis.iter().filter(|eni| eni.stand.is_some());
        let missing_targets = allocations
            .targets
            .assign(&placed.map(|eni| eni.tag).collect());
        let vpcs = self.vpcs.iter().map(|id| tag(id)).collect();
        let missing_vpcs = allocations.vpcs.assign(&vpcs);
        image.starved = (missing_slots > 0 && allocations.slots.has_resting())
            || (missing_targets > 0 && allocations.targets.has_resting())
            || (missing_vpcs > 0 && allocations.vpcs.has_resting());
        for (map, size, missing) in [
            (maps::EIP_IN, limits.eips, missing_slots),
            (maps::NEXT_HOPS, limits.targets, missing_targets),
            (maps::VPCS, limits.vpcs, missing_vpcs),
        ] {
            if missing > 0 {
                image.warnings.push(limits::full(map, size, missing));
            }
        }
    }

    /// Fills in VPCs and their CIDRs.
    pub fn vpcs(&self, image: &mut Image) {
        for id in &self.vpcs {
            let (Some(vpc), Some(index)) = (
                self.model.vpcs.get(*id),
                image.allocations.vpcs.get(&tag(id)),
            ) else {
                continue;
            };
            let record = Vpc {
                tag: tag(id),
                reserved: 0,
                seal: 0,
            };
            image.content.vpcs.insert(index, record.sealed(&index));
            cidrs::<[u8; 4]>(image, vpc, index);
            cidrs::<[u8; 16]>(image, vpc, index);
        }
    }

    /// Fills in targets, ports, MACs, the devices for XDP, and the ports' attachments.
    pub fn ports(&self, image: &mut Image, config: &Config) {
        let mut attached = BTreeMap::new();
        for placed in &self.enis {
            let Some(stand) = &placed.stand else {
                continue;
            };
            let (key, link) = (stand.key, stand.link);
            let attachment = attached
                .entry(key.ifindex)
                .or_insert_with(|| attach::port(key.ifindex, link, config.delivery(&link.name)));
            let (Some(vpc), Some(index)) = (
                image.allocations.vpcs.get(&tag(&placed.eni.vpc)),
                image.allocations.targets.get(&placed.tag),
            ) else {
                continue;
            };
            let content = &mut image.content;
            let mac = placed.eni.mac.0;
            let target = target(placed, stand, vpc, attachment.xdp_delivery);
            content.targets.insert(index, target.sealed(&index));
            if attachment.xdp_delivery {
                content.devices.insert(key.ifindex);
            }
            let port = match content.ports.get(&key) {
                None => Port {
                    vpc,
                    target: index,
                    mac: link.mac,
                    eni_mac: mac,
                    seal: 0,
                },
                Some(first) => Port {
                    target: NONE,
                    eni_mac: [0; 6],
                    ..*first
                },
            };
            content.ports.insert(key, port.sealed(&key));
            let key = MacKey::on(key, mac);
            let record = PortMac {
                target: index,
                seal: 0,
            };
            content.macs.insert(key, record.sealed(&key));
        }
        image.attachments.extend(attached.into_values());
    }
}

/// Fills in the CIDRs of one family of the VPC with that index.
fn cidrs<A: Address>(image: &mut Image, vpc: &objects::Vpc, index: u32) {
    for (place, (cidr, gateway)) in (0..).zip(networks::<A>(vpc)) {
        if place == MAX_CIDRS {
            image.warnings.push(format!(
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
        let cidrs = &mut A::part_mut(&mut image.content).cidrs;
        cidrs.insert(index, record.sealed(&index));
    }
}

fn target(placed: &Placed<'_>, stand: &Stand<'_>, vpc: u32, by_xdp: bool) -> Target {
    let mut flags = TargetFlags::RESOLVED;
    if by_xdp {
        flags |= TargetFlags::XDP;
    }
    if placed.eni.antispoof == Antispoof::Eni {
        flags |= TargetFlags::ANTISPOOF_ENI;
    }
    Target {
        tag: placed.tag,
        // An ENI without an instance shares its addresses with no other.
        instance: placed.eni.instance.as_deref().map_or(placed.tag, tag),
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
