//! A packet in a buffer and tables in collections: the packet path on the host.

use std::collections::HashMap;

use crate::{
    abi::{
        Cidr, EipEntry, EipMode, LinkKey, MacKey, NONE, Port, PortMac, Prefix, PrivateEntry,
        PrivateKey, PrivateState, Reason, Sealed, Target, TargetFlags, UPLINK_TARGET4, Uplink,
    },
    checksum::Delta,
    family::{V4, V6, v4},
    packet::{Change, Mac, NETWORK, Packet},
    tables::{Links, Scratch, Tables},
};

type Address = [u8; 4];

/// A frame in memory, as XDP sees one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer(pub Vec<u8>);

impl Packet for Buffer {
    fn holds(&self, end: usize) -> bool {
        end <= self.0.len()
    }

    fn is_longer_than(&self, len: usize) -> bool {
        self.0.len() > len
    }

    fn trim(&mut self, len: usize) -> Result<(), Reason> {
        self.0.truncate(len);
        Ok(())
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.get(offset..offset + N)?.try_into().ok()
    }

    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Result<(), Reason> {
        let place = self
            .0
            .get_mut(offset..offset + N)
            .ok_or(Reason::KernelRefused)?;
        place.copy_from_slice(&bytes);
        Ok(())
    }

    fn adjust_checksum(&mut self, offset: usize, change: Change) -> Result<(), Reason> {
        let field = self.read(offset).ok_or(Reason::KernelRefused)?;
        self.write(offset, change.apply(field))
    }

    fn segment_payload(&self) -> Option<u32> {
        Some(0)
    }

    fn can_send(&self, _target: &Target) -> bool {
        true
    }

    fn can_reply(&self) -> bool {
        true
    }

    fn is_partial(&mut self, _offset: usize) -> bool {
        false
    }

    fn reshape(&mut self, keep: usize, headers: usize) -> Result<(), Reason> {
        if NETWORK + keep > self.0.len() {
            return Err(Reason::KernelRefused);
        }
        self.0.truncate(NETWORK + keep);
        self.0
            .splice(NETWORK..NETWORK, std::iter::repeat_n(0, headers));
        Ok(())
    }

    fn sum(&self, offset: usize, len: usize) -> Result<u16, Reason> {
        let bytes = self.0.get(offset..offset + len);
        bytes
            .map(|bytes| sum(bytes).to_be())
            .ok_or(Reason::KernelRefused)
    }
}

/// Copies a record that was found.
fn copy<T: Copy>(record: Option<&T>, into: &mut T) -> bool {
    record.is_some_and(|record| {
        *into = *record;
        true
    })
}

/// Tables in memory.
#[derive(Default)]
pub struct World {
    pub eips: HashMap<Address, EipEntry<Address>>,
    pub privates: HashMap<PrivateKey<Address>, PrivateEntry<Address>>,
    pub cidrs: HashMap<u32, Cidr<Address>>,
    pub prefixes: HashMap<Address, Prefix<Address>>,
    pub ports: HashMap<LinkKey, Port>,
    pub macs: HashMap<MacKey, PortMac>,
    pub targets: HashMap<u32, Target>,
    pub uplinks: HashMap<LinkKey, Uplink>,
}

impl Links for World {
    fn port(&self, key: &LinkKey, into: &mut Port) -> bool {
        copy(self.ports.get(key), into)
    }

    fn mac(&self, key: &MacKey, into: &mut PortMac) -> bool {
        copy(self.macs.get(key), into)
    }

    fn target(&self, index: &u32, into: &mut Target) -> bool {
        copy(self.targets.get(index), into)
    }

    fn uplink(&self, key: &LinkKey, into: &mut Uplink) -> bool {
        copy(self.uplinks.get(key), into)
    }

    fn check_options<P: Packet>(&self, packet: &P, len: usize, sum: u32) -> Result<(), Reason> {
        v4::check_options(packet, len, sum, &mut [0; 64])
    }

    fn may_tell(&self, _receiver: u64, _sends: bool) -> bool {
        true
    }
}

/// No IPv6 yet.
impl Tables<V6> for World {
    fn eip(&self, _address: &[u8; 16], _into: &mut EipEntry<[u8; 16]>) -> bool {
        false
    }

    fn private(&self, _key: &PrivateKey<[u8; 16]>, _into: &mut PrivateEntry<[u8; 16]>) -> bool {
        false
    }

    fn cidr(&self, _index: &u32, _into: &mut Cidr<[u8; 16]>) -> bool {
        false
    }

    fn prefix(&self, _address: &[u8; 16], _into: &mut Prefix<[u8; 16]>) -> bool {
        false
    }

    fn is_screened(&self, _address: &[u8; 16]) -> bool {
        false
    }

    fn with_scratch<R>(&self, path: impl FnOnce(&mut Scratch<[u8; 16]>) -> R) -> Option<R> {
        Some(path(&mut Scratch::new()))
    }
}

impl Tables<V4> for World {
    fn eip(&self, address: &Address, into: &mut EipEntry<Address>) -> bool {
        copy(self.eips.get(address), into)
    }

    fn private(&self, key: &PrivateKey<Address>, into: &mut PrivateEntry<Address>) -> bool {
        copy(self.privates.get(key), into)
    }

    fn cidr(&self, index: &u32, into: &mut Cidr<Address>) -> bool {
        copy(self.cidrs.get(index), into)
    }

    fn prefix(&self, address: &Address, into: &mut Prefix<Address>) -> bool {
        copy(self.prefixes.get(address), into)
    }

    fn is_screened(&self, address: &Address) -> bool {
        address[..2] == [203, 0]
    }

    fn with_scratch<R>(&self, path: impl FnOnce(&mut Scratch<Address>) -> R) -> Option<R> {
        Some(path(&mut Scratch::new()))
    }
}

pub const UPLINK: u32 = 2;
pub const PORT: u32 = 3;
pub const UPLINK_MAC: Mac = [2, 0, 0, 0, 0xff, 1];
pub const ROUTER_MAC: Mac = [2, 0, 0, 0, 0xff, 0xfe];
pub const PORT_MAC: Mac = [2, 0, 0, 0, 0xee, 1];
pub const ENI_MAC: Mac = [2, 0, 0, 0, 0, 1];
pub const NAT_EIP: Address = [203, 0, 113, 10];
pub const NAT_PRIVATE: Address = [10, 0, 0, 5];
pub const CUT_THROUGH_EIP: Address = [203, 0, 113, 20];
pub const FAR: Address = [198, 51, 100, 1];
pub const NAT_SLOT: u32 = 7;
pub const CUT_THROUGH_SLOT: u32 = 8;

/// One uplink, and one port with one ENI that has an EIP in NAT mode and, as if it were another, one in cut-through.
pub fn world() -> World {
    let mut world = World::default();
    let eni = 1;
    let target = |index: u32, ifindex: u32, dst_mac: Mac, src_mac: Mac| {
        Target {
            instance: u64::from(index),
            ifindex,
            mtu: 1500,
            dst_mac,
            src_mac,
            flags: TargetFlags::RESOLVED | TargetFlags::XDP,
            ..Target::zeroed()
        }
        .sealed(&index)
    };
    world.targets.insert(
        UPLINK_TARGET4,
        target(UPLINK_TARGET4, UPLINK, ROUTER_MAC, UPLINK_MAC),
    );
    world
        .targets
        .insert(eni, target(eni, PORT, ENI_MAC, PORT_MAC));
    let key = LinkKey::untagged(UPLINK);
    world.uplinks.insert(
        key,
        Uplink {
            mac: UPLINK_MAC,
            ..Uplink::zeroed()
        }
        .sealed(&key),
    );
    let key = LinkKey::untagged(PORT);
    let port = Port {
        vpc: 0,
        target: eni,
        mac: PORT_MAC,
        eni_mac: ENI_MAC,
        seal: 0,
    };
    world.ports.insert(key, port.sealed(&key));
    let cidr = Cidr {
        network: [10, 0, 0, 0],
        mask: [255, 255, 0, 0],
        gateway: [10, 0, 0, 1],
        used: 1,
        seal: 0,
    };
    world.cidrs.insert(0, cidr.sealed(&0));
    for (public, private, slot, cut_through) in [
        (NAT_EIP, NAT_PRIVATE, NAT_SLOT, false),
        (CUT_THROUGH_EIP, CUT_THROUGH_EIP, CUT_THROUGH_SLOT, true),
    ] {
        let delta = |old, new| {
            if cut_through {
                0
            } else {
                Delta::between(old, new).to_record()
            }
        };
        let (mode, state) = if cut_through {
            (EipMode::CutThrough, PrivateState::CutThrough)
        } else {
            (EipMode::Nat, PrivateState::Nat)
        };
        let entry = EipEntry {
            private,
            slot,
            target: eni,
            delta: delta(&public, &private),
            mode: mode as u8,
            ..EipEntry::zeroed()
        };
        world.eips.insert(public, entry.sealed(&public));
        let key = PrivateKey {
            vpc: 0,
            address: private,
        };
        let entry = PrivateEntry {
            public,
            slot,
            target: eni,
            delta: delta(&private, &public),
            state: state as u8,
            ..PrivateEntry::zeroed()
        };
        world.privates.insert(key, entry.sealed(&key));
    }
    assert_ne!(NAT_SLOT, NONE);
    world
}

/// The ones' complement sum of `bytes`, from scratch; an odd last byte counts as the upper half of a word.
pub fn sum(bytes: &[u8]) -> u16 {
    let total = bytes.chunks(2).fold(0u32, |total, chunk| {
        total
            + u32::from(u16::from_be_bytes([
                chunk[0],
                chunk.get(1).copied().unwrap_or(0),
            ]))
    });
    let once = (total & 0xffff) + (total >> 16);
    u16::try_from((once & 0xffff) + (once >> 16)).expect("two folds fit")
}

/// An Ethernet frame with an IPv4 packet, its header checksum right.
pub fn ipv4(
    macs: (Mac, Mac),
    addresses: (Address, Address),
    protocol: u8,
    payload: &[u8],
) -> Buffer {
    let total = u16::try_from(20 + payload.len()).expect("a short payload");
    let mut header = vec![0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, protocol, 0, 0];
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header.extend(addresses.0);
    header.extend(addresses.1);
    let check = !sum(&header);
    header[10..12].copy_from_slice(&check.to_be_bytes());
    let mut frame = [macs.1.as_slice(), &macs.0, &[8, 0], &header].concat();
    frame.extend(payload);
    Buffer(frame)
}

/// A UDP or TCP segment with the right checksum for these addresses.
pub fn transport(protocol: u8, addresses: (Address, Address), data: &[u8]) -> Vec<u8> {
    let (mut segment, field) = match protocol {
        17 => {
            let len = u16::try_from(8 + data.len())
                .expect("short data")
                .to_be_bytes();
            (vec![0x30, 0x39, 0, 53, len[0], len[1], 0, 0], 6)
        }
        _ => (
            vec![
                0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
            ],
            16,
        ),
    };
    segment.extend(data);
    let check = !transport_sum(protocol, addresses, &segment);
    segment[field..field + 2].copy_from_slice(&check.to_be_bytes());
    segment
}

/// The sum that a transport checksum covers: pseudo-header and segment.
pub fn transport_sum(protocol: u8, addresses: (Address, Address), segment: &[u8]) -> u16 {
    let len = u16::try_from(segment.len())
        .expect("a short segment")
        .to_be_bytes();
    let pseudo = [&addresses.0[..], &addresses.1, &[0, protocol], &len].concat();
    sum(&[&pseudo, segment].concat())
}

/// A delta, for tests that compare.
pub fn delta(old: Address, new: Address) -> Delta {
    Delta::between(&old, &new)
}
