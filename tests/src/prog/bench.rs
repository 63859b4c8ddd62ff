//! The programs, loaded, with the table's world in their maps.

use std::collections::HashMap as Names;

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, ProgramArray, RingBuf},
    programs::{
        Program, ProgramFd, SchedClassifier, TcAttachType, TestRun as _, TestRunOptions, Xdp,
        XdpMode,
    },
};
use eip_dp_common::abi::{RequestHeader, maps, programs, stages};
use eip_dp_user::{
    compile::Limits,
    kernel::{Layout, Source},
};
use nix::net::if_::if_nametoindex;

use super::{
    counters::Counters,
    namespace,
    run::{Hook, Run, Verdict},
    table::World,
    world::{Maps, UPLINK_OUTER, UPLINK_VLAN},
};

/// Larger than any frame of the table, for what a program might add.
const ROOM: usize = 16 * 1024;
/// Enough for the world's EIPs, few enough to look at all of them after each packet.
const SLOTS: u32 = 32;
/// The budgets for the gateway's own ICMP errors: of an ENI or EIP, by index and kind, and of the
/// receivers.
const BUDGETS: &str = "BUDGETS";
const RECEIVER_BUDGETS: &str = "RECEIVER_BUDGETS";
/// How many kinds there are, and how many targets and slots the world has.
const KINDS: u32 = 6;
const ACCOUNTS: u32 = 64;
/// A budget that is whole, and one that stays used up.
const WHOLE: u64 = 0;
const USED_UP: u64 = u64::MAX;
/// So few that keys share the lines of the indexes.
const ADDRESSES: u32 = 256;
/// Any number.
const SEED: u64 = 5;

/// How packets can be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// XDP programs may send to every target.
    Xdp,
    /// They may send to none.
    Tc,
    /// The MAC of the uplink's next hop is not known.
    Unresolved,
    /// There is no uplink to send to.
    NoUplink,
    /// The uplink's next hop is in a VLAN.
    Tagged,
    /// It is in a VLAN within another.
    Stacked,
}

impl Delivery {
    /// The tags that packets to the Internet get: the outer VLAN and the inner one, 0 for none.
    pub fn uplink_vlans(self) -> (u16, u16) {
        match self {
            Self::Tagged => (0, UPLINK_VLAN),
            Self::Stacked => (UPLINK_OUTER, UPLINK_VLAN),
            Self::Xdp | Self::Tc | Self::Unresolved | Self::NoUplink => (0, 0),
        }
    }

    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Xdp,
        Self::Tc,
        Self::Unresolved,
        Self::NoUplink,
        Self::Tagged,
        Self::Stacked,
    ];
}

/// Programs and maps in the calling thread's network namespace.
pub struct Bench {
    ebpf: Ebpf,
    maps: Maps,
    indices: Names<String, u32>,
    drops: PerCpuArray<MapData, u64>,
    events: PerCpuArray<MapData, u64>,
    budgets: HashMap<MapData, [u32; 2], u64>,
    receivers: Array<MapData, u64>,
    requests: RingBuf<MapData>,
    _stages: Vec<ProgramArray<MapData>>,
}

impl Bench {
    /// Creates the interfaces, loads the programs and fills the maps.
    pub fn new(world: &World) -> Result<Self> {
        namespace::create(&world.interfaces)?;
        let mut indices = Names::new();
        for interface in &world.interfaces {
            indices.insert(
                interface.name.clone(),
                if_nametoindex(interface.name.as_str())?,
            );
        }
        let limits = Limits {
            eips: SLOTS,
            eips6: SLOTS,
            private_addresses: ADDRESSES,
            private_addresses6: ADDRESSES,
            ..Limits::default()
        };
        let layout = Layout::new(&limits, SEED, false)?;
        let mut loader = EbpfLoader::new();
        layout.configure(&mut loader);
        let mut ebpf = loader
            .load(eip_dp_user::PROGRAMS)
            .context("the object does not load")?;
        for name in [programs::UPLINK_XDP, programs::PORT_XDP] {
            load(&mut ebpf, name, true)?;
        }
        for name in [programs::UPLINK_TC, programs::PORT_TC] {
            load(&mut ebpf, name, false)?;
        }
        let mut arrays = Vec::new();
        for (map, place, name) in stages::ALL {
            let fd = load(&mut ebpf, name, map == stages::XDP)?.try_clone()?;
            let array = ebpf.map_mut(map).with_context(|| format!("no map {map}"))?;
            ProgramArray::try_from(array)?.set(place, &fd, 0)?;
        }
        // What they hold is let go with the last of user space's handles.
        for map in [stages::XDP, stages::TC] {
            arrays.push(take(&mut ebpf, map)?);
        }
        // The kernel takes a veth as the source of a test frame only while an XDP program is
        // attached to it.
        for interface in &world.interfaces {
            let name = Hook::Xdp.program(&interface.name);
            let program: &mut Xdp = program_named(&mut ebpf, name)?.try_into()?;
            program.attach(&interface.name, XdpMode::Driver)?;
        }
        let mut maps = Maps::new(layout.open_new(&Source::Object(&ebpf))?);
        maps.fill(world, &indices)?;
        maps.fill_targets(world, &indices, Delivery::Xdp)?;
        maps.go_live();
        let drops = take(&mut ebpf, maps::DROPS)?;
        let events = take(&mut ebpf, maps::EVENTS)?;
        let budgets = take(&mut ebpf, BUDGETS)?;
        let receivers = take(&mut ebpf, RECEIVER_BUDGETS)?;
        let requests = take(&mut ebpf, maps::REQUESTS)?;
        Ok(Self {
            ebpf,
            maps,
            indices,
            drops,
            events,
            budgets,
            receivers,
            requests,
            _stages: arrays,
        })
    }

    /// Attaches the tc program of every interface behind its XDP program, as the daemon does.
    pub fn attach_tc(&mut self, world: &World) -> Result<()> {
        for interface in &world.interfaces {
            let name = Hook::Tc.program(&interface.name);
            let program: &mut SchedClassifier = program_named(&mut self.ebpf, name)?.try_into()?;
            program.attach(&interface.name, TcAttachType::Ingress)?;
        }
        Ok(())
    }

    /// Makes the far ends take the frames that XDP programs send to their pairs: a veth hands such
    /// frames over only to a peer that has an XDP program. Theirs knows none of these interfaces
    /// and leaves everything alone.
    pub fn open_far_ends(&mut self, world: &World) -> Result<()> {
        for interface in &world.interfaces {
            let program: &mut Xdp =
                program_named(&mut self.ebpf, programs::UPLINK_XDP)?.try_into()?;
            program.attach(&namespace::peer(&interface.name), XdpMode::Driver)?;
        }
        Ok(())
    }

    /// Changes what can be delivered, and how.
    pub fn set_delivery(&mut self, world: &World, delivery: Delivery) -> Result<()> {
        self.maps.fill_targets(world, &self.indices, delivery)
    }

    /// The maps, for who changes them while programs run.
    pub fn parts(&mut self) -> (&mut Maps, Runner<'_>) {
        (
            &mut self.maps,
            Runner {
                ebpf: &self.ebpf,
                indices: &self.indices,
            },
        )
    }

    /// Who runs programs.
    pub fn runner(&self) -> Runner<'_> {
        Runner {
            ebpf: &self.ebpf,
            indices: &self.indices,
        }
    }

    /// Lets the gateway do as much for everybody as after it was loaded.
    pub fn fill_limits(&mut self) -> Result<()> {
        self.set_limits(WHOLE)
    }

    /// Lets it do nothing for anybody.
    pub fn empty_limits(&mut self) -> Result<()> {
        self.set_limits(USED_UP)
    }

    fn set_limits(&mut self, word: u64) -> Result<()> {
        for kind in 0..KINDS {
            for index in 0..ACCOUNTS {
                self.budgets.insert([index, kind], word, 0)?;
            }
        }
        for index in 0..self.receivers.len() {
            self.receivers.set(index, word, 0)?;
        }
        Ok(())
    }

    /// The guests' requests that were put into the map since the last look.
    pub fn requests(&mut self) -> Result<Vec<(RequestHeader, Vec<u8>)>> {
        let mut all = Vec::new();
        while let Some(element) = self.requests.next() {
            let read = RequestHeader::read(&element).context("an element that is no request")?;
            all.push((read.0, read.1.to_vec()));
        }
        Ok(all)
    }

    /// Every counter now.
    pub fn counters(&self) -> Result<Counters> {
        Counters::read(&self.drops, &self.events, self.maps.kernel())
    }
}

/// Takes a map out of the object.
fn take<T>(ebpf: &mut Ebpf, name: &str) -> Result<T>
where
    T: TryFrom<Map>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let map = ebpf
        .take_map(name)
        .with_context(|| format!("the object has no map {name}"))?;
    map.try_into()
        .with_context(|| format!("map {name} is of another type"))
}

/// Loads a program, which may be a hook's and a stage.
fn load<'a>(ebpf: &'a mut Ebpf, name: &str, is_xdp: bool) -> Result<&'a ProgramFd> {
    let program = program_named(ebpf, name)?;
    let refused = || format!("the verifier refuses {name}");
    Ok(if is_xdp {
        let program: &mut Xdp = program.try_into()?;
        if program.fd().is_err() {
            program.load().with_context(refused)?;
        }
        program.fd()?
    } else {
        let program: &mut SchedClassifier = program.try_into()?;
        if program.fd().is_err() {
            program.load().with_context(refused)?;
        }
        program.fd()?
    })
}

fn program_named<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program> {
    ebpf.program_mut(name)
        .with_context(|| format!("the object has no program {name}"))
}

/// Runs programs; many threads may at once.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    ebpf: &'a Ebpf,
    indices: &'a Names<String, u32>,
}

impl Runner<'_> {
    /// The index of an interface.
    pub fn ifindex(&self, interface: &str) -> Result<u32> {
        let index = self.indices.get(interface).copied();
        index.with_context(|| format!("no interface {interface}"))
    }

    /// Runs the program that stands at `hook` of `interface` over a frame.
    pub fn run(&self, hook: Hook, interface: &str, frame: &[u8]) -> Result<Run> {
        self.run_again(hook, interface, frame, 1)
    }

    /// Runs it `times` over, each time on what the last one left. The verdict is the last one's.
    pub fn run_again(&self, hook: Hook, interface: &str, frame: &[u8], times: u32) -> Result<Run> {
        let ifindex = self.ifindex(interface)?;
        let name = hook.program(interface);
        let program = self
            .ebpf
            .program(name)
            .with_context(|| format!("no program {name}"))?;
        let mut out = vec![0; ROOM];
        let context = match hook {
            Hook::Xdp => xdp_context(ifindex, frame.len()),
            Hook::Tc => skb_context(ifindex),
        };
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            repeat: times,
            ..TestRunOptions::default()
        };
        let result = match program {
            Program::Xdp(program) => program.test_run(options),
            Program::SchedClassifier(program) => program.test_run(options),
            _ => bail!("{name} is of another type"),
        }
        .with_context(|| format!("{name} does not run over {} bytes", frame.len()))?;
        out.truncate(result.data_size_out as usize);
        Ok(Run {
            verdict: Verdict::from_code(hook, result.return_value)?,
            out,
        })
    }
}

/// `struct xdp_md` (include/uapi/linux/bpf.h): data, `data_end`, `data_meta`, ifindex, queue,
/// egress ifindex.
fn xdp_context(ifindex: u32, len: usize) -> Vec<u8> {
    let len = u32::try_from(len).expect("frames are short");
    words(&[0, len, 0, ifindex, 0, 0])
}

/// `struct __sk_buff` (include/uapi/linux/bpf.h), all zeros but for where the skb came in.
fn skb_context(ifindex: u32) -> Vec<u8> {
    const INGRESS_IFINDEX: usize = 36 / 4;
    const IFINDEX: usize = 40 / 4;
    let mut fields = [0; 192 / 4];
    fields[INGRESS_IFINDEX] = ifindex;
    fields[IFINDEX] = ifindex;
    words(&fields)
}

fn words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_ne_bytes())
        .collect()
}
