//! A mirror on the Internet: what it is sent it sends back.

use super::{
    World,
    craft::INWARD,
    hold,
    site::UPLINK,
    wire::{IP, Ip, word},
};
use crate::{
    abi::Reason,
    pipeline::{Outcome, Verdict},
};

/// Sends a packet that left by the uplink back in with its addresses exchanged, which no checksum
/// sees. `before` is what it was when it came from the port with this interface index, and `sent`
/// what it left as.
///
/// # Panics
/// If it does not come back to its sender as it was, but for addresses exchanged, hop limit,
/// Ethernet, and its padding.
pub fn back(world: &World, ifindex: u32, before: &[u8], outcome: &Outcome, sent: &[u8]) {
    if outcome.verdict != Verdict::Send || outcome.egress.ifindex != UPLINK {
        return;
    }
    let ip = Ip::read(sent, IP, sent.len()).expect("a packet");
    // Its hop limit ends here, what it quotes is, exchanged, about another packet, or the checksum
    // covers one address alone.
    if sent[ip.hop] <= 1 || ip.is_icmp_error(sent) || ip.segments_left {
        return;
    }
    let (returned, got) = hold(world, UPLINK, &exchanged(sent, &ip, INWARD.0, INWARD.1));
    // Ports have MTUs of their own.
    if let Verdict::Drop(Reason::TooBig) | Verdict::IcmpError(Reason::TooBig) | Verdict::Fragment =
        returned.verdict
    {
        return;
    }
    assert_eq!(
        returned.verdict,
        Verdict::Send,
        "what left did not come back"
    );
    assert_eq!(returned.receiver, outcome.sender);
    // An instance's ENIs may send each other's addresses: what comes back goes to whose they are.
    assert!(ifindex != UPLINK && returned.egress.ifindex != UPLINK);
    let (mut to, mut from) = ([0; 6], [0; 6]);
    to.copy_from_slice(&got[..6]);
    from.copy_from_slice(&got[6..12]);
    let mut expected = exchanged(before, &ip, to, from);
    expected[ip.hop] -= 2;
    // Padding that did not fit.
    expected.truncate(got.len());
    // An IPv4 header's checksum counts the hops; 0x0000 and 0xffff are the two zeros of the
    // transport's.
    if ip.version == 4 {
        let header = ip.at + 10;
        expected[header..header + 2].copy_from_slice(&got[header..header + 2]);
    }
    if let Some(checksum) = ip.checksum() {
        let at = checksum.at;
        if word(&got, at).is_multiple_of(0xffff) && word(&expected, at).is_multiple_of(0xffff) {
            expected[at..at + 2].copy_from_slice(&got[at..at + 2]);
        }
    }
    assert_eq!(got, expected, "{outcome:?}");
}

/// The same frame with the IP addresses exchanged, from one MAC to another.
fn exchanged(frame: &[u8], ip: &Ip, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    let mut exchanged = [&to, &from, &frame[12..]].concat();
    exchanged[ip.source.clone()].copy_from_slice(&frame[ip.destination.clone()]);
    exchanged[ip.destination.clone()].copy_from_slice(&frame[ip.source.clone()]);
    exchanged
}
