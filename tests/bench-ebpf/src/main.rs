//! The XDP programs of `cargo xtask bench`: who sends, who counts, whom eip-dp is held against, and
//! what programs are timed with. What they and the driver tell each other is in the library of this
//! package.
#![no_std]
#![no_main]

mod frame;
mod generate;
mod rivals;
mod sink;

use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::{Array, DevMap, HashMap, PerCpuArray, ProgramArray},
    programs::XdpContext,
};
use eip_dp_bench_ebpf::{MAX_VPCS, Plan, SEQUENCE, STEPS, Seen, State, Translated};

#[map]
static PLAN: Array<Plan> = Array::with_max_entries(1, 0);
#[map]
static STATES: PerCpuArray<State> = PerCpuArray::with_max_entries(1, 0);
#[map]
static SEEN: PerCpuArray<Seen> = PerCpuArray::with_max_entries(1, 0);
#[map]
static INTERFACES: Array<u32> = Array::with_max_entries(MAX_VPCS, 0);
#[map]
static SEQUENCES: Array<[u32; STEPS as usize]> = Array::with_max_entries(SEQUENCE / STEPS, 0);
#[map]
static DEVICES: DevMap = DevMap::with_max_entries(MAX_VPCS, 0);
#[map]
static MACS: Array<[u8; 12]> = Array::with_max_entries(1, 0);
#[map]
static TRANSLATED: HashMap<[u8; 4], Translated> = HashMap::with_max_entries(1 << 20, 0);
#[map]
static UNDER_TEST: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
static FRAME: Array<[u8; 128]> = Array::with_max_entries(1, 0);

/// What a program does that met a frame it cannot be about.
const STRANGE: u32 = xdp_action::XDP_ABORTED;

#[xdp]
fn udp4(context: XdpContext) -> u32 {
    generate::udp4(&context).unwrap_or(STRANGE)
}

#[xdp]
fn udp6(context: XdpContext) -> u32 {
    generate::udp6(&context).unwrap_or(STRANGE)
}

#[xdp]
fn error4(context: XdpContext) -> u32 {
    generate::error4(&context).unwrap_or(STRANGE)
}

#[xdp]
fn error6(context: XdpContext) -> u32 {
    generate::error6(&context).unwrap_or(STRANGE)
}

#[xdp]
fn sink4(context: XdpContext) -> u32 {
    sink::count(&context, sink::judge4);
    xdp_action::XDP_DROP
}

#[xdp]
fn sink6(context: XdpContext) -> u32 {
    sink::count(&context, sink::judge6);
    xdp_action::XDP_DROP
}

#[xdp]
fn bare(context: XdpContext) -> u32 {
    rivals::bare(&context).unwrap_or(STRANGE)
}

#[xdp]
fn ceiling(_: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

#[xdp]
fn textbook(context: XdpContext) -> u32 {
    rivals::textbook(&context).unwrap_or(STRANGE)
}

/// Of multi-buffer frames too: only such programs go on to such programs.
#[xdp(frags)]
fn restore(context: XdpContext) -> u32 {
    let (Some(frame), Some(saved)) = (frame::head::<128>(&context), FRAME.get(0)) else {
        return STRANGE;
    };
    *frame = *saved;
    // SAFETY: the context is the kernel's.
    let _ = unsafe { UNDER_TEST.tail_call(&context, 0) };
    STRANGE
}

#[xdp(frags)]
fn empty(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: a program that could would not pass the verifier.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
