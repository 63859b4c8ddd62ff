//! The programs of eip-dp: XDP and tc on uplinks and ports.
//!
//! What happens to a packet is in `eip_dp_common::path`; here are the entrances, where packets are ([`context`]), where
//! the tables are ([`maps`]), the counters ([`account`]) and the ways out.
//!
//! XDP's slow path is the tc program of the same interface: what XDP does not do itself it passes on untouched.
#![no_std]
#![no_main]

mod account;
mod context;
mod maps;

use aya_ebpf::{
    bindings::{
        TC_ACT_OK, TC_ACT_SHOT, TC_ACT_UNSPEC, bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1,
        xdp_action,
    },
    helpers::generated::{bpf_redirect, bpf_redirect_neigh, bpf_skb_change_type},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use context::{Frame, Skb};
use eip_dp_common::{
    abi::{LinkKey, Reason, Sealed, Uplink},
    path::{self, Outcome, Verdict},
    tables::{self, Links as _},
};
use maps::{DEVICES, Maps};

/// On an uplink: packets for EIPs behind ports that XDP can send to.
#[xdp(frags)]
fn uplink_xdp(context: XdpContext) -> u32 {
    let mut frame = Frame::new(&context);
    let key = LinkKey::untagged(frame.ifindex());
    finish_xdp(path::from_uplink(&mut frame, &Maps, key))
}

/// On a port that is a NIC or a VF: packets from ENIs.
#[xdp(frags)]
fn port_xdp(context: XdpContext) -> u32 {
    let mut frame = Frame::new(&context);
    let key = LinkKey::untagged(frame.ifindex());
    finish_xdp(path::from_port(&mut frame, &Maps, key))
}

/// On an uplink: what XDP left, and all of it where there is no XDP.
#[classifier]
fn uplink_tc(context: TcContext) -> i32 {
    with_skb(&context, |skb| {
        if skb.vlan().is_some() {
            return None;
        }
        let key = LinkKey::untagged(skb.ifindex());
        Some(path::from_uplink(skb, &Maps, key))
    })
}

/// On a port: packets from ENIs, and what XDP left where the port has XDP.
#[classifier]
fn port_tc(context: TcContext) -> i32 {
    with_skb(&context, |skb| {
        match skb.vlan() {
            None => {
                let key = LinkKey::untagged(skb.ifindex());
                Some(path::from_port(skb, &Maps, key))
            }
            // Priority tags name no VLAN: the kernel would take the frame as if it had none, into its own routing.
            Some(0) => Some(Outcome::dropped(Reason::UnsupportedEthertype)),
            Some(_) => None,
        }
    })
}

/// What becomes of an XDP frame: each verdict, once.
#[inline(always)]
fn finish_xdp(mut outcome: Outcome) -> u32 {
    let action = match outcome.verdict {
        Verdict::Send { ifindex } => DEVICES
            .redirect(ifindex, u64::from(xdp_action::XDP_DROP))
            .unwrap_or_else(|drop| {
                // The interface was taken out of the map a moment ago.
                outcome.verdict = Verdict::Drop(Reason::TableBusy);
                drop
            }),
        Verdict::Reply => xdp_action::XDP_TX,
        Verdict::Pass | Verdict::Daemon | Verdict::Slow | Verdict::Resolve { .. } => {
            xdp_action::XDP_PASS
        }
        Verdict::Drop(_) => xdp_action::XDP_DROP,
    };
    account::count(&outcome);
    action
}

/// What becomes of an skb: each verdict, once.
#[inline(always)]
fn finish_tc(skb: &Skb, mut outcome: Outcome) -> i32 {
    let action = match outcome.verdict {
        // SAFETY: plain integers.
        Verdict::Send { ifindex } => unsafe { bpf_redirect(ifindex, 0) as i32 },
        Verdict::Resolve { ifindex } => resolve(ifindex).unwrap_or_else(|reason| {
            outcome.verdict = Verdict::Drop(reason);
            TC_ACT_SHOT
        }),
        // SAFETY: plain integers.
        Verdict::Reply => unsafe { bpf_redirect(skb.ifindex(), 0) as i32 },
        Verdict::Pass | Verdict::Slow => TC_ACT_UNSPEC,
        Verdict::Daemon => {
            // Only the daemon's packet socket is to see it: no protocol handler of the host takes a packet for
            // another host.
            // SAFETY: the context is the kernel's.
            if unsafe { bpf_skb_change_type(skb.as_ptr(), PACKET_OTHERHOST) } == 0 {
                TC_ACT_OK
            } else {
                outcome.verdict = Verdict::Drop(Reason::KernelRefused);
                TC_ACT_SHOT
            }
        }
        Verdict::Drop(_) => TC_ACT_SHOT,
    };
    account::count(&outcome);
    action
}

/// `PACKET_OTHERHOST` of include/uapi/linux/if_packet.h.
const PACKET_OTHERHOST: u32 = 3;

/// Sends to the uplink's next hop by the kernel's neighbour table.
///
/// # Errors
/// [`Reason::TableBusy`] if the uplink was taken away a moment ago.
#[inline(always)]
fn resolve(ifindex: u32) -> Result<i32, Reason> {
    const AF_INET: u32 = 2;
    let mut uplink = Uplink::zeroed();
    if tables::find(&mut uplink, &LinkKey::untagged(ifindex), |key| {
        Maps.uplink(key)
    }) != Ok(true)
    {
        return Err(Reason::TableBusy);
    }
    let mut next_hop = bpf_redir_neigh {
        nh_family: AF_INET,
        __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 { ipv6_nh: [0; 4] },
    };
    next_hop.__bindgen_anon_1.ipv4_nh = u32::from_ne_bytes(uplink.next_hop4);
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    let size = size_of::<bpf_redir_neigh>() as i32;
    // SAFETY: `next_hop` is initialised, of that size, and outlives the call.
    Ok(unsafe { bpf_redirect_neigh(ifindex, &raw mut next_hop, size, 0) as i32 })
}

#[inline(always)]
fn with_skb(context: &TcContext, path: impl FnOnce(&mut Skb) -> Option<Outcome>) -> i32 {
    match Skb::new(context) {
        Ok(mut skb) => match path(&mut skb) {
            Some(outcome) => finish_tc(&skb, outcome),
            None => TC_ACT_UNSPEC,
        },
        Err(reason) => {
            account::count(&Outcome::dropped(reason));
            TC_ACT_SHOT
        }
    }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: a program that could would not pass the verifier.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
