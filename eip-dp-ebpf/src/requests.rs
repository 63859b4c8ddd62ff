//! Guests' requests, handed to the daemon: through a ring buffer, so that nothing of them enters
//! the host's stack.

use aya_ebpf::{
    helpers::generated::{bpf_ktime_get_coarse_ns, bpf_skb_load_bytes},
    macros::map,
    maps::RingBuf,
};
use eip_dp_common::abi::{LinkKey, Reason, RequestHeader};

use crate::{context::Skb, unaligned};

#[map]
static REQUESTS: RingBuf = RingBuf::with_byte_size(RequestHeader::RING, 0);

/// An element of the map.
#[repr(C)]
struct Request {
    header: RequestHeader,
    frame: [u8; RequestHeader::LONGEST_FRAME],
}

/// Hands over a frame that came in on this link.
///
/// # Errors
/// [`Reason::Malformed`] for one that is too long for a request, [`Reason::RateLimited`] where the
/// daemon has not yet taken those before.
#[inline(always)]
pub fn hand_off(skb: &Skb, link: LinkKey) -> Result<(), Reason> {
    const LONGEST: u32 = RequestHeader::LONGEST_FRAME as u32;
    // Hidden: the verifier is to see the bounds of this very number.
    let length = unaligned::opaque(skb.len() as u64) as u32;
    // Not compared with 0, of which Linux 6.1's learns nothing.
    if length < unaligned::opaque(1) as u32 || length > LONGEST {
        return Err(Reason::Malformed);
    }
    let mut request = REQUESTS.reserve::<Request>(0).ok_or(Reason::RateLimited)?;
    let place = request.as_mut_ptr();
    // SAFETY: the place has room for the header, and behind it for `LONGEST` bytes; the context is
    // the kernel's.
    let result = unsafe {
        (&raw mut (*place).header).write(RequestHeader {
            received_at: bpf_ktime_get_coarse_ns(),
            ifindex: link.ifindex,
            vlan: link.vlan,
            outer: link.outer,
            length,
            reserved: 0,
        });
        let frame = (&raw mut (*place).frame).cast();
        bpf_skb_load_bytes(skb.as_ptr().cast(), 0, frame, length)
    };
    if result == 0 {
        request.submit(0);
        Ok(())
    } else {
        request.discard(0);
        Err(Reason::KernelRefused)
    }
}
