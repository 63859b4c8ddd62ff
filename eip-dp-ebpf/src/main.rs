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
mod limit;
mod maps;
mod vlan;

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
    path::{self, Outcome, Verdict, Way},
    tables::{self, Links as _},
};
use maps::{DEVICES, Maps};
use vlan::Tag;

/// On an uplink: packets for EIPs behind ports that XDP can send to.
#[xdp(frags)]
fn uplink_xdp(context: XdpContext) -> u32 {
    with_frame(&context, Maps::has_uplink, |frame, key| {
        path::from_uplink(frame, &Maps, key)
    })
}

/// On a port that is a NIC or a VF: packets from ENIs.
#[xdp(frags)]
fn port_xdp(context: XdpContext) -> u32 {
    with_frame(&context, Maps::has_port, |frame, key| {
        path::from_port(frame, &Maps, key)
    })
}

/// On an uplink: what XDP left, and all of it where there is no XDP.
#[classifier]
fn uplink_tc(context: TcContext) -> i32 {
    with_skb(&context, |skb, tag| match tag {
        Tag::None | Tag::Vlan(1..) => {
            let key = LinkKey::tagged(skb.ifindex(), tag.vlan());
            Some(path::from_uplink(skb, &Maps, key))
        }
        Tag::Vlan(_) | Tag::Foreign => None,
    })
}

/// On a port: packets from ENIs, and what XDP left where the port has XDP.
#[classifier]
fn port_tc(context: TcContext) -> i32 {
    with_skb(&context, |skb, tag| {
        let key = LinkKey::tagged(skb.ifindex(), tag.vlan());
        match tag {
            Tag::None => Some(path::from_port(skb, &Maps, key)),
            Tag::Vlan(_) if key.vlan != 0 => Some(path::from_port(skb, &Maps, key)),
            // Priority tags name no VLAN: the kernel would take the frame as if it had none, into its own routing.
            Tag::Vlan(_) => Some(Outcome::dropped(Reason::UnsupportedEthertype)),
            Tag::Foreign => None,
        }
    })
}

/// What becomes of an XDP frame: each verdict, once. `is_ours` tells a VLAN of ours from the host's.
#[inline(always)]
fn with_frame(
    context: &XdpContext,
    is_ours: impl FnOnce(&LinkKey) -> bool,
    path: impl FnOnce(&mut Frame, LinkKey) -> Outcome,
) -> u32 {
    let tag = Tag::of(context);
    let key = LinkKey::tagged(Frame::new(context).ifindex(), tag.vlan());
    if tag != Tag::None && (key.vlan == 0 || !is_ours(&key) || !vlan::pop(context)) {
        return xdp_action::XDP_PASS;
    }
    let mut outcome = path(&mut Frame::new(context), key);
    let action = match outcome.verdict {
        Verdict::Send => match tag_frame(context, outcome.way.vlan) {
            Ok(()) => DEVICES
                .redirect(outcome.way.ifindex, u64::from(xdp_action::XDP_DROP))
                .unwrap_or_else(|drop| {
                    // The interface was taken out of the map a moment ago.
                    outcome.verdict = Verdict::Drop(Reason::TableBusy);
                    drop
                }),
            Err(reason) => {
                outcome.verdict = Verdict::Drop(reason);
                xdp_action::XDP_DROP
            }
        },
        Verdict::Pass
        | Verdict::Daemon
        | Verdict::Slow
        | Verdict::Resolve
        | Verdict::Reply
        | Verdict::Refuse(_)
        | Verdict::Kernel => match tag {
            Tag::Vlan(control) if !vlan::push(context, control) => {
                outcome.verdict = Verdict::Drop(Reason::KernelRefused);
                xdp_action::XDP_DROP
            }
            _ => xdp_action::XDP_PASS,
        },
        Verdict::Drop(_) => xdp_action::XDP_DROP,
    };
    account::count(&outcome);
    action
}

/// What becomes of an skb: each verdict, once.
#[inline(always)]
fn finish_tc(skb: &Skb, mut outcome: Outcome) -> i32 {
    let result = match outcome.verdict {
        Verdict::Send => tagged(skb, outcome.way.vlan).map(|()| redirect(outcome.way.ifindex)),
        Verdict::Resolve => {
            let is_ipv6 = skb.is_ipv6();
            tagged(skb, outcome.way.vlan).and_then(|()| resolve(&outcome.way, is_ipv6))
        }
        Verdict::Reply | Verdict::Refuse(_) => Ok(redirect(skb.ifindex())),
        Verdict::Pass | Verdict::Slow => Ok(TC_ACT_UNSPEC),
        // In the host's own stack, whoever else looks at it.
        Verdict::Kernel => tagged(skb, 0).map(|()| TC_ACT_OK),
        // Only the daemon's packet socket is to see it: no protocol handler of the host takes a packet for another host.
        // SAFETY: the context is the kernel's.
        Verdict::Daemon => match unsafe { bpf_skb_change_type(skb.as_ptr(), PACKET_OTHERHOST) } {
            0 => Ok(TC_ACT_OK),
            _ => Err(Reason::KernelRefused),
        },
        Verdict::Drop(_) => Ok(TC_ACT_SHOT),
    };
    let action = result.unwrap_or_else(|reason| {
        outcome.verdict = Verdict::Drop(reason);
        TC_ACT_SHOT
    });
    account::count(&outcome);
    action
}

#[inline(always)]
fn redirect(ifindex: u32) -> i32 {
    // SAFETY: plain integers.
    unsafe { bpf_redirect(ifindex, 0) as i32 }
}

/// A VLAN's number, which the path keeps in a word.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "twelve bits")]
const fn id(vlan: u32) -> u16 {
    vlan as u16
}

#[inline(always)]
fn tag_frame(context: &XdpContext, vlan: u32) -> Result<(), Reason> {
    if vlan == 0 || vlan::push(context, id(vlan)) {
        Ok(())
    } else {
        Err(Reason::KernelRefused)
    }
}

#[inline(always)]
fn tagged(skb: &Skb, vlan: u32) -> Result<(), Reason> {
    if vlan::retag(skb, id(vlan)) {
        Ok(())
    } else {
        Err(Reason::KernelRefused)
    }
}

/// `PACKET_OTHERHOST` of include/uapi/linux/if_packet.h.
const PACKET_OTHERHOST: u32 = 3;

/// Sends to the uplink's next hop by the kernel's neighbour table.
///
/// # Errors
/// [`Reason::TableBusy`] if the uplink was taken away a moment ago.
#[inline(always)]
fn resolve(way: &Way, is_ipv6: bool) -> Result<i32, Reason> {
    const AF_INET: u32 = 2;
    const AF_INET6: u32 = 10;
    let mut uplink = Uplink::zeroed();
    let key = LinkKey::tagged(way.ifindex, id(way.vlan));
    if tables::find(&mut uplink, &key, |key, into| Maps.uplink(key, into)) != Ok(true) {
        return Err(Reason::TableBusy);
    }
    let [a, b, c, d] = uplink.next_hop4;
    let (nh_family, address) = if is_ipv6 {
        (AF_INET6, uplink.next_hop6)
    } else {
        (AF_INET, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    };
    let mut next_hop = bpf_redir_neigh {
        nh_family,
        __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 {
            // SAFETY: 16 bytes for 16 bytes.
            ipv6_nh: unsafe { core::mem::transmute::<[u8; 16], [u32; 4]>(address) },
        },
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    let size = size_of::<bpf_redir_neigh>() as i32;
    // SAFETY: `next_hop` is initialised, of that size, and outlives the call.
    Ok(unsafe { bpf_redirect_neigh(way.ifindex, &raw mut next_hop, size, 0) as i32 })
}

#[inline(always)]
fn with_skb(context: &TcContext, path: impl FnOnce(&mut Skb, Tag) -> Option<Outcome>) -> i32 {
    match Skb::new(context) {
        Ok(mut skb) => {
            let tag = skb.tag();
            match path(&mut skb, tag) {
                Some(outcome) => finish_tc(&skb, outcome),
                None => TC_ACT_UNSPEC,
            }
        }
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
