//! The time that a closed loop had of its cores. On a machine where others run, too, it is less than what passed.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use nix::libc::{clock_gettime, timespec};

/// The clocks of the generators, whose threads run most of the loop's softirqs, and of the kernel's threads for the others.
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
        let softirqs = cores.iter().filter_map(|core| softirq_thread(*core));
        Self {
            cores: f64::from(u32::try_from(cores.len()).unwrap_or(1)),
            generators,
            softirqs: softirqs.collect(),
        }
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

/// The kernel's thread that runs a core's softirqs when there are too many; not seen from within a container.
fn softirq_thread(core: usize) -> Option<i32> {
    let wanted = format!("ksoftirqd/{core}");
    let entries = fs::read_dir("/proc").ok()?.flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|id| {
            let name = fs::read_to_string(format!("/proc/{id}/comm"));
            name.is_ok_and(|name| name.trim() == wanted)
        })
}
