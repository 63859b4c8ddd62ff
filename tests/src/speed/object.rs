//! The bench's BPF object, and its maps.

use std::mem::size_of;

use anyhow::{Context, Result, anyhow};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, DevMap, HashMap, MapData, PerCpuArray, PerCpuValues},
    programs::{Xdp, XdpMode},
    util::nr_cpus,
};
use eip_dp_bench_ebpf::{Plan, SEQUENCE, STEPS, Seen, State, Translated, maps, programs};

/// The object file, compiled by this crate's build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/eip-dp-bench-ebpf"));

/// A record for a map of plain words.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Plain<T: Copy>(T);

// SAFETY: what the driver and its programs exchange are `repr(C)` structs of integers without
// padding, see `sizes`.
unsafe impl<T: Copy + 'static> Pod for Plain<T> {}

/// No padding: the sizes are those of the fields together.
const _: () = {
    assert!(size_of::<Plan>() == 4 * 20 + 12 * 4 + 2 * 6);
    assert!(size_of::<State>() == 16);
    assert!(size_of::<Seen>() == 40);
    assert!(size_of::<Translated>() == 20);
};

type Steps = [u32; STEPS as usize];

/// The programs, loaded, with maps of their own.
pub struct Object {
    ebpf: Ebpf,
    plan: Array<MapData, Plain<Plan>>,
    states: PerCpuArray<MapData, Plain<State>>,
    seen: PerCpuArray<MapData, Plain<Seen>>,
}

impl Object {
    /// Loads it with room for `translated` EIPs of the textbook.
    pub fn load(translated: u32) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(maps::TRANSLATED, translated.max(1))
            .load(OBJECT)
            .context("the bench's object does not load")?;
        for name in [
            programs::UDP4,
            programs::UDP6,
            programs::ERROR4,
            programs::ERROR6,
            programs::SINK4,
            programs::SINK6,
            programs::BARE,
            programs::CEILING,
            programs::TEXTBOOK,
            programs::RESTORE,
            programs::EMPTY,
        ] {
            let program = xdp_mut(&mut ebpf, name)?;
            program
                .load()
                .with_context(|| format!("the verifier refuses the bench's {name}"))?;
        }
        let mut take = |name| {
            ebpf.take_map(name)
                .with_context(|| format!("no map {name}"))
        };
        let plan = take(maps::PLAN)?.try_into()?;
        let states = take(maps::STATES)?.try_into()?;
        let seen = take(maps::SEEN)?.try_into()?;
        Ok(Self {
            ebpf,
            plan,
            states,
            seen,
        })
    }

    /// A program of it.
    pub fn program(&self, name: &str) -> Result<&Xdp> {
        let program = self.ebpf.program(name);
        Ok(program
            .with_context(|| format!("no program {name}"))?
            .try_into()?)
    }

    /// Attaches a program to an interface of the calling thread's network namespace.
    pub fn attach(&mut self, name: &str, interface: &str) -> Result<()> {
        xdp_mut(&mut self.ebpf, name)?
            .attach(interface, XdpMode::Driver)
            .with_context(|| format!("{name} cannot be attached to {interface}"))?;
        Ok(())
    }

    /// Starts anew: what is sent and counted from now on.
    pub fn begin(&mut self, plan: &Plan) -> Result<()> {
        self.plan.set(0, Plain(*plan), 0)?;
        let states: Vec<_> = (0..cpus()?)
            .map(|cpu| {
                Plain(State {
                    sent: 0,
                    random: 0x9e37_79b9_7f4a_7c15 ^ (cpu as u64 + 1) << 32,
                })
            })
            .collect();
        self.states.set(0, PerCpuValues::try_from(states)?, 0)?;
        let seen = vec![Plain(Seen::default()); cpus()?];
        self.seen.set(0, PerCpuValues::try_from(seen)?, 0)?;
        Ok(())
    }

    /// How many frames all generators have sent.
    pub fn sent(&self) -> Result<u64> {
        let values = self.states.get(&0, 0)?;
        Ok(values.iter().map(|state| state.0.sent).sum())
    }

    /// How many generators have sent frames.
    pub fn senders(&self) -> Result<usize> {
        let values = self.states.get(&0, 0)?;
        Ok(values.iter().filter(|state| state.0.sent > 0).count())
    }

    /// What all sinks have seen.
    pub fn seen(&self) -> Result<Seen> {
        let values = self.seen.get(&0, 0)?;
        Ok(values.iter().fold(Seen::default(), |all, one| Seen {
            right: all.right + one.0.right,
            wrong: all.wrong + one.0.wrong,
            foreign: all.foreign + one.0.foreign,
            bytes: all.bytes + one.0.bytes,
            reason: all.reason.max(one.0.reason),
        }))
    }

    /// The interfaces that the generator sends through, by VPC.
    pub fn send_through(&mut self, interfaces: &[u32]) -> Result<()> {
        let mut map: Array<_, u32> = self.map(maps::INTERFACES)?.try_into()?;
        for (place, interface) in (0..).zip(interfaces) {
            map.set(place, interface, 0)?;
        }
        Ok(())
    }

    /// The order of EIPs that are not uniformly random.
    pub fn set_sequence(&mut self, sequence: &[u32]) -> Result<()> {
        anyhow::ensure!(
            sequence.len() == SEQUENCE as usize,
            "a sequence of another length"
        );
        let mut map: Array<_, Plain<Steps>> = self.map(maps::SEQUENCES)?.try_into()?;
        for (place, steps) in (0..).zip(sequence.chunks_exact(STEPS as usize)) {
            map.set(place, Plain(Steps::try_from(steps)?), 0)?;
        }
        Ok(())
    }

    /// Where the rivals send, in the calling thread's network namespace, and with which MACs.
    pub fn deliver_to(&mut self, interface: u32, macs: [u8; 12]) -> Result<()> {
        let mut map: DevMap<_> = self.map(maps::DEVICES)?.try_into()?;
        map.set(0, interface, None, 0)?;
        let mut map: Array<_, Plain<[u8; 12]>> = self.map(maps::MACS)?.try_into()?;
        Ok(map.set(0, Plain(macs), 0)?)
    }

    /// Fills the textbook's table.
    pub fn translate(&mut self, pairs: impl Iterator<Item = ([u8; 4], Translated)>) -> Result<()> {
        let mut map: HashMap<_, [u8; 4], Plain<Translated>> =
            self.map(maps::TRANSLATED)?.try_into()?;
        for (eip, translated) in pairs {
            map.insert(eip, Plain(translated), 0)?;
        }
        Ok(())
    }

    /// The frame that each timed run begins with.
    pub fn restore(&mut self, frame: [u8; 128]) -> Result<()> {
        let mut map: Array<_, Plain<[u8; 128]>> = self.map(maps::FRAME)?.try_into()?;
        Ok(map.set(0, Plain(frame), 0)?)
    }

    /// A map of it.
    pub fn map(&mut self, name: &str) -> Result<&mut aya::maps::Map> {
        self.ebpf
            .map_mut(name)
            .with_context(|| format!("no map {name}"))
    }
}

fn xdp_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name);
    Ok(program
        .with_context(|| format!("no program {name}"))?
        .try_into()?)
}

/// How many CPUs a per-CPU map has values of.
pub fn cpus() -> Result<usize> {
    nr_cpus().map_err(|(file, error)| anyhow!("{file}: {error}"))
}
