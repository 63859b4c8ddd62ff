//! Which router the kernel's routing sends to through an interface: rules, tables, and nexthop
//! objects.
//!
//! The kernel looks a packet's destination up in the tables that the rules name, in the rules'
//! order. Here no packet is at hand, but the question is simpler: who is next on the way to the
//! Internet, for packets that leave through this interface? That is told by a default route, by two
//! halves of one, or for IPv6 by a route to all global addresses, in the first table that has it.
//! Where rules that look at the packet lead to different routers, nobody can tell, and [`Doubt`]
//! says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use netlink_packet_route::{
    AddressFamily,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHopFlags, RouteType,
        RouteVia,
    },
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
};

use super::{Doubt, Family, Route};

/// What decides where the kernel sends packets to.
#[derive(Debug, Default)]
pub(super) struct Routing {
    /// The rules of each family, in the order in which the kernel asks them.
    rules: BTreeMap<Family, Vec<Rule>>,
    routes: Vec<TableRoute>,
    objects: BTreeMap<u32, Object>,
}

/// What [`Routing`] adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ways {
    /// The default routes through each interface.
    pub(super) routes: BTreeSet<Route>,
    /// Where that is not clear.
    pub(super) doubts: BTreeMap<(u32, Family), Doubt>,
}

/// An interface, as rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interface<'a> {
    pub(super) name: &'a str,
    /// The VRF that it is in: its name and its table.
    pub(super) vrf: Option<(&'a str, u32)>,
}

/// A nexthop object (`ip nexthop`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Object {
    /// A router, or everything on a link.
    Hop {
        interface: u32,
        gateway: Option<IpAddr>,
    },
    /// Several others, by their ids.
    Group(Vec<u32>),
    /// Nobody is reached there.
    Dead,
}

/// How much of the Internet a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    /// 0.0.0.0/1 or `::/1`.
    Low,
    /// 128.0.0.0/1 or `8000::/1`.
    High,
    /// `2000::/3`, which has all global IPv6 addresses.
    Global,
}

impl Part {
    fn prefix_len(self) -> u32 {
        match self {
            Self::All => 0,
            Self::Low | Self::High => 1,
            Self::Global => 3,
        }
    }
}

/// A route of any table that is for so much of the Internet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TableRoute {
    table: u32,
    family: Family,
    part: Part,
    /// Whether it is for packets with some sources only.
    is_for_some: bool,
    metric: u32,
    hops: Hops,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hops {
    Given(Vec<Hop>),
    Object(u32),
}

/// An interface, and the router there; `None` where every destination is on the link.
type Hop = (u32, Option<IpAddr>);

/// A route by one of its next hops, through the interface that is looked at.
#[derive(Clone, Copy, Debug)]
struct Through<'a> {
    route: &'a TableRoute,
    gateway: Option<IpAddr>,
}

/// A rule (`ip rule`).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    priority: u32,
    action: Action,
    when: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Lookup {
        table: u32,
        /// Routes of that prefix length or a smaller one do not count.
        suppressed: Option<u32>,
    },
    /// Of the VRF that the interface is in.
    LookupVrf {
        suppressed: Option<u32>,
    },
    Goto(u32),
    /// Nothing is sent.
    End,
    Nothing,
}

/// Which packets a rule is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct When {
    /// Those that leave through the interface, or VRF, of that name.
    oif: Option<String>,
    /// Those of which more has to be known: addresses, a mark, ports, where they came from.
    depends: bool,
    /// All others.
    is_inverted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applies {
    Always,
    Sometimes,
    Never,
}

impl Routing {
    /// Replaces the rules of a family with those of a dump.
    pub(super) fn set_rules<'a>(
        &mut self,
        family: Family,
        dump: impl IntoIterator<Item = &'a RuleMessage>,
    ) {
        let mut rules: Vec<Rule> = dump.into_iter().filter_map(Rule::of).collect();
        // The kernel tells them in its order, so equal priorities stay as they are.
        rules.sort_by_key(|rule| rule.priority);
        self.rules.insert(family, rules);
    }

    /// Replaces the routes with those of a dump.
    pub(super) fn set_routes<'a>(&mut self, dump: impl IntoIterator<Item = &'a RouteMessage>) {
        self.routes = dump.into_iter().filter_map(TableRoute::of).collect();
    }

    /// Replaces the nexthop objects with those of a dump.
    pub(super) fn set_objects(&mut self, dump: impl IntoIterator<Item = (u32, Object)>) {
        self.objects = dump.into_iter().collect();
    }

    /// Notes a nexthop object that is new or another one.
    pub(super) fn put_object(&mut self, id: u32, object: Object) {
        self.objects.insert(id, object);
    }

    /// Forgets one that is gone.
    pub(super) fn remove_object(&mut self, id: u32) {
        self.objects.remove(&id);
    }

    /// Where packets go that leave through each of the interfaces.
    pub(super) fn ways<'a>(&self, interface: impl Fn(u32) -> Option<Interface<'a>>) -> Ways {
        let mut through: BTreeMap<(u32, Family), Vec<Through<'_>>> = BTreeMap::new();
        for route in &self.routes {
            for (index, gateway) in self.hops_of(route) {
                let one = Through { route, gateway };
                through.entry((index, route.family)).or_default().push(one);
            }
        }
        let mut ways = Ways::default();
        for ((index, family), routes) in through {
            let Some(interface) = interface(index) else {
                continue;
            };
            let rules = self.rules.get(&family);
            let (chosen, doubt) = choose(rules.map(Vec::as_slice), interface, &routes);
            ways.routes.extend(chosen.iter().map(|one| Route {
                interface: index,
                family,
                metric: one.route.metric,
                gateway: one.gateway,
            }));
            ways.doubts
                .extend(doubt.map(|doubt| ((index, family), doubt)));
        }
        ways
    }

    fn hops_of(&self, route: &TableRoute) -> Vec<Hop> {
        match &route.hops {
            Hops::Given(hops) => hops.clone(),
            Hops::Object(id) => self.hops_of_object(*id),
        }
    }

    fn hops_of_object(&self, id: u32) -> Vec<Hop> {
        let hop = |id: &u32| match self.objects.get(id) {
            Some(Object::Hop { interface, gateway }) => Some((*interface, *gateway)),
            // The kernel has no groups of groups.
            Some(Object::Group(_) | Object::Dead) | None => None,
        };
        match self.objects.get(&id) {
            Some(Object::Group(ids)) => ids.iter().filter_map(hop).collect(),
            _ => hop(&id).into_iter().collect(),
        }
    }
}

/// The tables that are asked where the kernel has no rules.
const RT_TABLE_DEFAULT: u32 = 253;
const RT_TABLE_MAIN: u32 = 254;

/// Which of the routes through an interface are used, and what is not clear about that.
fn choose<'a>(
    rules: Option<&[Rule]>,
    interface: Interface<'_>,
    routes: &[Through<'a>],
) -> (Vec<Through<'a>>, Option<Doubt>) {
    let without_rules = [RT_TABLE_MAIN, RT_TABLE_DEFAULT].map(Rule::lookup);
    let rules = rules.unwrap_or(&without_rules);
    let (mut possible, mut halves) = (Vec::new(), None);
    let mut certain = None;
    // Rules that are passed over by all packets, and by some.
    let (mut next, mut next_of_some) = (0, 0);
    for rule in rules {
        if rule.priority < next {
            continue;
        }
        let applies = match rule.when.applies(interface) {
            Applies::Never => continue,
            Applies::Always if rule.priority >= next_of_some => Applies::Always,
            Applies::Always | Applies::Sometimes => Applies::Sometimes,
        };
        let (table, suppressed) = match rule.action {
            Action::Lookup { table, suppressed } => (table, suppressed),
            Action::LookupVrf { suppressed } => match interface.vrf {
                Some((_, table)) => (table, suppressed),
                None => continue,
            },
            Action::Goto(priority) if applies == Applies::Always => {
                next = priority;
                continue;
            }
            Action::Goto(priority) => {
                next_of_some = next_of_some.max(priority);
                continue;
            }
            Action::End if applies == Applies::Always => break,
            Action::End | Action::Nothing => continue,
        };
        let is_meant = |one: &&Through<'_>| {
            one.route.table == table
                && suppressed.is_none_or(|len| one.route.part.prefix_len() > len)
        };
        let mut of_table: Vec<Through<'a>> = routes.iter().filter(is_meant).copied().collect();
        let for_some: Vec<_> = of_table
            .extract_if(.., |one| one.route.is_for_some)
            .collect();
        if !for_some.is_empty() {
            possible.push(for_some);
        }
        match Cover::of(&of_table) {
            Cover::None => {}
            Cover::Part => {
                halves.get_or_insert(table);
            }
            Cover::All(chosen) if applies == Applies::Always => {
                certain = Some(chosen);
                break;
            }
            Cover::All(chosen) => possible.push(chosen),
        }
    }
    conclude(certain, possible, halves)
}

/// The end of [`choose`]: the routes that are used for certain, those that may be, and a table with
/// a half of a way.
fn conclude<'a>(
    certain: Option<Vec<Through<'a>>>,
    possible: Vec<Vec<Through<'a>>>,
    halves: Option<u32>,
) -> (Vec<Through<'a>>, Option<Doubt>) {
    let mut routers: BTreeSet<(u32, IpAddr)> = BTreeSet::new();
    for routes in possible.iter().chain(&certain) {
        if let Some(best) = best(routes)
            && let Some(router) = best.gateway
        {
            routers.insert((best.route.table, router));
        }
    }
    let distinct: BTreeSet<IpAddr> = routers.iter().map(|(_, router)| *router).collect();
    let several = (distinct.len() > 1).then(|| Doubt::Routers(routers.into_iter().collect()));
    let halves = halves.map(Doubt::Halves);
    match (certain, several) {
        (Some(chosen), several) => (chosen, several),
        (None, Some(several)) => (Vec::new(), Some(several)),
        (None, None) if possible.is_empty() => (Vec::new(), halves),
        (None, None) => {
            let mut chosen: Vec<_> = possible.into_iter().flatten().collect();
            if !distinct.is_empty() {
                chosen.retain(|one| one.gateway.is_some());
            }
            (chosen, None)
        }
    }
}

/// The route that the kernel prefers.
fn best<'a>(routes: &[Through<'a>]) -> Option<Through<'a>> {
    let mut all: Vec<_> = routes.to_vec();
    all.sort_by_key(|one| (one.route.metric, one.gateway));
    all.first().copied()
}

/// How much of the Internet the routes of one table through one interface are for.
enum Cover<'a> {
    None,
    /// Not all of it, or each half in another way.
    Part,
    /// All of it, by these.
    All(Vec<Through<'a>>),
}

impl<'a> Cover<'a> {
    fn of(routes: &[Through<'a>]) -> Self {
        let of = |part: Part| -> Vec<Through<'a>> {
            let of_part = routes.iter().filter(|one| one.route.part == part);
            of_part.copied().collect()
        };
        // The longer prefix comes first.
        let global = of(Part::Global);
        if !global.is_empty() {
            return Self::All(global);
        }
        let (low, high, all) = (of(Part::Low), of(Part::High), of(Part::All));
        let hop = |routes: &[Through<'a>]| best(routes).map(|one| one.gateway);
        let (of_low, of_high, of_all) = (hop(&low), hop(&high), hop(&all));
        match (of_low.or(of_all), of_high.or(of_all)) {
            (None, None) => Self::None,
            (Some(one), Some(other)) if one == other => {
                Self::All(if low.is_empty() { all } else { low })
            }
            _ => Self::Part,
        }
    }
}

impl Rule {
    /// The rule that a message describes.
    fn of(message: &RuleMessage) -> Option<Self> {
        let header = &message.header;
        let mut when = When {
            depends: header.dst_len > 0 || header.src_len > 0 || header.tos != 0,
            is_inverted: header.flags.contains(RuleFlags::Invert),
            ..When::default()
        };
        let (mut priority, mut goto, mut suppressed) = (0, None, None);
        let mut table = u32::from(header.table);
        let mut of_vrf = false;
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Priority(value) => priority = *value,
                RuleAttribute::Goto(value) => goto = Some(*value),
                RuleAttribute::Table(value) => table = *value,
                RuleAttribute::L3MDev(value) => of_vrf = *value,
                RuleAttribute::Oifname(name) => when.oif = Some(name.clone()),
                // The kernel gives -1 where there is none.
                RuleAttribute::SuppressPrefixLen(len) if *len != u32::MAX => {
                    suppressed = Some(*len);
                }
                RuleAttribute::SuppressIfGroup(group) if *group != u32::MAX => when.depends = true,
                // What says who made the rule, or what becomes of the packet besides.
                RuleAttribute::SuppressPrefixLen(_)
                | RuleAttribute::SuppressIfGroup(_)
                | RuleAttribute::Protocol(_)
                | RuleAttribute::Realm(_) => {}
                // All else is a condition, also what is not known here.
                _ => when.depends = true,
            }
        }
        let action = match header.action {
            RuleAction::ToTable if of_vrf => Action::LookupVrf { suppressed },
            RuleAction::ToTable => Action::Lookup { table, suppressed },
            RuleAction::Goto => Action::Goto(goto?),
            RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => Action::End,
            _ => Action::Nothing,
        };
        Some(Self {
            priority,
            action,
            when,
        })
    }

    fn lookup(table: u32) -> Self {
        Self {
            priority: 0,
            action: Action::Lookup {
                table,
                suppressed: None,
            },
            when: When::default(),
        }
    }
}

impl When {
    fn applies(&self, interface: Interface<'_>) -> Applies {
        let leaves_there = self.oif.as_deref().is_none_or(|oif| {
            oif == interface.name || interface.vrf.is_some_and(|(vrf, _)| vrf == oif)
        });
        match (leaves_there, self.depends, self.is_inverted) {
            (false, _, false) | (true, false, true) => Applies::Never,
            (true, false, false) | (false, _, true) => Applies::Always,
            (true, true, _) => Applies::Sometimes,
        }
    }
}

/// Whether a route is for so much of the Internet that it is kept.
pub(super) fn is_kept(message: &RouteMessage) -> bool {
    part(message).is_some()
}

/// How much of the Internet a route is for; `None` for all that decide nothing here, of which there
/// may be a million.
fn part(message: &RouteMessage) -> Option<Part> {
    let header = &message.header;
    let family = family(header.address_family)?;
    if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let destination = || {
        let mut attributes = message.attributes.iter();
        attributes.find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => Some((*address).into()),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some((*address).into()),
            _ => None,
        })
    };
    match header.destination_prefix_length {
        0 => Some(Part::All),
        1 => match destination() {
            Some(IpAddr::V4(high)) if high.octets()[0] >= 0x80 => Some(Part::High),
            Some(IpAddr::V6(high)) if high.octets()[0] >= 0x80 => Some(Part::High),
            _ => Some(Part::Low),
        },
        3 if family == Family::V6 => {
            const GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0);
            (destination() == Some(GLOBAL.into())).then_some(Part::Global)
        }
        _ => None,
    }
}

impl TableRoute {
    /// The route that a message describes, if it is one that is kept.
    fn of(message: &RouteMessage) -> Option<Self> {
        let part = part(message)?;
        let header = &message.header;
        let (mut table, mut metric, mut object) = (u32::from(header.table), 0, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Table(value) => table = *value,
                RouteAttribute::Priority(value) => metric = *value,
                RouteAttribute::NhId(id) => object = Some(*id),
                _ => {}
            }
        }
        Some(Self {
            table,
            family: family(header.address_family)?,
            part,
            is_for_some: header.source_prefix_length > 0,
            metric,
            // Of a route by an object the kernel tells no interface and no router unless
            // `net.ipv4.nexthop_compat_mode` is set.
            hops: object.map_or_else(|| Hops::Given(hops(message)), Hops::Object),
        })
    }
}

/// The next hops of a route without an object: one, or several in a multipath route.
fn hops(message: &RouteMessage) -> Vec<Hop> {
    let mut hops = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(interface) if !message.header.flags.contains(RouteFlags::Dead) => {
                hops.push((*interface, message.attributes.iter().find_map(gateway)));
            }
            RouteAttribute::MultiPath(several) => hops.extend(
                several
                    .iter()
                    .filter(|hop| !hop.flags.contains(RouteNextHopFlags::Dead))
                    .map(|hop| (hop.interface_index, hop.attributes.iter().find_map(gateway))),
            ),
            _ => {}
        }
    }
    hops
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address))
        | RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Gateway(RouteAddress::Inet6(address))
        | RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    }
}

/// The family of a message, if it is one of IP.
pub(super) fn family(family: AddressFamily) -> Option<Family> {
    match family {
        AddressFamily::Inet => Some(Family::V4),
        AddressFamily::Inet6 => Some(Family::V6),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
