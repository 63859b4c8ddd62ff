//! From a port: whose is the source, and is the destination private, another EIP, or the Internet?

use super::{
    Outcome, Verdict, arp, conclude,
    forward::{Forward, Translation, forward},
    uplink::receiving,
};
use crate::{
    abi::{
        AddressClass, EipEntry, LinkKey, MacKey, NONE, Port, PortMac, PrivateEntry, PrivateKey,
        PrivateState, Reason, Sealed, Target, TargetFlags, UPLINK_TARGET4,
    },
    family::{Datagram, Echo, Family, Fragment, V4, protocol},
    packet::{ARP, Ethernet, IPV4, Mac, Packet, QINQ, VLAN},
    tables::{self, Place, Tables},
};

/// A frame from the port with this key.
#[inline(always)]
pub fn from_port<P: Packet, T: Tables<V4>>(packet: &mut P, tables: &T, key: LinkKey) -> Outcome {
    let Some(ethernet) = Ethernet::read(packet) else {
        return Outcome::dropped(Reason::Malformed);
    };
    let mut port = Port::zeroed();
    match tables::find(&mut port, &key, |key| tables.port(key)) {
        Ok(true) => {}
        // The port is being taken away. Nothing of a tenant's ever enters the host's own routing.
        Ok(false) => return Outcome::dropped(Reason::EniDetached),
        Err(reason) => return Outcome::dropped(reason),
    }
    if ethernet.destination != port.mac && !ethernet.is_group() {
        return Outcome::START;
    }
    match ethernet.ethertype {
        IPV4 => outbound::<V4, _, _>(
            packet,
            tables,
            &From {
                key,
                port,
                ethernet,
            },
        ),
        ARP if packet.can_reply() => {
            let from = From {
                key,
                port,
                ethernet,
            };
            let result = sender_of(tables, &from)
                .and_then(|sender| arp::on_port(packet, tables, &port, &sender));
            conclude(Outcome::START, result)
        }
        ARP => conclude(Outcome::START, Ok(Verdict::Slow)),
        // Of no VLAN that is ours; the host may have an interface for it.
        VLAN | QINQ => Outcome::START,
        _ => Outcome::dropped(Reason::UnsupportedEthertype),
    }
}

/// Where a frame came from.
struct From {
    key: LinkKey,
    port: Port,
    ethernet: Ethernet,
}

/// The ENI that sent a frame.
pub struct Sender {
    /// Its target's index.
    pub index: u32,
    /// Its target.
    pub target: Target,
}

/// The ENI with the frame's source MAC on this port.
#[inline(always)]
fn sender_of<T: Tables<V4>>(tables: &T, from: &From) -> Result<Sender, Reason> {
    let index = if from.port.target != NONE && from.port.eni_mac == from.ethernet.source {
        from.port.target
    } else {
        let (ifindex, vlan, mac) = (from.key.ifindex, from.key.vlan, from.ethernet.source);
        let mut entry = PortMac::zeroed();
        let key = MacKey { ifindex, vlan, mac };
        if !tables::find(&mut entry, &key, |key| tables.mac(key))? {
            return Err(Reason::SpoofedMac);
        }
        entry.target
    };
    Ok(Sender {
        index,
        target: tables::target(tables, index)?,
    })
}

#[inline(always)]
fn outbound<F: Family, P: Packet, T: Tables<F> + Tables<V4>>(
    packet: &mut P,
    tables: &T,
    from: &From,
) -> Outcome {
    let mut outcome = Outcome::START;
    let datagram = match F::parse(packet) {
        Ok(datagram) => datagram,
        Err(reason) => return conclude(outcome, Err(reason)),
    };
    outcome.bytes = datagram.bytes();
    let result = classify(packet, tables, from, &datagram, &mut outcome);
    conclude(outcome, result)
}

/// Whose is the source?
#[inline(always)]
fn classify<F: Family, P: Packet, T: Tables<F> + Tables<V4>>(
    packet: &mut P,
    tables: &T,
    from: &From,
    datagram: &Datagram<F>,
    outcome: &mut Outcome,
) -> Result<Verdict, Reason> {
    F::verify(packet, datagram)?;
    let sender = sender_of(tables, from)?;
    let dhcp = is_dhcp(packet, datagram);
    if dhcp && F::is_unspecified(&datagram.source) {
        return Ok(Verdict::Daemon);
    }
    let vpc = from.port.vpc;
    let owner = owner_of::<F, T>(tables, vpc, &datagram.source, &sender)?;
    if dhcp {
        return Ok(Verdict::Daemon);
    }
    outcome.sender = owner.slot;
    let state = match PrivateState::from_value(owner.state) {
        Some(PrivateState::Stranded) => return Err(Reason::EniStranded),
        Some(PrivateState::Off) => return Err(Reason::PrivateNetworkOff),
        Some(PrivateState::Detached) => return Err(Reason::SpoofedSource),
        Some(state) => state,
        None => return Err(Reason::BadRecord),
    };
    if from.ethernet.is_group() || F::is_martian_destination(&datagram.destination) {
        return Err(Reason::MartianDestination);
    }
    match (
        tables::locate::<F, T>(tables, vpc, &datagram.destination)?,
        state,
    ) {
        (Place::Inside | Place::Gateway, PrivateState::CutThrough) => {
            Err(Reason::PrivateNetworkOff)
        }
        (Place::Gateway, _) => answer_ping(packet, datagram, from),
        (Place::Inside, _) => {
            // Private traffic is nobody's EIP's.
            outcome.sender = NONE;
            private(packet, tables, datagram, vpc)
        }
        (Place::Outside, PrivateState::NoEip) => Err(Reason::NoEip),
        (Place::Outside, _) => public(packet, tables, from, datagram, &owner, outcome),
    }
}

/// The owner of a source address, if the sender may use it.
///
/// # Errors
/// [`Reason::SpoofedSource`] if not.
#[inline(always)]
pub fn owner_of<F: Family, T: Tables<F>>(
    tables: &T,
    vpc: u32,
    source: &F::Address,
    sender: &Sender,
) -> Result<PrivateEntry<F::Address>, Reason> {
    let key = PrivateKey {
        vpc,
        address: *source,
    };
    let mut owner = PrivateEntry::zeroed();
    if !tables::find(&mut owner, &key, |key| tables.private(key))? {
        return Err(Reason::SpoofedSource);
    }
    if owner.target == sender.index {
        return Ok(owner);
    }
    let own_only = sender.target.flags & TargetFlags::ANTISPOOF_ENI != 0;
    if own_only || owner.target == NONE {
        return Err(Reason::SpoofedSource);
    }
    let owners = tables::target(tables, owner.target)?;
    if owners.instance == sender.target.instance && owners.vpc == sender.target.vpc {
        Ok(owner)
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
) -> Result<Verdict, Reason> {
    let key = PrivateKey {
        vpc,
        address: datagram.destination,
    };
    let mut receiver = PrivateEntry::zeroed();
    if !tables::find(&mut receiver, &key, |key| tables.private(key))? {
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
    let onward = Forward {
        target: tables::target(tables, receiver.target)?,
        source: datagram.source,
        destination: datagram.destination,
        translation: Translation::NONE,
        routed: false,
    };
    forward(packet, datagram, &onward)
}

/// The destination is outside the VPC: another EIP of this gateway, or the Internet.
#[inline(always)]
fn public<F: Family, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    from: &From,
    datagram: &Datagram<F>,
    owner: &PrivateEntry<F::Address>,
    outcome: &mut Outcome,
) -> Result<Verdict, Reason> {
    let sending = match PrivateState::from_value(owner.state) {
        Some(PrivateState::Nat) => Translation::nat(owner.delta),
        _ => Translation::NONE,
    };
    let mut onward = Forward {
        target: Target::zeroed(),
        source: owner.public,
        destination: datagram.destination,
        translation: sending,
        routed: true,
    };
    let mut index = UPLINK_TARGET4;
    if tables.is_screened(&datagram.destination) {
        let address = &datagram.destination;
        let mut eip = EipEntry::zeroed();
        if tables::find(&mut eip, address, |address| tables.eip(address))? {
            outcome.receiver = eip.slot;
            let receiving = receiving::<F>(&eip)?;
            index = eip.target;
            onward.destination = eip.private;
            onward.translation = sending.and(receiving);
        } else {
            match tables::class(tables, address)? {
                Some(AddressClass::PoolGateway) => return answer_ping(packet, datagram, from),
                Some(AddressClass::Pool) => return Err(Reason::NoAssociation),
                Some(AddressClass::Host) | None => {}
            }
        }
    }
    onward.target = tables::target(tables, index)?;
    forward(packet, datagram, &onward)
}

/// The gateway answers pings; all else to it is refused.
#[inline(always)]
fn answer_ping<F: Family, P: Packet>(
    packet: &mut P,
    datagram: &Datagram<F>,
    from: &From,
) -> Result<Verdict, Reason> {
    let echo = F::echo_request(packet, datagram);
    if echo == Echo::No {
        return Err(Reason::GatewayService);
    }
    if !packet.can_reply() {
        return Ok(Verdict::Slow);
    }
    F::write_echo_reply(packet, datagram, echo)?;
    let (guest, gateway): (Mac, Mac) = (from.ethernet.source, from.port.mac);
    Ethernet::write_addresses(packet, guest, gateway)?;
    Ok(Verdict::Reply)
}

/// UDP from a DHCP client's port to a server's (RFC 2131 4.1), whatever the address: the gateway is its only server.
#[inline(always)]
fn is_dhcp<F: Family, P: Packet>(packet: &P, datagram: &Datagram<F>) -> bool {
    const CLIENT_TO_SERVER: [u8; 4] = [0, 68, 0, 67];
    datagram.protocol == protocol::UDP
        && !matches!(datagram.fragment, Fragment::Later(_))
        && datagram.transport + 8 <= datagram.end
        && packet.read::<4>(datagram.transport) == Some(CLIENT_TO_SERVER)
}
