use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use eip_dp_common::cuckoo::{EipEntry, Long, Short, find};
use fastrand::Rng;

use super::*;

fn empty<S: Shape>(buckets: usize) -> CuckooTable<S, Vec<AtomicU64>> {
    let words = (0..buckets * BUCKET_WORDS)
        .map(|_| AtomicU64::new(0))
        .collect();
    CuckooTable::new(words, 7, EipEntry::MASK)
}

/// A key of one word or of three.
fn key<S: Shape>(number: u32) -> Key {
    if S::WORDS == 2 {
        EipEntry::key(number.to_ne_bytes())
    } else {
        EipEntry::key(u128::from(number).to_ne_bytes())
    }
}

/// Puts an entry in, making room where there is none. Returns how many rounds that took, `None` if
/// there is no way.
fn insert<S: Shape, W: Words>(
    index: &mut CuckooTable<S, W>,
    key: &Key,
    key_word: u64,
    value_word: u64,
    mut grace: impl FnMut(&CuckooTable<S, W>),
) -> Option<u32> {
    for round in 0.. {
        if index.put(key, key_word, value_word).is_ok() {
            return Some(round);
        }
        if index.has_quarantined() {
            grace(index);
            index.end_quarantine();
            if index.put(key, key_word, value_word).is_ok() {
                return Some(round);
            }
        }
        let replaced = index.replace(key, key_word, value_word);
        if !replaced.is_empty() {
            grace(index);
            index.end(replaced);
            return Some(round);
        }
        let moves = index.begin([key]);
        if moves.is_empty() {
            return None;
        }
        grace(index);
        index.end(moves);
    }
    None
}

fn holds_all<S: Shape>() {
    const ENTRIES: u32 = 20_000;
    let buckets = Geometry::buckets_for::<S>(ENTRIES) as usize;
    let mut index = empty::<S>(buckets);
    for number in 0..ENTRIES {
        let key = key::<S>(number);
        insert(&mut index, &key, key.key_word, number.into(), |_| {})
            .expect("room for as many as were asked for");
    }
    for number in 0..ENTRIES {
        assert_eq!(index.get(&key::<S>(number)).value_word, u64::from(number));
    }
    assert_eq!(index.entries().count(), ENTRIES as usize);
    assert!(index.get(&key::<S>(ENTRIES)).is_nothing());
}

#[test]
fn an_index_holds_as_many_as_it_was_made_for() {
    holds_all::<Short>();
    holds_all::<Long>();
}

#[test]
fn a_full_index_says_so() {
    let mut index = empty::<Short>(2);
    for number in 0..8 {
        let key = key::<Short>(number);
        assert!(insert(&mut index, &key, key.key_word, 1, |_| {}).is_some());
    }
    let key = key::<Short>(8);
    assert!(insert(&mut index, &key, key.key_word, 1, |_| {}).is_none());
}

#[test]
fn a_place_rests_before_another_gets_it() {
    let mut index = empty::<Short>(2);
    for number in 0..8 {
        let key = key::<Short>(number);
        assert!(insert(&mut index, &key, key.key_word, 1, |_| {}).is_some());
    }
    index.remove(&key::<Short>(3));
    assert_eq!(
        index.put(&key::<Short>(9), key::<Short>(9).key_word, 1),
        Err(BucketsFull)
    );
    index.end_quarantine();
    assert_eq!(
        index.put(&key::<Short>(9), key::<Short>(9).key_word, 1),
        Ok(())
    );
}

#[test]
fn an_entry_that_stands_twice_is_mended() {
    let mut index = empty::<Short>(64);
    let one = key::<Short>(1);
    index.put(&one, one.key_word, 5).expect("room");
    // As if its writer had ended after `begin`.
    let (first, second) = index.geometry.buckets_of(&one);
    for bucket in [first, second] {
        let at = bucket as usize * BUCKET_WORDS;
        if index.words.load(at) == 0 {
            index.write(at, one.key_word, 5, [0; 2]);
        }
    }
    assert_eq!(index.entries().count(), 2);
    index.repair_duplicates();
    assert_eq!(index.entries().count(), 1);
    assert_eq!(index.get(&one).value_word, 5);
}

/// Random changes against a map of the standard library.
fn like_a_map<S: Shape>() {
    let mut index = empty::<S>(40);
    let mut model = BTreeMap::new();
    let mut rng = Rng::with_seed(3);
    // What 40 lines are made for.
    let most = if S::WORDS == 2 { 72 } else { 32 };
    for step in 0..50_000_u64 {
        let number = rng.u32(0..400);
        let key = key::<S>(number);
        if rng.u8(0..3) == 0 {
            index.remove(&key);
            model.remove(&number);
        } else if model.contains_key(&number) || model.len() < most {
            // A head that differs in what is not the key's: another slot.
            let key_word = key.key_word | u64::from(rng.u32(0..4)) << 32;
            insert(&mut index, &key, key_word, step, |_| {}).expect("room");
            model.insert(number, (key_word, step));
        }
        if rng.u8(0..20) == 0 {
            index.end_quarantine();
        }
        let found = index.get(&key);
        let wanted = model.get(&number).copied().unwrap_or_default();
        assert_eq!((found.key_word, found.value_word), wanted);
        if step % 1000 == 0 {
            assert_eq!(index.entries().count(), model.len());
        }
    }
}

#[test]
fn an_index_is_a_map() {
    like_a_map::<Short>();
    like_a_map::<Long>();
}

/// A reader that runs beside the writer finds every entry that is there all the time, and never
/// another one's payload.
fn under_churn<S: Shape + Sync + Send + 'static>() {
    const STEADY: u32 = 24;
    // So few lines that entries are in each other's way.
    let buckets = if S::WORDS == 2 { 14 } else { 28 };
    let words: Arc<Vec<AtomicU64>> = Arc::new(
        (0..buckets * BUCKET_WORDS)
            .map(|_| AtomicU64::new(0))
            .collect(),
    );
    let mask = EipEntry::MASK;
    let mut index: CuckooTable<S, Shared> = CuckooTable::new(Shared(words.clone()), 7, mask);
    let geometry = index.geometry;
    for number in 0..STEADY {
        let key = key::<S>(number);
        insert(
            &mut index,
            &key,
            key.key_word,
            u64::from(number) << 32,
            |_| {},
        )
        .expect("room");
    }
    // Every look is a section of its own: it counts when it begins and when it ends.
    let (looks, done) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let reader = std::thread::spawn({
        let (words, looks, done) = (words.clone(), looks.clone(), done.clone());
        move || {
            let mut rng = Rng::with_seed(9);
            while !done.load(Ordering::Relaxed) {
                looks.fetch_add(1, Ordering::SeqCst);
                let number = rng.u32(0..2 * STEADY);
                let start = words.as_ptr();
                let found = find::<S>(
                    geometry,
                    &key::<S>(number),
                    |bucket| Some(start.wrapping_add(bucket as usize * BUCKET_WORDS).cast()),
                    // SAFETY: `find` reads within lines, all of which are there.
                    |word| unsafe { (*word.cast::<AtomicU64>()).load(Ordering::Acquire) },
                );
                looks.fetch_add(1, Ordering::SeqCst);
                assert!(
                    number >= STEADY || !found.is_nothing(),
                    "{number} is not found"
                );
                if !found.is_nothing() {
                    assert_eq!(
                        found.value_word >> 32,
                        u64::from(number),
                        "another's payload"
                    );
                }
            }
        }
    });
    // Once the reader is out of the look that it was in, nothing that was seen before is in its
    // hands.
    let grace = |_: &CuckooTable<S, Shared>| {
        let begun = looks.load(Ordering::SeqCst);
        while begun % 2 == 1 && looks.load(Ordering::SeqCst) == begun {
            std::thread::yield_now();
        }
    };
    let mut rng = Rng::with_seed(4);
    let mut rounds = 0;
    for step in 0..20_000_u64 {
        let number = rng.u32(0..2 * STEADY);
        let key = key::<S>(number);
        if number >= STEADY && rng.bool() {
            index.remove(&key);
        } else {
            let value_word = u64::from(number) << 32 | step & 0xffff;
            let key_word = key.key_word | (step % 3) << 32;
            let made = insert(&mut index, &key, key_word, value_word, grace);
            assert!(made.is_some() || number >= STEADY, "{number} has a place");
            rounds += made.unwrap_or_default();
        }
    }
    done.store(true, Ordering::Relaxed);
    reader.join().expect("the reader found what it had to");
    assert!(rounds > 10, "nothing had to make room: {rounds}");
}

/// Words that a reader has, too.
struct Shared(Arc<Vec<AtomicU64>>);

impl Words for Shared {
    fn count(&self) -> usize {
        Words::count(&*self.0)
    }

    fn load(&self, at: usize) -> u64 {
        Words::load(&*self.0, at)
    }

    fn store(&self, at: usize, word: u64) {
        Words::store(&*self.0, at, word);
    }
}

#[test]
fn a_reader_finds_what_is_there_while_all_else_moves() {
    under_churn::<Short>();
    under_churn::<Long>();
}

#[test]
fn a_number_rests_before_another_content_gets_it() {
    let mut pool = Pool::recover(1, 4, [2, 2]);
    assert_eq!(pool.take(), Some(3));
    assert_eq!(pool.take(), None, "1 rests");
    assert!(!pool.give_back(2), "it has another user");
    assert!(pool.give_back(2));
    pool.end_quarantine();
    let mut taken = [pool.take(), pool.take()];
    taken.sort_unstable();
    assert_eq!(taken, [Some(1), Some(2)]);
}
