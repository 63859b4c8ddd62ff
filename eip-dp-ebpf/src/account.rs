//! Counting: every outcome, on this CPU.

use eip_dp_common::{
    abi::{Event, Flow, NONE, Reason},
    path::{Outcome, Verdict},
};

use crate::maps::{self, DROPS, EVENTS};

/// Counts a packet by what became of it.
#[inline(always)]
pub fn count(outcome: &Outcome) {
    match outcome.verdict {
        Verdict::Send | Verdict::Resolve | Verdict::Kernel => {
            if let Some(event) = outcome.event {
                happened(event);
            }
            if outcome.verdict == Verdict::Kernel {
                happened(Event::Fragmented);
            }
            delivered(outcome);
        }
        Verdict::Drop(reason) | Verdict::Refuse(reason) => {
            if let Some(event) = outcome.event {
                happened(event);
            }
            drop(reason);
            lost(outcome.receiver, 0);
            lost(outcome.sender, 1);
        }
        Verdict::Reply | Verdict::Ping | Verdict::Pass | Verdict::Daemon | Verdict::Slow => {}
    }
}

/// Counts a packet that goes on, for the EIPs that it is for and from.
#[inline(always)]
pub fn delivered(outcome: &Outcome) {
    if outcome.receiver != NONE {
        add(maps::received(outcome.receiver), outcome.bytes);
    }
    if outcome.sender != NONE {
        add(maps::sent(outcome.sender), outcome.bytes);
    }
}

#[inline(always)]
fn add(flow: Option<*mut Flow>, bytes: u32) {
    if let Some(flow) = flow {
        // SAFETY: the pointer is to this CPU's counters, valid while the program runs; programs do not preempt each other
        // on a CPU in a way that keeps two references alive.
        let flow = unsafe { &mut *flow };
        flow.packets = flow.packets.wrapping_add(1);
        flow.bytes = flow.bytes.wrapping_add(u64::from(bytes));
    }
}

/// Counts a packet that ends here: seldom, and so for all CPUs in one place.
#[inline(always)]
fn lost(slot: u32, direction: usize) {
    if slot != NONE
        && let Some(counters) = maps::dropped(slot)
    {
        // SAFETY: the pointer is to a value of the map, two aligned words, changed by atomic additions only.
        unsafe { add_atomically(counters.cast::<u64>().add(direction), 1) };
    }
}

/// Adds to a word that all CPUs share. `core`'s atomics have no addition for this target.
///
/// # Safety
/// `word` is valid, aligned, and changed by this only.
#[inline(always)]
unsafe fn add_atomically(word: *mut u64, number: u64) {
    // SAFETY: the instruction (`BPF_ATOMIC | BPF_ADD`) changes the word and nothing else.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({word} + 0) += {number}",
            word = in(reg) word,
            number = in(reg) number,
            options(nostack),
        );
    }
}

#[inline(always)]
fn drop(reason: Reason) {
    one_more(DROPS.get_ptr_mut(reason.index()));
}

#[inline(always)]
fn happened(event: Event) {
    one_more(EVENTS.get_ptr_mut(event.index()));
}

#[inline(always)]
fn one_more(counter: Option<*mut u64>) {
    if let Some(counter) = counter {
        // SAFETY: as in `add`.
        unsafe { *counter = (*counter).wrapping_add(1) };
    }
}
