//! What came out against what has to.

use super::{
    data::{Arrival, Case, Family, Open},
    ip::checksum,
    pieces::take_pieces,
    wire::Seen,
};
use crate::prog::{hex_diff, table::Frame};

/// How far a case is.
#[derive(Debug, PartialEq, Eq)]
pub enum Judgement {
    /// All that has to come out has, and nothing else.
    Passed,
    /// Something has not come out yet.
    Missing(String),
    /// Something came out that must not.
    Wrong(String),
}

/// Judges what was seen for a case: one of its outcomes has to be it.
pub fn judge(family: Family, case: &Case, seen: &[Seen]) -> Judgement {
    let mut first = Judgement::Wrong("the case has no outcome".to_owned());
    for (number, outcome) in case.expect.iter().enumerate() {
        let judgement = judge_outcome(family, outcome, seen);
        // Whatever may still come right is waited for.
        let hope = matches!(
            (&first, &judgement),
            (Judgement::Wrong(_), Judgement::Missing(_))
        );
        if judgement == Judgement::Passed {
            return judgement;
        } else if number == 0 || hope {
            first = judgement;
        }
    }
    first
}

fn judge_outcome(family: Family, outcome: &[Arrival], seen: &[Seen]) -> Judgement {
    let mut left: Vec<&Seen> = seen.iter().collect();
    let mut missing = Vec::new();
    for arrival in outcome {
        let found = match arrival.mtu {
            Some(mtu) => take_pieces(family, &mut left, arrival, mtu),
            None => take(family, &mut left, arrival),
        };
        if !found {
            missing.push(arrival);
        }
    }
    let pieces = missing.iter().any(|arrival| arrival.mtu.is_some());
    match (left.first(), missing.first()) {
        (None, None) => Judgement::Passed,
        (None, Some(arrival)) => Judgement::Missing(format!("nothing came out at {}", arrival.at)),
        // They come one by one.
        (Some(_), Some(arrival)) if pieces && left.iter().all(|seen| seen.at == arrival.at) => {
            Judgement::Missing(format!(
                "{} packets came out at {}, which are not the packet in fragments",
                left.len(),
                arrival.at
            ))
        }
        (Some(stray), _) => Judgement::Wrong(describe(family, stray, &missing)),
    }
}

fn take(family: Family, left: &mut Vec<&Seen>, arrival: &Arrival) -> bool {
    let place = left.iter().position(|seen| {
        seen.at == arrival.at
            && seen.addressed
            && seen.ethertype == arrival.ethertype(family)
            && settled(family, arrival, &seen.packet) == arrival.packet.0
    });
    place.map(|place| left.remove(place)).is_some()
}

fn describe(family: Family, stray: &Seen, missing: &[&Arrival]) -> String {
    let Some(arrival) = missing.iter().find(|arrival| arrival.at == stray.at) else {
        return format!(
            "came out at {}, where nothing should: {}{:?}",
            stray.at,
            carried(family, stray),
            Frame(stray.packet.clone())
        );
    };
    let got = settled(family, arrival, &stray.packet);
    if got == arrival.packet.0 {
        return format!(
            "came out at {} with other Ethernet addresses, type or tags",
            stray.at
        );
    }
    format!(
        "came out at {} otherwise:{}",
        stray.at,
        hex_diff(&arrival.packet.0, &got)
    )
}

/// What a frame says that it carries, if it is not a packet of the family.
fn carried(family: Family, seen: &Seen) -> String {
    if seen.ethertype == family.ethertype() {
        return String::new();
    }
    format!("type {:04x}, ", u16::from_be_bytes(seen.ethertype))
}

/// The packet with its open fields as the expected one has them, if the checksums over them are
/// right.
fn settled(family: Family, arrival: &Arrival, packet: &[u8]) -> Vec<u8> {
    let expected = &arrival.packet.0;
    if arrival.open.is_empty() || packet.len() != expected.len() {
        return packet.to_vec();
    }
    let settle = match family {
        Family::V4 => settle_v4,
        Family::V6 => settle_v6,
    };
    settle(&arrival.open, expected, packet).unwrap_or_else(|| packet.to_vec())
}

fn settle_v4(open: &[Open], expected: &[u8], packet: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 20;
    const QUOTE: usize = HEADER + 8;
    let right = checksum(&[packet.get(..HEADER)?]) == 0 && checksum(&[packet.get(HEADER..)?]) == 0;
    if !right || packet.len() < QUOTE + HEADER {
        return None;
    }
    let mut got = packet.to_vec();
    for field in open {
        match field {
            Open::Tos => got[1] = expected[1],
            Open::Identification => got[4..6].copy_from_slice(&expected[4..6]),
            Open::Df => got[6] = got[6] & !0x40 | expected[6] & 0x40,
            Open::Ttl => got[8] = expected[8],
            Open::QuotedTtl => {
                // The header that came had a right checksum, and so has this one.
                let end = QUOTE + usize::from(got[QUOTE] & 15) * 4;
                if checksum(&[got.get(QUOTE..end)?]) != 0 {
                    return None;
                }
                got[QUOTE + 8] = expected[QUOTE + 8];
                sum_up(&mut got[QUOTE..end], 10);
                sum_up(&mut got[HEADER..], 2);
            }
            Open::TrafficClass | Open::FlowLabel | Open::HopLimit => return None,
        }
    }
    sum_up(&mut got[..HEADER], 10);
    Some(got)
}

fn settle_v6(open: &[Open], expected: &[u8], packet: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 40;
    const QUOTE: usize = HEADER + 8;
    let mut got = packet.to_vec();
    if got.len() < QUOTE + HEADER {
        return None;
    }
    for field in open {
        match field {
            Open::TrafficClass => {
                got[0] = expected[0];
                got[1] = got[1] & 0x0f | expected[1] & 0xf0;
            }
            Open::FlowLabel => {
                got[1] = got[1] & 0xf0 | expected[1] & 0x0f;
                got[2..4].copy_from_slice(&expected[2..4]);
            }
            Open::HopLimit => got[7] = expected[7],
            Open::QuotedTtl if got[QUOTE + 7] == expected[QUOTE + 7] => {}
            Open::QuotedTtl => {
                let length = u32::try_from(got.len() - HEADER).ok()?.to_be_bytes();
                let pseudo = [&got[8..40], &length, &[0, 0, 0, 58]].concat();
                if checksum(&[&pseudo, &got[HEADER..]]) != 0 {
                    return None;
                }
                got[QUOTE + 7] = expected[QUOTE + 7];
                got[HEADER + 2..HEADER + 4].fill(0);
                let sum = checksum(&[&pseudo, &got[HEADER..]]);
                got[HEADER + 2..HEADER + 4].copy_from_slice(&sum.to_be_bytes());
            }
            Open::Tos | Open::Identification | Open::Df | Open::Ttl => return None,
        }
    }
    Some(got)
}

fn sum_up(bytes: &mut [u8], place: usize) {
    bytes[place..place + 2].fill(0);
    let sum = checksum(&[bytes]);
    bytes[place..place + 2].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tos: u8, quoted_ttl: u8) -> Vec<u8> {
        let mut quote = vec![
            0x45, 0, 0, 20, 0, 1, 0, 0, quoted_ttl, 17, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2,
        ];
        sum_up(&mut quote, 10);
        let mut icmp = [&[11, 0, 0, 0, 0, 0, 0, 0][..], &quote].concat();
        sum_up(&mut icmp, 2);
        let mut header = vec![
            0x45, tos, 0, 48, 7, 7, 0, 0, 64, 1, 0, 0, 3, 3, 3, 3, 1, 1, 1, 1,
        ];
        sum_up(&mut header, 10);
        [header, icmp].concat()
    }

    fn case(expect: Vec<Arrival>) -> Case {
        Case {
            name: "x".to_owned(),
            ids: Vec::new(),
            group: "x".to_owned(),
            rfc: None,
            policy: false,
            tenants: false,
            host: 0,
            cut_through: false,
            before: Vec::new(),
            send: Vec::new(),
            expect: vec![expect],
            answered: false,
        }
    }

    fn arrival(packet: Vec<u8>, open: Vec<Open>, mtu: Option<usize>) -> Arrival {
        Arrival {
            at: "internet".to_owned(),
            packet: Frame(packet),
            open,
            mtu,
            ethertype: None,
        }
    }

    fn seen(packet: Vec<u8>) -> Seen {
        Seen {
            at: "internet".to_owned(),
            ethertype: Family::V4.ethertype(),
            packet,
            addressed: true,
        }
    }

    #[test]
    fn open_fields_are_open_and_no_others() {
        let case = |open| case(vec![arrival(message(0xc0, 1), open, None)]);
        let judged = |open, packet| judge(Family::V4, &case(open), &[seen(packet)]);
        let both = || vec![Open::Tos, Open::QuotedTtl];
        assert_eq!(judged(both(), message(0, 0)), Judgement::Passed);
        assert!(matches!(
            judged(vec![Open::Tos], message(0, 0)),
            Judgement::Wrong(_)
        ));
        let mut wrong = message(0, 0);
        wrong[10] ^= 1;
        assert!(matches!(judged(both(), wrong), Judgement::Wrong(_)));
        let mut wrong = message(0, 0);
        wrong[22] ^= 1;
        assert!(matches!(judged(both(), wrong), Judgement::Wrong(_)));
    }

    #[test]
    fn what_may_still_come_is_waited_for() {
        let one = |packet| vec![arrival(packet, Vec::new(), None)];
        let two = || [one(message(0, 1)), one(message(0, 2))].map(|mut one| one.remove(0));
        let case = Case {
            expect: vec![one(message(0, 3)), two().into()],
            ..case(Vec::new())
        };
        let judged = |packets: &[Vec<u8>]| {
            let all: Vec<Seen> = packets.iter().cloned().map(seen).collect();
            judge(Family::V4, &case, &all)
        };
        assert!(matches!(judged(&[]), Judgement::Missing(_)));
        assert!(matches!(judged(&[message(0, 1)]), Judgement::Missing(_)));
        assert!(matches!(judged(&[message(0, 4)]), Judgement::Wrong(_)));
        assert_eq!(judged(&[message(0, 2), message(0, 1)]), Judgement::Passed);
        assert_eq!(judged(&[message(0, 3)]), Judgement::Passed);
    }

    #[test]
    fn the_quoted_hop_limit_is_open_and_its_checksum_is_not() {
        let message = |hops: u8, quoted: u8| {
            let mut packet = vec![0x60, 0, 0, 0, 0, 48, 58, hops];
            packet.extend([0xfd; 32]);
            packet.extend([3, 0, 0, 0, 0, 0, 0, 0]);
            packet.extend([0x60, 0, 0, 0, 0, 0, 59, quoted]);
            packet.extend([0xfe; 32]);
            let pseudo = [&packet[8..40], &[0, 0, 0, 48, 0, 0, 0, 58]].concat();
            let sum = checksum(&[&pseudo, &packet[40..]]);
            packet[42..44].copy_from_slice(&sum.to_be_bytes());
            packet
        };
        let case = case(vec![arrival(
            message(64, 1),
            vec![Open::HopLimit, Open::QuotedTtl],
            None,
        )]);
        let judged = |packet| {
            let seen = Seen {
                ethertype: Family::V6.ethertype(),
                ..seen(packet)
            };
            judge(Family::V6, &case, &[seen])
        };
        assert_eq!(judged(message(255, 0)), Judgement::Passed);
        let mut wrong = message(255, 0);
        wrong[43] ^= 1;
        assert!(matches!(judged(wrong), Judgement::Wrong(_)));
        let mut other = message(255, 1);
        other[39] ^= 1;
        assert!(matches!(judged(other), Judgement::Wrong(_)));
    }

    #[test]
    fn nothing_is_missing_and_anything_else_is_wrong() {
        let expects = case(vec![arrival(message(0, 1), Vec::new(), None)]);
        assert!(matches!(
            judge(Family::V4, &expects, &[]),
            Judgement::Missing(_)
        ));
        let twice = [seen(message(0, 1)), seen(message(0, 1))];
        assert!(matches!(
            judge(Family::V4, &expects, &twice),
            Judgement::Wrong(_)
        ));
        let drop = case(Vec::new());
        assert_eq!(judge(Family::V4, &drop, &[]), Judgement::Passed);
        assert!(matches!(
            judge(Family::V4, &drop, &twice),
            Judgement::Wrong(_)
        ));
    }

    #[test]
    fn fragments_add_up() {
        let packet = |offset: u16, more: bool, payload: &[u8]| {
            let length = u16::try_from(20 + payload.len())
                .unwrap_or_default()
                .to_be_bytes();
            let word = ((offset / 8) | if more { 0x2000 } else { 0 }).to_be_bytes();
            let mut header = vec![
                0x45, 0, length[0], length[1], 7, 7, word[0], word[1], 64, 17, 0, 0,
            ];
            header.extend([3, 3, 3, 3, 1, 1, 1, 1]);
            sum_up(&mut header, 10);
            [&header, payload].concat()
        };
        let data: Vec<u8> = (0..40).collect();
        let expects = case(vec![arrival(packet(0, false, &data), Vec::new(), Some(44))]);
        let judged = |pieces: &[Vec<u8>]| {
            let all: Vec<Seen> = pieces.iter().cloned().map(seen).collect();
            judge(Family::V4, &expects, &all)
        };
        let (first, last) = (packet(0, true, &data[..24]), packet(24, false, &data[24..]));
        assert_eq!(judged(&[last.clone(), first.clone()]), Judgement::Passed);
        assert_ne!(judged(std::slice::from_ref(&first)), Judgement::Passed);
        let wrong = packet(24, true, &data[24..]);
        assert_ne!(judged(&[first, wrong]), Judgement::Passed);
        let large = packet(0, true, &data[..32]);
        let rest = packet(32, false, &data[32..]);
        assert_ne!(judged(&[large, rest]), Judgement::Passed);
    }
}
