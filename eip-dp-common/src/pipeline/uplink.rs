//! From an uplink: who owns the destination?

use super::{
    LinkProtocols, Outcome, Verdict, conclude,
    forward::{Forward, Translation, forward},
    is_honest,
};
use crate::{
    abi::{
        AddressClass, ChecksumKey, Checksummed, EipMode, EipRoute, LinkKey, Reason, Uplink,
        UplinkFlags,
    },
    family::{Datagram, Family},
    packet::{Ethernet, Packet},
    tables::{self, LinkTables, Place, Scratch, Tables},
};

/// An IP packet of this family from the uplink with this key; all else is left to the kernel.
#[inline(always)]
pub fn packet_from_uplink<F: LinkProtocols, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    key: LinkKey,
) -> Outcome {
    let Some(ethernet) = Ethernet::read(packet) else {
        return Outcome::START;
    };
    if ethernet.ethertype != F::ETHERTYPE {
        return Outcome::START;
    }
    let mut uplink = Uplink::zeroed();
    match tables::find(&mut uplink, &key, |key, into| tables.uplink(key, into)) {
        Ok(true) if ethernet.destination == uplink.mac => inbound(packet, tables, uplink.flags),
        Ok(_) => Outcome::START,
        Err(reason) => Outcome::dropped(reason),
    }
}

/// Who has which address on the uplink's link. What the kernel's own neighbour discovery needs is
/// never lost.
#[inline(always)]
pub fn discovery_from_uplink<F: LinkProtocols, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    key: LinkKey,
) -> Outcome {
    let Some(ethernet) = Ethernet::read(packet) else {
        return Outcome::START;
    };
    let mut uplink = Uplink::zeroed();
    match tables::find(&mut uplink, &key, |key, into| tables.uplink(key, into)) {
        Ok(true) if ethernet.is_group() || ethernet.destination == uplink.mac => {
            F::discovery_on_uplink(packet, tables, &uplink, &ethernet)
        }
        Ok(_) | Err(_) => Outcome::START,
    }
}

/// An IP packet for this gateway's MAC.
#[inline(always)]
fn inbound<F: Family, P: Packet, T: Tables<F>>(packet: &mut P, tables: &T, flags: u16) -> Outcome {
    let outcome = tables.with_scratch(|scratch| {
        let mut outcome = Outcome::START;
        let datagram = match F::parse(packet) {
            Ok(datagram) => datagram,
            Err(reason) => return conclude(outcome, Err(reason)),
        };
        outcome.bytes = datagram.bytes();
        let result = if tables.eip(&datagram.destination, &mut scratch.eip) {
            outcome.receiver = scratch.eip.slot;
            to_eip(packet, tables, flags, &datagram, scratch, &mut outcome)
        } else {
            no_eip(tables, &datagram, scratch)
        };
        conclude(outcome, result)
    });
    outcome.unwrap_or(Outcome::NO_ROOM)
}

/// The destination is no EIP: the pools' other addresses are nobody's, all else is not ours.
#[inline(always)]
fn no_eip<F: Family, T: Tables<F>>(
    tables: &T,
    datagram: &Datagram<F>,
    scratch: &mut Scratch<F::Address>,
) -> Result<Verdict, Reason> {
    if !tables.may_be_pool(&datagram.destination) {
        return Ok(Verdict::Pass);
    }
    match tables::class::<F, T>(&mut scratch.prefix, tables, &datagram.destination)? {
        Some(
            AddressClass::Pool
            | AddressClass::PoolGateway
            | AddressClass::OnLink
            | AddressClass::Reserved,
        ) => Err(Reason::NoAssociation),
        Some(AddressClass::Host) | None => Ok(Verdict::Pass),
    }
}

#[inline(always)]
fn to_eip<F: Family, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    flags: u16,
    datagram: &Datagram<F>,
    scratch: &mut Scratch<F::Address>,
    outcome: &mut Outcome,
) -> Result<Verdict, Reason> {
    let obstacle = F::verify(packet, tables, datagram)?;
    if !is_honest(packet, datagram) {
        return Err(Reason::Malformed);
    }
    let eip = &scratch.eip;
    let translation = receiving::<F>(eip)?;
    let destination = eip.private;
    tables::receiver(&mut scratch.target, tables, eip)?;
    let vpc = scratch.target.vpc;
    if is_martian(tables, &datagram.source, vpc, scratch)?
        || (flags & UplinkFlags::DROP_PRIVATE_SOURCES != 0
            && F::is_private_use(&datagram.source)
            && !is_about_own_packet(packet, tables, datagram))
    {
        return Err(Reason::Martian);
    }
    let onward = Forward {
        target: &scratch.target,
        source: datagram.source,
        destination,
        translation,
        obstacle,
        routed: true,
        is_neighbour: false,
    };
    forward(packet, tables, datagram, &onward, outcome)
}

/// What the destination's change does to checksums, for an EIP that receives; else why it does not.
#[inline(always)]
pub fn receiving<F: Family>(eip: &EipRoute<F::Address>) -> Result<Translation, Reason> {
    match EipMode::from_value(eip.mode) {
        Some(EipMode::Nat) => Ok(Translation::of_destination(eip.delta)),
        Some(EipMode::CutThrough) => Ok(Translation::NONE),
        Some(EipMode::Unassociated) => Err(Reason::NoAssociation),
        Some(EipMode::Detached) => Err(Reason::EniDetached),
        Some(EipMode::Stranded) => Err(Reason::EniStranded),
        None => Err(Reason::BadRecord),
    }
}

/// Whether a packet with this source cannot come from the Internet to an ENI of this VPC.
#[inline(always)]
fn is_martian<F: Family, T: Tables<F>>(
    tables: &T,
    source: &F::Address,
    vpc: u32,
    scratch: &mut Scratch<F::Address>,
) -> Result<bool, Reason> {
    if F::is_martian(source) {
        return Ok(true);
    }
    if tables.may_be_pool(source) {
        let mut attached = false;
        if tables.eip(source, &mut scratch.eip) {
            match EipMode::from_value(scratch.eip.mode) {
                Some(EipMode::Nat | EipMode::CutThrough | EipMode::Stranded) => attached = true,
                // Another gateway may serve it, or a neighbour have it.
                Some(EipMode::Detached | EipMode::Unassociated) => {}
                None => return Err(Reason::BadRecord),
            }
        }
        if attached {
            return Ok(true);
        }
        match tables::class::<F, T>(&mut scratch.prefix, tables, source)? {
            Some(AddressClass::Host | AddressClass::PoolGateway) => return Ok(true),
            // Of a pool that is routed here nobody else has an address, but an EIP's that another
            // gateway serves.
            Some(AddressClass::Pool) if scratch.eip.mode != EipMode::Detached as u8 => {
                return Ok(true);
            }
            Some(AddressClass::OnLink) => {
                tables.neighbour_answers(scratch.prefix.ifindex, source.fold());
            }
            Some(AddressClass::Pool | AddressClass::Reserved) | None => {}
        }
    }
    let place = tables::locate::<F, T>(&mut scratch.cidr, tables, vpc, source)?;
    Ok(place != Place::Outside)
}

/// Whether it is an ICMP error about a packet of the EIP that it goes to: a router on the way may
/// have a private address.
#[inline(always)]
fn is_about_own_packet<F: Family, P: Packet, L: LinkTables>(
    packet: &P,
    links: &L,
    datagram: &Datagram<F>,
) -> bool {
    const ICMP_HEADER: usize = 8;
    if !F::is_icmp_error(packet, datagram) {
        return false;
    }
    let at = datagram.transport + ICMP_HEADER;
    match F::embedded(packet, links, at, datagram.end) {
        Some(embedded) => embedded.source == datagram.destination,
        None => false,
    }
}
