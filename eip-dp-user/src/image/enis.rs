//! VPCs, ENIs on ports, their addresses, and the EIPs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
};

use eip_dp_common::{
    abi::{
        Cidr, EipEntry, EipMode, MAX_CIDRS, MacKey, NONE, Port, PortKey, PortMac, PrivateEntry,
        PrivateKey, PrivateState, Sealed, Target, TargetFlags, Vpc, maps,
    },
    checksum::Delta,
};
use ipnet::{IpNet, Ipv4Net};

use super::{Address, Eip, Image, InVpc, Limits, Private, limits, tag};
use crate::{
    attach,
    config::Config,
    host::{HostFacts, Link},
    model::{
        Model,
        objects::{self, Antispoof, Eni, EniState, Mode},
    },
};

/// The table as this host sees it: which ENI stands where, and which EIPs are its.
pub struct Scene<'a> {
    /// The ENIs that are served, in the order of their ids.
    pub enis: Vec<Placed<'a>>,
    /// The EIPs that are served, by address.
    pub eips: BTreeMap<Address, &'a objects::Eip>,
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
    tag: u64,
    /// The interface that it stands behind; `None` while it is detached, or where its port is not there.
    pub port: Option<(u32, &'a Link)>,
    /// Its associations whose EIPs are served: the private address, the EIP's address, the mode.
    pub associations: Vec<(Address, Address, Mode)>,
}

impl Placed<'_> {
    /// The EIP's address, if the ENI is in cut-through mode.
    pub fn cut_through(&self) -> Option<Address> {
        self.associations
            .iter()
            .find(|(_, _, mode)| *mode == Mode::CutThrough)
            .map(|(_, eip, _)| *eip)
    }

    /// Its private IPv4 addresses, the primary one first.
    pub fn addresses(&self) -> impl Iterator<Item = Address> + '_ {
        self.eni
            .private_ips
            .iter()
            .filter_map(|address| v4(*address))
    }
}

/// The octets of an IPv4 address.
pub fn v4(address: IpAddr) -> Option<Address> {
    match address {
        IpAddr::V4(address) => Some(address.octets()),
        IpAddr::V6(_) => None,
    }
}

/// A VPC's IPv4 CIDRs with their routers.
pub fn networks(vpc: &objects::Vpc) -> impl Iterator<Item = (Ipv4Net, Ipv4Addr)> + '_ {
    vpc.cidrs.iter().filter_map(|cidr| {
        let IpNet::V4(cidr) = cidr.trunc() else {
            return None;
        };
        let gateway = match vpc.gateway {
            Some(IpAddr::V4(gateway)) if cidr.contains(&gateway) => gateway,
            _ => cidr.hosts().next()?,
        };
        Some((cidr, gateway))
    })
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
            let Some(address) = v4(eip.address) else {
                continue;
            };
            if hosts.contains(&eip.address) {
                image.warnings.push(format!(
                    "eip {}: this host itself has the address {}, so it is left to the host; take it off the host's \
                     interface, or release the EIP",
                    eip.id, eip.address
                ));
                continue;
            }
            eips.insert(address, eip);
        }
        let mut associations: HashMap<&str, Vec<_>> = HashMap::new();
        for association in model.associations.values() {
            let eip = model
                .eips
                .get(&association.eip)
                .and_then(|eip| v4(eip.address));
            if let (Some(private), Some(eip)) = (v4(association.private_ip), eip)
                && eips.contains_key(&eip)
            {
                let of_eni = associations.entry(association.eni.as_str()).or_default();
                of_eni.push((private, eip, association.mode));
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
                    port: placer.place(eni, image),
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
        let placed = self.enis.iter().filter(|eni| eni.port.is_some());
        let missing_targets = allocations
            .targets
            .assign(&placed.map(|eni| eni.tag).collect());
        let vpcs = self.vpcs.iter().map(|id| tag(id)).collect();
        let missing_vpcs = allocations.vpcs.assign(&vpcs);
        image.starved = (missing_slots > 0 && allocations.slots.has_resting())
            || (missing_targets > 0 && allocations.targets.has_resting())
            || (missing_vpcs > 0 && allocations.vpcs.has_resting());
        for (map, size, missing) in [
            (maps::EIP4, limits.eips, missing_slots),
            (maps::TARGETS, limits.targets, missing_targets),
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
            for (place, (cidr, gateway)) in (0..).zip(networks(vpc)) {
                if place == MAX_CIDRS {
                    image.warnings.push(format!(
                        "vpc {id}: only its first {MAX_CIDRS} IPv4 CIDRs are served, more are not built yet; spread \
                         the ENIs over more VPCs"
                    ));
                    break;
                }
                let index = Cidr::<Address>::index(index, place);
                let record = Cidr {
                    network: cidr.network().octets(),
                    mask: cidr.netmask().octets(),
                    gateway: gateway.octets(),
                    used: 1,
                    seal: 0,
                };
                image.content.cidrs.insert(index, record.sealed(&index));
            }
        }
    }

    /// Fills in targets, ports, MACs, the devices for XDP, and the ports' attachments.
    pub fn ports(&self, image: &mut Image, config: &Config) {
        let mut attached = BTreeMap::new();
        for placed in &self.enis {
            let Some((ifindex, link)) = placed.port else {
                continue;
            };
            let attachment = attached
                .entry(ifindex)
                .or_insert_with(|| attach::port(ifindex, link, config.delivery(&link.name)));
            let (Some(vpc), Some(index)) = (
                image.allocations.vpcs.get(&tag(&placed.eni.vpc)),
                image.allocations.targets.get(&placed.tag),
            ) else {
                continue;
            };
            let content = &mut image.content;
            let mac = placed.eni.mac.0;
            let target = target(placed, ifindex, link, vpc, attachment.xdp_delivery);
            content.targets.insert(index, target.sealed(&index));
            if attachment.xdp_delivery {
                content.devices.insert(ifindex);
            }
            let key = PortKey {
                ifindex,
                vlan: 0,
                reserved: 0,
            };
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
            let key = MacKey {
                ifindex,
                vlan: 0,
                mac,
            };
            let record = PortMac {
                target: index,
                seal: 0,
            };
            content.macs.insert(key, record.sealed(&key));
        }
        image.attachments.extend(attached.into_values());
    }

    /// Fills in the ENIs' addresses and the EIPs.
    pub fn addresses(&self, image: &mut Image) {
        for (address, eip) in &self.eips {
            if let Some(slot) = image.allocations.slots.get(address) {
                let mode = EipMode::Unassociated;
                let entry = silent_eip(slot, mode).sealed(address);
                image.content.eips.insert(*address, entry);
            } else {
                tracing::debug!(eip = eip.id, "left out: no counters are free");
            }
        }
        for placed in &self.enis {
            // Without an index of its VPC an ENI cannot be told from those of other VPCs.
            let vpc = image.allocations.vpcs.get(&tag(&placed.eni.vpc));
            compile_eni(image, placed, vpc);
        }
    }
}

/// Fills in an ENI's addresses, and its EIPs.
fn compile_eni(image: &mut Image, placed: &Placed<'_>, vpc: Option<u32>) {
    let target = placed
        .port
        .and_then(|_| image.allocations.targets.get(&placed.tag))
        .filter(|_| vpc.is_some());
    let stranded = placed.eni.state == EniState::Stranded;
    let quiet = match (stranded, target) {
        (true, _) => Some((EipMode::Stranded, PrivateState::Stranded)),
        (false, None) => Some((EipMode::Detached, PrivateState::Detached)),
        (false, Some(_)) => None,
    };
    // Where the link is down, packets from the Internet are counted as for a detached ENI; the ENI's own
    // addresses stay usable, so that its first packets after the link came up are not lost.
    let link_up = placed.port.is_some_and(|(_, link)| link.up);
    if let Some(vpc) = vpc {
        let state = match quiet {
            Some((_, state)) => state,
            None if placed.cut_through().is_some() => PrivateState::Off,
            None => PrivateState::NoEip,
        };
        for address in placed.addresses() {
            let key = PrivateKey { vpc, address };
            let entry = plain_address(state, target.unwrap_or(NONE));
            if image
                .content
                .private
                .insert(key, entry.sealed(&key))
                .is_some()
            {
                tracing::debug!(eni = placed.eni.id, "an address that another ENI has too");
            }
        }
    }
    for (private, eip, mode) in &placed.associations {
        let Some(slot) = image.allocations.slots.get(eip) else {
            continue;
        };
        let (Some(vpc), Some(target), None) = (vpc, target, quiet) else {
            let mode = quiet.map_or(EipMode::Detached, |(mode, _)| mode);
            image
                .content
                .eips
                .insert(*eip, silent_eip(slot, mode).sealed(eip));
            continue;
        };
        let link = Association {
            private: *private,
            eip: *eip,
            slot,
            target,
            vpc,
        };
        let (entry, key, address) = match mode {
            Mode::Nat => link.nat(),
            Mode::CutThrough => link.cut_through(),
        };
        let entry = if link_up {
            entry
        } else {
            silent_eip(slot, EipMode::Detached)
        };
        image.content.eips.insert(*eip, entry.sealed(eip));
        image.content.private.insert(key, address.sealed(&key));
    }
}

/// An association that is in force.
struct Association {
    private: Address,
    eip: Address,
    slot: u32,
    target: u32,
    vpc: u32,
}

impl Association {
    fn nat(&self) -> (Eip, InVpc, Private) {
        let eip = EipEntry {
            private: self.private,
            slot: self.slot,
            target: self.target,
            vpc: self.vpc,
            delta: Delta::between(&self.eip, &self.private).to_record(),
            mode: EipMode::Nat as u8,
            reserved: 0,
            seal: 0,
        };
        let key = PrivateKey {
            vpc: self.vpc,
            address: self.private,
        };
        let private = PrivateEntry {
            public: self.eip,
            slot: self.slot,
            delta: Delta::between(&self.private, &self.eip).to_record(),
            ..plain_address(PrivateState::Nat, self.target)
        };
        (eip, key, private)
    }

    fn cut_through(&self) -> (Eip, InVpc, Private) {
        let eip = EipEntry {
            private: self.eip,
            slot: self.slot,
            target: self.target,
            vpc: self.vpc,
            delta: 0,
            mode: EipMode::CutThrough as u8,
            reserved: 0,
            seal: 0,
        };
        let key = PrivateKey {
            vpc: self.vpc,
            address: self.eip,
        };
        let private = PrivateEntry {
            public: self.eip,
            slot: self.slot,
            ..plain_address(PrivateState::CutThrough, self.target)
        };
        (eip, key, private)
    }
}

/// An EIP that nothing is delivered for.
fn silent_eip(slot: u32, mode: EipMode) -> Eip {
    EipEntry {
        private: [0; 4],
        slot,
        target: NONE,
        vpc: NONE,
        delta: 0,
        mode: mode as u8,
        reserved: 0,
        seal: 0,
    }
}

/// An address that no EIP stands for.
pub fn plain_address(state: PrivateState, target: u32) -> Private {
    PrivateEntry {
        public: [0; 4],
        slot: NONE,
        target,
        delta: 0,
        state: state as u8,
        reserved: 0,
        seal: 0,
    }
}

fn target(placed: &Placed<'_>, ifindex: u32, link: &Link, vpc: u32, by_xdp: bool) -> Target {
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
        ifindex,
        mtu: link.mtu,
        vpc,
        dst_mac: placed.eni.mac.0,
        src_mac: link.mac,
        vlan: 0,
        flags,
        seal: 0,
    }
}

/// Finds out where ENIs stand, and refuses what cannot stand together.
struct Placer<'a> {
    links: HashMap<&'a str, (u32, &'a Link)>,
    uplinks: HashSet<String>,
    tags: HashMap<(&'static str, u64), &'a str>,
    vpc_of_port: HashMap<u32, &'a str>,
    mac_of_port: HashMap<(u32, objects::Mac), &'a str>,
}

impl<'a> Placer<'a> {
    fn new(facts: &'a HostFacts, config: &Config) -> Self {
        Self {
            links: facts
                .links
                .iter()
                .map(|(index, link)| (link.name.as_str(), (*index, link)))
                .collect(),
            uplinks: config
                .uplinks
                .iter()
                .map(|uplink| uplink.interface.clone())
                .collect(),
            tags: HashMap::new(),
            vpc_of_port: HashMap::new(),
            mac_of_port: HashMap::new(),
        }
    }

    /// The object's tag, unless another object has it.
    fn tag(&mut self, kind: &'static str, id: &'a str, image: &mut Image) -> Option<u64> {
        let value = tag(id);
        let owner = *self.tags.entry((kind, value)).or_insert(id);
        if owner == id {
            return Some(value);
        }
        image.warnings.push(format!(
            "{kind} {id}: its id has the same 64-bit hash as {kind} {owner}, so it is not served; give it another id"
        ));
        None
    }

    /// The interface that the ENI stands behind.
    fn place(&mut self, eni: &'a Eni, image: &mut Image) -> Option<(u32, &'a Link)> {
        if eni.state == EniState::Detached {
            return None;
        }
        let port = eni.port.as_deref()?;
        // A port that is not there yet is no mistake: a tap appears with its machine.
        let (ifindex, link) = *self.links.get(port)?;
        let vpc = *self.vpc_of_port.entry(ifindex).or_insert(&eni.vpc);
        let owner = *self
            .mac_of_port
            .entry((ifindex, eni.mac))
            .or_insert(&eni.id);
        let instance = eni.instance.as_deref();
        let problem = if eni.vlan.is_some() {
            "VLANs are not built yet; attach it without one".to_owned()
        } else if self.uplinks.contains(port) {
            format!("its port {port} is an uplink; attach it to another")
        } else if let Err(why) = attach::can_carry(link) {
            format!("its port {why}")
        } else if vpc != eni.vpc {
            format!("ENIs of the VPC {vpc} stand on its port {port}; attach it to another")
        } else if owner != eni.id {
            format!(
                "the ENI {owner} has the Ethernet address {} on port {port} too; attach it to another",
                eni.mac
            )
        } else if let Some(instance) = instance
            && self.tag("instance", instance, image).is_none()
        {
            return None;
        } else {
            return Some((ifindex, link));
        };
        image.warnings.push(format!("eni {}: {problem}", eni.id));
        None
    }
}
