//! Packets while the table changes under them: none ever gets a part of another key's record.
//!
//! Addresses form a ring: each stands for one a few places on, and a packet's way leads back to
//! where it came from. So one system call sends a packet through hundreds of lookups, each of which
//! may meet a record that is being written, or whose place was just given to another key. Another
//! key's record has another checksum difference: whatever a packet meets on its way, in the end its
//! checksums are as right as they were, and its address is one of the ring.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use eip_dp_common::{
    abi::{
        Checksummed, EipMode, EipRoute, FIRST_ENI_TARGET, Reason, SourceBinding, SourceKey,
        SourceState, Target, TargetFlags,
    },
    family::{V4, V6},
};
use eip_dp_tests::prog::{
    Bench, Hook, Maps, Records, Runner, Verdict, hex_diff, namespace, property,
    table::{Expect, Table},
};
use eip_dp_user::{
    compile::{FamilyWrite, Write},
    kernel::Plane as _,
};

/// Places of the ring.
const PLACES: u8 = 48;
/// The last byte of the first one's address.
const FIRST: u8 = 100;
/// How far on a place may point.
const STEPS: [u8; 3] = [1, 8, 15];
/// Counters of places; several share one.
const SLOTS: u8 = 16;
/// The target that leads back to the uplink.
const BACK: u32 = 100;
/// A target that is rewritten all the time, and the last byte of the addresses that lead to it.
const RESTLESS: u32 = 101;
const TO_RESTLESS: u8 = 200;
const RESTLESS_MACS: [[u8; 6]; 2] = [[0x0a; 6], [0xf5, 0xf4, 0xf3, 0xf2, 0xf1, 0xf0]];
const VPC: u32 = 1;
/// How often each round looks at the restless target.
const LOOKS: u32 = 8;
/// A packet lives this many hops.
const HOPS: u8 = 254;
/// How many packets a ring sees, and how many changes at least.
const PACKETS: u64 = 5_000;
const CHANGES: u64 = 5_000;

/// A family whose records are in motion.
trait Churned: Records {
    /// The networks of the ring's EIPs and of its private addresses.
    const NETWORKS: [&'static str; 2];
    /// Where a frame has its hop limit, its source and its destination.
    const FIELDS: [usize; 3];

    fn table() -> Result<Table>;

    /// The address of a network with this last byte.
    fn host(network: &str, last: u8) -> Self::Address;

    fn bytes(address: &Self::Address) -> &[u8];
}

/// Implements it.
macro_rules! churned {
    ($family:ty, $table:ident, $networks:expr, $fields:expr) => {
        impl Churned for $family {
            const NETWORKS: [&'static str; 2] = $networks;
            const FIELDS: [usize; 3] = $fields;

            fn table() -> Result<Table> {
                Table::$table()
            }

            fn host(network: &str, last: u8) -> Self::Address {
                let network = network.parse().expect("an address");
                let mut address = Self::octets(network).expect("of this family");
                if let Some(byte) = address.last_mut() {
                    *byte = last;
                }
                address
            }

            fn bytes(address: &Self::Address) -> &[u8] {
                address
            }
        }
    };
}

churned!(
    V4,
    ipv4,
    ["198.18.7.0", "10.0.64.0"],
    [14 + 8, 14 + 12, 14 + 16]
);
churned!(
    V6,
    ipv6,
    ["2001:db8:18:7::", "fd00:10:0:64::"],
    [14 + 7, 14 + 8, 14 + 24]
);

/// Which table is in motion, and where its packets come from.
#[derive(Clone, Copy, Debug)]
enum Ring {
    Eips,
    PrivateAddresses,
}

impl Ring {
    fn address<F: Churned>(self, place: u8) -> F::Address {
        F::host(F::NETWORKS[self as usize], FIRST + place)
    }

    fn interface(self) -> &'static str {
        match self {
            Self::Eips => "up",
            Self::PrivateAddresses => "pa",
        }
    }

    /// The case whose packet goes round, and the field of it that changes.
    fn packet<F: Churned>(self) -> (&'static str, usize) {
        let [_, source, destination] = F::FIELDS;
        match self {
            Self::Eips => ("T1-tcp-in", destination),
            Self::PrivateAddresses => ("T1-tcp-out", source),
        }
    }

    /// Makes a place stand for the one `step` places on.
    fn insert<F: Churned>(self, maps: &mut Maps, place: u8, step: u8) -> Result<()> {
        let here = self.address::<F>(place);
        let there = self.address::<F>((place + step) % PLACES);
        let slot = u32::from(place % SLOTS);
        match self {
            Self::Eips => {
                let record = translated::<F>(here, there, slot, BACK);
                maps.write_of::<F>(FamilyWrite::Eip(here, Some(record)))
            }
            Self::PrivateAddresses => {
                let record = SourceBinding {
                    public: there,
                    slot,
                    target: FIRST_ENI_TARGET,
                    delta: F::delta(&here, &there).to_record(),
                    state: SourceState::Nat as u8,
                    reserved: 0,
                    seal: 0,
                };
                let key = SourceKey {
                    vpc: VPC,
                    address: here,
                };
                maps.write_of::<F>(FamilyWrite::Private(key, Some(record)))
            }
        }
    }

    fn remove<F: Churned>(self, maps: &mut Maps, place: u8) -> Result<()> {
        let address = self.address::<F>(place);
        let write = match self {
            Self::Eips => FamilyWrite::Eip(address, None),
            Self::PrivateAddresses => {
                let key = SourceKey { vpc: VPC, address };
                FamilyWrite::Private(key, None)
            }
        };
        maps.write_of::<F>(write)
    }
}

/// The record of an EIP in NAT mode.
fn translated<F: Churned>(
    address: F::Address,
    private: F::Address,
    slot: u32,
    target: u32,
) -> EipRoute<F::Address> {
    EipRoute {
        private,
        slot,
        target,
        vpc: VPC,
        delta: F::delta(&address, &private).to_record(),
        mode: EipMode::Nat as u8,
        reserved: 0,
        seal: 0,
    }
}

fn restless(ifindex: u32, variant: usize) -> Target {
    let mac = RESTLESS_MACS[variant];
    Target {
        tag: 7,
        instance: 7,
        ifindex,
        mtu: 1500,
        vpc: VPC,
        dst_mac: mac,
        src_mac: mac.map(|byte| !byte),
        vlan: 0,
        outer: 0,
        flags: TargetFlags::XDP | TargetFlags::RESOLVED,
        seal: 0,
    }
}

/// Targets that lead packets back, and the address of the restless one.
fn lay_ring<F: Churned>(bench: &mut Bench, table: &Table, ring: Ring) -> Result<()> {
    let (maps, runner) = bench.parts();
    let mac_of = |name: &str| {
        let found = table
            .world
            .interfaces
            .iter()
            .find(|interface| interface.name == name);
        found
            .map(|interface| interface.mac.0)
            .with_context(|| format!("no interface {name}"))
    };
    let eni = table
        .world
        .enis
        .iter()
        .find(|eni| eni.target == FIRST_ENI_TARGET)
        .context("no first ENI")?;
    let up = runner.ifindex("up")?;
    let back = Target {
        dst_mac: mac_of("up")?,
        ..restless(up, 0)
    };
    maps.write(Write::Target(BACK, Some(back.sealed(&BACK))))?;
    let out = Target {
        dst_mac: mac_of("pa")?,
        src_mac: eni.mac.0,
        ..restless(up, 0)
    };
    let index = F::UPLINK_TARGET;
    maps.write(Write::Target(index, Some(out.sealed(&index))))?;
    let restless = restless(up, 0).sealed(&RESTLESS);
    maps.write(Write::Target(RESTLESS, Some(restless)))?;
    let [public, private] = F::NETWORKS.map(|network| F::host(network, TO_RESTLESS));
    let record = translated::<F>(public, private, 0, RESTLESS);
    maps.write_of::<F>(FamilyWrite::Eip(public, Some(record)))?;
    for place in 0..PLACES {
        ring.insert::<F>(maps, place, 1)?;
    }
    Ok(())
}

/// Changes places and targets at random until told to stop.
fn churn<F: Churned>(
    maps: &mut Maps,
    ring: Ring,
    ifindex: u32,
    stop: &AtomicBool,
    changes: &AtomicU64,
) -> Result<()> {
    let leading_back = match ring {
        Ring::Eips => BACK,
        Ring::PrivateAddresses => F::UPLINK_TARGET,
    };
    let targets = maps.kernel().read()?.targets;
    let back = *targets.get(&leading_back).context("no way back")?;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    while !stop.load(Ordering::Relaxed) {
        // Marsaglia's xorshift.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let [place, choice, other, ..] = random.to_le_bytes();
        let place = place % PLACES;
        let distance = STEPS[usize::from(choice / 8) % STEPS.len()];
        match choice % 8 {
            // A place goes and comes back; another's new record gets its memory meanwhile, and it
            // the other's old one.
            0..=3 => {
                ring.remove::<F>(maps, place)?;
                ring.insert::<F>(maps, other % PLACES, distance)?;
                ring.insert::<F>(maps, place, distance)?;
            }
            4 => {
                let variant = usize::from(other & 1);
                let restless = restless(ifindex, variant).sealed(&RESTLESS);
                maps.write(Write::Target(RESTLESS, Some(restless)))?;
                let differing = [(7, 9000), (u64::MAX, 1500)][variant];
                let back = Target {
                    tag: differing.0,
                    mtu: differing.1,
                    ..back
                };
                maps.write(Write::Target(
                    leading_back,
                    Some(back.sealed(&leading_back)),
                ))?;
            }
            _ => ring.insert::<F>(maps, place, distance)?,
        }
        changes.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// What the packets have met.
#[derive(Debug, Default)]
struct Seen {
    packets: u64,
    hops: u64,
    restless: [u64; 2],
    runs: u64,
}

/// Sends packets round the ring, to addresses that do not change, and to the restless target.
fn send<F: Churned>(
    runner: Runner,
    table: &Table,
    ring: Ring,
    changes: &AtomicU64,
) -> Result<Seen> {
    let [hop_limit, _, destination] = F::FIELDS;
    let (name, field) = ring.packet::<F>();
    let template = &table.case(name)?.input.0;
    let [network, _] = F::NETWORKS;
    let to_restless = property::readdressed(
        &table.case("T1-tcp-in")?.input.0,
        destination,
        F::bytes(&F::host(network, TO_RESTLESS)),
    )?;
    let stable = ["T1-tcp-in", "T1-udp-hairpin", "O11-T1-tcp"];
    let mut seen = Seen::default();
    while seen.packets < PACKETS || changes.load(Ordering::Relaxed) < CHANGES {
        for hook in Hook::ALL {
            let start = u8::try_from(seen.packets % u64::from(PLACES))?;
            let address = ring.address::<F>(start);
            let frame = property::readdressed(template, field, F::bytes(&address))?;
            let frame = property::with_hop_limit(&frame, HOPS + 1)?;
            let run = runner.run_again(hook, ring.interface(), &frame, u32::from(HOPS))?;
            ensure!(
                run.verdict != Verdict::Pass,
                "a packet was left to the kernel"
            );
            property::check_rewritten(&frame, &run.out)
                .with_context(|| format!("{ring:?}, {hook:?}:{}", hex_diff(&frame, &run.out)))?;
            let there = &run.out[field..field + size_of::<F::Address>()];
            ensure!(
                (0..PLACES).any(|place| F::bytes(&ring.address::<F>(place)) == there),
                "an address that is not of the ring: {there:?}"
            );
            seen.hops += u64::from(frame[hop_limit] - run.out[hop_limit]);
            seen.packets += 1;
            seen.runs += u64::from(HOPS);

            for name in stable {
                let case = table.case(name)?;
                let Expect::Deliver { out, .. } = &case.expect else {
                    anyhow::bail!("{name} is not delivered");
                };
                let run = runner.run(hook, &case.interface, &case.input.0)?;
                ensure!(
                    run.verdict == Verdict::Redirect && run.out == out.0,
                    "{name} ({hook:?}), whose records nobody changes: {:?}{}",
                    run.verdict,
                    hex_diff(&out.0, &run.out)
                );
            }

            for _ in 0..LOOKS {
                let run = runner.run(hook, "up", &to_restless)?;
                seen.runs += 1;
                if run.verdict == Verdict::Redirect {
                    let variant = RESTLESS_MACS.iter().position(|mac| {
                        run.out[..6] == *mac && run.out[6..12] == mac.map(|byte| !byte)
                    });
                    let variant = variant.with_context(|| {
                        format!("a mix of two targets:{}", hex_diff(&to_restless, &run.out))
                    })?;
                    seen.restless[variant] += 1;
                }
            }
        }
    }
    Ok(seen)
}

fn churned<F: Churned>(ring: Ring) -> Result<()> {
    let table = F::table()?;
    namespace::with_namespace(|| {
        let mut bench = Bench::new(&table.world)?;
        lay_ring::<F>(&mut bench, &table, ring)?;
        let before = bench.counters()?;
        let (stop, changes) = (AtomicBool::new(false), AtomicU64::new(0));
        let (maps, runner) = bench.parts();
        let ifindex = runner.ifindex("up")?;
        let seen = thread::scope(|scope| {
            let churner = scope.spawn(|| {
                let result = churn::<F>(maps, ring, ifindex, &stop, &changes);
                // The sender waits for changes: it is not to wait for ever.
                changes.store(u64::MAX, Ordering::Relaxed);
                result
            });
            let seen = send::<F>(runner, &table, ring, &changes);
            stop.store(true, Ordering::Relaxed);
            churner
                .join()
                .map_err(|_| anyhow::anyhow!("the changing thread panicked"))??;
            seen
        })?;
        let counted = bench.counters()?.since(&before);
        println!("{ring:?}: {seen:?},{}", counted.describe());
        ensure!(
            seen.hops > seen.packets * 10,
            "packets hardly moved: {seen:?}"
        );
        ensure!(
            seen.restless.iter().all(|&count| count > 0),
            "no change was seen: {seen:?}"
        );
        // What was dropped was dropped because its place was empty, or changed in that moment:
        // nothing else.
        for index in counted.drops.keys() {
            let allowed = match ring {
                Ring::Eips => [
                    Reason::TableBusy,
                    Reason::NoAssociation,
                    Reason::TtlExceeded,
                ],
                Ring::PrivateAddresses => [
                    Reason::TableBusy,
                    Reason::SpoofedSource,
                    Reason::TtlExceeded,
                ],
            };
            ensure!(
                allowed.iter().any(|reason| reason.index() == *index),
                "dropped for another reason: {}",
                counted.describe()
            );
        }
        Ok(())
    })
}

/// One after the other: a writer and a reader at the same time need two processors.
#[test]
fn records_that_change_are_never_mixed_up() -> Result<()> {
    for ring in [Ring::Eips, Ring::PrivateAddresses] {
        churned::<V4>(ring)?;
        churned::<V6>(ring)?;
    }
    Ok(())
}
