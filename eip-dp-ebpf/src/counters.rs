//! Counting: every outcome, on this CPU.

use eip_dp_common::{
    abi::{Event, NONE, PackedCounter, Reason},
    pipeline::{Outcome, Verdict},
};

use crate::maps::{self, DROPS, EVENTS};

/// Counts a packet by what became of it.
#[inline(always)]
pub fn count(outcome: &Outcome) {
    match outcome.verdict {
        Verdict::Send | Verdict::SendUnresolved | Verdict::SendToNeighbour => {
            if let Some(event) = outcome.event {
                count_event(event);
            }
            count_delivery(outcome);
        }
        Verdict::Drop(reason) | Verdict::IcmpError(reason) => {
            if let Some(event) = outcome.event {
                count_event(event);
            }
            count_drop(reason);
            count_eip_drop(outcome.receiver, IN);
            count_eip_drop(outcome.sender, OUT);
        }
        Verdict::Reply
        | Verdict::Ping
        | Verdict::Pass
        | Verdict::PuntToDaemon
        | Verdict::Fragment
        | Verdict::Punt => {}
    }
}

/// The words of what all CPUs count of a slot.
const IN: usize = 0;
const OUT: usize = 1;

/// Counts a packet that goes on, for the EIPs that it is for and from.
#[inline(always)]
pub fn count_delivery(outcome: &Outcome) {
    let Outcome {
        receiver,
        sender,
        bytes,
        ..
    } = *outcome;
    if receiver != NONE {
        add(maps::received(receiver), bytes, (receiver, IN));
    }
    if sender != NONE {
        add(maps::sent(sender), bytes, (sender, OUT));
    }
}

#[inline(always)]
fn add(word: Option<*mut PackedCounter>, bytes: u32, (slot, direction): (u32, usize)) {
    let Some(word) = word else { return };
    // SAFETY: the pointer is to this CPU's counters, valid while the program runs; programs do not
    // preempt each other on a CPU in a way that keeps two references alive.
    let word = unsafe { &mut *word };
    let sum = word.plus(bytes);
    if !sum.is_half_full() {
        *word = sum;
        return;
    }
    let (rest, overflow) = sum.spill();
    // Who looks in between sees too much for a moment, and looks again.
    add_shared(maps::overflow(slot), direction, overflow);
    *word = rest;
}

/// Counts a packet that ends here: seldom, and so for all CPUs in one place.
#[inline(always)]
fn count_eip_drop(slot: u32, direction: usize) {
    if slot != NONE {
        add_shared(maps::dropped(slot), direction, 1);
    }
}

/// Adds to one of the two words of an element.
#[inline(always)]
fn add_shared(words: Option<*mut u64>, direction: usize, number: u64) {
    if let Some(words) = words {
        // SAFETY: the pointer is to a value of the map, two aligned words, changed by atomic
        // additions only.
        unsafe { add_atomically(words.add(direction), number) };
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
fn count_drop(reason: Reason) {
    increment(DROPS.get_ptr_mut(reason.index()));
}

/// Counts an event.
#[inline(always)]
pub fn count_event(event: Event) {
    increment(EVENTS.get_ptr_mut(event.index()));
}

#[inline(always)]
fn increment(counter: Option<*mut u64>) {
    if let Some(counter) = counter {
        // SAFETY: as in `add`.
        unsafe { *counter = (*counter).wrapping_add(1) };
    }
}
