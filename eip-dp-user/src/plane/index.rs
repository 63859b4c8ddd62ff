//! The writer of an index: see [`eip_dp_common::index`] for what stands where and what readers rely on.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    marker::PhantomData,
};

use eip_dp_common::index::{Found, Geometry, Key, LINE_WORDS, Shape, USED};

use super::mapped::Words;

/// An index, and what only its writer knows of it.
pub struct Index<S, W> {
    words: W,
    geometry: Geometry,
    /// Which bits of a head are the key's.
    mask: u64,
    /// Places whose entry was taken away, by word: a program may still be reading there.
    resting: HashSet<usize>,
    shape: PhantomData<S>,
}

/// There is no place for an entry in its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

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
pub struct Moves(Vec<usize>);

impl Moves {
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

impl<S: Shape, W: Words> Index<S, W> {
    /// Takes over an index as it stands.
    pub fn new(words: W, seed: u64, mask: u64) -> Self {
        let lines = u32::try_from(words.count() / LINE_WORDS).unwrap_or(u32::MAX);
        Self {
            words,
            geometry: Geometry { lines, seed },
            mask,
            resting: HashSet::new(),
            shape: PhantomData,
        }
    }

    /// Looks a key up.
    pub fn get(&self, key: &Key) -> Found {
        self.place_of(key)
            .map_or(Found::NOTHING, |at| self.found(at))
    }

    /// Has the processor fetch the lines of a key that is looked up soon: for each by itself it would wait.
    pub fn fetch(&self, key: &Key) {
        let (first, second) = self.geometry.lines_of(key);
        for line in [first, second] {
            self.words.fetch(line as usize * LINE_WORDS);
        }
    }

    /// All entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.places().map(|at| self.entry(at))
    }

    /// Stores an entry. One with another head under the same key is replaced, without a moment in which there is none: by one
    /// behind it, where who did not find it any more looks next. If only places in front of it are free, [`Self::replace`]
    /// has to be called.
    pub fn put(&mut self, key: &Key, head: u64, payload: u64) -> Result<(), NoRoom> {
        let Some(before) = self.place_of(key) else {
            return self.add(key, head, payload);
        };
        if self.words.load(before) == head {
            self.words.store(before + 1, payload);
            return Ok(());
        }
        let mut behind = self.places_of(key).skip_while(|at| *at != before);
        let place = behind.find(|at| self.is_free(*at)).ok_or(NoRoom)?;
        self.write(place, head, payload, key.rest);
        self.clear(before);
        Ok(())
    }

    /// Stores an entry under a key that has none, as [`Self::put`] does.
    pub fn add(&mut self, key: &Key, head: u64, payload: u64) -> Result<(), NoRoom> {
        let (first, second) = self.geometry.lines_of(key);
        let place = self.free_in(first).or_else(|| self.free_in(second));
        self.write(place.ok_or(NoRoom)?, head, payload, key.rest);
        Ok(())
    }

    /// Begins to replace an entry by one in front of it. None if there is no entry, or no room. A grace period later
    /// [`Self::end`] has to follow.
    pub fn replace(&mut self, key: &Key, head: u64, payload: u64) -> Moves {
        let Some(before) = self.place_of(key) else {
            return Moves::default();
        };
        let Some(place) = self.places_of(key).find(|at| self.is_free(*at)) else {
            return Moves::default();
        };
        self.write(place, head, payload, key.rest);
        Moves(vec![before])
    }

    /// Takes an entry away.
    pub fn remove(&mut self, key: &Key) {
        if let Some(at) = self.place_of(key) {
            self.clear(at);
        }
    }

    /// Whether some place rests.
    pub fn has_resting(&self) -> bool {
        !self.resting.is_empty()
    }

    /// Makes the places that rested free: every program that ran when they were taken away has ended.
    pub fn wake(&mut self) {
        self.resting.clear();
    }

    /// Begins to make room for keys that had none: entries in their way, or in the way of those, are written to their other
    /// lines, too. A grace period later [`Self::end`] has to follow. More than one round of this may be needed.
    pub fn begin<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>) -> Moves {
        let mut taken = HashSet::new();
        let mut moves = Vec::new();
        for key in keys {
            if let Some((from, to)) = self.last_step(key, &taken) {
                let Entry { found, rest } = self.entry(from);
                self.write(to, found.head, found.payload, rest);
                taken.extend([from, to]);
                moves.push(from);
            }
        }
        Moves(moves)
    }

    /// Ends it: takes them away from the lines that they stood in first.
    pub fn end(&mut self, moves: Moves) {
        for at in moves.0 {
            self.clear(at);
        }
    }

    /// Takes away what stands twice since a writer ended before [`Self::end`]: the one that a look finds stays.
    pub fn heal(&mut self) {
        let places: Vec<usize> = self.places().collect();
        for at in places {
            let Entry { found, rest } = self.entry(at);
            if self.place_of(&self.key(found.head, rest)) != Some(at) {
                self.clear(at);
            }
        }
    }

    /// The place that can be emptied into a free one, on the shortest way to room for a key.
    fn last_step(&self, key: &Key, taken: &HashSet<usize>) -> Option<(usize, usize)> {
        let (first, second) = self.geometry.lines_of(key);
        // Who has put a place into the queue stands for it: the first hop of the way is made last, in a later round.
        let mut queue: VecDeque<u32> = [first, second].into();
        let mut seen: HashSet<u32> = [first, second].into();
        let mut looked_at = 0;
        while let Some(line) = queue.pop_front() {
            for at in Self::in_line(line) {
                looked_at += 1;
                if looked_at > LONGEST_SEARCH {
                    return None;
                }
                if taken.contains(&at) || self.words.load(at) == 0 {
                    continue;
                }
                let Entry { found, rest } = self.entry(at);
                let (one, two) = self.geometry.lines_of(&self.key(found.head, rest));
                let other = if one == line { two } else { one };
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

    fn key(&self, head: u64, rest: [u64; 2]) -> Key {
        Key {
            head: head & self.mask,
            mask: self.mask,
            rest,
        }
    }

    /// The places of a line.
    fn in_line(line: u32) -> impl Iterator<Item = usize> + use<S, W> {
        let start = line as usize * LINE_WORDS;
        (start..start + LINE_WORDS).step_by(S::WORDS)
    }

    /// The places in use.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let all = (0..self.words.count()).step_by(S::WORDS);
        all.filter(|at| self.words.load(*at) & USED != 0)
    }

    /// The places that a key can have, in the order in which they are looked at.
    fn places_of(&self, key: &Key) -> impl Iterator<Item = usize> + use<S, W> {
        let (first, second) = self.geometry.lines_of(key);
        Self::in_line(first).chain(Self::in_line(second))
    }

    fn place_of(&self, key: &Key) -> Option<usize> {
        let (first, second) = self.geometry.lines_of(key);
        let in_line = |line| Self::in_line(line).find(|at| self.is_at(*at, key));
        in_line(first).or_else(|| in_line(second))
    }

    fn is_at(&self, at: usize, key: &Key) -> bool {
        self.words.load(at) & key.mask == key.head && self.rest(at) == key.rest
    }

    fn found(&self, at: usize) -> Found {
        Found {
            head: self.words.load(at),
            payload: self.words.load(at + 1),
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

    fn free_in(&self, line: u32) -> Option<usize> {
        Self::in_line(line).find(|at| self.is_free(*at))
    }

    fn is_free(&self, at: usize) -> bool {
        self.words.load(at) == 0 && !self.resting.contains(&at)
    }

    /// The head last: with it the entry is there.
    fn write(&self, at: usize, head: u64, payload: u64, rest: [u64; 2]) {
        if S::WORDS == 4 {
            self.words.store(at + 2, rest[0]);
            self.words.store(at + 3, rest[1]);
        }
        self.words.store(at + 1, payload);
        self.words.store(at, head);
    }

    fn clear(&mut self, at: usize) {
        self.words.store(at, 0);
        self.resting.insert(at);
    }
}

/// Numbers of elements that are handed out, used by many, and rest before another content gets them.
#[derive(Debug)]
pub struct Pool {
    users: HashMap<u32, u32>,
    resting: Vec<u32>,
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
            resting: Vec::new(),
            free: Vec::new(),
            next: first,
            end,
        }
    }

    /// The numbers that are in use already, each as often as it is named; those of `seen` in between rest.
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
        pool.resting = (first..pool.next)
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
            self.resting.retain(|other| *other != number);
            self.free.retain(|other| *other != number);
            if number >= self.next {
                self.resting.extend(self.next..number);
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
            self.resting.push(number);
        }
        last
    }

    /// Whether some number rests.
    pub fn has_resting(&self) -> bool {
        !self.resting.is_empty()
    }

    /// Makes them free; see [`Index::wake`].
    pub fn wake(&mut self) {
        self.free.append(&mut self.resting);
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
