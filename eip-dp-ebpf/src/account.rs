//! Counting: every outcome, on this CPU.

use eip_dp_common::{
    abi::{EipCounters, Event, NONE, Reason},
    path::{Outcome, Verdict},
};

use crate::maps::{DROPS, EIP_COUNTERS, EVENTS};

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
            let bytes = u64::from(outcome.bytes);
            eip(outcome.receiver, |counters| {
                counters.in_packets = counters.in_packets.wrapping_add(1);
                counters.in_bytes = counters.in_bytes.wrapping_add(bytes);
            });
            eip(outcome.sender, |counters| {
                counters.out_packets = counters.out_packets.wrapping_add(1);
                counters.out_bytes = counters.out_bytes.wrapping_add(bytes);
            });
        }
        Verdict::Drop(reason) | Verdict::Refuse(reason) => {
            if let Some(event) = outcome.event {
                happened(event);
            }
            drop(reason);
            eip(outcome.receiver, |counters| {
                counters.in_dropped = counters.in_dropped.wrapping_add(1);
            });
            eip(outcome.sender, |counters| {
                counters.out_dropped = counters.out_dropped.wrapping_add(1);
            });
        }
        Verdict::Reply | Verdict::Ping | Verdict::Pass | Verdict::Daemon | Verdict::Slow => {}
    }
}

#[inline(always)]
fn eip(slot: u32, change: impl FnOnce(&mut EipCounters)) {
    if slot != NONE
        && let Some(counters) = EIP_COUNTERS.get_ptr_mut(slot)
    {
        // SAFETY: the pointer is to this CPU's copy, valid while the program runs; programs do not preempt each other
        // on a CPU in a way that keeps two references alive.
        change(unsafe { &mut *counters });
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
        // SAFETY: as in `eip`.
        unsafe { *counter = (*counter).wrapping_add(1) };
    }
}
