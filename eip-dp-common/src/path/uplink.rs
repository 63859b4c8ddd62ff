//! From an uplink: who owns the destination?

use super::{
    Local, Outcome, Verdict, arp, conclude,
    forward::{Forward, Translation, forward},
    notify::refuse,
};
use crate::{
    abi::{AddressClass, EipEntry, EipMode, LinkKey, Reason, Sealed, Uplink},
    family::{Datagram, Family, V4, V6},
    packet::{ARP, Ethernet, IPV4, IPV6, Packet},
    tables::{self, Place, Tables},
};

/// A frame from the uplink with this key.
#[inline(always)]
pub fn from_uplink<P: Packet, T: Tables<V4> + Tables<V6>>(
    packet: &mut P,
    tables: &T,
    key: LinkKey,
) -> Outcome {
    let Some(ethernet) = Ethernet::read(packet) else {
        return Outcome::START;
    };
    let mut uplink = Uplink::zeroed();
    let found = tables::find(&mut uplink, &key, |key| tables.uplink(key));
    let is_ours = ethernet.destination == uplink.mac;
    match (ethernet.ethertype, found) {
        (IPV4, Ok(true)) if is_ours => inbound::<V4, _, _>(packet, tables, &uplink, &ethernet),
        (IPV6, Ok(true)) if is_ours || ethernet.is_group() => {
            inbound::<V6, _, _>(packet, tables, &uplink, &ethernet)
        }
        (ARP, Ok(true)) if packet.can_reply() && (is_ours || ethernet.is_group()) => {
            conclude(Outcome::START, arp::on_uplink(packet, tables, &uplink))
        }
        (IPV4 | IPV6, Err(reason)) => Outcome::dropped(reason),
        // What the kernel's own ARP needs must never be lost.
        _ => Outcome::START,
    }
}

/// An IP packet for this gateway's MAC, or in IPv6 for many.
#[inline(always)]
fn inbound<F: Local, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    uplink: &Uplink,
    ethernet: &Ethernet,
) -> Outcome {
    let mut outcome = Outcome::START;
    let datagram = match F::parse(packet) {
        Ok(datagram) => datagram,
        // What is for many is the kernel's.
        Err(_) if ethernet.is_group() => return outcome,
        Err(reason) => return conclude(outcome, Err(reason)),
    };
    if let Some(result) = F::discovery_on_uplink(packet, tables, uplink, ethernet, &datagram) {
        return conclude(outcome, result);
    }
    if ethernet.is_group() {
        return outcome;
    }
    outcome.bytes = datagram.bytes();
    let mut eip = EipEntry::zeroed();
    match tables::find(&mut eip, &datagram.destination, |address| {
        tables.eip(address)
    }) {
        Ok(true) => outcome.receiver = eip.slot,
        Ok(false) => return conclude(outcome, no_eip(tables, &datagram)),
        Err(reason) => return conclude(outcome, Err(reason)),
    }
    let result = to_eip(packet, tables, &datagram, &eip, &mut outcome);
    outcome = conclude(outcome, result);
    refuse(
        packet,
        tables,
        &datagram,
        ethernet,
        uplink.mac,
        &mut outcome,
        || F::icmp_source(uplink),
    );
    outcome
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
    outcome: &mut Outcome,
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
