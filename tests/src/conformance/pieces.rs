//! IPv4 packets that come out in fragments.

use super::{
    data::{Arrival, Family},
    ip::checksum,
    wire::Seen,
};

/// Takes the fragments of an IPv4 packet if all are there and each is right.
pub fn take_pieces(family: Family, left: &mut Vec<&Seen>, arrival: &Arrival, mtu: usize) -> bool {
    let mut pieces: Vec<&Seen> = left
        .iter()
        .filter(|seen| is_one(family, seen, arrival))
        .copied()
        .collect();
    pieces.sort_by_key(|seen| Piece::of(&seen.packet).map(|piece| piece.offset));
    if pieces.len() < 2 || !are_pieces(&pieces, &arrival.packet.0, mtu) {
        return false;
    }
    left.retain(|seen| !is_one(family, seen, arrival));
    true
}

/// Whether it is a fragment of that packet, by what a receiver puts fragments together by.
fn is_one(family: Family, seen: &Seen, arrival: &Arrival) -> bool {
    let key = |packet: &[u8]| {
        let addresses = packet.get(12..20)?.to_vec();
        Some((packet.get(4..6)?.to_vec(), *packet.get(9)?, addresses))
    };
    seen.at == arrival.at
        && seen.ethertype == arrival.ethertype(family)
        && key(&seen.packet) == key(&arrival.packet.0)
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
            && piece.has_options_of(&expected, number == 1)
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

    /// What all fragments of a packet have in common: all but options, lengths, offset,
    /// more-fragments and checksum.
    fn constant(&self) -> Vec<u8> {
        let mut header = self.header[..20].to_vec();
        for place in [2, 3, 7, 10, 11] {
            header[place] = 0;
        }
        header[0] &= 0xf0;
        header[6] &= 0xc0;
        header
    }

    /// RFC 791, 3.1: the first fragment has all options as they came; the others those with the
    /// copied flag, and no others.
    fn has_options_of(&self, whole: &Self, first: bool) -> bool {
        if first {
            return self.header[20..] == whole.header[20..];
        }
        let options = options(&self.header[20..]);
        let wanted = options_in(&whole.header[20..]).filter(|option| option[0] & COPIED != 0);
        options == wanted.collect::<Vec<&[u8]>>()
    }
}

/// The flag of an option that each fragment has.
const COPIED: u8 = 0x80;

/// The options without what pads them.
fn options(bytes: &[u8]) -> Vec<&[u8]> {
    options_in(bytes).collect()
}

fn options_in(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    const END: u8 = 0;
    const NOP: u8 = 1;
    std::iter::from_fn(move || {
        while let [NOP, rest @ ..] = bytes {
            bytes = rest;
        }
        let (&kind, rest) = bytes.split_first()?;
        if kind == END {
            return None;
        }
        let length = usize::from(*rest.first()?).max(2);
        let (option, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        Some(option)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_from_padding() {
        let alert = [0x94, 4, 0, 0];
        let stamp = [0x44, 4, 5, 0];
        let bytes = [&[1][..], &alert, &[1, 1], &stamp, &[0, 7]].concat();
        assert_eq!(options(&bytes), [&alert[..], &stamp]);
        assert_eq!(options(&[0x94, 9, 0]), Vec::<&[u8]>::new());
    }

    #[test]
    fn later_fragments_have_the_copied_options_only() {
        let header = |options: &[u8]| {
            let mut header = vec![0; 20];
            header[0] = 0x40 | u8::try_from(5 + options.len() / 4).unwrap_or_default();
            header.extend(options);
            header
        };
        let (alert, stamp) = ([0x94, 4, 0, 0], [0x44, 4, 5, 0]);
        let (whole, short) = (header(&[alert, stamp].concat()), header(&alert));
        let padded = header(&[alert, [1; 4]].concat());
        let piece = |packet| Piece::of(packet).expect("a header");
        let whole = piece(&whole);
        assert!(whole.has_options_of(&whole, true) && !whole.has_options_of(&whole, false));
        assert!(piece(&short).has_options_of(&whole, false));
        assert!(piece(&padded).has_options_of(&whole, false));
        assert!(!piece(&padded).has_options_of(&whole, true));
        assert!(!piece(&header(&[])).has_options_of(&whole, false));
    }
}
