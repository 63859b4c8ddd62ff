//! The time that a closed loop had of its cores. On a machine where others run, too, it is less
//! than what passed.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use nix::libc::{clock_gettime, timespec};

/// The clocks of the generators, whose threads run most of the loop's softirqs, and of the kernel's
/// threads for the others.
pub struct Clocks {
    /// How many cores there are.
    pub cores: f64,
    generators: Vec<Arc<AtomicI32>>,
    softirqs: Vec<i32>,
}

/// `CPUCLOCK_SCHED` and `CPUCLOCK_PERTHREAD_MASK` of include/linux/posix-timers.h.
const SCHED: i32 = 2;
const OF_THREAD: i32 = 4;

impl Clocks {
    /// Of generators, whose ids are there by the time that they send, on these cores.
    pub fn new(cores: &[usize], generators: Vec<Arc<AtomicI32>>) -> Self {
        let softirqs = cores
            .iter()
            .flat_map(|core| kernel_threads(&format!("ksoftirqd/{core}")));
        Self {
            cores: f64::from(u32::try_from(cores.len()).unwrap_or(1)),
            generators,
            softirqs: softirqs.collect(),
        }
    }

    /// With the kernel's own generators of these names.
    #[must_use]
    pub fn with(mut self, names: impl Iterator<Item = String>) -> Self {
        self.softirqs
            .extend(names.flat_map(|name| kernel_threads(&name)));
        self
    }

    /// What all of them have run so far.
    pub fn read(&self) -> Duration {
        let generators = self
            .generators
            .iter()
            .map(|thread| time_of(thread.load(Ordering::SeqCst), OF_THREAD));
        let softirqs = self.softirqs.iter().map(|thread| time_of(*thread, 0));
        generators.chain(softirqs).sum()
    }
}

/// What a thread has run; nothing if it is no more.
fn time_of(thread: i32, kind: i32) -> Duration {
    let clock = !thread << 3 | SCHED | kind;
    let mut time = timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes the struct, or nothing.
    unsafe { clock_gettime(clock, &raw mut time) };
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}

/// The threads of the kernel with this name: pktgen has some of each name, for each network
/// namespace, and those that are idle add nothing. None is seen from within a container.
fn kernel_threads(wanted: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|id| {
            let name = fs::read_to_string(format!("/proc/{id}/comm"));
            name.is_ok_and(|name| name.trim() == wanted)
        })
        .collect()
}
