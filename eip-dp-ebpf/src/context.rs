//! Where a packet is in the kernel: an XDP frame or an skb, both read and written in place.

use core::hint::black_box;

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
        xdp_md,
    },
    helpers::generated::{
        bpf_csum_diff, bpf_l4_csum_replace, bpf_skb_adjust_room, bpf_skb_change_tail,
        bpf_skb_pull_data, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
    },
    programs::{TcContext, XdpContext},
};
use eip_dp_common::{
    abi::{Reason, Target, TargetFlags},
    checksum::{Delta, fold},
    packet::{
        ABSENT, Change, Covers, HEADERS, IPV4, IPV6, LONGEST_SUM, NETWORK, Packet, PartialChecksum,
        QINQ, VLAN,
    },
};

use crate::{
    kernel, unaligned,
    vlan::{Tag, VLAN_ID},
};

/// A number that the verifier knows nothing of.
#[derive(Clone, Copy)]
struct Opaque(u32);

impl Opaque {
    /// See [`Packet::verifier_opaque`]: of the exclusive-or with that number it knows nothing
    /// either, and whether it does it once or twice it does not see.
    #[inline(always)]
    fn verifier_opaque(self, value: usize) -> usize {
        // Hidden as a whole, too: else a mask is applied to each of the three, and not to what
        // comes out.
        black_box(value ^ self.0 as usize ^ black_box(self.0) as usize)
    }
}

/// More than any IP packet and its frame's header have, less by one than a power of 2.
const LONGEST: usize = 0x1_ffff;

/// The part of a packet that a program may touch.
#[derive(Clone, Copy)]
struct Span {
    data: usize,
    end: usize,
}

impl Span {
    /// Of an XDP frame.
    #[inline(always)]
    fn of(context: *mut xdp_md) -> Self {
        // SAFETY: the context is the kernel's and valid while the program runs.
        unsafe {
            Self {
                data: (*context).data as usize,
                end: (*context).data_end as usize,
            }
        }
    }

    /// The one bounds check of the kernel side.
    #[inline(always)]
    fn at<const N: usize>(self, offset: usize) -> Option<*mut [u8; N]> {
        let start = self.data + offset;
        // Of one byte the compiler compares `start < end`, from which the verifier learns nothing
        // (Linux, kernel/bpf/verifier.c, find_good_pkt_pointers).
        let stop = if N == 1 {
            black_box(start + N)
        } else {
            start + N
        };
        (stop <= self.end).then_some(start as *mut [u8; N])
    }

    #[inline(always)]
    fn read<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        // SAFETY: `at` has checked that the bytes are the packet's, which nobody else writes while
        // the program runs.
        self.at::<N>(offset)
            .map(|bytes| unsafe { unaligned::load(bytes) })
    }

    /// See [`Packet::byte`]. Hidden, so that a byte that is not there has a value, whatever it is
    /// compared with.
    #[inline(always)]
    fn byte(self, offset: usize) -> u16 {
        unaligned::opaque(match self.read(offset) {
            Some([byte]) => u64::from(byte),
            None => u64::from(ABSENT),
        }) as u16
    }

    #[inline(always)]
    fn write<const N: usize>(self, offset: usize, bytes: [u8; N]) -> Result<(), Reason> {
        let place = self.at::<N>(offset).ok_or(Reason::KernelRefused)?;
        // SAFETY: as in `read`.
        unsafe { unaligned::store(place, bytes) };
        Ok(())
    }

    /// See [`Packet::sum`]: in pieces of a fixed size, which the verifier can check.
    #[inline(always)]
    fn sum(self, offset: usize, len: usize, any: Opaque) -> Result<u16, Reason> {
        const PIECE: usize = 64;
        const LARGEST: usize = 2047;
        // Three of them, of which the verifier does not know that they are the same: else what one
        // loop's end says of the length makes it follow each end through all of what comes.
        let (pieces, words, whole) = (
            any.verifier_opaque(len) & LARGEST,
            any.verifier_opaque(len) & LARGEST,
            any.verifier_opaque(len) & LARGEST,
        );
        let mut sum = 0u64;
        let mut at = 0;
        while at < LONGEST_SUM && at + PIECE <= pieces {
            let piece = self.at::<PIECE>(offset + at).ok_or(Reason::KernelRefused)?;
            // SAFETY: `at` has checked that so many bytes are the packet's; without a first buffer
            // the helper only reads the second (net/core/filter.c, bpf_csum_diff).
            let words =
                unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, piece.cast(), PIECE as u32, 0) };
            sum += words as u64 & 0xffff_ffff;
            // Hidden, else the compiler makes one check of those of all rounds, by arithmetic with
            // `end`, which the verifier refuses.
            at = black_box(at + PIECE);
        }
        let tail = offset + (words & !(PIECE - 1));
        let rest = words & (PIECE - 1);
        let mut word = 0;
        while word < PIECE && word + 2 <= rest {
            let bytes = self.read(tail + word).ok_or(Reason::KernelRefused)?;
            sum += u64::from(u16::from_ne_bytes(bytes));
            word = black_box(word + 2);
        }
        if whole & 1 == 1 {
            let last = offset + (whole & !1);
            let [byte] = self.read(last).ok_or(Reason::KernelRefused)?;
            sum += u64::from(u16::from_ne_bytes([byte, 0]));
        }
        #[allow(clippy::cast_possible_truncation, reason = "folded")]
        let (high, low) = ((sum >> 32) as u32, sum as u32);
        Ok(fold(u32::from(fold(high)) + u32::from(fold(low))))
    }
}

/// An XDP frame. Its checksums are complete: nothing but a wire is to hand it over.
pub struct Frame {
    context: *mut xdp_md,
    span: Span,
    // Read once: of two reads the compiler makes a pointer into the context, which the verifier
    // refuses.
    ifindex: u32,
    any: Opaque,
}

impl Frame {
    #[inline(always)]
    pub fn new(context: &XdpContext) -> Self {
        let context = context.ctx;
        // SAFETY: the context is the kernel's and valid while the program runs.
        let ifindex = unsafe { (*context).ingress_ifindex };
        Self {
            context,
            span: Span::of(context),
            ifindex,
            any: Opaque(ifindex),
        }
    }

    /// Whether its first piece has all that the path may want to read, behind two VLAN tags. A
    /// driver may put headers into the other pieces, and nothing at all into the first: what is not
    /// there would be taken for what is not in the packet.
    #[inline(always)]
    pub fn has_headers(&self) -> bool {
        let length = self.span.end - self.span.data;
        // SAFETY: the context is the kernel's; the helper only reads.
        length >= HEADERS + 8 || length as u64 >= unsafe { bpf_xdp_get_buff_len(self.context) }
    }

    /// The index of the interface that it came from.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        self.ifindex
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
    fn is_longer_than(&self, len: usize) -> bool {
        // Hidden: from the answer the compiler would know that bytes are there, and leave the
        // checks out that tell the verifier. Given bounds anew, for Linux 6.1's.
        self.span.data + (black_box(len) & LONGEST) < self.span.end
    }

    #[inline(always)]
    fn trim(&mut self, len: usize) -> Result<(), Reason> {
        // SAFETY: the context is the kernel's; the span is read anew after the helper.
        let result = unsafe {
            let excess = bpf_xdp_get_buff_len(self.context) as i64 - len as i64;
            bpf_xdp_adjust_tail(self.context, -excess as i32)
        };
        if result != 0 {
            return Err(Reason::KernelRefused);
        }
        self.span = Span::of(self.context);
        Ok(())
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.span.read(offset)
    }

    #[inline(always)]
    fn byte(&self, offset: usize) -> u16 {
        self.span.byte(offset)
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

    #[inline(always)]
    fn partial_checksum(&mut self) -> PartialChecksum {
        PartialChecksum::NONE
    }

    #[inline(always)]
    fn pull(&mut self, _end: usize) -> Result<(), Reason> {
        Err(Reason::KernelRefused)
    }

    /// Never asked for: this hook does not reply.
    #[inline(always)]
    fn reshape(&mut self, _keep: usize, _headers: usize) -> Result<(), Reason> {
        Err(Reason::KernelRefused)
    }

    #[inline(always)]
    fn sum(&self, offset: usize, len: usize) -> Result<u16, Reason> {
        self.span.sum(offset, len, self.any)
    }

    #[inline(always)]
    fn verifier_opaque(&self, value: usize) -> usize {
        self.any.verifier_opaque(value)
    }
}

/// An skb. Its transport checksum may be complete, partial or verified already; only the kernel's
/// helper knows.
pub struct Skb {
    skb: *mut __sk_buff,
    // As in `Frame`.
    ifindex: u32,
    any: Opaque,
    /// As far as the path has asked for it.
    partial: PartialChecksum,
}

/// `BPF_F_IPV6` of include/uapi/linux/bpf.h, since Linux 6.16.
const BPF_F_IPV6: u64 = 1 << 7;

/// `gso_size` of an skb whose segments have lengths of their own (`GSO_BY_FRAGS`,
/// include/linux/skbuff.h).
const GSO_BY_FRAGS: u32 = 0xffff;

impl Skb {
    /// For who does not read the packet.
    #[inline(always)]
    pub fn as_it_is(context: &TcContext) -> Self {
        let skb = context.skb.skb;
        // SAFETY: the context is the kernel's and valid while the program runs.
        let ifindex = unsafe { (*skb).ifindex };
        Self {
            skb,
            ifindex,
            any: Opaque(ifindex),
            partial: PartialChecksum::NONE,
        }
    }

    /// # Errors
    /// [`Reason::KernelRefused`] if there is no memory to bring the headers into one piece.
    #[inline(always)]
    pub fn new(context: &TcContext) -> Result<Self, Reason> {
        let skb = Self::as_it_is(context);
        let span = skb.span();
        let linear = span.end - span.data;
        // A packet that is still to be segmented has its headers in one piece. Nothing may be moved
        // there from the packets in its list: one that is shorter than its list says ends in a BUG
        // of the kernel's (net/core/skbuff.c, skb_segment). SCTP is sent so.
        let wanted = if skb.gso_size() == 0 {
            core::cmp::min(skb.len(), HEADERS)
        } else {
            0
        };
        if linear < wanted {
            #[allow(clippy::cast_possible_truncation, reason = "at most HEADERS")]
            // SAFETY: the context is the kernel's; pointers into the packet are read anew after
            // this.
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
        self.ifindex
    }

    /// Keeps the control information of an outer tag that was taken off, 0 for none, for the
    /// stages: the first program of each packet's way does.
    #[inline(always)]
    pub fn keep_outer(&self, control: u16) {
        // SAFETY: as in `new`; these words are for the programs of a hook.
        unsafe { (*self.opaque()).cb[0] = u32::from(control) };
    }

    /// What [`Self::keep_outer`] has kept.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "sixteen bits")]
    pub fn outer(&self) -> u16 {
        // SAFETY: as in `new`.
        unsafe { (*self.opaque()).cb[0] as u16 }
    }

    /// The context anew, for a field that is used more than once: else the compiler makes a pointer
    /// to that, which the verifier refuses.
    #[inline(always)]
    fn opaque(&self) -> *mut __sk_buff {
        black_box(self.skb)
    }

    /// The control information of both tags of a frame that has one of 802.1ad, beside it, and
    /// within it one of 802.1Q, still in it: the outer one's in the upper half. 0 for every other
    /// frame.
    #[inline(always)]
    pub fn stacked(&self) -> u32 {
        // SAFETY: as in `new`.
        let protocol = unsafe { (*self.skb).protocol };
        if protocol != u32::from(u16::from_ne_bytes(VLAN)) {
            return 0;
        }
        match (self.tag(), self.read::<2>(NETWORK)) {
            (Tag::Service(outer), Some(inner)) => {
                u32::from(outer) << 16 | u32::from(u16::from_be_bytes(inner))
            }
            _ => 0,
        }
    }

    /// Whether a tag of VLAN 0 is left, beside the frame or in it: of more than any network has.
    /// The kernel would take it off as well, and route what is behind it.
    #[inline(always)]
    pub fn has_priority_tag(&self) -> bool {
        // SAFETY: as in `new`.
        let protocol = unsafe { (*self.skb).protocol };
        let is_tagged = protocol == u32::from(u16::from_ne_bytes(VLAN))
            || protocol == u32::from(u16::from_ne_bytes(QINQ));
        self.tag().is_priority()
            || is_tagged
                && self
                    .read::<2>(NETWORK)
                    .is_some_and(|control| u16::from_be_bytes(control) & VLAN_ID == 0)
    }

    /// Whether it is an IPv6 packet.
    #[inline(always)]
    pub fn is_ipv6(&self) -> bool {
        // SAFETY: as in `new`.
        let protocol = unsafe { (*self.skb).protocol };
        protocol == u32::from(u16::from_ne_bytes(IPV6))
    }

    /// Whether it is an IPv4 packet.
    #[inline(always)]
    pub fn is_ipv4(&self) -> bool {
        // SAFETY: as in `new`.
        let protocol = unsafe { (*self.skb).protocol };
        protocol == u32::from(u16::from_ne_bytes(IPV4))
    }

    /// Leaves a number beside the packet, for the programs that see it next; what there was.
    #[inline(always)]
    pub fn swap_tc_index(&self, number: u32) -> u32 {
        let skb = self.opaque();
        // SAFETY: as in `new`; the word is for tc's programs.
        unsafe {
            let before = (*skb).tc_index;
            (*self.opaque()).tc_index = number;
            before
        }
    }

    /// The tag that was taken off the frame and stands beside it.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "sixteen bits")]
    pub fn tag(&self) -> Tag {
        // SAFETY: as in `new`.
        let (present, protocol, control) = unsafe {
            let skb = self.skb;
            ((*skb).vlan_present, (*skb).vlan_proto, (*skb).vlan_tci)
        };
        if present == 0 {
            Tag::None
        } else if protocol != u32::from(u16::from_ne_bytes(VLAN)) {
            Tag::Service(control as u16)
        } else {
            Tag::Vlan(control as u16)
        }
    }

    /// The payload of each segment of a packet that is still to be segmented; else 0.
    #[inline(always)]
    pub fn gso_size(&self) -> u32 {
        // SAFETY: as in `new`.
        unsafe { (*self.skb).gso_size }
    }

    #[inline(always)]
    pub fn len(&self) -> usize {
        // SAFETY: as in `new`.
        unsafe { (*self.skb).len as usize }
    }

    /// Changes a checksum by a difference; false if the kernel refuses.
    #[inline(always)]
    fn replace_checksum(&mut self, offset: usize, delta: Delta, flags: u64) -> bool {
        let delta = u64::from(delta.to_record());
        #[allow(
            clippy::cast_possible_truncation,
            reason = "an offset into the headers"
        )]
        // SAFETY: the context is the kernel's; with size 0 the helper takes `to` as a checksum
        // difference (net/core/filter.c, bpf_l4_csum_replace) and checks the offset itself.
        let result = unsafe { bpf_l4_csum_replace(self.skb, offset as u32, 0, delta, flags) };
        result == 0
    }

    /// Whether a device is still to complete a checksum, where the kernel's structures are not
    /// known: it leaves bytes alone then whose change is said not to be the pseudo-header's
    /// (net/core/utils.c, inet_proto_csum_replace_by_diff).
    #[inline(always)]
    fn probe_partial(&mut self) -> bool {
        let Some(before) = self.read::<2>(NETWORK) else {
            return false;
        };
        let probe = Delta::from_record(0x1234);
        if !self.replace_checksum(NETWORK, probe, 0) {
            return false;
        }
        let partial = self.read(NETWORK) == Some(before);
        // Where it is complete, the helper changed them. The write fails for nothing that could be
        // read.
        partial || self.write(NETWORK, before).is_err()
    }

    /// Read anew at each use: helpers that change the packet may move it.
    #[inline(always)]
    fn span(&self) -> Span {
        // SAFETY: as in `new`.
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
    fn is_longer_than(&self, len: usize) -> bool {
        self.len() > len
    }

    #[inline(always)]
    fn trim(&mut self, len: usize) -> Result<(), Reason> {
        #[allow(clippy::cast_possible_truncation, reason = "shorter than a frame")]
        // SAFETY: the context is the kernel's; pointers into the packet are read anew after this.
        let result = unsafe { bpf_skb_change_tail(self.skb, len as u32, 0) };
        if result == 0 {
            Ok(())
        } else {
            Err(Reason::KernelRefused)
        }
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.span().read(offset)
    }

    #[inline(always)]
    fn byte(&self, offset: usize) -> u16 {
        self.span().byte(offset)
    }

    #[inline(always)]
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Result<(), Reason> {
        self.span().write(offset, bytes)
    }

    #[inline(always)]
    fn adjust_checksum(&mut self, offset: usize, change: Change) -> Result<(), Reason> {
        let mut flags = match change.covers {
            Covers::PseudoHeader4 => u64::from(BPF_F_PSEUDO_HDR),
            Covers::PseudoHeader6 => u64::from(BPF_F_PSEUDO_HDR) | BPF_F_IPV6,
            Covers::Bytes => 0,
        };
        if change.zero_is_none {
            flags |= u64::from(BPF_F_MARK_MANGLED_0);
        }
        // The device writes another one, inside of a tunnel: this one is complete, which the helper
        // does not see.
        if !self.partial.is_none() && self.partial.field as usize != offset {
            let field = self.read(offset).ok_or(Reason::KernelRefused)?;
            let changed = if self.gso_size() == 0 {
                change.apply(field)
            } else {
                change.apply_to_sum(field)
            };
            return self.write(offset, changed);
        }
        if self.replace_checksum(offset, change.delta, flags) {
            return Ok(());
        }
        // Before Linux 6.16 there is no such flag, and a sum that the device took of the whole
        // packet is off by the change of the addresses; the receiver then sums itself.
        if change.covers == Covers::PseudoHeader6
            && self.replace_checksum(offset, change.delta, flags & !BPF_F_IPV6)
        {
            return Ok(());
        }
        Err(Reason::KernelRefused)
    }

    #[inline(always)]
    fn segment_payload(&self) -> Option<u32> {
        match self.gso_size() {
            GSO_BY_FRAGS => None,
            size => Some(size),
        }
    }

    #[inline(always)]
    fn segment_transport(&self, transport: usize, is_tcp: bool) -> (usize, bool) {
        /// Larger than where any stack has it: so the verifier knows a bound.
        const MOST: usize = 0x3ff;
        let (start, is_tcp) = self.partial.segment_transport(transport, is_tcp);
        (self.any.verifier_opaque(start.min(MOST)) & MOST, is_tcp)
    }

    #[inline(always)]
    fn can_send(&self, _target: &Target) -> bool {
        true
    }

    #[inline(always)]
    fn can_reply(&self) -> bool {
        true
    }

    #[inline(always)]
    fn partial_checksum(&mut self) -> PartialChecksum {
        let partial = match kernel::partial_checksum(self.skb) {
            Some(partial) => partial,
            None if self.probe_partial() => PartialChecksum::UNKNOWN,
            None => PartialChecksum::NONE,
        };
        // Forgotten: all that follows is looked at once, and not once for frames with and once for
        // frames without one.
        self.partial = PartialChecksum {
            start: self.any.verifier_opaque(partial.start as usize) as u32,
            field: self.any.verifier_opaque(partial.field as usize) as u32,
        };
        self.partial
    }

    #[inline(always)]
    fn pull(&mut self, end: usize) -> Result<(), Reason> {
        #[allow(clippy::cast_possible_truncation, reason = "the length of a frame")]
        // SAFETY: as in `new`.
        let result = unsafe { bpf_skb_pull_data(self.skb, end as u32) };
        if result == 0 {
            Ok(())
        } else {
            Err(Reason::KernelRefused)
        }
    }

    #[inline(always)]
    fn reshape(&mut self, keep: usize, headers: usize) -> Result<(), Reason> {
        #[allow(clippy::cast_possible_truncation, reason = "an ICMP error's length")]
        let (length, room) = ((NETWORK + keep) as u32, headers as i32);
        // SAFETY: the context is the kernel's; pointers into the packet are read anew after this.
        // Cutting, also to the length that it has, brings the packet into one piece and ends its
        // segmentation (net/core/filter.c).
        let result = unsafe {
            match bpf_skb_change_tail(self.skb, length, 0) {
                0 => bpf_skb_adjust_room(self.skb, room, BPF_ADJ_ROOM_MAC, 0),
                error => error,
            }
        };
        if result == 0 {
            Ok(())
        } else {
            Err(Reason::KernelRefused)
        }
    }

    #[inline(always)]
    fn sum(&self, offset: usize, len: usize) -> Result<u16, Reason> {
        self.span().sum(offset, len, self.any)
    }

    #[inline(always)]
    fn verifier_opaque(&self, value: usize) -> usize {
        self.any.verifier_opaque(value)
    }
}
