//! Elements of an array that are handed out, some of them where they are at home.

use std::ops::Range;

/// Which elements of an array are taken.
#[derive(Clone, Debug)]
pub struct Places {
    /// A bit each, from element 0; those that are not to be had are taken.
    taken: Vec<u64>,
    first: u32,
    end: u32,
    /// No element below is free.
    lowest: u32,
    free: u32,
}

impl Places {
    /// All are free, from `first` to below `end`.
    pub fn new(first: u32, end: u32) -> Self {
        Self {
            taken: vec![0; (end as usize).div_ceil(WORD as usize)],
            first,
            end,
            lowest: first,
            free: end.saturating_sub(first),
        }
    }

    /// All that there are.
    pub fn all(&self) -> Range<u32> {
        self.first..self.end
    }

    /// Takes this element; `false` if it is taken, or none of them.
    pub fn claim(&mut self, element: u32) -> bool {
        if !self.is_free(element) {
            return false;
        }
        self.taken[(element / WORD) as usize] |= 1 << (element % WORD);
        self.free -= 1;
        true
    }

    /// Takes the lowest of these that is free.
    pub fn claim_one_of(&mut self, elements: Range<u32>) -> Option<u32> {
        let mut elements = elements;
        elements.find(|element| self.claim(*element))
    }

    /// Takes the lowest that is free.
    pub fn claim_any(&mut self) -> Option<u32> {
        if self.free == 0 {
            return None;
        }
        while !self.claim(self.lowest) {
            // Full words at once.
            let is_full = self.taken[(self.lowest / WORD) as usize] == u64::MAX;
            let step = if is_full {
                WORD - self.lowest % WORD
            } else {
                1
            };
            self.lowest += step;
        }
        Some(self.lowest)
    }

    /// Makes an element free again.
    pub fn give_back(&mut self, element: u32) {
        if self.all().contains(&element) && !self.is_free(element) {
            self.taken[(element / WORD) as usize] &= !(1 << (element % WORD));
            self.lowest = self.lowest.min(element);
            self.free += 1;
        }
    }

    /// How many are free.
    pub fn free(&self) -> u32 {
        self.free
    }

    fn is_free(&self, element: u32) -> bool {
        self.all().contains(&element)
            && self.taken[(element / WORD) as usize] >> (element % WORD) & 1 == 0
    }
}

/// Elements that a word has bits for.
const WORD: u32 = u64::BITS;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_at_home_is_taken_there_first() {
        let mut places = Places::new(2, 200);
        assert_eq!(places.claim_one_of(0..4), Some(2));
        assert_eq!(places.claim_one_of(0..4), Some(3));
        assert_eq!(places.claim_one_of(0..4), None);
        assert_eq!(places.claim_one_of(128..132), Some(128));
        assert_eq!(places.claim_any(), Some(4));
        assert_eq!(places.free(), 194);
    }

    proptest! {
        /// As a set of the standard library does it.
        #[test]
        fn places_are_a_set(
            first in 0..3u32, len in 0..150u32, steps in proptest::collection::vec((0..4u8, 0..160u32), 0..400),
        ) {
            let end = first + len;
            let (mut places, mut free) = (Places::new(first, end), (first..end).collect::<BTreeSet<_>>());
            for (step, element) in steps {
                match step {
                    0 => prop_assert_eq!(places.claim(element), free.remove(&element)),
                    1 => prop_assert_eq!(places.claim_any(), free.pop_first()),
                    2 => {
                        let found = free.range(element..element + 4).next().copied();
                        free.remove(&found.unwrap_or(u32::MAX));
                        prop_assert_eq!(places.claim_one_of(element..element + 4), found);
                    }
                    _ => {
                        places.give_back(element);
                        if (first..end).contains(&element) {
                            free.insert(element);
                        }
                    }
                }
                prop_assert_eq!(places.free() as usize, free.len());
            }
        }
    }
}
