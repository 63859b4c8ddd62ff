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
        let words = EipWords { slot, other, target, mode, hop: 0 };
        let key = EipWords::key(address.to_ne_bytes());
        let [head, payload] = words.pack(&key);
        prop_assert_eq!(EipWords::unpack(head, payload), words);
        prop_assert_eq!(head & key.mask, key.head);
    }

    #[test]
    fn an_eip_with_its_hop_comes_back(slot in 0..SLOTS, mac in any::<[u8; 6]>(), link in 0..1u32 << 15, spoof in any::<bool>()) {
        let hop = NextHop::new(mac, link, spoof);
        let fits = hop.fits();
        prop_assert_eq!(fits != 0, (1..1 << 12).contains(&link));
        let there = NextHop::from_word(fits);
        prop_assert!(fits == 0 || there.is_at(mac, link));
        let mode = EipMode::CutThrough as u8;
        let words = EipWords { slot, other: 0, target: NONE, mode, hop: fits };
        let key = EipWords::key([192, 0, 2, 1]);
        let [head, payload] = words.pack(&key);
        prop_assert_eq!(EipWords::unpack(head, payload), words);
    }

    #[test]
    fn an_address_comes_back(
        address in any::<u32>(), vpc in 0..VPCS, slot in slot(), other in any::<u32>(), target in target(), state in 0..8u8,
    ) {
        let words = PrivateWords { other, slot, target, state };
        let key = PrivateWords::key(vpc, address.to_ne_bytes());
        let [head, payload] = words.pack(&key);
        prop_assert_eq!(PrivateWords::unpack(head, payload), words);
        prop_assert_eq!(head & key.mask, key.head);
        // Another VPC's address is another key.
        let other = PrivateWords::key(vpc ^ 1, address.to_ne_bytes());
        prop_assert_ne!(head & other.mask, other.head);
    }

    #[test]
    fn a_key_has_two_lines(head in any::<u64>(), rest in any::<[u64; 2]>(), seed in any::<u64>(), lines in 2..1u32 << 31) {
        let key = Key { head, mask: u64::MAX, rest };
        let (first, second) = Geometry { lines, seed }.lines_of(&key);
        prop_assert!(first < lines && second < lines && first != second);
    }

    /// It begins a cache line, and the line is in the array.
    #[test]
    fn a_home_is_a_line(head in any::<u64>(), seed in any::<u64>(), elements in 8..1u32 << 26, shift in 0..4u32) {
        let key = Key { head, mask: u64::MAX, rest: [0; 2] };
        let home = home(&key, seed, elements, 1 << shift);
        prop_assert_eq!(home.start % (1 << shift), 0);
        prop_assert_eq!(home.len(), 1 << shift);
        prop_assert!(home.end <= elements);
    }
}

/// Addresses one after another, as pools and subnets have them, fill the lines as evenly as chance does.
#[test]
fn neighbours_are_spread() {
    const LINES: u32 = 4096;
    let geometry = Geometry {
        lines: LINES,
        seed: 0,
    };
    let mut filled = vec![0u32; LINES as usize];
    for host in 0..3 * LINES {
        let address = u32::from_ne_bytes((0x0a00_0000 + host).to_be_bytes());
        let (first, _) = geometry.lines_of(&EipWords::key(address.to_ne_bytes()));
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
        let short = u64::from(Geometry::lines_for::<Short>(entries)) * 4;
        let long = u64::from(Geometry::lines_for::<Long>(entries)) * 2;
        assert!(short * 3 >= u64::from(entries) * 4 && long * 2 >= u64::from(entries) * 3);
    }
}
