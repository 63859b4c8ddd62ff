//! From an uplink: who owns the destination?

use super::{
    Local, Outcome, Verdict, conclude,
    forward::{Forward, Translation, forward},
};
use crate::{
    abi::{AddressClass, EipEntry, EipMode, LinkKey, Reason, Sealed, Uplink},
    family::{Datagram, Family},
    packet::{Ethernet, Packet},
    tables::{self, Place, Scratch, Tables},
};

/// An IP packet of this family from the uplink with this key; all else is left to the kernel.
#[inline(always)]
pub fn packet_from_uplink<F: Local, P: Packet, T: Tables<F>>(
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
        Ok(true) if ethernet.destination == uplink.mac => inbound(packet, tables),
        Ok(_) => Outcome::START,
        Err(reason) => Outcome::dropped(reason),
    }
}

/// Who has which address on the uplink's link. What the kernel's own neighbour discovery needs is never lost.
#[inline(always)]
pub fn discovery_from_uplink<F: Local, P: Packet, T: Tables<F>>(
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
fn inbound<F: Family, P: Packet, T: Tables<F>>(packet: &mut P, tables: &T) -> Outcome {
    let outcome = tables.with_scratch(|scratch| {
        let mut outcome = Outcome::START;
        let datagram = match F::parse(packet) {
            Ok(datagram) => datagram,
            Err(reason) => return conclude(outcome, Err(reason)),
        };
        outcome.bytes = datagram.bytes();
        let result = if tables.eip(&datagram.destination, &mut scratch.eip) {
            outcome.receiver = scratch.eip.slot;
            to_eip(packet, tables, &datagram, scratch, &mut outcome)
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
    if !tables.is_screened(&datagram.destination) {
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
    datagram: &Datagram<F>,
    scratch: &mut Scratch<F::Address>,
    outcome: &mut Outcome,
) -> Result<Verdict, Reason> {
    F::verify(packet, tables, datagram)?;
    let eip = &scratch.eip;
    let translation = receiving::<F>(eip)?;
    let destination = eip.private;
    tables::receiver(&mut scratch.target, tables, eip)?;
    if is_martian(tables, datagram, scratch.target.vpc, scratch)? {
        return Err(Reason::Martian);
    }
    let onward = Forward {
        target: &scratch.target,
        source: datagram.source,
        destination,
        translation,
        routed: true,
        by_kernel: false,
    };
    forward(packet, datagram, &onward, outcome)
}

/// What the destination's change does to checksums, for an EIP that receives; else why it does not.
#[inline(always)]
pub fn receiving<F: Family>(eip: &EipEntry<F::Address>) -> Result<Translation, Reason> {
    match EipMode::from_value(eip.mode) {
        Some(EipMode::Nat) => Ok(Translation::nat(eip.delta)),
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
    datagram: &Datagram<F>,
    vpc: u32,
    scratch: &mut Scratch<F::Address>,
) -> Result<bool, Reason> {
    let source = &datagram.source;
    if F::is_martian_source(source) {
        return Ok(true);
    }
    let eip = &mut scratch.eip;
    if tables.is_screened(source) && tables.eip(source, eip) {
        let attached = match EipMode::from_value(eip.mode) {
            Some(EipMode::Nat | EipMode::CutThrough | EipMode::Stranded) => true,
            Some(EipMode::Unassociated | EipMode::Detached) => false,
            None => return Err(Reason::BadRecord),
        };
        if attached {
            return Ok(true);
        }
    }
    let place = tables::locate::<F, T>(&mut scratch.cidr, tables, vpc, source)?;
    Ok(place != Place::Outside)
}
