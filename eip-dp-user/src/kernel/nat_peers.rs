//! The addresses on the other side of NAT, which entries name.

use eip_dp_common::{
    abi::{NAT_PEERS_PER_CACHE_LINE, maps},
    cuckoo::{self, Key},
};

use super::{PlaneError, mapped::Mapped, source::Source};
use crate::places::Places;

/// Where a family's are.
pub(super) trait Others<A>: Sized {
    fn open(source: &Source<'_>, seed: u64) -> Result<Self, PlaneError>;
    /// Takes over those that entries name.
    fn recover(&mut self, named: impl Iterator<Item = u32>);
    /// What an entry has to name for an address; `None` if no more fit.
    fn put(&mut self, owner: Owner<'_>, address: &A) -> Option<u32>;
    fn get(&self, named: u32) -> A;
    /// An entry names it no more.
    fn give_back(&mut self, named: u32);
    fn has_quarantined(&self) -> bool;
    fn end_quarantine(&mut self);
}

/// Whose entry it is that names one.
#[derive(Clone, Copy)]
pub(super) enum Owner<'a> {
    /// An EIP's.
    Eip(&'a Key),
    /// That of an address of an ENI.
    Private(&'a Key),
}

/// They stand in the entries.
pub(super) struct Inline;

impl Others<[u8; 4]> for Inline {
    fn open(_source: &Source<'_>, _seed: u64) -> Result<Self, PlaneError> {
        Ok(Self)
    }

    fn recover(&mut self, _named: impl Iterator<Item = u32>) {}

    fn put(&mut self, _owner: Owner<'_>, address: &[u8; 4]) -> Option<u32> {
        Some(u32::from_ne_bytes(*address))
    }

    fn get(&self, named: u32) -> [u8; 4] {
        named.to_ne_bytes()
    }

    fn give_back(&mut self, _named: u32) {}

    fn has_quarantined(&self) -> bool {
        false
    }

    fn end_quarantine(&mut self) {}
}

/// They stand in a map of their own, whose elements never change while an entry names them, most at
/// home by the entry's key, those of EIPs in the first half, so that what one direction needs
/// stands together. Element 0 is zeros.
pub(super) struct Indirect {
    addresses: Mapped<[u8; 16]>,
    seed: u64,
    places: Places,
    quarantined: Vec<u32>,
    /// Whether a program may still look at any that is free: another daemon may just have given it
    /// back.
    all_rest: bool,
}

impl Others<[u8; 16]> for Indirect {
    fn open(source: &Source<'_>, seed: u64) -> Result<Self, PlaneError> {
        let addresses: Mapped<[u8; 16]> = source.mapped(maps::NAT_PEERS6)?;
        Ok(Self {
            places: Places::new(1, addresses.elements()),
            addresses,
            seed,
            quarantined: Vec::new(),
            all_rest: true,
        })
    }

    fn recover(&mut self, named: impl Iterator<Item = u32>) {
        for named in named {
            self.places.claim(named);
        }
    }

    fn put(&mut self, owner: Owner<'_>, address: &[u8; 16]) -> Option<u32> {
        if *address == [0; 16] {
            return Some(0);
        }
        if self.all_rest {
            return None;
        }
        let half = self.addresses.elements() / 2;
        let (key, begin) = match owner {
            Owner::Eip(key) => (key, 0),
            Owner::Private(key) => (key, half),
        };
        let home = cuckoo::home(key, self.seed, half, NAT_PEERS_PER_CACHE_LINE);
        let home = begin + home.start..begin + home.end;
        let at_home = self.places.claim_one_of(home);
        let named = at_home.or_else(|| self.places.claim_any())?;
        self.addresses.set(named, address);
        Some(named)
    }

    fn get(&self, named: u32) -> [u8; 16] {
        self.addresses.get(named)
    }

    fn give_back(&mut self, named: u32) {
        if named != 0 {
            self.quarantined.push(named);
        }
    }

    fn has_quarantined(&self) -> bool {
        self.all_rest || !self.quarantined.is_empty()
    }

    fn end_quarantine(&mut self) {
        self.all_rest = false;
        for named in self.quarantined.drain(..) {
            self.places.give_back(named);
        }
    }
}
