//! Who has which index in the kernel's arrays.
//!
//! An index is a name that a program may still hold when the daemon has moved on. So an index that is given back
//! rests first: it is handed out again only after [`Indexes::wake`], which the daemon calls once the kernel's maps
//! no longer lead to it and every program that ran meanwhile has ended.

use std::{collections::BTreeSet, hash::Hash};

use super::{HashMap, HashSet};

/// The indexes of one array, by what they stand for.
#[derive(Clone, Debug)]
pub struct Indexes<K> {
    used: HashMap<K, u32>,
    resting: BTreeSet<u32>,
    /// The free ones below `next`.
    holes: BTreeSet<u32>,
    /// This one and those above it were never handed out.
    next: u32,
    first: u32,
    end: u32,
}

/// Equal if the same keys have the same indexes and the same indexes rest.
impl<K: Eq + Hash> PartialEq for Indexes<K> {
    fn eq(&self, other: &Self) -> bool {
        (self.first, self.end) == (other.first, other.end)
            && self.resting == other.resting
            && self.used == other.used
    }
}

impl<K: Eq + Hash> Eq for Indexes<K> {}

impl<K: Eq + Hash + Copy> Indexes<K> {
    /// Nothing is used yet; `first` is the lowest index to hand out, `end` is one above the highest.
    pub fn new(first: u32, end: u32) -> Self {
        Self {
            used: HashMap::default(),
            resting: BTreeSet::new(),
            holes: BTreeSet::new(),
            next: first,
            first,
            end,
        }
    }

    /// Takes over what the kernel's maps say. An index that two claim, or that is out of range, stays with none.
    pub fn recover(&mut self, claims: impl IntoIterator<Item = (K, u32)>) {
        let mut taken: HashSet<u32> = self.used.values().copied().collect();
        for (key, index) in claims {
            let in_range = (self.first..self.end).contains(&index);
            if in_range && !self.used.contains_key(&key) && taken.insert(index) {
                self.used.insert(key, index);
            }
        }
        self.find_holes();
    }

    /// Lets indexes rest that something in the kernel still leads to, unless they have an owner.
    pub fn rest(&mut self, seen: impl IntoIterator<Item = u32>) {
        let owned: HashSet<u32> = self.used.values().copied().collect();
        self.resting
            .extend(seen.into_iter().filter(|index| !owned.contains(index)));
        self.find_holes();
    }

    fn find_holes(&mut self) {
        let mut taken: Vec<u32> = self.used.values().copied().collect();
        taken.extend(self.resting.range(self.first..self.end));
        taken.sort_unstable();
        self.next = taken.last().map_or(self.first, |last| last + 1);
        let mut holes = Vec::new();
        let mut free = self.first;
        for index in taken {
            holes.extend(free..index);
            free = index + 1;
        }
        self.holes = holes.into_iter().collect();
    }

    /// Gives every wanted key an index, in their order; what had one keeps it, what is no longer wanted loses it. Returns
    /// how many keys found no free index.
    pub fn assign(&mut self, wanted: &[K]) -> usize {
        if !self.used.is_empty() {
            let wanted: HashSet<K> = wanted.iter().copied().collect();
            let resting = &mut self.resting;
            self.used.retain(|key, index| {
                let keep = wanted.contains(key);
                if !keep {
                    resting.insert(*index);
                }
                keep
            });
        }
        self.used.reserve(wanted.len() - self.used.len());
        wanted.iter().filter(|key| !self.take(**key)).count()
    }

    /// Gives a key an index, the lowest that is free, if it has none; `false` if none is free.
    pub fn take(&mut self, key: K) -> bool {
        if self.used.contains_key(&key) {
            return true;
        }
        let index = match self.holes.pop_first() {
            Some(hole) => hole,
            None if self.next < self.end => {
                self.next += 1;
                self.next - 1
            }
            None => return false,
        };
        self.used.insert(key, index);
        true
    }

    /// Takes a key's index back: it rests.
    pub fn release(&mut self, key: &K) {
        if let Some(index) = self.used.remove(key) {
            self.resting.insert(index);
        }
    }

    /// How many keys could have an index besides those that do.
    pub fn room(&self) -> usize {
        self.holes.len() + self.end.saturating_sub(self.next) as usize
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
        // Those of the kernel that no key could have had are none to hand out.
        let resting = std::mem::take(&mut self.resting);
        let range = self.first..self.next;
        self.holes
            .extend(resting.into_iter().filter(|index| range.contains(index)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_rests_before_another_gets_it() {
        let mut indexes = Indexes::new(1, 3);
        assert_eq!(indexes.assign(&[10, 20]), 0);
        assert_eq!((indexes.get(&10), indexes.get(&20)), (Some(1), Some(2)));
        assert_eq!(indexes.assign(&[20, 30]), 1);
        assert_eq!(indexes.get(&30), None);
        assert!(indexes.has_resting());
        indexes.wake();
        assert_eq!(indexes.assign(&[20, 30]), 0);
        assert_eq!((indexes.get(&20), indexes.get(&30)), (Some(2), Some(1)));
    }

    #[test]
    fn claims_of_the_kernel_are_kept_where_they_make_sense() {
        let mut indexes = Indexes::new(1, 10);
        indexes.recover([(10, 7), (20, 7), (30, 99), (40, 0), (10, 8)]);
        indexes.rest([7, 3]);
        assert_eq!(indexes.assign(&[10, 20, 30, 40]), 0);
        assert_eq!(indexes.get(&10), Some(7));
        assert_eq!(indexes.get(&20), Some(1));
        assert_eq!(indexes.get(&30), Some(2));
        assert_eq!(indexes.get(&40), Some(4), "3 rests");
    }

    #[test]
    fn one_by_one_is_as_all_at_once() {
        let mut indexes = Indexes::new(2, 8);
        assert_eq!(indexes.assign(&[10, 20, 30, 40]), 0);
        let mut other = indexes.clone();
        assert_eq!(indexes.assign(&[20, 40, 50]), 0);
        other.release(&10);
        other.release(&30);
        assert!(other.take(50));
        assert_eq!(indexes, other);
        indexes.wake();
        other.wake();
        assert_eq!(indexes.room(), 3);
        assert_eq!(indexes.assign(&[20, 40, 50, 60, 70, 80, 90]), 1);
        for key in [60, 70, 80] {
            assert!(other.take(key));
        }
        assert!(!other.take(90));
        assert_eq!(indexes, other);
        assert_eq!((other.get(&60), other.get(&80)), (Some(2), Some(7)));
    }
}
