//! Documents: what `apply` makes of them, and what it refuses.

use super::WORLD;
use crate::{
    model::{
        Code, Document, Refusal,
        command::{Command, Prune},
        objects::{EipState, EniKind, EniState, Rebind},
        testing::{at, second},
    },
    table::{Outcome, testing::Pair},
};

fn apply(pair: &mut Pair, document: Document, prune: bool) -> Result<Outcome, Refusal> {
    let prune = if prune { Prune::All } else { Prune::No };
    pair.run(&Command::Apply { document, prune }, &at(1_000))
}

fn export(pair: &Pair) -> Document {
    pair.model.clone().into()
}

/// The document once its EIPs are free, which it says nothing about.
fn as_it_became(mut document: Document) -> Document {
    for eip in &mut document.eips {
        eip.state = EipState::Free;
    }
    document
}

/// NAT, cut-through, stranded and expired, all at once.
fn rich() -> Pair {
    let mut pair = Pair::with(WORLD);
    pair.accept_all(
        "eni s2 v1 secondary 4 10.0.0.31
         eni s3 v1 secondary 5 10.0.0.41
         associate x1 p1
         associate x2 s1 cut
         attach s1 i1 port-s1
         eip y1 203.0.113.31
         associate y1 s2 cut
         attach s2 i2 port-s2
         disassociate y1
         eip y2 203.0.113.32 expires=1001
         eip y3 203.0.113.33 expires=2000",
    );
    pair.accept_at("expire", 1_001);
    assert_eq!(pair.model.enis["s2"].state, EniState::Stranded);
    assert_eq!(pair.model.eips["y2"].state, EipState::Expired);
    pair
}

#[test]
fn applying_an_export_changes_nothing() {
    let mut pair = rich();
    for prune in [false, true] {
        let document = export(&pair);
        let outcome = apply(&mut pair, document, prune).unwrap();
        assert_eq!((outcome.changes, outcome.warnings), (vec![], vec![]));
    }
}

#[test]
fn an_export_survives_toml_and_restores_an_empty_table() {
    let pair = rich();
    let text = toml::to_string(&export(&pair)).unwrap();
    let document: Document = toml::from_str(&text).unwrap();
    assert_eq!(document, export(&pair));
    let mut empty = Pair::new();
    let command = Command::Apply {
        document,
        prune: Prune::All,
    };
    empty.run(&command, &at(1_001)).unwrap();
    assert_eq!(empty.model, pair.model);
}

#[test]
fn unknown_keys_are_refused() {
    let error =
        toml::from_str::<Document>("[[eip]]\nid = \"x\"\naddress = \"203.0.113.1\"\ncolour = 1");
    assert!(error.unwrap_err().to_string().contains("colour"));
    assert!(toml::from_str::<Document>("[[eips]]").is_err());
}

#[test]
fn prune_deletes_everything_else_and_only_prune() {
    let mut pair = Pair::with(WORLD);
    pair.accept("associate x1 p1");
    let outcome = apply(&mut pair, Document::default(), false).unwrap();
    assert_eq!(outcome.changes, []);
    apply(&mut pair, Document::default(), true).unwrap();
    assert_eq!(pair.model, crate::model::Model::default());
}

#[test]
fn prune_detaches_what_the_file_no_longer_has() {
    let mut pair = Pair::with(WORLD);
    pair.accept_all("associate x1 s1 cut \n attach s1 i2 port-s1");
    let mut document = export(&pair);
    document.instances.retain(|one| one.id != "i2");
    // The file still has the ENI there.
    assert_eq!(
        apply(&mut pair, document.clone(), true).unwrap_err().code,
        Code::InUse
    );
    document.enis.retain(|one| one.id != "s1");
    document.associations.clear();
    apply(&mut pair, document.clone(), true).unwrap();
    assert!(!pair.model.enis.contains_key("s1"));
    assert_eq!(pair.model.eips["x1"].state, EipState::Free);
    assert_eq!(export(&pair), as_it_became(document));
    apply(&mut pair, Document::default(), true).unwrap();
    assert_eq!(pair.model, crate::model::Model::default());
}

#[test]
fn pruning_nearly_everything_has_to_be_meant() {
    let mut pair = Pair::with(WORLD);
    pair.accept_all("associate x1 p1 \n associate x2 s1");
    let careful = |pair: &mut Pair, document: Document| {
        let prune = Prune::Few;
        pair.run(&Command::Apply { document, prune }, &at(1_000))
    };
    let refusal = careful(&mut pair, Document::default()).unwrap_err();
    assert_eq!(refusal.code, Code::NeedsYes);
    for part in ["ENIs", "EIPs", "all 2 associations", "--yes"] {
        assert!(refusal.message.contains(part), "{part}: {refusal}");
    }
    let mut document = export(&pair);
    document.associations.pop();
    // Half of them is not more than half.
    careful(&mut pair, document.clone()).unwrap();
    document.associations.clear();
    let refusal = careful(&mut pair, document).unwrap_err();
    assert!(
        refusal.message.contains("the only association"),
        "{refusal}"
    );
}

#[test]
fn prune_takes_a_pruned_instance_s_primary_eni_along() {
    let mut pair = Pair::with(WORLD);
    let mut document = export(&pair);
    document.enis.retain(|eni| eni.id != "p1");
    document.instances.retain(|one| one.id != "i1");
    apply(&mut pair, document, true).unwrap();
    assert!(!pair.model.enis.contains_key("p1"));
}

/// An instance's primary ENI, an instance, a VPC's ENI: what a file has another name for is deleted
/// and made in one transaction.
#[test]
fn prune_renames_a_primary_eni_and_its_instance() {
    let mut pair = Pair::with(WORLD);
    pair.accept_all("associate x1 p1 \n associate x2 s1 cut \n attach s1 i1 port-s1");
    let mut document = export(&pair);
    for eni in document.enis.iter_mut().filter(|eni| eni.id == "p1") {
        eni.id = "p9".to_owned();
    }
    let without = document.clone();
    assert_eq!(
        apply(&mut pair, without, true).unwrap_err().code,
        Code::InUse,
        "the file has an EIP at an ENI that it does not have"
    );
    for one in document
        .associations
        .iter_mut()
        .filter(|one| one.eni == "p1")
    {
        one.eni = "p9".to_owned();
    }
    apply(&mut pair, document.clone(), true).unwrap();
    assert_eq!(export(&pair), document);
    for instance in document.instances.iter_mut().filter(|one| one.id == "i1") {
        instance.id = "i1x".to_owned();
    }
    for eni in &mut document.enis {
        if eni.instance.as_deref() == Some("i1") {
            eni.instance = Some("i1x".to_owned());
        }
    }
    let refusal = apply(&mut pair, document.clone(), false).unwrap_err();
    assert_eq!(refusal.code, Code::PrimaryEniFixed);
    assert!(refusal.message.contains("--prune"), "{refusal}");
    apply(&mut pair, document.clone(), true).unwrap();
    assert_eq!(export(&pair), document);
    assert_eq!(pair.model.enis["s1"].state, EniState::Attached);
    // And an instance that is left without one.
    document.enis.retain(|eni| eni.id != "p9");
    document.associations.retain(|one| one.eni != "p9");
    for eip in document.eips.iter_mut().filter(|eip| eip.id == "x1") {
        eip.state = EipState::Free;
    }
    apply(&mut pair, document.clone(), true).unwrap();
    assert_eq!(export(&pair), document);
}

#[test]
fn create_associate_cut_through_and_attach_in_one_document() {
    let mut pair = Pair::with(WORLD);
    pair.accept_all("associate x1 s1 cut \n attach s1 i1 port-s1");
    let document = export(&pair);
    let mut fresh = Pair::new();
    apply(&mut fresh, document, false).unwrap();
    assert_eq!(fresh.model, pair.model);
}

#[test]
fn cut_through_on_an_eni_that_stays_attached_is_refused() {
    let mut pair = Pair::with(WORLD);
    pair.accept("associate x1 s1 cut");
    let document = export(&pair);
    pair.accept_all("disassociate x1 \n attach s1 i1 port-s1");
    // The document has the ENI detached, so it is detached first, and then all of it is possible.
    apply(&mut pair, document.clone(), false).unwrap();
    assert_eq!(pair.model.associations.len(), 1);
    pair.accept_all("disassociate x1 \n attach s1 i1 port-s1");
    let mut attached = document;
    attached.enis = pair.model.enis.values().cloned().collect();
    assert_eq!(
        apply(&mut pair, attached, false).unwrap_err().code,
        Code::EniAttached
    );
}

#[test]
fn a_document_without_a_place_detaches_secondary_enis_only() {
    let mut pair = Pair::with(WORLD);
    let document = export(&pair);
    pair.accept("attach s1 i1 port-s1");
    apply(&mut pair, document.clone(), false).unwrap();
    assert_eq!(pair.model.enis["s1"].state, EniState::Detached);
    let mut loose = document;
    for eni in &mut loose.enis {
        (eni.instance, eni.port) = (None, None);
    }
    assert_eq!(
        apply(&mut pair, loose, false).unwrap_err().code,
        Code::PrimaryEniFixed
    );
}

#[test]
fn ending_a_cut_through_association_strands() {
    let mut pair = Pair::with(WORLD);
    pair.accept_all("associate x1 s1 cut \n attach s1 i1 port-s1");
    let mut document = export(&pair);
    document.associations.clear();
    apply(&mut pair, document.clone(), true).unwrap();
    assert_eq!(pair.model.enis["s1"].state, EniState::Stranded);
    let outcome = apply(&mut pair, document.clone(), true).unwrap();
    assert_eq!(outcome.changes, []);
    assert!(
        outcome.warnings[0].contains("stays stranded"),
        "{:?}",
        outcome.warnings
    );
    for eni in document.enis.iter_mut().filter(|eni| eni.id == "s1") {
        eni.port = Some("moved".to_owned());
    }
    apply(&mut pair, document, true).unwrap();
    assert_eq!(pair.model.enis["s1"].state, EniState::Attached);
}

#[test]
fn an_expired_eip_s_association_is_skipped_with_a_warning() {
    let mut pair = Pair::with(WORLD);
    pair.accept_all("set x1 1001 \n associate x1 s1");
    let document = export(&pair);
    pair.accept_at("expire", 1_001);
    let command = Command::Apply {
        document: document.clone(),
        prune: Prune::No,
    };
    let outcome = pair.run(&command, &at(1_001)).unwrap();
    assert_eq!(outcome.changes, []);
    assert!(outcome.warnings[0].contains("x1"), "{:?}", outcome.warnings);
    let mut renewed = document;
    renewed
        .eips
        .iter_mut()
        .for_each(|eip| eip.expires_at = Some(second(5_000)));
    let command = Command::Apply {
        document: renewed,
        prune: Prune::No,
    };
    let outcome = pair.run(&command, &at(1_001)).unwrap();
    assert_eq!(
        (outcome.warnings, pair.model.associations.len()),
        (vec![], 1)
    );
}

#[test]
fn addresses_and_ports_swap_in_one_document() {
    let mut pair = Pair::with(WORLD);
    pair.accept_all("eni s2 v1 secondary 4 10.0.0.31 \n attach s1 i1 a \n attach t1 i2 b");
    let mut document = export(&pair);
    for eni in &mut document.enis {
        match eni.id.as_str() {
            "s1" => {
                eni.port = Some("b".to_owned());
                eni.private_ips = vec!["10.0.0.31".parse().unwrap()];
            }
            "s2" => {
                eni.private_ips = ["10.0.0.22", "10.0.0.21"]
                    .map(|ip| ip.parse().unwrap())
                    .to_vec();
            }
            "t1" => eni.port = Some("a".to_owned()),
            _ => {}
        }
    }
    apply(&mut pair, document.clone(), false).unwrap();
    assert_eq!(export(&pair), document);
}

#[test]
fn fields_that_can_change_do() {
    let mut pair = Pair::with(WORLD);
    let mut document = export(&pair);
    document.pools[0].reserve.clear();
    document.vpcs[0].vni = Some(7);
    document.vpcs[1].cidrs.push("10.9.0.0/24".parse().unwrap());
    document.instances[0].max_enis = None;
    document.enis[0].antispoof = crate::model::objects::Antispoof::Eni;
    document.eips[0].expires_at = Some(second(5_000));
    let outcome = apply(&mut pair, document.clone(), false).unwrap();
    assert_eq!(outcome.changes.len(), 6, "{:?}", outcome.changes);
    assert_eq!(export(&pair), document);
}

type Edit = fn(&mut Document);

#[test]
fn the_state_rules_hold_of_what_changes() {
    let mut pair = Pair::with(WORLD);
    pair.accept_all("associate x1 s1 cut \n attach s1 i1 port-s1");
    let cases: [(Code, Edit); 9] = [
        (Code::ReservedAddress, |all| {
            all.pools[0].reserve = vec!["203.0.113.11".parse().unwrap()];
        }),
        (Code::OutsideVpc, |all| {
            all.vpcs[0].cidrs.remove(0);
        }),
        (Code::ReservedAddress, |all| {
            all.vpcs[0].gateway = "10.0.0.21".parse().ok();
        }),
        (Code::InstanceEniLimit, |all| {
            all.instances[0].max_enis = Some(1);
        }),
        (Code::CutThroughPrimaryIpOnly, |all| {
            all.enis
                .iter_mut()
                .for_each(|eni| eni.private_ips.reverse());
        }),
        (Code::InUse, |all| {
            for eni in all.enis.iter_mut().filter(|eni| eni.id == "s1") {
                eni.private_ips.remove(0);
            }
        }),
        (Code::AlreadyExists, |all| {
            all.enis[0].kind = EniKind::Secondary;
        }),
        (Code::AlreadyExists, |all| {
            all.eips[0].address = "203.0.113.99".parse().unwrap();
        }),
        (Code::AlreadyExists, |all| all.eips[1].id = "x1".to_owned()),
    ];
    for (index, (code, edit)) in cases.into_iter().enumerate() {
        let mut document = export(&pair);
        edit(&mut document);
        let refusal = apply(&mut pair, document, false).unwrap_err();
        assert_eq!(refusal.code, code, "case {index}: {refusal}");
    }
}

/// What the file says of a port is no new attach: an interface that was made anew under its name
/// stays closed.
#[test]
fn a_forced_port_is_one_where_the_file_says_so_and_stays_the_interface_that_it_is() {
    let mut pair = Pair::with(WORLD);
    let attach = Command::EniAttach {
        id: "s1".to_owned(),
        instance: "i1".to_owned(),
        port: "tap7".to_owned(),
        vlan: None,
        force: false,
        rebind: Some(Rebind::Never),
    };
    let bind = Command::EniBind {
        id: "s1".to_owned(),
        bound: "the first".to_owned(),
    };
    for command in [attach, bind] {
        pair.run(&command, &at(1_000)).unwrap();
    }
    for force in [true, false, false] {
        let mut document = export(&pair);
        let eni = document.enis.iter_mut().find(|eni| eni.id == "s1");
        eni.expect("there").force = force;
        apply(&mut pair, document, false).unwrap();
        let eni = &pair.model.enis["s1"];
        assert_eq!(eni.force, force);
        assert_eq!(eni.bound.as_deref(), Some("the first"));
    }
}
