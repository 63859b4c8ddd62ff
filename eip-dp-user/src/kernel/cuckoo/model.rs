//! Every interleaving of one look with one change, and every value that the memory model lets a
//! load have.
//!
//! The look's loads acquire, which on x86-64 all loads do. A grace period is modelled by a lock
//! that the look holds: who takes it after a store knows that a look either has ended or sees the
//! store.

use std::sync::Arc;

use eip_dp_common::cuckoo::{EipEntry, Long, Short, find};
use loom::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::*;

/// As few as there can be: all keys share both.
const LINES: usize = 2;

/// Words that a reader has, too.
#[derive(Clone)]
struct Modelled(Arc<Vec<AtomicU64>>);

impl Words for Modelled {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn load(&self, at: usize) -> u64 {
        self.0[at].load(Ordering::Acquire)
    }

    fn store(&self, at: usize, word: u64) {
        self.0[at].store(word, Ordering::Release);
    }
}

type Modelling<S> = CuckooTable<S, Modelled>;

/// What the writer waits with for looks that have begun.
type Grace<'a> = &'a dyn Fn();

/// A key of one word or of three.
fn key<S: Shape>(number: u32) -> Key {
    if S::WORDS == 2 {
        EipEntry::key(number.to_ne_bytes())
    } else {
        EipEntry::key(u128::from(number).to_ne_bytes())
    }
}

/// Stores an entry of that version, whose payload says whose it is and which version.
fn put<S: Shape>(index: &mut Modelling<S>, key: &Key, version: u64) -> Result<(), BucketsFull> {
    index.put(
        key,
        key.key_word | version << SLOT,
        value_word::<S>(key, version),
    )
}

/// Where a head has what is not the key's.
const SLOT: u32 = 32;

fn value_word<S: Shape>(key: &Key, version: u64) -> u64 {
    let number = if S::WORDS == 2 {
        key.key_word & 0xffff_ffff
    } else {
        key.rest[0]
    };
    number << 32 | version
}

/// An empty index.
fn index<S: Shape>() -> Modelling<S> {
    let words = (0..LINES * BUCKET_WORDS)
        .map(|_| AtomicU64::new(0))
        .collect();
    CuckooTable::new(Modelled(Arc::new(words)), 7, EipEntry::MASK)
}

/// Keys that look into the line first.
fn in_first<S: Shape>(bucket: u32) -> impl Iterator<Item = Key> {
    let geometry = Geometry {
        buckets: u32::try_from(LINES).expect("few"),
        seed: 7,
    };
    (0..)
        .map(key::<S>)
        .filter(move |key| geometry.buckets_of(key).0 == bucket)
}

/// A look, as a program makes it.
fn look<S: Shape>(words: &Modelled, key: &Key) -> Found {
    let geometry = Geometry {
        buckets: u32::try_from(LINES).expect("few"),
        seed: 7,
    };
    // Never read: says which word is meant.
    let plain = [[0; BUCKET_WORDS]; LINES];
    let start = plain.as_ptr();
    find::<S>(
        geometry,
        key,
        |bucket| Some(start.wrapping_add(bucket as usize)),
        |word| words.load((word.addr() - start.addr()) / size_of::<u64>()),
    )
}

/// Explores a change to what `prepare` made while there is a look for the key that it returns;
/// `change` gets what waits for looks that have begun. `expect` judges what the look found.
fn explore<S: Shape + 'static>(
    prepare: fn(&mut Modelling<S>) -> Key,
    change: fn(&mut Modelling<S>, Grace<'_>),
    expect: fn(&Key, Found),
) {
    loom::model(move || {
        let mut index = index::<S>();
        let wanted = prepare(&mut index);
        let section = Arc::new(Mutex::new(()));
        let reader = thread::spawn({
            let (words, section) = (index.words.clone(), section.clone());
            move || {
                let _inside = section.lock();
                look::<S>(&words, &wanted)
            }
        });
        change(&mut index, &|| drop(section.lock()));
        let found = reader.join().expect("it only reads");
        expect(&wanted, found);
    });
}

/// What is found is of that key, in one piece.
fn is_own<S: Shape>(key: &Key, found: Found) {
    if !found.is_nothing() {
        let version = found.key_word >> SLOT & 0xff;
        assert_eq!(
            found.value_word,
            value_word::<S>(key, version),
            "another's payload"
        );
    }
}

/// What is there all the time is found besides.
fn is_there<S: Shape>(key: &Key, found: Found) {
    assert!(!found.is_nothing(), "an entry is not found");
    is_own::<S>(key, found);
}

/// Fills a line with keys that look there first. Returns them and the one after them.
fn fill<S: Shape>(index: &mut Modelling<S>, bucket: u32) -> (Vec<Key>, Key) {
    let mut keys = in_first::<S>(bucket);
    let inside: Vec<Key> = keys.by_ref().take(BUCKET_WORDS / S::WORDS).collect();
    for key in &inside {
        assert_eq!(put(index, key, 0), Ok(()));
    }
    (inside, keys.next().expect("endless"))
}

/// An entry that stands in its second line, with room in its first.
fn in_second<S: Shape>(index: &mut Modelling<S>) -> Key {
    let (inside, after) = fill(index, 1);
    assert_eq!(put(index, &after, 0), Ok(()));
    index.remove(&inside[0]);
    index.end_quarantine();
    after
}

/// A full line; the key of its first entry.
fn full<S: Shape>(index: &mut Modelling<S>) -> Key {
    fill(index, 0).0[0]
}

/// Takes the first entry of the full line away, and gives its place to another.
fn reuse<S: Shape>(index: &mut Modelling<S>, grace: Grace<'_>) {
    let (first, other) = of_full::<S>();
    index.remove(&first);
    grace();
    index.end_quarantine();
    assert_eq!(put(index, &other, 0), Ok(()));
    assert_eq!(index.words.load(0), other.key_word, "it has the place");
}

/// The first key of [`full`], and one that is not there.
fn of_full<S: Shape>() -> (Key, Key) {
    let mut keys = in_first::<S>(0);
    let first = keys.next().expect("endless");
    (
        first,
        keys.nth(BUCKET_WORDS / S::WORDS - 1).expect("endless"),
    )
}

/// Moves the entry of [`in_second`] into its first line.
fn to_first<S: Shape>(index: &mut Modelling<S>, grace: Grace<'_>) {
    let (other, _) = of_full::<S>();
    let moves = index.begin([&other]);
    assert_eq!(moves.0, [0], "what stands there has room in bucket 1");
    grace();
    index.end(moves);
}

fn insert_and_update<S: Shape + 'static>() {
    explore::<S>(
        |_| of_full::<S>().0,
        |index, _| {
            let (key, _) = of_full::<S>();
            assert_eq!(put(index, &key, 3), Ok(()));
        },
        is_own::<S>,
    );
    explore::<S>(
        full,
        |index, _| {
            let (key, _) = of_full::<S>();
            assert_eq!(index.put(&key, key.key_word, u64::MAX), Ok(()));
        },
        |key, found| {
            assert_eq!(found.key_word, key.key_word);
            assert!([value_word::<S>(key, 0), u64::MAX].contains(&found.value_word));
        },
    );
}

#[test]
fn an_entry_comes_and_changes_in_one_step() {
    insert_and_update::<Short>();
    insert_and_update::<Long>();
}

#[test]
fn a_place_that_rested_can_be_anothers() {
    explore::<Short>(full, reuse, is_own::<Short>);
    explore::<Long>(full, reuse, is_own::<Long>);
    // Who looks for the one that comes.
    let comes = |index: &mut Modelling<Long>| fill(index, 0).1;
    explore::<Long>(comes, reuse, is_own::<Long>);
}

#[test]
#[should_panic(expected = "another's payload")]
fn a_place_that_did_not_rest_cannot() {
    explore::<Short>(full, |index, _| reuse(index, &|| {}), is_own::<Short>);
}

#[test]
fn a_move_loses_nothing() {
    explore::<Short>(in_second, to_first, is_there::<Short>);
    explore::<Long>(in_second, to_first, is_there::<Long>);
}

#[test]
#[should_panic(expected = "an entry is not found")]
fn a_move_at_once_would() {
    explore::<Short>(
        in_second,
        |index, _| to_first(index, &|| {}),
        is_there::<Short>,
    );
}

/// What moved leaves a place that another gets.
#[test]
fn a_move_and_a_newcomer_do_not_mix() {
    let change = |index: &mut Modelling<Long>, grace: Grace<'_>| {
        to_first(index, grace);
        grace();
        index.end_quarantine();
        let (newcomer, _) = of_full::<Long>();
        assert_eq!(put(index, &newcomer, 0), Ok(()));
        assert_eq!(index.words.load(0), newcomer.key_word, "it has the place");
    };
    explore::<Long>(in_second, change, is_there::<Long>);
}

/// Replaces an entry that stands in the last place that it can have by another head.
fn replace<S: Shape>(index: &mut Modelling<S>, grace: Grace<'_>) {
    let key = last::<S>();
    assert_eq!(put(index, &key, 1), Err(BucketsFull), "no place behind it");
    let moves = index.replace(&key, key.key_word | 1 << SLOT, value_word::<S>(&key, 1));
    assert_eq!(moves.0.len(), 1);
    grace();
    index.end(moves);
}

/// The key of the entry that [`in_last`] returns.
fn last<S: Shape>() -> Key {
    let mut keys = in_first::<S>(1);
    keys.nth(2 * BUCKET_WORDS / S::WORDS - 1).expect("endless")
}

/// All places are taken but the first.
fn in_last<S: Shape>(index: &mut Modelling<S>) -> Key {
    let all: Vec<Key> = in_first::<S>(1).take(2 * BUCKET_WORDS / S::WORDS).collect();
    for key in &all {
        assert_eq!(put(index, key, 0), Ok(()));
    }
    index.remove(&all[0]);
    index.end_quarantine();
    last::<S>()
}

#[test]
fn another_head_in_front_takes_an_entrys_place() {
    explore::<Short>(in_last, replace, is_there::<Short>);
    explore::<Long>(in_last, replace, is_there::<Long>);
}

#[test]
#[should_panic(expected = "an entry is not found")]
fn another_head_in_front_needs_a_grace_period() {
    explore::<Short>(
        in_last,
        |index, _| replace(index, &|| {}),
        is_there::<Short>,
    );
}

#[test]
fn another_head_behind_takes_an_entrys_place_at_once() {
    let change = |index: &mut Modelling<Short>, _: Grace<'_>| {
        let (first, _) = of_full::<Short>();
        assert_eq!(put(index, &first, 1), Ok(()));
    };
    explore::<Short>(full, change, is_there::<Short>);
}
