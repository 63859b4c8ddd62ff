//! Gratuitous ARP, as the neighbours on an uplink take it.

use eip_dp_user::{announce::Announcer, host::Watcher};

use crate::netns::{run, sh, until};

#[test]
fn a_neighbour_with_a_stale_entry_learns_the_new_address() {
    run(|| async {
        sh("ip link add uplink type veth peer name router");
        sh("ip link set uplink up");
        sh("ip link set router up");
        let watcher = Watcher::start().await.unwrap();
        let mut facts = watcher.subscribe();
        let index = |name| watcher.facts().link_named(name).unwrap().0;
        let (uplink, router) = (index("uplink"), index("router"));
        until(&mut facts, "both up", |facts| {
            facts.links[&uplink].up && facts.links[&router].up
        })
        .await;
        // The neighbour is a Linux host. It takes gratuitous ARP for entries that it has.
        sh("ip addr add 203.0.113.1/24 dev router");
        sh("ip neigh add 203.0.113.9 lladdr 02:00:00:00:00:66 dev router nud stale");
        let announcer = Announcer::start().unwrap();
        let link = LinkKey::untagged(uplink);
        announcer.announce(link, [2, 0, 0, 0, 0, 0x99], [203, 0, 113, 9].into());
        until(&mut facts, "the new address", |facts| {
            facts.mac_of(router, [203, 0, 113, 9].into()) == Some([2, 0, 0, 0, 0, 0x99])
        })
        .await;
    });
}
