//! Where rules and routes that are written out lead to.

use super::*;

/// The uplink.
const UP: u32 = 2;
const OTHER: u32 = 3;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A route as the kernel tells it: `prefix` of `table`, to `via` on interface `oif`.
fn route(prefix: &str, table: u32, oif: u32, via: &str) -> RouteMessage {
    let net: ipnet::IpNet = prefix.parse().expect("a prefix");
    let mut message = RouteMessage::default();
    message.header.kind = RouteType::Unicast;
    message.header.destination_prefix_length = net.prefix_len();
    message.header.address_family = match net {
        ipnet::IpNet::V4(_) => AddressFamily::Inet,
        ipnet::IpNet::V6(_) => AddressFamily::Inet6,
    };
    if net.prefix_len() > 0 {
        message
            .attributes
            .push(RouteAttribute::Destination(match net.network() {
                IpAddr::V4(v4) => RouteAddress::Inet(v4),
                IpAddr::V6(v6) => RouteAddress::Inet6(v6),
            }));
    }
    message.attributes.push(RouteAttribute::Table(table));
    message.attributes.push(RouteAttribute::Oif(oif));
    if !via.is_empty() {
        message.attributes.push(match (ip(via), net) {
            (IpAddr::V6(v6), ipnet::IpNet::V4(_)) => RouteAttribute::Via(RouteVia::Inet6(v6)),
            (IpAddr::V6(v6), _) => RouteAttribute::Gateway(RouteAddress::Inet6(v6)),
            (IpAddr::V4(v4), _) => RouteAttribute::Gateway(RouteAddress::Inet(v4)),
        });
    }
    message
}

/// A route by a nexthop object, which the kernel tells without interface and router.
fn by_object(prefix: &str, table: u32, id: u32) -> RouteMessage {
    let mut message = route(prefix, table, 0, "");
    message.attributes.pop();
    message.attributes.push(RouteAttribute::NhId(id));
    message
}

/// A rule of that priority, and what else it says.
fn rule(priority: u32, table: u32, more: &[RuleAttribute]) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Table(table),
        RuleAttribute::SuppressPrefixLen(u32::MAX),
        RuleAttribute::Priority(priority),
        RuleAttribute::Protocol(netlink_packet_route::route::RouteProtocol::Kernel),
    ];
    message.attributes.extend_from_slice(more);
    message
}

fn acting(action: RuleAction, rule: RuleMessage) -> RuleMessage {
    let mut rule = rule;
    rule.header.action = action;
    rule
}

/// Those that every host has, and others.
fn rules(others: &[RuleMessage]) -> Vec<RuleMessage> {
    let mut rules = vec![rule(0, 255, &[])];
    rules.extend_from_slice(others);
    rules.extend([rule(32766, 254, &[]), rule(32767, 253, &[])]);
    rules
}

fn routing(rules: &[RuleMessage], routes: &[RouteMessage]) -> Routing {
    let mut routing = Routing::default();
    for family in Family::ALL {
        routing.set_rules(family, rules);
    }
    routing.set_routes(routes.iter().filter(|route| is_kept(route)));
    routing
}

fn ways(routing: &Routing) -> Ways {
    routing.ways(|index| match index {
        UP => Some(Interface {
            name: "up0",
            vrf: None,
        }),
        OTHER => Some(Interface {
            name: "other",
            vrf: Some(("blue", 1000)),
        }),
        _ => None,
    })
}

/// The router through an interface, `?` where there is a doubt and no router, `!` behind a router
/// with a doubt, and `link` where every address is on the link.
fn through(interface: u32, ways: &Ways) -> String {
    let routes = ways
        .routes
        .iter()
        .filter(|route| route.interface == interface);
    let best = routes.min_by_key(|route| (route.family, route.metric));
    let doubts = ways.doubts.keys().any(|(index, _)| *index == interface);
    match (best, doubts) {
        (None, false) => "none".to_owned(),
        (None, true) => "?".to_owned(),
        (Some(route), doubts) => {
            let hop = route
                .gateway
                .map_or("link".to_owned(), |hop| hop.to_string());
            format!("{hop}{}", if doubts { "!" } else { "" })
        }
    }
}

#[track_caller]
fn leads(rules: &[RuleMessage], routes: &[RouteMessage], wanted: &str) {
    assert_eq!(through(UP, &ways(&routing(rules, routes))), wanted);
}

const MAIN: u32 = 254;

#[test]
fn a_default_route_of_the_main_table_or_what_stands_for_one() {
    let plain = rules(&[]);
    leads(&plain, &[], "none");
    leads(
        &plain,
        &[route("0.0.0.0/0", MAIN, UP, "192.0.2.1")],
        "192.0.2.1",
    );
    leads(
        &plain,
        &[route("0.0.0.0/0", MAIN, UP, "fe80::1")],
        "fe80::1",
    );
    leads(&plain, &[route("0.0.0.0/0", MAIN, UP, "")], "link");
    leads(
        &plain,
        &[route("0.0.0.0/0", MAIN, OTHER, "192.0.2.1")],
        "none",
    );
    leads(&plain, &[route("0.0.0.0/0", 100, UP, "192.0.2.1")], "none");
    leads(&plain, &[route("0.0.0.0/2", MAIN, UP, "192.0.2.1")], "none");
    leads(&plain, &[route("2000::/3", MAIN, UP, "fe80::1")], "fe80::1");
    leads(&plain, &[route("4000::/3", MAIN, UP, "fe80::1")], "none");
    leads(
        &plain,
        &[route("0.0.0.0/0", 253, UP, "192.0.2.1")],
        "192.0.2.1",
    );
    let mut blackhole = route("0.0.0.0/0", MAIN, UP, "");
    blackhole.header.kind = RouteType::BlackHole;
    leads(&plain, &[blackhole], "none");
}

#[test]
fn two_halves_are_a_whole_where_one_router_is_next_for_both() {
    let plain = rules(&[]);
    let low = |via| route("0.0.0.0/1", MAIN, UP, via);
    let high = |via| route("128.0.0.0/1", MAIN, UP, via);
    let all = |via| route("0.0.0.0/0", MAIN, UP, via);
    leads(&plain, &[low("192.0.2.1"), high("192.0.2.1")], "192.0.2.1");
    leads(&plain, &[low("192.0.2.1"), high("192.0.2.9")], "?");
    leads(&plain, &[low("192.0.2.1")], "?");
    leads(&plain, &[low("192.0.2.1"), all("192.0.2.1")], "192.0.2.1");
    leads(&plain, &[low("192.0.2.1"), all("192.0.2.9")], "?");
    // The halves of a tunnel, and the default route below them.
    let of_tunnel = |prefix| route(prefix, MAIN, OTHER, "10.8.0.1");
    let routes = [
        of_tunnel("0.0.0.0/1"),
        of_tunnel("128.0.0.0/1"),
        all("192.0.2.1"),
    ];
    leads(&plain, &routes, "192.0.2.1");
    let of_v6 = |prefix| route(prefix, MAIN, UP, "fe80::1");
    leads(&plain, &[of_v6("::/1"), of_v6("8000::/1")], "fe80::1");
}

#[test]
fn rules_lead_to_other_tables() {
    let default = |table, via| route("0.0.0.0/0", table, UP, via);
    let in_100 = [default(100, "192.0.2.1")];
    let both = [default(100, "192.0.2.1"), default(MAIN, "192.0.2.9")];
    let source = {
        let mut rule = rule(100, 100, &[RuleAttribute::Source(ip("203.0.113.0"))]);
        rule.header.src_len = 24;
        rule
    };
    let mark = rule(100, 100, &[RuleAttribute::FwMark(7)]);
    // For all packets.
    leads(&rules(&[rule(100, 100, &[])]), &in_100, "192.0.2.1");
    leads(&rules(&[rule(100, 100, &[])]), &both, "192.0.2.1");
    leads(&rules(&[rule(32766, 100, &[])]), &both, "192.0.2.1");
    // For some, where no other router is there to choose.
    for some in [&source, &mark] {
        let some = rules(std::slice::from_ref(some));
        leads(&some, &in_100, "192.0.2.1");
        leads(
            &some,
            &[in_100[0].clone(), default(MAIN, "192.0.2.1")],
            "192.0.2.1",
        );
        // And where there is.
        leads(&some, &both, "192.0.2.9!");
    }
    let two = rules(&[source, rule(101, 101, &[RuleAttribute::FwMark(7)])]);
    leads(
        &two,
        &[default(100, "192.0.2.1"), default(101, "192.0.2.2")],
        "?",
    );
    // By the interface that packets leave through.
    let by = |name: &str| rules(&[rule(100, 100, &[RuleAttribute::Oifname(name.to_owned())])]);
    leads(&by("up0"), &both, "192.0.2.1");
    leads(&by("other"), &both, "192.0.2.9");
    // As `wg-quick` writes them: what is not marked goes to a table of its own, but for what is no
    // default route.
    let mut not_marked = rule(101, 100, &[RuleAttribute::FwMark(7)]);
    not_marked.header.flags = RuleFlags::Invert;
    let suppressed = rule(100, MAIN, &[RuleAttribute::SuppressPrefixLen(0)]);
    let tunnel = route("0.0.0.0/0", 100, OTHER, "");
    let routes = [tunnel, default(MAIN, "192.0.2.1")];
    leads(&rules(&[suppressed, not_marked]), &routes, "192.0.2.1");
}

#[test]
fn rules_jump_and_end() {
    let routes = [
        route("0.0.0.0/0", 100, UP, "192.0.2.1"),
        route("0.0.0.0/0", MAIN, UP, "192.0.2.9"),
    ];
    let lookup = rule(200, 100, &[]);
    let jump = acting(RuleAction::Goto, rule(100, 0, &[RuleAttribute::Goto(300)]));
    leads(
        &rules(&[jump.clone(), lookup.clone()]),
        &routes,
        "192.0.2.9",
    );
    let mut some = jump;
    some.attributes.push(RuleAttribute::FwMark(7));
    leads(&rules(&[some, lookup.clone()]), &routes, "192.0.2.9!");
    for action in [
        RuleAction::Blackhole,
        RuleAction::Unreachable,
        RuleAction::Prohibit,
    ] {
        let end = acting(action, rule(100, 0, &[]));
        leads(&rules(&[end.clone(), lookup.clone()]), &routes, "none");
        let mut some = end;
        some.attributes.push(RuleAttribute::FwMark(7));
        leads(&rules(&[some, lookup.clone()]), &routes, "192.0.2.1");
    }
    let nothing = acting(RuleAction::Nop, rule(100, 0, &[]));
    leads(&rules(&[nothing, lookup]), &routes, "192.0.2.1");
    // Nothing is routed without any rule; a kernel that has none asks these tables.
    leads(&[], &routes, "none");
    let mut without = Routing::default();
    without.set_routes(&routes);
    assert_eq!(through(UP, &ways(&without)), "192.0.2.9");
}

#[test]
fn a_vrf_has_a_table_of_its_own() {
    let routes = [
        route("0.0.0.0/0", 1000, OTHER, "192.0.2.1"),
        route("0.0.0.0/0", 1000, UP, "192.0.2.7"),
    ];
    let vrf = rule(1000, 0, &[RuleAttribute::L3MDev(true)]);
    let ways_of = |rules: &[RuleMessage]| ways(&routing(rules, &routes));
    let with = ways_of(&rules(&[vrf]));
    assert_eq!(through(OTHER, &with), "192.0.2.1");
    assert_eq!(through(UP, &with), "none", "it is in no VRF");
    let by_name = rule(1000, 1000, &[RuleAttribute::Oifname("blue".to_owned())]);
    assert_eq!(through(OTHER, &ways_of(&rules(&[by_name]))), "192.0.2.1");
    assert_eq!(through(OTHER, &ways_of(&rules(&[]))), "none");
}

#[test]
fn nexthop_objects_come_and_go() {
    let mut routing = routing(&rules(&[]), &[by_object("0.0.0.0/0", MAIN, 7)]);
    assert_eq!(through(UP, &ways(&routing)), "none", "not known yet");
    let hop = |interface, via| Object::Hop {
        interface,
        gateway: Some(ip(via)),
    };
    routing.put_object(7, hop(UP, "192.0.2.1"));
    assert_eq!(through(UP, &ways(&routing)), "192.0.2.1");
    routing.put_object(8, hop(UP, "fe80::1"));
    routing.put_object(9, hop(OTHER, "192.0.2.9"));
    routing.put_object(7, Object::Group(vec![8, 9, 10]));
    assert_eq!(through(UP, &ways(&routing)), "fe80::1");
    routing.remove_object(8);
    assert_eq!(through(UP, &ways(&routing)), "none");
    // A group of itself.
    routing.put_object(7, Object::Group(vec![7]));
    assert_eq!(through(UP, &ways(&routing)), "none");
    routing.put_object(7, Object::Dead);
    assert_eq!(through(UP, &ways(&routing)), "none");
}

#[test]
fn a_route_for_some_sources_is_taken_where_there_is_no_other() {
    let mut from = route("::/0", MAIN, UP, "fe80::1");
    from.header.source_prefix_length = 48;
    leads(&rules(&[]), std::slice::from_ref(&from), "fe80::1");
    leads(
        &rules(&[]),
        &[from, route("::/0", MAIN, UP, "fe80::9")],
        "fe80::9!",
    );
}
