//! What the words of an entry hold.
//!
//! The head of an EIP's entry, from its lowest bit: 32 bits address (IPv4) or zeros (IPv6), 31 bits
//! slot of its counters, 1 bit [`USED`]. Its payload: 32 bits [`Other`], 28 bits target, 4 bits
//! mode; or, of one in cut-through mode, where the target is, so that nobody has to look: the lower
//! 60 bits of a [`NextHop`], and 15. The head of an ENI's address: 32 bits address or zeros, 16
//! bits VPC, the lower 15 bits of the target, [`USED`]. Its payload: 32 bits [`Other`], 22 bits out
//! slot, 3 bits state, the upper 7 bits of the target.
//!
//! [`Other`] is the address on the other side of NAT: itself for IPv4; for IPv6 its index in the
//! map `NAT_PEERS6`, whose elements never change while something leads to them.

use super::{Key, Long, Shape, Short, USED};
use crate::abi::{EipMode, NONE, NextHop};

/// One more than the highest slot, which also an ENI's address can name.
pub const SLOTS: u32 = (1 << 22) - 1;
/// One more than the highest target.
pub const TARGETS: u32 = (1 << 22) - 1;
/// One more than the highest VPC.
pub const VPCS: u32 = 1 << 16;

/// The other address, or where it is.
pub type NatPeer = u32;

/// An address, as the entries of an index have it.
pub trait Keyed: Copy {
    /// How long an entry is.
    type Shape: Shape;

    /// What a head has of it, and an entry's rest.
    fn to_words(self) -> (u32, [u64; 2]);
    /// The address of an entry, from its head and its rest.
    fn of_words(key_word: u64, rest: [u64; 2]) -> Self;
}

impl Keyed for [u8; 4] {
    type Shape = Short;

    #[inline(always)]
    fn to_words(self) -> (u32, [u64; 2]) {
        (u32::from_ne_bytes(self), [0; 2])
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the lower half")]
    fn of_words(key_word: u64, _rest: [u64; 2]) -> Self {
        (key_word as u32).to_ne_bytes()
    }
}

impl Keyed for [u8; 16] {
    type Shape = Long;

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the halves")]
    fn to_words(self) -> (u32, [u64; 2]) {
        let address = u128::from_ne_bytes(self);
        (0, [address as u64, (address >> 64) as u64])
    }

    #[inline(always)]
    fn of_words(_head: u64, rest: [u64; 2]) -> Self {
        (u128::from(rest[1]) << 64 | u128::from(rest[0])).to_ne_bytes()
    }
}

/// An EIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EipEntry {
    /// Where what it receives is counted.
    pub slot: u32,
    /// The private address.
    pub other: NatPeer,
    /// The ENI's target, or [`NONE`].
    pub target: u32,
    /// An [`EipMode`].
    pub mode: u8,
    /// Where the ENI is, in place of its target: only in cut-through mode, of a [`NextHop::fits`];
    /// else 0.
    pub hop: u64,
}

/// An address of an ENI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceEntry {
    /// The EIP's address.
    pub other: NatPeer,
    /// Where what the EIP sends is counted, or [`NONE`].
    pub slot: u32,
    /// The ENI's target, or [`NONE`].
    pub target: u32,
    /// A [`SourceState`](crate::abi::SourceState).
    pub state: u8,
}

const NO_SLOT: u32 = SLOTS;
const NO_TARGET: u32 = TARGETS;

impl EipEntry {
    const ADDRESS: u64 = 0xffff_ffff;
    const TARGET_BITS: u64 = (1 << 28) - 1;
    /// In place of the mode: cut-through, with its hop.
    const AT_HOP: u64 = 15;

    /// Which bits of a head are the key's.
    pub const MASK: u64 = USED | Self::ADDRESS;

    /// The key of an address.
    #[inline(always)]
    pub fn key<A: Keyed>(address: A) -> Key {
        let (word, rest) = address.to_words();
        Key {
            key_word: USED | u64::from(word),
            mask: Self::MASK,
            rest,
        }
    }

    /// The head and the payload.
    #[inline(always)]
    pub const fn pack(self, key: &Key) -> [u64; 2] {
        let target = if self.target == NONE {
            NO_TARGET
        } else {
            self.target
        };
        let value_word = if self.hop == 0 {
            self.other as u64 | (target as u64) << 32 | (self.mode as u64) << 60
        } else {
            self.hop | Self::AT_HOP << 60
        };
        [key.key_word | (self.slot as u64) << 32, value_word]
    }

    /// Reads them.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "bit fields")]
    pub const fn unpack(key_word: u64, value_word: u64) -> Self {
        let slot = (key_word >> 32) as u32 & !(1 << 31);
        if value_word >> 60 == Self::AT_HOP {
            return Self {
                slot,
                other: 0,
                target: NONE,
                mode: EipMode::CutThrough as u8,
                hop: value_word & NextHop::SHORT,
            };
        }
        let target = (value_word >> 32 & Self::TARGET_BITS) as u32;
        Self {
            slot,
            other: value_word as u32,
            target: if target == NO_TARGET { NONE } else { target },
            mode: (value_word >> 60) as u8,
            hop: 0,
        }
    }
}

impl SourceEntry {
    const KEY: u64 = 0xffff_ffff_ffff;

    /// Which bits of a head are the key's.
    pub const MASK: u64 = USED | Self::KEY;

    /// The key of an address in a VPC.
    #[inline(always)]
    pub fn key<A: Keyed>(vpc: u32, address: A) -> Key {
        let (word, rest) = address.to_words();
        Key {
            key_word: USED | u64::from(vpc) << 32 & Self::KEY | u64::from(word),
            mask: Self::MASK,
            rest,
        }
    }

    /// The VPC that a head speaks of.
    #[allow(clippy::cast_possible_truncation, reason = "sixteen bits")]
    pub const fn vpc_of(key_word: u64) -> u32 {
        (key_word >> 32 & 0xffff) as u32
    }

    /// The head and the payload.
    #[inline(always)]
    pub const fn pack(self, key: &Key) -> [u64; 2] {
        let target = if self.target == NONE {
            NO_TARGET
        } else {
            self.target
        } as u64;
        let slot = if self.slot == NONE {
            NO_SLOT
        } else {
            self.slot
        } as u64;
        [
            key.key_word | (target & 0x7fff) << 48,
            self.other as u64 | slot << 32 | (self.state as u64) << 54 | target >> 15 << 57,
        ]
    }

    /// Reads them.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "bit fields")]
    pub const fn unpack(key_word: u64, value_word: u64) -> Self {
        let slot = (value_word >> 32 & 0x3f_ffff) as u32;
        let target = (key_word >> 48 & 0x7fff | value_word >> 57 << 15) as u32;
        Self {
            other: value_word as u32,
            slot: if slot == NO_SLOT { NONE } else { slot },
            target: if target == NO_TARGET { NONE } else { target },
            state: (value_word >> 54) as u8 & 7,
        }
    }
}
