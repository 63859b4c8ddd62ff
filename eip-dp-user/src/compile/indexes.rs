//! Who has which index in the kernel's arrays.
//!
//! An index is a name that a program may still hold when the daemon has moved on. So an index that
//! is given back rests first: it is handed out again only after [`Indexes::wake`], which the daemon
//! calls once the kernel's maps no longer lead to it and every program that ran meanwhile has
//! ended.
//!
//! An index may have a home: the few elements of an array among which programs look for it before
//! they know it. Who comes first has it; the others get the lowest that is free.

use std::{collections::BTreeSet, hash::Hash, ops::Range};

use super::{HashMap, HashSet};
use crate::places::Places;

/// The indexes of one array, by what they stand for.
#[derive(Clone, Debug)]
pub struct Indexes<K> {
    used: HashMap<K, u32>,
    quarantined: BTreeSet<u32>,
    /// Free is what is neither used nor rests.
    places: Places,
}

/// Who is to have an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<K> {
    /// For what it stands.
    pub key: K,
    /// Where it is at home.
    pub home: Option<Range<u32>>,
}

impl<K> From<K> for Wanted<K> {
    fn from(key: K) -> Self {
        Self { key, home: None }
    }
}

/// Equal if the same keys have the same indexes and the same indexes rest.
impl<K: Eq + Hash> PartialEq for Indexes<K> {
    fn eq(&self, other: &Self) -> bool {
        self.places.all() == other.places.all()
            && self.quarantined == other.quarantined
            && self.used == other.used
    }
}

impl<K: Eq + Hash> Eq for Indexes<K> {}

impl<K: Eq + Hash + Copy> Indexes<K> {
    /// Nothing is used yet; `first` is the lowest index to hand out, `end` is one above the
    /// highest.
    pub fn new(first: u32, end: u32) -> Self {
        Self {
            used: HashMap::default(),
            quarantined: BTreeSet::new(),
            places: Places::new(first, end),
        }
    }

    /// Takes over what the kernel's maps say. An index that two claim, or that is out of range,
    /// stays with none.
    pub fn recover(&mut self, claims: impl IntoIterator<Item = (K, u32)>) {
        for (key, index) in claims {
            if !self.used.contains_key(&key) && self.places.claim(index) {
                self.used.insert(key, index);
            }
        }
    }

    /// Lets indexes rest that something in the kernel still leads to, unless they have an owner.
    pub fn rest(&mut self, seen: impl IntoIterator<Item = u32>) {
        let owned: HashSet<u32> = self.used.values().copied().collect();
        for index in seen.into_iter().filter(|index| !owned.contains(index)) {
            self.places.claim(index);
            self.quarantined.insert(index);
        }
    }

    /// Gives every wanted key an index, in their order; what had one keeps it, what is no longer
    /// wanted loses it. Returns how many keys found no free index.
    pub fn assign(&mut self, wanted: &[Wanted<K>]) -> usize {
        if !self.used.is_empty() {
            let wanted: HashSet<K> = wanted.iter().map(|one| one.key).collect();
            let quarantined = &mut self.quarantined;
            self.used.retain(|key, index| {
                let keep = wanted.contains(key);
                if !keep {
                    quarantined.insert(*index);
                }
                keep
            });
        }
        self.used.reserve(wanted.len() - self.used.len());
        self.add(wanted)
    }

    /// Gives those of the keys an index that have none: first to each the one at home, if it is
    /// free, then to the others in their order the lowest that is. Returns how many found none.
    pub fn add(&mut self, wanted: &[Wanted<K>]) -> usize {
        let mut others = Vec::new();
        for Wanted { key, home } in wanted {
            if self.used.contains_key(key) {
                continue;
            }
            let home = home.clone();
            match home.and_then(|home| self.places.claim_one_of(home)) {
                Some(index) => {
                    self.used.insert(*key, index);
                }
                None => others.push(*key),
            }
        }
        let mut missing = 0;
        for key in others {
            match self.places.claim_any() {
                Some(index) => {
                    self.used.insert(key, index);
                }
                None => missing += 1,
            }
        }
        missing
    }

    /// Takes a key's index back: it rests.
    pub fn release(&mut self, key: &K) {
        if let Some(index) = self.used.remove(key) {
            self.quarantined.insert(index);
        }
    }

    /// How many keys could have an index besides those that do.
    pub fn room(&self) -> usize {
        self.places.free() as usize
    }

    /// The key's index.
    pub fn get(&self, key: &K) -> Option<u32> {
        self.used.get(key).copied()
    }

    /// Whether an index rests.
    pub fn has_quarantined(&self) -> bool {
        !self.quarantined.is_empty()
    }

    /// Makes the resting indexes free: no program holds one any more.
    pub fn end_quarantine(&mut self) {
        for index in std::mem::take(&mut self.quarantined) {
            self.places.give_back(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys<const N: usize>(keys: [u32; N]) -> [Wanted<u32>; N] {
        keys.map(Wanted::from)
    }

    #[test]
    fn an_index_rests_before_another_gets_it() {
        let mut indexes = Indexes::new(1, 3);
        assert_eq!(indexes.assign(&keys([10, 20])), 0);
        assert_eq!((indexes.get(&10), indexes.get(&20)), (Some(1), Some(2)));
        assert_eq!(indexes.assign(&keys([20, 30])), 1);
        assert_eq!(indexes.get(&30), None);
        assert!(indexes.has_quarantined());
        indexes.end_quarantine();
        assert_eq!(indexes.assign(&keys([20, 30])), 0);
        assert_eq!((indexes.get(&20), indexes.get(&30)), (Some(2), Some(1)));
    }

    #[test]
    fn claims_of_the_kernel_are_kept_where_they_make_sense() {
        let mut indexes = Indexes::new(1, 10);
        indexes.recover([(10, 7), (20, 7), (30, 99), (40, 0), (10, 8)]);
        indexes.rest([7, 3]);
        assert_eq!(indexes.assign(&keys([10, 20, 30, 40])), 0);
        assert_eq!(indexes.get(&10), Some(7));
        assert_eq!(indexes.get(&20), Some(1));
        assert_eq!(indexes.get(&30), Some(2));
        assert_eq!(indexes.get(&40), Some(4), "3 rests");
    }

    #[test]
    fn one_by_one_is_as_all_at_once() {
        let mut indexes = Indexes::new(2, 8);
        assert_eq!(indexes.assign(&keys([10, 20, 30, 40])), 0);
        let mut other = indexes.clone();
        assert_eq!(indexes.assign(&keys([20, 40, 50])), 0);
        other.release(&10);
        other.release(&30);
        assert_eq!(other.add(&keys([50])), 0);
        assert_eq!(indexes, other);
        indexes.end_quarantine();
        other.end_quarantine();
        assert_eq!(indexes.room(), 3);
        assert_eq!(indexes.assign(&keys([20, 40, 50, 60, 70, 80, 90])), 1);
        assert_eq!(other.add(&keys([60, 70, 80])), 0);
        assert_eq!(other.add(&keys([90])), 1);
        assert_eq!(indexes, other);
        assert_eq!((other.get(&60), other.get(&80)), (Some(2), Some(7)));
    }

    #[test]
    fn who_is_at_home_does_not_lose_it_to_who_is_not() {
        let mut indexes = Indexes::new(0, 8);
        let at = |key, home| Wanted {
            key,
            home: Some(home),
        };
        let wanted = [
            at(10, 4..6),
            20.into(),
            at(30, 4..6),
            at(40, 4..6),
            at(50, 0..2),
        ];
        assert_eq!(indexes.assign(&wanted), 0);
        let found = [10, 20, 30, 40, 50].map(|key| indexes.get(&key));
        assert_eq!(found, [4, 1, 5, 2, 0].map(Some));
        // One that is there stays, wherever it was at home.
        assert_eq!(indexes.assign(&[at(40, 4..6)]), 0);
        assert_eq!(indexes.get(&40), Some(2));
    }
}
