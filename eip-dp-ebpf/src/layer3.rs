//! Uplinks whose packets have no Ethernet header: WireGuard, GRE, tun.
//!
//! What may be ours gets a header, so that all that follows is the way of any packet; the kernel
//! takes it off again where it sends by such an uplink (net/core/filter.c, __bpf_redirect_no_mac),
//! or has the packet come in there once more. What is not ours the kernel gets as it came: the
//! decision stands before the first change.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{BPF_F_INGRESS, TC_ACT_UNSPEC, bpf_hdr_start_off::BPF_HDR_START_NET},
    helpers::generated::{
        bpf_redirect, bpf_skb_change_head, bpf_skb_load_bytes, bpf_skb_load_bytes_relative,
        bpf_skb_pull_data,
    },
    programs::TcContext,
};
use eip_dp_common::{
    abi::{LinkKey, Reason, layer3},
    family::{Family, V4, V6},
    packet::{Ethernet, IPV4, IPV6, NETWORK, Packet as _},
    tables::Tables,
};

use crate::{context::Skb, double_tag, maps::Maps, vlan::Tag};

/// Marks a packet that comes in once more, in `tc_index`: a second time would be once too often.
const AGAIN: u32 = 0xe1d;

/// As much of a packet as may have to be in one piece: an IP header, and in front of it a tunnel's
/// own.
const LOOKED_AT: usize = 128;

/// Gives a packet that may be ours its header. `Err` is what becomes of any other.
///
/// # Errors
/// The action, or the reason not to deliver it.
#[inline(always)]
pub fn enter(context: &TcContext) -> Result<(), Result<i32, Reason>> {
    let mut skb = Skb::as_it_is(context);
    if !Maps::has_uplink(&LinkKey::untagged(skb.ifindex())) {
        return Err(Ok(TC_ACT_UNSPEC));
    }
    if skb.is_ipv6() {
        with_header::<V6, 16, 24>(&mut skb)
    } else if skb.is_ipv4() {
        with_header::<V4, 4, 16>(&mut skb)
    } else {
        Err(Ok(TC_ACT_UNSPEC))
    }
}

/// `PLACE` is where a packet has its destination, of `LEN` bytes.
#[inline(always)]
fn with_header<F, const LEN: usize, const PLACE: u32>(
    skb: &mut Skb,
) -> Result<(), Result<i32, Reason>>
where
    F: Family<Address = [u8; LEN]>,
    Maps: Tables<F>,
{
    let mut destination = MaybeUninit::uninit();
    if !in_packet(skb, PLACE, &mut destination) {
        // Of a packet that is still to be segmented nothing may be moved, see `Skb::new`; its
        // headers are in one piece.
        let length = skb.len();
        let length = if length < LOOKED_AT {
            length
        } else {
            LOOKED_AT
        };
        #[allow(clippy::cast_possible_truncation, reason = "a few bytes")]
        // SAFETY: the context is the kernel's; pointers into the packet are read anew after this.
        let pulled =
            skb.gso_size() == 0 && unsafe { bpf_skb_pull_data(skb.as_ptr(), length as u32) } == 0;
        if !pulled {
            return Err(Err(Reason::KernelRefused));
        }
        if !in_packet(skb, PLACE, &mut destination) {
            // No whole IP header.
            return Err(Ok(TC_ACT_UNSPEC));
        }
    }
    // SAFETY: the helper has written all of it.
    let destination: [u8; LEN] = unsafe { destination.assume_init() };
    if !double_tag::is_ours::<F>(Some(destination)) {
        return Err(Ok(TC_ACT_UNSPEC));
    }
    if skb.tag() != Tag::None {
        return Err(Err(Reason::Malformed));
    }
    // A tunnel may leave its own headers in front (GRE over IPv4 does): their destination is the
    // host's address, which is never ours. Of a packet that is put back the kernel forgets them.
    let mut first = MaybeUninit::<[u8; LEN]>::uninit();
    let mut version = MaybeUninit::<[u8; 1]>::uninit();
    // SAFETY: as above.
    let begins = at_start(skb, PLACE, &mut first)
        && at_start(skb, 0, &mut version)
        && unsafe {
            first.assume_init() == destination && (version.assume_init()[0] >> 4 == 4) == (LEN == 4)
        };
    if !begins {
        return Err(if skb.swap_tc_index(AGAIN) == AGAIN {
            Err(Reason::KernelRefused)
        } else {
            // SAFETY: plain integers.
            Ok(unsafe { bpf_redirect(skb.ifindex(), u64::from(BPF_F_INGRESS)) as i32 })
        });
    }
    // SAFETY: the context is the kernel's; pointers into the packet are read anew after this. The
    // helper also says where the header is that it makes room for, which is how `mac_len` becomes
    // that of a frame.
    if unsafe { bpf_skb_change_head(skb.as_ptr(), NETWORK as u32, 0) } != 0 {
        return Err(Err(Reason::KernelRefused));
    }
    // No tag was taken off. What the word holds at first is the kernel's: its receive offload has
    // left numbers there.
    skb.keep_outer(0);
    // Nor may the mark of a packet that was put back go on with it, to another gateway's uplink.
    skb.swap_tc_index(0);
    let ethertype = if LEN == 4 { IPV4 } else { IPV6 };
    Ethernet::write_addresses(skb, layer3::OWN_MAC, layer3::OTHER_MAC)
        .and_then(|()| skb.write(NETWORK - 2, ethertype))
        .map_err(Err)
}

/// Reads from where the IP header is; false if there is not so much in the packet's first piece.
#[inline(always)]
fn in_packet<const N: usize>(skb: &Skb, offset: u32, into: &mut MaybeUninit<[u8; N]>) -> bool {
    // SAFETY: the context is the kernel's, and `into` has so many bytes, which the helper writes.
    let result = unsafe {
        bpf_skb_load_bytes_relative(
            skb.as_ptr().cast(),
            offset,
            into.as_mut_ptr().cast(),
            N as u32,
            BPF_HDR_START_NET,
        )
    };
    result == 0
}

/// Reads from what the kernel shows as the start.
#[inline(always)]
fn at_start<const N: usize>(skb: &Skb, offset: u32, into: &mut MaybeUninit<[u8; N]>) -> bool {
    // SAFETY: as above.
    let result = unsafe {
        bpf_skb_load_bytes(
            skb.as_ptr().cast(),
            offset,
            into.as_mut_ptr().cast(),
            N as u32,
        )
    };
    result == 0
}
