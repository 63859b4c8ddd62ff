//! A network in one word, which is stored at once and compared in a few instructions.

/// The first 64 bits of a network, and in the lowest six how many of them it has; 0 for none. Of a
/// network with more than 58 bits only these: it is a part of what the word covers.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetWord(u64);

const LENGTH: u64 = 63;
/// The bits that the length leaves.
const LONGEST: u32 = 58;

impl NetWord {
    /// Of a network and its mask, of each the first 64 bits (of IPv4: all and zeros).
    pub const fn new(network: u64, mask: u64) -> Self {
        let length = mask.leading_ones();
        let length = if length > LONGEST { LONGEST } else { length };
        if length == 0 {
            // All addresses are in one half or the other: no CIDR is so short.
            return Self(0);
        }
        let network = network >> (64 - length) << (64 - length);
        Self(network | length as u64)
    }

    /// A word of the map.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Whether there is none.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether an address with these first 64 bits may be in the network; `false` is certain.
    #[inline(always)]
    pub const fn covers(self, upper: u64) -> bool {
        // A length is 1 to 58.
        let others = (64 - (self.0 & LENGTH)) & LENGTH;
        (upper ^ self.0) >> others == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_inside_is_covered_and_what_is_outside_is_not(
            network in any::<u64>(), address in any::<u64>(), is_near in any::<bool>(), length in 1..=64u32, flip in 0..64u32,
        ) {
            let mask = u64::MAX << (64 - length);
            let word = NetWord::new(network & mask, mask);
            prop_assert!(!word.is_none());
            let address = if is_near { network ^ 1 << flip } else { address };
            let is_inside = (address ^ network) & mask == 0;
            let wide = mask & u64::MAX << (64 - LONGEST);
            prop_assert_eq!(word.covers(address), (address ^ network) & wide == 0);
            prop_assert!(!is_inside || word.covers(address));
        }
    }
}
