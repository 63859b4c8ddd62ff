//! Which frames the kernel hands to the servers (classic BPF).
//!
//! The program on a port marks what its guests say to the gateway as meant for another host and lets it pass. So it
//! ends here and nowhere else on this host, and the host's own traffic never comes here.

use socket2::SockFilter;

use crate::frame::ethertype;

/// Passes whole IPv4 frames to UDP port 67 that the kernel believes to be for another host.
pub(super) fn ipv4() -> [SockFilter; 13] {
    [
        load(libc::BPF_W, packet_type()),
        unless_equal(libc::PACKET_OTHERHOST.into(), 10),
        load(libc::BPF_H, 12),
        unless_equal(ethertype::IPV4.into(), 8),
        load(libc::BPF_B, 14 + 9),
        unless_equal(17, 6),
        // More fragments, or not the first.
        load(libc::BPF_H, 14 + 6),
        op(libc::BPF_JMP | libc::BPF_JSET, 4, 0, 0x3fff),
        // The length of the IP header, into the index register.
        op(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 14),
        op(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 0, 0, 14 + 2),
        unless_equal(67, 1),
        finish(u32::MAX),
        finish(0),
    ]
}

/// Passes IPv6 frames to UDP port 547, and router solicitations, that the kernel believes to be for another host.
pub(super) fn ipv6() -> [SockFilter; 13] {
    const PAYLOAD: u32 = 14 + 40;
    [
        load(libc::BPF_W, packet_type()),
        unless_equal(libc::PACKET_OTHERHOST.into(), 10),
        load(libc::BPF_H, 12),
        unless_equal(ethertype::IPV6.into(), 8),
        // The next header.
        load(libc::BPF_B, 14 + 6),
        unless_equal(17, 2),
        load(libc::BPF_H, PAYLOAD + 2),
        op(libc::BPF_JMP | libc::BPF_JEQ, 3, 4, 547),
        unless_equal(58, 3),
        load(libc::BPF_B, PAYLOAD),
        unless_equal(133, 1),
        finish(u32::MAX),
        finish(0),
    ]
}

fn packet_type() -> u32 {
    (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned()
}

fn load(size: u32, offset: u32) -> SockFilter {
    op(libc::BPF_LD | size | libc::BPF_ABS, 0, 0, offset)
}

fn unless_equal(value: u32, skip: u8) -> SockFilter {
    op(libc::BPF_JMP | libc::BPF_JEQ, 0, skip, value)
}

/// Passes so many bytes of the frame; 0 drops it.
fn finish(length: u32) -> SockFilter {
    op(libc::BPF_RET | libc::BPF_K, 0, 0, length)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "every code is a combination of constants below 256"
)]
fn op(code: u32, if_true: u8, if_false: u8, value: u32) -> SockFilter {
    SockFilter::new(code as u16, if_true, if_false, value)
}
