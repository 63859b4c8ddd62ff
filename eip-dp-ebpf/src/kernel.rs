//! What the kernel keeps of an skb and shows to no program: read where the loader found it in the
//! kernel's BTF.

use core::ffi::c_void;

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_probe_read_kernel};
use eip_dp_common::packet::PartialChecksum;

use crate::maps::{self, loaded};

/// `CHECKSUM_PARTIAL` of include/linux/skbuff.h.
const CHECKSUM_PARTIAL: u8 = 3;

/// The checksum that the device is still to write; `None` where the kernel's structures are not
/// known.
#[inline(always)]
pub fn partial_checksum(skb: *mut __sk_buff) -> Option<PartialChecksum> {
    if loaded(&maps::SKB_KNOWN) == 0 {
        return None;
    }
    let [summed] = read::<1>(skb, loaded(&maps::SKB_IP_SUMMED_BYTE));
    if summed >> loaded(&maps::SKB_IP_SUMMED_SHIFT) & 3 != CHECKSUM_PARTIAL {
        return Some(PartialChecksum::NONE);
    }
    // All three are from the head of the buffer on, but for the second, which is from the first.
    let start = read_u16(skb, loaded(&maps::SKB_CSUM_START));
    let offset = read_u16(skb, loaded(&maps::SKB_CSUM_OFFSET));
    let frame = read_u16(skb, loaded(&maps::SKB_MAC_HEADER));
    if start < frame {
        return Some(PartialChecksum::UNKNOWN);
    }
    let start = start - frame;
    Some(PartialChecksum {
        start,
        field: start + offset,
    })
}

#[inline(always)]
fn read_u16(skb: *mut __sk_buff, offset: u32) -> u32 {
    u32::from(u16::from_ne_bytes(read(skb, offset)))
}

/// Bytes of the `struct sk_buff` that the context of a tc program is; zeros where the kernel cannot
/// read them.
#[inline(always)]
fn read<const N: usize>(skb: *mut __sk_buff, offset: u32) -> [u8; N] {
    let mut bytes = [0; N];
    #[allow(clippy::cast_possible_truncation, reason = "a few bytes")]
    // SAFETY: the helper reads from any address and writes `N` bytes, which are there.
    unsafe {
        bpf_probe_read_kernel(
            bytes.as_mut_ptr().cast::<c_void>(),
            N as u32,
            skb.cast::<u8>().add(offset as usize).cast::<c_void>(),
        );
    }
    bytes
}
