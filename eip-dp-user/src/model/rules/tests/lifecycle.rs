//! What happens to ENIs and EIPs over time.

use super::WORLD;
use crate::{
    model::{
        Change, Code, Context,
        command::Command,
        objects::{EipState, EniState, Mode, Rebind},
        testing::{at, command, second},
    },
    table::testing::Pair,
};

fn eni(pair: &Pair, id: &str) -> EniState {
    pair.model.enis[id].state
}

fn eip(pair: &Pair, id: &str) -> EipState {
    pair.model.eips[id].state
}

/// A cut-through EIP on an attached secondary ENI.
fn cut_through() -> Pair {
    let mut pair = Pair::with(WORLD);
    pair.accept_all("set x1 2000 \n associate x1 s1 cut \n attach s1 i1 port-s1");
    assert_eq!(eni(&pair, "s1"), EniState::Attached);
    pair
}

#[test]
fn disassociating_cut_through_strands_until_detach_and_attach() {
    let mut pair = cut_through();
    pair.accept("disassociate x1");
    assert_eq!(
        (eni(&pair, "s1"), eip(&pair, "x1")),
        (EniState::Stranded, EipState::Free)
    );
    assert_eq!(pair.model.enis["s1"].port.as_deref(), Some("port-s1"));
    pair.accept("detach s1");
    assert_eq!(eni(&pair, "s1"), EniState::Detached);
    pair.accept("attach s1 i1 port-s1");
    assert_eq!(eni(&pair, "s1"), EniState::Attached);
}

#[test]
fn expiry_ends_the_association_and_strands() {
    let mut pair = cut_through();
    assert_eq!(pair.table.next_expiry().unwrap(), Some(second(2_000)));
    assert_eq!(pair.accept_at("expire", 1_999).changes, []);
    let outcome = pair.accept_at("expire", 2_000);
    assert_eq!(outcome.changes.len(), 3, "{:?}", outcome.changes);
    assert_eq!(
        (eni(&pair, "s1"), eip(&pair, "x1")),
        (EniState::Stranded, EipState::Expired)
    );
    assert_eq!(pair.model.associations.get("x1"), None);
    assert_eq!(pair.table.next_expiry().unwrap(), None);
    assert_eq!(
        pair.accept_at("expire", 3_000).changes,
        [],
        "once is enough"
    );
}

#[test]
fn expired_eip_is_renewed_or_released() {
    let mut pair = cut_through();
    pair.accept_at("expire", 2_000);
    pair.refuse(Code::EipExpired, "associate x1 p1");
    assert_eq!(eip(&pair, "x1"), EipState::Expired);
    pair.accept("set x1 9000");
    assert_eq!(eip(&pair, "x1"), EipState::Associated);
    assert_eq!(pair.table.next_expiry().unwrap(), Some(second(9_000)));
    assert_eq!(pair.model.enis["s1"].state, EniState::Attached);
    pair.accept_all("disassociate x1 \n associate x1 p1");
    pair.accept_at("expire", 9_000);
    pair.accept("set x1 never");
    assert_eq!(pair.model.eips["x1"].expires_at, None);
    pair.accept("set x1 9000");
    pair.accept_at("expire", 9_000);
    pair.accept("release x1");
    assert!(!pair.model.eips.contains_key("x1"));
}

#[test]
fn an_eip_is_over_at_its_time_even_before_the_daemon_says_so() {
    let mut pair = Pair::with(WORLD);
    pair.accept("set x1 1500");
    let late = pair.run(&command("associate x1 s1"), &at(1_500));
    assert_eq!(late.unwrap_err().code, Code::EipExpired);
    pair.accept_at("associate x1 s1", 1_499);
    assert_eq!(eip(&pair, "x1"), EipState::Associated);
}

#[test]
fn free_eips_expire_too() {
    let mut pair = Pair::with(WORLD);
    pair.accept_all("set x1 1500 \n set x2 1600");
    pair.accept_at("expire", 1_550);
    assert_eq!(
        (eip(&pair, "x1"), eip(&pair, "x2")),
        (EipState::Expired, EipState::Free)
    );
    assert_eq!(pair.table.next_expiry().unwrap(), Some(second(1_600)));
}

#[test]
fn nat_never_strands() {
    let mut pair = Pair::with(WORLD);
    pair.accept_all("set x1 1500 \n attach s1 i1 port-s1 \n associate x1 s1 \n associate x2 p1 \n disassociate x2");
    pair.accept_at("expire", 1_500);
    assert_eq!(
        (eni(&pair, "s1"), eni(&pair, "p1")),
        (EniState::Attached, EniState::Attached)
    );
}

#[test]
fn cut_through_that_ends_while_detached_does_not_strand() {
    let mut pair = cut_through();
    pair.accept_all("detach s1 \n disassociate x1");
    assert_eq!(eni(&pair, "s1"), EniState::Detached);
}

#[test]
fn attaching_a_stranded_eni_again_in_one_step_is_the_cure_too() {
    for place in ["i1 port-s1", "i1 other", "i2 other"] {
        let mut pair = cut_through();
        pair.accept("disassociate x1");
        pair.accept(&format!("attach s1 {place}"));
        assert_eq!(eni(&pair, "s1"), EniState::Attached, "{place}");
    }
}

#[test]
fn stranded_eni_takes_nat_with_a_warning_and_no_cut_through() {
    let mut pair = cut_through();
    pair.accept("disassociate x1");
    pair.refuse(Code::EniAttached, "associate x2 s1 cut");
    let outcome = pair.accept("associate x2 s1");
    assert!(
        outcome.warnings[0].contains("stranded"),
        "{:?}",
        outcome.warnings
    );
    assert_eq!(
        eni(&pair, "s1"),
        EniState::Stranded,
        "an EIP does not cure it"
    );
}

#[test]
fn a_moved_eni_keeps_its_eips() {
    let mut pair = cut_through();
    let outcome = pair.accept("attach s1 i2 elsewhere");
    assert!(
        matches!(outcome.changes.as_slice(), [Change::Eni(_)]),
        "{:?}",
        outcome.changes
    );
    let moved = &pair.model.enis["s1"];
    assert_eq!(
        (moved.instance.as_deref(), moved.port.as_deref()),
        (Some("i2"), Some("elsewhere"))
    );
    assert_eq!(moved.state, EniState::Attached);
    assert_eq!(pair.model.associations["x1"].mode, Mode::CutThrough);
}

#[test]
fn what_is_so_already_changes_nothing() {
    let mut pair = cut_through();
    let revision = pair.table.revision().unwrap();
    for line in [
        "attach s1 i1 port-s1",
        "set x1 2000",
        "expire",
        "set x2 never",
    ] {
        assert_eq!(pair.accept(line).changes, [], "{line}");
    }
    pair.accept("detach s1");
    assert_eq!(pair.accept("detach s1").changes, []);
    assert_eq!(pair.table.revision().unwrap(), revision + 1);
}

#[test]
fn instance_delete_takes_its_primary_eni_along() {
    let mut pair = Pair::with(WORLD);
    pair.accept("instance-delete i1");
    assert!(!pair.model.enis.contains_key("p1") && !pair.model.instances.contains_key("i1"));
}

#[test]
fn the_next_free_address_is_the_lowest_that_an_eip_can_have() {
    let mut pair = Pair::with(
        "pool 203.0.113.64/28 gateway=203.0.113.66 reserve=203.0.113.68-203.0.113.75
         pool 203.0.114.0/31 gateway=none",
    );
    // .64 network, .66 gateway, .68-.75 reserved, .77 the host's, .79 broadcast; then the second
    // pool, all of it.
    for (id, expected) in ["a 65", "b 67", "c 76", "d 78"]
        .iter()
        .map(|one| one.split_once(' ').unwrap())
    {
        pair.accept(&format!("eip {id}"));
        assert_eq!(
            pair.model.eips[id].address.to_string(),
            format!("203.0.113.{expected}")
        );
    }
    pair.accept_all("eip e \n eip f");
    assert_eq!(pair.model.eips["f"].address.to_string(), "203.0.114.1");
    let refusal = pair.refuse(Code::OutsidePools, "eip g");
    assert!(refusal.message.contains("release an EIP"), "{refusal}");
    pair.accept_all("release b \n eip g");
    assert_eq!(pair.model.eips["g"].address.to_string(), "203.0.113.67");
}

#[test]
fn the_next_hop_is_given_to_nobody() {
    let mut pair = Pair::with("pool 203.0.113.248/29");
    // .249 is the gateway, .251 the next hop.
    pair.accept_all("eip a \n eip b");
    assert_eq!(pair.model.eips["a"].address.to_string(), "203.0.113.250");
    assert_eq!(pair.model.eips["b"].address.to_string(), "203.0.113.252");
}

/// An address may become the host's or a next hop's after it became an EIP.
#[test]
fn an_eip_that_became_a_next_hop_is_not_associated() {
    let mut pair = Pair::with(WORLD);
    let elsewhere = Context {
        host_addresses: Vec::new(),
        host_networks: Vec::new(),
        next_hops: Vec::new(),
        ..at(1_000)
    };
    for (id, address) in [
        ("hop", "203.0.113.251"),
        ("own", "203.0.113.77"),
        ("net", "203.0.113.64"),
        ("all", "203.0.113.79"),
    ] {
        let create = command(&format!("eip {id} {address}"));
        pair.run(&create, &elsewhere).unwrap();
        let refusal = pair.refuse(Code::ReservedAddress, &format!("associate {id} s1"));
        assert!(refusal.message.contains(address), "{refusal}");
    }
}

#[test]
fn no_pool_gives_no_address() {
    let refusal = Pair::new().refuse(Code::OutsidePools, "eip a");
    assert!(refusal.message.contains("pool create"), "{refusal}");
}

#[test]
fn a_pool_of_ipv6_fills_up() {
    let mut pair = Pair::with("pool 2001:db8::ffff:fffc/126");
    // ::fffc is the anycast address of routers, ::fffd the gateway.
    pair.accept_all("eip a \n eip b");
    assert_eq!(
        pair.model.eips["a"].address.to_string(),
        "2001:db8::ffff:fffe"
    );
    pair.refuse(Code::OutsidePools, "eip c");
}

#[test]
fn times_are_kept_to_the_microsecond() {
    let mut pair = Pair::with(WORLD);
    let Command::EipSet { id, .. } = command("set x1 2000") else {
        panic!("another command");
    };
    let time = "2030-01-01T00:00:00.123456789Z".parse().unwrap();
    let expires = Some(crate::model::command::Expiry::At(time));
    let set = Command::EipSet {
        id,
        expires,
        announce: None,
    };
    pair.run(&set, &at(1_000)).unwrap();
    let stored = pair.model.eips["x1"].expires_at.unwrap().to_string();
    assert_eq!(stored, "2030-01-01T00:00:00.123456Z");
}

#[test]
fn a_renewed_eip_gets_its_association_back_unless_another_took_its_place() {
    let mut pair = Pair::with(WORLD);
    pair.accept_all("set x1 2000 \n set x2 2000 \n associate x1 s1 nat ip=10.0.0.22");
    pair.accept_all("associate x2 p1");
    pair.accept_at("expire", 2_000);
    pair.accept("associate x3 s1 nat ip=10.0.0.22");
    // Its private IP has another EIP: the renewal says so, and is done.
    let outcome = pair.accept("set x1 never");
    assert!(outcome.warnings[0].contains("`x3`"), "{outcome:?}");
    assert_eq!(eip(&pair, "x1"), EipState::Free);
    assert_eq!(pair.model.eips["x1"].former, None);
    let outcome = pair.accept("set x2 never");
    assert_eq!(outcome.warnings, Vec::<String>::new());
    assert_eq!(pair.model.associations["x2"].eni, "p1");
    assert_eq!(pair.model.eips["x2"].former, None);
}

#[test]
fn pools_are_asked_by_priority_and_routed_ones_give_no_odd_addresses() {
    let mut pair = Pair::with("pool 203.0.113.0/29 gateway=none \n pool 198.51.100.0/24");
    pair.accept_all("pool-set 203.0.113.0/29 priority=5 \n eip x1 \n eip x2 203.0.113.0");
    let address = |pair: &Pair, id: &str| pair.model.eips[id].address.to_string();
    assert_eq!(address(&pair, "x1"), "203.0.113.1");
    assert_eq!(address(&pair, "x2"), "203.0.113.0");
    for number in 2..8 {
        pair.accept(&format!("eip y{number}"));
    }
    pair.accept("eip z");
    assert_eq!(address(&pair, "z"), "198.51.100.2");
}

#[test]
fn two_enis_swap_their_macs_in_one_document() {
    let mut pair = Pair::with(WORLD);
    pair.accept("associate x1 s1");
    let mut document: crate::model::Document = pair.model.clone().into();
    let mut macs = document.enis.iter_mut().filter(|eni| eni.vpc == "v1");
    let (one, other) = (macs.next().unwrap(), macs.next().unwrap());
    std::mem::swap(&mut one.mac, &mut other.mac);
    let wanted = document.clone();
    let prune = crate::model::command::Prune::No;
    let apply = Command::Apply { document, prune };
    pair.run(&apply, &at(1_000)).unwrap();
    assert_eq!(crate::model::Document::from(pair.model.clone()), wanted);
}

#[test]
fn an_eni_that_is_attached_again_where_it_is_stays_with_its_interface() {
    let mut pair = Pair::with(WORLD);
    pair.accept_all("attach s1 i1 tap0 rebind=never \n attach s1 i1 tap0");
    assert_eq!(pair.model.enis["s1"].rebind, Rebind::Never);
    pair.accept("attach s1 i1 tap1");
    assert_eq!(pair.model.enis["s1"].rebind, Rebind::Name);
}

/// An attach where the ENI stands takes the interface that is there now: nothing is done where it
/// has that one, so that no packet is lost.
#[test]
fn an_attach_to_the_same_interface_changes_nothing() {
    let mut pair = Pair::with(WORLD);
    let attach = "attach s1 i1 tap0 rebind=never";
    pair.accept(attach);
    for (bound, stays) in [("here", true), ("another", false)] {
        let bind = Command::EniBind {
            id: "s1".to_owned(),
            bound: bound.to_owned(),
        };
        pair.run(&bind, &at(1_000)).unwrap();
        let outcome = pair.run(&command(attach), &at(1_000)).unwrap();
        assert_eq!(outcome.changes.is_empty(), stays, "{bound}");
        assert_eq!(pair.model.enis["s1"].bound.is_some(), stays, "{bound}");
        pair.accept_all("detach s1 \n attach s1 i1 tap0 rebind=never");
    }
}
