//! Seals: how a reader knows that a record is whole and is the one that it asked for.
//!
//! The kernel may hand a deleted hash element to the next insertion at once, while a program still
//! reads it, and writes array elements by `memcpy`. So the writer stores with each record a sum
//! over its words and its key, and a reader that finds another sum has seen a record change under
//! its eyes, and drops the packet.
//!
//! EIPs, addresses of ENIs and targets need none where they stand as words ([`crate::cuckoo`],
//! [`super::NextHop`]); they have one in user space and in tests, where they are like other
//! records.

use core::{fmt::Debug, hash::Hash};

/// A record that carries its seal in its last four bytes.
///
/// # Safety
/// The type is `repr(C)`, has no padding, any bit pattern is valid for it, its size is a multiple
/// of 4 bytes, its alignment 4 or 8, and its last four bytes are the seal.
pub unsafe trait Checksummed: Copy + 'static {
    /// The key type that the record is found by.
    type Key: ChecksumKey;

    /// Sets the seal that belongs to this content under `key`.
    #[must_use]
    fn sealed(mut self, key: &Self::Key) -> Self {
        let sum = sum(&self, key);
        let words = size_of::<Self>() / 4;
        // SAFETY: by the trait's contract the last aligned word is in bounds, initialised and not
        // part of `sum`.
        unsafe { (&raw mut self).cast::<u32>().add(words - 1).write(sum) };
        self
    }

    /// Takes over the record at `record`, which may change meanwhile: each word is read once, so
    /// that no later use finds other bytes than the seal is checked with.
    ///
    /// # Safety
    /// `record` is valid for reads of the type and aligned for it.
    #[inline(always)]
    unsafe fn take(&mut self, record: *const Self) {
        let (from, to) = (
            record.cast::<u32>(),
            core::ptr::from_mut(self).cast::<u32>(),
        );
        let mut index = 0;
        while index < size_of::<Self>() / 4 {
            // SAFETY: by the trait's contract the type is so many words, and any bytes are valid
            // for it; by the caller's promise `record` can be read.
            unsafe { to.add(index).write(from.add(index).read_volatile()) };
            index += 1;
        }
    }

    /// A record of zeros: none that was ever written.
    #[inline(always)]
    fn zeroed() -> Self {
        // SAFETY: by the trait's contract any bit pattern is valid.
        unsafe { core::mem::zeroed() }
    }

    /// Whether the record is whole and was written for `key`.
    #[inline(always)]
    fn is_consistent(&self, key: &Self::Key) -> bool {
        let words = size_of::<Self>() / 4;
        // SAFETY: as in `sealed`.
        let seal = unsafe {
            core::ptr::from_ref(self)
                .cast::<u32>()
                .add(words - 1)
                .read()
        };
        seal == sum(self, key)
    }
}

/// A key, folded to the 64 bits that go into the seal.
pub trait ChecksumKey {
    /// The key's bits; different for keys that stand in one map.
    fn fold(&self) -> u64;
}

/// An address as the records hold it: `[u8; 4]` or `[u8; 16]`, in network order.
///
/// # Safety
/// The type has alignment 1, a size that is a multiple of 4, and any bit pattern is valid for it.
pub unsafe trait Address: Copy + Eq + Hash + Debug + ChecksumKey + 'static {}

// SAFETY: an array of 4 bytes.
unsafe impl Address for [u8; 4] {}
// SAFETY: an array of 16 bytes.
unsafe impl Address for [u8; 16] {}

/// A multilinear sum: each word times a constant of its own, so that no mix of two records keeps it
/// by structure.
#[inline(always)]
fn sum<T: Checksummed>(record: &T, key: &T::Key) -> u32 {
    let mut multiplier = MULTIPLIER;
    let mut sum = key.fold().wrapping_mul(multiplier);
    let words = size_of::<T>() / 4 - 1;
    let start = core::ptr::from_ref(record).cast::<u32>();
    let mut index = 0;
    while index < words {
        multiplier = multiplier.wrapping_mul(MULTIPLIER).wrapping_add(STEP);
        // SAFETY: by the trait's contract the record is `words + 1` aligned, initialised words
        // long.
        let word = unsafe { start.add(index).read() };
        sum = sum.wrapping_add((u64::from(word) + 1).wrapping_mul(multiplier));
        index += 1;
    }
    // Truncation is the point: the upper half is where a sum of products is mixed best.
    #[allow(clippy::cast_possible_truncation)]
    let seal = (sum >> 32) as u32;
    seal
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const STEP: u64 = 0xd1b5_4a32_d192_ed04;

impl ChecksumKey for u32 {
    #[inline(always)]
    fn fold(&self) -> u64 {
        u64::from(*self) | 1 << 40
    }
}

impl ChecksumKey for [u8; 4] {
    #[inline(always)]
    fn fold(&self) -> u64 {
        u64::from(u32::from_ne_bytes(*self))
    }
}

impl ChecksumKey for [u8; 16] {
    #[inline(always)]
    fn fold(&self) -> u64 {
        let value = u128::from_ne_bytes(*self);
        #[allow(clippy::cast_possible_truncation)]
        let (high, low) = ((value >> 64) as u64, value as u64);
        high.wrapping_mul(MULTIPLIER) ^ low
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::abi::{EipRoute, Target};

    fn entry(private: [u8; 4], slot: u32, target: u32, vpc: u32) -> EipRoute<[u8; 4]> {
        EipRoute {
            private,
            slot,
            target,
            vpc,
            delta: 1,
            mode: 1,
            reserved: 0,
            seal: 0,
        }
    }

    fn bytes<T: Checksummed>(record: &T) -> Vec<u8> {
        // SAFETY: by the trait's contract the record is so many initialised bytes.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(record).cast(), size_of::<T>()) }
            .to_vec()
    }

    fn record<T: Checksummed>(bytes: &[u8]) -> T {
        assert_eq!(bytes.len(), size_of::<T>());
        // SAFETY: as many bytes as the type has, and by the trait's contract any of them are valid.
        unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
    }

    #[test]
    fn a_record_is_intact_under_its_own_key_only() {
        let sealed = entry([10, 0, 0, 1], 1, 1, 1).sealed(&[203, 0, 113, 1]);
        assert!(sealed.is_consistent(&[203, 0, 113, 1]));
        assert!(!sealed.is_consistent(&[203, 0, 113, 2]));
    }

    #[test]
    fn a_record_is_taken_over_word_by_word() {
        let there = entry([10, 0, 0, 1], 1, 2, 3).sealed(&[203, 0, 113, 1]);
        let mut taken = EipRoute::zeroed();
        // SAFETY: a reference is valid and aligned.
        unsafe { taken.take(&raw const there) };
        assert_eq!(taken, there);
        let there = Target {
            instance: 7,
            ..Target::zeroed()
        };
        let mut taken = Target::zeroed();
        // SAFETY: as above.
        unsafe { taken.take(&raw const there) };
        assert_eq!(taken, there);
    }

    #[test]
    fn zeros_are_no_record() {
        assert!(!Target::zeroed().is_consistent(&0));
        assert!(!EipRoute::<[u8; 4]>::zeroed().is_consistent(&[0; 4]));
    }

    proptest! {
        /// A reader that sees the first words of one record and the rest of another knows it, at
        /// every boundary.
        #[test]
        fn no_mix_of_two_records_is_intact(
            keys in any::<([u8; 4], [u8; 4])>(),
            slots in (0u32..1000, 0u32..1000),
            privates in any::<([u8; 4], [u8; 4])>(),
        ) {
            let old = entry(privates.0, slots.0, slots.0, 1).sealed(&keys.0);
            let new = entry(privates.1, slots.1, slots.1, 2).sealed(&keys.1);
            let (old, new) = (bytes(&old), bytes(&new));
            for cut in (4..old.len()).step_by(4) {
                let mixed: EipRoute<[u8; 4]> = record(&[&new[..cut], &old[cut..]].concat());
                prop_assert!(!mixed.is_consistent(&keys.0), "cut at {cut}");
                prop_assert!(!mixed.is_consistent(&keys.1), "cut at {cut}");
            }
        }

        /// Nor is one with a changed bit.
        #[test]
        fn no_bit_goes_unnoticed(bit in 0usize..20 * 8, slot in any::<u32>()) {
            let key = [203, 0, 113, 1];
            let mut changed = bytes(&entry([10, 0, 0, 1], slot, 3, 4).sealed(&key));
            changed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!record::<EipRoute<[u8; 4]>>(&changed).is_consistent(&key));
        }
    }
}
