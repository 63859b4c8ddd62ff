//! Where the record of an address stands: hash tables made of cache lines.
//!
//! A table is an array of lines of 64 bytes, each with room for four entries of IPv4 or two of
//! IPv6. A key belongs into one of two lines, so that a lookup touches one line mostly and two at
//! most. Everything that a packet needs to know of an address is in its entry ([`entry`]); there is
//! no chain, no lock and no second record to find.
//!
//! One writer changes a table while programs read it. What makes that safe:
//!
//! - An entry's *head* says whose it is, and is 0 where there is none. It never changes while the
//!   entry is there. The writer stores it last, and takes it away first.
//! - All that can change of an entry is its *payload*, one word that is stored at once.
//! - The place of an entry that was taken away rests until every program that ran meanwhile has
//!   ended: so what a program reads after the head belongs to that head.
//! - An entry that has to make room is written to its other line before it is taken away from the
//!   first, a grace period apart: so a program that looks in both, in whatever moment, finds it.
//! - An entry whose head changes is one that is written anew: behind the old one in the order in
//!   which a program looks, which is taken away at once, or else in front of it, which is taken
//!   away a grace period later.
//!
//! Readers need their loads in the order of the program, which x86-64 gives; the other side is in
//! `eip_dp_user::kernel`.

mod entry;

use core::ops::Range;

pub use entry::{EipEntry, Keyed, SLOTS, SourceEntry, TARGETS, VPCS};

/// A line: 64 bytes.
pub type Bucket = [u64; BUCKET_WORDS];

/// Words in a line.
pub const BUCKET_WORDS: usize = 8;

/// What an entry's head has if it is in use.
pub const USED: u64 = 1 << 63;

/// What is looked up: the words that say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The head, but for what is not the key's.
    pub key_word: u64,
    /// Which bits of the head that are.
    pub mask: u64,
    /// What an entry has of its key besides, if it has four words.
    pub rest: [u64; 2],
}

/// How a kind of table is made up.
pub trait Shape {
    /// The words of an entry: head, payload, and of four words the key's rest.
    const WORDS: usize;
}

/// Two words an entry: IPv4.
#[derive(Clone, Copy, Debug)]
pub struct Short;

/// Four words an entry: IPv6.
#[derive(Clone, Copy, Debug)]
pub struct Long;

impl Shape for Short {
    const WORDS: usize = 2;
}

impl Shape for Long {
    const WORDS: usize = 4;
}

/// How large a table is, and how its keys are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// How many lines it has, at least 2 and at most 2^31.
    pub buckets: u32,
    /// Any number, so that nobody can choose addresses that all belong into one line.
    pub seed: u64,
}

/// An entry that was found; the head is 0 if there is none. Not an `Option`, see
/// [`crate::tables::find`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its head.
    pub key_word: u64,
    /// Its payload.
    pub value_word: u64,
}

impl Found {
    /// Nothing.
    pub const NOTHING: Self = Self {
        key_word: 0,
        value_word: 0,
    };

    /// Whether there is none.
    #[inline(always)]
    pub const fn is_nothing(self) -> bool {
        self.key_word == 0
    }
}

impl Geometry {
    /// As many lines as `entries` entries need: three places of four are filled at most with
    /// IPv4's, two of three with IPv6's, and a small table gets more.
    pub fn buckets_for<S: Shape>(entries: u32) -> u32 {
        let a_line = (BUCKET_WORDS / S::WORDS) as u64;
        let places = if S::WORDS == 2 {
            u64::from(entries) * 4 / 3
        } else {
            u64::from(entries) * 3 / 2
        };
        let buckets = places.div_ceil(a_line) + SPARE;
        // Fewer than 2^32: an entry takes less than a line.
        u32::try_from(buckets).unwrap_or(u32::MAX)
    }

    /// The two lines that a key belongs into, the one that is looked at first first.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the halves of a word")]
    pub fn buckets_of(self, key: &Key) -> (u32, u32) {
        let hash = hash(key, self.seed);
        let first = scaled((hash >> 32) as u32, self.buckets);
        let step = scaled(hash as u32, self.buckets - 1);
        let second = first + 1 + step;
        let second = if second >= self.buckets {
            second - self.buckets
        } else {
            second
        };
        (first, second)
    }
}

/// The elements of another array of `elements` where what belongs to a key is best put: those of
/// one cache line, which has `in_a_line`. A program that knows the key can have the line fetched
/// before it knows which it is.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the upper half of a word")]
pub fn home(key: &Key, seed: u64, elements: u32, in_a_line: u32) -> Range<u32> {
    let first = scaled((hash(key, seed) >> 32) as u32, elements / in_a_line) * in_a_line;
    first..first + in_a_line
}

/// Multiplications and shifts, two rounds for a key of one word.
#[inline(always)]
fn hash(key: &Key, seed: u64) -> u64 {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xd6e8_feb8_6659_fd93;
    let mut hash = key.key_word ^ seed;
    if key.rest != [0; 2] {
        hash = (hash ^ key.rest[0]).wrapping_mul(A);
        hash = (hash ^ hash >> 32 ^ key.rest[1]).wrapping_mul(B);
        hash ^= hash >> 29;
    }
    hash = hash.wrapping_mul(A);
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(B);
    hash ^ hash >> 32
}

/// Lines that a table has in any case.
const SPARE: u64 = 16;

/// A number of 32 bits, brought into `0..range`.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "less than `range`")]
const fn scaled(number: u32, range: u32) -> u32 {
    ((number as u64 * range as u64) >> 32) as u32
}

/// Looks a key up. `word` reads a word of a line, each time anew and in this order, or 0 where
/// there is no such line.
#[inline(always)]
pub fn find<S: Shape>(
    geometry: Geometry,
    key: &Key,
    bucket: impl Fn(u32) -> Option<*const Bucket>,
    load: impl Fn(*const u64) -> u64,
) -> Found {
    let (first, second) = geometry.buckets_of(key);
    let found = search::<S>(key, bucket(first), &load);
    if !found.is_nothing() {
        return found;
    }
    search::<S>(key, bucket(second), &load)
}

#[inline(always)]
fn search<S: Shape>(
    key: &Key,
    bucket: Option<*const Bucket>,
    load: &impl Fn(*const u64) -> u64,
) -> Found {
    let Some(bucket) = bucket else {
        return Found::NOTHING;
    };
    let words = bucket.cast::<u64>();
    let mut at = 0;
    while at < BUCKET_WORDS {
        // The head first: only what is in use stands still.
        let key_word = load(words.wrapping_add(at));
        if key_word & key.mask == key.key_word
            && (S::WORDS == 2
                || (load(words.wrapping_add(at + 2)) == key.rest[0]
                    && load(words.wrapping_add(at + 3)) == key.rest[1]))
        {
            let value_word = load(words.wrapping_add(at + 1));
            return Found {
                key_word,
                value_word,
            };
        }
        at += S::WORDS;
    }
    Found::NOTHING
}

#[cfg(test)]
mod tests;
