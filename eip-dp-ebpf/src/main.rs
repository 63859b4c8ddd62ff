//! The programs of eip-dp: XDP and tc on uplinks and ports.
//!
//! What happens to a packet is in `eip_dp_common::pipeline`; here are the entry points, where
//! packets are ([`context`]), where the tables are ([`maps`]), the counters ([`counters`]) and the
//! ways out.
//!
//! XDP's slow path is the tc program of the same interface: what XDP does not do itself it passes
//! on untouched. What the fast path of XDP leaves, IPv6, ARP and neighbour discovery, pings of the
//! gateway, ICMP errors of its own, and in tc the end of every way are programs that these go on to
//! ([`tail_call`]).
#![no_std]
#![no_main]
// Instructions that the compiler gives no other way to, see `counters` and `unaligned`.
#![feature(asm_experimental_arch)]

mod budgets;
mod context;
mod counters;
mod cut;
mod double_tag;
mod kernel;
mod layer3;
mod maps;
mod requests;
mod tail_call;
mod unaligned;
mod vlan;

use aya_ebpf::{
    bindings::{
        TC_ACT_SHOT, TC_ACT_UNSPEC, bpf_redir_neigh, bpf_redir_neigh__bindgen_ty_1, xdp_action,
    },
    helpers::generated::{bpf_redirect, bpf_redirect_neigh},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use context::{Frame, Skb};
use eip_dp_common::{
    abi::{Checksummed, Event, LinkKey, Reason, Uplink, stages},
    family::{V4, V6},
    packet::{NETWORK, Packet as _},
    pipeline::{self, Egress, LinkProtocols, Outcome, Verdict},
    tables::{self, LinkTables as _, Tables},
};
use maps::{DEVICES, Maps};
use vlan::{Tag, Tags};

/// On an uplink: packets for EIPs behind ports that XDP can send to. Most take the fast path, which
/// ends here.
#[xdp(frags)]
#[inline(always)]
fn uplink_xdp(context: XdpContext) -> u32 {
    if tail_call::is_ipv6_frame(&context) {
        run_fast_path(
            &context,
            pipeline::fast_path_from_uplink::<V6, Frame, Maps>,
            stages::UPLINK6,
        )
    } else {
        run_fast_path(
            &context,
            pipeline::fast_path_from_uplink::<V4, Frame, Maps>,
            stages::UPLINK4,
        )
    }
}

/// The rest of IPv4, and what is no IP.
#[xdp(frags)]
#[inline(always)]
fn uplink4_xdp(context: XdpContext) -> u32 {
    uplink_frame::<V4>(&context)
}

/// The same for IPv6.
#[xdp(frags)]
#[inline(always)]
fn uplink6_xdp(context: XdpContext) -> u32 {
    uplink_frame::<V6>(&context)
}

/// On a port that is a NIC or a VF, or whose guests complete their checksums: packets from ENIs.
/// Most take the fast path.
#[xdp(frags)]
#[inline(always)]
fn port_xdp(context: XdpContext) -> u32 {
    if tail_call::is_ipv6_frame(&context) {
        run_fast_path(
            &context,
            pipeline::fast_path_from_port::<V6, Frame, Maps>,
            stages::PORT6,
        )
    } else {
        run_fast_path(
            &context,
            pipeline::fast_path_from_port::<V4, Frame, Maps>,
            stages::PORT4,
        )
    }
}

/// The rest of IPv4, and what is no IP.
#[xdp(frags)]
#[inline(always)]
fn port4_xdp(context: XdpContext) -> u32 {
    port_frame::<V4>(&context)
}

/// The same for IPv6.
#[xdp(frags)]
#[inline(always)]
fn port6_xdp(context: XdpContext) -> u32 {
    port_frame::<V6>(&context)
}

/// On an uplink: what XDP left, and all of it where there is no XDP.
#[classifier]
#[inline(always)]
fn uplink_tc(context: TcContext) -> i32 {
    if !vlan::unstack(&context, |key| {
        Maps::has_uplink(key) && double_tag::concerns_us(&context)
    }) {
        return refused();
    }
    if tail_call::is_ipv6_skb(&context) {
        tail_call::enter_tc(&context, stages::UPLINK6);
    }
    uplink_skb::<V4>(&context, &UPLINK4)
}

/// The same for IPv6.
#[classifier]
#[inline(always)]
fn uplink6_tc(context: TcContext) -> i32 {
    uplink_skb::<V6>(&context, &UPLINK6)
}

/// On an uplink without Ethernet: what is ours goes on as on any other.
#[classifier]
#[inline(always)]
fn uplink_l3_tc(context: TcContext) -> i32 {
    match layer3::enter(&context) {
        Ok(()) => {
            let stage = if tail_call::is_ipv6_skb(&context) {
                stages::UPLINK6
            } else {
                stages::UPLINK4
            };
            tail_call::enter_tc(&context, stage);
            // The stage is not there yet. Nothing of a tenant's enters the host's own routing.
            drop_packet(Reason::TableBusy)
        }
        Err(Ok(action)) => action,
        Err(Err(reason)) => drop_packet(reason),
    }
}

/// On a port: packets from ENIs, and what XDP left where the port has XDP.
#[classifier]
#[inline(always)]
fn port_tc(context: TcContext) -> i32 {
    if !vlan::unstack(&context, Maps::has_port) {
        return refused();
    }
    if tail_call::is_ipv6_skb(&context) {
        tail_call::enter_tc(&context, stages::PORT6);
    }
    port_skb::<V4>(&context, &PORT4)
}

/// The same for IPv6.
#[classifier]
#[inline(always)]
fn port6_tc(context: TcContext) -> i32 {
    port_skb::<V6>(&context, &PORT6)
}

/// ARP on an uplink.
#[classifier]
#[inline(always)]
fn uplink_arp(context: TcContext) -> i32 {
    one_step(&context, pipeline::discovery_from_uplink::<V4, Skb, Maps>)
}

/// Neighbour discovery on an uplink.
#[classifier]
#[inline(always)]
fn uplink_nd(context: TcContext) -> i32 {
    one_step(&context, pipeline::discovery_from_uplink::<V6, Skb, Maps>)
}

/// ARP on a port.
#[classifier]
#[inline(always)]
fn port_arp(context: TcContext) -> i32 {
    one_step(&context, pipeline::discovery_from_port::<V4, Skb, Maps>)
}

/// Neighbour discovery on a port.
#[classifier]
#[inline(always)]
fn port_nd(context: TcContext) -> i32 {
    one_step(&context, pipeline::discovery_from_port::<V6, Skb, Maps>)
}

/// A ping of the gateway.
#[classifier]
#[inline(always)]
fn ping4(context: TcContext) -> i32 {
    one_step(&context, pipeline::answer_ping::<V4, Skb, Maps>)
}

/// The same for IPv6.
#[classifier]
#[inline(always)]
fn ping6(context: TcContext) -> i32 {
    one_step(&context, pipeline::answer_ping::<V6, Skb, Maps>)
}

/// The end of every packet's egress: what becomes of it, and counting.
#[classifier]
#[inline(always)]
fn finish(context: TcContext) -> i32 {
    finish_tc(
        &Skb::as_it_is(&context),
        tail_call::take_handoff().outcome(),
    )
}

/// A packet that is larger than its way out, and may be cut.
#[classifier]
#[inline(always)]
fn fragment(context: TcContext) -> i32 {
    let outcome = tail_call::take_handoff().outcome();
    let begun = cut::begin(&context, outcome.mtu as usize);
    if begun.is_ok() {
        counters::count_event(Event::Fragmented);
    }
    next_fragment(&context, begun)
}

/// One of its fragments.
#[classifier]
#[inline(always)]
fn fragments(context: TcContext) -> i32 {
    next_fragment(&context, cut::next(&context))
}

/// Goes on to the next fragment, if there is one.
#[inline(always)]
fn next_fragment(context: &TcContext, before: Result<Option<i32>, Reason>) -> i32 {
    match before {
        Ok(Some(action)) => action,
        Ok(None) => {
            tail_call::enter_tc(context, stages::FRAGMENTS);
            drop_packet(Reason::TooBig)
        }
        Err(reason) => drop_packet(reason),
    }
}

/// The last of a packet from an uplink whose sender has to know.
#[classifier]
#[inline(always)]
fn uplink4_error(context: TcContext) -> i32 {
    icmp_error(&context, pipeline::icmp_error_on_uplink::<V4, Skb, Maps>)
}

/// The same for IPv6.
#[classifier]
#[inline(always)]
fn uplink6_error(context: TcContext) -> i32 {
    icmp_error(&context, pipeline::icmp_error_on_uplink::<V6, Skb, Maps>)
}

/// The last of a packet from a port whose sender has to know.
#[classifier]
#[inline(always)]
fn port4_error(context: TcContext) -> i32 {
    icmp_error(&context, pipeline::icmp_error_on_port::<V4, Skb, Maps>)
}

/// The same for IPv6.
#[classifier]
#[inline(always)]
fn port6_error(context: TcContext) -> i32 {
    icmp_error(&context, pipeline::icmp_error_on_port::<V6, Skb, Maps>)
}

/// The stages that may follow.
struct Stages {
    /// For what is about addresses on the link.
    discovery: u32,
    /// Where the sender has to know.
    icmp_error: u32,
    /// For pings of the gateway.
    ping: u32,
}

const UPLINK4: Stages = Stages {
    discovery: stages::UPLINK_ARP,
    icmp_error: stages::UPLINK4_ERROR,
    ping: stages::PING4,
};
const UPLINK6: Stages = Stages {
    discovery: stages::UPLINK_ND,
    icmp_error: stages::UPLINK6_ERROR,
    ping: stages::PING6,
};
const PORT4: Stages = Stages {
    discovery: stages::PORT_ARP,
    icmp_error: stages::PORT4_ERROR,
    ping: stages::PING4,
};
const PORT6: Stages = Stages {
    discovery: stages::PORT_ND,
    icmp_error: stages::PORT6_ERROR,
    ping: stages::PING6,
};

#[inline(always)]
fn uplink_frame<F: LinkProtocols>(context: &XdpContext) -> u32
where
    Maps: Tables<F>,
{
    with_frame::<F>(context, Maps::has_uplink, |frame, key| {
        pipeline::packet_from_uplink::<F, _, _>(frame, &Maps, key)
    })
}

#[inline(always)]
fn port_frame<F: LinkProtocols>(context: &XdpContext) -> u32
where
    Maps: Tables<F>,
{
    with_frame::<F>(context, Maps::has_port, |frame, key| {
        pipeline::packet_from_port::<F, _, _>(frame, &Maps, key)
    })
}

#[inline(always)]
fn uplink_skb<F: LinkProtocols>(context: &TcContext, stages: &Stages) -> i32
where
    Maps: Tables<F>,
{
    let skb = Skb::as_it_is(context);
    if skb.has_priority_tag() && Maps::has_uplink(&key_of(&skb, skb.tag())) {
        return drop_packet(Reason::Malformed);
    }
    with_skb::<F>(context, stages, left_on_uplink, |skb, key| {
        pipeline::packet_from_uplink::<F, _, _>(skb, &Maps, key)
    })
}

#[inline(always)]
fn port_skb<F: LinkProtocols>(context: &TcContext, stages: &Stages) -> i32
where
    Maps: Tables<F>,
{
    with_skb::<F>(
        context,
        stages,
        |_| None,
        |skb, key| pipeline::packet_from_port::<F, _, _>(skb, &Maps, key),
    )
}

/// What becomes of a frame from an uplink for its tag alone; `None` for one that is looked at.
#[inline(always)]
fn left_on_uplink(tag: Tag) -> Option<i32> {
    match tag {
        Tag::None => None,
        Tag::Vlan(_) if tag.vlan() != 0 => None,
        Tag::Vlan(_) | Tag::Service(_) => Some(TC_ACT_UNSPEC),
    }
}

/// The link that an skb came in on.
#[inline(always)]
fn key_of(skb: &Skb, tag: Tag) -> LinkKey {
    match tag {
        Tag::Service(control) => {
            let inner = vlan::inner(skb.stacked());
            LinkKey::stacked(skb.ifindex(), control & vlan::VLAN_ID, inner)
        }
        Tag::None | Tag::Vlan(_) => {
            LinkKey::stacked(skb.ifindex(), skb.outer() & vlan::VLAN_ID, tag.vlan())
        }
    }
}

/// The fast path, and where it ends for a frame that is not for it: untouched, at the stage that
/// is.
#[inline(always)]
fn run_fast_path(
    context: &XdpContext,
    path: impl FnOnce(&mut Frame, &Maps, u32) -> Outcome,
    stage: u32,
) -> u32 {
    let mut frame = Frame::new(context);
    let ifindex = frame.ifindex();
    let mut outcome = path(&mut frame, &Maps, ifindex);
    if outcome.verdict == Verdict::Send {
        let action = DEVICES.redirect(outcome.egress.ifindex, u64::from(xdp_action::XDP_DROP));
        if let Ok(action) = action {
            counters::count_delivery(&outcome);
            return action;
        }
        // The interface was taken out of the map a moment ago.
        outcome.verdict = Verdict::Drop(Reason::TableBusy);
        counters::count(&outcome);
        return xdp_action::XDP_DROP;
    }
    tail_call::enter_xdp(context, stage);
    xdp_action::XDP_PASS
}

/// What becomes of an XDP frame: each verdict, once. `is_ours` tells a VLAN of ours from the
/// host's.
#[inline(always)]
fn with_frame<F: LinkProtocols>(
    context: &XdpContext,
    is_ours: impl FnOnce(&LinkKey) -> bool,
    path: impl FnOnce(&mut Frame, LinkKey) -> Outcome,
) -> u32 {
    if !Frame::new(context).has_headers() {
        // tc has them brought into one piece.
        return xdp_action::XDP_PASS;
    }
    let tags = Tags::of(context);
    let key = tags.key(Frame::new(context).ifindex());
    let is_tagged = tags.are_there && !tags.is_priority;
    if is_tagged && (key.vlan == 0 || !is_ours(&key)) {
        return xdp_action::XDP_PASS;
    }
    if tags.are_there && !vlan::pop(context, tags.control) {
        return xdp_action::XDP_PASS;
    }
    let mut frame = Frame::new(context);
    let mut outcome = if pipeline::is_discovery::<F, _>(&frame) {
        // Answered by tc.
        Outcome::START
    } else {
        path(&mut frame, key)
    };
    pipeline::punt_icmp_error::<F, _, _>(&frame, &Maps, &mut outcome);
    let action = match outcome.verdict {
        Verdict::Send => match tag_frame(context, outcome.egress.vlan) {
            Ok(()) => DEVICES
                .redirect(outcome.egress.ifindex, u64::from(xdp_action::XDP_DROP))
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
        | Verdict::PuntToDaemon
        | Verdict::Punt
        | Verdict::SendUnresolved
        | Verdict::SendToNeighbour
        | Verdict::Fragment
        | Verdict::Reply
        | Verdict::Ping
        | Verdict::IcmpError(_) => match tag_frame(context, tags.control) {
            Ok(()) => xdp_action::XDP_PASS,
            Err(reason) => {
                outcome.verdict = Verdict::Drop(reason);
                xdp_action::XDP_DROP
            }
        },
        Verdict::Drop(_) => xdp_action::XDP_DROP,
    };
    counters::count(&outcome);
    action
}

/// What becomes of an skb: each verdict, once.
#[inline(always)]
fn finish_tc(skb: &Skb, mut outcome: Outcome) -> i32 {
    let result = match outcome.verdict {
        Verdict::Send => {
            tagged(skb, outcome.egress.vlan).map(|()| redirect(outcome.egress.ifindex))
        }
        Verdict::SendUnresolved => tagged(skb, outcome.egress.vlan).and_then(|()| {
            let (is_ipv6, address) = next_hop(&outcome.egress, skb.is_ipv6())?;
            Ok(resolve(outcome.egress.ifindex, is_ipv6, address))
        }),
        Verdict::SendToNeighbour => tagged(skb, 0).and_then(|()| {
            let address = destination(skb)?;
            Ok(resolve(outcome.egress.ifindex, skb.is_ipv6(), address))
        }),
        Verdict::Reply | Verdict::IcmpError(_) => restacked(skb).map(|()| redirect(skb.ifindex())),
        Verdict::Pass | Verdict::Punt => restacked(skb).map(|()| TC_ACT_UNSPEC),
        // The stage for it is not there.
        Verdict::Ping => Err(Reason::GatewayService),
        Verdict::Fragment => Err(Reason::TooBig),
        Verdict::PuntToDaemon => {
            requests::hand_off(skb, key_of(skb, skb.tag())).map(|()| TC_ACT_SHOT)
        }
        Verdict::Drop(_) => Ok(TC_ACT_SHOT),
    };
    let action = result.unwrap_or_else(|reason| {
        outcome.verdict = Verdict::Drop(reason);
        TC_ACT_SHOT
    });
    counters::count(&outcome);
    action
}

#[inline(always)]
fn redirect(ifindex: u32) -> i32 {
    // SAFETY: plain integers.
    unsafe { bpf_redirect(ifindex, 0) as i32 }
}

#[inline(always)]
fn tag_frame(context: &XdpContext, tags: u32) -> Result<(), Reason> {
    if tags == 0 || vlan::push(context, tags) {
        Ok(())
    } else {
        Err(Reason::KernelRefused)
    }
}

#[inline(always)]
fn tagged(skb: &Skb, vlans: u32) -> Result<(), Reason> {
    if vlan::retag(skb, vlans) {
        Ok(())
    } else {
        Err(Reason::KernelRefused)
    }
}

/// Puts the outer tag back that was taken off.
#[inline(always)]
fn restacked(skb: &Skb) -> Result<(), Reason> {
    let outer = skb.outer();
    if outer == 0 || vlan::push_outer(skb, outer) {
        Ok(())
    } else {
        Err(Reason::KernelRefused)
    }
}

/// Not looked at: the kernel has no memory to take its outer tag off.
#[inline(always)]
fn refused() -> i32 {
    drop_packet(Reason::KernelRefused)
}

/// Not delivered, and of nobody.
#[inline(always)]
fn drop_packet(reason: Reason) -> i32 {
    counters::count(&Outcome::dropped(reason));
    TC_ACT_SHOT
}

/// The uplink's next hop, an IPv4 address in the first four bytes, and whether it is an IPv6 one:
/// also IPv4's may be (RFC 8950).
///
/// # Errors
/// [`Reason::TableBusy`] if the uplink was taken away a moment ago.
#[inline(always)]
fn next_hop(egress: &Egress, is_ipv6: bool) -> Result<(bool, [u8; 16]), Reason> {
    let mut uplink = Uplink::zeroed();
    let key = LinkKey::stacked(
        egress.ifindex,
        vlan::outer(egress.vlan),
        vlan::inner(egress.vlan),
    );
    if tables::find(&mut uplink, &key, |key, into| Maps.uplink(key, into)) != Ok(true) {
        return Err(Reason::TableBusy);
    }
    let [a, b, c, d] = uplink.next_hop4;
    Ok(if is_ipv6 || uplink.next_hop4 == [0; 4] {
        (true, uplink.next_hop6)
    } else {
        (false, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    })
}

/// The packet's destination, likewise.
#[inline(always)]
fn destination(skb: &Skb) -> Result<[u8; 16], Reason> {
    const DESTINATION4: usize = NETWORK + 16;
    const DESTINATION6: usize = NETWORK + 24;
    if skb.is_ipv6() {
        return skb.read(DESTINATION6).ok_or(Reason::KernelRefused);
    }
    let [a, b, c, d] = skb.read(DESTINATION4).ok_or(Reason::KernelRefused)?;
    Ok([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// Sends to a neighbour on that interface, by the kernel's neighbour table.
#[inline(always)]
fn resolve(ifindex: u32, is_ipv6: bool, address: [u8; 16]) -> i32 {
    const AF_INET: u32 = 2;
    const AF_INET6: u32 = 10;
    let mut next_hop = bpf_redir_neigh {
        nh_family: if is_ipv6 { AF_INET6 } else { AF_INET },
        __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 {
            // SAFETY: 16 bytes for 16 bytes.
            ipv6_nh: unsafe { core::mem::transmute::<[u8; 16], [u32; 4]>(address) },
        },
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    let size = size_of::<bpf_redir_neigh>() as i32;
    // SAFETY: `next_hop` is initialised, of that size, and outlives the call.
    unsafe { bpf_redirect_neigh(ifindex, &raw mut next_hop, size, 0) as i32 }
}

#[inline(always)]
fn with_skb<F: LinkProtocols>(
    context: &TcContext,
    stages: &Stages,
    left: impl FnOnce(Tag) -> Option<i32>,
    path: impl FnOnce(&mut Skb, LinkKey) -> Outcome,
) -> i32 {
    let mut skb = match Skb::new(context) {
        Ok(skb) => skb,
        Err(reason) => {
            counters::count(&Outcome::dropped(reason));
            return TC_ACT_SHOT;
        }
    };
    let tag = skb.tag();
    if let Some(action) = left(tag) {
        return action;
    }
    if pipeline::is_discovery::<F, _>(&skb) {
        tail_call::enter_tc(context, stages.discovery);
    }
    let key = key_of(&skb, tag);
    let outcome = path(&mut skb, key);
    if outcome.wants_icmp_error() {
        tail_call::hand_off(&outcome);
        tail_call::enter_tc(context, stages.icmp_error);
    }
    if outcome.verdict == Verdict::Ping {
        tail_call::enter_tc(context, stages.ping);
    }
    if outcome.verdict == Verdict::Fragment {
        tail_call::hand_off(&outcome);
        tail_call::enter_tc(context, stages::FRAGMENT);
        // The stage for it is not there. (Of the outcome the verifier misses what such a verdict
        // leaves open.)
        return drop_packet(Reason::TooBig);
    }
    tail_call::finish(context, &outcome)
}

/// A stage that is all of a packet's way.
#[inline(always)]
fn one_step(context: &TcContext, path: impl FnOnce(&mut Skb, &Maps, LinkKey) -> Outcome) -> i32 {
    let Ok(mut skb) = Skb::new(context) else {
        return tail_call::finish(context, &Outcome::START);
    };
    let key = key_of(&skb, skb.tag());
    let mut outcome = path(&mut skb, &Maps, key);
    // Hidden: the compiler would write what of it is always zero, and stands together, by `memset`.
    outcome.mtu = unaligned::opaque(u64::from(outcome.mtu)) as u32;
    tail_call::finish(context, &outcome)
}

/// The stage that tells a sender.
#[inline(always)]
fn icmp_error(
    context: &TcContext,
    icmp_error: impl FnOnce(&mut Skb, &Maps, LinkKey, &mut Outcome),
) -> i32 {
    let mut outcome = tail_call::take_handoff().concerning_sender();
    match Skb::new(context) {
        Ok(mut skb) => {
            let key = key_of(&skb, skb.tag());
            icmp_error(&mut skb, &Maps, key, &mut outcome);
            tail_call::finish(context, &outcome)
        }
        Err(_) => tail_call::finish(context, &outcome),
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
