//! Who has which index in the kernel's arrays.
//!
//! An index is a name that a program may still hold when the daemon has moved on. So an index that is given back
//! rests first: it is handed out again only after [`Indexes::wake`], which the daemon calls once the kernel's maps
//! no longer lead to it and every program that ran meanwhile has ended.

use std::collections::{BTreeMap, BTreeSet};

/// The indexes of one array, by what they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexes<K> {
    used: BTreeMap<K, u32>,
    resting: BTreeSet<u32>,
    first: u32,
    end: u32,
}

impl<K: Ord + Copy> Indexes<K> {
    /// Nothing is used yet; `first` is the lowest index to hand out, `end` is one above the highest.
    pub fn new(first: u32, end: u32) -> Self {
        Self {
            used: BTreeMap::new(),
            resting: BTreeSet::new(),
            first,
            end,
        }
    }

    /// Takes over what the kernel's maps say. An index that two claim, or that is out of range, stays with none.
    pub fn recover(&mut self, claims: impl IntoIterator<Item = (K, u32)>) {
        let mut owners: BTreeMap<u32, K> = BTreeMap::new();
        for (key, index) in claims {
            let in_range = (self.first..self.end).contains(&index);
            if in_range && !self.used.contains_key(&key) && !owners.contains_key(&index) {
                owners.insert(index, key);
                self.used.insert(key, index);
            }
        }
    }

    /// Lets an index rest that something in the kernel still leads to, unless it has an owner.
    pub fn rest(&mut self, seen: impl IntoIterator<Item = u32>) {
        let owned: BTreeSet<u32> = self.used.values().copied().collect();
        self.resting
            .extend(seen.into_iter().filter(|index| !owned.contains(index)));
    }

    /// Gives every wanted key an index; what had one keeps it, what is no longer wanted loses it. Returns how many
    /// keys found no free index.
    pub fn assign(&mut self, wanted: &BTreeSet<K>) -> usize {
        let resting = &mut self.resting;
        self.used.retain(|key, index| {
            let keep = wanted.contains(key);
            if !keep {
                resting.insert(*index);
            }
            keep
        });
        if self.used.len() == wanted.len() {
            return 0;
        }
        let mut taken: BTreeSet<u32> = self.used.values().copied().collect();
        taken.extend(&self.resting);
        let mut free = (self.first..self.end).filter(|index| !taken.contains(index));
        let mut missing = 0;
        for key in wanted {
            if !self.used.contains_key(key) {
                match free.next() {
                    Some(index) => {
                        self.used.insert(*key, index);
                    }
                    None => missing += 1,
                }
            }
        }
        missing
    }

    /// The key's index.
    pub fn get(&self, key: &K) -> Option<u32> {
        self.used.get(key).copied()
    }

    /// Whether an index rests.
    pub fn has_resting(&self) -> bool {
        !self.resting.is_empty()
    }

    /// Makes the resting indexes free: no program holds one any more.
    pub fn wake(&mut self) {
        self.resting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: &[u64]) -> BTreeSet<u64> {
        keys.iter().copied().collect()
    }

    #[test]
    fn an_index_rests_before_another_gets_it() {
        let mut indexes = Indexes::new(1, 3);
        assert_eq!(indexes.assign(&set(&[10, 20])), 0);
        assert_eq!((indexes.get(&10), indexes.get(&20)), (Some(1), Some(2)));
        assert_eq!(indexes.assign(&set(&[20, 30])), 1);
        assert_eq!(indexes.get(&30), None);
        assert!(indexes.has_resting());
        indexes.wake();
        assert_eq!(indexes.assign(&set(&[20, 30])), 0);
        assert_eq!((indexes.get(&20), indexes.get(&30)), (Some(2), Some(1)));
    }

    #[test]
    fn claims_of_the_kernel_are_kept_where_they_make_sense() {
        let mut indexes = Indexes::new(1, 10);
        indexes.recover([(10, 7), (20, 7), (30, 99), (40, 0), (10, 8)]);
        indexes.rest([7, 3]);
        assert_eq!(indexes.assign(&set(&[10, 20, 30, 40])), 0);
        assert_eq!(indexes.get(&10), Some(7));
        assert_eq!(indexes.get(&20), Some(1));
        assert_eq!(indexes.get(&30), Some(2));
        assert_eq!(indexes.get(&40), Some(4), "3 rests");
    }
}
