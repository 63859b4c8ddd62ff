//! Every step of every plan is safe, and the last one arrives.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use eip_dp_common::abi::{Checksummed, EipMode, NONE, SourceState};
use proptest::{collection::vec, prelude::*};

use super::plan;
use crate::{
    compile::{Address, Content, FamilyContent, Limits, compile, tag, testing},
    config::MapSizes,
    host::HostFacts,
    kernel::{Plane, fake::Fake},
    model::Model,
    reconcile::Reconciler,
};

/// How many bytes a world is drawn from.
const BYTES: usize = 140;

/// Who owns what, by a table alone.
#[derive(Default)]
struct Owners {
    eips: BTreeSet<(IpAddr, u64)>,
    addresses: BTreeSet<(u64, IpAddr, u64)>,
    macs: BTreeSet<([u8; 6], u64)>,
}

impl Owners {
    fn add(&mut self, model: &Model) {
        for association in model.associations.values() {
            let eip = model.eips[&association.eip].address;
            self.eips.insert((eip, tag(&association.eni)));
            let vpc = tag(&model.enis[&association.eni].vpc);
            self.addresses.insert((vpc, eip, tag(&association.eni)));
        }
        for eni in model.enis.values() {
            for address in &eni.private_ips {
                self.addresses
                    .insert((tag(&eni.vpc), *address, tag(&eni.id)));
            }
            self.macs.insert((eni.mac.0, tag(&eni.id)));
        }
    }

    /// What a packet could meet at this moment belongs to whom the old or the new table gives it.
    fn check(&self, content: &Content) -> Result<(), TestCaseError> {
        self.check_family::<[u8; 4]>(content)?;
        self.check_family::<[u8; 16]>(content)?;
        let tag_of = |index: u32| content.targets.get(&index).map(|target| target.tag);
        for (key, mac) in &content.macs {
            prop_assert!(mac.is_consistent(key));
            let owner = tag_of(mac.target).expect("a MAC has a target");
            prop_assert!(self.macs.contains(&(key.mac, owner)));
        }
        for (key, port) in &content.ports {
            prop_assert!(port.is_consistent(key));
            prop_assert!(port.target == NONE || tag_of(port.target).is_some());
        }
        Ok(())
    }

    fn check_family<A: Address>(&self, content: &Content) -> Result<(), TestCaseError> {
        let tag_of = |index: u32| content.targets.get(&index).map(|target| target.tag);
        let FamilyContent { eips, private, .. } = A::part(content);
        let mut senders: BTreeMap<A, u32> = BTreeMap::new();
        for (address, eip) in eips {
            prop_assert!(eip.is_consistent(address));
            let delivers = matches!(
                EipMode::from_value(eip.mode),
                Some(EipMode::Nat | EipMode::CutThrough)
            );
            prop_assert_eq!(delivers, eip.target != NONE);
            if let Some(owner) = tag_of(eip.target) {
                prop_assert!(
                    self.eips.contains(&(address.ip(), owner)),
                    "EIP {address:?} leads to a stranger"
                );
            } else {
                prop_assert!(!delivers, "EIP {address:?} leads nowhere");
            }
        }
        for (key, private) in private {
            prop_assert!(private.is_consistent(key));
            let owner = tag_of(private.target);
            prop_assert!(
                private.target == NONE || owner.is_some(),
                "an address leads nowhere"
            );
            if let (Some(owner), Some(vpc)) = (owner, content.vpcs.get(&key.vpc)) {
                let known = (vpc.tag, key.address.ip(), owner);
                prop_assert!(
                    self.addresses.contains(&known),
                    "{key:?} leads to a stranger"
                );
                prop_assert_eq!(content.targets[&private.target].vpc, key.vpc);
            }
            let state = SourceState::from_value(private.state);
            if matches!(state, Some(SourceState::Nat | SourceState::CutThrough)) {
                let owner = owner.expect("a sender has a target");
                prop_assert!(
                    self.eips.contains(&(private.public.ip(), owner)),
                    "{key:?} sends as a stranger"
                );
                let eip = eips.get(&private.public);
                prop_assert_eq!(eip.map(|eip| eip.slot), Some(private.slot));
                // The EIP may be silent while its port's link is down, but it never leads to
                // another ENI.
                let target = eip.map_or(NONE, |eip| eip.target);
                prop_assert!(
                    target == NONE || target == private.target,
                    "two owners of {:?}",
                    private.public
                );
                prop_assert_eq!(
                    senders.insert(private.public, private.target),
                    None,
                    "two senders"
                );
            }
        }
        Ok(())
    }
}

fn small() -> Limits {
    Limits::from(&MapSizes {
        eips: 12,
        private_addresses: 64,
        vpcs: 2,
        ports: 8,
        enis: 6,
        ..MapSizes::default()
    })
}

/// Goes from table to table write by write, and checks after each.
fn walk(worlds: &[(Model, HostFacts)]) -> Result<(), TestCaseError> {
    let config = testing::config("");
    let plane = Fake {
        limits: small(),
        ..Fake::default()
    };
    let mut reconciler = Reconciler::adopt(plane).expect("a fake");
    let mut old = &Model::default();
    for (model, facts) in worlds {
        let mut owners = Owners::default();
        owners.add(old);
        owners.add(model);
        let mut content = reconciler.have().content.clone();
        let image = compile(model, facts, &config, reconciler.have());
        for write in plan(&image.content, &content) {
            content.apply(&write);
            owners.check(&content)?;
        }
        prop_assert_eq!(&content, &image.content);
        let step = reconciler.step(model, facts, &config);
        prop_assert!(step.error.is_none());
        prop_assert_eq!(&reconciler.plane.content, &image.content);
        prop_assert_eq!(reconciler.audit().expect("a fake"), 0);
        reconciler.reclaim().expect("a fake");
        old = model;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_step_is_safe_and_the_last_one_arrives(worlds in vec(vec(any::<u8>(), BYTES), 1..5)) {
        let worlds: Vec<_> = worlds.iter().map(|bytes| testing::world(bytes)).collect();
        walk(&worlds)?;
    }

    #[test]
    fn a_write_that_fails_leaves_a_safe_state_and_the_next_step_arrives(
        first in vec(any::<u8>(), BYTES),
        second in vec(any::<u8>(), BYTES),
        third in vec(any::<u8>(), BYTES),
        fails_after in 0_usize..40,
    ) {
        let config = testing::config("");
        let [first, second, third] = [first, second, third].map(|bytes| testing::world(&bytes));
        let plane = Fake { limits: small(), ..Fake::default() };
        let mut reconciler = Reconciler::adopt(plane).expect("a fake");
        reconciler.step(&first.0, &first.1, &config);
        reconciler.plane.fails_after = Some(fails_after);
        let step = reconciler.step(&second.0, &second.1, &config);
        prop_assert_eq!(&reconciler.plane.content, &reconciler.have().content);
        let mut owners = Owners::default();
        owners.add(&first.0);
        owners.add(&second.0);
        owners.check(&reconciler.plane.content)?;
        if let Some(error) = step.error {
            prop_assert!(error.to_string().contains("no space left"));
        }
        reconciler.plane.fails_after = None;
        let step = reconciler.step(&third.0, &third.1, &config);
        prop_assert!(step.error.is_none());
        let image = compile(&third.0, &third.1, &config, reconciler.have());
        prop_assert_eq!(&reconciler.plane.content, &image.content);
    }

    #[test]
    fn the_next_daemon_finds_every_index_again(bytes in vec(any::<u8>(), BYTES)) {
        let config = testing::config("");
        let (model, facts) = testing::world(&bytes);
        let plane = Fake { limits: small(), ..Fake::default() };
        let mut reconciler = Reconciler::adopt(plane).expect("a fake");
        reconciler.step(&model, &facts, &config);
        reconciler.reclaim().expect("a fake");
        let mut next = Reconciler::adopt(reconciler.plane.clone()).expect("a fake");
        let step = next.step(&model, &facts, &config);
        prop_assert_eq!(step.writes, 0, "nothing to do");
        prop_assert_eq!(&next.have().allocations, &reconciler.have().allocations);
    }

    #[test]
    fn whatever_another_program_wrote_is_mended(
        bytes in vec(any::<u8>(), BYTES),
        foreign in vec(any::<u8>(), BYTES),
    ) {
        let config = testing::config("");
        let (model, facts) = testing::world(&bytes);
        let (other, other_facts) = testing::world(&foreign);
        let plane = Fake { limits: small(), ..Fake::default() };
        let mut reconciler = Reconciler::adopt(plane.clone()).expect("a fake");
        reconciler.step(&model, &facts, &config);
        let mut intruder = Reconciler::adopt(plane).expect("a fake");
        intruder.step(&other, &other_facts, &config);
        reconciler.plane.content = intruder.plane.read().expect("a fake");
        reconciler.audit().expect("a fake");
        let step = reconciler.step(&model, &facts, &config);
        prop_assert!(step.error.is_none());
        let image = compile(&model, &facts, &config, reconciler.have());
        prop_assert_eq!(&reconciler.plane.content, &image.content);
        prop_assert_eq!(reconciler.audit().expect("a fake"), 0);
    }
}
