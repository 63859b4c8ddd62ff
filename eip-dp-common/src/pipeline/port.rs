//! From a port: whose is the source, and is the destination private, another EIP, or the Internet?

use super::{
    LinkProtocols, Outcome, Verdict, conclude,
    forward::{Forward, Translation, forward},
    is_honest,
    uplink::receiving,
};
use crate::{
    abi::{
        AddressClass, ChecksumKey, Checksummed, LinkKey, MacKey, NONE, Port, PortMac, PortRole,
        Reason, SourceKey, SourceState, Target, TargetFlags,
    },
    budget::{EniBudget, Spend},
    family::{Datagram, Echo, Family, NatObstacle, protocol},
    packet::{Ethernet, Mac, Packet, is_virtual_router},
    tables::{self, LinkTables, Place, Scratch, Tables},
};

/// A frame from the port with this key: an IP packet of this family, or what is no IP.
#[inline(always)]
pub fn packet_from_port<F: LinkProtocols, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    key: LinkKey,
) -> Outcome {
    with_port(packet, tables, key, |packet, from| {
        match from.ethernet.ethertype {
            ethertype if ethertype == F::ETHERTYPE => outbound(packet, tables, from),
            // Within a VLAN of ours too: one more tag than a port can have.
            _ => Outcome::dropped(Reason::UnsupportedEthertype),
        }
    })
}

/// Who has which address on the port's link.
#[inline(always)]
pub fn discovery_from_port<F: LinkProtocols, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    key: LinkKey,
) -> Outcome {
    with_port(packet, tables, key, |packet, from| {
        // No stack leaves a checksum of these to the device.
        if packet.partial_checksum().is_none() {
            F::discovery_on_port(packet, tables, from)
        } else {
            Outcome::dropped(Reason::Malformed)
        }
    })
}

#[inline(always)]
fn with_port<P: Packet, L: LinkTables>(
    packet: &mut P,
    links: &L,
    key: LinkKey,
    path: impl FnOnce(&mut P, &PortFrame) -> Outcome,
) -> Outcome {
    let Some(ethernet) = Ethernet::read(packet) else {
        return Outcome::dropped(Reason::Malformed);
    };
    let mut port = Port::zeroed();
    match tables::find(&mut port, &key, |key, into| links.port(key, into)) {
        Ok(true) => {}
        Ok(false) if !key.is_untagged() && packet.can_reply() => {
            return of_another_vlan(links, key, &mut port);
        }
        Ok(false) if !key.is_untagged() => return Outcome::START,
        // The port is being taken away. Nothing of a tenant's ever enters the host's own routing.
        Ok(false) => return Outcome::dropped(Reason::EniDetached),
        Err(reason) => return Outcome::dropped(reason),
    }
    match PortRole::from_value(port.role) {
        Some(PortRole::Enis) => {}
        Some(PortRole::Host) => return Outcome::START,
        None => return Outcome::dropped(Reason::BadRecord),
    }
    if ethernet.destination != port.mac && !ethernet.is_group() {
        return Outcome::dropped(Reason::OtherMac);
    }
    let from = PortFrame {
        key,
        port,
        ethernet,
    };
    path(packet, &from)
}

/// A frame of a VLAN without a record of its own: the host's where it has an interface for the
/// outer one, or takes all that is nobody's.
#[inline(always)]
fn of_another_vlan<L: LinkTables>(links: &L, key: LinkKey, port: &mut Port) -> Outcome {
    // A lone 802.1ad tag has a key like the outer one of two.
    let outermost = if key.outer == 0 {
        LinkKey::any_vlan(key.ifindex)
    } else {
        LinkKey::stacked(key.ifindex, key.outer, 0)
    };
    let any = LinkKey::any_vlan(key.ifindex);
    let found = match tables::find(port, &outermost, |key, into| links.port(key, into)) {
        Ok(false) => tables::find(port, &any, |key, into| links.port(key, into)),
        found => found,
    };
    match found {
        Ok(true) if port.role == PortRole::Host as u32 => Outcome::START,
        Ok(_) => Outcome::dropped(Reason::NoPort),
        Err(reason) => Outcome::dropped(reason),
    }
}

/// Where a frame came from.
pub struct PortFrame {
    /// The port's key.
    pub key: LinkKey,
    /// The port.
    pub port: Port,
    /// The frame's header.
    pub ethernet: Ethernet,
}

/// The index of the ENI with the frame's source MAC on this port, whose target becomes `sender`.
#[inline(always)]
pub fn sender_of<L: LinkTables>(
    sender: &mut Target,
    links: &L,
    from: &PortFrame,
) -> Result<u32, Reason> {
    let mut is_virtual = false;
    let index = if from.port.target != NONE && from.port.eni_mac == from.ethernet.source {
        from.port.target
    } else {
        let mut entry = PortMac::zeroed();
        let key = MacKey::on(from.key, from.ethernet.source);
        if tables::find(&mut entry, &key, |key, into| links.mac(key, into))? {
            entry.target
        } else {
            // The port's only ENI may send as a virtual router, if it shares an address.
            is_virtual = true;
            if from.port.target == NONE || !is_virtual_router(from.ethernet.source) {
                return Err(Reason::SpoofedMac);
            }
            from.port.target
        }
    };
    tables::target(sender, links, index)?;
    if is_virtual && sender.flags & TargetFlags::SHARES == 0 {
        return Err(Reason::SpoofedMac);
    }
    Ok(index)
}

/// An IP packet from an ENI.
#[inline(always)]
fn outbound<F: LinkProtocols, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    from: &PortFrame,
) -> Outcome {
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
fn classify<F: LinkProtocols, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    from: &PortFrame,
    datagram: &Datagram<F>,
    scratch: &mut Scratch<F::Address>,
    outcome: &mut Outcome,
) -> Result<Verdict, Reason> {
    let obstacle = F::verify(packet, tables, datagram)?;
    let sender = sender_of(&mut scratch.sender, tables, from)?;
    outcome.eni = sender;
    if !is_honest(packet, datagram) {
        return Err(Reason::Malformed);
    }
    let dhcp = is_dhcp(packet, datagram);
    let (source, destination) = (&datagram.source, &datagram.destination);
    if F::is_unspecified(source) || F::is_link_local(source) {
        let shares = scratch.sender.flags & TargetFlags::SHARES != 0;
        let to_daemon = dhcp || (shares && is_vrrp(datagram));
        return without_address(packet, tables, datagram, from, to_daemon, sender);
    }
    let vpc = from.port.vpc;
    owner_of::<F, T>(tables, vpc, source, sender, scratch)?;
    let place = tables::locate::<F, T>(&mut scratch.cidr, tables, vpc, destination)?;
    // Wherever in the list of CIDRs it was found, what follows is looked at once.
    let place = Place::from_number(packet.verifier_opaque(place as usize));
    if dhcp && !packet.can_reply() {
        return Ok(Verdict::Punt);
    }
    if dhcp && is_for_gateway::<F, T>(tables, from, destination, place, scratch)? {
        return to_daemon(packet, tables, sender);
    }
    outcome.sender = scratch.owner.slot;
    let state = match SourceState::from_value(scratch.owner.state) {
        Some(SourceState::Stranded) => return Err(Reason::EniStranded),
        Some(SourceState::Off) => return Err(Reason::PrivateNetworkOff),
        Some(SourceState::Detached) => return Err(Reason::SpoofedSource),
        Some(state) => state,
        None => return Err(Reason::BadRecord),
    };
    if F::is_link_router(destination, from.port.mac) {
        return to_gateway(packet, datagram);
    }
    if from.ethernet.is_group() || F::is_martian(destination) {
        if scratch.sender.flags & TargetFlags::SHARES != 0 && is_vrrp(datagram) {
            return to_daemon(packet, tables, sender);
        }
        return Err(Reason::MartianDestination);
    }
    match (place, state) {
        (Place::Inside | Place::Gateway, SourceState::CutThrough) => Err(Reason::PrivateNetworkOff),
        (Place::Gateway, _) => to_gateway(packet, datagram),
        (Place::Inside, _) => {
            // Private traffic is nobody's EIP's.
            outcome.sender = NONE;
            private(packet, tables, datagram, obstacle, scratch, outcome)
        }
        (Place::Outside, SourceState::NoEip) => Err(Reason::NoEip),
        (Place::Outside, _) => public(packet, tables, datagram, obstacle, scratch, outcome),
    }
}

/// Hands a guest's request to the daemon, within the ENI's budget.
#[inline(always)]
pub fn to_daemon<P: Packet, L: LinkTables>(
    packet: &P,
    links: &L,
    sender: u32,
) -> Result<Verdict, Reason> {
    if !packet.can_reply() {
        return Ok(Verdict::Punt);
    }
    if links.allow_eni(sender, EniBudget::Requests, Spend::Consume) {
        Ok(Verdict::PuntToDaemon)
    } else {
        Err(Reason::RateLimited)
    }
}

/// Whether DHCP to this address is for the gateway: to all, to the VPC's router, or to the router
/// that a pool's guests are told. All else is somebody's on the Internet, who may run a server
/// there.
#[inline(always)]
fn is_for_gateway<F: LinkProtocols, T: Tables<F>>(
    tables: &T,
    from: &PortFrame,
    destination: &F::Address,
    place: Place,
    scratch: &mut Scratch<F::Address>,
) -> Result<bool, Reason> {
    if from.ethernet.is_group() || F::is_martian(destination) {
        return Ok(true);
    }
    match place {
        Place::Gateway => Ok(true),
        Place::Inside => Ok(false),
        Place::Outside => is_pool_router::<F, T>(tables, destination, scratch),
    }
}

/// Whether an address is the router of a pool, here or upstream.
#[inline(always)]
pub fn is_pool_router<F: Family, T: Tables<F>>(
    tables: &T,
    address: &F::Address,
    scratch: &mut Scratch<F::Address>,
) -> Result<bool, Reason> {
    if !tables.may_be_pool(address) {
        return Ok(false);
    }
    Ok(
        match tables::class::<F, T>(&mut scratch.prefix, tables, address)? {
            Some(AddressClass::PoolGateway) => true,
            Some(_) => scratch.prefix.gateway == *address,
            None => false,
        },
    )
}

/// Whether it is a virtual router's advertisement, which no router has forwarded (RFC 5798
/// 5.1.1.3).
#[inline(always)]
fn is_vrrp<F: LinkProtocols>(datagram: &Datagram<F>) -> bool {
    datagram.protocol == protocol::VRRP
        && datagram.hop_limit == 255
        && datagram.destination == F::VRRP_GROUP
}

/// From a sender that has no address yet, or uses one that is valid on its link only: what is for
/// the daemon, and pings of its router.
#[inline(always)]
fn without_address<F: LinkProtocols, P: Packet, L: LinkTables>(
    packet: &P,
    links: &L,
    datagram: &Datagram<F>,
    from: &PortFrame,
    is_for_daemon: bool,
    sender: u32,
) -> Result<Verdict, Reason> {
    if is_for_daemon {
        return to_daemon(packet, links, sender);
    }
    if F::is_link_router(&datagram.destination, from.port.mac) {
        return to_gateway(packet, datagram);
    }
    if F::is_unspecified(&datagram.source) || !F::is_martian(&datagram.destination) {
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
    let key = SourceKey {
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
fn private<F: LinkProtocols, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    datagram: &Datagram<F>,
    obstacle: NatObstacle,
    scratch: &mut Scratch<F::Address>,
    outcome: &mut Outcome,
) -> Result<Verdict, Reason> {
    // What only the gateway may say on the link is looked for behind all headers, so they must end
    // within what is looked at.
    if obstacle == NatObstacle::HEADERS_TOO_LONG {
        return Err(Reason::HeadersTooLong);
    }
    if !datagram.fragment.is_whole()
        && datagram.fragment.begins()
        && datagram.transport + PORTS > datagram.end
    {
        return Err(Reason::TinyFragment);
    }
    if is_from_server(packet, datagram) {
        return Err(Reason::RogueServer);
    }
    let key = SourceKey {
        vpc: scratch.sender.vpc,
        address: datagram.destination,
    };
    let receiver = &mut scratch.other;
    if !tables.private(&key, receiver) {
        return Err(Reason::NoSuchEni);
    }
    match SourceState::from_value(receiver.state) {
        Some(SourceState::NoEip | SourceState::Nat) => {}
        Some(SourceState::Off | SourceState::CutThrough) => {
            return Err(Reason::PrivateNetworkOff);
        }
        Some(SourceState::Stranded) => return Err(Reason::EniStranded),
        Some(SourceState::Detached) => return Err(Reason::EniDetached),
        None => return Err(Reason::BadRecord),
    }
    tables::target(&mut scratch.target, tables, receiver.target)?;
    let onward = Forward {
        target: &scratch.target,
        source: datagram.source,
        destination: datagram.destination,
        translation: Translation::NONE,
        obstacle,
        routed: false,
        is_neighbour: false,
    };
    forward(packet, tables, datagram, &onward, outcome)
}

/// The destination is outside the VPC: another EIP of this gateway, a neighbour on an uplink's
/// link, or the Internet.
#[inline(always)]
fn public<F: LinkProtocols, P: Packet, T: Tables<F>>(
    packet: &mut P,
    tables: &T,
    datagram: &Datagram<F>,
    obstacle: NatObstacle,
    scratch: &mut Scratch<F::Address>,
    outcome: &mut Outcome,
) -> Result<Verdict, Reason> {
    let sending = match SourceState::from_value(scratch.owner.state) {
        Some(SourceState::Nat) => Translation::of_source(scratch.owner.delta),
        _ => Translation::NONE,
    };
    let mut to_eip = false;
    let mut is_neighbour = false;
    let mut destination = datagram.destination;
    let mut translation = sending;
    let address = &datagram.destination;
    if tables.may_be_pool(address) {
        let eip = &mut scratch.eip;
        if tables.eip(address, eip) {
            outcome.receiver = eip.slot;
            translation = sending.with_destination(receiving::<F>(eip)?);
            to_eip = true;
            destination = eip.private;
        } else {
            match tables::class::<F, T>(&mut scratch.prefix, tables, address)? {
                Some(AddressClass::PoolGateway) => return to_gateway(packet, datagram),
                Some(AddressClass::Pool | AddressClass::Reserved) => {
                    return Err(Reason::NoAssociation);
                }
                // What it would answer comes back by the uplink, from an address that cannot be
                // there.
                Some(AddressClass::Host) => return Err(Reason::GatewayService),
                // The kernel finds its MAC, for tc.
                Some(AddressClass::OnLink) if !packet.can_reply() => return Ok(Verdict::Punt),
                Some(AddressClass::OnLink) => is_neighbour = true,
                None => {}
            }
        }
    }
    // An ICMP redirect to a router inside the VPC, whose address nobody outside is to see.
    if sending.active {
        let router = F::redirect_target(packet, datagram);
        if !F::is_unspecified(&router) {
            if !packet.can_reply() {
                return Ok(Verdict::Punt);
            }
            if tables.may_be_inside(scratch.sender.vpc, &router) {
                return Err(Reason::AddressOption);
            }
        }
    }
    if is_neighbour {
        // Without a router a link has neighbours all the same.
        to_neighbour::<F, P, T>(packet, tables, address, scratch, outcome.eni)?;
    } else {
        if !to_eip {
            scratch.eip.set_target(F::UPLINK_TARGET);
        }
        tables::receiver(&mut scratch.target, tables, &scratch.eip)?;
    }
    if to_eip && scratch.target.vpc == scratch.sender.vpc && is_from_server(packet, datagram) {
        return Err(Reason::RogueServer);
    }
    let onward = Forward {
        target: &scratch.target,
        source: scratch.owner.public,
        destination,
        translation,
        obstacle,
        routed: true,
        is_neighbour,
    };
    forward(packet, tables, datagram, &onward, outcome)
}

/// The target of an address on an uplink's link, which the kernel resolves, within the ENI's
/// budget.
#[inline(always)]
fn to_neighbour<F: Family, P: Packet, L: LinkTables>(
    packet: &P,
    links: &L,
    address: &F::Address,
    scratch: &mut Scratch<F::Address>,
    sender: u32,
) -> Result<(), Reason> {
    let (ifindex, mtu) = (scratch.prefix.ifindex, scratch.prefix.mtu);
    if ifindex == 0 {
        return Err(Reason::NoNextHop);
    }
    if packet.can_reply() && !links.allow_neighbour(sender, ifindex, address.fold()) {
        return Err(Reason::RateLimited);
    }
    let target = &mut scratch.target;
    target.ifindex = ifindex;
    #[allow(clippy::cast_possible_truncation, reason = "what is larger is cut off")]
    let mtu = if mtu < 0xffff { mtu as u16 } else { 0xffff };
    target.mtu = mtu;
    // The kernel's own interface for the uplink's VLAN tags what it sends.
    target.vlan = 0;
    target.outer = 0;
    target.flags = 0;
    Ok(())
}

/// How long the headers are that say which service a packet is of: ports, or an ICMP type.
const PORTS: usize = 8;

/// Whether it is what only the gateway may say to a guest of the VPC: DHCP and DHCPv6 from a
/// server, neighbour discovery.
#[inline(always)]
fn is_from_server<F: LinkProtocols, P: Packet>(packet: &P, datagram: &Datagram<F>) -> bool {
    has_ports(packet, datagram, F::DHCP_SERVER_PORTS) || F::is_neighbour_discovery(packet, datagram)
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
pub fn answer_ping<F: Family, P: Packet, L: LinkTables>(
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

/// UDP from a DHCP client's port to a server's.
#[inline(always)]
pub fn is_dhcp<F: LinkProtocols, P: Packet>(packet: &P, datagram: &Datagram<F>) -> bool {
    has_ports(packet, datagram, F::DHCP_PORTS)
}

/// Whether it is UDP with these ports, source and destination.
#[inline(always)]
fn has_ports<F: Family, P: Packet>(packet: &P, datagram: &Datagram<F>, ports: [u8; 4]) -> bool {
    datagram.protocol == protocol::UDP
        && datagram.fragment.begins()
        && datagram.transport + PORTS <= datagram.end
        && packet.read::<4>(datagram.transport) == Some(ports)
}
