//! From an uplink: who owns the destination?

use super::{
    Outcome, Verdict, arp, conclude,
    forward::{Forward, Translation, forward},
};
use crate::{
    abi::{AddressClass, EipEntry, EipMode, LinkKey, Reason, Sealed, Uplink},
    family::{Datagram, Family, V4},
    packet::{ARP, Ethernet, IPV4, Packet},
    tables::{self, Place, Tables},
};

/// A frame from the uplink with this key.
#[inline(always)]
pub fn from_uplink<P: Packet, T: Tables<V4>>(packet: &mut P, tables: &T, key: LinkKey) -> Outcome {
    let Some(ethernet) = Ethernet::read(packet) else {
        return Outcome::START;
    };
    let mut uplink = Uplink::zeroed();
    match ethernet.ethertype {
        IPV4 => match tables::find(&mut uplink, &key, |key| tables.uplink(key)) {
            Ok(true) if uplink.mac == ethernet.destination => inbound::<V4, _, _>(packet, tables),
            Ok(_) => Outcome::START,
            Err(reason) => Outcome::dropped(reason),
        },
        ARP if packet.can_reply() => {
            match tables::find(&mut uplink, &key, |key| tables.uplink(key)) {
                Ok(true) if ethernet.is_group() || ethernet.destination == uplink.mac => {
                    conclude(Outcome::START, arp::on_uplink(packet, tables, &uplink))
                }
                // What the kernel's own ARP needs must never be lost.
                Ok(_) | Err(_) => Outcome::START,
            }
        }
        _ => Outcome::START,
    }
}

/// An IP packet for this gateway's MAC.
#[inline(always)]
fn inbound<F: Family, P: Packet, T: Tables<F>>(packet: &mut P, tables: &T) -> Outcome {
    let mut outcome = Outcome::START;
    let datagram = match F::parse(packet) {
        Ok(datagram) => datagram,
        Err(reason) => return conclude(outcome, Err(reason)),
    };
    outcome.bytes = datagram.bytes();
    let mut eip = EipEntry::zeroed();
    match tables::find(&mut eip, &datagram.destination, |address| {
        tables.eip(address)
    }) {
        Ok(true) => outcome.receiver = eip.slot,
        Ok(false) => return conclude(outcome, no_eip(tables, &datagram)),
        Err(reason) => return conclude(outcome, Err(reason)),
    }
    conclude(outcome, to_eip(packet, tables, &datagram, &eip))
}

/// The destination is no EIP: the pools' other addresses are nobody's, all else is not ours.
#[inline(always)]
fn no_eip<F: Family, T: Tables<F>>(tables: &T, datagram: &Datagram<F>) -> Result<Verdict, Reason> {
    if !tables.is_screened(&datagram.destination) {
        return Ok(Verdict::Pass);
    }
    match tables::class(tables, &datagram.destination)? {
        Some(AddressClass::Pool | AddressClass::PoolGateway) => Err(Reason::NoAssociation),
        Some(AddressClass::Host) | None => Ok(Verdict::Pass),
    }
}

#[inline(always)]
fn to_eip<F: Family, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    datagram: &Datagram<F>,
    eip: &EipEntry<F::Address>,
) -> Result<Verdict, Reason> {
    F::verify(packet, datagram)?;
    let translation = receiving::<F>(eip)?;
    if is_martian(tables, datagram, eip.vpc)? {
        return Err(Reason::Martian);
    }
    let onward = Forward {
        target: tables::target(tables, eip.target)?,
        source: datagram.source,
        destination: eip.private,
        translation,
        routed: true,
    };
    forward(packet, datagram, &onward)
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
) -> Result<bool, Reason> {
    let source = &datagram.source;
    if F::is_martian_source(source) {
        return Ok(true);
    }
    let mut eip = EipEntry::zeroed();
    if tables.is_screened(source) && tables::find(&mut eip, source, |address| tables.eip(address))?
    {
        let attached = match EipMode::from_value(eip.mode) {
            Some(EipMode::Nat | EipMode::CutThrough | EipMode::Stranded) => true,
            Some(EipMode::Unassociated | EipMode::Detached) => false,
            None => return Err(Reason::BadRecord),
        };
        if attached {
            return Ok(true);
        }
    }
    Ok(tables::locate(tables, vpc, source)? != Place::Outside)
}
