//! Programs that others go on to: a packet's way in pieces, each before the verifier by itself,
//! with a stack of its own.

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_md},
    macros::map,
    maps::{PerCpuArray, ProgramArray},
    programs::{TcContext, XdpContext},
};
use eip_dp_common::{
    abi::{Reason, stages},
    packet::{IPV6, QINQ, VLAN},
    pipeline::{Handoff, Outcome, Verdict},
};

use crate::{context::Skb, unaligned};

#[map]
static XDP_STAGES: ProgramArray = ProgramArray::with_max_entries(stages::COUNT, 0);
#[map]
static TC_STAGES: ProgramArray = ProgramArray::with_max_entries(stages::COUNT, 0);
/// What the stage before found out.
#[map]
static HANDOFF: PerCpuArray<Handoff> = PerCpuArray::with_max_entries(1, 0);

/// Goes on to a stage. Returns only where it is not there, as in the moment in which the daemon
/// loads the programs for the first time.
#[inline(always)]
pub fn enter_xdp(context: &XdpContext, stage: u32) {
    // SAFETY: the context is the kernel's.
    unsafe { XDP_STAGES.tail_call(context, stage) };
}

/// Likewise on an skb.
#[inline(always)]
pub fn enter_tc(context: &TcContext, stage: u32) {
    // SAFETY: as above.
    unsafe { TC_STAGES.tail_call(context, stage) };
}

/// Leaves the outcome for the next stage, on this CPU.
#[inline(always)]
pub fn hand_off(outcome: &Outcome) {
    if let Some(place) = HANDOFF.get_ptr_mut(0) {
        // SAFETY: the pointer is to this CPU's copy, valid while the program runs; programs of a
        // CPU run one after the other.
        unsafe { *place = Handoff::new(outcome) };
    }
}

/// Takes it.
#[inline(always)]
pub fn take_handoff() -> Handoff {
    match HANDOFF.get_ptr_mut(0) {
        // SAFETY: as in `hand_off`.
        Some(place) => unsafe { *place },
        None => Handoff::new(&Outcome::dropped(Reason::KernelRefused)),
    }
}

/// Goes on to the end of the packet's way.
#[inline(always)]
pub fn finish(context: &TcContext, outcome: &Outcome) -> i32 {
    if matches!(outcome.verdict, Verdict::Pass | Verdict::Punt)
        && Skb::as_it_is(context).outer() == 0
    {
        return TC_ACT_UNSPEC;
    }
    hand_off(outcome);
    enter_tc(context, stages::FINISH);
    TC_ACT_SHOT
}

/// Whether an XDP frame is IPv6, in a VLAN, in one within another, or in none.
#[inline(always)]
pub fn is_ipv6_frame(context: &XdpContext) -> bool {
    let context: *mut xdp_md = context.ctx;
    // SAFETY: the context is the kernel's and valid while the program runs.
    let (start, end) = unsafe { ((*context).data as usize, (*context).data_end as usize) };
    if start + 14 > end {
        return false;
    }
    // SAFETY: so many bytes are the packet's, as just checked.
    let outer = unsafe { unaligned::load((start + 12) as *const [u8; 2]) };
    if (outer != VLAN && outer != QINQ) || start + 18 > end {
        return outer == IPV6;
    }
    // SAFETY: as above.
    let second = unsafe { unaligned::load((start + 16) as *const [u8; 2]) };
    if outer == VLAN || second != VLAN || start + 22 > end {
        return second == IPV6;
    }
    // SAFETY: as above.
    let third = unsafe { unaligned::load((start + 20) as *const [u8; 2]) };
    third == IPV6
}

/// Whether an skb is IPv6.
#[inline(always)]
pub fn is_ipv6_skb(context: &TcContext) -> bool {
    // SAFETY: the context is the kernel's and valid while the program runs.
    let protocol = unsafe { (*context.skb.skb).protocol };
    protocol == u32::from(u16::from_ne_bytes(IPV6))
}
