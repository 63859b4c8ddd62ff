//! VLAN tags: the packet path sees frames without one, and says by number which VLAN they are of and go to.
//!
//! On an skb the kernel has taken the tag off and keeps it beside. In an XDP frame it is part of the frame (where the
//! driver left it there), is taken off before the packet path and put back for whoever gets the frame untouched.

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::{bpf_skb_vlan_pop, bpf_skb_vlan_push, bpf_xdp_adjust_head},
    programs::XdpContext,
};
use eip_dp_common::packet::{NETWORK, QINQ, VLAN};

use crate::context::Skb;

/// A frame's outermost tag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// None.
    None,
    /// 802.1Q's, with its control information: priority and VLAN.
    Vlan(u16),
    /// Another one's (802.1ad), with the same.
    Foreign(u16),
}

impl Tag {
    /// The VLAN, 0 for none.
    #[inline(always)]
    pub const fn vlan(self) -> u16 {
        match self {
            Self::Vlan(control) => control & 0xfff,
            Self::None | Self::Foreign(_) => 0,
        }
    }

    /// The tag of an XDP frame.
    #[inline(always)]
    pub fn of(context: &XdpContext) -> Self {
        match head(context.ctx) {
            // SAFETY: the pointer is to bytes of the packet that `head` has checked.
            Some(start) => match unsafe { *start } {
                [_, _, _, _, _, _, _, _, _, _, _, _, a, b, high, low] if [a, b] == VLAN => {
                    Self::Vlan(u16::from_be_bytes([high, low]))
                }
                [_, _, _, _, _, _, _, _, _, _, _, _, a, b, high, low] if [a, b] == QINQ => {
                    Self::Foreign(u16::from_be_bytes([high, low]))
                }
                _ => Self::None,
            },
            None => Self::None,
        }
    }
}

const TAG: i32 = 4;

/// Takes the tag off an XDP frame that has one; false, and the frame untouched, if the kernel would refuse: it leaves no frame
/// shorter than its header (net/core/filter.c, bpf_xdp_adjust_head).
#[inline(always)]
pub fn pop(context: &XdpContext) -> bool {
    let Some(start) = head(context.ctx).filter(|_| holds(context, NETWORK + TAG as usize)) else {
        return false;
    };
    // SAFETY: the pointer is to 16 bytes of the packet, which nobody else writes while the program runs; the helper is the
    // last that happens, and pointers into the packet are read anew after it.
    unsafe {
        let [
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
            t0,
            t1,
            t2,
            t3,
        ] = *start;
        *start = [
            t0, t1, t2, t3, d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5,
        ];
        bpf_xdp_adjust_head(context.ctx, TAG) == 0
    }
}

/// Puts a tag in front of an XDP frame's Ethernet type; false if the kernel refuses.
#[inline(always)]
pub fn push(context: &XdpContext, control: u16) -> bool {
    let [high, low] = control.to_be_bytes();
    // SAFETY: as in `pop`; the pointer is read after the helper.
    unsafe {
        if bpf_xdp_adjust_head(context.ctx, -TAG) != 0 {
            return false;
        }
        let Some(start) = head(context.ctx) else {
            return false;
        };
        let [_, _, _, _, d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = *start;
        let [v0, v1] = VLAN;
        *start = [
            d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, v0, v1, high, low,
        ];
    }
    true
}

/// Whether so many bytes are in the first piece of an XDP frame.
#[inline(always)]
fn holds(context: &XdpContext, len: usize) -> bool {
    context.data() + len <= context.data_end()
}

/// The first bytes of an XDP frame: Ethernet's addresses and a tag.
#[inline(always)]
fn head(context: *mut xdp_md) -> Option<*mut [u8; 16]> {
    // SAFETY: the context is the kernel's and valid while the program runs.
    let (start, end) = unsafe { ((*context).data as usize, (*context).data_end as usize) };
    (start + 16 <= end).then_some(start as *mut [u8; 16])
}

/// Gives an skb the tag of this VLAN, or none for 0; false if the kernel refuses.
#[inline(always)]
pub fn retag(skb: &Skb, vlan: u16) -> bool {
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
