//! What is compiled of a change alone is what the whole table gives.

use proptest::{collection::vec, prelude::*};

use super::{
    testing::{config, host, world},
    *,
};
use crate::{
    config::MapSizes,
    host::LinkKind,
    kernel::{Plane, fake::Fake},
    model::{Change, Diff, rules::tests::random::tales},
    plan::plan,
    reconcile::Reconciler,
};

/// How many bytes a world is drawn from.
const BYTES: usize = 160;

/// The maps of a host on which everything may run out.
fn limits(spare: bool) -> Limits {
    let more = if spare { 20 } else { 0 };
    Limits::from(&MapSizes {
        eips: 9 + more,
        eips6: Some(5 + more),
        private_addresses: 16 + more,
        private_addresses6: Some(12 + more),
        vpcs: 2 + more,
        ports: 6 + more,
        enis: 6 + more,
    })
}

/// A reconciler that follows changes, and how often it could.
struct Follower {
    model: Model,
    reconciler: Reconciler<Fake>,
    facts: HostFacts,
    config: Config,
    followed: usize,
}

impl Follower {
    fn new(limits: Limits, facts: HostFacts, text: &str) -> Self {
        let plane = Fake {
            limits,
            ..Fake::default()
        };
        let mut follower = Self {
            model: Model::default(),
            reconciler: Reconciler::adopt(plane).expect("a fake"),
            facts,
            config: config(text),
            followed: 0,
        };
        follower.step();
        follower
    }

    fn step(&mut self) {
        let step = self.reconciler.step(&self.model, &self.facts, &self.config);
        assert!(step.error.is_none());
    }

    /// Follows changes, and compares with what is compiled of everything.
    fn follow(&mut self, changes: &[Change]) {
        let mut want = self.model.clone();
        want.change(changes);
        let before = self.reconciler.have().clone();
        let (image, served) = compile_all(&want, &self.facts, &self.config, &before);
        let step = self
            .reconciler
            .follow(&mut self.model, changes, &self.facts, &self.config);
        assert_eq!(self.model, want);
        let Some(step) = step else {
            self.step();
            return;
        };
        self.followed += 1;
        assert!(step.error.is_none());
        let have = self.reconciler.have();
        assert_eq!(have.content, image.content);
        assert_eq!(have.allocations, image.allocations);
        assert!(!image.out_of_indexes);
        assert_eq!(self.reconciler.served(), &served);
        assert_eq!(step.writes, plan(&image.content, &before.content).len());
        assert_eq!(step.moved, moved(&before.content, &image.content));
        assert_eq!(step.withdrawn, withdrawn(&before.content, &image.content));
        assert_eq!(self.reconciler.plane.read().expect("a fake"), image.content);
    }
}

/// The changes that make one table the other.
fn between(old: &Model, new: &Model) -> Vec<Change> {
    fn diffs<K: Ord, T: Clone + PartialEq>(
        old: &BTreeMap<K, T>,
        new: &BTreeMap<K, T>,
        change: fn(Diff<T>) -> Change,
    ) -> Vec<Change> {
        let diffs = both(new, old).filter(|(_, after, before)| after != before);
        let diff = |(_, after, before): (_, Option<&T>, Option<&T>)| Diff {
            before: before.cloned(),
            after: after.cloned(),
        };
        diffs.map(|one| change(diff(one))).collect()
    }
    let mut changes = diffs(&old.pools, &new.pools, Change::Pool);
    changes.extend(diffs(&old.vpcs, &new.vpcs, Change::Vpc));
    changes.extend(diffs(&old.instances, &new.instances, Change::Instance));
    changes.extend(diffs(&old.enis, &new.enis, Change::Eni));
    changes.extend(diffs(&old.eips, &new.eips, Change::Eip));
    changes.extend(diffs(
        &old.associations,
        &new.associations,
        Change::Association,
    ));
    changes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// From any table to any other, all at once.
    #[test]
    fn a_leap_gives_what_the_whole_table_gives(
        worlds in vec(vec(any::<u8>(), BYTES), 2..6),
        spare in prop::bool::weighted(0.8),
        reclaim in any::<bool>(),
    ) {
        let (_, facts) = world(&worlds[0]);
        let mut follower = Follower::new(limits(spare), facts, "");
        for bytes in &worlds {
            let (model, _) = world(bytes);
            follower.follow(&between(&follower.model, &model));
            if reclaim {
                follower.reconciler.reclaim().expect("a fake");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Command by command, as the rules allow them.
    #[test]
    fn each_command_gives_what_the_whole_table_gives(
        tale in tales(),
        reclaim in any::<bool>(),
        regional in any::<bool>(),
        small in any::<bool>(),
    ) {
        let mut facts = host();
        let number = facts.links.len();
        for (port, kind) in [LinkKind::Veth, LinkKind::Physical, LinkKind::Tap].into_iter().enumerate() {
            let index = u32::try_from(number + port).expect("few") + 30;
            let mut link = testing::link(&format!("q{port}"), 30 + u8::try_from(port).expect("few"), kind);
            link.mtu = if small { 9000 } else { 1500 };
            facts.links.insert(index, link);
        }
        if small {
            facts.routes.clear();
        }
        let text = if regional { "[gateway]\nregion = \"r\"" } else { "" };
        let mut follower = Follower::new(Limits::default(), facts, text);
        let mut commands = 0;
        tale.tell(|changes| {
            commands += 1;
            follower.follow(changes);
            if reclaim {
                follower.reconciler.reclaim().expect("a fake");
            }
        });
        // Those of pools, and of VPCs that are in use, are few.
        prop_assert!(follower.followed * 2 > commands, "{} of {commands}", follower.followed);
    }
}
