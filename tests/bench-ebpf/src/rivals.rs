//! What eip-dp is held against: a redirect that only writes MACs, and 1:1 NAT as a textbook has it.

use aya_ebpf::{bindings::xdp_action, programs::XdpContext};

use crate::{
    DEVICES, MACS, TRANSLATED,
    frame::{ETHERNET, IPV4, UDP, checksum, halves, head, read, read_u16, read_u32, write},
};

#[inline(always)]
pub fn bare(context: &XdpContext) -> Option<u32> {
    let frame = head::<ETHERNET>(context)?;
    write(frame, 0, *MACS.get(0)?);
    Some(DEVICES.redirect(0, 0).unwrap_or(xdp_action::XDP_ABORTED))
}

/// A checksum after a change, RFC 1624 (3): of words that add up to `old` into such that add up to
/// `new`.
#[inline(always)]
fn changed(old_checksum: u16, old: u32, new: u32) -> u16 {
    checksum(u32::from(!old_checksum) + old + new)
}

/// Packets to an EIP: its private address, a TTL less one, both checksums by the difference, the
/// MACs of the next link.
#[inline(always)]
pub fn textbook(context: &XdpContext) -> Option<u32> {
    const TTL: usize = ETHERNET + 8;
    const HEADER_SUM: usize = ETHERNET + 10;
    const DESTINATION: usize = ETHERNET + 16;
    const UDP_SUM: usize = ETHERNET + IPV4 + 6;
    let frame = head::<{ ETHERNET + IPV4 + UDP }>(context)?;
    if read_u16(frame, 12) != 0x0800 || frame[ETHERNET] != 0x45 {
        return Some(xdp_action::XDP_PASS);
    }
    let ttl = frame[TTL];
    if ttl <= 1 {
        return Some(xdp_action::XDP_PASS);
    }
    // SAFETY: elements are written before traffic comes, and not while it does.
    let Some(eip) = (unsafe { TRANSLATED.get(&read::<_, 4>(frame, DESTINATION)) }) else {
        return Some(xdp_action::XDP_PASS);
    };
    let old = halves(!read_u32(frame, DESTINATION));
    let new = halves(u32::from_be_bytes(eip.address));
    // A TTL less one is a word that is less by 0x100; its complement, more.
    let header = changed(read_u16(frame, HEADER_SUM), old + 0xfeff, new);
    write(frame, HEADER_SUM, header.to_be_bytes());
    frame[TTL] = ttl - 1;
    if frame[ETHERNET + 9] == 17 {
        let sum = read_u16(frame, UDP_SUM);
        if sum != 0 {
            let sum = changed(sum, old, new);
            write(
                frame,
                UDP_SUM,
                (if sum == 0 { 0xffff } else { sum }).to_be_bytes(),
            );
        }
    }
    write(frame, DESTINATION, eip.address);
    write(frame, 0, eip.destination_mac);
    write(frame, 6, eip.source_mac);
    Some(
        DEVICES
            .redirect(eip.device, 0)
            .unwrap_or(xdp_action::XDP_ABORTED),
    )
}
