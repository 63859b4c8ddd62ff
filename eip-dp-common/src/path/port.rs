//! From a port: whose is the source, and is the destination private, another EIP, or the Internet?

use super::{
    Local, Outcome, Verdict, conclude,
    forward::{Forward, Translation, forward},
    uplink::receiving,
};
use crate::{
    abi::{
        AddressClass, LinkKey, MacKey, NONE, Port, PortMac, PrivateKey, PrivateState, Reason,
        Sealed, Target, TargetFlags,
    },
    family::{Datagram, Echo, Family, protocol},
    packet::{Ethernet, Mac, Packet, QINQ, VLAN},
    tables::{self, Links, Place, Scratch, Tables},
};

/// A frame from the port with this key: an IP packet of this family, or what is no IP.
#[inline(always)]
pub fn packet_from_port<F: Local, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    key: LinkKey,
) -> Outcome {
    with_port(packet, tables, key, |packet, from| {
        match from.ethernet.ethertype {
            ethertype if ethertype == F::ETHERTYPE => outbound(packet, tables, from),
            // Of no VLAN that is ours; the host may have an interface for it.
            VLAN | QINQ => Outcome::START,
            _ => Outcome::dropped(Reason::UnsupportedEthertype),
        }
    })
}

/// Who has which address on the port's link.
#[inline(always)]
pub fn discovery_from_port<F: Local, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    key: LinkKey,
) -> Outcome {
    with_port(packet, tables, key, |packet, from| {
        F::discovery_on_port(packet, tables, from)
    })
}

#[inline(always)]
fn with_port<P: Packet, L: Links>(
    packet: &mut P,
    links: &L,
    key: LinkKey,
    path: impl FnOnce(&mut P, &From) -> Outcome,
) -> Outcome {
    let Some(ethernet) = Ethernet::read(packet) else {
        return Outcome::dropped(Reason::Malformed);
    };
    let mut port = Port::zeroed();
    match tables::find(&mut port, &key, |key, into| links.port(key, into)) {
        Ok(true) => {}
        // Of no VLAN that is ours; the host may have an interface for it.
        Ok(false) if key.vlan != 0 => return Outcome::START,
        // The port is being taken away. Nothing of a tenant's ever enters the host's own routing.
        Ok(false) => return Outcome::dropped(Reason::EniDetached),
        Err(reason) => return Outcome::dropped(reason),
    }
    if ethernet.destination != port.mac && !ethernet.is_group() {
        return Outcome::START;
    }
    let from = From {
        key,
        port,
        ethernet,
    };
    path(packet, &from)
}

/// Where a frame came from.
pub struct From {
    /// The port's key.
    pub key: LinkKey,
    /// The port.
    pub port: Port,
    /// The frame's header.
    pub ethernet: Ethernet,
}

/// The index of the ENI with the frame's source MAC on this port, whose target becomes `sender`.
#[inline(always)]
pub fn sender_of<L: Links>(sender: &mut Target, links: &L, from: &From) -> Result<u32, Reason> {
    let index = if from.port.target != NONE && from.port.eni_mac == from.ethernet.source {
        from.port.target
    } else {
        let mut entry = PortMac::zeroed();
        let key = MacKey::on(from.key, from.ethernet.source);
        if !tables::find(&mut entry, &key, |key, into| links.mac(key, into))? {
            return Err(Reason::SpoofedMac);
        }
        entry.target
    };
    tables::target(sender, links, index)?;
    Ok(index)
}

/// An IP packet from an ENI.
#[inline(always)]
fn outbound<F: Local, P: Packet, T: Tables<F>>(packet: &mut P, tables: &T, from: &From) -> Outcome {
    let outcome = tables.with_scratch(|scratch| {
        let mut outcome = Outcome::START;
        let datagram = match F::parse(packet) {
            Ok(datagram) => datagram,
            Err(reason) => return conclude(outcome, Err(reason)),
        };
        outcome.bytes = datagram.bytes();
        let result = classify(packet, tables, from, &datagram, scratch, &mut outcome);
        conclude(outcome, result)
    });
    outcome.unwrap_or(Outcome::NO_ROOM)
}

/// Whose is the source?
#[inline(always)]
fn classify<F: Local, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    from: &From,
    datagram: &Datagram<F>,
    scratch: &mut Scratch<F::Address>,
    outcome: &mut Outcome,
) -> Result<Verdict, Reason> {
    F::verify(packet, tables, datagram)?;
    let sender = sender_of(&mut scratch.sender, tables, from)?;
    let dhcp = is_dhcp(packet, datagram);
    let (source, destination) = (&datagram.source, &datagram.destination);
    if F::is_unspecified(source) || F::is_link_local(source) {
        return without_address(packet, datagram, from, dhcp);
    }
    let vpc = from.port.vpc;
    owner_of::<F, T>(tables, vpc, source, sender, scratch)?;
    if dhcp {
        return Ok(Verdict::Daemon);
    }
    outcome.sender = scratch.owner.slot;
    let state = match PrivateState::from_value(scratch.owner.state) {
        Some(PrivateState::Stranded) => return Err(Reason::EniStranded),
        Some(PrivateState::Off) => return Err(Reason::PrivateNetworkOff),
        Some(PrivateState::Detached) => return Err(Reason::SpoofedSource),
        Some(state) => state,
        None => return Err(Reason::BadRecord),
    };
    if F::is_link_router(destination, from.port.mac) {
        return to_gateway(packet, datagram);
    }
    if from.ethernet.is_group() || F::is_martian_destination(destination) {
        return Err(Reason::MartianDestination);
    }
    match (
        tables::locate::<F, T>(&mut scratch.cidr, tables, vpc, destination)?,
        state,
    ) {
        (Place::Inside | Place::Gateway, PrivateState::CutThrough) => {
            Err(Reason::PrivateNetworkOff)
        }
        (Place::Gateway, _) => to_gateway(packet, datagram),
        (Place::Inside, _) => {
            // Private traffic is nobody's EIP's.
            outcome.sender = NONE;
            private(packet, tables, datagram, vpc, scratch, outcome)
        }
        (Place::Outside, PrivateState::NoEip) => Err(Reason::NoEip),
        (Place::Outside, _) => public(packet, tables, datagram, scratch, outcome),
    }
}

/// From a sender that has no address yet, or uses one that is valid on its link only: DHCP, and pings of its router.
#[inline(always)]
fn without_address<F: Local, P: Packet>(
    packet: &P,
    datagram: &Datagram<F>,
    from: &From,
    dhcp: bool,
) -> Result<Verdict, Reason> {
    if dhcp {
        return Ok(Verdict::Daemon);
    }
    if F::is_link_router(&datagram.destination, from.port.mac) {
        return to_gateway(packet, datagram);
    }
    if F::is_unspecified(&datagram.source) || !F::is_martian_destination(&datagram.destination) {
        return Err(Reason::SpoofedSource);
    }
    Err(Reason::MartianDestination)
}

/// Looks the owner of a source address up, if the sender may use it.
///
/// # Errors
/// [`Reason::SpoofedSource`] if not.
#[inline(always)]
pub fn owner_of<F: Family, T: Tables<F>>(
    tables: &T,
    vpc: u32,
    source: &F::Address,
    sender: u32,
    scratch: &mut Scratch<F::Address>,
) -> Result<(), Reason> {
    let key = PrivateKey {
        vpc,
        address: *source,
    };
    let owner = &mut scratch.owner;
    if !tables.private(&key, owner) {
        return Err(Reason::SpoofedSource);
    }
    if owner.target == sender {
        return Ok(());
    }
    let own_only = scratch.sender.flags & TargetFlags::ANTISPOOF_ENI != 0;
    if own_only || owner.target == NONE {
        return Err(Reason::SpoofedSource);
    }
    let owner = owner.target;
    tables::target(&mut scratch.target, tables, owner)?;
    let (owners, own) = (&scratch.target, &scratch.sender);
    if owners.vpc == own.vpc && tables.instance(&owner) == tables.instance(&sender) {
        Ok(())
    } else {
        Err(Reason::SpoofedSource)
    }
}

/// The destination is inside the VPC: private networking, on one link.
#[inline(always)]
fn private<F: Family, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    datagram: &Datagram<F>,
    vpc: u32,
    scratch: &mut Scratch<F::Address>,
    outcome: &mut Outcome,
) -> Result<Verdict, Reason> {
    let key = PrivateKey {
        vpc,
        address: datagram.destination,
    };
    let receiver = &mut scratch.other;
    if !tables.private(&key, receiver) {
        return Err(Reason::NoSuchEni);
    }
    match PrivateState::from_value(receiver.state) {
        Some(PrivateState::NoEip | PrivateState::Nat) => {}
        Some(PrivateState::Off | PrivateState::CutThrough) => {
            return Err(Reason::PrivateNetworkOff);
        }
        Some(PrivateState::Stranded) => return Err(Reason::EniStranded),
        Some(PrivateState::Detached) => return Err(Reason::EniDetached),
        None => return Err(Reason::BadRecord),
    }
    tables::target(&mut scratch.target, tables, receiver.target)?;
    let onward = Forward {
        target: &scratch.target,
        source: datagram.source,
        destination: datagram.destination,
        translation: Translation::NONE,
        routed: false,
        by_kernel: false,
    };
    forward(packet, datagram, &onward, outcome)
}

/// The destination is outside the VPC: another EIP of this gateway, or the Internet.
#[inline(always)]
fn public<F: Family, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    datagram: &Datagram<F>,
    scratch: &mut Scratch<F::Address>,
    outcome: &mut Outcome,
) -> Result<Verdict, Reason> {
    let sending = match PrivateState::from_value(scratch.owner.state) {
        Some(PrivateState::Nat) => Translation::nat(scratch.owner.delta),
        _ => Translation::NONE,
    };
    let mut by_uplink = true;
    let mut destination = datagram.destination;
    let mut translation = sending;
    let address = &datagram.destination;
    if tables.is_screened(address) {
        let eip = &mut scratch.eip;
        if tables.eip(address, eip) {
            outcome.receiver = eip.slot;
            translation = sending.and(receiving::<F>(eip)?);
            by_uplink = false;
            destination = eip.private;
        } else {
            match tables::class::<F, T>(&mut scratch.prefix, tables, address)? {
                Some(AddressClass::PoolGateway) => return to_gateway(packet, datagram),
                Some(AddressClass::Pool | AddressClass::Reserved) => {
                    return Err(Reason::NoAssociation);
                }
                Some(AddressClass::Host | AddressClass::OnLink) | None => {}
            }
        }
    }
    if by_uplink {
        scratch.eip.lead_to(F::UPLINK_TARGET);
    }
    tables::receiver(&mut scratch.target, tables, &scratch.eip)?;
    let onward = Forward {
        target: &scratch.target,
        source: scratch.owner.public,
        destination,
        translation,
        routed: true,
        by_kernel: by_uplink,
    };
    forward(packet, datagram, &onward, outcome)
}

/// The gateway answers pings; all else to it is refused.
#[inline(always)]
fn to_gateway<F: Family, P: Packet>(packet: &P, datagram: &Datagram<F>) -> Result<Verdict, Reason> {
    if F::echo_request(packet, datagram) == Echo::No {
        Err(Reason::GatewayService)
    } else {
        Ok(Verdict::Ping)
    }
}

/// Turns a ping of the gateway, from the port with this key, into its answer.
#[inline(always)]
pub fn answer_ping<F: Family, P: Packet, L: Links>(
    packet: &mut P,
    links: &L,
    key: LinkKey,
) -> Outcome {
    with_port(packet, links, key, |packet, from| {
        let result = F::parse(packet).and_then(|datagram| {
            let echo = F::echo_request(packet, &datagram);
            F::write_echo_reply(packet, &datagram, echo)?;
            let (guest, gateway): (Mac, Mac) = (from.ethernet.source, from.port.mac);
            Ethernet::write_addresses(packet, guest, gateway)?;
            Ok(Verdict::Reply)
        });
        conclude(Outcome::START, result)
    })
}

/// UDP from a DHCP client's port to a server's, whatever the address: the gateway is its only server.
#[inline(always)]
pub fn is_dhcp<F: Local, P: Packet>(packet: &P, datagram: &Datagram<F>) -> bool {
    datagram.protocol == protocol::UDP
        && datagram.fragment.begins()
        && datagram.transport + 8 <= datagram.end
        && packet.read::<4>(datagram.transport) == Some(F::DHCP_PORTS)
}
