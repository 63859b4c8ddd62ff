//! How many ICMP errors the gateway sends, on each CPU: token buckets, one for all of them and one for each receiver, where
//! some share one by chance (RFC 1812 4.3.2.8, RFC 4443 2.4 (f)).

use aya_ebpf::{helpers::generated::bpf_ktime_get_coarse_ns, macros::map, maps::PerCpuArray};

/// Tokens and when they were counted.
#[repr(C)]
#[derive(Clone, Copy)]
struct Bucket {
    /// In nanoseconds of `CLOCK_MONOTONIC`.
    counted_at: u64,
    /// In nanoseconds, too: as long as it takes to get them.
    saved: u64,
}

/// A bucket's size.
struct Limit {
    /// How long it takes to get a token, in nanoseconds.
    every: u64,
    /// How many can be saved.
    burst: u64,
}

const OF_ALL: Limit = Limit {
    every: 1_000_000,
    burst: 500,
};
const OF_EACH: Limit = Limit {
    every: 10_000_000,
    burst: 100,
};

const RECEIVERS: u32 = 1_024;
const ALL: u32 = RECEIVERS;

#[map]
static ICMP_LIMITS: PerCpuArray<Bucket> = PerCpuArray::with_max_entries(RECEIVERS + 1, 0);

/// Whether one more may be sent to this receiver; it counts as sent if `sends`.
#[inline(always)]
pub fn may_tell(receiver: u64, sends: bool) -> bool {
    // The upper bits of the product are the mixed ones.
    let index = (receiver.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as u32;
    // SAFETY: the helper takes nothing.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let (Some(each), Some(all)) = (ICMP_LIMITS.get_ptr_mut(index), ICMP_LIMITS.get_ptr_mut(ALL))
    else {
        return false;
    };
    // SAFETY: the pointers are to this CPU's copies, of different elements, valid while the program runs; programs do not
    // preempt each other on a CPU in a way that keeps two references alive.
    let (each, all) = unsafe { (&mut *each, &mut *all) };
    let (of_each, of_all) = (each.refilled(now, &OF_EACH), all.refilled(now, &OF_ALL));
    if of_each < OF_EACH.every || of_all < OF_ALL.every {
        return false;
    }
    if sends {
        *each = Bucket {
            counted_at: now,
            saved: of_each - OF_EACH.every,
        };
        *all = Bucket {
            counted_at: now,
            saved: of_all - OF_ALL.every,
        };
    }
    true
}

impl Bucket {
    /// What is saved now. A bucket that was never counted is full.
    #[inline(always)]
    fn refilled(&self, now: u64, limit: &Limit) -> u64 {
        let saved = self
            .saved
            .saturating_add(now.saturating_sub(self.counted_at));
        let full = limit.every * limit.burst;
        if saved < full { saved } else { full }
    }
}
