//! From a port: whose is the source, and is the destination private, another EIP, or the Internet?

use super::{
    Local, Outcome, Verdict, arp, conclude,
    forward::{Forward, Translation, forward},
    notify::refuse,
    uplink::receiving,
};
use crate::{
    abi::{
        AddressClass, EipEntry, LinkKey, MacKey, NONE, Port, PortMac, PrivateEntry, PrivateKey,
        PrivateState, Reason, Sealed, Target, TargetFlags, Uplink,
    },
    family::{Datagram, Echo, Family, Fragment, V4, V6, protocol},
    packet::{ARP, Ethernet, IPV4, IPV6, Mac, Packet, QINQ, VLAN},
    tables::{self, Links, Place, Tables},
};

/// A frame from the port with this key.
#[inline(always)]
pub fn from_port<P: Packet, T: Tables<V4> + Tables<V6>>(
    packet: &mut P,
    tables: &T,
    key: LinkKey,
) -> Outcome {
    let Some(ethernet) = Ethernet::read(packet) else {
        return Outcome::dropped(Reason::Malformed);
    };
    let mut port = Port::zeroed();
    match tables::find(&mut port, &key, |key| tables.port(key)) {
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
    match ethernet.ethertype {
        IPV4 => outbound::<V4, _, _>(packet, tables, &from),
        IPV6 => outbound::<V6, _, _>(packet, tables, &from),
        ARP if packet.can_reply() => {
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
pub struct From {
    /// The port's key.
    pub key: LinkKey,
    /// The port.
    pub port: Port,
    /// The frame's header.
    pub ethernet: Ethernet,
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
fn sender_of<L: Links>(tables: &L, from: &From) -> Result<Sender, Reason> {
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
fn outbound<F: Local, P: Packet, T: Tables<F>>(packet: &mut P, tables: &T, from: &From) -> Outcome {
    let mut outcome = Outcome::START;
    let datagram = match F::parse(packet) {
        Ok(datagram) => datagram,
        Err(reason) => return conclude(outcome, Err(reason)),
    };
    outcome.bytes = datagram.bytes();
    let result = classify(packet, tables, from, &datagram, &mut outcome);
    outcome = conclude(outcome, result);
    refuse(
        packet,
        tables,
        &datagram,
        &from.ethernet,
        from.port.mac,
        &mut outcome,
        || router_of::<F, T>(tables, from, &datagram.source),
    );
    outcome
}

/// Whose is the source?
#[inline(always)]
fn classify<F: Local, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    from: &From,
    datagram: &Datagram<F>,
    outcome: &mut Outcome,
) -> Result<Verdict, Reason> {
    F::verify(packet, datagram)?;
    let sender = sender_of(tables, from)?;
    if let Some(result) = F::discovery_on_port(packet, tables, from, &sender, datagram) {
        return result;
    }
    let dhcp = is_dhcp(packet, datagram);
    let (source, destination) = (&datagram.source, &datagram.destination);
    if F::is_unspecified(source) || F::is_link_local(source) {
        return without_address(packet, datagram, from, dhcp);
    }
    let vpc = from.port.vpc;
    let owner = owner_of::<F, T>(tables, vpc, source, &sender)?;
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
    if F::is_link_router(destination, from.port.mac) {
        return answer_ping(packet, datagram, from);
    }
    if from.ethernet.is_group() || F::is_martian_destination(destination) {
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
            private(packet, tables, datagram, vpc, outcome)
        }
        (Place::Outside, PrivateState::NoEip) => Err(Reason::NoEip),
        (Place::Outside, _) => public(packet, tables, from, datagram, &owner, outcome),
    }
}

/// From a sender that has no address yet, or uses one that is valid on its link only: DHCP, and pings of its router.
#[inline(always)]
fn without_address<F: Local, P: Packet>(
    packet: &mut P,
    datagram: &Datagram<F>,
    from: &From,
    dhcp: bool,
) -> Result<Verdict, Reason> {
    if dhcp {
        return Ok(Verdict::Daemon);
    }
    if F::is_link_router(&datagram.destination, from.port.mac) {
        return answer_ping(packet, datagram, from);
    }
    if F::is_unspecified(&datagram.source) || !F::is_martian_destination(&datagram.destination) {
        return Err(Reason::SpoofedSource);
    }
    Err(Reason::MartianDestination)
}

/// The gateway's address towards an ENI: its VPC's router, or its pool's in cut-through mode, or, where that pool has none,
/// the uplink's.
#[inline(always)]
fn router_of<F: Local, T: Tables<F>>(tables: &T, from: &From, source: &F::Address) -> F::Address {
    if let Some(gateway) = tables::gateway_in_vpc::<F, T>(tables, from.port.vpc, source) {
        return gateway;
    }
    if let Some(gateway) = tables::gateway_of_pool::<F, T>(tables, source) {
        return gateway;
    }
    let mut uplink = Uplink::zeroed();
    if let Ok(target) = tables::target(tables, F::UPLINK_TARGET) {
        let key = LinkKey::tagged(target.ifindex, target.vlan);
        if tables::find(&mut uplink, &key, |key| tables.uplink(key)) == Ok(true) {
            return F::icmp_source(&uplink);
        }
    }
    F::UNSPECIFIED
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
    outcome: &mut Outcome,
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
        by_kernel: false,
    };
    forward(packet, datagram, &onward, outcome)
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
        by_kernel: true,
    };
    let mut index = F::UPLINK_TARGET;
    if tables.is_screened(&datagram.destination) {
        let address = &datagram.destination;
        let mut eip = EipEntry::zeroed();
        if tables::find(&mut eip, address, |address| tables.eip(address))? {
            outcome.receiver = eip.slot;
            let receiving = receiving::<F>(&eip)?;
            onward.by_kernel = false;
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
    forward(packet, datagram, &onward, outcome)
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

/// UDP from a DHCP client's port to a server's, whatever the address: the gateway is its only server.
#[inline(always)]
fn is_dhcp<F: Local, P: Packet>(packet: &P, datagram: &Datagram<F>) -> bool {
    datagram.protocol == protocol::UDP
        && !matches!(datagram.fragment, Fragment::Later(_))
        && datagram.transport + 8 <= datagram.end
        && packet.read::<4>(datagram.transport) == Some(F::DHCP_PORTS)
}
