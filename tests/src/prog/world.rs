//! Fills the maps with the world of the table.

use std::{collections::HashMap as Names, net::Ipv4Addr};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, Map, MapData, lpm_trie::Key, xdp::DevMapHash},
};
use eip_dp_common::{
    abi::{
        AddressClass, Cidr, EipEntry, EipMode, LinkKey, MAX_CIDRS, MacKey, NONE, PREFIX_SEAL, Port,
        PortMac, Prefix, PrivateEntry, PrivateKey, PrivateState, Sealed, Target, TargetFlags,
        UPLINK_TARGET4, Uplink, UplinkFlags, Vpc, maps,
    },
    checksum::Delta,
    family::{Family as _, V4},
};

use super::{bench::Delivery, table};

/// Takes a map out of the object.
pub fn take<T>(ebpf: &mut Ebpf, name: &str) -> Result<T>
where
    T: TryFrom<Map>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let map = ebpf
        .take_map(name)
        .with_context(|| format!("the object has no map {name}"))?;
    map.try_into()
        .with_context(|| format!("map {name} is of another type"))
}

/// The maps that the programs read.
pub struct Maps {
    /// EIPs.
    pub eip: HashMap<MapData, [u8; 4], EipEntry<[u8; 4]>>,
    /// Addresses of ENIs.
    pub private: HashMap<MapData, PrivateKey<[u8; 4]>, PrivateEntry<[u8; 4]>>,
    /// Where packets are delivered.
    pub targets: Array<MapData, Target>,
    prefixes: LpmTrie<MapData, [u8; 4], Prefix<[u8; 4]>>,
    vpcs: Array<MapData, Vpc>,
    cidrs: Array<MapData, Cidr<[u8; 4]>>,
    ports: HashMap<MapData, LinkKey, Port>,
    macs: HashMap<MapData, MacKey, PortMac>,
    uplinks: HashMap<MapData, LinkKey, Uplink>,
    screen: Array<MapData, u64>,
    devices: DevMapHash<MapData>,
}

impl Maps {
    /// Takes them out of the object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            eip: take(ebpf, maps::EIP4)?,
            private: take(ebpf, maps::PRIVATE4)?,
            targets: take(ebpf, maps::TARGETS)?,
            prefixes: take(ebpf, maps::PREFIX4)?,
            vpcs: take(ebpf, maps::VPCS)?,
            cidrs: take(ebpf, maps::CIDR4)?,
            ports: take(ebpf, maps::PORTS)?,
            macs: take(ebpf, maps::MACS)?,
            uplinks: take(ebpf, maps::UPLINKS)?,
            screen: take(ebpf, maps::SCREEN4)?,
            devices: take(ebpf, maps::DEVICES)?,
        })
    }

    /// Takes an interface out of what XDP may redirect to.
    pub fn forget_device(&mut self, ifindex: u32) -> Result<()> {
        Ok(self.devices.remove(ifindex)?)
    }

    /// Writes every record but the targets.
    pub fn fill(&mut self, world: &table::World, indices: &Names<String, u32>) -> Result<()> {
        let macs = macs_of(world);
        for ifindex in indices.values() {
            self.devices.insert(*ifindex, *ifindex, None, 0)?;
        }
        for uplink in &world.uplinks {
            let key = LinkKey::untagged(index_of(indices, &uplink.interface)?);
            let record = Uplink {
                next_hop4: uplink.next_hop.octets(),
                next_hop6: [0; 16],
                icmp_source4: [0; 4],
                icmp_source6: [0; 16],
                mac: macs[&uplink.interface],
                flags: if uplink.answer_arp {
                    UplinkFlags::ANSWER_ARP
                } else {
                    0
                },
                seal: 0,
            };
            self.uplinks.insert(key, record.sealed(&key), 0)?;
        }
        for vpc in &world.vpcs {
            let record = Vpc {
                tag: u64::from(vpc.index),
                reserved: 0,
                seal: 0,
            };
            self.vpcs.set(vpc.index, record.sealed(&vpc.index), 0)?;
            for (cidr, place) in vpc.cidrs.iter().zip(0..MAX_CIDRS) {
                let index = Cidr::<[u8; 4]>::index(vpc.index, place);
                let record = Cidr {
                    network: cidr.network.octets(),
                    mask: cidr.mask.octets(),
                    gateway: cidr.gateway.octets(),
                    used: 1,
                    seal: 0,
                };
                self.cidrs.set(index, record.sealed(&index), 0)?;
            }
        }
        self.fill_ports(world, indices, &macs)?;
        for address in &world.addresses {
            let key = PrivateKey {
                vpc: address.vpc,
                address: address.address.octets(),
            };
            self.private
                .insert(key, private_entry(world, address)?.sealed(&key), 0)?;
        }
        for eip in &world.eips {
            let key = eip.address.octets();
            self.eip.insert(key, eip_entry(eip)?.sealed(&key), 0)?;
        }
        for prefix in &world.prefixes {
            let (network, length) = prefix.parts()?;
            let class = match prefix.class.as_str() {
                "pool" => AddressClass::Pool,
                "host" => AddressClass::Host,
                "pool-gateway" => AddressClass::PoolGateway,
                other => bail!("no class {other:?}"),
            };
            let record = Prefix {
                gateway: [0; 4],
                class: class as u32,
                seal: 0,
            };
            let key = Key::new(length, network.octets());
            self.prefixes.insert(&key, record.sealed(&PREFIX_SEAL), 0)?;
            if class == AddressClass::Pool {
                let bit = u32::from(V4::screen(&network.octets()));
                let bits = self.screen.get(&(bit / 64), 0)?;
                self.screen.set(bit / 64, bits | 1 << (bit % 64), 0)?;
            }
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
            let key = LinkKey::untagged(ifindex);
            let enis: Vec<_> = world
                .enis
                .iter()
                .filter(|eni| eni.port == port.interface)
                .collect();
            let only = if let [eni] = enis[..] {
                Some(eni)
            } else {
                None
            };
            let record = Port {
                vpc: port.vpc,
                target: only.map_or(NONE, |eni| eni.target),
                mac: macs[&port.interface],
                eni_mac: only.map_or([0; 6], |eni| eni.mac.0),
                seal: 0,
            };
            self.ports.insert(key, record.sealed(&key), 0)?;
            for eni in enis {
                let key = MacKey {
                    ifindex,
                    vlan: 0,
                    mac: eni.mac.0,
                };
                let record = PortMac {
                    target: eni.target,
                    seal: 0,
                };
                self.macs.insert(key, record.sealed(&key), 0)?;
            }
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
        let up = delivery != Delivery::NoUplink;
        let record = Target {
            tag: 0,
            instance: 0,
            ifindex: if up {
                index_of(indices, &way_out.interface)?
            } else {
                0
            },
            mtu: way_out.mtu,
            vpc: NONE,
            dst_mac: if resolved == 0 { [0; 6] } else { way_out.mac.0 },
            src_mac: macs[&way_out.interface],
            vlan: 0,
            flags: xdp | resolved,
            seal: 0,
        };
        self.targets
            .set(UPLINK_TARGET4, record.sealed(&UPLINK_TARGET4), 0)?;
        for eni in &world.enis {
            let port = world
                .ports
                .iter()
                .find(|port| port.interface == eni.port)
                .with_context(|| format!("no port {}", eni.port))?;
            let narrow = if eni.antispoof_eni {
                TargetFlags::ANTISPOOF_ENI
            } else {
                0
            };
            let record = Target {
                tag: u64::from(eni.target),
                instance: tag(&eni.instance),
                ifindex: index_of(indices, &eni.port)?,
                mtu: eni.mtu,
                vpc: port.vpc,
                dst_mac: eni.mac.0,
                src_mac: macs[&eni.port],
                vlan: 0,
                flags: xdp | TargetFlags::RESOLVED | narrow,
                seal: 0,
            };
            self.targets
                .set(eni.target, record.sealed(&eni.target), 0)?;
        }
        Ok(())
    }
}

/// The record of an EIP, not yet sealed.
pub fn eip_entry(eip: &table::Eip) -> Result<EipEntry<[u8; 4]>> {
    let mode = match eip.mode.as_str() {
        "unassociated" => EipMode::Unassociated,
        "nat" => EipMode::Nat,
        "cut-through" => EipMode::CutThrough,
        "detached" => EipMode::Detached,
        "stranded" => EipMode::Stranded,
        other => bail!("no mode {other:?}"),
    };
    let (public, private) = (eip.address.octets(), eip.private.octets());
    let delta = if mode == EipMode::Nat {
        Delta::between(&public, &private)
    } else {
        Delta::NONE
    };
    Ok(EipEntry {
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

/// The record of an ENI's address, not yet sealed.
pub fn private_entry(
    world: &table::World,
    address: &table::Address,
) -> Result<PrivateEntry<[u8; 4]>> {
    let state = match address.state.as_str() {
        "no-eip" => PrivateState::NoEip,
        "nat" => PrivateState::Nat,
        "cut-through" => PrivateState::CutThrough,
        "off" => PrivateState::Off,
        "stranded" => PrivateState::Stranded,
        "detached" => PrivateState::Detached,
        other => bail!("no state {other:?}"),
    };
    let public = address.public.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let slot = world
        .eips
        .iter()
        .find(|eip| Some(eip.address) == address.public);
    let delta = match state {
        PrivateState::Nat => Delta::between(&address.address.octets(), &public.octets()),
        _ => Delta::NONE,
    };
    Ok(PrivateEntry {
        public: public.octets(),
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
