//! What of this host's interfaces the host uses itself, so that an ENI there would cut it off.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    sync::OnceLock,
};

use eip_dp_common::abi::LinkKey;

use super::{HostFacts, Link, is_link_local};
use crate::model::{HostPort, Vlan};

/// The uplinks of gateways, as their configurations name them.
pub type Uplinks = BTreeSet<(String, Option<Vlan>)>;

/// The ports that the host uses itself, and what for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPorts(BTreeMap<LinkKey, String>);

impl OwnPorts {
    /// Looks through the host's interfaces. A port is the host's own if that very interface is: the
    /// interface itself for its untagged frames, the one for the VLAN upon it for a VLAN's.
    pub fn new(facts: &HostFacts, uplinks: &Uplinks) -> Self {
        let mut own = Self::default();
        for (index, net) in &facts.addresses {
            // Every interface has a link-local IPv6 address: that says nothing.
            if !is_link_local(net.addr()) {
                own.add_interface(facts, *index, |name| {
                    format!("{name} has the address {}", net.addr())
                });
            }
        }
        for route in &facts.routes {
            own.add_interface(facts, route.interface, |name| {
                format!("a default route leads through {name}")
            });
        }
        for (index, link) in &facts.links {
            if let Some(bridge) = bridge_of(facts, link) {
                let why = |name: &str| format!("{name} is a member of {bridge}");
                own.add_interface(facts, *index, why);
                // A bridge that tells VLANs apart has those of its members, too.
                own.0.insert(LinkKey::any_vlan(*index), why(&link.name));
            }
            // Most hosts have one or two.
            let is_it = |(name, _): &&(String, _)| facts.is_named(*index, name);
            for (_, vlan) in uplinks.iter().filter(is_it) {
                let why = |name: &str| format!("{name} is an uplink");
                if vlan.is_none() {
                    own.add_interface(facts, *index, why);
                } else {
                    let key = Vlan::key(*vlan, *index);
                    own.0.entry(key).or_insert_with(|| why(&link.name));
                }
                // An interface is an uplink or has ports: those of its other VLANs are not served.
                let why = format!("{} is an uplink, and no VLAN of it is a port", link.name);
                own.0.insert(LinkKey::any_vlan(*index), why);
            }
        }
        own
    }

    fn add_interface(&mut self, facts: &HostFacts, index: u32, why: impl Fn(&str) -> String) {
        let Some(link) = facts.links.get(&index) else {
            return;
        };
        let mut add = |key| {
            let entry = self.0.entry(key);
            entry.or_insert_with(|| why(&link.name));
        };
        add(LinkKey::untagged(index));
        if let Some((lower, vlan)) = facts.vlan_of(index) {
            add(Vlan::key(Some(vlan), lower));
        }
    }

    /// What the host uses the port for. `None`: nothing, it is a guest's to have.
    pub fn use_of(&self, key: LinkKey) -> Option<&str> {
        let any = LinkKey::any_vlan(key.ifindex);
        let found = self.0.get(&key).or_else(|| self.0.get(&any));
        found.map(String::as_str)
    }

    /// Whether the host uses the interface itself, or where no guest is behind it a VLAN of it.
    pub fn has(&self, interface: u32, link: &Link) -> bool {
        let mut keys = self
            .0
            .range(LinkKey::untagged(interface)..)
            .map(|(key, _)| key);
        if link.kind.is_virtual_port() {
            return self.0.contains_key(&LinkKey::untagged(interface));
        }
        keys.next().is_some_and(|key| key.ifindex == interface)
    }

    /// All of them by the interfaces' names, for the rules.
    pub fn by_name(&self, facts: &HostFacts) -> Vec<HostPort> {
        let ports = self.0.iter().filter_map(|(key, why)| {
            facts.links.get(&key.ifindex)?;
            Some(HostPort {
                names: facts.names_of(key.ifindex),
                vlan: Vlan::of_key(key.vlan, key.outer),
                any_vlan: *key == LinkKey::any_vlan(key.ifindex),
                why: why.clone(),
            })
        });
        ports.collect()
    }
}

/// The bridge, bond or team that has the interface, if no guest is behind it: a guest's tap may be
/// on a bridge.
fn bridge_of<'a>(facts: &'a HostFacts, link: &Link) -> Option<&'a str> {
    let master = facts.links.get(&link.master?)?;
    let carries = master.kind.is_bridge() || master.kind.is_bond();
    (carries && !link.kind.is_virtual_port()).then_some(master.name.as_str())
}

/// Which interface it is, among all that this machine has had since it started: the boot, the
/// network namespace, the index, and its incarnation, since an index can be asked for again.
pub fn identity_of(interface: u32, link: &Link) -> String {
    static WHERE: OnceLock<String> = OnceLock::new();
    let place = WHERE.get_or_init(|| {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        format!("{}/{}", boot.trim(), namespace())
    });
    match link.incarnation {
        Some(incarnation) => format!("{place}/{interface}/{incarnation}"),
        None => format!("{place}/{interface}"),
    }
}

/// The inode of this process's network namespace, which tells it from others; 0 where /proc is not
/// there to ask.
pub fn namespace() -> u64 {
    fs::metadata("/proc/self/ns/net").map_or(0, |file| file.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compile::testing::{host, link},
        host::{Family, LinkKind, Route, VlanTag},
    };

    fn why(facts: &HostFacts, interface: u32, vlan: Option<u16>) -> Option<String> {
        let own = OwnPorts::new(facts, &Uplinks::new());
        let key = Vlan::key(vlan.map(Vlan::of), interface);
        own.use_of(key).map(str::to_owned)
    }

    /// p0 (a NIC, 10) with p0.20 (50).
    fn with_vlan() -> HostFacts {
        let mut facts = host();
        facts.addresses.retain(|(index, _)| *index != 10);
        let mut vlan = link("p0.20", 50, LinkKind::Other("vlan".to_owned()));
        vlan.vlan = Some((10, VlanTag::Customer(20)));
        facts.links.insert(50, vlan);
        facts
    }

    #[test]
    fn an_address_makes_that_very_interface_the_hosts() {
        let mut facts = with_vlan();
        assert_eq!(why(&facts, 10, None), None);
        assert_eq!(why(&facts, 10, Some(20)), None);
        let given = |facts: &mut HostFacts, index, net: &str| {
            facts.addresses.push((index, net.parse().expect("a net")));
        };
        given(&mut facts, 10, "fe80::1/64");
        given(&mut facts, 10, "169.254.1.1/16");
        assert_eq!(why(&facts, 10, None), None);
        given(&mut facts, 50, "198.51.100.9/24");
        let said = why(&facts, 10, Some(20)).expect("the host's");
        assert!(said.contains("p0.20") && said.contains("198.51.100.9"));
        assert_eq!(why(&facts, 10, None), None);
        let own = OwnPorts::new(&facts, &Uplinks::new());
        assert!(own.has(10, &facts.links[&10]));
        given(&mut facts, 10, "2001:db8::9/64");
        assert!(why(&facts, 10, None).is_some());
        assert_eq!(why(&facts, 10, Some(21)), None);
        let ports = OwnPorts::new(&facts, &Uplinks::new()).by_name(&facts);
        let p0 = ports.iter().filter(|port| port.names == ["p0"]);
        let vlans: Vec<_> = p0.map(|port| port.vlan).collect();
        assert_eq!(vlans, [None, Some(Vlan::of(20))]);
    }

    #[test]
    fn routes_bridges_and_uplinks_make_it_the_hosts() {
        let mut facts = with_vlan();
        facts.routes.push(Route {
            interface: 50,
            family: Family::V6,
            metric: 0,
            gateway: None,
        });
        assert!(why(&facts, 10, Some(20)).is_some());
        assert_eq!(why(&facts, 10, None), None);

        let mut facts = with_vlan();
        let bridge = link("br0", 60, LinkKind::Other("bridge".to_owned()));
        facts.links.insert(60, bridge);
        for index in [10, 11] {
            facts.links.get_mut(&index).expect("there").master = Some(60);
        }
        assert!(why(&facts, 10, None).is_some());
        assert!(why(&facts, 10, Some(5)).is_some());
        assert_eq!(why(&facts, 11, None), None, "a guest's veth");

        let facts = with_vlan();
        let uplinks = Uplinks::from([("p0".to_owned(), Some(Vlan::of(20)))]);
        let own = OwnPorts::new(&facts, &uplinks);
        assert!(own.use_of(LinkKey::tagged(10, 20)).is_some());
        for other in [LinkKey::untagged(10), LinkKey::tagged(10, 7)] {
            let said = own.use_of(other).expect("never served");
            assert!(said.contains("is an uplink"), "{said}");
        }
        assert_eq!(own.use_of(LinkKey::untagged(11)), None);
        let upon = Uplinks::from([("p0.20".to_owned(), None)]);
        let own = OwnPorts::new(&facts, &upon);
        assert!(own.use_of(LinkKey::tagged(10, 20)).is_some());
        assert_eq!(own.use_of(LinkKey::tagged(10, 21)), None);
    }
}
