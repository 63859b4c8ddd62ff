//! Loads and stores of many bytes at once, at any address.
//!
//! The compiler takes memory whose alignment it does not know byte by byte: it must, because a
//! misaligned access to a BPF program's stack is refused. A packet's bytes may be accessed so where
//! the machine can (Linux, kernel/bpf/verifier.c, check_generic_ptr_alignment), and headers make up
//! most of what a program touches.

use core::mem::MaybeUninit;

/// Declares a load and a store of so many bytes.
macro_rules! access {
    ($load:ident $store:ident $type:ty, $size:literal) => {
        #[inline(always)]
        unsafe fn $load(from: *const u8) -> $type {
            let value: u64;
            // SAFETY: reads so many bytes at `from`, which the caller vouches for, and does nothing
            // else.
            unsafe {
                core::arch::asm!(
                    concat!("{value} = *(u", $size, " *)({from} + 0)"),
                    value = out(reg) value,
                    from = in(reg) from,
                    options(pure, readonly, nostack),
                );
            }
            #[allow(clippy::cast_possible_truncation, reason = "the load has set no more bits")]
            let value = value as $type;
            value
        }

        #[inline(always)]
        unsafe fn $store(to: *mut u8, value: $type) {
            // SAFETY: writes so many bytes at `to`, which the caller vouches for, and does nothing
            // else.
            unsafe {
                core::arch::asm!(
                    concat!("*(u", $size, " *)({to} + 0) = {value}"),
                    value = in(reg) u64::from(value),
                    to = in(reg) to,
                    options(nostack),
                );
            }
        }
    };
}

access!(load8 store8 u64, "64");
access!(load4 store4 u32, "32");
access!(load2 store2 u16, "16");

/// Reads so many bytes of a packet.
///
/// # Safety
/// They can be read.
#[inline(always)]
pub unsafe fn load<const N: usize>(from: *const [u8; N]) -> [u8; N] {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    let (from, to) = (from.cast::<u8>(), bytes.as_mut_ptr().cast::<u8>());
    let mut at = 0;
    // SAFETY: each piece lies within the `N` bytes, and all of them together are those.
    unsafe {
        while at + 8 <= N {
            to.add(at)
                .cast::<u64>()
                .write_unaligned(load8(from.add(at)));
            at += 8;
        }
        if at + 4 <= N {
            to.add(at)
                .cast::<u32>()
                .write_unaligned(load4(from.add(at)));
            at += 4;
        }
        if at + 2 <= N {
            to.add(at)
                .cast::<u16>()
                .write_unaligned(load2(from.add(at)));
            at += 2;
        }
        if at < N {
            to.add(at).write(from.add(at).read());
        }
        bytes.assume_init()
    }
}

/// Writes so many bytes of a packet.
///
/// # Safety
/// They can be written.
#[inline(always)]
pub unsafe fn store<const N: usize>(to: *mut [u8; N], bytes: [u8; N]) {
    let (from, to) = (bytes.as_ptr(), to.cast::<u8>());
    let mut at = 0;
    // SAFETY: as in `load`.
    unsafe {
        while at + 8 <= N {
            store8(to.add(at), from.add(at).cast::<u64>().read_unaligned());
            at += 8;
        }
        if at + 4 <= N {
            store4(to.add(at), from.add(at).cast::<u32>().read_unaligned());
            at += 4;
        }
        if at + 2 <= N {
            store2(to.add(at), from.add(at).cast::<u16>().read_unaligned());
            at += 2;
        }
        if at < N {
            to.add(at).write(from.add(at).read());
        }
    }
}

/// The same number, of which the compiler knows nothing any more. One instruction: of none the
/// kernel would refuse the lines that the compiler notes for it.
#[inline(always)]
pub fn opaque(number: u64) -> u64 {
    let mut number = number;
    // SAFETY: a register that stays as it is.
    unsafe {
        core::arch::asm!("{number} = {number}", number = inout(reg) number, options(pure, nomem, nostack));
    }
    number
}

/// No address. Hidden: a constant the compiler would have written by `memset`.
#[inline(always)]
pub fn zeros() -> [u8; 16] {
    let zero = opaque(0);
    // SAFETY: 16 bytes for 16 bytes.
    unsafe { core::mem::transmute([zero, zero]) }
}
