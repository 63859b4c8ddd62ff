//! What must hold of what the gateway itself says.

use super::{
    hold::{Checks, sender_of},
    site::{ENIS, GATEWAY, Plan, STANDINGS, UPLINK, UPLINK_MAC, UPLINK_MTU},
    wire::{IP, Ip, TYPE4, TYPE6, word},
};
use crate::{
    abi::{Reason, SourceState},
    packet::Mac,
};

/// The gateway's MAC where a frame came from.
fn own_mac(ifindex: u32, before: &[u8]) -> Mac {
    if ifindex == UPLINK {
        UPLINK_MAC
    } else {
        ENIS[sender_of(ifindex, before)].port_mac
    }
}

/// A frame that was turned into its answer.
pub fn replied(ifindex: u32, before: &[u8], after: &[u8]) {
    let mac = own_mac(ifindex, before);
    match [before[12], before[13]] {
        [8, 6] => arp(before, after, mac),
        TYPE4 | TYPE6 => {
            let ip = Ip::read(before, IP, before.len()).expect("no IP packet was answered");
            if ip.version == 6 && ip.icmp_type(before) == Some(135) {
                neighbour(&ip, before, after, mac);
            } else {
                assert!(
                    ifindex != UPLINK,
                    "the gateway's pings are the kernel's there"
                );
                echo(&ip, before, after, mac);
            }
        }
        _ => panic!("an answer to what is no question"),
    }
}

/// RFC 826: the same packet with the roles exchanged.
fn arp(before: &[u8], after: &[u8], mac: Mac) {
    assert_eq!(before[14..22], [0, 1, 8, 0, 6, 4, 0, 1], "no request");
    let asker = &before[22..32];
    let wanted = &before[38..42];
    let reply: [&[u8]; 4] = [&[0, 1, 8, 0, 6, 4, 0, 2], &mac, wanted, asker];
    let expected = [&asker[..6], &mac, &[8, 6], &reply.concat(), &before[42..]].concat();
    assert_eq!(after, expected);
}

/// RFC 4861: an advertisement.
fn neighbour(ip: &Ip, before: &[u8], after: &[u8], mac: Mac) {
    assert_eq!(before[ip.hop], 255, "from another link");
    let probe = before[ip.source.clone()] == [0; 16];
    let reply = Ip::read(after, IP, after.len()).expect("an IP packet");
    assert_eq!((reply.end, reply.own_end), (after.len(), after.len()));
    assert_eq!(after.len(), IP + 40 + 32);
    assert_eq!((after[reply.hop], reply.icmp_type(after)), (255, Some(136)));
    let checksum = reply.checksum().expect("ICMPv6 has one");
    assert_eq!(reply.sum(after, checksum), 0);
    let wanted = &before[62..78];
    assert_eq!((&after[reply.source], &after[62..78]), (wanted, wanted));
    assert_eq!(after[78..], [&[2, 1][..], &mac].concat());
    assert_eq!(after[6..12], mac);
    assert_eq!(after[58] & 0x40 != 0, !probe, "solicited");
    if probe {
        assert_eq!(after[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(after[reply.destination.start], 0xff);
    } else {
        assert_eq!(after[..6], before[6..12]);
        assert_eq!(after[reply.destination], before[ip.source.clone()]);
    }
}

/// An echo reply, or a later fragment of one: addresses exchanged, all else the same.
fn echo(ip: &Ip, before: &[u8], after: &[u8], mac: Mac) {
    let mut expected = [&before[6..12], &mac, &before[12..]].concat();
    expected[ip.hop] = 64;
    expected[ip.source.clone()].copy_from_slice(&before[ip.destination.clone()]);
    expected[ip.destination.clone()].copy_from_slice(&before[ip.source.clone()]);
    let mut checks = Checks::default();
    if ip.version == 4 {
        assert_eq!(ip.header_sum(before), 0);
        checks.header(ip, before, after);
    }
    let transport = ip.transport.expect("ICMP was found");
    match (ip.version, ip.icmp_type(before)) {
        (4, Some(8)) => expected[transport] = 0,
        (6, Some(128)) => expected[transport] = 129,
        (4, None) => assert_eq!(ip.protocol, 1),
        (_, None) => assert_eq!(ip.protocol, 58),
        other => panic!("no echo request: {other:?}"),
    }
    checks.transport(ip, before, after);
    for at in checks.fields {
        expected[at..at + 2].copy_from_slice(&after[at..at + 2]);
    }
    assert_eq!(after, expected);
}

/// A packet that was turned into the ICMP error to its sender.
pub fn refused<F: Plan>(ifindex: u32, before: &[u8], reason: Reason, mtu: u32, after: &[u8]) {
    let ip = Ip::read(before, IP, before.len()).expect("no IP packet was refused");
    assert!(!ip.is_icmp_error(before), "an error about an error");
    assert!(ip.version == 6 || ip.offset == 0, "about a later fragment");
    let (headers, most, protocol) = if ip.version == 4 {
        (28, 576, 1)
    } else {
        (48, 1280, 58)
    };
    let embedded = (ip.end - IP).min(most - headers);
    assert_eq!(after.len(), IP + headers + embedded);
    assert_eq!(
        after[IP + headers..],
        before[IP..IP + embedded],
        "as the sender sent it"
    );
    let mac = own_mac(ifindex, before);
    assert_eq!(
        after[..14],
        [&before[6..12], &mac, &before[12..14]].concat()
    );
    let error = Ip::read(after, IP, after.len()).expect("an IP packet");
    assert_eq!(error.version, ip.version);
    assert_eq!((error.end, error.own_end), (after.len(), after.len()));
    assert_eq!((error.protocol, after[error.hop]), (protocol, 64));
    let message = error.transport.expect("no options");
    assert_eq!(message, IP + headers - 8);
    if error.version == 4 {
        assert_eq!(error.header_sum(after), 0);
    }
    let checksum = error.checksum().expect("ICMP has one");
    assert_eq!(error.sum(after, checksum), 0, "the error's checksum");
    assert_eq!(after[error.destination], before[ip.source.clone()]);
    let source = F::address(&after[error.source]);
    if ifindex == UPLINK {
        assert!(source == F::own());
    } else {
        let cut_through = STANDINGS.iter().any(|standing| {
            standing.state == SourceState::CutThrough
                && F::bytes(&standing.own::<F>()) == &before[ip.source.clone()]
        });
        let gateway = if cut_through {
            F::public(GATEWAY)
        } else {
            F::private(GATEWAY)
        };
        assert!(source == gateway);
    }
    let told = (after[message], after[message + 1], &after[message + 4..]);
    match (reason, ip.version) {
        (Reason::TtlExceeded, version) => {
            assert!(before[ip.hop] <= 1, "it had hops left");
            let kind = if version == 4 { 11 } else { 3 };
            assert_eq!((told.0, told.1, &told.2[..4]), (kind, 0, &[0; 4][..]));
        }
        (Reason::TooBig, version) => {
            let known = ENIS.iter().map(|eni| eni.mtu).chain([UPLINK_MTU]);
            assert!(known.into_iter().any(|known| known == mtu));
            assert!(ip.end - IP > mtu as usize, "it fits");
            assert_eq!(u32::from(word(told.2, 2)), mtu);
            let kind = if version == 4 { (3, 4) } else { (2, 0) };
            assert_eq!((told.0, told.1, word(told.2, 0)), (kind.0, kind.1, 0));
        }
        (other, _) => panic!("nobody is told of {other:?}"),
    }
}
