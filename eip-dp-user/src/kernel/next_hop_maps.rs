//! Targets, and the interfaces behind which they are: `NEXT_HOPS`, `OWNERS`, `LINKS` and `INGRESS`.

use std::collections::{BTreeMap, HashMap};

use eip_dp_common::abi::{
    Checksummed, FIRST_ENI_TARGET, Ingress, LINKS, Link, LinkKey, NONE, NextHop, Owner, Port,
    PortRole, Target, TargetFlags, Uplink, UplinkFlags,
};

use super::{cuckoo::Pool, eips_by_target::TargetsByNextHop, mapped::Mapped};

/// The maps.
pub(super) struct NextHopMaps {
    pub(super) words: Mapped<u64>,
    pub(super) owners: Mapped<Owner>,
    pub(super) links: Mapped<Link>,
    pub(super) ingress: Mapped<u64>,
    writer: Writer,
}

/// What the writer knows of them.
#[derive(Debug)]
struct Writer {
    pool: Pool,
    by_content: HashMap<Link, u32>,
    /// The link that an interface's ENIs have, of those that were written last.
    of_ports: HashMap<u32, u32>,
    /// The untagged ports and uplinks.
    ports: HashMap<u32, Port>,
}

/// No link is free, or will be after a grace period.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full {
    /// Whether one will be.
    pub(super) waits: bool,
}

impl NextHopMaps {
    /// Takes over what stands there.
    pub(super) fn new(
        words: Mapped<u64>,
        owners: Mapped<Owner>,
        links: Mapped<Link>,
        ingress: Mapped<u64>,
    ) -> Self {
        let end = links.elements().min(LINKS);
        let mut used = Vec::new();
        let mut of_ports = HashMap::new();
        for index in 0..words.elements() {
            let link = NextHop::from_word(words.get(index)).link();
            if link != 0 {
                used.push(link);
                let record = links.get(link);
                if record.vlan == 0 {
                    of_ports.insert(record.ifindex, link);
                }
            }
        }
        for place in 0..ingress.elements() {
            let word = Ingress::from_word(ingress.get(place));
            used.extend(Some(word.link()).filter(|link| *link != 0));
        }
        let by_content = used
            .iter()
            .map(|index| (links.get(*index), *index))
            .collect();
        let pool = Pool::recover(1, end, used);
        Self {
            words,
            owners,
            links,
            ingress,
            writer: Writer {
                pool,
                by_content,
                of_ports,
                ports: HashMap::new(),
            },
        }
    }

    /// Which untagged ports there are already.
    pub(super) fn know_ports(&mut self, ports: &BTreeMap<LinkKey, Port>) {
        let is_enis = |port: &Port| port.role == PortRole::Enis as u32;
        let untagged = ports
            .iter()
            .filter(|(key, port)| key.is_untagged() && is_enis(port));
        self.writer.ports = untagged.map(|(key, port)| (key.ifindex, *port)).collect();
    }

    /// Targets as they stand; an uplink's that leads nowhere is one, too.
    pub(super) fn read(&self) -> BTreeMap<u32, Target> {
        let nowhere = |index: u32| {
            let target = NextHop::default().target(&Link {
                vpc: NONE,
                ..Link::default()
            });
            (index < FIRST_ENI_TARGET).then(|| target.sealed(&index))
        };
        (0..self.words.elements())
            .filter_map(|index| Some((index, self.target(index).or_else(|| nowhere(index))?)))
            .collect()
    }

    /// A target as it stands.
    pub(super) fn target(&self, index: u32) -> Option<Target> {
        let hop = NextHop::from_word(self.words.get(index));
        if hop.link() == 0 {
            return None;
        }
        let Owner { tag, instance } = self.owners.get(index);
        let target = Target {
            tag,
            instance,
            ..hop.target(&self.links.get(hop.link()))
        };
        Some(target.sealed(&index))
    }

    /// Where a target is, as EIPs' entries have it; 0 where they have no room for it.
    pub(super) fn place_of(&self, target: u32) -> u64 {
        NextHop::from_word(self.words.get(target)).fits()
    }

    /// The targets by where they are.
    pub(super) fn whereabouts(&self) -> TargetsByNextHop {
        let targets = FIRST_ENI_TARGET..self.words.elements();
        let places = targets.map(|target| (self.place_of(target), target));
        places.filter(|(place, _)| *place != 0).collect()
    }

    /// An entry says that an ENI is there, and no target is: who moved it ended before the entry
    /// followed. Its link stays as it is, as long as this daemon runs.
    pub(super) fn hold(&mut self, place: u64) {
        self.writer.pool.claim(NextHop::from_word(place).link());
    }

    /// The VPC of a target, [`NONE`] where there is none.
    pub(super) fn vpc_of(&self, target: u32) -> u32 {
        match NextHop::from_word(self.words.get(target)).link() {
            0 => NONE,
            link => self.links.get(link).vpc,
        }
    }

    /// Sets a target, or takes it away. Its owner is written first: with the word it is there.
    pub(super) fn set(&mut self, index: u32, target: Option<&Target>) -> Result<(), Full> {
        let before = NextHop::from_word(self.words.get(index)).link();
        let Some(target) = target.filter(|target| target.ifindex != 0) else {
            self.words.set(index, &0);
            self.owners.set(index, &Owner::default());
            self.give_back(before);
            return Ok(());
        };
        let link = self.link(Link::of(target))?;
        let owner = Owner {
            tag: target.tag,
            instance: target.instance,
        };
        self.owners.set(index, &owner);
        let antispoof = target.flags & TargetFlags::ANTISPOOF_ENI != 0;
        let word = NextHop::new(target.dst_mac, link, antispoof).word();
        self.words.set(index, &word);
        self.give_back(before);
        if target.vlan == 0 && target.vpc != NONE {
            self.writer.of_ports.insert(target.ifindex, link);
            self.take_in(target.ifindex);
        }
        Ok(())
    }

    /// Lets the fast path take frames from a port, or no more.
    pub(super) fn set_port(&mut self, key: LinkKey, port: Option<&Port>) {
        if !key.is_untagged() {
            return;
        }
        // The host's own frames go to the kernel, the fast path knows nothing of them.
        let port = port.filter(|port| port.role == PortRole::Enis as u32);
        match port {
            Some(port) => {
                self.writer.ports.insert(key.ifindex, *port);
            }
            None => {
                self.writer.ports.remove(&key.ifindex);
            }
        }
        self.take_in(key.ifindex);
    }

    /// Likewise from an uplink. Without a free link it goes without the fast path.
    pub(super) fn set_uplink(&mut self, key: LinkKey, uplink: Option<&Uplink>) {
        if !key.is_untagged() {
            return;
        }
        let link = uplink.and_then(|uplink| self.link(ingress_of(key, uplink)).ok());
        self.set_ingress(key.ifindex, link.unwrap_or(0), true);
        // The word is its user now.
        self.give_back(link.unwrap_or(0));
    }

    /// Makes them free, see [`Pool::wake`].
    pub(super) fn end_quarantine(&mut self) {
        self.writer.pool.end_quarantine();
    }

    /// The index of a link, which gets one more user.
    fn link(&mut self, link: Link) -> Result<u32, Full> {
        let Writer {
            pool, by_content, ..
        } = &mut self.writer;
        if let Some(index) = by_content.get(&link) {
            pool.share(*index);
            return Ok(*index);
        }
        let waits = pool.has_quarantined();
        let index = pool.take().ok_or(Full { waits })?;
        self.links.set(index, &link);
        by_content.insert(link, index);
        Ok(index)
    }

    fn give_back(&mut self, index: u32) {
        if index == 0 || !self.writer.pool.give_back(index) {
            return;
        }
        self.writer.by_content.retain(|_, other| *other != index);
        self.writer.of_ports.retain(|_, other| *other != index);
    }

    /// Sets a port's word as the port and its ENIs' link have it.
    fn take_in(&mut self, ifindex: u32) {
        let Writer {
            of_ports, ports, ..
        } = &self.writer;
        let link = of_ports.get(&ifindex).copied();
        let link = link.filter(|link| {
            let record = self.links.get(*link);
            ports
                .get(&ifindex)
                .is_some_and(|port| (port.vpc, port.mac) == (record.vpc, record.mac))
        });
        self.set_ingress(ifindex, link.unwrap_or(0), false);
    }

    /// Sets an interface's word, with `link` 0 none. Another interface's word stays.
    fn set_ingress(&mut self, ifindex: u32, link: u32, is_uplink: bool) {
        let place = Ingress::place(ifindex);
        let before = Ingress::from_word(self.ingress.get(place));
        if before.link() != 0 && before.ifindex() != ifindex {
            return;
        }
        let word = match link {
            0 => Ingress::default(),
            link => Ingress::new(ifindex, link, is_uplink),
        };
        if word == before {
            return;
        }
        if link != 0 {
            self.writer.pool.share(link);
        }
        self.ingress.set(place, &word.word());
        self.give_back(before.link());
    }
}

/// What the fast path has to know of an uplink.
fn ingress_of(key: LinkKey, uplink: &Uplink) -> Link {
    let flags = if uplink.flags & UplinkFlags::DROP_PRIVATE_SOURCES == 0 {
        0
    } else {
        Link::DROP_PRIVATE_SOURCES
    };
    Link {
        ifindex: key.ifindex,
        vpc: NONE,
        mac: uplink.mac,
        flags,
        ..Link::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target's link never has the flag of an uplink's: [`Link::flags`] of the two do not mix.
    #[test]
    fn the_short_way_knows_which_sources_an_uplink_drops() {
        let mut uplink = Uplink::zeroed();
        let key = LinkKey::untagged(7);
        assert_eq!(ingress_of(key, &uplink).flags, 0);
        uplink.flags = UplinkFlags::ANSWER_ARP | UplinkFlags::DROP_PRIVATE_SOURCES;
        uplink.mac = [2, 0, 0, 0, 0, 7];
        let link = ingress_of(key, &uplink);
        assert_eq!(link.flags, Link::DROP_PRIVATE_SOURCES);
        assert_eq!((link.ifindex, link.mac, link.vpc), (7, uplink.mac, NONE));
    }
}
