//! The maps that each address family has of its own.

use std::collections::{BTreeMap, HashMap};

use aya::{
    Pod,
    maps::{Array, LpmTrie, MapData, MapError, lpm_trie},
};
use eip_dp_common::{
    abi::{
        Checksummed, Cidr, EipMode, EipRoute, NONE, NetWord, PackedCounter, PrefixKey,
        SourceBinding, SourceState,
    },
    cuckoo::{self, Bucket, EipEntry, Key, Keyed, SourceEntry},
};
use foldhash::fast::FixedState;

use super::{
    PlaneError,
    counters::Counters,
    cuckoo::{BucketsFull, CuckooTable, Displacements, Entry},
    eips_by_target::{EipsByTarget, TargetsByNextHop},
    kernel_maps::{absent_is_fine, broken, used},
    mapped::Mapped,
    nat_peers::{Indirect, Inline, Others, Owner},
    next_hop_maps::NextHopMaps,
    source::Source,
};
use crate::compile::{Address, Eip, FamilyContent, FamilyWrite, InVpc, PrefixRecord, Private};

/// How a family's addresses stand in the entries of an index, see [`eip_dp_common::cuckoo`].
pub(super) trait Indexed: Address + Keyed {
    /// Where the other addresses of entries are.
    type Others: Others<Self>;
}

impl Indexed for [u8; 4] {
    type Others = Inline;
}

impl Indexed for [u8; 16] {
    type Others = Indirect;
}

/// A CIDR in short.
fn net_of<A: Address>(cidr: &Cidr<A>) -> NetWord {
    if cidr.used == 0 {
        NetWord::default()
    } else {
        NetWord::new(cidr.network.upper(), cidr.mask.upper())
    }
}

/// The target of an EIP, or [`NONE`].
fn target_of(words: &EipEntry, whereabouts: &TargetsByNextHop) -> u32 {
    match words.hop {
        0 => words.target,
        hop => whereabouts.get(&hop).copied().unwrap_or(NONE),
    }
}

/// An index of the family.
type IndexOf<A> = CuckooTable<<A as Keyed>::Shape, Mapped<Bucket>>;

/// Which index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Eips,
    Addresses,
}

/// An entry for which there was no room yet.
struct Waiting {
    kind: Kind,
    key: Key,
    key_word: u64,
    value_word: u64,
    /// What the entry that it replaces names of others.
    leaves: u32,
    /// What it names itself, and the other does not.
    brings: u32,
}

impl Waiting {
    /// `named`: what the entry before named of others, and what this one does.
    fn new(kind: Kind, key: Key, [key_word, value_word]: [u64; 2], named: [u32; 2]) -> Self {
        let [leaves, brings] = if named[0] == named[1] { [0; 2] } else { named };
        Self {
            kind,
            key,
            key_word,
            value_word,
            leaves,
            brings,
        }
    }
}

/// Why a change was not made.
pub(super) enum Refused {
    /// The kernel says so.
    Error(MapError),
    /// A map is full.
    Full,
    /// Something is free after a grace period.
    Wait,
}

/// The maps of one family.
pub(super) struct FamilyMaps<A: Indexed>
where
    Cidr<A>: Pod,
{
    seed: u64,
    eips: IndexOf<A>,
    private: IndexOf<A>,
    others: A::Others,
    /// The EIPs whose entries say where their ENIs are, by target; there may be some more.
    placed: HashMap<u32, A, FixedState>,
    waiting: Vec<Waiting>,
    /// What replaced entries name of others, till they are taken away.
    leaving: Vec<u32>,
    prefixes: LpmTrie<MapData, A, PrefixRecord<A>>,
    cidrs: Array<MapData, Cidr<A>>,
    /// The CIDRs in short.
    nets: Mapped<u64>,
    prefilter: Array<MapData, u64>,
}

impl<A: Indexed> FamilyMaps<A>
where
    PrefixRecord<A>: Pod,
    Cidr<A>: Pod,
{
    pub(super) fn open(source: &Source<'_>, seed: u64) -> Result<Self, PlaneError> {
        let mut maps = Self {
            seed,
            eips: CuckooTable::new(source.mapped(A::MAPS.eips)?, seed, EipEntry::MASK),
            private: CuckooTable::new(source.mapped(A::MAPS.private)?, seed, SourceEntry::MASK),
            others: A::Others::open(source, seed)?,
            placed: HashMap::default(),
            waiting: Vec::new(),
            leaving: Vec::new(),
            prefixes: source.typed(A::MAPS.prefixes)?,
            cidrs: source.typed(A::MAPS.cidrs)?,
            nets: source.mapped(A::MAPS.nets)?,
            prefilter: source.typed(A::MAPS.prefilter)?,
        };
        let eips = maps.eips.entries().map(|entry| entry.found.value_word);
        let private = maps.private.entries().map(|entry| entry.found.value_word);
        let named = eips
            .map(|value_word| EipEntry::unpack(0, value_word).other)
            .chain(private.map(|value_word| SourceEntry::unpack(0, value_word).other));
        maps.others.recover(named);
        Ok(maps)
    }

    pub(super) fn slot(&self, address: &A) -> Option<u32> {
        let found = self.eips.get(&EipEntry::key(*address));
        (!found.is_nothing()).then(|| EipEntry::unpack(found.key_word, found.value_word).slot)
    }

    /// The slots of the EIPs that are in both, here and there.
    pub(super) fn slots_in(&self, other: &Self) -> impl Iterator<Item = (u32, u32)> {
        self.eips.entries().filter_map(|entry| {
            let slot = EipEntry::unpack(entry.found.key_word, entry.found.value_word).slot;
            let address = A::of_words(entry.found.key_word, entry.rest);
            Some((slot, other.slot(&address)?))
        })
    }

    /// Finds out whose the entries are, if that is not known.
    pub(super) fn know(
        &mut self,
        receivers: &mut EipsByTarget,
        hops: &mut NextHopMaps,
        whereabouts: &TargetsByNextHop,
    ) {
        for entry in self.eips.entries() {
            let words = EipEntry::unpack(entry.found.key_word, entry.found.value_word);
            let target = target_of(&words, whereabouts);
            receivers.set(words.slot, target);
            if words.hop != 0 && target == NONE {
                hops.hold(words.hop);
            } else if words.hop != 0 {
                self.placed
                    .insert(target, A::of_words(entry.found.key_word, entry.rest));
            }
        }
    }

    /// Whether some EIP's entry says where its ENI is.
    pub(super) fn has_places(&self) -> bool {
        let mut entries = self.eips.entries();
        entries.any(|entry| EipEntry::unpack(entry.found.key_word, entry.found.value_word).hop != 0)
    }

    /// Has the entry of an EIP whose target moved say where its ENI is by now.
    pub(super) fn redirect(&mut self, target: u32, receivers: &EipsByTarget, hops: &NextHopMaps) {
        let Some(address) = self.placed.get(&target) else {
            return;
        };
        let key = EipEntry::key(*address);
        let found = self.eips.get(&key);
        let words = EipEntry::unpack(found.key_word, found.value_word);
        if found.is_nothing() || words.hop == 0 || receivers.of(words.slot) != target {
            self.placed.remove(&target);
            return;
        }
        let hop = hops.place_of(target);
        let [key_word, value_word] = EipEntry {
            target,
            hop,
            ..words
        }
        .pack(&key);
        // The head stays, so there is room.
        let _ = self.eips.put(&key, key_word, value_word);
        if hop == 0 {
            self.placed.remove(&target);
        }
    }

    /// `slots`: by their out slots, see [`Counters`].
    pub(super) fn read(
        &self,
        hops: &NextHopMaps,
        slots: &[u32],
        whereabouts: &TargetsByNextHop,
    ) -> Result<FamilyContent<A>, PlaneError> {
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
        let prefixes: Result<BTreeMap<_, _>, _> = prefixes
            // An element that went away between two steps of the walk is one that is not there.
            .filter(|element| !matches!(element, Err(MapError::KeyNotFound)))
            .collect();
        Ok(FamilyContent {
            eips: self
                .eips
                .entries()
                .map(|entry| self.eip(&entry, hops, whereabouts))
                .collect(),
            private: self
                .private
                .entries()
                .map(|entry| self.address(&entry, slots))
                .collect(),
            prefixes: prefixes.map_err(read(A::MAPS.prefixes))?,
            cidrs: self.read_cidrs().map_err(read(A::MAPS.cidrs))?,
            prefilter: used(self.prefilter.iter(), &0).map_err(read(A::MAPS.prefilter))?,
        })
    }

    /// The CIDRs; one that does not stand there in short, too, is not there.
    fn read_cidrs(&self) -> Result<BTreeMap<u32, Cidr<A>>, MapError> {
        let mut cidrs = used(self.cidrs.iter(), &Checksummed::zeroed())?;
        cidrs.retain(|index, cidr| self.nets.get(*index) == net_of(cidr).word());
        Ok(cidrs)
    }

    /// An EIP from its entry.
    fn eip(
        &self,
        entry: &Entry,
        hops: &NextHopMaps,
        whereabouts: &TargetsByNextHop,
    ) -> (A, Eip<A>) {
        let address = A::of_words(entry.found.key_word, entry.rest);
        let words = EipEntry::unpack(entry.found.key_word, entry.found.value_word);
        let translates = words.mode == EipMode::Nat as u8;
        let private = if words.mode == EipMode::CutThrough as u8 {
            address
        } else {
            self.others.get(words.other)
        };
        let target = target_of(&words, whereabouts);
        let record = EipRoute {
            private,
            slot: words.slot,
            target,
            vpc: match target {
                NONE => NONE,
                target => hops.vpc_of(target),
            },
            delta: if translates {
                A::delta(&address, &private).to_record()
            } else {
                0
            },
            mode: words.mode,
            reserved: 0,
            seal: 0,
        };
        (address, record.sealed(&address))
    }

    /// An address of an ENI from its entry.
    fn address(&self, entry: &Entry, slots: &[u32]) -> (InVpc<A>, Private<A>) {
        let address = A::of_words(entry.found.key_word, entry.rest);
        let key = InVpc {
            vpc: SourceEntry::vpc_of(entry.found.key_word),
            address,
        };
        let words = SourceEntry::unpack(entry.found.key_word, entry.found.value_word);
        let translates = words.state == SourceState::Nat as u8;
        let public = if words.state == SourceState::CutThrough as u8 {
            address
        } else {
            self.others.get(words.other)
        };
        let record = SourceBinding {
            public,
            slot: slots.get(words.slot as usize).copied().unwrap_or(NONE),
            target: words.target,
            delta: if translates {
                A::delta(&address, &public).to_record()
            } else {
                0
            },
            state: words.state,
            reserved: 0,
            seal: 0,
        };
        (key, record.sealed(&key))
    }

    /// Has the processor fetch what a write needs soon.
    pub(super) fn fetch(
        &self,
        write: &FamilyWrite<A>,
        counters: &Counters,
        receivers: &EipsByTarget,
    ) {
        match write {
            FamilyWrite::Eip(address, record) => {
                self.eips.fetch(&EipEntry::key(*address));
                if let Some(record) = record {
                    receivers.fetch(record.slot);
                }
            }
            FamilyWrite::Private(key, record) => {
                self.private.fetch(&SourceEntry::key(key.vpc, key.address));
                if let Some(record) = record {
                    counters.fetch(record.slot);
                }
            }
            FamilyWrite::Prefix(..) | FamilyWrite::Cidr(..) | FamilyWrite::Screen(..) => {}
        }
    }

    pub(super) fn apply(
        &mut self,
        write: &FamilyWrite<A>,
        counters: &mut Counters,
        receivers: &mut EipsByTarget,
        hops: &NextHopMaps,
    ) -> Result<(), Refused> {
        match write {
            FamilyWrite::Eip(address, record) => {
                self.set_eip(address, record.as_ref(), receivers, hops)
            }
            FamilyWrite::Private(key, record) => self.set_private(key, record.as_ref(), counters),
            FamilyWrite::Prefix(key, value) => {
                let key = lpm_trie::Key::new(key.length, key.network);
                let result = match value {
                    Some(value) => self.prefixes.insert(&key, value, 0),
                    None => absent_is_fine(self.prefixes.remove(&key)),
                };
                result.map_err(Refused::Error)
            }
            FamilyWrite::Cidr(index, value) => {
                let value = value.unwrap_or_else(Checksummed::zeroed);
                self.cidrs.set(*index, value, 0).map_err(Refused::Error)?;
                // A daemon that ends here leaves one that is not there, see `read_cidrs`, or one
                // too many, which costs time.
                self.nets.set(*index, &net_of(&value).word());
                Ok(())
            }
            FamilyWrite::Screen(index, bits) => {
                self.prefilter.set(*index, bits, 0).map_err(Refused::Error)
            }
        }
    }

    fn set_eip(
        &mut self,
        address: &A,
        record: Option<&Eip<A>>,
        receivers: &mut EipsByTarget,
        hops: &NextHopMaps,
    ) -> Result<(), Refused> {
        let key = EipEntry::key(*address);
        let found = self.eips.get(&key);
        let before = EipEntry::unpack(found.key_word, found.value_word);
        let Some(record) = record else {
            self.eips.remove(&key);
            self.others.give_back(before.other);
            return Ok(());
        };
        let translates = record.mode == EipMode::Nat as u8;
        let other = self.name(
            Owner::Eip(&key),
            translates.then_some(&record.private),
            before.other,
        )?;
        let hop = if record.mode == EipMode::CutThrough as u8 {
            hops.place_of(record.target)
        } else {
            0
        };
        let words = EipEntry {
            slot: record.slot,
            other,
            target: record.target,
            mode: record.mode,
            hop,
        };
        receivers.set(record.slot, record.target);
        if hop != 0 {
            self.placed.insert(record.target, *address);
        }
        let named = [before.other, other];
        let entry = Waiting::new(Kind::Eips, key, words.pack(&key), named);
        self.put(entry, found.is_nothing());
        Ok(())
    }

    fn set_private(
        &mut self,
        in_vpc: &InVpc<A>,
        record: Option<&Private<A>>,
        counters: &mut Counters,
    ) -> Result<(), Refused> {
        let key = SourceEntry::key(in_vpc.vpc, in_vpc.address);
        let found = self.private.get(&key);
        let before = SourceEntry::unpack(found.key_word, found.value_word);
        let Some(record) = record else {
            self.private.remove(&key);
            self.others.give_back(before.other);
            return Ok(());
        };
        let translates = record.state == SourceState::Nat as u8;
        let other = self.name(
            Owner::Private(&key),
            translates.then_some(&record.public),
            before.other,
        )?;
        let home = cuckoo::home(
            &key,
            self.seed,
            counters.slots(),
            PackedCounter::PER_CACHE_LINE,
        );
        let out_slot = counters.out_slot_at(record.slot, home);
        let words = SourceEntry {
            other,
            slot: out_slot.unwrap_or(NONE),
            target: record.target,
            state: record.state,
        };
        let named = [before.other, other];
        let entry = Waiting::new(Kind::Addresses, key, words.pack(&key), named);
        self.put(entry, found.is_nothing());
        Ok(())
    }

    /// What an entry names for the other address, which may be what it names already.
    fn name(&mut self, owner: Owner<'_>, address: Option<&A>, before: u32) -> Result<u32, Refused> {
        let address = address.copied().unwrap_or_default();
        if self.others.get(before) == address {
            return Ok(before);
        }
        match self.others.put(owner, &address) {
            Some(named) => Ok(named),
            None if self.others.has_quarantined() => Err(Refused::Wait),
            None => Err(Refused::Full),
        }
    }

    /// `is_new`: there is none under this key, as is known already.
    fn put(&mut self, entry: Waiting, is_new: bool) {
        let Waiting {
            kind,
            key,
            key_word,
            value_word,
            leaves,
            ..
        } = entry;
        let index = self.index(kind);
        let stored = if is_new {
            index.add(&key, key_word, value_word)
        } else {
            index.put(&key, key_word, value_word)
        };
        match stored {
            Ok(()) => self.others.give_back(leaves),
            Err(BucketsFull) => self.waiting.push(entry),
        }
    }

    /// Begins to replace entries that can be only by one in front. What cannot goes on waiting.
    fn replace(&mut self) -> (Displacements, Displacements) {
        let mut begun = (Displacements::default(), Displacements::default());
        for entry in std::mem::take(&mut self.waiting) {
            let index = self.index(entry.kind);
            let moves = index.replace(&entry.key, entry.key_word, entry.value_word);
            if moves.is_empty() {
                self.waiting.push(entry);
                continue;
            }
            self.leaving.push(entry.leaves);
            match entry.kind {
                Kind::Eips => begun.0.append(moves),
                Kind::Addresses => begun.1.append(moves),
            }
        }
        begun
    }

    fn index(&mut self, kind: Kind) -> &mut IndexOf<A> {
        match kind {
            Kind::Eips => &mut self.eips,
            Kind::Addresses => &mut self.private,
        }
    }

    /// Whether entries wait for room.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Puts in what has room by now, and begins to make room for the rest. Returns `None` if none
    /// can be made.
    pub(super) fn begin(&mut self) -> Option<(Displacements, Displacements)> {
        for waiting in std::mem::take(&mut self.waiting) {
            self.put(waiting, false);
        }
        let replaced = self.replace();
        if !(replaced.0.is_empty() && replaced.1.is_empty()) {
            // Room for the rest in the next round: what stands twice is not to be moved.
            return Some(replaced);
        }
        let keys = |kind: Kind| {
            let of_kind = self
                .waiting
                .iter()
                .filter(move |waiting| waiting.kind == kind);
            of_kind.map(|waiting| &waiting.key)
        };
        let eips = self.eips.begin(keys(Kind::Eips));
        let private = self.private.begin(keys(Kind::Addresses));
        let stuck = !self.waiting.is_empty()
            && eips.is_empty()
            && private.is_empty()
            && !self.has_quarantined();
        (!stuck).then_some((eips, private))
    }

    /// Ends what [`Self::begin`] began.
    pub(super) fn end(&mut self, (eips, private): (Displacements, Displacements)) {
        self.eips.end(eips);
        self.private.end(private);
        for named in std::mem::take(&mut self.leaving) {
            self.others.give_back(named);
        }
    }

    /// Gives up on what waits. Returns the map that is full.
    pub(super) fn give_up(&mut self) -> &'static str {
        let kind = self.waiting.first().map(|waiting| waiting.kind);
        for waiting in self.waiting.drain(..) {
            self.others.give_back(waiting.brings);
        }
        match kind {
            Some(Kind::Addresses) => A::MAPS.private,
            Some(Kind::Eips) | None => A::MAPS.eips,
        }
    }

    /// See [`Index::heal`].
    pub(super) fn repair_duplicates(&mut self) {
        self.eips.repair_duplicates();
        self.private.repair_duplicates();
    }

    pub(super) fn has_quarantined(&self) -> bool {
        self.eips.has_quarantined()
            || self.private.has_quarantined()
            || self.others.has_quarantined()
    }

    pub(super) fn end_quarantine(&mut self) {
        self.eips.end_quarantine();
        self.private.end_quarantine();
        self.others.end_quarantine();
    }
}
