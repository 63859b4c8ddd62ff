//! The Internet checksum, changed incrementally (RFC 1071, RFC 1624).
//!
//! A checksum field holds `~S`, where `S` is the ones' complement sum of the words that it covers. When a word changes
//! from `m` to `m'`, the new field is `~(~field + ~m + m')` (RFC 1624, equation 3). The part that hangs on the words
//! alone, `~m + m'`, is a [`Delta`]: it is computed once per association and added to every packet. Because only the
//! difference is added, a field that was wrong stays wrong by the same amount. All sums are over words in the order of
//! the wire; since ones' complement addition does not care about byte order (RFC 1071, 2 (B)), words are read in the
//! host's order and never swapped.

/// The ones' complement sum of the changes `~m + m'` of some words, folded to 16 bits, in the host's byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(u16);

impl Delta {
    /// No change.
    pub const NONE: Self = Self(0);

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
        const { assert!(N % 2 == 0) };
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
