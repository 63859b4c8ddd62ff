//! The facts in the making: what the kernel's messages add up to.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{
        InfoData, InfoKind, InfoVlan, InfoVrf, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType,
        LinkMessage, Prop, VlanProtocol,
    },
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState,
    },
    route::RouteMessage,
    rule::RuleMessage,
};

use super::{
    Family, Framing, HostFacts, Link, LinkKind, Manager, Neighbour, Resolver, VlanTag, XdpFeatures,
    neighbours::OUR_PROTOCOL,
    nexthops,
    routing::{self, Interface, Object, Routing, Ways, family},
};

/// Reads datagrams that anybody may have written, as the answers to requests and as notifications.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn hold(bytes: &[u8]) -> bool {
    use genetlink::message::RawGenlMessage;
    use netlink_packet_core::{NetlinkMessage, NetlinkPayload};

    // As the crate's own reader of datagrams goes from one to the next.
    fn length(rest: &[u8]) -> Option<usize> {
        let length = u32::from_ne_bytes(*rest.first_chunk()?);
        let length = usize::try_from(length).ok()?.next_multiple_of(4);
        (length > 0).then_some(length)
    }
    let (mut state, mut understood) = (State::default(), false);
    let (mut routes, mut rules) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    while let Some(length) = length(rest) {
        if let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
            && let NetlinkPayload::InnerMessage(message) = message.payload
        {
            understood = true;
            state.apply(&message);
            match message {
                RouteNetlinkMessage::NewRoute(route) => routes.push(route),
                RouteNetlinkMessage::NewRule(rule) => rules.push(rule),
                _ => {}
            }
        }
        if let Ok(message) = NetlinkMessage::<RawGenlMessage>::deserialize(rest)
            && let NetlinkPayload::InnerMessage(raw) = message.payload
            && let Ok(message) = raw.parse_into_genlmsg::<super::netdev::Netdev>()
            && let Some(super::netdev::Change::Features(index, features)) = message.payload.change()
        {
            state.set_xdp(index, features);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    let changes = nexthops::read(bytes);
    understood |= !changes.is_empty();
    state.set_routes(&routes, []);
    for change in changes {
        state.set_nexthop(change);
    }
    for family in Family::ALL {
        state.set_rules(family, &rules);
    }
    state.follow_routing();
    state.refresh_tags(|_| Some(true));
    let facts = state.facts();
    for (index, link) in &facts.links {
        // Perhaps another one of that name.
        assert!(facts.link_named(&link.name).is_some(), "{index}");
    }
    for family in Family::ALL {
        for index in facts.links.keys() {
            let _ = facts.next_hop(*index, None, family);
        }
    }
    understood
}

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct State {
    links: BTreeMap<u32, Link>,
    xdp: BTreeMap<u32, XdpFeatures>,
    /// Which NICs take VLAN tags off.
    tags: BTreeMap<u32, bool>,
    /// The NICs of which it has to be asked again.
    tags_stale: BTreeSet<u32>,
    /// What tells interfaces from others that have had their index.
    incarnations: BTreeMap<u32, u64>,
    /// The interfaces of which that is not known yet.
    nameless: BTreeSet<u32>,
    /// Their alternative names.
    altnames: BTreeMap<u32, Vec<String>>,
    /// The tables of VRFs.
    vrfs: BTreeMap<u32, u32>,
    addresses: BTreeSet<(u32, IpNet)>,
    routing: Routing,
    /// What the routing adds up to, as of the last [`Self::follow_routing`].
    ways: Ways,
    ways_stale: bool,
    neighbours: BTreeMap<(u32, IpAddr), Neighbour>,
    resolver: Resolver,
    /// Whether the routes must be asked for again. The kernel drops IPv4 routes without a word when
    /// an interface goes down or loses an address, so that route messages alone do not tell the
    /// whole story.
    routes_stale: bool,
    rules_stale: bool,
}

impl State {
    /// Takes one message of the kernel into account, from a dump or a notification.
    pub(super) fn apply(&mut self, message: &RouteNetlinkMessage) {
        match message {
            RouteNetlinkMessage::NewLink(link) => self.new_link(link),
            RouteNetlinkMessage::DelLink(link) if is_whole(link) => {
                self.remove_link(link.header.index);
            }
            RouteNetlinkMessage::NewAddress(message) => {
                if let Some(address) = address(message) {
                    self.addresses.insert(address);
                }
            }
            RouteNetlinkMessage::DelAddress(message) => {
                if let Some(address) = address(message) {
                    self.addresses.remove(&address);
                    self.routes_stale = true;
                }
            }
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                self.routes_stale |= routing::is_kept(route);
            }
            RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => {
                self.rules_stale = true;
            }
            RouteNetlinkMessage::NewNeighbour(message) => {
                if let Some((key, neighbour)) = neighbour(message) {
                    self.neighbours.insert(key, neighbour);
                }
            }
            RouteNetlinkMessage::DelNeighbour(message) => {
                if let Some((key, _)) = neighbour(message) {
                    self.neighbours.remove(&key);
                }
            }
            _ => {}
        }
    }

    /// Whether [`Self::set_routes`] is due.
    pub(super) fn routes_stale(&self) -> bool {
        self.routes_stale
    }

    /// Replaces the routes with those of a dump, and the nexthop objects that they may name.
    pub(super) fn set_routes<'a>(
        &mut self,
        dump: impl IntoIterator<Item = &'a RouteMessage>,
        objects: impl IntoIterator<Item = (u32, Object)>,
    ) {
        self.routing.set_routes(dump);
        self.routing.set_objects(objects);
        self.routes_stale = false;
        self.ways_stale = true;
    }

    /// Whether [`Self::set_rules`] is due.
    pub(super) fn rules_stale(&self) -> bool {
        self.rules_stale
    }

    /// Replaces the rules of a family with those of a dump.
    pub(super) fn set_rules<'a>(
        &mut self,
        family: Family,
        dump: impl IntoIterator<Item = &'a RuleMessage>,
    ) {
        self.routing.set_rules(family, dump);
        self.rules_stale = false;
        self.ways_stale = true;
    }

    /// Takes a change of a nexthop object into account.
    pub(super) fn set_nexthop(&mut self, change: nexthops::Change) {
        match change {
            nexthops::Change::Put(id, object) => self.routing.put_object(id, object),
            nexthops::Change::Gone(id) => {
                self.routing.remove_object(id);
                // With it its routes went, without a word: they must not come back with the next
                // object of that number.
                self.routes_stale = true;
            }
        }
        self.ways_stale = true;
    }

    /// Finds out anew where the routing leads to, if something of it changed.
    pub(super) fn follow_routing(&mut self) {
        if !std::mem::take(&mut self.ways_stale) {
            return;
        }
        self.ways = self.routing.ways(|index| {
            let link = self.links.get(&index)?;
            let vrf = link.master.and_then(|master| {
                let table = self.vrfs.get(&master)?;
                Some((self.links.get(&master)?.name.as_str(), *table))
            });
            Some(Interface {
                name: &link.name,
                vrf,
            })
        });
    }

    /// Notes the name servers of the host.
    pub(super) fn set_resolver(&mut self, resolver: Resolver) {
        self.resolver = resolver;
    }

    /// Notes the XDP features of an interface. They arrive apart from the interface, in either
    /// order.
    pub(super) fn set_xdp(&mut self, interface: u32, features: XdpFeatures) {
        self.xdp.insert(interface, features);
    }

    /// Forgets the XDP features of an interface that is gone.
    pub(super) fn remove_xdp(&mut self, interface: u32) {
        self.xdp.remove(&interface);
    }

    /// Whether an interface is known whose XDP features are not.
    pub(super) fn lacks_xdp(&self) -> bool {
        self.links.keys().any(|index| !self.xdp.contains_key(index))
    }

    /// Notes the XDP features of interfaces of which they are not known, by what `features` says of
    /// their names.
    pub(super) fn fill_xdp(&mut self, features: impl Fn(&str) -> Option<XdpFeatures>) {
        for (index, link) in &self.links {
            if !self.xdp.contains_key(index)
                && let Some(features) = features(&link.name)
            {
                self.xdp.insert(*index, features);
            }
        }
    }

    /// Asks `takes_tags` by name of each NIC that is new, or that the kernel told of since: of a
    /// change of its offloads, too.
    pub(super) fn refresh_tags(&mut self, takes_tags: impl Fn(&str) -> Option<bool>) {
        for index in std::mem::take(&mut self.tags_stale) {
            if let Some(link) = self.links.get(&index)
                && let Some(takes_tags) = takes_tags(&link.name)
            {
                self.tags.insert(index, takes_tags);
            }
        }
    }

    /// Asks `incarnation` by name and index of each interface that is new. One that has another
    /// name meanwhile is asked for again, as the kernel tells of that.
    pub(super) fn refresh_incarnations(&mut self, incarnation: impl Fn(&str, u32) -> Option<u64>) {
        let (links, known) = (&self.links, &mut self.incarnations);
        self.nameless.retain(|index| {
            let found = links
                .get(index)
                .and_then(|link| incarnation(&link.name, *index));
            known.extend(found.map(|found| (*index, found)));
            found.is_none()
        });
    }

    /// What it adds up to.
    pub(super) fn facts(&self) -> HostFacts {
        let mut links = self.links.clone();
        for (index, link) in &mut links {
            link.xdp = self.xdp.get(index).copied();
            link.takes_tags = self.tags.get(index).copied().unwrap_or_default();
            link.incarnation = self.incarnations.get(index).copied();
        }
        HostFacts {
            links,
            addresses: self.addresses.iter().copied().collect(),
            routes: self.ways.routes.iter().copied().collect(),
            doubts: self.ways.doubts.clone(),
            altnames: self.names(),
            neighbours: self.neighbours.clone(),
            resolver: self.resolver.clone(),
        }
    }

    fn new_link(&mut self, message: &LinkMessage) {
        if !is_whole(message) {
            return;
        }
        let index = message.header.index;
        let Some(link) = link(message) else {
            return;
        };
        // Others, of which there may be thousands, are not asked.
        if link.kind == LinkKind::Physical {
            self.tags_stale.insert(index);
        }
        let (altnames, vrf) = (altnames(message), vrf_table(message));
        if altnames.is_empty() {
            self.altnames.remove(&index);
        } else {
            self.altnames.insert(index, altnames);
        }
        if let Some(table) = vrf {
            self.vrfs.insert(index, table);
        }
        let before = self.links.insert(index, link);
        if before.is_none() {
            self.nameless.insert(index);
        }
        let was_up = before.is_some_and(|link| link.up);
        self.routes_stale |= was_up != self.links[&index].up;
        // Rules name interfaces, and a VRF has a table of its own.
        self.ways_stale = true;
    }

    /// The alternative names of all interfaces.
    fn names(&self) -> BTreeMap<String, u32> {
        let names = self.altnames.iter();
        names
            .flat_map(|(index, names)| names.iter().map(|name| (name.clone(), *index)))
            .collect()
    }

    fn remove_link(&mut self, index: u32) {
        self.links.remove(&index);
        self.xdp.remove(&index);
        self.tags.remove(&index);
        self.incarnations.remove(&index);
        self.nameless.remove(&index);
        self.altnames.remove(&index);
        self.vrfs.remove(&index);
        self.addresses.retain(|(interface, _)| *interface != index);
        self.neighbours
            .retain(|(interface, _), _| *interface != index);
        self.routes_stale = true;
    }
}

/// Whether a message is about the interface itself: bridges speak of their ports with the same
/// messages, and say `DelLink` when a port leaves the bridge.
fn is_whole(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

/// The interface that a message describes. `None`: a partial message (wireless events), which
/// changes nothing here.
fn link(message: &LinkMessage) -> Option<Link> {
    let header = &message.header;
    let (mut name, mut mtu, mut mac, mut master, mut kind) = (None, None, [0; 6], None, None);
    let (mut lower, mut vlan) = (None, None);
    // Of a tunnel: its remote end.
    let mut remote: &[u8] = &[];
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Mtu(value) => mtu = Some(*value),
            LinkAttribute::Address(bytes) => {
                if let Ok(bytes) = <[u8; 6]>::try_from(bytes.as_slice()) {
                    mac = bytes;
                }
            }
            LinkAttribute::Controller(index) => master = Some(*index).filter(|index| *index != 0),
            LinkAttribute::LinkInfo(infos) => {
                kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.clone()),
                    _ => None,
                });
                vlan = infos.iter().find_map(vlan_of);
            }
            LinkAttribute::Link(index) => lower = Some(*index),
            LinkAttribute::Broadcast(bytes) => remote = bytes,
            _ => {}
        }
    }
    let ethernet = header.link_layer_type == LinkLayerType::Ether;
    if !ethernet {
        mac = [0; 6];
    }
    let kind = match kind {
        Some(InfoKind::Veth) => LinkKind::Veth,
        Some(InfoKind::Tun) if ethernet => LinkKind::Tap,
        Some(InfoKind::Tun) => LinkKind::Tun,
        Some(kind) => LinkKind::Other(kind.to_string()),
        None if ethernet => LinkKind::Physical,
        None if header.link_layer_type == LinkLayerType::Loopback => LinkKind::Loopback,
        None => LinkKind::Other(format!("{:?}", header.link_layer_type).to_lowercase()),
    };
    Some(Link {
        name: name?,
        mac,
        mtu: mtu?,
        up: header.flags.contains(LinkFlags::Up | LinkFlags::Running),
        kind,
        framing: framing(header.link_layer_type, remote),
        master,
        vlan: lower.zip(vlan),
        takes_tags: false,
        incarnation: None,
        xdp: None,
    })
}

/// What stands in front of an interface's packets. Nothing does where the kernel takes Ethernet
/// headers off what is redirected there (`include/linux/if_arp.h`, `dev_is_mac_header_xmit`), but
/// for PPP, which Linux 6.1 leaves them on.
fn framing(kind: LinkLayerType, remote: &[u8]) -> Framing {
    match kind {
        LinkLayerType::Ether => Framing::Ethernet,
        LinkLayerType::None | LinkLayerType::Rawip => Framing::None,
        LinkLayerType::Tunnel
        | LinkLayerType::Tunnel6
        | LinkLayerType::Sit
        | LinkLayerType::Ipgre
        | LinkLayerType::Ip6gre => {
            let is_group = match remote {
                [first, _, _, _] => first & 0xf0 == 0xe0,
                [first, ..] => *first == 0xff,
                [] => false,
            };
            // Of one that is told with each packet where to it is zeros.
            if is_group || remote.iter().all(|byte| *byte == 0) {
                Framing::NoneToMany
            } else {
                Framing::None
            }
        }
        _ => Framing::Other,
    }
}

/// The alternative names of the interface that a message describes.
fn altnames(message: &LinkMessage) -> Vec<String> {
    let of = |attribute: &LinkAttribute| match attribute {
        LinkAttribute::PropList(properties) => properties.clone(),
        _ => Vec::new(),
    };
    let properties = message.attributes.iter().flat_map(of);
    properties
        .filter_map(|property| match property {
            Prop::AltIfName(name) => Some(name),
            _ => None,
        })
        .collect()
}

/// The routing table of the VRF that a message describes.
fn vrf_table(message: &LinkMessage) -> Option<u32> {
    let of_info = |info: &LinkInfo| match info {
        LinkInfo::Data(InfoData::Vrf(infos)) => infos.iter().find_map(|info| match info {
            InfoVrf::TableId(table) => Some(*table),
            _ => None,
        }),
        _ => None,
    };
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => infos.iter().find_map(of_info),
            _ => None,
        })
}

/// The tag of the VLAN that an interface is for.
fn vlan_of(info: &LinkInfo) -> Option<VlanTag> {
    let LinkInfo::Data(InfoData::Vlan(infos)) = info else {
        return None;
    };
    let id = infos.iter().find_map(|info| match info {
        InfoVlan::Id(vlan) => Some(*vlan),
        _ => None,
    })?;
    Some(
        if infos.contains(&InfoVlan::Protocol(VlanProtocol::Ieee8021Ad)) {
            VlanTag::Service(id)
        } else {
            VlanTag::Customer(id)
        },
    )
}

/// The host's own address that a message speaks of. On a point-to-point interface `Address` is the
/// peer's.
fn address(message: &AddressMessage) -> Option<(u32, IpNet)> {
    let mut peer_or_own = None;
    let mut own = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(address) => peer_or_own = Some(*address),
            AddressAttribute::Local(address) => own = Some(*address),
            _ => {}
        }
    }
    let net = IpNet::new(own.or(peer_or_own)?, message.header.prefix_len).ok()?;
    Some((message.header.index, net))
}

/// The neighbour that a message describes. Bridge and proxy entries are none, and neither are
/// multicast groups, which the kernel keeps in the same table.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<((u32, IpAddr), Neighbour)> {
    let header = &message.header;
    family(header.family)?;
    if header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let (mut address, mut mac, mut managed, mut ours) = (None, None, false, false);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(destination)) => {
                address = Some(IpAddr::from(*destination));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(destination)) => {
                address = Some(IpAddr::from(*destination));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok();
            }
            NeighbourAttribute::ExtFlags(flags) => {
                managed = flags.contains(NeighbourExtFlags::Managed);
            }
            NeighbourAttribute::Protocol(protocol) => ours = *protocol == OUR_PROTOCOL,
            _ => {}
        }
    }
    let usable = mac.is_some()
        && matches!(
            header.state,
            NeighbourState::Permanent
                | NeighbourState::Noarp
                | NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
        );
    let neighbour = Neighbour {
        mac,
        usable,
        permanent: header.state == NeighbourState::Permanent,
        managed: match (managed, ours) {
            (false, _) => None,
            (true, true) => Some(Manager::Us),
            (true, false) => Some(Manager::Other),
        },
    };
    let address = address.filter(|address| !address.is_multicast())?;
    Some(((header.ifindex, address), neighbour))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Vlan;

    #[test]
    fn nics_are_asked_whether_they_take_tags_off_when_something_changes() {
        let mut state = State::default();
        let takes = |state: &mut State, tags: Option<bool>| {
            let asked = std::cell::Cell::new(0);
            state.refresh_tags(|name| {
                assert_eq!(name, "nic");
                asked.set(asked.get() + 1);
                tags
            });
            let facts = state.facts();
            (asked.get(), facts.links.get(&7).map(|link| link.takes_tags))
        };
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.attributes = vec![
            LinkAttribute::IfName("nic".to_owned()),
            LinkAttribute::Mtu(1500),
        ];
        let nic = RouteNetlinkMessage::NewLink(message.clone());
        message.header.index = 8;
        let veth = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]);
        message.attributes.push(veth);
        state.apply(&RouteNetlinkMessage::NewLink(message));
        assert_eq!(
            takes(&mut state, Some(true)),
            (0, None),
            "a veth is not asked"
        );
        state.apply(&nic);
        assert_eq!(takes(&mut state, Some(true)), (1, Some(true)));
        assert_eq!(
            takes(&mut state, Some(false)),
            (0, Some(true)),
            "nothing was told"
        );
        // `ethtool -K` has the kernel tell of the interface.
        state.apply(&nic);
        assert_eq!(
            takes(&mut state, None),
            (1, Some(true)),
            "it went away meanwhile"
        );
        state.apply(&nic);
        assert_eq!(takes(&mut state, Some(false)), (1, Some(false)));
    }

    /// Between two looks an interface may go and one of its name and index come.
    #[test]
    fn an_interface_that_is_made_anew_is_another() {
        let mut state = State::default();
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.attributes = vec![
            LinkAttribute::IfName("vp0".to_owned()),
            LinkAttribute::Mtu(1500),
        ];
        let (new, gone) = (
            RouteNetlinkMessage::NewLink(message.clone()),
            RouteNetlinkMessage::DelLink(message),
        );
        let looked = |state: &mut State, number: Option<u64>| {
            state.refresh_incarnations(|name, index| {
                assert_eq!((name, index), ("vp0", 7));
                number
            });
            state.facts().links[&7].incarnation
        };
        state.apply(&new);
        assert_eq!(looked(&mut state, None), None, "it had another name");
        assert_eq!(looked(&mut state, Some(1)), Some(1));
        state.apply(&new);
        assert_eq!(looked(&mut state, Some(2)), Some(1), "not asked again");
        let before = state.facts();
        state.apply(&gone);
        state.apply(&new);
        assert_eq!(looked(&mut state, Some(2)), Some(2));
        assert_ne!(before, state.facts());
    }

    #[test]
    fn a_tunnel_is_known_by_its_type_and_its_remote_end() {
        use LinkLayerType::{Ip6gre, Ipgre, Loopback, None as Bare, Ppp};
        let v6 = |first: u8| [[first].as_slice(), &[0; 15]].concat();
        for (kind, remote, expected) in [
            (Bare, vec![], Framing::None),
            (Ipgre, vec![192, 0, 2, 1], Framing::None),
            (Ipgre, vec![0; 4], Framing::NoneToMany),
            (Ipgre, vec![239, 0, 0, 1], Framing::NoneToMany),
            (Ip6gre, v6(0x20), Framing::None),
            (Ip6gre, v6(0), Framing::NoneToMany),
            (Ip6gre, v6(0xff), Framing::NoneToMany),
            (Loopback, vec![0; 6], Framing::Other),
            (Ppp, vec![], Framing::Other),
            (LinkLayerType::Ether, vec![0xff; 6], Framing::Ethernet),
        ] {
            assert_eq!(framing(kind, &remote), expected, "{kind:?} {remote:?}");
        }
        let mut message = LinkMessage::default();
        message.header.link_layer_type = Bare;
        let wireguard = LinkInfo::Kind(InfoKind::Wireguard);
        message.attributes = vec![
            LinkAttribute::IfName("wg0".to_owned()),
            LinkAttribute::Mtu(1420),
            LinkAttribute::LinkInfo(vec![wireguard]),
        ];
        let link = link(&message).expect("whole");
        assert!(link.is_layer3());
        assert_eq!(link.kind.to_string(), "wireguard");
    }

    #[test]
    fn a_vlan_interface_tells_what_is_below_it() {
        let message = |protocol| {
            let mut message = LinkMessage::default();
            message.header.index = 7;
            message.header.link_layer_type = LinkLayerType::Ether;
            message.attributes = vec![
                LinkAttribute::IfName("wan.100".to_owned()),
                LinkAttribute::Mtu(1500),
                LinkAttribute::Link(3),
                LinkAttribute::LinkInfo(vec![
                    LinkInfo::Kind(InfoKind::Vlan),
                    LinkInfo::Data(InfoData::Vlan(vec![
                        InfoVlan::Id(100),
                        InfoVlan::Protocol(protocol),
                    ])),
                ]),
            ];
            message
        };
        let vlan = link(&message(VlanProtocol::Ieee8021Q)).expect("whole");
        assert_eq!(vlan.vlan, Some((3, VlanTag::Customer(100))));
        assert_eq!(vlan.kind, LinkKind::Other("vlan".to_owned()));
        let service = link(&message(VlanProtocol::Ieee8021Ad)).expect("whole");
        assert_eq!(service.vlan, Some((3, VlanTag::Service(100))));

        // A veth names its peer in the same attribute.
        let mut message = message(VlanProtocol::Ieee8021Q);
        message.attributes[3] = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]);
        assert_eq!(link(&message).expect("whole").vlan, None);

        let mut facts = HostFacts::default();
        facts.links.insert(7, vlan.clone());
        let of = |id| Some(Vlan::of(id));
        assert_eq!(facts.vlan_interface(3, of(100)), Some(7));
        assert_eq!(facts.vlan_interface(3, None), Some(3));
        assert_eq!(facts.vlan_interface(3, of(101)), None);
        assert_eq!(facts.vlan_interface(4, of(100)), None);
        let within = |outer| {
            facts_with(&facts, &service, &vlan).vlan_interface(3, Some(Vlan::within(outer, 100)))
        };
        assert_eq!(within(100), Some(9));
        assert_eq!(within(101), None);
        // Not within a tag of 802.1Q.
        assert_eq!(facts.vlan_interface(3, Some(Vlan::within(100, 100))), None);
    }

    /// With interface 8 for a service tag upon 3, and 9 for a tag upon that.
    fn facts_with(facts: &HostFacts, service: &Link, vlan: &Link) -> HostFacts {
        let mut facts = facts.clone();
        facts.links.insert(8, service.clone());
        let upon = vlan.vlan.map(|(_, tag)| (8, tag));
        facts.links.insert(
            9,
            Link {
                vlan: upon,
                ..vlan.clone()
            },
        );
        facts
    }
}
