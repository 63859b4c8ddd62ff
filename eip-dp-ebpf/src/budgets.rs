//! The budgets ([`eip_dp_common::budget`]), and who on an uplink's link is known to answer.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::generated::bpf_ktime_get_coarse_ns,
    macros::map,
    maps::{Array, LruHashMap},
};
use eip_dp_common::budget::{Budget, EipBudget, EniBudget, RECEIVER, Spend};

use crate::maps::{SEED, loaded};

/// Whose budget, and for what: an ENI by its target, an EIP by its slot.
#[repr(C)]
#[derive(Clone, Copy)]
struct Account {
    index: u32,
    /// An [`EniBudget`], or an [`EipBudget`] behind those.
    kind: u32,
}

/// The words of those who have spent of late. Where there are more, who has not spent for longest
/// has all of it again: nobody has less than is theirs.
#[map]
static BUDGETS: LruHashMap<Account, u64> = LruHashMap::with_max_entries(16_384, 0);
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

/// When it was last asked for, and when something last came from it: in nanoseconds of
/// `CLOCK_MONOTONIC`.
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

/// A word of a map.
#[inline(always)]
fn read(word: Option<*mut u64>) -> u64 {
    match word {
        // SAFETY: the kernel gave the pointer, to an aligned word of a map.
        Some(word) => unsafe { word.read_volatile() },
        None => 0,
    }
}

#[inline(always)]
fn store(word: Option<*mut u64>, value: u64) {
    if let Some(word) = word {
        // SAFETY: as in `read`. What another CPU stores at once may be lost: it goes uncounted.
        unsafe { word.write_volatile(value) };
    }
}

/// The word of an account after one more action; 0 if the budget is used up.
#[inline(always)]
fn next(account: &Account, budget: Budget, now: u64) -> u64 {
    budget.spend(read(BUDGETS.get_ptr_mut(account)), now)
}

#[inline(always)]
fn keep(account: &Account, word: u64) {
    match BUDGETS.get_ptr_mut(account) {
        Some(place) => store(Some(place), word),
        // Where there is no memory it goes uncounted.
        None => drop(BUDGETS.insert(account, &word, u64::from(BPF_ANY))),
    }
}

/// See [`eip_dp_common::tables::LinkTables::allow_eni`].
#[inline(always)]
pub fn allow_eni(target: u32, kind: EniBudget, spend: Spend) -> bool {
    let account = Account {
        index: target,
        kind: kind as u32,
    };
    let after = next(&account, kind.budget(), now());
    if after == 0 {
        return false;
    }
    if spend == Spend::Consume {
        keep(&account, after);
    }
    true
}

/// See [`eip_dp_common::tables::LinkTables::allow_eip`]. The EIP's own budget bounds what its
/// packets can take from those that receivers have.
#[inline(always)]
pub fn allow_eip(slot: u32, receiver: u64, kind: EipBudget, spend: Spend) -> bool {
    let account = Account {
        index: slot,
        kind: EniBudget::COUNT + kind as u32,
    };
    // The upper bits of the product are the mixed ones.
    let mixed = (receiver ^ loaded(&SEED)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let of_receiver = RECEIVER_BUDGETS.get_ptr_mut((mixed >> (64 - RECEIVER_BITS)) as u32);
    let now = now();
    let after = next(&account, kind.budget(), now);
    let receiver_after = RECEIVER.spend(read(of_receiver), now);
    if after == 0 || receiver_after == 0 {
        return false;
    }
    if spend == Spend::Consume {
        keep(&account, after);
        store(of_receiver, receiver_after);
    }
    true
}

/// See [`eip_dp_common::tables::LinkTables::allow_neighbour`].
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

/// See [`eip_dp_common::tables::LinkTables::neighbour_answers`].
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
