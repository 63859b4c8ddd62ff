//! Next hops are kept resolved by the kernel, and released without a trace of us.

use std::{collections::BTreeSet, net::IpAddr};

use eip_dp_user::host::{Family, Kept, Manager, NeighbourKeeper, Watcher};

use crate::netns::{run, sh, until};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A pair of which the far end answers ARP for 192.0.2.2; it is in another namespace, held by the
/// returned child.
struct Peer(std::process::Child);

impl Peer {
    fn new() -> Self {
        let mut child = std::process::Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; read line"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let peer = Self(child);
        sh("ip link add near type veth peer name far");
        sh(&format!("ip link set far netns {}", peer.0.id()));
        peer.sh("ip link set far address 02:00:00:00:00:02");
        peer.sh("ip addr add 192.0.2.2/24 dev far");
        peer.sh("ip link set far up");
        sh("ip addr add 192.0.2.1/24 dev near");
        sh("ip link set near up");
        peer
    }

    fn sh(&self, command: &str) {
        sh(&format!(
            "nsenter --net=/proc/{}/ns/net {command}",
            self.0.id()
        ));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn a_next_hop_is_resolved_without_traffic_and_released_again() {
    run(|| async {
        let _peer = Peer::new();
        let watcher = Watcher::start().await.unwrap();
        let mut facts = watcher.subscribe();
        let near = watcher.facts().link_named("near").unwrap().0;
        until(&mut facts, "near up", |facts| facts.links[&near].up).await;
        let hop = (near, ip("192.0.2.2"));
        let keeper = NeighbourKeeper::open().unwrap();
        assert_eq!(
            keeper.keep_resolved(hop.0, hop.1).await.unwrap(),
            Kept::Managed
        );
        let seen = until(&mut facts, "resolved", |facts| {
            facts.mac_of(hop.0, hop.1) == Some([2, 0, 0, 0, 0, 2])
        })
        .await;
        assert_eq!(seen.neighbours[&hop].managed, Some(Manager::Us));
        assert!(sh("ip neigh show dev near").contains("managed"));
        assert_eq!(
            keeper.keep_resolved(hop.0, hop.1).await.unwrap(),
            Kept::Untouched
        );

        // What a second run of the program does, which knows nothing of the first.
        NeighbourKeeper::open()
            .unwrap()
            .release_all()
            .await
            .unwrap();
        let seen = until(&mut facts, "released", |facts| {
            facts.neighbours[&hop].managed.is_none()
        })
        .await;
        assert!(!sh("ip neigh show dev near").contains("managed"));
        assert_eq!(
            seen.mac_of(hop.0, hop.1),
            Some([2, 0, 0, 0, 0, 2]),
            "releasing interrupts nobody"
        );
    });
}

/// IPv6 routers are usually known by their link-local addresses.
#[test]
fn a_link_local_next_hop_of_ipv6_is_resolved_too() {
    run(|| async {
        let peer = Peer::new();
        peer.sh("ip addr add fe80::99/64 dev far nodad");
        sh("ip addr add fe80::98/64 dev near nodad");
        let watcher = Watcher::start().await.unwrap();
        let mut facts = watcher.subscribe();
        let near = watcher.facts().link_named("near").unwrap().0;
        sh("ip -6 route add default via fe80::99 dev near");
        until(&mut facts, "the route", |facts| {
            facts.links[&near].up && facts.next_hop(near, None, Family::V6) == Some(ip("fe80::99"))
        })
        .await;
        let hop = (near, ip("fe80::99"));
        let mut keeper = NeighbourKeeper::open().unwrap();
        let wanted = BTreeSet::from([hop]);
        keeper.reconcile(&watcher.facts(), &wanted).await.unwrap();
        let seen = until(&mut facts, "resolved", |facts| {
            facts.mac_of(hop.0, hop.1) == Some([2, 0, 0, 0, 0, 2])
        })
        .await;
        assert_eq!(seen.neighbours[&hop].managed, Some(Manager::Us));
        keeper.reconcile(&seen, &BTreeSet::new()).await.unwrap();
        until(&mut facts, "released", |facts| {
            let neighbour = facts.neighbours.get(&hop);
            neighbour.is_some_and(|neighbour| neighbour.managed.is_none())
        })
        .await;
    });
}

#[test]
fn entries_of_others_are_left_alone() {
    run(|| async {
        let _peer = Peer::new();
        sh("ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:77 dev near nud permanent");
        sh("ip neigh add 192.0.2.3 dev near managed");
        let before = sh("ip -d neigh show dev near nud permanent");
        let watcher = Watcher::start().await.unwrap();
        let near = watcher.facts().link_named("near").unwrap().0;
        let keeper = NeighbourKeeper::open().unwrap();
        for address in ["192.0.2.2", "192.0.2.3"] {
            assert_eq!(
                keeper.keep_resolved(near, ip(address)).await.unwrap(),
                Kept::Untouched
            );
            keeper.release(near, ip(address)).await.unwrap();
        }
        keeper.release_all().await.unwrap();
        assert_eq!(sh("ip -d neigh show dev near nud permanent"), before);
        assert!(sh("ip neigh show 192.0.2.3 dev near").contains("managed"));
    });
}

#[test]
fn the_next_hop_comes_back_after_the_link_was_down_and_goes_when_it_changes() {
    run(|| async {
        let peer = Peer::new();
        let watcher = Watcher::start().await.unwrap();
        let mut facts = watcher.subscribe();
        let near = watcher.facts().link_named("near").unwrap().0;
        let hop = (near, ip("192.0.2.2"));
        let mut keeper = NeighbourKeeper::open().unwrap();
        let mut wanted = BTreeSet::from([hop]);
        let resolved = |facts: &eip_dp_user::host::HostFacts| facts.mac_of(hop.0, hop.1).is_some();
        // Link events arrive one by one; whoever reconciles does it at each of them.
        for round in ["first", "after the link was down"] {
            until(&mut facts, round, |facts| facts.links[&near].up).await;
            keeper.reconcile(&watcher.facts(), &wanted).await.unwrap();
            until(&mut facts, round, resolved).await;
            sh("ip link set near down");
            until(&mut facts, "down", |facts| !resolved(facts)).await;
            until(&mut facts, "down", |facts| !facts.links[&near].up).await;
            keeper.reconcile(&watcher.facts(), &wanted).await.unwrap();
            sh("ip link set near up");
        }
        until(&mut facts, "up", |facts| facts.links[&near].up).await;
        keeper.reconcile(&watcher.facts(), &wanted).await.unwrap();
        until(&mut facts, "resolved", resolved).await;

        // A new run takes over what the last one asked for.
        let mut keeper = NeighbourKeeper::open().unwrap();
        keeper.reconcile(&watcher.facts(), &wanted).await.unwrap();
        peer.sh("ip addr add 192.0.2.3/24 dev far");
        wanted = BTreeSet::from([(near, ip("192.0.2.3"))]);
        keeper.reconcile(&watcher.facts(), &wanted).await.unwrap();
        until(&mut facts, "the other one", |facts| {
            facts.mac_of(near, ip("192.0.2.3")).is_some()
                && facts.neighbours[&hop].managed.is_none()
        })
        .await;
    });
}

#[test]
fn two_gateways_on_one_host_do_not_undo_each_other() {
    run(|| async {
        let _peer = Peer::new();
        let watcher = Watcher::start().await.unwrap();
        let mut facts = watcher.subscribe();
        let near = watcher.facts().link_named("near").unwrap().0;
        until(&mut facts, "near up", |facts| facts.links[&near].up).await;
        let hop = (near, ip("192.0.2.2"));
        let (mut one, mut other) = (
            NeighbourKeeper::open().unwrap(),
            NeighbourKeeper::open().unwrap(),
        );
        let wanted = BTreeSet::from([hop]);
        one.reconcile(&watcher.facts(), &wanted).await.unwrap();
        let seen = until(&mut facts, "managed", |facts| {
            facts
                .neighbours
                .get(&hop)
                .is_some_and(|neighbour| neighbour.managed == Some(Manager::Us))
        })
        .await;
        other.reconcile(&seen, &BTreeSet::new()).await.unwrap();
        assert!(sh("ip neigh show dev near").contains("managed"));

        // The other one's `unload` takes it away; the next look at the facts brings it back.
        other.release_all().await.unwrap();
        let seen = until(&mut facts, "released", |facts| {
            facts.neighbours[&hop].managed.is_none()
        })
        .await;
        one.reconcile(&seen, &wanted).await.unwrap();
        until(&mut facts, "managed again", |facts| {
            facts.neighbours[&hop].managed == Some(Manager::Us)
        })
        .await;
    });
}

#[test]
fn an_interface_that_is_not_there_is_an_error_that_names_it() {
    run(|| async {
        let keeper = NeighbourKeeper::open().unwrap();
        let error = keeper
            .keep_resolved(4711, ip("192.0.2.2"))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("192.0.2.2") && error.contains("4711"),
            "{error}"
        );
    });
}
