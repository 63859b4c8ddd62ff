//! Each thing that changes in the kernel shows in the facts.

use std::{fmt::Write as _, net::IpAddr};

use eip_dp_user::host::{Family, HostFacts, LinkKind, Watcher, snapshot};

use crate::netns::{run, sh, until};

fn index(facts: &HostFacts, name: &str) -> u32 {
    facts
        .link_named(name)
        .unwrap_or_else(|| panic!("no {name} in {facts:#?}"))
        .0
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_first_facts_are_complete() {
    run(|| async {
        sh("ip link add left address 02:00:00:00:00:01 mtu 1400 type veth peer name right");
        sh("ip tuntap add tap0 mode tap");
        sh("ip tuntap add tun0 mode tun");
        sh("ip link add br0 type bridge");
        sh("ip link set tap0 master br0");
        sh("ip addr add 192.0.2.1/24 dev left");
        sh("ip link set left up");
        sh("ip link set right up");
        sh("ip route add default via 192.0.2.254 dev left metric 7");
        sh("ip neigh add 192.0.2.254 lladdr 02:00:00:00:00:fe dev left nud permanent");
        // The kernel declares an interface operational a moment after it was set up.
        let watcher = Watcher::start().await.unwrap();
        until(&mut watcher.subscribe(), "both ends up", |facts| {
            ["left", "right"]
                .iter()
                .all(|name| facts.link_named(name).is_some_and(|(_, link)| link.up))
        })
        .await;
        let facts = Watcher::start().await.unwrap().facts();
        let left = index(&facts, "left");
        let link = &facts.links[&left];
        assert_eq!(link.mac, [2, 0, 0, 0, 0, 1]);
        assert_eq!(
            (link.mtu, link.up, &link.kind),
            (1400, true, &LinkKind::Veth)
        );
        assert_eq!(link.master, None);
        let features = link.xdp.expect("this kernel tells the XDP features");
        assert!(features.basic() && features.redirect());
        assert_eq!(facts.link_named("lo").unwrap().1.kind, LinkKind::Loopback);
        assert_eq!(facts.link_named("tun0").unwrap().1.kind, LinkKind::Tun);
        let tap = facts.link_named("tap0").unwrap().1;
        assert_eq!((&tap.kind, tap.up), (&LinkKind::Tap, false));
        assert_eq!(tap.master, Some(index(&facts, "br0")));
        assert_eq!(
            facts.link_named("br0").unwrap().1.kind,
            LinkKind::Other("bridge".into())
        );
        assert!(
            facts
                .addresses
                .contains(&(left, "192.0.2.1/24".parse().unwrap()))
        );
        assert_eq!(
            facts.next_hop(left, None, Family::V4),
            Some(ip("192.0.2.254"))
        );
        assert_eq!(
            facts.mac_of(left, ip("192.0.2.254")),
            Some([2, 0, 0, 0, 0, 0xfe])
        );
        assert!(facts.neighbours[&(left, ip("192.0.2.254"))].permanent);
        assert_eq!(*facts, snapshot().await.unwrap());
    });
}

#[test]
fn links_appear_change_and_vanish() {
    run(|| async {
        let watcher = Watcher::start().await.unwrap();
        let mut facts = watcher.subscribe();
        sh("ip link add left type veth peer name right");
        let seen = until(&mut facts, "both ends", |facts| {
            facts.link_named("left").is_some() && facts.link_named("right").is_some()
        })
        .await;
        let left = index(&seen, "left");
        assert!(!seen.links[&left].up);
        assert!(
            seen.links.values().all(|link| link.xdp.is_some()),
            "a link is never published before its features: {seen:#?}"
        );

        sh("ip link set left up");
        sh("ip link set right up");
        until(&mut facts, "left up", |facts| facts.links[&left].up).await;
        sh("ip link set right down");
        until(&mut facts, "left without carrier", |facts| {
            !facts.links[&left].up
        })
        .await;

        sh("ip link set left mtu 9000");
        until(&mut facts, "the MTU", |facts| {
            facts.links[&left].mtu == 9000
        })
        .await;
        sh("ip link set left address 02:00:00:00:00:99");
        until(&mut facts, "the address", |facts| {
            facts.links[&left].mac == [2, 0, 0, 0, 0, 0x99]
        })
        .await;
        sh("ip link set left name renamed");
        until(&mut facts, "the name", |facts| {
            facts.links[&left].name == "renamed"
        })
        .await;

        sh("ip link add br0 type bridge");
        sh("ip link set renamed master br0");
        until(&mut facts, "the master", |facts| {
            facts.links[&left].master == facts.link_named("br0").map(|(index, _)| index)
        })
        .await;
        sh("ip link set renamed nomaster");
        until(&mut facts, "no master", |facts| {
            facts
                .links
                .get(&left)
                .is_some_and(|link| link.master.is_none())
        })
        .await;

        sh("ip addr add 192.0.2.1/24 dev renamed");
        until(&mut facts, "an address", |facts| {
            facts.addresses_of(left).count() == 1
        })
        .await;
        sh("ip link del renamed");
        let seen = until(&mut facts, "both ends gone", |facts| {
            facts.link_named("renamed").is_none() && facts.link_named("right").is_none()
        })
        .await;
        assert_eq!(seen.addresses_of(left).count(), 0);
    });
}

#[test]
fn a_link_that_moves_to_another_namespace_is_gone() {
    run(|| async {
        sh("ip link add left type veth peer name right");
        let watcher = Watcher::start().await.unwrap();
        let mut facts = watcher.subscribe();
        // The namespace of a process that does nothing but hold it.
        let mut other = std::process::Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; read line"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0];
        std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut ready).unwrap();
        sh(&format!("ip link set right netns {}", other.id()));
        until(&mut facts, "right gone", |facts| {
            facts.link_named("right").is_none()
        })
        .await;
        drop(other.stdin.take());
        other.wait().unwrap();
        until(&mut facts, "left gone with its peer's namespace", |facts| {
            facts.link_named("left").is_none()
        })
        .await;
    });
}

#[test]
fn default_routes_follow_what_the_kernel_does_without_saying() {
    run(|| async {
        for link in ["left", "other"] {
            sh(&format!(
                "ip link add {link} type veth peer name {link}-peer"
            ));
            sh(&format!("ip link set {link} up"));
            sh(&format!("ip link set {link}-peer up"));
        }
        sh("ip addr add 192.0.2.1/24 dev left");
        sh("ip addr add 198.51.100.1/24 dev other");
        let watcher = Watcher::start().await.unwrap();
        let mut facts = watcher.subscribe();
        let left = index(&watcher.facts(), "left");
        let other = index(&watcher.facts(), "other");
        let hop = |facts: &HostFacts, link| facts.next_hop(link, None, Family::V4);
        assert_eq!(hop(&watcher.facts(), left), None);

        sh("ip route add default via 192.0.2.10 metric 20");
        until(&mut facts, "a default route", |facts| {
            hop(facts, left) == Some(ip("192.0.2.10"))
        })
        .await;
        sh("ip route add default via 192.0.2.9 metric 10");
        until(&mut facts, "a better one", |facts| {
            hop(facts, left) == Some(ip("192.0.2.9"))
        })
        .await;
        sh("ip route replace default via 192.0.2.8 metric 10");
        until(&mut facts, "a replaced one", |facts| {
            hop(facts, left) == Some(ip("192.0.2.8"))
        })
        .await;
        sh("ip route del default metric 10");
        until(&mut facts, "the worse one again", |facts| {
            hop(facts, left) == Some(ip("192.0.2.10"))
        })
        .await;

        // No route message comes for this one.
        sh("ip link set left down");
        let seen = until(&mut facts, "no route", |facts| hop(facts, left).is_none()).await;
        assert!(seen.routes.is_empty());
        sh("ip link set left up");

        sh(
            "ip route add default proto static nexthop via 192.0.2.7 dev left nexthop via 198.51.100.7 dev other",
        );
        until(&mut facts, "both ways", |facts| {
            hop(facts, left) == Some(ip("192.0.2.7"))
                && hop(facts, other) == Some(ip("198.51.100.7"))
        })
        .await;
        sh("ip route add default via 198.51.100.66 dev other table 77");
        sh("ip route add unreachable default metric 9999");
        sh("ip route add 203.0.113.0/24 via 198.51.100.66");
        let seen = until(&mut facts, "still two routes", |facts| {
            facts.routes.len() == 2
        })
        .await;
        assert_eq!(hop(&seen, other), Some(ip("198.51.100.7")));
        sh("ip addr del 198.51.100.1/24 dev other");
        until(&mut facts, "one way", |facts| hop(facts, other).is_none()).await;
    });
}

#[test]
fn neighbours_come_become_useless_and_go() {
    run(|| async {
        sh("ip link add left type veth peer name right");
        sh("ip link set left up");
        sh("ip link set right up");
        let watcher = Watcher::start().await.unwrap();
        let mut facts = watcher.subscribe();
        let key = (index(&watcher.facts(), "left"), ip("192.0.2.9"));
        let mac = |facts: &HostFacts| facts.mac_of(key.0, key.1);
        sh("ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev left nud reachable");
        until(&mut facts, "the neighbour", |facts| {
            mac(facts) == Some([2, 0, 0, 0, 0, 9])
        })
        .await;
        sh("ip neigh replace 192.0.2.9 lladdr 02:00:00:00:00:0a dev left nud stale");
        until(&mut facts, "its other address", |facts| {
            mac(facts) == Some([2, 0, 0, 0, 0, 10])
        })
        .await;
        sh("ip neigh replace 192.0.2.9 dev left nud failed");
        until(&mut facts, "failed", |facts| mac(facts).is_none()).await;
        sh("ip neigh replace 192.0.2.9 lladdr 02:00:00:00:00:0b dev left nud permanent");
        until(&mut facts, "permanent", |facts| {
            facts.neighbours.get(&key).is_some_and(|n| n.permanent)
        })
        .await;
        sh("ip neigh del 192.0.2.9 dev left");
        until(&mut facts, "gone", |facts| {
            facts.neighbours.get(&key).is_none_or(|n| !n.usable)
        })
        .await;
    });
}

#[test]
fn redirected_frames_reach_a_veth_only_while_its_peer_receives_them() {
    run(|| async {
        sh("ip link add left type veth peer name right");
        sh("ip link set left up");
        sh("ip link set right up");
        let watcher = Watcher::start().await.unwrap();
        let mut facts = watcher.subscribe();
        let left = index(&watcher.facts(), "left");
        let xmit = |facts: &HostFacts| facts.links[&left].xdp.unwrap().ndo_xmit();
        sh("ethtool -K right gro on");
        until(&mut facts, "the peer receives", xmit).await;
        sh("ethtool -K right gro off");
        until(&mut facts, "the peer does not", |facts| !xmit(facts)).await;
        sh("ethtool -K right gro on");
        until(&mut facts, "the peer receives again", xmit).await;
    });
}

#[test]
fn the_facts_are_right_again_after_more_changes_than_the_kernel_can_queue() {
    run(|| async {
        sh("ip link add left type veth peer name right");
        sh("ip link set left up");
        sh("ip link set right up");
        let watcher = Watcher::start().await.unwrap();
        let mut facts = watcher.subscribe();
        let left = index(&watcher.facts(), "left");
        // Batches, while nobody reads: this thread is the only one of the runtime.
        let mut neighbours = String::new();
        for n in 0..30_000 {
            let (subnet, host) = (n / 250 % 4, n % 250 + 1);
            let (high, low) = (n >> 8 & 0xff, n & 0xff);
            writeln!(
                neighbours,
                "neigh replace 10.0.{subnet}.{host} lladdr 02:00:00:00:{high:02x}:{low:02x} dev left nud permanent"
            )
            .unwrap();
        }
        let flaps = "link set right down\nlink set right up\n".repeat(3000);
        for batch in [neighbours, flaps] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            std::io::Write::write_all(&mut file, batch.as_bytes()).unwrap();
            sh(&format!("ip -batch {}", file.path().display()));
        }
        let last = until(&mut facts, "the last of all", |facts| {
            facts.links[&left].up
                && facts.mac_of(left, ip("10.0.3.250")) == Some([2, 0, 0, 0, 0x75, 0x2f])
        })
        .await;
        let entries = last
            .neighbours
            .keys()
            .filter(|(_, address)| address.is_ipv4());
        assert_eq!(entries.count(), 1000);
        // What comes over the same socket comes after whatever the socket still held.
        sh("ip link set left mtu 1400");
        let later = until(&mut facts, "a change after all these", |facts| {
            facts.links[&left].mtu == 1400
        })
        .await;
        assert_eq!(later.neighbours, last.neighbours);
        assert!(later.links[&left].up);
    });
}
