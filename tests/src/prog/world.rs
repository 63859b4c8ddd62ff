//! Fills the maps with the world of the table.

use std::{collections::HashMap as Names, net::IpAddr};

use anyhow::{Context as _, Result, bail};
use eip_dp_common::{
    abi::{
        AddressClass, Checksummed, Cidr, EipMode, EipRoute, LinkKey, MAX_CIDRS, MacKey, NONE,
        PREFIX_CHECKSUM, Port, PortMac, PortRole, Prefix, PrefixKey, SourceBinding, SourceKey,
        SourceState, Target, TargetFlags, Uplink, UplinkFlags, Vpc,
    },
    checksum::Delta,
    family::{Family, V4, V6},
};
use eip_dp_user::{
    compile::{Address, FamilyWrite, Write},
    kernel::{Kernel, Plane as _},
};

use super::{bench::Delivery, table};

/// The VLAN of the uplink, with [`Delivery::Tagged`].
pub const UPLINK_VLAN: u16 = 100;
/// The outer VLAN of the uplink, with [`Delivery::Stacked`].
pub const UPLINK_OUTER: u16 = 10;

/// How an address family's part of the table is written to the maps.
pub trait Records: Family<Address: Address> {
    /// The bytes of an address of this family.
    fn octets(address: IpAddr) -> Result<Self::Address>;

    /// The checksum difference between two addresses.
    fn delta(old: &Self::Address, new: &Self::Address) -> Delta;

    /// Where an uplink's record has its addresses: the next hop's, and its own.
    fn addresses(uplink: &mut Uplink) -> [&mut Self::Address; 2];
}

impl Records for V4 {
    fn octets(address: IpAddr) -> Result<[u8; 4]> {
        match address {
            IpAddr::V4(address) => Ok(address.octets()),
            IpAddr::V6(address) => bail!("{address} is of IPv6"),
        }
    }

    fn delta(old: &[u8; 4], new: &[u8; 4]) -> Delta {
        Delta::between(old, new)
    }

    fn addresses(uplink: &mut Uplink) -> [&mut [u8; 4]; 2] {
        [&mut uplink.next_hop4, &mut uplink.icmp_source4]
    }
}

impl Records for V6 {
    fn octets(address: IpAddr) -> Result<[u8; 16]> {
        match address {
            IpAddr::V6(address) => Ok(address.octets()),
            IpAddr::V4(address) => bail!("{address} is of IPv4"),
        }
    }

    fn delta(old: &[u8; 16], new: &[u8; 16]) -> Delta {
        Delta::between(old, new)
    }

    fn addresses(uplink: &mut Uplink) -> [&mut [u8; 16]; 2] {
        [&mut uplink.next_hop6, &mut uplink.icmp_source6]
    }
}

/// The maps that the programs read.
pub struct Maps {
    kernel: Kernel,
}

impl Maps {
    /// Those of an object that was loaded.
    pub fn new(kernel: Kernel) -> Self {
        Self { kernel }
    }

    /// The product's view of them.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// From now on programs run that read them.
    pub fn go_live(&mut self) {
        self.kernel.go_live();
    }

    /// Makes one change.
    pub fn write(&mut self, write: Write) -> Result<()> {
        Ok(self.kernel.write(&[write])?)
    }

    /// Makes one change of an address family.
    pub fn write_of<F: Records>(&mut self, write: FamilyWrite<F::Address>) -> Result<()> {
        self.write(F::Address::write(write))
    }

    /// Takes an interface out of what XDP may redirect to.
    pub fn forget_device(&mut self, ifindex: u32) -> Result<()> {
        self.write(Write::Device(ifindex, false))
    }

    /// Writes every record but the targets.
    pub fn fill(&mut self, world: &table::World, indices: &Names<String, u32>) -> Result<()> {
        let macs = macs_of(world);
        for ifindex in indices.values() {
            self.write(Write::Device(*ifindex, true))?;
        }
        for vpc in &world.vpcs {
            let record = Vpc {
                tag: u64::from(vpc.index),
                reserved: 0,
                seal: 0,
            };
            self.write(Write::Vpc(vpc.index, Some(record.sealed(&vpc.index))))?;
        }
        self.fill_ports(world, indices, &macs)?;
        self.fill_host_links(world, indices, &macs)?;
        if world.family == 6 {
            self.fill_uplinks::<V6>(world, indices, &macs)?;
            self.fill_family::<V6>(world, indices)
        } else {
            self.fill_uplinks::<V4>(world, indices, &macs)?;
            self.fill_family::<V4>(world, indices)
        }
    }

    fn fill_family<F: Records>(
        &mut self,
        world: &table::World,
        indices: &Names<String, u32>,
    ) -> Result<()> {
        for vpc in &world.vpcs {
            for (cidr, place) in vpc.cidrs.iter().zip(0..MAX_CIDRS) {
                let index = Cidr::<F::Address>::index(vpc.index, place);
                let record = Cidr {
                    network: F::octets(cidr.network)?,
                    mask: F::octets(cidr.mask)?,
                    gateway: F::octets(cidr.gateway)?,
                    used: 1,
                    seal: 0,
                };
                self.write_of::<F>(FamilyWrite::Cidr(index, Some(record.sealed(&index))))?;
            }
        }
        for address in &world.addresses {
            let key = SourceKey {
                vpc: address.vpc,
                address: F::octets(address.address)?,
            };
            let record = private_entry::<F>(world, address)?;
            self.write_of::<F>(FamilyWrite::Private(key, Some(record)))?;
        }
        for eip in &world.eips {
            let key = F::octets(eip.address)?;
            self.write_of::<F>(FamilyWrite::Eip(key, Some(eip_entry::<F>(eip)?)))?;
            self.kernel.set_answers(eip.slot, u64::MAX);
        }
        let mut prefilter = Names::<u32, u64>::new();
        for prefix in &world.prefixes {
            self.insert_prefix::<F>(prefix, indices, &mut prefilter)?;
        }
        for (index, bits) in prefilter {
            self.write_of::<F>(FamilyWrite::Screen(index, bits))?;
        }
        Ok(())
    }

    fn insert_prefix<F: Records>(
        &mut self,
        prefix: &table::Prefix,
        indices: &Names<String, u32>,
        prefilter: &mut Names<u32, u64>,
    ) -> Result<()> {
        let (network, length) = prefix.parts()?;
        let network = F::octets(network)?;
        let class = match prefix.class.as_str() {
            "pool" => AddressClass::Pool,
            "host" => AddressClass::Host,
            "pool-gateway" => AddressClass::PoolGateway,
            "on-link" => AddressClass::OnLink,
            "reserved" => AddressClass::Reserved,
            other => bail!("no class {other:?}"),
        };
        let record = Prefix {
            gateway: prefix.gateway.map_or(Ok(F::UNSPECIFIED), F::octets)?,
            class: class as u32,
            ifindex: match &prefix.interface {
                Some(name) => index_of(indices, name)?,
                None => 0,
            },
            mtu: prefix.mtu,
            seal: 0,
        };
        let key = PrefixKey { length, network };
        self.write_of::<F>(FamilyWrite::Prefix(
            key,
            Some(record.sealed(&PREFIX_CHECKSUM)),
        ))?;
        // Each is in one prefix of either length.
        for bit in <F as Family>::prefilter(&network) {
            *prefilter.entry(bit / 64).or_default() |= 1 << (bit % 64);
        }
        Ok(())
    }

    fn fill_uplinks<F: Records>(
        &mut self,
        world: &table::World,
        indices: &Names<String, u32>,
        macs: &Names<String, [u8; 6]>,
    ) -> Result<()> {
        for uplink in &world.uplinks {
            let key = LinkKey::stacked(
                index_of(indices, &uplink.interface)?,
                uplink.outer,
                uplink.vlan,
            );
            let flag = |set, flag| if set { flag } else { 0 };
            let mut record = Uplink {
                mac: macs[&uplink.interface],
                flags: flag(uplink.answer_arp, UplinkFlags::ANSWER_ARP)
                    | flag(
                        uplink.drop_private_sources,
                        UplinkFlags::DROP_PRIVATE_SOURCES,
                    ),
                ..Uplink::zeroed()
            };
            let values = [uplink.next_hop, uplink.icmp_source];
            for (place, value) in F::addresses(&mut record).into_iter().zip(values) {
                *place = value.map_or(Ok(F::UNSPECIFIED), F::octets)?;
            }
            self.write(Write::Uplink(key, Some(record.sealed(&key))))?;
        }
        Ok(())
    }

    fn fill_ports(
        &mut self,
        world: &table::World,
        indices: &Names<String, u32>,
        macs: &Names<String, [u8; 6]>,
    ) -> Result<()> {
        for port in &world.ports {
            let ifindex = index_of(indices, &port.interface)?;
            let key = LinkKey::stacked(ifindex, port.outer, port.vlan);
            let enis: Vec<_> = world
                .enis
                .iter()
                .filter(|eni| eni.port == port.name)
                .collect();
            let only = if let [eni] = enis[..] {
                Some(eni)
            } else {
                None
            };
            let record = Port {
                role: PortRole::Enis as u32,
                vpc: port.vpc,
                target: only.map_or(NONE, |eni| eni.target),
                mac: macs[&port.interface],
                eni_mac: only.map_or([0; 6], |eni| eni.mac.0),
                seal: 0,
            };
            self.write(Write::Port(key, Some(record.sealed(&key))))?;
            for eni in enis {
                let key = MacKey::on(key, eni.mac.0);
                let record = PortMac {
                    target: eni.target,
                    seal: 0,
                };
                self.write(Write::Mac(key, Some(record.sealed(&key))))?;
            }
        }
        Ok(())
    }

    fn fill_host_links(
        &mut self,
        world: &table::World,
        indices: &Names<String, u32>,
        macs: &Names<String, [u8; 6]>,
    ) -> Result<()> {
        for link in &world.host_links {
            let ifindex = index_of(indices, &link.interface)?;
            let key = if link.any_vlan {
                LinkKey::any_vlan(ifindex)
            } else {
                LinkKey::stacked(ifindex, link.outer, link.vlan)
            };
            let record = Port {
                role: PortRole::Host as u32,
                vpc: NONE,
                target: NONE,
                mac: macs[&link.interface],
                eni_mac: [0; 6],
                seal: 0,
            };
            self.write(Write::Port(key, Some(record.sealed(&key))))?;
        }
        Ok(())
    }

    /// Writes the targets: those that are there hang on `delivery`.
    pub fn fill_targets(
        &mut self,
        world: &table::World,
        indices: &Names<String, u32>,
        delivery: Delivery,
    ) -> Result<()> {
        let macs = macs_of(world);
        let xdp = if delivery == Delivery::Tc {
            0
        } else {
            TargetFlags::XDP
        };
        let resolved = if delivery == Delivery::Unresolved {
            0
        } else {
            TargetFlags::RESOLVED
        };
        let way_out = &world.way_out;
        let (outer, vlan) = delivery.uplink_vlans();
        let up = delivery != Delivery::NoUplink;
        let record = Target {
            tag: 0,
            instance: 0,
            ifindex: if up {
                index_of(indices, &way_out.interface)?
            } else {
                0
            },
            mtu: u16::try_from(way_out.mtu)?,
            vpc: NONE,
            dst_mac: if resolved == 0 { [0; 6] } else { way_out.mac.0 },
            src_mac: macs[&way_out.interface],
            vlan,
            outer,
            flags: xdp | resolved,
            seal: 0,
        };
        let index = if world.family == 6 {
            V6::UPLINK_TARGET
        } else {
            V4::UPLINK_TARGET
        };
        self.write(Write::Target(index, Some(record.sealed(&index))))?;
        for eni in &world.enis {
            let port = world
                .ports
                .iter()
                .find(|port| port.name == eni.port)
                .with_context(|| format!("no port {}", eni.port))?;
            let narrow = if eni.antispoof_eni {
                TargetFlags::ANTISPOOF_ENI
            } else {
                0
            };
            let record = Target {
                tag: u64::from(eni.target),
                instance: tag(&eni.instance),
                ifindex: index_of(indices, &port.interface)?,
                mtu: u16::try_from(eni.mtu)?,
                vpc: port.vpc,
                dst_mac: eni.mac.0,
                src_mac: macs[&port.interface],
                vlan: port.vlan,
                outer: port.outer,
                flags: xdp | TargetFlags::RESOLVED | narrow,
                seal: 0,
            };
            self.write(Write::Target(eni.target, Some(record.sealed(&eni.target))))?;
        }
        Ok(())
    }
}

/// The record of an EIP.
fn eip_entry<F: Records>(eip: &table::Eip) -> Result<EipRoute<F::Address>> {
    let mode = match eip.mode.as_str() {
        "unassociated" => EipMode::Unassociated,
        "nat" => EipMode::Nat,
        "cut-through" => EipMode::CutThrough,
        "detached" => EipMode::Detached,
        "stranded" => EipMode::Stranded,
        other => bail!("no mode {other:?}"),
    };
    let (public, private) = (F::octets(eip.address)?, F::octets(eip.private)?);
    let delta = if mode == EipMode::Nat {
        F::delta(&public, &private)
    } else {
        Delta::NONE
    };
    Ok(EipRoute {
        private,
        slot: eip.slot,
        target: eip.target.unwrap_or(NONE),
        vpc: eip.vpc.unwrap_or(NONE),
        delta: delta.to_record(),
        mode: mode as u8,
        reserved: 0,
        seal: 0,
    })
}

/// The record of an ENI's address.
fn private_entry<F: Records>(
    world: &table::World,
    address: &table::Address,
) -> Result<SourceBinding<F::Address>> {
    let state = match address.state.as_str() {
        "no-eip" => SourceState::NoEip,
        "nat" => SourceState::Nat,
        "cut-through" => SourceState::CutThrough,
        "off" => SourceState::Off,
        "stranded" => SourceState::Stranded,
        "detached" => SourceState::Detached,
        other => bail!("no state {other:?}"),
    };
    let public = address.public.map_or(Ok(F::UNSPECIFIED), F::octets)?;
    let slot = world
        .eips
        .iter()
        .find(|eip| Some(eip.address) == address.public);
    let delta = match state {
        SourceState::Nat => F::delta(&F::octets(address.address)?, &public),
        _ => Delta::NONE,
    };
    Ok(SourceBinding {
        public,
        slot: slot.map_or(NONE, |eip| eip.slot),
        target: address.target.unwrap_or(NONE),
        delta: delta.to_record(),
        state: state as u8,
        reserved: 0,
        seal: 0,
    })
}

fn macs_of(world: &table::World) -> Names<String, [u8; 6]> {
    world
        .interfaces
        .iter()
        .map(|one| (one.name.clone(), one.mac.0))
        .collect()
}

fn index_of(indices: &Names<String, u32>, name: &str) -> Result<u32> {
    indices
        .get(name)
        .copied()
        .with_context(|| format!("no interface {name}"))
}

/// Any number that differs between the names of instances.
fn tag(name: &str) -> u64 {
    name.bytes().fold(1, |tag, byte| tag << 8 | u64::from(byte))
}
