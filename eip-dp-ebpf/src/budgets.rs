//! The budgets ([`eip_dp_common::budget`]), and who on an uplink's link is known to answer.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::generated::bpf_ktime_get_coarse_ns,
    macros::map,
    maps::{Array, LruHashMap},
};
use eip_dp_common::budget::{Budget, EipBudget, EniBudget, RECEIVER, Spend};

use crate::maps::{EIPS, ENIS, SEED, set};

/// By target.
#[map]
static ENI_BUDGETS: Array<[u64; EniBudget::COUNT]> = Array::with_max_entries(ENIS, 0);
/// By slot.
#[map]
static EIP_BUDGETS: Array<[u64; EipBudget::COUNT]> = Array::with_max_entries(EIPS, 0);
/// By a hash over the receiver's address that nobody outside can foresee; some share one by chance.
#[map]
static RECEIVER_BUDGETS: Array<u64> = Array::with_max_entries(1 << RECEIVER_BITS, 0);
const RECEIVER_BITS: u32 = 12;

/// An address on an uplink's link.
#[repr(C)]
#[derive(Clone, Copy)]
struct Neighbour {
    address: u64,
    ifindex: u32,
    reserved: u32,
}

/// When it was last asked for, and when something last came from it: in nanoseconds of `CLOCK_MONOTONIC`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Known {
    asked_at: u64,
    answered_at: u64,
}

#[map]
static NEIGHBOURS: LruHashMap<Neighbour, Known> = LruHashMap::with_max_entries(4_096, 0);

const SECOND: u64 = 1_000_000_000;
/// How long the kernel asks for an address (`mcast_solicit` times `retrans_time_ms`).
const ASKING: u64 = 3 * SECOND;
/// How long who has answered is sent to without being asked for again.
const ANSWERED: u64 = 120 * SECOND;

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// The word after one more action; 0 if the budget is used up, or there is none.
#[inline(always)]
fn next(word: Option<*mut u64>, budget: Budget, now: u64) -> u64 {
    match word {
        // SAFETY: the kernel gave the pointer, to an aligned word of a map.
        Some(word) => budget.spend(unsafe { word.read_volatile() }, now),
        None => 0,
    }
}

#[inline(always)]
fn store(word: Option<*mut u64>, value: u64) {
    if let Some(word) = word {
        // SAFETY: as in `next`. What another CPU stores at once may be lost: it goes uncounted.
        unsafe { word.write_volatile(value) };
    }
}

#[inline(always)]
fn of_eni(target: u32, kind: EniBudget) -> Option<*mut u64> {
    let words = ENI_BUDGETS.get_ptr_mut(target)?;
    // SAFETY: the element has a word for each kind.
    Some(unsafe { words.cast::<u64>().add(kind as usize) })
}

/// See [`eip_dp_common::tables::Links::allow_eni`].
#[inline(always)]
pub fn allow_eni(target: u32, kind: EniBudget, spend: Spend) -> bool {
    let word = of_eni(target, kind);
    let after = next(word, kind.budget(), now());
    if after == 0 {
        return false;
    }
    if spend == Spend::Consume {
        store(word, after);
    }
    true
}

/// See [`eip_dp_common::tables::Links::allow_eip`]. The EIP's own budget bounds what its packets can take from those that
/// receivers have.
#[inline(always)]
pub fn allow_eip(slot: u32, receiver: u64, kind: EipBudget, spend: Spend) -> bool {
    let of_eip = match EIP_BUDGETS.get_ptr_mut(slot) {
        // SAFETY: the element has a word for each kind.
        Some(words) => Some(unsafe { words.cast::<u64>().add(kind as usize) }),
        None => None,
    };
    // The upper bits of the product are the mixed ones.
    let mixed = (receiver ^ set(&SEED)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let of_receiver = RECEIVER_BUDGETS.get_ptr_mut((mixed >> (64 - RECEIVER_BITS)) as u32);
    let now = now();
    let after = next(of_eip, kind.budget(), now);
    let receiver_after = next(of_receiver, RECEIVER, now);
    if after == 0 || receiver_after == 0 {
        return false;
    }
    if spend == Spend::Consume {
        store(of_eip, after);
        store(of_receiver, receiver_after);
    }
    true
}

/// See [`eip_dp_common::tables::Links::allow_neighbour`].
#[inline(always)]
pub fn allow_neighbour(target: u32, ifindex: u32, address: u64) -> bool {
    let key = Neighbour {
        address,
        ifindex,
        reserved: 0,
    };
    let now = now();
    if let Some(known) = NEIGHBOURS.get_ptr(&key) {
        // SAFETY: the kernel gave the pointer; what changes meanwhile are words.
        let (asked, answered) = unsafe {
            (
                (&raw const (*known).asked_at).read_volatile(),
                (&raw const (*known).answered_at).read_volatile(),
            )
        };
        if now.wrapping_sub(asked) < ASKING || now.wrapping_sub(answered) < ANSWERED {
            return true;
        }
    }
    if !allow_eni(target, EniBudget::Neighbours, Spend::Consume) {
        return false;
    }
    let known = Known {
        asked_at: now,
        answered_at: 0,
    };
    NEIGHBOURS.insert(&key, &known, u64::from(BPF_ANY)).is_ok()
}

/// See [`eip_dp_common::tables::Links::neighbour_answers`].
#[inline(always)]
pub fn neighbour_answers(ifindex: u32, address: u64) {
    let key = Neighbour {
        address,
        ifindex,
        reserved: 0,
    };
    if let Some(known) = NEIGHBOURS.get_ptr_mut(&key) {
        // SAFETY: as in `allow_neighbour`.
        unsafe { (&raw mut (*known).answered_at).write_volatile(now()) };
    }
}
