//! The facts themselves, and the questions that the data plane asks of them.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use eip_dp_common::abi::LinkKey;
use ipnet::IpNet;

use super::Resolver;
use crate::model::Vlan;

/// One consistent picture of the kernel's networking, as far as the data plane depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Interfaces by their index.
    pub links: BTreeMap<u32, Link>,
    /// Addresses that this host itself has, each with the index of its interface; sorted, without
    /// duplicates.
    pub addresses: Vec<(u32, IpNet)>,
    /// The default routes to which the kernel's rules lead through each interface, one for each
    /// next hop; sorted, without duplicates. Other routes are left out on purpose: a gateway may
    /// carry a million of them, and none decides anything here.
    pub routes: Vec<Route>,
    /// The interfaces through which the rules and routes lead to more than one router, or to none
    /// for some addresses.
    pub doubts: BTreeMap<(u32, Family), Doubt>,
    /// Other names of interfaces (`ip link property add … altname`), with the interface's index.
    pub altnames: BTreeMap<String, u32>,
    /// Neighbours (ARP and ND entries) by the index of their interface and their address.
    pub neighbours: BTreeMap<(u32, IpAddr), Neighbour>,
    /// The name servers that this host asks, as far as guests could.
    pub resolver: Resolver,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name; names change, indices do not.
    pub name: String,
    /// Its Ethernet address; all zeroes where it has none (loopback, tun).
    pub mac: [u8; 6],
    /// The largest packet that it sends, without the Ethernet header.
    pub mtu: u32,
    /// Whether it is set up and can carry packets (carrier and operational state).
    pub up: bool,
    /// What it is.
    pub kind: LinkKind,
    /// What stands in front of its packets.
    pub framing: Framing,
    /// The index of the bridge, bond or VRF that it belongs to.
    pub master: Option<u32>,
    /// Of a VLAN interface: the index of the interface below it, and the tag.
    pub vlan: Option<(u32, VlanTag)>,
    /// Whether it is a NIC that takes VLAN tags off: XDP then takes a frame of any VLAN for an
    /// untagged one. Of other kinds never: what they call by that name leaves the tags of the
    /// frames that they receive.
    pub takes_tags: bool,
    /// What tells it from others that have had its index. `None`: nobody can say.
    pub incarnation: Option<u64>,
    /// What its driver offers to XDP at this moment. `None`: the kernel does not tell (before 6.3),
    /// and the driver is none that is known to.
    pub xdp: Option<XdpFeatures>,
}

/// What stands in front of the IP packets of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// An Ethernet header.
    #[default]
    Ethernet,
    /// Nothing: they go to the other end of a tunnel (WireGuard, GRE, tun).
    None,
    /// Nothing, and there is no one other end: the tunnel wants to be told with each packet where
    /// to.
    NoneToMany,
    /// Something else.
    Other,
}

/// The tag of a VLAN interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VlanTag {
    /// Of 802.1Q, with its VLAN.
    Customer(u16),
    /// Of 802.1ad, with its VLAN.
    Service(u16),
}

impl Link {
    /// Whether its packets have no Ethernet header, and one other end to go to.
    pub fn is_layer3(&self) -> bool {
        self.framing == Framing::None
    }

    /// The largest packet that fits a frame of this link: by the kernel's count one tag is beside
    /// the MTU (`VLAN_HLEN` in `xdp_ok_fwd_dev` and `is_skb_forwardable`), a second one is part of
    /// it.
    pub fn mtu_behind(&self, key: LinkKey) -> u32 {
        const TAG: u32 = 4;
        if key.outer == 0 {
            self.mtu
        } else {
            self.mtu.saturating_sub(TAG)
        }
    }
}

/// What sort of interface a [`Link`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// An end of a veth pair.
    Veth,
    /// A tap: Ethernet frames to and from a process, usually a virtual machine.
    Tap,
    /// A tun: IP packets without Ethernet to and from a process.
    Tun,
    /// An Ethernet interface of a device driver: a NIC, a virtual function, virtio.
    Physical,
    /// The loopback interface.
    Loopback,
    /// Any other kind, by the kernel's word for it (`bridge`, `bond`, `vlan`, …).
    Other(String),
}

/// The XDP features of an interface: the bits of the kernel's `enum netdev_xdp_act`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct XdpFeatures(pub u64);

/// Why the kernel's routing does not say by itself which router is next through an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Rules look at packets to choose between these routers, each of a table's default route.
    Routers(Vec<(u32, IpAddr)>),
    /// The routes of this table are for a half of all addresses, or lead to another router for each
    /// half.
    Halves(u32),
}

/// A default route, or what stands for one: one of its next hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The index of the interface that it leaves through.
    pub interface: u32,
    /// Whose default route it is. The gateway may be of the other family (RFC 8950).
    pub family: Family,
    /// The kernel prefers the lowest.
    pub metric: u32,
    /// The router; `None`: every destination is on the link.
    pub gateway: Option<IpAddr>,
}

/// An address family of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// An entry of the kernel's ARP or ND table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its Ethernet address, once known.
    pub mac: Option<[u8; 6]>,
    /// Whether the kernel itself would send to `mac` (reachable, stale and under probe, permanent).
    pub usable: bool,
    /// Whether an operator made the entry permanent: nobody else may touch it.
    pub permanent: bool,
    /// Whether somebody told the kernel to keep it resolved, and who.
    pub managed: Option<Manager>,
}

/// On whose behalf the kernel keeps a neighbour resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// This program, in this or an earlier run.
    Us,
    /// Another program or the operator.
    Other,
}

impl HostFacts {
    /// The interface of that name, or that alternative name, with its index.
    pub fn link_named(&self, name: &str) -> Option<(u32, &Link)> {
        let of_altname = || {
            let index = self.altnames.get(name)?;
            Some((*index, self.links.get(index)?))
        };
        self.links
            .iter()
            .find(|(_, link)| link.name == name)
            .map(|(index, link)| (*index, link))
            .or_else(of_altname)
    }

    /// The indexes of all interfaces by their names and alternative names, for who looks up many.
    pub fn indexes_by_name(&self) -> HashMap<&str, u32> {
        let altnames = self.altnames.iter();
        let altnames = altnames.map(|(name, index)| (name.as_str(), *index));
        let names = self.links.iter();
        let names = names.map(|(index, link)| (link.name.as_str(), *index));
        altnames.chain(names).collect()
    }

    /// The index of the interface of that name, or that alternative name.
    pub fn index_of(&self, name: &str) -> Option<u32> {
        self.link_named(name).map(|(index, _)| index)
    }

    /// All names of the interface, the alternative ones last.
    pub fn names_of(&self, index: u32) -> Vec<String> {
        let own = self.links.get(&index).map(|link| link.name.clone());
        let others = self.altnames.iter().filter(|(_, other)| **other == index);
        own.into_iter()
            .chain(others.map(|(name, _)| name.clone()))
            .collect()
    }

    /// Whether that is a name of the interface.
    pub fn is_named(&self, index: u32, name: &str) -> bool {
        let link = self.links.get(&index);
        link.is_some_and(|link| link.name == name) || self.altnames.get(name) == Some(&index)
    }

    /// The interface that carries the kernel's own traffic of a VLAN on `interface`: the VLAN
    /// interface upon it, or the interface itself without one. Its addresses, routes and neighbours
    /// are those of that VLAN.
    pub fn vlan_interface(&self, interface: u32, vlan: Option<Vlan>) -> Option<u32> {
        let Some(vlan) = vlan else {
            return Some(interface);
        };
        let upon = |interface, tag| {
            let mut links = self.links.iter();
            links
                .find(|(_, link)| link.vlan == Some((interface, tag)))
                .map(|(index, _)| *index)
        };
        let interface = match vlan.outer {
            None => interface,
            Some(outer) => upon(interface, VlanTag::Service(outer))?,
        };
        upon(interface, VlanTag::Customer(vlan.id))
    }

    /// The VLAN that an interface is for, and the interface below that carries its frames.
    pub fn vlan_of(&self, interface: u32) -> Option<(u32, Vlan)> {
        let (lower, VlanTag::Customer(id)) = self.links.get(&interface)?.vlan? else {
            return None;
        };
        match self.links.get(&lower)?.vlan {
            Some((lowest, VlanTag::Service(outer))) => Some((lowest, Vlan::within(outer, id))),
            _ => Some((lower, Vlan::of(id))),
        }
    }

    /// Where packets of `family` that leave through `uplink` go next: the configured next hop, else
    /// the gateway of the default route through that interface with the lowest metric. Either may
    /// be of the other family (RFC 8950).
    pub fn next_hop(
        &self,
        uplink: u32,
        configured: Option<IpAddr>,
        family: Family,
    ) -> Option<IpAddr> {
        configured.or_else(|| self.default_route(uplink, family)?.gateway)
    }

    /// The default route through an interface with the lowest metric.
    pub fn default_route(&self, interface: u32, family: Family) -> Option<&Route> {
        let routes = self.routes.iter();
        routes
            .filter(|route| route.interface == interface && route.family == family)
            .min_by_key(|route| route.metric)
    }

    /// The Ethernet address of a neighbour that packets may be sent to now: never a group's, which
    /// others would read, too.
    pub fn mac_of(&self, interface: u32, address: IpAddr) -> Option<[u8; 6]> {
        self.offered_mac(interface, address)
            .filter(|mac| !is_group(*mac))
    }

    /// The group address that the neighbour table has in place of a neighbour's own: the kernel
    /// would send to it.
    pub fn group_mac_of(&self, interface: u32, address: IpAddr) -> Option<[u8; 6]> {
        self.offered_mac(interface, address)
            .filter(|mac| is_group(*mac))
    }

    /// What the neighbour table has, whatever it is.
    pub fn offered_mac(&self, interface: u32, address: IpAddr) -> Option<[u8; 6]> {
        self.neighbours
            .get(&(interface, address))
            .filter(|neighbour| neighbour.usable)
            .and_then(|neighbour| neighbour.mac)
    }

    /// The addresses of one interface, in order.
    pub fn addresses_of(&self, interface: u32) -> impl Iterator<Item = IpNet> + '_ {
        self.addresses
            .iter()
            .filter(move |(index, _)| *index == interface)
            .map(|(_, address)| *address)
    }

    /// The first address of an interface that others on the Internet can answer to: neither
    /// loopback nor link-local nor unique-local.
    pub fn first_global(&self, interface: u32, family: Family) -> Option<IpAddr> {
        self.addresses_of(interface)
            .map(|net| net.addr())
            .find(|address| Family::of(*address) == family && is_global(*address))
    }

    /// The address of any interface that others can answer to: one of the Internet if there is one,
    /// then one of a loopback interface, which the kernel prefers as well.
    pub fn any_global(&self, family: Family) -> Option<IpAddr> {
        let is_loopback = |index: &u32| {
            let link = self.links.get(index);
            link.is_some_and(|link| link.kind == LinkKind::Loopback)
        };
        let addresses = self
            .addresses
            .iter()
            .map(|(index, net)| (index, net.addr()));
        addresses
            .filter(|(_, address)| Family::of(*address) == family && is_global(*address))
            .min_by_key(|(index, address)| (is_private(*address), !is_loopback(index)))
            .map(|(_, address)| address)
    }

    /// Whether the host itself uses VLANs of the interface: it has interfaces for them, or a bridge
    /// has the interface.
    pub fn uses_vlans_of(&self, interface: u32) -> bool {
        let mut links = self.links.values();
        let master = || self.links.get(&self.links.get(&interface)?.master?);
        links.any(|link| link.vlan.is_some_and(|(lower, _)| lower == interface))
            || master().is_some_and(|master| master.kind.is_bridge())
    }

    /// Every address that this host itself has.
    pub fn host_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().map(|(_, net)| net.addr())
    }
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback() && !v6.is_unique_local(),
    }
}

fn is_private(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_private())
}

/// Whether an address is link-local: every link's own, and of every interface.
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Whether it is a multicast or broadcast address.
fn is_group(mac: [u8; 6]) -> bool {
    mac[0] & 1 == 1
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The address that stands for none: all zeroes.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Routers(routers) => {
                f.write_str("rules (`ip rule`) choose between ")?;
                for (place, (table, router)) in routers.iter().enumerate() {
                    let gap = if place == 0 { "" } else { " and " };
                    write!(f, "{gap}the next hop {router} of table {table}")?;
                }
                Ok(())
            }
            Self::Halves(table) => write!(
                f,
                "the routes of table {table} lead a half of all addresses elsewhere than the other"
            ),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

impl LinkKind {
    /// Whether it is a bridge.
    pub fn is_bridge(&self) -> bool {
        matches!(self, Self::Other(kind) if kind == "bridge")
    }

    /// Whether it is one link made of several.
    pub fn is_bond(&self) -> bool {
        matches!(self, Self::Other(kind) if kind == "bond" || kind == "team")
    }

    /// Whether frames that it delivers come from a local network stack (and may carry partial
    /// checksums and GSO) and not off a wire.
    pub fn is_virtual_port(&self) -> bool {
        matches!(self, Self::Veth | Self::Tap)
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Veth => "veth",
            Self::Tap => "tap",
            Self::Tun => "tun",
            Self::Physical => "ethernet",
            Self::Loopback => "loopback",
            Self::Other(kind) => kind,
        })
    }
}

impl XdpFeatures {
    const NAMES: [&str; 7] = [
        "basic",
        "redirect",
        "ndo-xmit",
        "xsk-zerocopy",
        "hw-offload",
        "rx-sg",
        "ndo-xmit-sg",
    ];

    /// A driver that runs programs and lets them redirect, and takes no frames from others.
    pub(super) const RECEIVES: Self = Self(0b11);

    /// The driver runs XDP programs natively: pass, drop, transmit, abort.
    pub fn basic(self) -> bool {
        self.bit(0)
    }

    /// A program may redirect frames that it receives here.
    pub fn redirect(self) -> bool {
        self.bit(1)
    }

    /// Frames redirected to this interface are sent. For a veth this comes and goes with its peer
    /// (GRO, or an XDP program there).
    pub fn ndo_xmit(self) -> bool {
        self.bit(2)
    }

    /// The driver receives frames of several buffers (large MTUs) when the program takes them.
    pub fn rx_sg(self) -> bool {
        self.bit(5)
    }

    /// Redirected frames of several buffers are sent too.
    pub fn ndo_xmit_sg(self) -> bool {
        self.bit(6)
    }

    fn bit(self, number: u32) -> bool {
        self.0 >> number & 1 == 1
    }
}

impl fmt::Display for XdpFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (number, name) in (0..).zip(Self::NAMES) {
            if self.bit(number) {
                let gap = if first { "" } else { " " };
                write!(f, "{gap}{name}")?;
                first = false;
            }
        }
        if first {
            f.write_str("none")?;
        }
        Ok(())
    }
}

impl fmt::Debug for XdpFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XdpFeatures({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(interface: u32, metric: u32, gateway: Option<&str>, family: Family) -> Route {
        Route {
            interface,
            family,
            metric,
            gateway: gateway.map(|text| text.parse().unwrap()),
        }
    }

    #[test]
    fn the_next_hop_is_the_configured_one_else_the_best_default_route_of_the_interface() {
        let facts = HostFacts {
            routes: vec![
                route(1, 10, Some("192.0.2.9"), Family::V4),
                route(2, 50, Some("198.51.100.5"), Family::V4),
                route(2, 20, Some("198.51.100.2"), Family::V4),
                route(2, 0, Some("fe80::1"), Family::V6),
                route(3, 0, None, Family::V4),
            ],
            ..HostFacts::default()
        };
        let v4 = |index, configured: Option<&str>| {
            facts
                .next_hop(index, configured.map(|a| a.parse().unwrap()), Family::V4)
                .map(|a| a.to_string())
        };
        assert_eq!(v4(2, None).as_deref(), Some("198.51.100.2"));
        assert_eq!(
            v4(2, Some("198.51.100.77")).as_deref(),
            Some("198.51.100.77")
        );
        assert_eq!(v4(2, Some("fe80::7")).as_deref(), Some("fe80::7"));
        assert_eq!(v4(3, None), None, "an on-link default route has no router");
        assert_eq!(v4(4, None), None);
        assert_eq!(
            facts.next_hop(2, None, Family::V6),
            Some("fe80::1".parse().unwrap())
        );
    }

    #[test]
    fn only_usable_neighbours_have_an_address_to_send_to() {
        let mac = Some([2, 0, 0, 0, 0, 1]);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let mut facts = HostFacts::default();
        let mut neighbour = Neighbour {
            mac,
            usable: true,
            permanent: false,
            managed: None,
        };
        facts.neighbours.insert((1, address), neighbour);
        assert_eq!(facts.mac_of(1, address), mac);
        assert_eq!(facts.mac_of(2, address), None);
        for group in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
            neighbour.mac = Some(group);
            facts.neighbours.insert((1, address), neighbour);
            assert_eq!(facts.mac_of(1, address), None, "others would read it, too");
            assert_eq!(facts.group_mac_of(1, address), Some(group));
        }
        neighbour.mac = mac;
        neighbour.usable = false;
        facts.neighbours.insert((1, address), neighbour);
        assert_eq!(facts.mac_of(1, address), None);
    }

    #[test]
    fn features_are_written_out() {
        assert_eq!(
            XdpFeatures(0b110_0111).to_string(),
            "basic redirect ndo-xmit rx-sg ndo-xmit-sg"
        );
        assert_eq!(XdpFeatures(0).to_string(), "none");
        assert!(XdpFeatures(4).ndo_xmit() && !XdpFeatures(4).basic());
    }
}
