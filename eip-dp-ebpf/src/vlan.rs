//! VLAN tags: the packet path sees frames without any, and says by number which VLANs they are of
//! and go to: one, or one of 802.1Q within an outer one of 802.1ad.
//!
//! On an skb the kernel has taken the outermost tag off and keeps it beside; a second one is in the
//! frame. In an XDP frame all are part of the frame (where the driver left them there), are taken
//! off before the packet path and put back for whoever gets the frame untouched.
//!
//! Two tags, or the VLANs of two, are a word: the inner one in the lower half, the outer one in the
//! upper.

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::{bpf_skb_vlan_pop, bpf_skb_vlan_push, bpf_xdp_adjust_head},
    programs::{TcContext, XdpContext},
};
use eip_dp_common::{
    abi::LinkKey,
    packet::{NETWORK, QINQ, VLAN},
};

use crate::{context::Skb, unaligned};

/// The tag that the kernel keeps beside an skb.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// None.
    None,
    /// 802.1Q's, with its control information: priority and VLAN.
    Vlan(u16),
    /// 802.1ad's, with the same.
    Service(u16),
}

impl Tag {
    /// The VLAN, 0 for none.
    #[inline(always)]
    pub const fn vlan(self) -> u16 {
        match self {
            Self::Vlan(control) => control & VLAN_ID,
            Self::None | Self::Service(_) => 0,
        }
    }

    /// Whether it is a priority tag, of either kind.
    #[inline(always)]
    pub const fn is_priority(self) -> bool {
        match self {
            Self::None => false,
            Self::Vlan(control) | Self::Service(control) => control & VLAN_ID == 0,
        }
    }
}

/// The tags of an XDP frame. Both fields always have a value, which the verifier wants of whatever
/// the compiler spills.
#[derive(Clone, Copy)]
pub struct Tags {
    /// Whether there are any.
    pub are_there: bool,
    /// Whether it is a priority tag (802.1Q, VLAN 0), without another behind it: the frame is as if
    /// it had none (IEEE 802.1Q 6.9.1).
    pub is_priority: bool,
    /// The control information of one of 802.1Q, or of both; 0 for what can be nobody's VLAN.
    pub control: u32,
}

/// The VLAN in a tag's control information.
pub const VLAN_ID: u16 = 0xfff;
/// How long a tag is.
pub const TAG: usize = 4;

impl Tags {
    const NONE: Self = Self {
        are_there: false,
        is_priority: false,
        control: 0,
    };

    /// Those of an XDP frame.
    #[inline(always)]
    pub fn of(context: &XdpContext) -> Self {
        let Some(start) = head::<{ NETWORK + 2 }>(context.ctx) else {
            return Self::NONE;
        };
        // SAFETY: the pointer is to bytes of the packet that `head` has checked.
        let [_, _, _, _, _, _, _, _, _, _, _, _, a, b, high, low] = unsafe { *start };
        let first = u32::from(u16::from_be_bytes([high, low]));
        if [a, b] == VLAN {
            return Self {
                are_there: true,
                is_priority: first & VLAN_ID as u32 == 0 && !is_tagged_twice(context),
                control: first,
            };
        }
        if [a, b] != QINQ {
            return Self::NONE;
        }
        let mut tags = Self {
            are_there: true,
            is_priority: false,
            control: 0,
        };
        // An outer tag of VLAN 0 is a priority tag.
        if let Some(start) = head::<{ NETWORK + 2 + TAG }>(context.ctx)
            && first & VLAN_ID as u32 != 0
        {
            // SAFETY: as above.
            let [
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                c,
                d,
                high,
                low,
            ] = unsafe { *start };
            if [c, d] == VLAN {
                tags.control = first << 16 | u32::from(u16::from_be_bytes([high, low]));
            }
        }
        tags
    }

    /// The link that it came in on.
    #[inline(always)]
    pub const fn key(self, ifindex: u32) -> LinkKey {
        let (outer, vlan) = (outer(self.control), inner(self.control));
        LinkKey::stacked(ifindex, outer, vlan)
    }
}

/// Whether behind a frame's tag another one stands.
#[inline(always)]
fn is_tagged_twice(context: &XdpContext) -> bool {
    let Some(start) = head::<{ NETWORK + TAG }>(context.ctx) else {
        return true;
    };
    // SAFETY: as in `Tags::of`.
    let bytes = unsafe { unaligned::load(start) };
    let behind = [bytes[NETWORK + 2], bytes[NETWORK + 3]];
    behind == VLAN || behind == QINQ
}

/// The inner VLAN.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the lower half")]
pub const fn inner(tags: u32) -> u16 {
    tags as u16 & VLAN_ID
}

/// The outer VLAN, 0 for none.
#[inline(always)]
pub const fn outer(tags: u32) -> u16 {
    inner(tags >> 16)
}

/// Takes its tags off an XDP frame that has these; false, and the frame untouched, if the kernel
/// would refuse: it leaves no frame shorter than its header (net/core/filter.c,
/// bpf_xdp_adjust_head).
#[inline(always)]
pub fn pop(context: &XdpContext, tags: u32) -> bool {
    if outer(tags) == 0 {
        cut::<{ NETWORK + TAG }>(context)
    } else {
        cut::<{ NETWORK + 2 * TAG }>(context)
    }
}

/// Cuts `N` bytes down to the length of a header: what is behind the addresses.
#[inline(always)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a few bytes"
)]
fn cut<const N: usize>(context: &XdpContext) -> bool {
    let Some(start) = head::<N>(context.ctx) else {
        return false;
    };
    // SAFETY: the pointer is to `N` bytes of the packet, which nobody else writes while the program
    // runs, and `N` is a header and more; the helper is the last that happens, and pointers into
    // the packet are read anew after it.
    unsafe {
        let addresses = start.cast::<[u8; 12]>();
        let place = start.byte_add(N - NETWORK).cast::<[u8; 12]>();
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = *addresses;
        *place = [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5];
        bpf_xdp_adjust_head(context.ctx, (N - NETWORK) as i32) == 0
    }
}

/// Puts tags in front of an XDP frame's Ethernet type; false if the kernel refuses.
#[inline(always)]
pub fn push(context: &XdpContext, tags: u32) -> bool {
    let [outer_high, outer_low, high, low] = tags.to_be_bytes();
    let ([v0, v1], [q0, q1]) = (VLAN, QINQ);
    if outer(tags) == 0 {
        let Some(start) = open::<{ NETWORK + 2 }>(context, TAG) else {
            return false;
        };
        // SAFETY: as in `cut`.
        unsafe {
            let [_, _, _, _, d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = *start;
            *start = [
                d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, v0, v1, high, low,
            ];
        }
    } else {
        let Some(start) = open::<{ NETWORK + 2 + TAG }>(context, 2 * TAG) else {
            return false;
        };
        // SAFETY: as in `cut`.
        unsafe {
            let [
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                d0,
                d1,
                d2,
                d3,
                d4,
                d5,
                s0,
                s1,
                s2,
                s3,
                s4,
                s5,
            ] = *start;
            *start = [
                d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, q0, q1, outer_high, outer_low, v0,
                v1, high, low,
            ];
        }
    }
    true
}

/// Makes room in front of an XDP frame; the first `N` bytes of it then, `None` if the kernel
/// refuses.
#[inline(always)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a few bytes"
)]
fn open<const N: usize>(context: &XdpContext, room: usize) -> Option<*mut [u8; N]> {
    // SAFETY: the context is the kernel's; pointers into the packet are read anew after this.
    if unsafe { bpf_xdp_adjust_head(context.ctx, -(room as i32)) } != 0 {
        return None;
    }
    head(context.ctx)
}

/// The first bytes of an XDP frame.
#[inline(always)]
fn head<const N: usize>(context: *mut xdp_md) -> Option<*mut [u8; N]> {
    // SAFETY: the context is the kernel's and valid while the program runs.
    let (start, end) = unsafe { ((*context).data as usize, (*context).data_end as usize) };
    (start + N <= end).then_some(start as *mut [u8; N])
}

/// Takes a priority tag off an skb, as if it had never been there, and the outer tag off one of two
/// VLANs that `is_ours` knows, and keeps it for the stages; the inner one is then beside the frame,
/// as if it were the only one. False if the kernel refuses.
#[inline(always)]
pub fn unstack(context: &TcContext, is_ours: impl FnOnce(&LinkKey) -> bool) -> bool {
    let skb = Skb::as_it_is(context);
    // As many as a frame of ours can have.
    if !pop_priority(&skb) || !pop_priority(&skb) {
        return false;
    }
    let tags = skb.stacked();
    let key = LinkKey::stacked(skb.ifindex(), outer(tags), inner(tags));
    if key.outer == 0 || key.vlan == 0 || !is_ours(&key) {
        skb.keep_outer(0);
        return true;
    }
    #[allow(clippy::cast_possible_truncation, reason = "the upper half")]
    skb.keep_outer((tags >> 16) as u16);
    // SAFETY: as in `pop_priority`.
    unsafe { bpf_skb_vlan_pop(skb.as_ptr()) == 0 }
}

/// Takes off the tag that an skb has if it is a priority tag; false if the kernel refuses.
#[inline(always)]
fn pop_priority(skb: &Skb) -> bool {
    // SAFETY: the context is the kernel's, and pointers into the packet are read anew after this.
    // The helper moves a tag that it finds in the frame then beside it (net/core/skbuff.c,
    // skb_vlan_pop).
    !skb.tag().is_priority() || unsafe { bpf_skb_vlan_pop(skb.as_ptr()) } == 0
}

/// Gives an skb, of which an outer tag was taken off, the tags of these VLANs, or none for 0; false
/// if the kernel refuses.
#[inline(always)]
pub fn retag(skb: &Skb, vlans: u32) -> bool {
    let (vlan, outer, kept) = (inner(vlans), outer(vlans), skb.outer());
    if !retag_inner(skb, vlan) {
        return false;
    }
    if outer == 0 {
        return true;
    }
    // In its own VLAN it keeps its priority, as with one tag.
    push_outer(skb, if kept & VLAN_ID == outer { kept } else { outer })
}

#[inline(always)]
fn retag_inner(skb: &Skb, vlan: u16) -> bool {
    let tag = skb.tag();
    if tag.vlan() == vlan && (vlan != 0 || tag == Tag::None) {
        return true;
    }
    // SAFETY: the context is the kernel's, and pointers into the packet are read anew after this.
    unsafe {
        if tag != Tag::None && bpf_skb_vlan_pop(skb.as_ptr()) != 0 {
            return false;
        }
        vlan == 0 || bpf_skb_vlan_push(skb.as_ptr(), u16::from_ne_bytes(VLAN), vlan) == 0
    }
}

/// Puts a tag of 802.1ad outside of the one that an skb has; false if the kernel refuses.
#[inline(always)]
pub fn push_outer(skb: &Skb, control: u16) -> bool {
    // SAFETY: as in `retag_inner`.
    unsafe { bpf_skb_vlan_push(skb.as_ptr(), u16::from_ne_bytes(QINQ), control) == 0 }
}
