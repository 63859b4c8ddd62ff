//! Where a packet is in the kernel: an XDP frame or an skb, both read and written in place.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, xdp_md},
    helpers::generated::{bpf_l4_csum_replace, bpf_skb_pull_data, bpf_xdp_get_buff_len},
    programs::{TcContext, XdpContext},
};
use eip_dp_common::{
    abi::{Reason, Target, TargetFlags},
    packet::{Change, HEADERS, Packet},
};

/// The part of a packet that a program may touch.
#[derive(Clone, Copy)]
struct Span {
    data: usize,
    end: usize,
}

impl Span {
    /// The one bounds check of the kernel side.
    #[inline(always)]
    fn at<const N: usize>(self, offset: usize) -> Option<*mut [u8; N]> {
        let start = self.data + offset;
        (start + N <= self.end).then_some(start as *mut [u8; N])
    }

    #[inline(always)]
    fn read<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        // SAFETY: `at` has checked that the bytes are the packet's, which nobody else writes while the program runs.
        self.at::<N>(offset).map(|bytes| unsafe { *bytes })
    }

    #[inline(always)]
    fn write<const N: usize>(self, offset: usize, bytes: [u8; N]) -> Result<(), Reason> {
        let place = self.at::<N>(offset).ok_or(Reason::KernelRefused)?;
        // SAFETY: as in `read`; alignment is 1.
        unsafe { *place = bytes };
        Ok(())
    }
}

/// An XDP frame. Its checksums are complete: nothing but a wire is to hand it over.
pub struct Frame {
    context: *mut xdp_md,
    span: Span,
}

impl Frame {
    #[inline(always)]
    pub fn new(context: &XdpContext) -> Self {
        let span = Span {
            data: context.data(),
            end: context.data_end(),
        };
        Self {
            context: context.ctx,
            span,
        }
    }

    /// The index of the interface that it came from.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        // SAFETY: the context is the kernel's and valid while the program runs.
        unsafe { (*self.context).ingress_ifindex }
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn holds(&self, end: usize) -> bool {
        // SAFETY: the context is the kernel's; the helper only reads.
        self.span.data + end <= self.span.end
            || end as u64 <= unsafe { bpf_xdp_get_buff_len(self.context) }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.span.read(offset)
    }

    #[inline(always)]
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Result<(), Reason> {
        self.span.write(offset, bytes)
    }

    #[inline(always)]
    fn adjust_checksum(&mut self, offset: usize, change: Change) -> Result<(), Reason> {
        let field = self.span.read(offset).ok_or(Reason::KernelRefused)?;
        self.span.write(offset, change.apply(field))
    }

    #[inline(always)]
    fn segment_payload(&self) -> Option<u32> {
        Some(0)
    }

    #[inline(always)]
    fn can_send(&self, target: &Target) -> bool {
        const BOTH: u16 = TargetFlags::XDP | TargetFlags::RESOLVED;
        target.flags & BOTH == BOTH
    }

    #[inline(always)]
    fn can_reply(&self) -> bool {
        false
    }
}

/// An skb. Its transport checksum may be complete, partial or verified already; only the kernel's helper knows.
pub struct Skb {
    skb: *mut __sk_buff,
}

/// `gso_size` of an skb whose segments have lengths of their own (`GSO_BY_FRAGS`, include/linux/skbuff.h).
const GSO_BY_FRAGS: u32 = 0xffff;

impl Skb {
    /// # Errors
    /// [`Reason::KernelRefused`] if there is no memory to bring the headers into one piece.
    #[inline(always)]
    pub fn new(context: &TcContext) -> Result<Self, Reason> {
        let skb = Self {
            skb: context.skb.skb,
        };
        let span = skb.span();
        let linear = span.end - span.data;
        let wanted = core::cmp::min(skb.len(), HEADERS);
        if linear < wanted {
            #[allow(clippy::cast_possible_truncation, reason = "at most HEADERS")]
            // SAFETY: the context is the kernel's; pointers into the packet are read anew after this.
            let result = unsafe { bpf_skb_pull_data(skb.skb, wanted as u32) };
            if result != 0 {
                return Err(Reason::KernelRefused);
            }
        }
        Ok(skb)
    }

    #[inline(always)]
    pub fn as_ptr(&self) -> *mut __sk_buff {
        self.skb
    }

    /// The index of the interface that it came from.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        // SAFETY: the context is the kernel's and valid while the program runs.
        unsafe { (*self.skb).ifindex }
    }

    /// The VLAN of the tag that was taken off the frame and stands beside it, if there was one; 0 in a priority tag.
    #[inline(always)]
    pub fn vlan(&self) -> Option<u16> {
        const ID: u32 = 0xfff;
        // SAFETY: as in `ifindex`.
        let (present, tag) = unsafe { ((*self.skb).vlan_present, (*self.skb).vlan_tci) };
        #[allow(clippy::cast_possible_truncation, reason = "twelve bits")]
        (present != 0).then_some((tag & ID) as u16)
    }

    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: as in `ifindex`.
        unsafe { (*self.skb).len as usize }
    }

    /// Read anew at each use: helpers that change the packet may move it.
    #[inline(always)]
    fn span(&self) -> Span {
        // SAFETY: as in `ifindex`.
        unsafe {
            Span {
                data: (*self.skb).data as usize,
                end: (*self.skb).data_end as usize,
            }
        }
    }
}

impl Packet for Skb {
    #[inline(always)]
    fn holds(&self, end: usize) -> bool {
        end <= self.len()
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.span().read(offset)
    }

    #[inline(always)]
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Result<(), Reason> {
        self.span().write(offset, bytes)
    }

    #[inline(always)]
    fn adjust_checksum(&mut self, offset: usize, change: Change) -> Result<(), Reason> {
        let mut flags = u64::from(BPF_F_PSEUDO_HDR);
        if change.zero_is_none {
            flags |= u64::from(BPF_F_MARK_MANGLED_0);
        }
        let delta = u64::from(change.delta.to_record());
        #[allow(
            clippy::cast_possible_truncation,
            reason = "an offset into the headers"
        )]
        // SAFETY: the context is the kernel's; with size 0 the helper takes `to` as a checksum difference
        // (net/core/filter.c, bpf_l4_csum_replace) and checks the offset itself.
        let result = unsafe { bpf_l4_csum_replace(self.skb, offset as u32, 0, delta, flags) };
        if result == 0 {
            Ok(())
        } else {
            Err(Reason::KernelRefused)
        }
    }

    #[inline(always)]
    fn segment_payload(&self) -> Option<u32> {
        // SAFETY: as in `ifindex`.
        match unsafe { (*self.skb).gso_size } {
            GSO_BY_FRAGS => None,
            size => Some(size),
        }
    }

    #[inline(always)]
    fn can_send(&self, _target: &Target) -> bool {
        true
    }

    #[inline(always)]
    fn can_reply(&self) -> bool {
        true
    }
}
