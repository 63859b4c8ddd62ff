//! Router solicitations, held against RFC 4861 6.1.1 and 6.2.6.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use fastrand::Rng;
use tokio::time::Instant;

use super::{
    advertise::Advertisement,
    site::{self, Input},
    wire::Packet,
};
use crate::{
    frame::v6::{self, Message},
    guests::{
        Client,
        ra::{Advertiser, solicitor},
    },
};

/// Takes a frame for a solicitation; gives whether it got an answer.
///
/// # Panics
/// If what is none counts as one, or the answer is for another than who solicited.
pub fn hold(bytes: &[u8]) -> Option<bool> {
    let input = Input::read(bytes)?;
    let received = v6::parse(&input.frame)?;
    let Message::Icmp(message) = received.message else {
        return None;
    };
    let packet = Packet::read(&input.frame).expect("it was read before");
    let found = solicitor(received.source, received.hop_limit, message);
    assert_eq!(
        found.map(IpAddr::from),
        is_valid(&packet).then_some(packet.source)
    );
    let source = found?;
    let guest = Client::on(input.port, packet.from);
    Some(answered(guest, source))
}

/// What every router has to check, and that the sender is on the link, or nobody yet.
fn is_valid(packet: &Packet<'_>) -> bool {
    let IpAddr::V6(source) = packet.source else {
        return false;
    };
    let Some((header, options)) = packet.payload.split_at_checked(8) else {
        return false;
    };
    if packet.hops != 255 || packet.sum() != 0xffff || header[..2] != [133, 0] {
        return false;
    }
    let mut at = 0;
    while at < options.len() {
        let Some(words) = options.get(at + 1).filter(|words| **words > 0) else {
            return false;
        };
        if source.is_unspecified() && options[at] == 1 {
            return false;
        }
        at += usize::from(*words) * 8;
    }
    at == options.len() && (source.is_unspecified() || source.segments()[0] & 0xffc0 == 0xfe80)
}

/// Whether the solicitation is answered, in good time and to its sender alone.
fn answered(guest: Client, source: Ipv6Addr) -> bool {
    let directory = site::directory();
    let start = Instant::now();
    let mut advertiser = Advertiser::new(Rng::with_seed(1));
    advertiser.follow(directory, start);
    // The first that nobody asked for; no other is due for a while, and after three seconds one to
    // all nodes may be sent.
    while advertiser.pop(start).is_some() {}
    let asked = start + Duration::from_secs(3);
    advertiser.answer(guest, source, asked);
    let late = asked + Duration::from_millis(500);
    let Some((port, frame)) = advertiser.pop(late) else {
        assert!(!directory.leases6.contains_key(&guest), "no answer");
        return false;
    };
    let lease = directory
        .leases6
        .get(&guest)
        .expect("who solicited is served");
    let told = Advertisement::read(&frame);
    assert_eq!((port, told.guest), (guest.port(), guest.mac));
    assert_eq!(
        told.to,
        Some(source).filter(|source| !source.is_unspecified())
    );
    told.is_of(lease);
    assert_eq!(advertiser.pop(late), None, "a second answer");
    true
}
