//! IPv4 packets that come out in fragments.

use super::{data::Arrival, ip::checksum, wire::Seen};

/// Takes the fragments of an IPv4 packet if all are there and each is right.
pub fn take_pieces(left: &mut Vec<&Seen>, arrival: &Arrival, mtu: usize) -> bool {
    let mut pieces: Vec<&Seen> = left
        .iter()
        .filter(|seen| seen.at == arrival.at)
        .copied()
        .collect();
    pieces.sort_by_key(|seen| Piece::of(&seen.packet).map(|piece| piece.offset));
    if pieces.len() < 2 || !are_pieces(&pieces, &arrival.packet.0, mtu) {
        return false;
    }
    left.retain(|seen| seen.at != arrival.at);
    true
}

fn are_pieces(pieces: &[&Seen], whole: &[u8], mtu: usize) -> bool {
    let Some(expected) = Piece::of(whole) else {
        return false;
    };
    let mut next = expected.offset;
    let mut payload: Vec<u8> = Vec::new();
    for (number, seen) in (1..).zip(pieces) {
        let Some(piece) = Piece::of(&seen.packet) else {
            return false;
        };
        let more = number < pieces.len() || expected.more;
        let good = seen.addressed
            && seen.packet.len() <= mtu
            && checksum(&[piece.header]) == 0
            && piece.constant() == expected.constant()
            && piece.offset == next
            && piece.more == more;
        if !good {
            return false;
        }
        next += piece.payload.len();
        payload.extend(piece.payload);
    }
    payload == expected.payload
}

/// An IPv4 packet as a fragment.
struct Piece<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    offset: usize,
    more: bool,
}

impl<'a> Piece<'a> {
    fn of(packet: &'a [u8]) -> Option<Self> {
        let end = usize::from(packet.first()? & 15) * 4;
        let word = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]);
        (end >= 20).then_some(())?;
        Some(Self {
            header: packet.get(..end)?,
            payload: packet.get(end..)?,
            offset: usize::from(word & 0x1fff) * 8,
            more: word & 0x2000 != 0,
        })
    }

    /// What all fragments of a packet have in common: all but length, offset, more-fragments and checksum.
    fn constant(&self) -> Vec<u8> {
        let mut header = self.header.to_vec();
        for place in [2, 3, 7, 10, 11] {
            header[place] = 0;
        }
        header[6] &= 0xc0;
        header
    }
}
