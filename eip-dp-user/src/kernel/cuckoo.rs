//! The writer of an index: see [`eip_dp_common::cuckoo`] for what stands where and what readers
//! rely on.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    marker::PhantomData,
};

use eip_dp_common::cuckoo::{BUCKET_WORDS, Found, Geometry, Key, Shape, USED};

use super::mapped::Words;

/// An index, and what only its writer knows of it.
pub struct CuckooTable<S, W> {
    words: W,
    geometry: Geometry,
    /// Which bits of a head are the key's.
    mask: u64,
    /// Places whose entry was taken away, by word: a program may still be reading there.
    quarantined: HashSet<usize>,
    shape: PhantomData<S>,
}

/// There is no place for an entry in its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketsFull;

/// An entry as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Head and payload.
    pub found: Found,
    /// What it has of its key besides.
    pub rest: [u64; 2],
}

/// Entries that stand in both of their lines for a moment.
#[derive(Debug, Default)]
#[must_use = "after a grace period the first of each two has to go"]
pub struct Displacements(Vec<usize>);

impl Displacements {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// More of them.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// How many places a search for room looks at, for one key.
const LONGEST_SEARCH: usize = 4096;

impl<S: Shape, W: Words> CuckooTable<S, W> {
    /// Takes over an index as it stands.
    pub fn new(words: W, seed: u64, mask: u64) -> Self {
        let buckets = u32::try_from(words.count() / BUCKET_WORDS).unwrap_or(u32::MAX);
        Self {
            words,
            geometry: Geometry { buckets, seed },
            mask,
            quarantined: HashSet::new(),
            shape: PhantomData,
        }
    }

    /// Looks a key up.
    pub fn get(&self, key: &Key) -> Found {
        self.place_of(key)
            .map_or(Found::NOTHING, |at| self.found(at))
    }

    /// Has the processor fetch the lines of a key that is looked up soon: for each by itself it
    /// would wait.
    pub fn fetch(&self, key: &Key) {
        let (first, second) = self.geometry.buckets_of(key);
        for bucket in [first, second] {
            self.words.fetch(bucket as usize * BUCKET_WORDS);
        }
    }

    /// All entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.places().map(|at| self.entry(at))
    }

    /// Stores an entry. One with another head under the same key is replaced, without a moment in
    /// which there is none: by one behind it, where who did not find it any more looks next. If
    /// only places in front of it are free, [`Self::replace`] has to be called.
    pub fn put(&mut self, key: &Key, key_word: u64, value_word: u64) -> Result<(), BucketsFull> {
        let Some(before) = self.place_of(key) else {
            return self.add(key, key_word, value_word);
        };
        if self.words.load(before) == key_word {
            self.words.store(before + 1, value_word);
            return Ok(());
        }
        let mut behind = self.places_of(key).skip_while(|at| *at != before);
        let place = behind.find(|at| self.is_free(*at)).ok_or(BucketsFull)?;
        self.write(place, key_word, value_word, key.rest);
        self.clear(before);
        Ok(())
    }

    /// Stores an entry under a key that has none, as [`Self::put`] does.
    pub fn add(&mut self, key: &Key, key_word: u64, value_word: u64) -> Result<(), BucketsFull> {
        let (first, second) = self.geometry.buckets_of(key);
        let place = self.free_in(first).or_else(|| self.free_in(second));
        self.write(place.ok_or(BucketsFull)?, key_word, value_word, key.rest);
        Ok(())
    }

    /// Begins to replace an entry by one in front of it. None if there is no entry, or no room. A
    /// grace period later [`Self::end`] has to follow.
    pub fn replace(&mut self, key: &Key, key_word: u64, value_word: u64) -> Displacements {
        let Some(before) = self.place_of(key) else {
            return Displacements::default();
        };
        let Some(place) = self.places_of(key).find(|at| self.is_free(*at)) else {
            return Displacements::default();
        };
        self.write(place, key_word, value_word, key.rest);
        Displacements(vec![before])
    }

    /// Takes an entry away.
    pub fn remove(&mut self, key: &Key) {
        if let Some(at) = self.place_of(key) {
            self.clear(at);
        }
    }

    /// Whether some place rests.
    pub fn has_quarantined(&self) -> bool {
        !self.quarantined.is_empty()
    }

    /// Makes the places that rested free: every program that ran when they were taken away has
    /// ended.
    pub fn end_quarantine(&mut self) {
        self.quarantined.clear();
    }

    /// Begins to make room for keys that had none: entries in their way, or in the way of those,
    /// are written to their other lines, too. A grace period later [`Self::end`] has to follow.
    /// More than one round of this may be needed.
    pub fn begin<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>) -> Displacements {
        let mut taken = HashSet::new();
        let mut moves = Vec::new();
        for key in keys {
            if let Some((from, to)) = self.last_step(key, &taken) {
                let Entry { found, rest } = self.entry(from);
                self.write(to, found.key_word, found.value_word, rest);
                taken.extend([from, to]);
                moves.push(from);
            }
        }
        Displacements(moves)
    }

    /// Ends it: takes them away from the lines that they stood in first.
    pub fn end(&mut self, moves: Displacements) {
        for at in moves.0 {
            self.clear(at);
        }
    }

    /// Takes away what stands twice since a writer ended before [`Self::end`]: the one that a look
    /// finds stays.
    pub fn repair_duplicates(&mut self) {
        let places: Vec<usize> = self.places().collect();
        for at in places {
            let Entry { found, rest } = self.entry(at);
            if self.place_of(&self.key(found.key_word, rest)) != Some(at) {
                self.clear(at);
            }
        }
    }

    /// The place that can be emptied into a free one, on the shortest way to room for a key.
    fn last_step(&self, key: &Key, taken: &HashSet<usize>) -> Option<(usize, usize)> {
        let (first, second) = self.geometry.buckets_of(key);
        // Who has put a place into the queue stands for it: the first hop of the way is made last,
        // in a later round.
        let mut queue: VecDeque<u32> = [first, second].into();
        let mut seen: HashSet<u32> = [first, second].into();
        let mut looked_at = 0;
        while let Some(bucket) = queue.pop_front() {
            for at in Self::in_line(bucket) {
                looked_at += 1;
                if looked_at > LONGEST_SEARCH {
                    return None;
                }
                if taken.contains(&at) || self.words.load(at) == 0 {
                    continue;
                }
                let Entry { found, rest } = self.entry(at);
                let (one, two) = self.geometry.buckets_of(&self.key(found.key_word, rest));
                let other = if one == bucket { two } else { one };
                if let Some(free) = self.free_in(other) {
                    return Some((at, free));
                }
                if seen.insert(other) {
                    queue.push_back(other);
                }
            }
        }
        None
    }

    fn key(&self, key_word: u64, rest: [u64; 2]) -> Key {
        Key {
            key_word: key_word & self.mask,
            mask: self.mask,
            rest,
        }
    }

    /// The places of a line.
    fn in_line(bucket: u32) -> impl Iterator<Item = usize> + use<S, W> {
        let start = bucket as usize * BUCKET_WORDS;
        (start..start + BUCKET_WORDS).step_by(S::WORDS)
    }

    /// The places in use.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let all = (0..self.words.count()).step_by(S::WORDS);
        all.filter(|at| self.words.load(*at) & USED != 0)
    }

    /// The places that a key can have, in the order in which they are looked at.
    fn places_of(&self, key: &Key) -> impl Iterator<Item = usize> + use<S, W> {
        let (first, second) = self.geometry.buckets_of(key);
        Self::in_line(first).chain(Self::in_line(second))
    }

    fn place_of(&self, key: &Key) -> Option<usize> {
        let (first, second) = self.geometry.buckets_of(key);
        let in_line = |bucket| Self::in_line(bucket).find(|at| self.is_at(*at, key));
        in_line(first).or_else(|| in_line(second))
    }

    fn is_at(&self, at: usize, key: &Key) -> bool {
        self.words.load(at) & key.mask == key.key_word && self.rest(at) == key.rest
    }

    fn found(&self, at: usize) -> Found {
        Found {
            key_word: self.words.load(at),
            value_word: self.words.load(at + 1),
        }
    }

    fn rest(&self, at: usize) -> [u64; 2] {
        if S::WORDS == 4 {
            [self.words.load(at + 2), self.words.load(at + 3)]
        } else {
            [0; 2]
        }
    }

    fn entry(&self, at: usize) -> Entry {
        Entry {
            found: self.found(at),
            rest: self.rest(at),
        }
    }

    fn free_in(&self, bucket: u32) -> Option<usize> {
        Self::in_line(bucket).find(|at| self.is_free(*at))
    }

    fn is_free(&self, at: usize) -> bool {
        self.words.load(at) == 0 && !self.quarantined.contains(&at)
    }

    /// The head last: with it the entry is there.
    fn write(&self, at: usize, key_word: u64, value_word: u64, rest: [u64; 2]) {
        if S::WORDS == 4 {
            self.words.store(at + 2, rest[0]);
            self.words.store(at + 3, rest[1]);
        }
        self.words.store(at + 1, value_word);
        self.words.store(at, key_word);
    }

    fn clear(&mut self, at: usize) {
        self.words.store(at, 0);
        self.quarantined.insert(at);
    }
}

/// Numbers of elements that are handed out, used by many, and rest before another content gets
/// them.
#[derive(Debug)]
pub struct Pool {
    users: HashMap<u32, u32>,
    quarantined: Vec<u32>,
    free: Vec<u32>,
    /// The lowest that was never handed out.
    next: u32,
    end: u32,
}

impl Pool {
    /// The numbers from `first` to below `end`.
    pub fn new(first: u32, end: u32) -> Self {
        Self {
            users: HashMap::new(),
            quarantined: Vec::new(),
            free: Vec::new(),
            next: first,
            end,
        }
    }

    /// The numbers that are in use already, each as often as it is named; those of `seen` in
    /// between rest.
    pub fn recover(first: u32, end: u32, used: impl IntoIterator<Item = u32>) -> Self {
        let mut pool = Self::new(first, end);
        for number in used {
            *pool.users.entry(number).or_default() += 1;
        }
        pool.next = pool
            .users
            .keys()
            .max()
            .map_or(first, |last| last + 1)
            .max(first);
        pool.quarantined = (first..pool.next)
            .filter(|number| !pool.users.contains_key(number))
            .collect();
        pool
    }

    /// A number for a new content, with one user; `None` if all are in use or rest.
    pub fn take(&mut self) -> Option<u32> {
        let number = self.free.pop().or_else(|| {
            let number = self.next;
            (number < self.end).then(|| {
                self.next += 1;
                number
            })
        })?;
        self.users.insert(number, 1);
        Some(number)
    }

    /// One more user of a number, which may have none: what leads to it was not known.
    pub fn claim(&mut self, number: u32) {
        if !self.users.contains_key(&number) {
            self.quarantined.retain(|other| *other != number);
            self.free.retain(|other| *other != number);
            if number >= self.next {
                self.quarantined.extend(self.next..number);
                self.next = number + 1;
            }
        }
        self.share(number);
    }

    /// One more user of a number.
    pub fn share(&mut self, number: u32) {
        *self.users.entry(number).or_default() += 1;
    }

    /// One user less; returns whether it was the last.
    pub fn give_back(&mut self, number: u32) -> bool {
        let Some(users) = self.users.get_mut(&number) else {
            return false;
        };
        *users -= 1;
        let last = *users == 0;
        if last {
            self.users.remove(&number);
            self.quarantined.push(number);
        }
        last
    }

    /// Whether some number rests.
    pub fn has_quarantined(&self) -> bool {
        !self.quarantined.is_empty()
    }

    /// Makes them free; see [`Index::wake`].
    pub fn end_quarantine(&mut self) {
        self.free.append(&mut self.quarantined);
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
