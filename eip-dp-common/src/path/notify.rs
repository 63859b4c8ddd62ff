//! ICMP errors of the gateway's own: the sender of a packet that ends here is told.

use super::Outcome;
use crate::{
    abi::{Event, Reason, SealKey},
    family::{ChecksumPlace, Datagram, Error, Family},
    packet::{Ethernet, Mac, NETWORK, Packet},
    path::Verdict,
    tables::Links,
};

/// Turns a packet that is dropped for a reason that its sender has to know into the ICMP error that tells; else it stays
/// dropped. `source` is the gateway's address towards the sender, unspecified where it has none.
#[inline(always)]
pub fn refuse<F: Family, P: Packet, L: Links>(
    packet: &mut P,
    links: &L,
    ethernet: &Ethernet,
    own_mac: Mac,
    outcome: &mut Outcome,
    datagram: &Datagram<F>,
    source: &F::Address,
) {
    let Verdict::Drop(reason) = outcome.verdict else {
        return;
    };
    let error = match reason {
        Reason::TtlExceeded => Error::TimeExceeded,
        Reason::TooBig => Error::TooBig { mtu: outcome.mtu },
        _ => return,
    };
    if F::is_never_answered(packet, datagram) || F::is_unspecified(source) {
        return;
    }
    if !links.may_tell(datagram.source.fold(), packet.can_reply()) {
        outcome.event = Some(Event::Limited);
        return;
    }
    if !packet.can_reply() {
        outcome.verdict = Verdict::Slow;
        return;
    }
    outcome.verdict = match write(packet, datagram, ethernet, own_mac, error, source) {
        Ok(()) => {
            outcome.event = Some(match error {
                Error::TimeExceeded => Event::TimeExceeded,
                Error::TooBig { .. } => Event::TooBig,
            });
            Verdict::Refuse(reason)
        }
        Err(reason) => Verdict::Drop(reason),
    };
}

#[inline(always)]
fn write<F: Family, P: Packet>(
    packet: &mut P,
    datagram: &Datagram<F>,
    ethernet: &Ethernet,
    own_mac: Mac,
    error: Error,
    source: &F::Address,
) -> Result<(), Reason> {
    let length = datagram.length();
    let quoted = if length < F::LONGEST_QUOTE {
        length
    } else {
        F::LONGEST_QUOTE
    };
    packet.reshape(quoted, F::ERROR_HEADERS)?;
    complete_checksum(packet, datagram, quoted)?;
    F::write_error(packet, source, &datagram.source, error, quoted)?;
    Ethernet::write_addresses(packet, ethernet.source, own_mac)
}

/// A packet of a local stack may have a transport checksum that the device is still to complete: over the quotation now,
/// with an ICMP checksum in front that knows nothing of it. The value that completing it does not change cannot do harm:
/// with S, the sum of all the other words from the transport header on, it is the x for which x = -(S + x).
#[inline(always)]
fn complete_checksum<F: Family, P: Packet>(
    packet: &mut P,
    datagram: &Datagram<F>,
    quoted: usize,
) -> Result<(), Reason> {
    if !datagram.fragment.begins() {
        return Ok(());
    }
    let place = F::checksum_field(datagram.protocol);
    let header = datagram.transport - NETWORK;
    if place == ChecksumPlace::NONE || header + place.offset + 2 > quoted {
        return Ok(());
    }
    let transport = NETWORK + F::ERROR_HEADERS + header;
    let field = transport + place.offset;
    if !packet.is_partial(field) {
        return Ok(());
    }
    packet.write(field, [0, 0])?;
    let others = packet.sum(transport, quoted - header)?;
    packet.write(field, half(!others).to_ne_bytes())
}

/// Half of a number modulo 2^16 - 1.
#[inline(always)]
const fn half(value: u16) -> u16 {
    value >> 1 | value << 15
}

#[cfg(test)]
mod tests {
    use super::half;
    use crate::checksum::fold;

    #[test]
    fn twice_a_half_is_the_whole() {
        for value in 0..=u16::MAX {
            let twice = fold(u32::from(half(value)) * 2);
            assert!(
                twice == value
                    || (value == 0 || value == 0xffff) && (twice == 0 || twice == 0xffff)
            );
        }
    }
}
