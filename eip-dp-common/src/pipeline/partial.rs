//! Checksums that the device which sends a frame is still to write: only where that changes nothing
//! that was looked at.
//!
//! Who sends a frame through a tap or veth says where its checksum begins and where the device
//! writes it. Over the source address, say, it would make the packet another tenant's, after all
//! checks.

use crate::{
    family::{Chain, Datagram, Family, protocol},
    packet::Packet,
};

/// Where UDP's destination port is, from the start of its header.
const DESTINATION_PORT: usize = 2;

/// Where SCTP's checksum is, a `CRC32c` that covers no addresses and that devices complete, too
/// (RFC 9260 3.1).
const SCTP_CHECKSUM: usize = 8;

/// The UDP ports of tunnels whose stacks leave the inner packet's checksum to the device: VXLAN
/// (RFC 7348; and what Linux took before there was a number), Geneve (RFC 8926).
const TUNNELS: [u16; 3] = [4789, 8472, 6081];

/// Whether what the device writes is the packet's own transport checksum, or lies in a tunnel's
/// payload, at which nobody here looks.
#[inline(always)]
pub fn is_honest<F: Family, P: Packet>(packet: &mut P, datagram: &Datagram<F>) -> bool {
    let partial = packet.partial_checksum();
    if partial.is_none() {
        return true;
    }
    // No stack leaves the checksum of a packet that it cuts to the device.
    if !datagram.fragment.is_whole() {
        return false;
    }
    let (start, field) = (partial.start as usize, partial.field as usize);
    if field < start || field + 2 > datagram.end {
        return false;
    }
    // Nobody looks behind as many headers.
    if datagram.chain == Chain::TOO_LONG {
        return start >= datagram.transport;
    }
    let own = match datagram.protocol {
        protocol::SCTP => SCTP_CHECKSUM,
        protocol::TCP | protocol::UDP | protocol::UDP_LITE | protocol::DCCP => {
            F::checksum_field(datagram.protocol).offset
        }
        _ => 0,
    };
    if own != 0 && start == datagram.transport {
        return field == start + own;
    }
    // A stack that sends into a tunnel of its own leaves the inner packet's checksum to the device.
    let header = match datagram.protocol {
        protocol::IPIP | protocol::IPV6 => 20,
        protocol::GRE => 4,
        protocol::UDP => match packet.read::<2>(datagram.transport + DESTINATION_PORT) {
            Some(port) if TUNNELS.contains(&u16::from_be_bytes(port)) => 8,
            _ => return false,
        },
        _ => return false,
    };
    start >= datagram.transport + header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        family::{V4, V6},
        packet::PartialChecksum,
        testing::{
            Buffer,
            craft::{Draft, INWARD, transport},
            site::Plan,
        },
    };

    /// Whether a packet of this protocol, to this port, may have a checksum that begins and is
    /// written there, from its transport header on.
    fn may<F: Plan>(protocol: u8, port: u16, start: i32, field: i32) -> bool {
        let mut payload = transport(protocol, &[7; 200]);
        payload[2..4].copy_from_slice(&port.to_be_bytes());
        let draft = Draft::<F>::new(F::far(1), F::public(10), protocol, payload);
        let mut packet = Buffer::new(draft.frame(INWARD));
        let datagram = F::parse(&packet).expect("a packet");
        let at = i32::try_from(datagram.transport).expect("a place in a header");
        let place = |offset: i32| u32::try_from(at + offset).expect("a place in the frame");
        packet.partial = PartialChecksum {
            start: place(start),
            field: place(field),
        };
        is_honest(&mut packet, &datagram)
    }

    fn only_where_nothing_is_looked_at<F: Plan>() {
        const PORT: u16 = 4500;
        for (protocol, own) in [(6, 16), (17, 6), (136, 6), (33, 6), (132, 8)] {
            for start in -30..100 {
                for field in -30..100 {
                    let honest = (start, field) == (0, own);
                    assert_eq!(
                        may::<F>(protocol, PORT, start, field),
                        honest,
                        "{protocol} {start} {field}"
                    );
                    let in_tunnel = protocol == 17 && start >= 8 && field >= start;
                    assert_eq!(
                        may::<F>(protocol, 4789, start, field),
                        honest || in_tunnel,
                        "{protocol} {start} {field}"
                    );
                }
            }
        }
        assert!(!may::<F>(F::ICMP, 0, 0, 2) && !may::<F>(F::ICMP, 0, 8, 20));
        // Inside of a tunnel, from behind its header on.
        assert!(may::<F>(47, 0, 24, 40) && !may::<F>(47, 0, 0, 2));
        assert!(may::<F>(4, 0, 20, 36) && !may::<F>(4, 0, 0, 10) && !may::<F>(4, 0, 0, 24));
        // Beyond the end.
        assert!(!may::<F>(17, 6081, 100, 10_000));
    }

    #[test]
    fn devices_write_only_where_nothing_is_looked_at() {
        only_where_nothing_is_looked_at::<V4>();
        only_where_nothing_is_looked_at::<V6>();
    }

    #[test]
    fn a_fragment_has_no_checksum_to_be_written() {
        let mut draft = Draft::<V4>::new(
            [192, 0, 2, 1],
            [203, 0, 113, 10],
            17,
            transport(17, b"first"),
        );
        draft.fragment = 0x2000;
        let mut packet = Buffer::new(draft.frame(INWARD));
        let datagram = V4::parse(&packet).expect("a packet");
        packet.partial = PartialChecksum {
            start: 34,
            field: 40,
        };
        assert!(!is_honest(&mut packet, &datagram));
    }
}
