//! What IPv4 and IPv6 differ in, so that everything else is written once.

use crate::{abi::SealKey, checksum::Delta};

/// An address family.
pub trait Family: Copy + 'static {
    /// An address, in network order.
    type Address: Copy + PartialEq + SealKey + 'static;

    /// Which bit of the `SCREEN` map stands for the prefix that holds `address`: 16 bits, word in the upper ten.
    /// A clear bit says that no pool has the address; a set one says that it is worth a look.
    fn screen(address: &Self::Address) -> u16;

    /// The checksum difference of `old` → `new`.
    fn delta(old: &Self::Address, new: &Self::Address) -> Delta;
}

/// IPv4.
#[derive(Clone, Copy, Debug)]
pub struct V4;

impl Family for V4 {
    type Address = [u8; 4];

    #[inline(always)]
    fn screen(address: &[u8; 4]) -> u16 {
        u16::from_be_bytes([address[0], address[1]])
    }

    #[inline(always)]
    fn delta(old: &[u8; 4], new: &[u8; 4]) -> Delta {
        Delta::between(old, new)
    }
}
