//! On which uplinks ARP and neighbour discovery are answered for an EIP, and where it is announced.

use std::{collections::BTreeSet, net::IpAddr};

use eip_dp_common::abi::{Checksummed as _, EipMode, LinkKey, UplinkFlags};
use ipnet::IpNet;

use super::{Address, Content, uplinks::next_hops, ways};
use crate::{
    config::{self, Config},
    host::{HostFacts, is_link_local},
    model::Model,
    plan::both,
};

/// An uplink on which EIPs are answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mouth {
    /// Its name.
    pub name: String,
    /// Which bit of the words in the map `ANSWERS` it has.
    pub bit: u64,
    /// The interface, and the VLAN on it.
    pub key: LinkKey,
    /// The interface whose neighbours are the uplink's; `None`: nothing of its link is known.
    pub home: Option<u32>,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Whether packets can be sent.
    pub is_up: bool,
    /// The networks on its link.
    networks: Vec<IpNet>,
    /// The pools on its link in which it has a next hop or an address, though its own network may
    /// be smaller.
    pools: Vec<IpNet>,
}

/// All of them, in the configuration's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mouths(Vec<Mouth>);

/// Pairs of interfaces that were found to be on one link.
pub type SameLink = BTreeSet<(u32, u32)>;

/// Where an EIP is answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot<'a> {
    /// On no uplink that is up.
    Nowhere,
    /// On this one alone, on whose link others may have the address.
    On(&'a Mouth),
    /// On all whose bits are set: the address is of no network on any link, so that nobody there
    /// has it.
    Around(u64),
}

/// The number of an uplink, see [`eip_dp_common::abi::Uplink::number`].
pub fn number_of(config: &Config, uplink: &config::Uplink) -> usize {
    let mut uplinks = config.uplinks.iter();
    let place = uplinks.position(|one| std::ptr::eq(one, uplink));
    place.unwrap_or(usize::MAX)
}

impl Mouths {
    /// The uplinks that answer.
    pub fn new(model: &Model, facts: &HostFacts, config: &Config) -> Self {
        let mouths = ways(config, facts).filter(|way| way.uplink.answer_arp);
        // Without Ethernet nobody asks.
        let mouths = mouths.filter(|way| way.link.mac != [0; 6]);
        let mouths = mouths.map(|way| {
            let home = way.home.map(|(home, _)| home);
            let addresses = || home.into_iter().flat_map(|home| facts.addresses_of(home));
            let networks = addresses().map(|net| net.trunc());
            let hops = next_hops(config, facts)
                .filter(|(other, _)| other.key == way.key)
                .map(|(_, (_, address))| address);
            let known: Vec<IpAddr> = addresses().map(|net| net.addr()).chain(hops).collect();
            let number = number_of(config, way.uplink);
            let flags = UplinkFlags::numbered(number);
            let record = eip_dp_common::abi::Uplink {
                flags,
                ..eip_dp_common::abi::Uplink::zeroed()
            };
            Mouth {
                name: way.name(),
                bit: 1 << record.number(),
                key: way.key,
                home,
                mac: way.mac(),
                is_up: way.is_up(),
                networks: networks.filter(|net| !is_link_local(net.addr())).collect(),
                pools: model
                    .pools
                    .keys()
                    .filter(|pool| known.iter().any(|address| pool.contains(address)))
                    .copied()
                    .collect(),
            }
        });
        Self(mouths.collect())
    }

    /// All of them.
    pub fn all(&self) -> &[Mouth] {
        &self.0
    }

    /// Those that are up, by what neighbours know of them.
    pub fn announcing(&self) -> Vec<(LinkKey, [u8; 6])> {
        let up = self.0.iter().filter(|mouth| mouth.is_up);
        up.map(|mouth| (mouth.key, mouth.mac)).collect()
    }

    /// Those with these bits.
    pub fn with(&self, bits: u64) -> impl Iterator<Item = &Mouth> {
        self.0
            .iter()
            .filter(move |mouth| mouth.is_up && mouth.bit & bits != 0)
    }

    /// Where an EIP is answered for: of uplinks on one link the first that is up does it.
    pub fn spot(&self, address: IpAddr, same_link: &SameLink) -> Spot<'_> {
        let has = |mouth: &&Mouth| {
            let mut networks = mouth.networks.iter().chain(&mouth.pools);
            networks.any(|net| net.contains(&address))
        };
        if let Some(mouth) = self.0.iter().filter(|mouth| mouth.is_up).find(has) {
            return Spot::On(mouth);
        }
        if self.0.iter().any(|mouth| has(&mouth)) {
            return Spot::Nowhere;
        }
        let mut leaders: Vec<&Mouth> = Vec::new();
        for mouth in self.0.iter().filter(|mouth| mouth.is_up) {
            if !leaders.iter().any(|other| other.is_with(mouth, same_link)) {
                leaders.push(mouth);
            }
        }
        match leaders.iter().fold(0, |bits, mouth| bits | mouth.bit) {
            0 => Spot::Nowhere,
            bits => Spot::Around(bits),
        }
    }
}

impl Mouth {
    /// Whether it is on the link of the other.
    fn is_with(&self, other: &Self, same_link: &SameLink) -> bool {
        let share = |one: &IpNet| {
            let mut others = other.networks.iter();
            others.any(|two| one.contains(two) || two.contains(one))
        };
        let heard = match (self.home, other.home) {
            (Some(one), Some(two)) => {
                same_link.contains(&(one, two)) || same_link.contains(&(two, one))
            }
            _ => false,
        };
        heard || self.networks.iter().any(share)
    }
}

/// The EIPs that get an association when `old` becomes `new`, and those that lose it, in order.
pub fn begun_and_ended(old: &Content, new: &Content) -> (Vec<IpAddr>, Vec<IpAddr>) {
    let mut found = (Vec::new(), Vec::new());
    compare::<[u8; 4]>(old, new, &mut found);
    compare::<[u8; 16]>(old, new, &mut found);
    found
}

fn compare<A: Address>(
    old: &Content,
    new: &Content,
    (begun, ended): &mut (Vec<IpAddr>, Vec<IpAddr>),
) {
    let is_associated = |mode: u8| mode != EipMode::Unassociated as u8;
    for (address, new, old) in both(&A::part(new).eips, &A::part(old).eips) {
        match [old, new].map(|eip| eip.is_some_and(|eip| is_associated(eip.mode))) {
            [false, true] => begun.push(address.ip()),
            [true, false] => ended.push(address.ip()),
            [false, false] | [true, true] => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mouth(number: u32, networks: &[&str]) -> Mouth {
        Mouth {
            name: format!("up{number}"),
            bit: 1 << number,
            key: LinkKey::untagged(10 + number),
            home: Some(10 + number),
            mac: [2, 0, 0, 0, 0, 1],
            is_up: true,
            networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
            pools: Vec::new(),
        }
    }

    fn spot(mouths: &Mouths, address: &str, same_link: &SameLink) -> (char, u64) {
        match mouths.spot(address.parse().unwrap(), same_link) {
            Spot::Nowhere => ('-', 0),
            Spot::On(mouth) => ('1', mouth.bit),
            Spot::Around(bits) => ('*', bits),
        }
    }

    #[test]
    fn of_uplinks_on_one_link_the_first_that_is_up_answers() {
        let lan = ["203.0.113.0/24", "2001:db8::/64"];
        let mut mouths = Mouths(vec![
            mouth(0, &["198.51.100.0/24"]),
            mouth(1, &lan),
            mouth(2, &lan),
        ]);
        let none = SameLink::new();
        for eip in ["203.0.113.9", "2001:db8::9"] {
            assert_eq!(spot(&mouths, eip, &none), ('1', 2), "{eip}");
        }
        assert_eq!(spot(&mouths, "192.0.2.9", &none), ('*', 3), "routed");
        mouths.0[1].is_up = false;
        assert_eq!(spot(&mouths, "203.0.113.9", &none), ('1', 4));
        assert_eq!(spot(&mouths, "192.0.2.9", &none), ('*', 5));
        mouths.0[2].is_up = false;
        assert_eq!(spot(&mouths, "203.0.113.9", &none), ('-', 0));
        assert_eq!(spot(&mouths, "192.0.2.9", &none), ('*', 1));
        mouths.0[0].is_up = false;
        assert_eq!(spot(&mouths, "192.0.2.9", &none), ('-', 0));
    }

    /// Without addresses there, only what comes in on the one and was sent on the other says so.
    #[test]
    fn uplinks_that_hear_each_other_are_on_one_link() {
        let mouths = Mouths(vec![mouth(0, &[]), mouth(1, &[]), mouth(2, &[])]);
        assert_eq!(spot(&mouths, "192.0.2.9", &SameLink::new()), ('*', 7));
        for pair in [(10, 12), (12, 10)] {
            let same_link = SameLink::from([pair]);
            assert_eq!(spot(&mouths, "192.0.2.9", &same_link), ('*', 3));
        }
    }
}
