//! Packets while the table changes under them: none ever gets a part of another key's record.
//!
//! Addresses form a ring: each stands for one a few places on, and a packet's way leads back to where it came from. So
//! one system call sends a packet through hundreds of lookups, each of which may meet a record that is being written,
//! or whose place was just given to another key. Another key's record has another checksum difference: whatever a
//! packet meets on its way, in the end its checksums are as right as they were, and its address is one of the ring.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::MapError;
use eip_dp_common::{
    abi::{
        EipEntry, EipMode, PrivateEntry, PrivateKey, PrivateState, Reason, Sealed, Target,
        TargetFlags, UPLINK_TARGET4,
    },
    checksum::Delta,
};
use eip_dp_tests::prog::{
    Bench, Hook, Maps, Runner, Verdict, hex_diff, namespace,
    property::{self, Shape},
    table::{Expect, Table},
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
/// A target that is rewritten all the time, and the address that leads to it.
const RESTLESS: u32 = 101;
const TO_RESTLESS: [u8; 4] = [198, 18, 7, 200];
const RESTLESS_MACS: [[u8; 6]; 2] = [[0x0a; 6], [0xf5, 0xf4, 0xf3, 0xf2, 0xf1, 0xf0]];
const VPC: u32 = 1;
/// How often each round looks at the restless target.
const LOOKS: u32 = 8;
/// A packet lives this many hops.
const HOPS: u8 = 254;
/// How many packets a ring sees, and how many changes at least.
const PACKETS: u64 = 20_000;
const CHANGES: u64 = 100_000;

const TTL: usize = 14 + 8;
const SOURCE: usize = 14 + 12;
const DESTINATION: usize = 14 + 16;

/// Which table is in motion, and where its packets come from.
#[derive(Clone, Copy, Debug)]
enum Ring {
    Eips,
    PrivateAddresses,
}

impl Ring {
    fn address(self, place: u8) -> [u8; 4] {
        match self {
            Self::Eips => [198, 18, 7, FIRST + place],
            Self::PrivateAddresses => [10, 0, 64, FIRST + place],
        }
    }

    fn interface(self) -> &'static str {
        match self {
            Self::Eips => "up",
            Self::PrivateAddresses => "pa",
        }
    }

    /// The case whose packet goes round, and the field of it that changes.
    fn packet(self) -> (&'static str, usize) {
        match self {
            Self::Eips => ("T1-tcp-in", DESTINATION),
            Self::PrivateAddresses => ("T1-tcp-out", SOURCE),
        }
    }

    /// Makes a place stand for the one `step` places on.
    fn insert(self, maps: &mut Maps, place: u8, step: u8) -> Result<()> {
        let (here, there) = (self.address(place), self.address((place + step) % PLACES));
        let slot = u32::from(place % SLOTS);
        match self {
            Self::Eips => {
                let record = EipEntry {
                    private: there,
                    slot,
                    target: BACK,
                    vpc: VPC,
                    delta: Delta::between(&here, &there).to_record(),
                    mode: EipMode::Nat as u8,
                    reserved: 0,
                    seal: 0,
                };
                maps.v4.eip.insert(here, record.sealed(&here), 0)?;
            }
            Self::PrivateAddresses => {
                let key = PrivateKey {
                    vpc: VPC,
                    address: here,
                };
                let record = PrivateEntry {
                    public: there,
                    slot,
                    target: 1,
                    delta: Delta::between(&here, &there).to_record(),
                    state: PrivateState::Nat as u8,
                    reserved: 0,
                    seal: 0,
                };
                maps.v4.private.insert(key, record.sealed(&key), 0)?;
            }
        }
        Ok(())
    }

    fn remove(self, maps: &mut Maps, place: u8) -> Result<()> {
        let address = self.address(place);
        let result = match self {
            Self::Eips => maps.v4.eip.remove(&address),
            Self::PrivateAddresses => maps.v4.private.remove(&PrivateKey { vpc: VPC, address }),
        };
        match result {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(error))
                if error.io_error.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
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
        flags: TargetFlags::XDP | TargetFlags::RESOLVED,
        seal: 0,
    }
}

/// Targets that lead packets back, and the address of the restless one.
fn lay_ring(bench: &mut Bench, table: &Table, ring: Ring) -> Result<()> {
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
        .find(|eni| eni.target == 1)
        .context("no ENI 1")?;
    let up = runner.ifindex("up")?;
    let back = Target {
        dst_mac: mac_of("up")?,
        ..restless(up, 0)
    };
    maps.targets.set(BACK, back.sealed(&BACK), 0)?;
    let out = Target {
        dst_mac: mac_of("pa")?,
        src_mac: eni.mac.0,
        ..restless(up, 0)
    };
    maps.targets
        .set(UPLINK_TARGET4, out.sealed(&UPLINK_TARGET4), 0)?;
    maps.targets
        .set(RESTLESS, restless(up, 0).sealed(&RESTLESS), 0)?;
    let private = [10, 0, 64, 200];
    let record = EipEntry {
        private,
        slot: 0,
        target: RESTLESS,
        vpc: VPC,
        delta: Delta::between(&TO_RESTLESS, &private).to_record(),
        mode: EipMode::Nat as u8,
        reserved: 0,
        seal: 0,
    };
    maps.v4
        .eip
        .insert(TO_RESTLESS, record.sealed(&TO_RESTLESS), 0)?;
    for place in 0..PLACES {
        ring.insert(maps, place, 1)?;
    }
    Ok(())
}

/// A frame of the table with another address and a right header checksum.
fn readdressed(frame: &[u8], field: usize, address: [u8; 4], ttl: u8) -> Result<Vec<u8>> {
    let mut frame = frame.to_vec();
    frame[field..field + 4].copy_from_slice(&address);
    frame[TTL] = ttl;
    let shape = Shape::of(&frame).context("the table's packet is no IPv4 packet")?;
    Ok(property::shortened(&frame, shape, shape.end() - 14))
}

/// Changes places and targets at random until told to stop.
fn churn(
    maps: &mut Maps,
    ring: Ring,
    ifindex: u32,
    stop: &AtomicBool,
    changes: &AtomicU64,
) -> Result<()> {
    let leading_back = match ring {
        Ring::Eips => BACK,
        Ring::PrivateAddresses => UPLINK_TARGET4,
    };
    let back = maps.targets.get(&leading_back, 0)?;
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
            // A place goes and comes back; another's new record gets its memory meanwhile, and it the other's old one.
            0..=3 => {
                ring.remove(maps, place)?;
                ring.insert(maps, other % PLACES, distance)?;
                ring.insert(maps, place, distance)?;
            }
            4 => {
                let variant = usize::from(other & 1);
                maps.targets
                    .set(RESTLESS, restless(ifindex, variant).sealed(&RESTLESS), 0)?;
                let differing = [(7, 9000), (u64::MAX, 1500)][variant];
                let back = Target {
                    tag: differing.0,
                    mtu: differing.1,
                    ..back
                };
                maps.targets
                    .set(leading_back, back.sealed(&leading_back), 0)?;
            }
            _ => ring.insert(maps, place, distance)?,
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
fn send(runner: Runner, table: &Table, ring: Ring, changes: &AtomicU64) -> Result<Seen> {
    let case_named = |name: &str| {
        let found = table.cases.iter().find(|case| case.name == name);
        found.with_context(|| format!("no case {name}"))
    };
    let (name, field) = ring.packet();
    let template = &case_named(name)?.input.0;
    let to_restless = readdressed(
        &case_named("T1-tcp-in")?.input.0,
        DESTINATION,
        TO_RESTLESS,
        64,
    )?;
    let stable = ["T1-tcp-in", "T1-udp-hairpin", "O11-T1-tcp"];
    let mut seen = Seen::default();
    while seen.packets < PACKETS || changes.load(Ordering::Relaxed) < CHANGES {
        for hook in Hook::ALL {
            let start = u8::try_from(seen.packets % u64::from(PLACES))?;
            let frame = readdressed(template, field, ring.address(start), HOPS + 1)?;
            let run = runner.run_again(hook, ring.interface(), &frame, u32::from(HOPS))?;
            ensure!(
                run.verdict != Verdict::Pass,
                "a packet was left to the kernel"
            );
            property::check_rewritten(&frame, &run.out)
                .with_context(|| format!("{ring:?}, {hook:?}:{}", hex_diff(&frame, &run.out)))?;
            let there = &run.out[field..field + 4];
            ensure!(
                (0..PLACES).any(|place| ring.address(place) == there),
                "an address that is not of the ring: {there:?}"
            );
            seen.hops += u64::from(frame[TTL] - run.out[TTL]);
            seen.packets += 1;
            seen.runs += u64::from(HOPS);

            for name in stable {
                let case = case_named(name)?;
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

fn churned(ring: Ring) -> Result<()> {
    let table = Table::ipv4()?;
    namespace::with_namespace(|| {
        let mut bench = Bench::new(&table.world)?;
        lay_ring(&mut bench, &table, ring)?;
        let before = bench.counters()?;
        let (stop, changes) = (AtomicBool::new(false), AtomicU64::new(0));
        let (maps, runner) = bench.parts();
        let ifindex = runner.ifindex("up")?;
        let seen = thread::scope(|scope| {
            let churner = scope.spawn(|| {
                let result = churn(maps, ring, ifindex, &stop, &changes);
                // The sender waits for changes: it is not to wait for ever.
                changes.store(u64::MAX, Ordering::Relaxed);
                result
            });
            let seen = send(runner, &table, ring, &changes);
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
        // What was dropped was dropped because its place was empty, or changed in that moment: nothing else.
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
    churned(Ring::Eips)?;
    churned(Ring::PrivateAddresses)
}
