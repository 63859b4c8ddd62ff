//! ICMP errors that pass through: the packet that they quote is translated with them.

use crate::{
    abi::Reason,
    checksum::Delta,
    family::{ChecksumPlace, Datagram, Family, Quoted, Rewrite},
    packet::{Change, Covers, Packet},
};

/// Where the quotation starts and the ICMP checksum is, in bytes from the start of the ICMP header (RFC 792, RFC 4443).
const ICMP_HEADER: usize = 8;
const ICMP_CHECKSUM: usize = 2;

/// The packet that an ICMP error quotes. It was sent by whom the error goes to, so its addresses are the error's, exchanged.
#[derive(Clone, Copy)]
pub struct Quote<F: Family> {
    /// Where its IP header is, in bytes from the start of the frame; 0 where nothing is quoted.
    pub at: usize,
    /// Its source from now on.
    source: F::Address,
    /// Its destination from now on.
    destination: F::Address,
    /// Its transport checksum, from the start of the frame, if so much of it is quoted.
    checksum: ChecksumPlace,
}

impl<F: Family> Quote<F> {
    /// Nothing is quoted.
    pub const NONE: Self = Self {
        at: 0,
        source: F::UNSPECIFIED,
        destination: F::UNSPECIFIED,
        checksum: ChecksumPlace::NONE,
    };

    /// The packet that this error quotes, of which `rewrite` is going to change the addresses.
    ///
    /// # Errors
    /// [`Reason::IcmpQuoteMismatch`] if there is no whole IP header, or it has other addresses (RFC 5508, REQ-4).
    #[inline(always)]
    pub fn find<P: Packet>(
        packet: &P,
        datagram: &Datagram<F>,
        rewrite: &Rewrite<F>,
    ) -> Result<Self, Reason> {
        let at = datagram.transport + ICMP_HEADER;
        let Some(Quoted {
            source,
            destination,
            checksum,
        }) = F::quoted(packet, at, datagram.end)
        else {
            return Err(Reason::IcmpQuoteMismatch);
        };
        let mut quote = Self {
            at,
            source,
            destination,
            checksum,
        };
        if rewrite.destination != datagram.destination {
            if source != datagram.destination {
                return Err(Reason::IcmpQuoteMismatch);
            }
            quote.source = rewrite.destination;
        }
        if rewrite.source != datagram.source {
            // Whose source is not whom the error goes to is no packet of the association either, and may be a private
            // address that nobody outside is to see.
            if destination != datagram.source || source != datagram.destination {
                return Err(Reason::IcmpQuoteMismatch);
            }
            quote.destination = rewrite.source;
        }
        Ok(quote)
    }

    /// Translates the quoted packet as far as it is there, and makes the ICMP checksum fit.
    ///
    /// # Errors
    /// [`Reason::KernelRefused`].
    #[inline(always)]
    pub fn rewrite<P: Packet>(
        &self,
        packet: &mut P,
        datagram: &Datagram<F>,
        rewrite: &Rewrite<F>,
    ) -> Result<(), Reason> {
        let mut changes = F::rewrite_quoted(
            packet,
            self.at,
            &self.source,
            &self.destination,
            rewrite.delta,
        )?;
        if self.checksum.offset != 0 {
            changes = changes.and(self.rewrite_checksum(packet, rewrite.delta)?);
        }
        let field = datagram.transport + ICMP_CHECKSUM;
        if F::ICMP_HAS_PSEUDO_HEADER {
            let change = Change {
                delta: rewrite.delta,
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
        let old = packet.read(place.offset).ok_or(Reason::KernelRefused)?;
        let change = Change {
            delta,
            covers: Covers::Bytes,
            zero_is_none: place.zero_is_none,
        };
        let new = change.apply(old);
        packet.write(place.offset, new)?;
        Ok(Delta::between(&old, &new))
    }
}
