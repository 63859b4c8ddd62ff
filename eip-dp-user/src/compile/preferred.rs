//! Where programs look for counters and next hops before they know where these are.

use std::{net::IpAddr, ops::Range};

use eip_dp_common::{
    abi::{NextHop, PackedCounter},
    cuckoo::{self, EipEntry},
};

use super::Limits;

/// What homes hang on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreferredBuckets {
    /// What spreads the keys of the indexes.
    seed: u64,
    /// How many slots there are.
    slots: u32,
    /// How many targets there are.
    targets: u32,
}

impl PreferredBuckets {
    /// In maps of these sizes.
    pub fn new(seed: u64, limits: &Limits) -> Self {
        Self {
            seed,
            slots: PackedCounter::row(limits.eips),
            targets: limits.targets,
        }
    }

    /// Of an EIP's slot.
    pub fn eip(&self, eip: IpAddr) -> Range<u32> {
        let key = match eip {
            IpAddr::V4(address) => EipEntry::key(address.octets()),
            IpAddr::V6(address) => EipEntry::key(address.octets()),
        };
        cuckoo::home(&key, self.seed, self.slots, PackedCounter::PER_CACHE_LINE)
    }

    /// Of the target of an ENI with that MAC.
    pub fn eni(&self, mac: [u8; 6]) -> Range<u32> {
        NextHop::home(mac, self.seed, self.targets)
    }
}
