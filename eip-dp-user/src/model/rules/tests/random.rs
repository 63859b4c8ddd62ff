//! Random commands, one after the other, break no invariant; memory and file agree at every step.

use std::{collections::BTreeMap, net::IpAddr};

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};

use crate::{
    model::{
        Change, Document, Model, Vlan,
        command::{Command, EipSpec, EniSpec, Expiry, OrNone, Prune},
        objects::{
            Announce, Antispoof, Association, Eip, EipState, Eni, EniKind, EniState, Instance,
            Mode, Pool, Rebind, Vpc,
        },
        rules,
        testing::{at, command, mac, second},
    },
    table::testing::{Pair, follow},
};

/// Something to build on, so that most commands have a chance.
const START: &str = "
    pool 203.0.113.0/28 reserve=203.0.113.12-203.0.113.13
    pool 2001:db8::/125
    vpc v0 10.0.0.0/28,fd00::/125
    vpc v1 10.0.0.0/28
    instance i0 max=2
    instance i1
    eni e0 v0 primary 1 10.0.0.2
    eni e1 v0 secondary 2 10.0.0.3,10.0.0.4,fd00::2
    eni e2 v1 secondary 3 10.0.0.2
    eni e3 v0 secondary 4 10.0.0.5,fd00::3
    eip x0
    eip x1 expires=1004
    eip x2
    eip x3 2001:db8::4
    eip x4 pool=2001:db8::/125
";

#[derive(Clone, Debug)]
enum Step {
    Do(Command),
    /// The table's own export is applied after changes to it.
    Edit(Edit),
    /// Time passes.
    Wait(i64),
}

impl Step {
    /// The command to run, unless only time passes.
    fn command(self, model: &Model, now: &mut i64) -> Option<Command> {
        match self {
            Self::Wait(seconds) => {
                *now += seconds;
                None
            }
            Self::Do(command) => Some(command),
            Self::Edit(edit) => Some(edit.apply(model.clone().into())),
        }
    }
}

/// An instance, and an interface with its VLAN.
type Place = (String, (String, Option<Vlan>));

/// Changes to a document: where ENIs stand, which associations there are, what is left out.
#[derive(Clone, Debug)]
struct Edit {
    places: Vec<(Index, Option<Place>)>,
    associations: Vec<Association>,
    without: Option<(usize, Index)>,
    prune: Prune,
}

impl Edit {
    fn apply(self, mut document: Document) -> Command {
        for (index, place) in self.places {
            if !document.enis.is_empty() {
                let count = document.enis.len();
                let eni = &mut document.enis[index.index(count)];
                let (instance, port) = place.unzip();
                (eni.port, eni.vlan) = port.map_or((None, None), |(port, vlan)| (Some(port), vlan));
                eni.instance = instance;
            }
        }
        for one in self.associations {
            document.associations.retain(|other| other.eip != one.eip);
            document.associations.push(one);
        }
        match self.without {
            Some((0, index)) => leave_out(&mut document.enis, index),
            Some((1, index)) => leave_out(&mut document.eips, index),
            Some((2, index)) => leave_out(&mut document.instances, index),
            Some((3, index)) => leave_out(&mut document.vpcs, index),
            Some((_, index)) => leave_out(&mut document.associations, index),
            None => {}
        }
        let prune = self.prune;
        Command::Apply { document, prune }
    }
}

fn leave_out<T>(objects: &mut Vec<T>, index: Index) {
    if !objects.is_empty() {
        objects.remove(index.index(objects.len()));
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let places = vec((any::<Index>(), option::of((name('i', 2), port()))), 0..2);
    let without = option::weighted(0.4, (0..7_usize, any::<Index>()));
    let parts = (places, vec(association(), 0..2), without, prune());
    parts.prop_map(|(places, associations, without, prune)| Edit {
        places,
        associations,
        without,
        prune,
    })
}

fn name(letter: char, count: usize) -> impl Strategy<Value = String> + Clone {
    (0..count).prop_map(move |number| format!("{letter}{number}"))
}

fn private_ip() -> impl Strategy<Value = IpAddr> + Clone {
    let all = [
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.3",
        "10.0.0.4",
        "10.0.0.5",
        "10.0.0.15",
        "10.1.0.2",
        "fd00::2",
        "fd00::3",
    ];
    select(all.map(|ip| ip.parse().expect("an address")).to_vec())
}

fn public_ip() -> impl Strategy<Value = IpAddr> + Clone {
    let all = [
        "203.0.113.1",
        "203.0.113.2",
        "203.0.113.3",
        "203.0.113.9",
        "203.0.113.12",
        "203.0.114.2",
        "203.0.114.3",
        "2001:db8::2",
        "2001:db8::3",
    ];
    select(all.map(|ip| ip.parse().expect("an address")).to_vec())
}

fn kind() -> impl Strategy<Value = EniKind> + Clone {
    prop_oneof![1 => Just(EniKind::Primary), 3 => Just(EniKind::Secondary)]
}

fn mode() -> impl Strategy<Value = Mode> + Clone {
    select(vec![Mode::Nat, Mode::CutThrough])
}

fn region() -> impl Strategy<Value = Option<String>> + Clone {
    prop_oneof![20 => Just(None), 1 => Just(Some("r".to_owned()))]
}

fn port() -> impl Strategy<Value = (String, Option<Vlan>)> + Clone {
    let vlan = (option::weighted(0.3, 1..3_u16), 1..3_u16);
    let vlan = vlan.prop_map(|(outer, id)| Vlan { outer, id });
    (name('q', 4), option::weighted(0.2, vlan))
}

fn pool() -> impl Strategy<Value = Pool> {
    let cidrs = [
        "203.0.113.0/28",
        "203.0.113.8/29",
        "203.0.114.0/29",
        "2001:db8::/125",
        "10.0.0.0/24",
    ];
    let gateways = [None, Some("none"), Some("203.0.113.9"), Some("203.0.114.2")];
    let reserves = [None, Some("203.0.113.2-203.0.113.3"), Some("203.0.114.3")];
    (
        select(cidrs.to_vec()),
        select(gateways.to_vec()),
        select(reserves.to_vec()),
    )
        .prop_map(|(cidr, gateway, reserve)| Pool {
            cidr: cidr.parse().expect("a prefix"),
            gateway: gateway.map(|text| text.parse().expect("a gateway")),
            reserve: reserve
                .map(|text| text.parse().expect("a range"))
                .into_iter()
                .collect(),
            priority: 100,
        })
}

fn vpc() -> impl Strategy<Value = Vpc> {
    let cidrs = [
        vec!["10.0.0.0/28"],
        vec!["10.0.0.0/28", "fd00::/125"],
        vec!["10.0.0.0/28", "10.1.0.0/24"],
        vec!["10.0.0.0/8", "10.1.0.0/24"],
        vec!["203.0.113.0/28"],
    ];
    let gateways = [None, Some("10.0.0.4"), Some("10.1.0.2")];
    (
        name('v', 3),
        select(cidrs.to_vec()),
        select(gateways.to_vec()),
    )
        .prop_map(|(id, cidrs, gateway)| Vpc {
            id,
            cidrs: cidrs
                .iter()
                .map(|cidr| cidr.parse().expect("a prefix"))
                .collect(),
            gateway: gateway.map(|text| text.parse().expect("an address")),
            vni: None,
        })
}

fn instance() -> impl Strategy<Value = Instance> {
    (name('i', 3), option::of(1..4_u32)).prop_map(|(id, max_enis)| Instance { id, max_enis })
}

fn eni_spec() -> impl Strategy<Value = EniSpec> {
    (
        name('e', 4),
        name('v', 3),
        kind(),
        1..8_u8,
        vec(private_ip(), 1..3),
        region(),
    )
        .prop_map(|(id, vpc, kind, number, private_ips, region)| EniSpec {
            id,
            vpc,
            kind,
            mac: mac(number),
            private_ips,
            region,
            antispoof: Antispoof::Instance,
        })
}

fn eip() -> impl Strategy<Value = Eip> {
    let state = select(vec![
        EipState::Free,
        EipState::Associated,
        EipState::Expired,
    ]);
    (
        name('x', 5),
        public_ip(),
        region(),
        option::of(1_000..1_040_i64),
        state,
    )
        .prop_map(|(id, address, region, end, state)| Eip {
            id,
            address,
            region,
            expires_at: end.map(second),
            state,
            announce: Announce::Auto,
            former: None,
        })
}

fn eni() -> impl Strategy<Value = Eni> {
    let state = select(vec![
        EniState::Detached,
        EniState::Attached,
        EniState::Stranded,
    ]);
    let place = option::of((name('i', 3), port()));
    (eni_spec(), place, state, any::<bool>()).prop_map(|(spec, place, state, share)| {
        let (instance, port) = place.unzip();
        let (port, vlan) = port.unzip();
        // Of two addresses the second one is shared, now and then.
        let shared_ips = spec.private_ips.iter().skip(1).copied();
        let shared_ips = shared_ips.filter(|_| share).collect();
        Eni {
            id: spec.id,
            vpc: spec.vpc,
            kind: spec.kind,
            mac: spec.mac,
            private_ips: spec.private_ips,
            shared_ips,
            region: spec.region,
            antispoof: spec.antispoof,
            state,
            instance,
            port,
            vlan: vlan.flatten(),
            force: false,
            rebind: Rebind::Name,
            bound: None,
        }
    })
}

fn association() -> impl Strategy<Value = Association> {
    (name('x', 5), name('e', 4), private_ip(), mode()).prop_map(|(eip, eni, private_ip, mode)| {
        Association {
            eip,
            eni,
            private_ip,
            mode,
        }
    })
}

fn document() -> impl Strategy<Value = Document> {
    let networks = (vec(pool(), 0..2), vec(vpc(), 0..2), vec(instance(), 0..2));
    let addresses = (vec(eni(), 0..2), vec(eip(), 0..2), vec(association(), 0..2));
    (networks, addresses).prop_map(|((pools, vpcs, instances), (enis, eips, associations))| {
        Document {
            pools,
            vpcs,
            instances,
            enis,
            eips,
            associations,
        }
    })
}

fn eni_verb() -> impl Strategy<Value = Command> {
    let id = || name('e', 4);
    prop_oneof![
        3 => eni_spec().prop_map(Command::EniCreate),
        9 => (id(), name('i', 2), port()).prop_map(|(id, instance, (port, vlan))| Command::EniAttach {
            id, instance, port, vlan, force: false, rebind: None
        }),
        1 => (id(), option::of(1..8_u8), option::of(region())).prop_map(|(id, number, region)| Command::EniSet {
            id, mac: number.map(mac), region: region.map(OrNone), antispoof: None
        }),
        1 => id().prop_map(|id| Command::EniBind { id, bound: "boot/1".to_owned() }),
        2 => id().prop_map(|id| Command::EniDetach { id }),
        3 => (id(), private_ip(), any::<bool>()).prop_map(|(id, address, shared)| Command::EniAddIp {
            id, address, shared
        }),
        1 => (id(), private_ip()).prop_map(|(id, address)| Command::EniRemoveIp { id, address }),
        1 => id().prop_map(|id| Command::EniDelete { id }),
    ]
}

fn eip_verb() -> impl Strategy<Value = Command> {
    let id = || name('x', 5);
    let end = 1_000..1_040_i64;
    let create = (
        id(),
        option::of(public_ip()),
        option::weighted(0.3, Just("2001:db8::/125".parse().expect("a prefix"))),
        region(),
        option::weighted(0.3, end.clone()),
    );
    prop_oneof![
        2 => create.prop_map(|(id, address, pool, region, end)| Command::EipCreate(EipSpec {
            id, address, pool, region, expires_at: end.map(second)
        })),
        2 => (id(), option::of(option::of(end))).prop_map(|(id, end)| Command::EipSet {
            id,
            expires: end.map(|end| end.map_or(Expiry::Never, |end| Expiry::At(second(end)))),
            announce: None,
        }),
        1 => id().prop_map(|id| Command::EipRelease { id }),
        14 => (id(), name('e', 4), mode(), option::weighted(0.3, private_ip())).prop_map(|(eip, eni, mode, private_ip)| {
            Command::Associate { eip, eni, mode, private_ip }
        }),
        3 => id().prop_map(|eip| Command::Disassociate { eip }),
    ]
}

fn network_verb() -> impl Strategy<Value = Command> {
    prop_oneof![
        pool().prop_map(Command::PoolCreate),
        pool().prop_map(|pool| Command::PoolDelete { cidr: pool.cidr }),
        pool().prop_map(|pool| Command::PoolSet {
            cidr: pool.cidr,
            gateway: Some(OrNone(pool.gateway)),
            reserve: Some(pool.reserve),
            priority: Some(7),
        }),
        (vpc(), vpc()).prop_map(|(vpc, other)| Command::VpcSet {
            id: vpc.id,
            add: vpc.cidrs,
            remove: other.cidrs,
            gateway: Some(OrNone(vpc.gateway)),
            vni: None,
        }),
        instance().prop_map(|one| Command::InstanceSet {
            id: one.id,
            max_enis: Some(OrNone(one.max_enis))
        }),
        vpc().prop_map(Command::VpcCreate),
        name('v', 3).prop_map(|id| Command::VpcDelete { id }),
        instance().prop_map(Command::InstanceCreate),
        name('i', 3).prop_map(|id| Command::InstanceDelete { id }),
    ]
}

fn prune() -> impl Strategy<Value = Prune> {
    prop_oneof![Just(Prune::No), Just(Prune::Few), Just(Prune::All)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        16 => eni_verb().prop_map(Step::Do),
        20 => eip_verb().prop_map(Step::Do),
        3 => network_verb().prop_map(Step::Do),
        8 => edit().prop_map(Step::Edit),
        2 => document().prop_map(|document| Step::Do(Command::Apply { document, prune: Prune::No })),
        2 => Just(Step::Do(Command::Expire)),
        2 => (1..4_i64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_commands_breaks_an_invariant(steps in vec(step(), 64..96)) {
        let mut pair = Pair::with(START);
        let mut now = 1_000;
        for step in steps {
            // Refused or not: the pair compares, and checks the invariants.
            if let Some(command) = step.command(&pair.model, &mut now) {
                drop(pair.run(&command, &at(now)));
            }
        }
        pair.run(&Command::Expire, &at(now)).expect("nothing refuses to expire");
        let document: Document = pair.model.clone().into();
        let command = Command::Apply { document, prune: Prune::All };
        let outcome = pair.run(&command, &at(now)).expect("an export is accepted");
        prop_assert_eq!(outcome.changes, vec![]);
        prop_assert_eq!(outcome.warnings, Vec::<String>::new());
        let mut restored = Pair::new();
        restored.run(&command, &at(now)).expect("an export restores an empty table");
        prop_assert_eq!(restored.model, pair.model);
    }

    /// However long the log is: who follows the table has what is in it, or is told to read all of
    /// it.
    #[test]
    fn a_follower_has_the_table(steps in vec(step(), 16..48), limit in prop_oneof![0..2_000_usize, Just(1 << 20)]) {
        let mut pair = Pair::new();
        pair.limit_log(limit);
        pair.accept_all(START);
        let mut now = 1_000;
        let mut seen = BTreeMap::new();
        for step in steps {
            seen.insert(pair.table.revision().expect("a revision"), pair.model.clone());
            if let Some(command) = step.command(&pair.model, &mut now) {
                drop(pair.run(&command, &at(now)));
            }
            let known: Vec<bool> = seen.iter().map(|(revision, model)| follow(&pair, *revision, model.clone())).collect();
            // From one revision on, and from all of them if the log is long.
            prop_assert!(known.is_sorted());
            prop_assert!(limit < 1 << 20 || known[0]);
        }
    }
}

/// Random commands for tests of what follows a table.
#[derive(Clone, Debug)]
pub(crate) struct Tale(Vec<Step>);

/// Any.
pub(crate) fn tales() -> impl Strategy<Value = Tale> {
    vec(step(), 32..64).prop_map(Tale)
}

impl Tale {
    /// Hands over what each command changes, first of those that build the table to begin with.
    pub(crate) fn tell(self, mut changed: impl FnMut(&[Change])) {
        let mut model = Model::default();
        let mut now = 1_000;
        let mut run = |model: &mut Model, command: &Command, now: i64| {
            if let Ok(decision) = rules::decide(model, command, &at(now)) {
                model.change(&decision.changes);
                changed(&decision.changes);
            }
        };
        for line in START.lines().map(str::trim).filter(|line| !line.is_empty()) {
            run(&mut model, &command(line), now);
        }
        for step in self.0 {
            if let Some(command) = step.command(&model, &mut now) {
                run(&mut model, &command, now);
            }
        }
    }
}
