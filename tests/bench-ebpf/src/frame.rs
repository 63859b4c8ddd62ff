//! Where things are in a frame, and the arithmetic of checksums.

use aya_ebpf::programs::XdpContext;

pub const ETHERNET: usize = 14;
pub const IPV4: usize = 20;
pub const IPV6: usize = 40;
pub const UDP: usize = 8;
pub const ICMP: usize = 8;

/// The first `N` bytes of a frame that has so many.
#[inline(always)]
pub fn head<const N: usize>(context: &XdpContext) -> Option<&mut [u8; N]> {
    let (start, end) = (context.data(), context.data_end());
    if start + N > end {
        return None;
    }
    // SAFETY: the kernel gives a program the frame from `data` to `data_end`, which holds `N` bytes
    // here; nobody else has it.
    Some(unsafe { &mut *(start as *mut [u8; N]) })
}

/// Writes bytes at a place that the compiler knows.
#[inline(always)]
pub fn write<const N: usize, const L: usize>(frame: &mut [u8; N], at: usize, bytes: [u8; L]) {
    if at + L <= N {
        // SAFETY: just checked; an array of bytes has no alignment.
        unsafe { *frame.as_mut_ptr().add(at).cast::<[u8; L]>() = bytes };
    }
}

/// Reads bytes at a place that the compiler knows.
#[inline(always)]
pub fn read<const N: usize, const L: usize>(frame: &[u8; N], at: usize) -> [u8; L] {
    if at + L <= N {
        // SAFETY: just checked; an array of bytes has no alignment.
        unsafe { *frame.as_ptr().add(at).cast::<[u8; L]>() }
    } else {
        [0; L]
    }
}

#[inline(always)]
pub fn read_u16<const N: usize>(frame: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes(read(frame, at))
}

#[inline(always)]
pub fn read_u32<const N: usize>(frame: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes(read(frame, at))
}

/// The two halves of a word, for a sum.
#[inline(always)]
pub const fn halves(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}

/// The checksum of what was summed up.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
pub const fn checksum(sum: u32) -> u16 {
    let folded = halves(sum);
    !(halves(folded) as u16)
}
