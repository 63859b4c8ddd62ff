//! The Internet checksum, changed incrementally (RFC 1071, RFC 1624).
//!
//! A checksum field holds `~S`, where `S` is the ones' complement sum of the words that it covers.
//! When a word changes from `m` to `m'`, the new field is `~(~field + ~m + m')` (RFC 1624, equation
//! 3). The part that hangs on the words alone, `~m + m'`, is a [`Delta`]: it is computed once per
//! association and added to every packet. Because only the difference is added, a field that was
//! wrong stays wrong by the same amount. All sums are over words in the order of the wire; since
//! ones' complement addition does not care about byte order (RFC 1071, 2 (B)), words are read in
//! the host's order and never swapped.

/// The ones' complement sum of the changes `~m + m'` of some words, folded to 16 bits, in the
/// host's byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(u16);

impl Delta {
    /// No change.
    pub const NONE: Self = Self(0);

    /// The first byte of a word becomes one less, as the hop limit in an IPv4 header does.
    pub const ONE_HOP: Self = Self(u16::from_ne_bytes([0xfe, 0xff]));

    /// Reads a delta out of a record.
    #[inline(always)]
    pub const fn from_record(value: u16) -> Self {
        Self(value)
    }

    /// The form in which a record keeps it.
    #[inline(always)]
    pub const fn to_record(self) -> u16 {
        self.0
    }

    /// The change of `old` into `new`, both of the same even length.
    #[inline(always)]
    pub fn between<const N: usize>(old: &[u8; N], new: &[u8; N]) -> Self {
        const { assert!(N.is_multiple_of(2)) };
        let mut sum = 0u32;
        let mut index = 0;
        while index < N {
            sum += u32::from(!u16::from_ne_bytes([old[index], old[index + 1]]));
            sum += u32::from(u16::from_ne_bytes([new[index], new[index + 1]]));
            index += 2;
        }
        Self(fold(sum))
    }

    /// Both changes.
    #[inline(always)]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(fold(u32::from(self.0) + u32::from(other.0)))
    }

    /// The checksum field after the change.
    #[inline(always)]
    pub fn apply(self, field: [u8; 2]) -> [u8; 2] {
        let sum = u32::from(!u16::from_ne_bytes(field)) + u32::from(self.0);
        (!fold(sum)).to_ne_bytes()
    }
}

/// Adds the carries back in until the sum has 16 bits.
#[inline(always)]
pub const fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    // Two folds of a 32-bit sum always fit.
    #[allow(clippy::cast_possible_truncation)]
    let folded = twice as u16;
    folded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::wire;

    fn delta(old: [u8; 4], new: [u8; 4]) -> Delta {
        Delta::between(&old, &new)
    }

    /// RFC 1624, section 4: 0x5555 becomes 0x3285 under a checksum of 0xDD2F, which becomes 0x0000
    /// and not 0xFFFF.
    #[test]
    fn the_example_of_rfc_1624() {
        let change = Delta::between(&[0x55, 0x55], &[0x32, 0x85]);
        assert_eq!(change.apply([0xdd, 0x2f]), [0x00, 0x00]);
    }

    #[test]
    fn a_hop_is_one_less() {
        for ttl in 1..=u8::MAX {
            let change = Delta::between(&[ttl, 17], &[ttl - 1, 17]);
            assert_eq!(change, Delta::ONE_HOP);
        }
    }

    #[test]
    fn no_change_changes_nothing() {
        assert_eq!(Delta::NONE.apply([0x12, 0x34]), [0x12, 0x34]);
        assert_eq!(
            delta([1, 2, 3, 4], [1, 2, 3, 4]).apply([0x12, 0x34]),
            [0x12, 0x34]
        );
    }

    proptest! {
        /// What is added is what a checksum from scratch comes to.
        #[test]
        fn incremental_is_from_scratch(
            mut data in proptest::collection::vec(any::<u8>(), 12..64),
            new in any::<[u8; 4]>(),
        ) {
            data[0] |= 1;
            let before = (!wire::fold(&data)).to_be_bytes();
            let old = [data[4], data[5], data[6], data[7]];
            data[4..8].copy_from_slice(&new);
            let after = (!wire::fold(&data)).to_be_bytes();
            prop_assert_eq!(delta(old, new).apply(before), after);
        }

        /// A field that is wrong by some amount is wrong by the same after, in ones' complement.
        #[test]
        fn wrong_stays_as_wrong(field in any::<u16>(), old in any::<[u8; 4]>(), new in any::<[u8; 4]>()) {
            let there = delta(old, new);
            let back = delta(new, old);
            let returned = u16::from_be_bytes(back.apply(there.apply(field.to_be_bytes())));
            // 0x0000 and 0xffff are the two zeros.
            prop_assert!(returned == field || (returned.is_multiple_of(0xffff) && field.is_multiple_of(0xffff)));
        }

        #[test]
        fn two_changes_are_one(a in any::<[u8; 4]>(), b in any::<[u8; 4]>(), c in any::<[u8; 4]>(), field in 1..0xffffu16) {
            let one = delta(a, b).and(delta(b, c)).apply(field.to_be_bytes());
            let straight = delta(a, c).apply(field.to_be_bytes());
            prop_assert!(one == straight || (one == [0, 0] || one == [0xff, 0xff]));
        }
    }
}
