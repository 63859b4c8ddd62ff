use proptest::prelude::*;

use super::*;
use crate::abi::{EipMode, NONE, NextHop};

fn slot() -> impl Strategy<Value = u32> {
    prop_oneof![Just(NONE), 0..SLOTS]
}

fn target() -> impl Strategy<Value = u32> {
    prop_oneof![Just(NONE), 0..TARGETS]
}

proptest! {
    #[test]
    fn an_eip_comes_back(
        address in any::<u32>(), slot in 0..SLOTS, other in any::<u32>(), target in target(), mode in 0..15u8,
    ) {
        let words = EipEntry { slot, other, target, mode, hop: 0 };
        let key = EipEntry::key(address.to_ne_bytes());
        let [key_word, value_word] = words.pack(&key);
        prop_assert_eq!(EipEntry::unpack(key_word, value_word), words);
        prop_assert_eq!(key_word & key.mask, key.key_word);
    }

    #[test]
    fn an_eip_with_its_hop_comes_back(slot in 0..SLOTS, mac in any::<[u8; 6]>(), link in 0..1u32 << 15, spoof in any::<bool>()) {
        let hop = NextHop::new(mac, link, spoof);
        let fits = hop.fits();
        prop_assert_eq!(fits != 0, (1..1 << 12).contains(&link));
        let there = NextHop::from_word(fits);
        prop_assert!(fits == 0 || there.is_at(mac, link));
        let mode = EipMode::CutThrough as u8;
        let words = EipEntry { slot, other: 0, target: NONE, mode, hop: fits };
        let key = EipEntry::key([192, 0, 2, 1]);
        let [key_word, value_word] = words.pack(&key);
        prop_assert_eq!(EipEntry::unpack(key_word, value_word), words);
    }

    #[test]
    fn an_address_comes_back(
        address in any::<u32>(), vpc in 0..VPCS, slot in slot(), other in any::<u32>(), target in target(), state in 0..8u8,
    ) {
        let words = SourceEntry { other, slot, target, state };
        let key = SourceEntry::key(vpc, address.to_ne_bytes());
        let [key_word, value_word] = words.pack(&key);
        prop_assert_eq!(SourceEntry::unpack(key_word, value_word), words);
        prop_assert_eq!(key_word & key.mask, key.key_word);
        // Another VPC's address is another key.
        let other = SourceEntry::key(vpc ^ 1, address.to_ne_bytes());
        prop_assert_ne!(key_word & other.mask, other.key_word);
    }

    #[test]
    fn a_key_has_two_lines(key_word in any::<u64>(), rest in any::<[u64; 2]>(), seed in any::<u64>(), buckets in 2..1u32 << 31) {
        let key = Key { key_word, mask: u64::MAX, rest };
        let (first, second) = Geometry { buckets, seed }.buckets_of(&key);
        prop_assert!(first < buckets && second < buckets && first != second);
    }

    /// It begins a cache line, and the line is in the array.
    #[test]
    fn a_home_is_a_line(key_word in any::<u64>(), seed in any::<u64>(), elements in 8..1u32 << 26, shift in 0..4u32) {
        let key = Key { key_word, mask: u64::MAX, rest: [0; 2] };
        let home = home(&key, seed, elements, 1 << shift);
        prop_assert_eq!(home.start % (1 << shift), 0);
        prop_assert_eq!(home.len(), 1 << shift);
        prop_assert!(home.end <= elements);
    }
}

/// Addresses one after another, as pools and subnets have them, fill the lines as evenly as chance
/// does.
#[test]
fn neighbours_are_spread() {
    const LINES: u32 = 4096;
    let geometry = Geometry {
        buckets: LINES,
        seed: 0,
    };
    let mut filled = vec![0u32; LINES as usize];
    for host in 0..3 * LINES {
        let address = u32::from_ne_bytes((0x0a00_0000 + host).to_be_bytes());
        let (first, _) = geometry.buckets_of(&EipEntry::key(address.to_ne_bytes()));
        filled[first as usize] += 1;
    }
    // Of a Poisson distribution with mean 3: 5 % of the lines have none, 18.5 % more than 4.
    let empty = filled.iter().filter(|count| **count == 0).count();
    let over = filled.iter().filter(|count| **count > 4).count();
    assert!((150..260).contains(&empty), "{empty}");
    assert!((650..870).contains(&over), "{over}");
    assert!(filled.iter().all(|count| *count < 16));
}

#[test]
fn every_table_has_room() {
    for entries in [1, 2, 16, 1000, 65_536, 1_000_000, SLOTS] {
        let short = u64::from(Geometry::buckets_for::<Short>(entries)) * 4;
        let long = u64::from(Geometry::buckets_for::<Long>(entries)) * 2;
        assert!(short * 3 >= u64::from(entries) * 4 && long * 2 >= u64::from(entries) * 3);
    }
}
