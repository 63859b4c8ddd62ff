//! Checksums that a sender leaves to its network card, and that a receiver completes.

use anyhow::{Context, Result};

use super::{
    data::{Family, Virtio},
    ip::{UDP, checksum},
};

const ETHERNET: usize = 14;
const TCP: u8 = 6;

/// The packet with the checksum of its TCP segment or UDP datagram left open, and what a card would
/// be told; `None` unless the packet is one that a stack leaves open: whole, with a right checksum.
pub fn leave_open(family: Family, packet: &[u8]) -> Option<(Vec<u8>, Virtio)> {
    let (protocol, start, end) = transport(family, packet)?;
    let segment = packet.get(start..).filter(|_| end == packet.len())?;
    let offset = match protocol {
        TCP if segment.len() >= 20 => 16,
        UDP if segment.len() >= 8 && segment[6..8] != [0, 0] => 6,
        _ => return None,
    };
    if protocol == UDP && usize::from(u16::from_be_bytes([segment[4], segment[5]])) != segment.len()
    {
        return None;
    }
    let addresses = match family {
        Family::V4 => &packet[12..20],
        Family::V6 => &packet[8..40],
    };
    let length = u32::try_from(segment.len()).ok()?.to_be_bytes();
    let pseudo = [addresses, &length, &[0, 0, 0, protocol]].concat();
    if checksum(&[&pseudo, segment]) != 0 {
        return None;
    }
    let mut open = packet.to_vec();
    let sum = !checksum(&[&pseudo]);
    open[start + offset..start + offset + 2].copy_from_slice(&sum.to_be_bytes());
    let virtio = Virtio {
        csum_start: u16::try_from(ETHERNET + start).ok()?,
        csum_offset: u16::try_from(offset).ok()?,
        ..Virtio::default()
    };
    Some((open, virtio))
}

/// Does what a card does: sums up from `start` on, and writes the checksum `offset` bytes behind
/// that.
pub fn complete(frame: &mut [u8], start: usize, offset: usize) -> Result<()> {
    let place = start + offset;
    let covered = frame.get(start..).filter(|_| place + 2 <= frame.len());
    let sum =
        match checksum(&[covered.context("the checksum to be completed is not in the frame")?]) {
            0 => 0xffff,
            sum => sum,
        };
    frame[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// A message about `sent`, whose checksum its sender left open, with that checksum in the
/// quotation: what stands there instead says nothing to anybody. `None` if there is nothing to be
/// replaced, or the message's own checksum is wrong.
pub fn completed_quote(family: Family, message: &[u8], sent: &[u8]) -> Option<Vec<u8>> {
    let (header, protocol) = match family {
        Family::V4 => (20, 1),
        Family::V6 => (40, 58),
    };
    let (_, virtio) = leave_open(family, sent)?;
    let place = usize::from(virtio.csum_start) - ETHERNET + usize::from(virtio.csum_offset);
    let quoted = header + 8 + place;
    message.get(quoted..quoted + 2)?;
    let length = u32::try_from(message.len() - header).ok()?.to_be_bytes();
    let pseudo = match family {
        Family::V4 => Vec::new(),
        Family::V6 => [&message[8..40], &length, &[0, 0, 0, protocol]].concat(),
    };
    if checksum(&[&pseudo, &message[header..]]) != 0 {
        return None;
    }
    let mut completed = message.to_vec();
    completed[quoted..quoted + 2].copy_from_slice(&sent[place..place + 2]);
    completed[header + 2..header + 4].fill(0);
    let sum = checksum(&[&pseudo, &completed[header..]]);
    completed[header + 2..header + 4].copy_from_slice(&sum.to_be_bytes());
    Some(completed)
}

/// Protocol, and where its header begins and the packet ends; `None` for fragments and what is no
/// packet.
fn transport(family: Family, packet: &[u8]) -> Option<(u8, usize, usize)> {
    match family {
        Family::V4 => {
            let header = packet.get(..20)?;
            let fragment = header[6] & 0x3f != 0 || header[7] != 0;
            let right = header[0] >> 4 == 4 && header[0] & 15 >= 5 && !fragment;
            let end = u16::from_be_bytes([header[2], header[3]]);
            right.then_some((header[9], usize::from(header[0] & 15) * 4, usize::from(end)))
        }
        Family::V6 => {
            let header = packet.get(..40)?;
            let end = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
            let (mut protocol, mut start) = (header[6], 40);
            // Hop-by-hop options, and those for the destination. Behind a routing header the last
            // address would be summed.
            while protocol == 0 || protocol == 60 {
                let extension = packet.get(start..start + 2)?;
                protocol = extension[0];
                start += (usize::from(extension[1]) + 1) * 8;
            }
            (header[0] >> 4 == 6).then_some((protocol, start, end))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{data, ip::udp};

    #[test]
    fn what_is_left_open_is_completed_to_what_it_was() {
        for (family, addresses) in [
            (Family::V4, ["192.0.2.1", "192.0.2.2"]),
            (Family::V6, ["2001:db8::1", "2001:db8::2"]),
        ] {
            let [source, destination] =
                addresses.map(|address| address.parse().expect("an address"));
            let packet = udp(source, destination, b"odd");
            let (open, virtio) = leave_open(family, &packet).expect("it is a whole datagram");
            assert_ne!(open, packet);
            let mut frame = [&[0; ETHERNET][..], &open].concat();
            let (start, offset) = (virtio.csum_start.into(), virtio.csum_offset.into());
            complete(&mut frame, start, offset).expect("the place is in the frame");
            assert_eq!(frame[ETHERNET..], packet);
            // What is wrong stays so, and nothing is summed over padding.
            let mut wrong = packet.clone();
            *wrong.last_mut().expect("it has a payload") ^= 1;
            assert_eq!(leave_open(family, &wrong), None);
            assert_eq!(leave_open(family, &[&packet[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn much_of_the_suite_can_be_left_open() -> Result<()> {
        let mut open = 0;
        for table in data::read(&data::folder())? {
            let sent = table.cases.iter().flat_map(|case| &case.send);
            open += sent
                .filter(|sent| leave_open(table.bed.family, &sent.packet.0).is_some())
                .count();
        }
        assert!(open > 1000, "{open}");
        Ok(())
    }
}
