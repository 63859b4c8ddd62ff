//! The maps that each address family has of its own.

use aya::{
    Pod,
    maps::{Array, HashMap, LpmTrie, MapData, MapError, lpm_trie},
};
use eip_dp_common::abi::{Cidr, PrefixKey, Sealed};

use super::{
    Pins, PlaneError,
    kernel::{absent_is_fine, broken, collect, put, typed, used},
};
use crate::image::{Address, Eip, FamilyContent, FamilyWrite, InVpc, PrefixRecord, Private};

/// The maps of one family.
pub(super) struct FamilyMaps<A: Address>
where
    Cidr<A>: Pod,
{
    eips: HashMap<MapData, A, Eip<A>>,
    private: HashMap<MapData, InVpc<A>, Private<A>>,
    prefixes: LpmTrie<MapData, A, PrefixRecord<A>>,
    cidrs: Array<MapData, Cidr<A>>,
    screen: Array<MapData, u64>,
}

impl<A: Address> FamilyMaps<A>
where
    Eip<A>: Pod,
    InVpc<A>: Pod,
    Private<A>: Pod,
    PrefixRecord<A>: Pod,
    Cidr<A>: Pod,
{
    pub(super) fn open(pins: &Pins) -> Result<Self, PlaneError> {
        Ok(Self {
            eips: typed(pins, A::MAPS.eips)?,
            private: typed(pins, A::MAPS.private)?,
            prefixes: typed(pins, A::MAPS.prefixes)?,
            cidrs: typed(pins, A::MAPS.cidrs)?,
            screen: typed(pins, A::MAPS.screen)?,
        })
    }

    pub(super) fn slot(&self, address: &A) -> Result<Option<u32>, PlaneError> {
        match self.eips.get(address, 0) {
            Ok(entry) => Ok(Some(entry.slot)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(broken(A::MAPS.eips, &error)),
        }
    }

    pub(super) fn read(&self) -> Result<FamilyContent<A>, PlaneError> {
        let read = |name: &'static str| move |error: MapError| broken(name, &error);
        let prefixes = self.prefixes.iter().map(|element| {
            element.map(|(key, value)| {
                let key = PrefixKey {
                    length: key.prefix_len(),
                    network: key.data(),
                };
                (key, value)
            })
        });
        Ok(FamilyContent {
            eips: collect(self.eips.iter()).map_err(read(A::MAPS.eips))?,
            private: collect(self.private.iter()).map_err(read(A::MAPS.private))?,
            prefixes: collect(prefixes).map_err(read(A::MAPS.prefixes))?,
            cidrs: used(self.cidrs.iter(), &Sealed::zeroed()).map_err(read(A::MAPS.cidrs))?,
            screen: used(self.screen.iter(), &0).map_err(read(A::MAPS.screen))?,
        })
    }

    pub(super) fn apply(&mut self, write: &FamilyWrite<A>) -> Result<(), MapError> {
        match write {
            FamilyWrite::Eip(key, value) => put(&mut self.eips, key, value.as_ref()),
            FamilyWrite::Private(key, value) => put(&mut self.private, key, value.as_ref()),
            FamilyWrite::Prefix(key, value) => {
                let key = lpm_trie::Key::new(key.length, key.network);
                match value {
                    Some(value) => self.prefixes.insert(&key, value, 0),
                    None => absent_is_fine(self.prefixes.remove(&key)),
                }
            }
            FamilyWrite::Cidr(index, value) => {
                let value = value.unwrap_or_else(Sealed::zeroed);
                self.cidrs.set(*index, value, 0)
            }
            FamilyWrite::Screen(index, bits) => self.screen.set(*index, bits, 0),
        }
    }
}
