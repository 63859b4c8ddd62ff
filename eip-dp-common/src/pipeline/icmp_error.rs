//! ICMP errors of the gateway's own: the sender of a packet that ends here is told.

use super::{LinkProtocols, Outcome, Verdict};
use crate::{
    abi::{AddressClass, ChecksumKey, Checksummed, Event, LinkKey, NONE, Port, Reason},
    budget::{EipBudget, EniBudget, Spend},
    family::{Datagram, Error, Family},
    packet::{Ethernet, Mac, NETWORK, Packet, PartialChecksum},
    tables::{self, LinkTables, Place, Scratch, Tables},
};

/// Tells the sender on the Internet of a packet that came from the uplink with this key and is
/// dropped for a reason that concerns it: the packet becomes the ICMP error. Else it stays dropped.
#[inline(always)]
pub fn icmp_error_on_uplink<F: LinkProtocols, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    key: LinkKey,
    outcome: &mut Outcome,
) {
    let Some((ethernet, error)) = Ethernet::read(packet).zip(Error::of(outcome)) else {
        return;
    };
    tables.with_scratch(|scratch| {
        let uplink = &mut scratch.uplink;
        if tables::find(uplink, &key, |key, into| tables.uplink(key, into)) != Ok(true) {
            return;
        }
        let (mac, source) = (uplink.mac, F::icmp_source(uplink));
        refuse::<F, P, T>(packet, tables, &ethernet, mac, error, &source, outcome);
    });
}

/// Likewise an ENI on the port with this key.
#[inline(always)]
pub fn icmp_error_on_port<F: LinkProtocols, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    key: LinkKey,
    outcome: &mut Outcome,
) {
    let Some((ethernet, error)) = Ethernet::read(packet).zip(Error::of(outcome)) else {
        return;
    };
    let mut port = Port::zeroed();
    if tables::find(&mut port, &key, |key, into| tables.port(key, into)) != Ok(true) {
        return;
    }
    let Some(sender) = F::read_source(packet) else {
        return;
    };
    tables.with_scratch(|scratch| {
        let source = router_of::<F, T>(tables, port.vpc, &sender, scratch);
        refuse::<F, P, T>(packet, tables, &ethernet, port.mac, error, &source, outcome);
    });
}

/// At a hook that cannot reply: the slow path tells the sender, while it may be told. Then the slow
/// path does all of it, and counts.
#[inline(always)]
pub fn punt_icmp_error<F: Family, P: Packet, L: LinkTables>(
    packet: &P,
    links: &L,
    outcome: &mut Outcome,
) {
    let Some(error) = Error::of(outcome) else {
        return;
    };
    match F::read_source(packet) {
        Some(source) if is_allowed(links, outcome, error, source.fold(), Spend::Check) => {
            outcome.verdict = Verdict::Punt;
        }
        _ => outcome.event = Some(Event::Limited),
    }
}

/// Whether there is a budget to tell `receiver` of a packet: the ENI's that sent it, or that of the
/// EIP that it was for.
#[inline(always)]
fn is_allowed<L: LinkTables>(
    links: &L,
    outcome: &Outcome,
    error: Error,
    receiver: u64,
    spend: Spend,
) -> bool {
    let (of_eni, of_eip) = match error {
        Error::TimeExceeded => (EniBudget::TimeExceeded, EipBudget::TimeExceeded),
        Error::TooBig { .. } => (EniBudget::TooBig, EipBudget::TooBig),
    };
    if outcome.eni == NONE {
        links.allow_eip(outcome.receiver, receiver, of_eip, spend)
    } else {
        links.allow_eni(outcome.eni, of_eni, spend)
    }
}

/// The gateway's address towards an ENI: its VPC's router, or its pool's in cut-through mode, or,
/// where that pool has none, the uplink's.
#[inline(always)]
fn router_of<F: LinkProtocols, T: Tables<F>>(
    tables: &T,
    vpc: u32,
    source: &F::Address,
    scratch: &mut Scratch<F::Address>,
) -> F::Address {
    if let Ok(Place::Inside | Place::Gateway) =
        tables::locate::<F, T>(&mut scratch.cidr, tables, vpc, source)
    {
        return scratch.cidr.gateway;
    }
    if let Ok(Some(AddressClass::Pool | AddressClass::OnLink | AddressClass::Reserved)) =
        tables::class::<F, T>(&mut scratch.prefix, tables, source)
        && !F::is_unspecified(&scratch.prefix.gateway)
    {
        return scratch.prefix.gateway;
    }
    if tables::target(&mut scratch.target, tables, F::UPLINK_TARGET).is_ok() {
        let key = LinkKey::of(&scratch.target);
        if tables::find(&mut scratch.uplink, &key, |key, into| {
            tables.uplink(key, into)
        }) == Ok(true)
        {
            return F::icmp_source(&scratch.uplink);
        }
    }
    F::UNSPECIFIED
}

/// `source` is the gateway's address towards the sender, unspecified where it has none.
#[inline(always)]
fn refuse<F: Family, P: Packet, L: LinkTables>(
    packet: &mut P,
    links: &L,
    ethernet: &Ethernet,
    own_mac: Mac,
    error: Error,
    source: &F::Address,
    outcome: &mut Outcome,
) {
    let Ok(datagram) = F::parse(packet) else {
        return;
    };
    if F::is_never_answered(packet, &datagram) || F::is_unspecified(source) {
        return;
    }
    if !is_allowed(
        links,
        outcome,
        error,
        datagram.source.fold(),
        Spend::Consume,
    ) {
        outcome.event = Some(Event::Limited);
        return;
    }
    let (reason, event) = match error {
        Error::TimeExceeded => (Reason::TtlExceeded, Event::TimeExceeded),
        Error::TooBig { .. } => (Reason::TooBig, Event::TooBig),
    };
    match write(packet, &datagram, ethernet, own_mac, error, source) {
        Ok(()) => {
            outcome.event = Some(event);
            outcome.verdict = Verdict::IcmpError(reason);
        }
        Err(reason) => outcome.verdict = Verdict::Drop(reason),
    }
}

impl Error {
    /// What a sender is told of this; `None` where it is told nothing.
    #[inline(always)]
    fn of(outcome: &Outcome) -> Option<Self> {
        match outcome.verdict {
            Verdict::Drop(Reason::TtlExceeded) => Some(Self::TimeExceeded),
            Verdict::Drop(Reason::TooBig) => Some(Self::TooBig { mtu: outcome.mtu }),
            _ => None,
        }
    }
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
    let embedded = if length < F::MAX_EMBEDDED {
        length
    } else {
        F::MAX_EMBEDDED
    };
    let partial = packet.partial_checksum();
    packet.reshape(embedded, F::ERROR_HEADERS)?;
    complete_checksum::<F, P>(packet, partial, embedded)?;
    let embedded = packet.verifier_opaque(embedded) & LARGEST;
    F::write_error(packet, source, &datagram.source, error, embedded)?;
    Ethernet::write_addresses(packet, ethernet.source, own_mac)
}

/// No place in an ICMP error is larger, nor a length.
const LARGEST: usize = 2047;

/// A packet of a local stack may have a checksum that the device is still to complete: over the
/// quotation now, with an ICMP checksum in front that knows nothing of it. The value that
/// completing it does not change cannot do harm: with S, the sum of all the other words that it
/// covers, it is the x for which x = -(S + x). `partial` is where it was before there were headers
/// in front.
#[inline(always)]
fn complete_checksum<F: Family, P: Packet>(
    packet: &mut P,
    partial: PartialChecksum,
    embedded: usize,
) -> Result<(), Reason> {
    let (start, field) = (partial.start as usize, partial.field as usize);
    if partial.is_none() || start < NETWORK || field + 2 > NETWORK + embedded {
        return Ok(());
    }
    let covered = packet.verifier_opaque(NETWORK + embedded - start) & LARGEST;
    let start = packet.verifier_opaque(F::ERROR_HEADERS + start) & LARGEST;
    let field = packet.verifier_opaque(F::ERROR_HEADERS + field) & LARGEST;
    packet.write(field, [0, 0])?;
    let others = packet.sum(start, covered)?;
    packet.write(field, half(!others).to_ne_bytes())
}

/// Half of a number modulo 2^16 - 1.
#[inline(always)]
const fn half(value: u16) -> u16 {
    value.rotate_right(1)
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
