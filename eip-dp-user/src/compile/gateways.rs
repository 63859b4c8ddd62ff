//! Which guests have to learn by which Ethernet address they reach their gateway: those on a port
//! that ENIs come to, whose Ethernet address is another one, or whose VPC got another router.

use std::{collections::BTreeSet, net::IpAddr};

use eip_dp_common::abi::{Cidr, EipMode, LinkKey, MAX_CIDRS, MacKey, Port, PortRole};

use super::{Address, Content};
use crate::{
    guests::{Client, LeaseTable, dhcp4::Router},
    plan::both,
};

/// Where a gateway is: the port, the port's Ethernet address, and the gateway's address.
pub type Gateway = (LinkKey, [u8; 6], IpAddr);

/// The guests that may know another place of their gateway, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unaware {
    /// Ports that ENIs came to: they have to learn of their VPC's routers.
    reached: BTreeSet<LinkKey>,
    /// Ports with another Ethernet address: all guests there have to learn it.
    changed: BTreeSet<LinkKey>,
    /// VPCs with another router, by index.
    vpcs: BTreeSet<u32>,
    /// EIPs in cut-through mode that are delivered somewhere else.
    moved: BTreeSet<[u8; 4]>,
    /// Interfaces whose link came up.
    pub interfaces: BTreeSet<u32>,
    /// Ports that are no more, or are another VPC's: nobody there is to be told of the gateways
    /// that were there.
    pub left: BTreeSet<LinkKey>,
}

impl Unaware {
    /// Who they are when `old` becomes `new`, as a whole or the elements that are touched, by which
    /// these EIPs move.
    pub fn between(old: &Content, new: &Content, moved: &[IpAddr]) -> Self {
        let mut unaware = Self::default();
        let is_enis = |port: &&Port| port.role == PortRole::Enis as u32;
        for (key, new, old) in both(&new.ports, &old.ports) {
            match (new.filter(is_enis), old.filter(is_enis)) {
                (Some(new), Some(old)) if new.vpc != old.vpc => {
                    unaware.left.insert(*key);
                    unaware.reached.insert(*key);
                }
                (Some(new), Some(old)) if new.mac != old.mac => {
                    unaware.changed.insert(*key);
                }
                (None, Some(_)) => {
                    unaware.left.insert(*key);
                }
                // With a new port there are new ENIs.
                _ => {}
            }
        }
        let mut last = None;
        for (mac, new, old) in both(&new.macs, &old.macs) {
            if new.is_none() || new == old {
                continue;
            }
            // Those of a port follow each other, and may be many.
            let key = LinkKey::stacked(mac.ifindex, mac.outer, mac.vlan);
            if last.replace(key) != Some(key) {
                unaware.reached.insert(key);
            }
        }
        unaware.of_family::<[u8; 4]>(old, new);
        unaware.of_family::<[u8; 16]>(old, new);
        let moved = moved.iter().filter_map(|eip| <[u8; 4]>::of(*eip));
        unaware.moved = moved.filter(|eip| is_cut_through(new, *eip)).collect();
        unaware
    }

    fn of_family<A: Address>(&mut self, old: &Content, new: &Content) {
        let cidrs = both(&A::part(new).cidrs, &A::part(old).cidrs);
        let changed = cidrs.filter(|(_, new, old)| new.is_some() && new != old);
        let vpcs = changed.map(|(index, _, _)| index / MAX_CIDRS);
        // All who are in a new VPC are new on their ports.
        self.vpcs
            .extend(vpcs.filter(|vpc| old.vpcs.contains_key(vpc)));
    }

    /// These and others.
    pub fn extend(&mut self, others: Self) {
        self.reached.extend(others.reached);
        self.changed.extend(others.changed);
        self.vpcs.extend(others.vpcs);
        self.moved.extend(others.moved);
        self.interfaces.extend(others.interfaces);
        self.left.extend(others.left);
    }

    /// What they have to be told, when that is what the maps hold and the directory says.
    pub fn gateways(&self, content: &Content, directory: &LeaseTable) -> BTreeSet<Gateway> {
        let mut told = BTreeSet::new();
        let mut ports: BTreeSet<LinkKey> = self.reached.union(&self.changed).copied().collect();
        // Seldom, and the ports are some thousands at most.
        if !self.vpcs.is_empty() || !self.interfaces.is_empty() {
            let is_meant = |(key, port): &(&LinkKey, &Port)| {
                self.vpcs.contains(&port.vpc) || self.interfaces.contains(&key.ifindex)
            };
            let meant = content.ports.iter().filter(is_meant);
            ports.extend(meant.map(|(key, _)| *key));
        }
        let is_enis = |port: &&Port| port.role == PortRole::Enis as u32;
        for key in &ports {
            let Some(port) = content.ports.get(key).filter(is_enis) else {
                continue;
            };
            let routers =
                routers::<[u8; 4]>(content, port.vpc).chain(routers::<[u8; 16]>(content, port.vpc));
            told.extend(routers.map(|router| (*key, port.mac, router)));
        }
        // Who is in cut-through mode has another router, and its lease names it.
        let mut tell = |client: Client| {
            if let Some(lease) = directory.leases4.get(&client) {
                let (Router::OnLink(router) | Router::OffLink(router)) = lease.router;
                told.insert((client.port(), lease.port_mac, router.into()));
            }
        };
        for key in &self.changed {
            let macs = MacKey::on(*key, [0; 6])..=MacKey::on(*key, [0xff; 6]);
            let macs = content.macs.range(macs);
            macs.for_each(|(mac, _)| tell(Client::on(*key, mac.mac)));
        }
        for eip in &self.moved {
            let entry = content.v4.eips.get(eip);
            if let Some(target) = entry.and_then(|entry| content.targets.get(&entry.target)) {
                tell(Client::on(LinkKey::of(target), target.dst_mac));
            }
        }
        told
    }
}

fn is_cut_through(content: &Content, eip: [u8; 4]) -> bool {
    let entry = content.v4.eips.get(&eip);
    entry.is_some_and(|entry| entry.mode == EipMode::CutThrough as u8)
}

/// The routers of a VPC.
fn routers<A: Address>(content: &Content, vpc: u32) -> impl Iterator<Item = IpAddr> {
    let cidrs = (0..MAX_CIDRS).filter_map(move |place| {
        let index = Cidr::<A>::index(vpc, place);
        A::part(content).cidrs.get(&index)
    });
    cidrs.map(|cidr| cidr.gateway.ip())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            testing::{
                add_eip, associate, attached, config, eip_address, eni, host, private6, table,
            },
            *,
        },
        *,
    };
    use crate::{
        kernel::fake::Fake,
        model::{
            Vlan,
            objects::{Mode, PoolGateway},
        },
        reconcile::Reconciler,
    };

    /// A table on a host, and what guests are told when either changes.
    struct World {
        model: Model,
        facts: HostFacts,
        reconciler: Reconciler<Fake>,
    }

    impl World {
        /// ENI `e0` on `p1`, `e1` on its VLAN 7, `e2` of the other VPC on `p2`.
        fn new() -> Self {
            let mut model = table();
            let mut tagged = attached(eni("e1", "v0", 2, &[[10, 0, 0, 11]]), "i0", "p1");
            tagged.vlan = Some(Vlan::of(7));
            for eni in [
                attached(
                    eni(
                        "e0",
                        "v0",
                        1,
                        &[IpAddr::from([10, 0, 0, 10]), private6(10).into()],
                    ),
                    "i0",
                    "p1",
                ),
                tagged,
                attached(eni("e2", "v1", 3, &[[10, 0, 0, 10]]), "i1", "p2"),
            ] {
                model.enis.insert(eni.id.clone(), eni);
            }
            Self {
                model,
                facts: host(),
                reconciler: Reconciler::adopt(Fake::default()).expect("a fake"),
            }
        }

        fn told_of(&self, step: &crate::reconcile::Step) -> Vec<String> {
            let (have, served) = (self.reconciler.have(), self.reconciler.served());
            let gateways = step.unaware.gateways(&have.content, &served.directory);
            let text = |(key, mac, address): Gateway| {
                assert_eq!(mac, self.facts.links[&key.ifindex].mac);
                format!("{}.{} {address}", key.ifindex, key.vlan)
            };
            gateways.into_iter().map(text).collect()
        }

        fn step(&mut self) -> Vec<String> {
            let step = self.reconciler.step(&self.model, &self.facts, &config(""));
            self.told_of(&step)
        }
    }

    #[test]
    fn guests_learn_of_their_vpcs_gateways_when_they_come_and_when_the_port_changes() {
        let mut world = World::new();
        let all = [
            "11.0 10.0.0.1",
            "11.0 fd00::1",
            "11.7 10.0.0.1",
            "11.7 fd00::1",
            "12.0 10.0.0.1",
            "12.0 fd00::1",
        ];
        assert_eq!(world.step(), all);
        assert_eq!(world.step(), [""; 0], "nothing changed");
        // Another daemon takes over what stands there.
        let plane = std::mem::take(&mut world.reconciler.plane);
        world.reconciler = Reconciler::adopt(plane).expect("a fake");
        assert_eq!(world.step(), [""; 0], "nothing changed for the guests");

        world.facts.links.get_mut(&11).expect("there").mac = [2, 0xaa, 0, 0, 9, 9];
        assert_eq!(world.step(), all[..4]);
        world.model.vpcs.get_mut("v1").expect("there").gateway = Some([10, 0, 0, 254].into());
        assert_eq!(world.step(), ["12.0 10.0.0.254", "12.0 fd00::1"]);
    }

    #[test]
    fn an_eni_that_moves_learns_of_its_gateway_where_it_is() {
        let mut world = World::new();
        world.step();
        let before = world.model.enis["e1"].clone();
        let mut after = before.clone();
        (after.port, after.vlan) = (Some("p3".to_owned()), None);
        let change = crate::model::Change::Eni(crate::model::Diff {
            before: Some(before),
            after: Some(after),
        });
        let step = world
            .reconciler
            .follow(&mut world.model, &[change], &world.facts, &config(""));
        let step = step.expect("it is followed");
        assert_eq!(world.told_of(&step), ["13.0 10.0.0.1", "13.0 fd00::1"]);
        assert_eq!(step.unaware.left, BTreeSet::from([LinkKey::tagged(11, 7)]));
    }

    #[test]
    fn who_is_in_cut_through_mode_learns_of_the_router_of_its_lease() {
        for (gateway, router) in [
            (None, "203.0.113.1"),
            (Some(PoolGateway::None), "169.254.1.1"),
        ] {
            let mut world = World::new();
            for pool in world.model.pools.values_mut() {
                pool.gateway = gateway;
            }
            world.step();
            add_eip(&mut world.model, 0);
            associate(&mut world.model, 0, "e2", [10, 0, 0, 10], Mode::CutThrough);
            assert_eq!(
                world.step(),
                [format!("12.0 {router}")],
                "{}",
                eip_address(0)
            );
            world.facts.links.get_mut(&12).expect("there").mac = [2, 0xaa, 0, 0, 9, 9];
            let told = world.step();
            assert!(told.contains(&format!("12.0 {router}")), "{told:?}");
        }
    }

    #[test]
    fn a_link_that_comes_up_has_its_guests_told() {
        let mut world = World::new();
        world.step();
        let mut step = world
            .reconciler
            .step(&world.model, &world.facts, &config(""));
        step.unaware.interfaces.insert(12);
        assert_eq!(world.told_of(&step), ["12.0 10.0.0.1", "12.0 fd00::1"]);
    }
}
