//! ICMP errors that pass through: the packet that they quote is translated with them.

use core::hint::black_box;

use crate::{
    abi::Reason,
    checksum::Delta,
    family::{ChecksumPlace, Datagram, Family, NatObstacle, Quoted, Rewrite},
    packet::{Change, Covers, HEADERS, Packet},
    tables::LinkTables,
};

/// Where the quotation starts and the ICMP checksum is, in bytes from the start of the ICMP header
/// (RFC 792, RFC 4443).
const ICMP_HEADER: usize = 8;
const ICMP_CHECKSUM: usize = 2;

/// The packet that an ICMP error quotes. It was sent by whom the error goes to, so its addresses
/// are the error's, exchanged.
#[derive(Clone, Copy)]
pub struct EmbeddedPacket {
    /// Where its IP header is, in bytes from the start of the frame; 0 where nothing is quoted.
    pub at: usize,
    /// Its transport checksum, from the start of the frame, if so much of it is quoted.
    checksum: ChecksumPlace,
    /// Not 0 if that covers another destination than the quoted header's.
    segments_left: u8,
}

impl EmbeddedPacket {
    /// Nothing is quoted.
    pub const NONE: Self = Self {
        at: 0,
        checksum: ChecksumPlace::NONE,
        segments_left: 0,
    };

    /// For the slow path.
    pub const UNREAD: Self = Self {
        at: usize::MAX,
        ..Self::NONE
    };

    /// The packet that this error quotes, of which `rewrite` is going to change the addresses.
    ///
    /// # Errors
    /// [`Reason::IcmpQuoteMismatch`] if there is no whole IP header, or it has other addresses (RFC
    /// 5508, REQ-4), [`Reason::AddressOption`] if it has an option that carries addresses.
    #[inline(always)]
    pub fn find<F: Family, P: Packet, L: LinkTables>(
        packet: &P,
        links: &L,
        datagram: &Datagram<F>,
        rewrite: &Rewrite<F>,
    ) -> Result<Self, Reason> {
        let at = datagram.transport + ICMP_HEADER;
        let Some(Quoted {
            source,
            destination,
            checksum,
            segments_left,
            obstacle,
        }) = F::embedded(packet, links, at, datagram.end)
        else {
            return Err(Reason::IcmpQuoteMismatch);
        };
        let from_source = rewrite.changes_source(datagram);
        // Whose source is not whom the error goes to is no packet of the association, and may be a
        // private address that nobody outside is to see.
        if ((from_source || rewrite.changes_destination(datagram))
            && source != datagram.destination)
            || (from_source && destination != datagram.source)
        {
            return Err(Reason::IcmpQuoteMismatch);
        }
        if obstacle == NatObstacle::UNREAD {
            return Ok(Self::UNREAD);
        }
        obstacle.refuse()?;
        Ok(Self {
            at,
            checksum,
            segments_left,
        })
    }

    /// Translates the quoted packet as far as it is there, and makes the ICMP checksum fit.
    ///
    /// # Errors
    /// [`Reason::KernelRefused`].
    #[inline(always)]
    pub fn rewrite<F: Family, P: Packet>(
        &self,
        packet: &mut P,
        datagram: &Datagram<F>,
        rewrite: &Rewrite<F>,
    ) -> Result<(), Reason> {
        let mut changes = F::rewrite_embedded(packet, bounded(self.at), datagram, rewrite)?;
        if self.checksum.offset != 0 {
            // What is the error's destination is the quoted packet's source.
            let delta = if self.segments_left == 0 {
                rewrite.delta()
            } else {
                rewrite.destination_delta
            };
            changes = changes.and(self.rewrite_checksum(packet, delta)?);
        }
        let field = datagram.transport + ICMP_CHECKSUM;
        if F::ICMP_HAS_PSEUDO_HEADER {
            let change = Change {
                delta: rewrite.transport_delta(datagram),
                covers: F::PSEUDO_HEADER,
                zero_is_none: false,
            };
            packet.adjust_checksum(field, change)?;
        }
        let change = Change {
            delta: changes,
            covers: Covers::Bytes,
            zero_is_none: false,
        };
        packet.adjust_checksum(field, change)
    }

    /// The quoted transport checksum; gives its difference.
    #[inline(always)]
    fn rewrite_checksum<P: Packet>(&self, packet: &mut P, delta: Delta) -> Result<Delta, Reason> {
        let place = self.checksum;
        let offset = bounded(place.offset);
        let old = packet.read(offset).ok_or(Reason::KernelRefused)?;
        let change = Change {
            delta,
            covers: Covers::Bytes,
            zero_is_none: place.zero_is_none,
        };
        let new = change.apply(old);
        packet.write(offset, new)?;
        Ok(Delta::between(&old, &new))
    }
}

/// A place in the headers, whose bounds the verifier of Linux 6.1 has lost by the time that it is
/// used.
#[inline(always)]
fn bounded(place: usize) -> usize {
    const LARGEST: usize = 511;
    const { assert!(HEADERS <= LARGEST) };
    black_box(place) & LARGEST
}
