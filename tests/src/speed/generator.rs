//! Sending and counting: one closed loop a core. The generator's call is a long one, since each
//! costs tens of milliseconds before the first frame, and a window inside it is what is counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use aya::programs::{ProgramError, TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use eip_dp_bench_ebpf::{BATCH, Plan, Seen, programs};
use nix::{
    libc,
    sched::{CpuSet, sched_setaffinity},
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    unistd::{Pid, gettid},
};

use super::{
    clocks::Clocks,
    object::{Object, cpus},
    pktgen, plan,
    shape::{Family, Path, Row, Size},
    site::Site,
    tracker,
};
use crate::lab::wait::until;

/// What ends the generator's call.
const STOP: Signal = Signal::SIGUSR1;
/// How long a generator may take to send its first frame.
const PATIENCE: Duration = Duration::from_secs(20);
/// What passes after the first frame before counting begins.
const WARM_UP: Duration = Duration::from_millis(20);

/// Of its cores' time the loop has to have so much of a window, else the window is made longer, but
/// not by more than so often.
const LEAST_SHARE: f64 = 0.25;
const MOST_WINDOWS: u32 = 50;

/// What was counted in a window.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Frames a second of the cores' time, times the cores: those that arrived as they have to, or
    /// of a row where none may arrive, those sent.
    pub rate: f64,
    /// Bits a second of them, frames as they are in memory.
    pub bits: f64,
    /// The share of the cores' time that the loop had: less than all of it where others want them
    /// too.
    pub share: f64,
    /// The share of frames that were sent and did not arrive.
    pub lost: f64,
}

/// Who sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    /// The bench's own programs.
    #[default]
    LiveFrames,
    /// The kernel's packet generator.
    Pktgen,
}

/// Runs one row for a window of this length. It fails if frames arrive that should not, or none
/// that should.
pub fn measure(
    site: &mut Site,
    row: &Row,
    window: Duration,
    strict: bool,
    sender: Sender,
) -> Result<Counted> {
    let plan = Plan {
        strict: u32::from(strict),
        loose: u32::from(sender == Sender::Pktgen),
        ..plan::of_row(row)
    };
    while_sent(site, row, sender, &plan, &|sending| {
        count(row, window, sending)
    })
}

/// Has each flow of a row sent at least once, until the gateway tracks all of them.
pub fn fill(site: &mut Site, row: &Row, sender: Sender) -> Result<()> {
    let flows = tracker::flows(&row.shape, sender);
    let plan = Plan {
        in_order: 1,
        loose: u32::from(sender == Sender::Pktgen),
        ..plan::of_row(row)
    };
    let gateway = site.gateway.clone();
    while_sent(site, row, sender, &plan, &|_| {
        until(PATIENCE, "all connections to be tracked", || {
            Ok((tracker::count(&gateway)? >= flows).then_some(()))
        })
    })
}

/// What is under way while frames are sent.
struct Sending<'a> {
    object: &'a Object,
    clocks: &'a Clocks,
    /// Whether all generators have begun.
    all_send: &'a dyn Fn() -> Result<bool>,
    /// How many frames were sent.
    sent: &'a dyn Fn() -> Result<u64>,
}

/// Sends a row's frames while `during` runs.
fn while_sent<T: Send>(
    site: &mut Site,
    row: &Row,
    sender: Sender,
    plan: &Plan,
    during: &(dyn Fn(&Sending<'_>) -> Result<T> + Sync),
) -> Result<T> {
    site.object.begin(plan)?;
    site.send_from_guests(row.is_outward())?;
    let namespace = if row.is_outward() {
        &site.guests
    } else {
        &site.source
    };
    let object = &site.object;
    let cores = cores(row.cores)?;
    namespace
        .enter(|| match sender {
            Sender::LiveFrames => live_frames(object, row, &cores, during),
            Sender::Pktgen => by_pktgen(object, row, &cores, during),
        })
        .with_context(|| row.name())
}

fn live_frames<T>(
    object: &Object,
    row: &Row,
    cores: &[usize],
    during: &dyn Fn(&Sending<'_>) -> Result<T>,
) -> Result<T> {
    let frame = template(row);
    catch_stop()?;
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let program = object.program(program_of(row))?;
        let (mut threads, mut callers) = (Vec::new(), Vec::new());
        for core in cores {
            let thread = Arc::new(AtomicI32::new(0));
            let (its, frame, ended) = (Arc::clone(&thread), &frame, &ended);
            threads.push(thread);
            callers.push(scope.spawn(move || {
                its.store(gettid().as_raw(), Ordering::SeqCst);
                call(program, frame, *core, ended)
            }));
        }
        let clocks = Clocks::new(cores, threads.clone());
        let done = during(&Sending {
            object,
            clocks: &clocks,
            all_send: &|| Ok(object.senders()? >= cores.len()),
            sent: &|| object.sent(),
        });
        ended.store(true, Ordering::SeqCst);
        for (thread, caller) in threads.iter().zip(callers) {
            // A signal before the call is lost: again, until it has ended.
            while !caller.is_finished() {
                stop(thread.load(Ordering::SeqCst));
                thread::sleep(Duration::from_millis(1));
            }
            let ended = caller.join();
            ended.map_err(|_| anyhow!("a generator panicked"))??;
        }
        let done = done?;
        check(object, row, object.sent()?)?;
        Ok(done)
    })
}

fn by_pktgen<T>(
    object: &Object,
    row: &Row,
    cores: &[usize],
    during: &dyn Fn(&Sending<'_>) -> Result<T>,
) -> Result<T> {
    pktgen::prepare(row, cores)?;
    thread::scope(|scope| {
        let caller = scope.spawn(pktgen::start);
        let clocks = Clocks::new(cores, Vec::new());
        let clocks = clocks.with(cores.iter().map(|core| pktgen::thread(*core)));
        let sent = || pktgen::sent(cores);
        let done = during(&Sending {
            object,
            clocks: &clocks,
            all_send: &|| Ok(true),
            sent: &sent,
        });
        // One that has not begun yet would not end.
        while !caller.is_finished() {
            let _ = pktgen::stop();
            thread::sleep(Duration::from_millis(1));
        }
        let ended = caller.join();
        ended.map_err(|_| anyhow!("the thread that waits for pktgen panicked"))??;
        let done = done?;
        check(object, row, sent()?)?;
        Ok(done)
    })
}

/// The generator's program for a row.
pub fn program_of(row: &Row) -> &'static str {
    match (row.path, row.shape.family) {
        (Path::Error, Family::V4) => programs::ERROR4,
        (Path::Error, Family::V6) => programs::ERROR6,
        (_, Family::V4) => programs::UDP4,
        (_, Family::V6) => programs::UDP6,
    }
}

/// The cores that are measured: the last ones. The driver has the others, if there are any.
fn cores(count: u32) -> Result<Vec<usize>> {
    let all = cpus()?;
    let count = count as usize;
    ensure!(
        count <= all,
        "{count} cores are asked for, and there are {all}"
    );
    Ok((all - count..all).collect())
}

/// Keeps the calling thread off the core that is measured alone.
pub fn stand_aside() -> Result<()> {
    let all = cpus()?;
    let mut set = CpuSet::new();
    for cpu in 0..all.saturating_sub(1).max(1) {
        set.set(cpu)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Lets the calling thread, and what it starts, run anywhere again.
pub fn spread() -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in 0..cpus()? {
        set.set(cpu)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

fn catch_stop() -> Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing at all.
    unsafe { sigaction(STOP, &action) }?;
    Ok(())
}

/// Interrupts what a thread of this process does in the kernel; one that has ended needs no more.
fn stop(thread: i32) {
    if thread != 0 {
        // SAFETY: plain integers; a signal that is handled.
        unsafe { libc::syscall(libc::SYS_tgkill, Pid::this().as_raw(), thread, STOP as i32) };
    }
}

/// The generator's call, until it is stopped.
fn call(program: &Xdp, frame: &[u8], core: usize, ended: &AtomicBool) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    while !ended.load(Ordering::SeqCst) {
        let result = program.test_run(TestRunOptions {
            data_in: Some(frame),
            repeat: u32::MAX,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        });
        match result {
            Err(ProgramError::SyscallError(error))
                if error.io_error.kind() == std::io::ErrorKind::Interrupted => {}
            other => {
                other.context("the kernel sends no live frames")?;
            }
        }
    }
    Ok(())
}

fn count(row: &Row, window: Duration, sending: &Sending<'_>) -> Result<Counted> {
    let Sending {
        object,
        clocks,
        all_send,
        sent,
    } = sending;
    let progress = |seen: &Seen, sent: u64| {
        if row.arrives_nowhere() {
            sent
        } else {
            seen.right
        }
    };
    let first = until(PATIENCE, "the first frame to arrive", || {
        let count = progress(&object.seen()?, sent()?);
        Ok((all_send()? && count > 0).then_some(()))
    });
    if first.is_err() {
        check(object, row, sent()?)?;
    }
    first?;
    thread::sleep(WARM_UP);
    let sample = || {
        let now = (clocks.read(), Instant::now());
        Ok::<_, anyhow::Error>((object.seen()?, sent()?, now))
    };
    let (before, sent_before, begin) = sample()?;
    let enough = window.mul_f64(LEAST_SHARE * clocks.cores);
    let mut windows = 0;
    let (after, sent, end) = loop {
        thread::sleep(window);
        windows += 1;
        let (after, sent, end) = sample()?;
        if end.0.saturating_sub(begin.0) >= enough || windows == MOST_WINDOWS {
            break (after, sent, end);
        }
    };
    let busy = end.0.saturating_sub(begin.0).as_secs_f64() / clocks.cores;
    let arrived = float(progress(&after, sent) - progress(&before, sent_before));
    let sent = float(sent - sent_before);
    ensure!(
        arrived > 0.0,
        "nothing arrived in {window:?}, of {sent} frames that were sent ({} foreign ones arrived; the cores ran for {busy:.3} s)",
        after.foreign
    );
    Ok(Counted {
        rate: arrived / busy,
        bits: float(after.bytes - before.bytes) * 8.0 / busy,
        share: busy / (end.1 - begin.1).as_secs_f64(),
        // What is under way at either end of the window is no loss.
        lost: ((sent - arrived) / sent.max(1.0)).max(0.0),
    })
}

#[allow(
    clippy::cast_precision_loss,
    reason = "no window holds 2^52 of anything"
)]
fn float(count: u64) -> f64 {
    count as f64
}

/// Whether the sinks saw what they have to.
fn check(object: &Object, row: &Row, sent: u64) -> Result<()> {
    let seen = object.seen()?;
    let reason = usize::try_from(seen.reason)?;
    ensure!(
        seen.wrong == 0,
        "{} frames arrived wrong, {} right: {} is not what it has to be",
        seen.wrong,
        seen.right,
        Seen::CHECKS.get(reason).unwrap_or(&"something")
    );
    if row.arrives_nowhere() {
        ensure!(
            seen.right == 0,
            "{} frames arrived that had to be dropped",
            seen.right
        );
        ensure!(sent > 0, "nothing was sent");
    } else {
        ensure!(
            seen.right > 0,
            "nothing of {sent} frames arrived ({} of others did)",
            seen.foreign
        );
    }
    Ok(())
}

/// The frame that the generator's pages begin with: what its program does not write.
fn template(row: &Row) -> Vec<u8> {
    const ERROR4: usize = 14 + 20 + 8 + 20 + 8;
    const ERROR6: usize = 14 + 40 + 8 + 40 + 8;
    let (ethertype, error) = match row.shape.family {
        Family::V4 => ([0x08, 0x00], ERROR4),
        Family::V6 => ([0x86, 0xdd], ERROR6),
    };
    let length = match (row.path, row.size) {
        (Path::Error, _) => error,
        (_, Size::Bytes(bytes)) => usize::from(bytes),
        (_, Size::Mix) => 64,
    };
    let mut frame = vec![0; length];
    frame[12..14].copy_from_slice(&ethertype);
    frame
}
