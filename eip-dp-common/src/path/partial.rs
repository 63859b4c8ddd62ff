//! Checksums that the device which sends a frame is still to write: only where that changes nothing that was looked at.
//!
//! Who sends a frame through a tap or veth says where its checksum begins and where the device writes it. Over the source
//! address, say, it would make the packet another tenant's, after all checks.

use crate::{
    family::{Datagram, Family, protocol},
    packet::PartialChecksum,
};

/// Where SCTP's checksum is, a CRC32c that covers no addresses and that devices complete, too (RFC 9260 3.1).
const SCTP_CHECKSUM: usize = 8;

/// Whether what the device writes is the packet's own transport checksum, or lies in a tunnel's payload, at which nobody
/// here looks.
#[inline(always)]
pub fn is_honest<F: Family>(partial: PartialChecksum, datagram: &Datagram<F>) -> bool {
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
        protocol::UDP => 8,
        _ => return false,
    };
    start >= datagram.transport + header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        family::{V4, V6},
        packet::NETWORK,
        testing::{
            Buffer,
            craft::{Draft, INWARD, transport},
            site::Plan,
        },
    };

    /// Whether a packet of this protocol may have a checksum that begins and is written there, from its transport header on.
    fn may<F: Plan>(protocol: u8, fragment: u16, start: i32, field: i32) -> bool {
        let payload = transport(protocol, &[7; 200]);
        let mut draft = Draft::<F>::new(F::far(1), F::public(10), protocol, payload);
        draft.fragment = fragment;
        let datagram = F::parse(&Buffer::new(draft.frame(INWARD))).expect("a packet");
        let at = i32::try_from(datagram.transport).expect("a place in a header");
        let place = |offset| u32::try_from(at + offset).expect("a place in the frame");
        let partial = PartialChecksum {
            start: place(start),
            field: place(field),
        };
        is_honest(partial, &datagram)
    }

    fn only_where_nothing_is_looked_at<F: Plan>() {
        for (protocol, own) in [(6, 16), (17, 6), (136, 6), (33, 6), (132, 8)] {
            assert!(may::<F>(protocol, 0, 0, own), "{protocol}");
            let header = i32::try_from(NETWORK).expect("14") - 54;
            for start in header..100 {
                for field in header..100 {
                    if (start, field) == (0, own) {
                        continue;
                    }
                    let in_tunnel = protocol == 17 && start >= 8 && field >= start;
                    assert_eq!(
                        may::<F>(protocol, 0, start.max(-30), field.max(-30)),
                        in_tunnel && start > -30 && field > -30,
                        "{protocol} {start} {field}"
                    );
                }
            }
        }
        let icmp = F::ICMP;
        assert!(!may::<F>(icmp, 0, 0, 2) && !may::<F>(icmp, 0, 8, 20));
        // Inside of a tunnel, from behind its header on.
        assert!(may::<F>(47, 0, 24, 40) && !may::<F>(47, 0, 0, 2));
        assert!(may::<F>(4, 0, 20, 36) && !may::<F>(4, 0, 0, 10) && !may::<F>(4, 0, 0, 24));
        // Beyond the end, and of a packet that is cut.
        assert!(!may::<F>(17, 0, 100, 10_000));
        assert!(!may::<F>(17, 0x2000 >> 13 | 1, 0, 6));
    }

    #[test]
    fn devices_write_only_where_nothing_is_looked_at() {
        only_where_nothing_is_looked_at::<V4>();
        only_where_nothing_is_looked_at::<V6>();
    }
}
