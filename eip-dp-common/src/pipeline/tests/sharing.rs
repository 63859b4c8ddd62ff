//! ENIs that share private addresses (R12a to R12c): what of theirs the daemon hears, and what
//! others may not.

use super::*;
use crate::{
    abi::{Checksummed, Target, TargetFlags},
    packet::Mac,
    testing::{World, site::target_of},
};

const VRRP: u8 = 112;
const VIRTUAL: Mac = [0, 0, 0x5e, 0, 1, 7];
const VIRTUAL6: Mac = [0, 0, 0x5e, 0, 2, 7];

/// The world in which these ENIs share an address.
fn sharing(places: &[usize]) -> World {
    let mut world = world();
    for place in places {
        let index = target_of(*place);
        let target = &world.targets[&index];
        let shares = Target {
            flags: target.flags | TargetFlags::SHARES,
            ..*target
        };
        world.targets.insert(index, shares.sealed(&index));
    }
    world
}

/// A virtual router's advertisement from the NAT ENI.
fn advertisement<F: Plan>(source: Mac, hop: u8, protocol: u8) -> Vec<u8> {
    let (group, mac): (&[u8], Mac) = if size_of::<F::Address>() == 4 {
        (&[224, 0, 0, 18], [1, 0, 0x5e, 0, 0, 0x12])
    } else {
        let group = &[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12];
        (group, [0x33, 0x33, 0, 0, 0, 0x12])
    };
    let payload = vec![0x31, 7, 150, 1, 0, 100, 0, 0];
    let mut draft = Draft::<F>::new(F::private(NAT), F::address(group), protocol, payload);
    draft.hop = hop;
    draft.frame((mac, source))
}

fn advertised<F: Plan>() {
    let verdict = |world: &World, frame: &[u8]| hold(world, NAT_ENI.port, frame).0.verdict;
    let martian = Verdict::Drop(Reason::MartianDestination);
    for source in [NAT_ENI.mac, VIRTUAL, VIRTUAL6] {
        let frame = advertisement::<F>(source, 255, VRRP);
        assert_eq!(verdict(&sharing(&[0]), &frame), Verdict::PuntToDaemon);
        let of_others = if source == NAT_ENI.mac {
            martian
        } else {
            Verdict::Drop(Reason::SpoofedMac)
        };
        assert_eq!(verdict(&sharing(&[1]), &frame), of_others);
        for (hop, protocol) in [(254, VRRP), (255, 113)] {
            let frame = advertisement::<F>(source, hop, protocol);
            assert_eq!(verdict(&sharing(&[0]), &frame), martian);
        }
    }
}

#[test]
fn advertisements_of_virtual_routers_are_for_the_daemon() {
    advertised::<V4>();
    advertised::<V6>();
}

/// The one that has the address is heard as well: it answers another's.
#[test]
fn announcements_are_for_the_daemon() {
    let verdict = |world: &World, frame: &[u8]| hold(world, NAT_ENI.port, frame).0.verdict;
    for (own, of_others) in [(NAT, Reason::ArpIgnored), (20, Reason::SpoofedSource)] {
        let announced = V4::private(own);
        let frame = asks::<V4>(outward(NAT_ENI), announced, announced);
        assert_eq!(verdict(&sharing(&[0]), &frame), Verdict::PuntToDaemon);
        assert_eq!(verdict(&sharing(&[1]), &frame), Verdict::Drop(of_others));
        let of_virtual = asks::<V4>((NAT_ENI.port_mac, VIRTUAL), announced, announced);
        assert_eq!(verdict(&sharing(&[0]), &of_virtual), Verdict::PuntToDaemon);
        let refused = Verdict::Drop(Reason::SpoofedMac);
        assert_eq!(verdict(&sharing(&[1]), &of_virtual), refused);
        // A virtual router's within another's frame.
        let mut mixed = of_virtual.clone();
        mixed[6..12].copy_from_slice(&VIRTUAL6);
        assert_eq!(verdict(&sharing(&[0]), &mixed), refused);
    }
    // Questions are answered as ever.
    let asked = asks::<V4>(outward(NAT_ENI), V4::private(NAT), V4::private(20));
    assert_eq!(verdict(&sharing(&[0]), &asked), Verdict::Reply);
}

fn from_virtual<F: Plan>() {
    let draft = Draft::<F>::new(F::private(NAT), F::far(7), 17, transport(17, b"payload"));
    for (source, is_taken) in [
        (VIRTUAL, true),
        (VIRTUAL6, true),
        ([0, 0, 0x5e, 0, 3, 7], false),
        ([0, 0, 0x5e, 1, 1, 7], false),
    ] {
        let frame = draft.frame((NAT_ENI.port_mac, source));
        let verdict = |world: &World| run(world, NAT_ENI.port, &frame).0.verdict;
        let refused = Verdict::Drop(Reason::SpoofedMac);
        let taken = if is_taken { Verdict::Send } else { refused };
        assert_eq!(verdict(&sharing(&[0])), taken);
        assert_eq!(verdict(&sharing(&[1])), refused);
    }
    // Where two stand on a port, nobody knows whose it would be.
    let (first, second) = (&ENIS[6], &ENIS[7]);
    assert_eq!(first.port, second.port);
    let draft = Draft::<F>::new(F::private(90), F::far(7), 17, transport(17, b"payload"));
    let frame = draft.frame((first.port_mac, VIRTUAL));
    let verdict = run(&sharing(&[6, 7]), first.port, &frame).0.verdict;
    assert_eq!(verdict, Verdict::Drop(Reason::SpoofedMac));
}

#[test]
fn a_virtual_routers_mac_is_its_enis_where_that_shares() {
    from_virtual::<V4>();
    from_virtual::<V6>();
}
