//! Playing cases: send, then a marker behind it. What has not come out when the marker has been
//! seen does not come.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::{
    adapters::Claims,
    bed::Bed,
    data::{Case, Family, Mode},
    ip::udp,
    judge::{Judgement, judge},
    offload,
    report::Verdict,
    spontaneous::Asked,
    wire::{INTERNET, Seen},
    wiring::Wiring,
};

/// How long a marker may take.
const MARKER: Duration = Duration::from_secs(3);

/// How long what was overtaken by its marker may still take: another queue of the kernel, a loaded
/// machine.
const LATE: Duration = Duration::from_millis(100);

/// The same for what the gateway says itself, which a program of it may have to write.
const LATE_ANSWER: Duration = Duration::from_millis(500);

/// A gateway limits the rate of its own messages (RFC 1812 4.3.2.8): they are not asked for faster
/// than this.
const BETWEEN_ANSWERS: Duration = Duration::from_millis(20);

/// What plays cases in a bed.
pub struct Player<'a> {
    bed: &'a Bed,
    claims: Claims,
    patience: u32,
    markers: u64,
    asked: Option<Instant>,
}

impl<'a> Player<'a> {
    /// For a gateway that is up and does what it claims; `patience`: what waits are multiplied by.
    pub fn new(bed: &'a Bed, claims: Claims, patience: u32) -> Self {
        Self {
            bed,
            claims,
            patience,
            markers: 0,
            asked: None,
        }
    }

    /// Does `what` on a thread that stays on one CPU: there, what is sent first is forwarded first.
    pub fn pinned<T: Send>(mut self, what: impl FnOnce(&mut Self) -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    pin()?;
                    Ok(what(&mut self))
                })
                .join()
                .map_err(|_| anyhow!("the thread that plays the cases panicked"))?
        })
    }

    /// Plays a case.
    pub fn verdict(&mut self, case: &Case) -> Verdict {
        if let Some(why) = self.not_applicable(case) {
            return Verdict::NotApplicable(why.to_owned());
        }
        match self.play_twice(case) {
            Ok(Judgement::Passed) => Verdict::Passed,
            Ok(Judgement::Missing(why) | Judgement::Wrong(why)) => Verdict::Failed(why),
            Err(error) => Verdict::Failed(format!("{error:#}")),
        }
    }

    fn not_applicable(&self, case: &Case) -> Option<&'static str> {
        let Claims {
            cut_through,
            tenants,
        } = self.claims;
        let wiring = self.bed.wiring;
        let is_of_taps = case.send.iter().any(|sent| sent.virtio.is_some());
        let has_priority = case.send.iter().any(|sent| sent.priority.is_some());
        if case.cut_through && !cut_through {
            Some("it has no cut-through mode")
        } else if case.tenants && !tenants {
            Some("it keeps no tenants apart")
        } else if is_of_taps && wiring != Wiring::Tap {
            Some("only a tap can be told what is left to the device")
        } else if has_priority && wiring.vlan(0).is_some() {
            Some("frames have a tag already")
        } else {
            None
        }
    }

    /// Some messages come seconds after what they are about, in the middle of another case. They do
    /// not come twice.
    fn play_twice(&mut self, case: &Case) -> Result<Judgement> {
        let (judgement, seen) = self.play(case)?;
        let family = self.bed.world.family;
        let mut packets = seen
            .iter()
            .filter(|seen| seen.ethertype == family.ethertype());
        let late = packets.any(|seen| is_late(family, &seen.packet));
        if late && matches!(judgement, Judgement::Wrong(_)) {
            return Ok(self.play(case)?.0);
        }
        Ok(judgement)
    }

    fn play(&mut self, case: &Case) -> Result<(Judgement, Vec<Seen>)> {
        let before = self.bed.host.received()?;
        let (judgement, seen) = self.play_on_wire(case)?;
        let got = self.bed.host.received()? - before;
        // The kernel is the gateway of those that make no claim about it.
        if judgement == Judgement::Passed && self.claims.tenants && got > case.host {
            let why = format!("{got} packets got to the host's own stack");
            return Ok((Judgement::Wrong(why), seen));
        }
        Ok((judgement, seen))
    }

    fn play_on_wire(&mut self, case: &Case) -> Result<(Judgement, Vec<Seen>)> {
        let asked = Asked::by(self.bed.world.family, case);
        if let Some(last) = case.before.last() {
            for sent in &case.before {
                self.bed.wire.send(sent)?;
            }
            self.until_marker(&last.from, &asked)?;
        }
        let last = case.send.last().context("the case sends nothing")?;
        if case.answered {
            self.wait_to_ask();
        }
        for sent in &case.send {
            self.bed.wire.send(sent)?;
        }
        let mut seen = self.until_marker(&last.from, &asked)?;
        let late = if case.answered { LATE_ANSWER } else { LATE };
        let end = Instant::now() + late * self.patience;
        loop {
            self.complete_quotes(case, &mut seen);
            let judgement = judge(self.bed.world.family, case, &seen);
            let left = end.saturating_duration_since(Instant::now());
            if !matches!(judgement, Judgement::Missing(_)) || left.is_zero() {
                return Ok((judgement, seen));
            }
            // A whole millisecond at least: the kernel's unit.
            let more = self.bed.wire.receive(left.max(Duration::from_millis(1)))?;
            seen.extend(more);
            settle(&mut seen, &asked);
        }
    }

    /// Behind a tap the packet that the gateway says something about had its checksum left open.
    fn complete_quotes(&self, case: &Case, seen: &mut [Seen]) {
        let family = self.bed.world.family;
        let Some(sent) = case.send.last() else {
            return;
        };
        if case.answered && self.bed.wiring == Wiring::Tap {
            for seen in seen.iter_mut().filter(|seen| seen.at == sent.from) {
                if let Some(packet) = offload::completed_quote(family, &seen.packet, &sent.packet.0)
                {
                    seen.packet = packet;
                }
            }
        }
    }

    fn wait_to_ask(&mut self) {
        if let Some(asked) = self.asked {
            thread::sleep(BETWEEN_ANSWERS.saturating_sub(asked.elapsed()));
        }
        self.asked = Some(Instant::now());
    }

    /// Sends one packet and its marker; what came out.
    pub fn send(&mut self, from: &str, packet: &[u8]) -> Result<Vec<Seen>> {
        self.bed.wire.send_packet(from, packet)?;
        self.until_marker(from, &Asked::default())
    }

    /// Sends a marker from `from` and waits for it; what came out before.
    fn until_marker(&mut self, from: &str, asked: &Asked) -> Result<Vec<Seen>> {
        self.markers += 1;
        let text = [MARK, &self.markers.to_be_bytes()].concat();
        let (side, packet) = self.marker(from, &text)?;
        self.bed.wire.send_packet(side, &packet)?;
        let end = Instant::now() + MARKER * self.patience;
        let mut seen = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("a UDP datagram from {side}, sent behind it, was not forwarded any more");
            }
            seen.extend(self.bed.wire.receive(left)?);
            if seen.iter().any(|seen| seen.packet.ends_with(&text)) {
                break;
            }
        }
        // What another queue held when the marker was read.
        seen.extend(self.bed.wire.receive(Duration::ZERO)?);
        settle(&mut seen, asked);
        Ok(seen)
    }

    /// A marker goes where the case's packet went, if its sender has a public address, else in.
    fn marker<'b>(&self, from: &'b str, text: &[u8]) -> Result<(&'b str, Vec<u8>)> {
        let world = &self.bed.world;
        if let Some(guest) = world.guest(from) {
            let source = match (guest.mode, guest.public) {
                (Some(Mode::Nat), Some(_)) => Some(guest.private),
                (Some(Mode::CutThrough), Some(public)) if self.claims.cut_through => Some(public),
                _ => None,
            };
            if let Some(source) = source {
                return Ok((from, udp(source, world.remote, text)));
            }
        }
        let (_, public) = world.translated().next().context("nobody is translated")?;
        Ok((INTERNET, udp(world.remote, public, text)))
    }
}

/// What markers carry, before their number.
const MARK: &[u8] = b"conformance marker ";

fn is_marker(packet: &[u8]) -> bool {
    packet
        .len()
        .checked_sub(MARK.len() + size_of::<u64>())
        .and_then(|start| packet.get(start..start + MARK.len()))
        == Some(MARK)
}

/// Leaves what came of what was sent.
fn settle(seen: &mut Vec<Seen>, asked: &Asked) {
    seen.retain(|seen| !is_marker(&seen.packet) && !asked.is_spontaneous(seen));
}

/// Whether it is one of the ICMP errors that tell what did not happen for a while: an address that
/// did not resolve, fragments that never came.
fn is_late(family: Family, packet: &[u8]) -> bool {
    let (protocol, header, kinds) = match family {
        Family::V4 => (packet.get(9) == Some(&1), 20, [[3, 1], [11, 1]]),
        Family::V6 => (packet.get(6) == Some(&58), 40, [[1, 3], [3, 1]]),
    };
    let kind = packet.get(header..header + 2);
    protocol && kinds.iter().any(|late| kind == Some(late))
}

fn pin() -> Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or_default());
    let mut one = CpuSet::new();
    one.set(first.context("this process may run on no CPU")?)?;
    Ok(sched_setaffinity(this, &one)?)
}
