//! Single records of the maps, looked up where they stand: whether one thing is forwarded costs as
//! much on a large table as on a small one. [`super::Kernel`] looks through all of them when it
//! opens them.

use std::net::IpAddr;

use aya::maps::{Array, HashMap, MapData, MapError};
use eip_dp_common::{
    abi::{
        EipMode, FIRST_ENI_TARGET, Link, LinkKey, MacKey, NextHop, PortMac, SourceState,
        StatusWord, UPLINK_TARGET4, UPLINK_TARGET6, maps,
    },
    cuckoo::{Bucket, EipEntry, Keyed, SourceEntry},
};

use super::{
    Pins, PlaneError, cuckoo::CuckooTable, kernel_maps::broken, mapped::Mapped,
    resize::open_at_one_moment, source::Source,
};
use crate::{
    attach::Program,
    compile::{Address, Egress},
    host::Family,
    kernel::{Pinned, ProgramLinks},
};

/// The maps of one gateway, to look single records up.
pub struct Look {
    v4: Addresses<[u8; 4]>,
    v6: Addresses<[u8; 16]>,
    words: Mapped<u64>,
    links: Mapped<Link>,
    macs: HashMap<MapData, MacKey, PortMac>,
    pins: ProgramLinks,
}

/// The indexes of one family.
struct Addresses<A: Keyed> {
    eips: CuckooTable<A::Shape, Mapped<Bucket>>,
    private: CuckooTable<A::Shape, Mapped<Bucket>>,
}

impl Look {
    /// Opens the gateway's maps; `None` if the data plane is not loaded.
    pub fn open(pins: &Pins) -> Result<Option<Self>, PlaneError> {
        open_at_one_moment(pins, |source, _| Self::from_source(source, pins))
    }

    fn from_source(source: &Source<'_>, pins: &Pins) -> Result<Self, PlaneError> {
        let status: Array<MapData, u64> = source.typed(maps::STATUS)?;
        let seed = status
            .get(&(StatusWord::Seed as u32), 0)
            .map_err(|error| broken(maps::STATUS, &error))?;
        Ok(Self {
            v4: Addresses::open(source, seed)?,
            v6: Addresses::open(source, seed)?,
            words: source.mapped(maps::NEXT_HOPS)?,
            links: source.mapped(maps::LINKS)?,
            macs: source.typed(maps::MACS)?,
            pins: ProgramLinks::new(pins),
        })
    }

    /// Whether packets to the EIP are delivered to an ENI.
    pub fn delivers(&self, eip: IpAddr) -> bool {
        match eip {
            IpAddr::V4(address) => self.v4.delivers(address.octets()),
            IpAddr::V6(address) => self.v6.delivers(address.octets()),
        }
    }

    /// The VPC's index of the ENI that stands on the port with this Ethernet address; `None` if
    /// none does.
    pub fn stands(&self, port: LinkKey, mac: [u8; 6]) -> Result<Option<u32>, PlaneError> {
        let record = match self.macs.get(&MacKey::on(port, mac), 0) {
            Ok(record) => record,
            Err(MapError::KeyNotFound) => return Ok(None),
            Err(error) => return Err(broken(maps::MACS, &error)),
        };
        if record.target < FIRST_ENI_TARGET || record.target >= self.words.elements() {
            return Ok(None);
        }
        let hop = NextHop::from_word(self.words.get(record.target));
        let is_there = hop.link() != 0 && hop.mac() == mac;
        Ok(is_there.then(|| self.links.get(hop.link()).vpc))
    }

    /// Whether the ENI's address is one that packets come from and go to.
    pub fn knows(&self, vpc: u32, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.knows(vpc, address.octets()),
            IpAddr::V6(address) => self.v6.knows(vpc, address.octets()),
        }
    }

    /// The way to the Internet.
    pub fn egress(&self, family: Family) -> Egress {
        let hop = NextHop::from_word(self.words.get(match family {
            Family::V4 => UPLINK_TARGET4,
            Family::V6 => UPLINK_TARGET6,
        }));
        Egress::of(hop.link() != 0, hop.is_resolved())
    }

    /// The programs that are attached.
    pub fn has_program(&self, program: Program, ifindex: u32) -> bool {
        self.pins.is_pinned(Pinned { program, ifindex })
    }
}

impl<A: Address + Keyed> Addresses<A> {
    fn open(source: &Source<'_>, seed: u64) -> Result<Self, PlaneError> {
        Ok(Self {
            eips: CuckooTable::new(source.mapped(A::MAPS.eips)?, seed, EipEntry::MASK),
            private: CuckooTable::new(source.mapped(A::MAPS.private)?, seed, SourceEntry::MASK),
        })
    }

    fn delivers(&self, eip: A) -> bool {
        let found = self.eips.get(&EipEntry::key(eip));
        let mode = EipEntry::unpack(found.key_word, found.value_word).mode;
        !found.is_nothing() && (mode == EipMode::Nat as u8 || mode == EipMode::CutThrough as u8)
    }

    fn knows(&self, vpc: u32, address: A) -> bool {
        let found = self.private.get(&SourceEntry::key(vpc, address));
        let state = SourceEntry::unpack(found.key_word, found.value_word).state;
        let is_silent = [SourceState::Detached, SourceState::Stranded]
            .map(|state| state as u8)
            .contains(&state);
        !found.is_nothing() && !is_silent
    }
}
