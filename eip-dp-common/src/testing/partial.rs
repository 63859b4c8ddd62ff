//! Checksums that the device which sends a frame is still to write, where the sender says.

use super::{
    Buffer, World,
    dice::Dice,
    site::UPLINK,
    wire::{self, IP, Ip, complement},
};
use crate::{
    abi::LinkKey,
    packet::PartialChecksum,
    pipeline::{Verdict, from_port, from_uplink},
};

/// Runs a frame that the dice make, with a checksum wherever they say, through the path, and writes
/// it as the kernel does. Gives whether it was sent.
///
/// # Panics
/// If that changes what was looked at.
pub fn roll(world: &World, dice: &mut Dice<'_>) -> bool {
    let (mode, rolled) = (dice.byte(), [dice.short(), dice.short()]);
    let (ifindex, frame) = dice.frame();
    let [start, field] = rolled.map(usize::from);
    let transport = Ip::read(&frame, IP, frame.len()).and_then(|ip| ip.transport);
    let partial = match transport {
        // Near the transport header, where most of those are that mean something.
        Some(at) if mode % 4 != 0 => {
            let start = at + start % 64 * usize::from(mode & 4 != 0);
            (start, start + field % 64)
        }
        _ => (start, field),
    };
    hold(world, ifindex, &frame, partial)
}

/// Likewise a frame from this interface, whose checksum covers what is behind the first place, and
/// is written at the second.
///
/// # Panics
/// See [`roll`].
pub fn hold(world: &World, ifindex: u32, frame: &[u8], (start, field): (usize, usize)) -> bool {
    let place = |at: usize| u32::try_from(at).expect("a place in a frame");
    let mut packet = Buffer::new(frame.to_vec());
    packet.partial = PartialChecksum {
        start: place(start),
        field: place(field),
    };
    let key = LinkKey::untagged(ifindex);
    let outcome = if ifindex == UPLINK {
        from_uplink(&mut packet, world, key)
    } else {
        from_port(&mut packet, world, key)
    };
    if outcome.verdict != Verdict::Send || field == 0 {
        return false;
    }
    let before = &packet.bytes;
    let ip = Ip::read(before, IP, before.len()).expect("no IP packet was sent");
    // The kernel drops a frame that does not have the field (net/core/dev.c, skb_checksum_help).
    assert!(start <= field && field + 2 <= before.len());
    let mut after = before.clone();
    let written = complement(wire::sum(&before[start..]));
    after[field..field + 2].copy_from_slice(&written);
    for (at, (before, after)) in before.iter().zip(&after).enumerate() {
        assert!(
            before == after || is_nobodys(&ip, at),
            "byte {at} of {ip:?} changed: from {start} at {field}"
        );
    }
    true
}

/// Whether the byte is the transport checksum's, or of a packet within a tunnel.
fn is_nobodys(ip: &Ip, at: usize) -> bool {
    let Some(transport) = ip.transport.filter(|_| ip.offset == 0 && !ip.more) else {
        return false;
    };
    let Some(at) = at.checked_sub(transport) else {
        return false;
    };
    let (own, inner) = match ip.protocol {
        6 => (16..18, usize::MAX),
        17 => (6..8, 8),
        33 | 136 => (6..8, usize::MAX),
        132 => (8..12, usize::MAX),
        // The inner packet's checksum is behind its addresses.
        4 | 41 => (0..0, 20),
        47 => (0..0, 4),
        _ => (0..0, usize::MAX),
    };
    own.contains(&at) || at >= inner
}
