//! Compares what a program did with what the table says.

use std::{fmt::Write as _, net::IpAddr};

use anyhow::{Context as _, Result};
use eip_dp_common::abi::{Event, LinkKey, Reason, RequestHeader};

use super::{
    Bench, Counters, Delivery, Hook, Run, Verdict, hex_diff,
    table::{Case, Change, Expect, SlowPath, Table},
    wire::{in_vlans, untagged},
};

/// What is to happen at one hook.
struct Wanted {
    verdict: Verdict,
    /// The frame; without its Ethernet addresses where the kernel fills those in.
    out: Vec<u8>,
    addressed: bool,
    counters: Counters,
}

/// Runs the case at `hook` and says what is not as the table wants it.
///
/// # Errors
/// If the case cannot be run.
pub fn run_case(
    bench: &mut Bench,
    table: &Table,
    case: &Case,
    hook: Hook,
    delivery: Delivery,
) -> Result<Option<String>> {
    let wanted = wanted(table, case, hook, delivery)?;
    if case.expect.is_limited() {
        bench.fill_limits()?;
    }
    bench.requests()?;
    let before = bench.counters()?;
    let run = match bench.runner().run(hook, &case.interface, &case.input.0) {
        Ok(run) => run,
        Err(error) => return Ok(Some(format!("{error:#}"))),
    };
    let counted = bench.counters()?.since(&before);
    let handed_over = bench.requests()?;
    let ifindex = bench.runner().ifindex(&case.interface)?;
    let is_request = case.expect == Expect::Daemon && hook == Hook::Tc;
    Ok(difference(&wanted, &run, &counted).or_else(|| {
        let frame = is_request.then_some(&case.input.0[..]);
        of_requests(&handed_over, frame, LinkKey::untagged(ifindex))
    }))
}

/// What is wrong with the requests that were handed over: at most this frame, which came in on that
/// link.
pub fn of_requests(
    handed_over: &[(RequestHeader, Vec<u8>)],
    frame: Option<&[u8]>,
    link: LinkKey,
) -> Option<String> {
    let header = |frame: &[u8], (found, _): &(RequestHeader, _)| RequestHeader {
        received_at: found.received_at,
        ifindex: link.ifindex,
        vlan: link.vlan,
        outer: link.outer,
        length: u32::try_from(frame.len()).expect("frames are short"),
        reserved: 0,
    };
    let right = match (handed_over, frame) {
        ([], None) => true,
        ([one], Some(frame)) => {
            one.0.received_at != 0 && one.0 == header(frame, one) && one.1 == frame
        }
        _ => false,
    };
    (!right).then(|| format!("\n  handed over: {handed_over:02x?}"))
}

fn difference(wanted: &Wanted, run: &Run, counted: &Counters) -> Option<String> {
    let mut text = String::new();
    if run.verdict != wanted.verdict {
        let _ = write!(
            text,
            "\n  {:?} expected, {:?} found",
            wanted.verdict, run.verdict
        );
    }
    // What a dropped frame looks like, nobody sees.
    if wanted.verdict != Verdict::Drop || run.verdict != Verdict::Drop {
        let start = if wanted.addressed { 0 } else { 12 };
        let (want, have) = (&wanted.out, &run.out);
        // A tag that says nothing at all may be there or not.
        let is_same = want.get(start..) == have.get(start..)
            || want.get(12..16) == Some(&[0x81, 0, 0, 0]) && untagged(want) == *have;
        if !is_same {
            let _ = write!(text, "\n  other bytes:{}", hex_diff(want, have));
        }
    }
    if *counted != wanted.counters {
        let (want, have) = (wanted.counters.describe(), counted.describe());
        let _ = write!(
            text,
            "\n  counters expected{want}\n  counters found   {have}"
        );
    }
    (!text.is_empty()).then_some(text)
}

fn wanted(table: &Table, case: &Case, hook: Hook, delivery: Delivery) -> Result<Wanted> {
    let untouched = || Wanted {
        verdict: Verdict::Pass,
        out: case.input.0.clone(),
        addressed: true,
        counters: Counters::default(),
    };
    let counted = |reason: Option<&str>| counters(table, case, reason);
    let sent = |verdict, out: &[u8], addressed, counters| Wanted {
        verdict,
        out: match hook {
            Hook::Xdp => out.to_vec(),
            // The kernel keeps the tag beside the frame.
            Hook::Tc => untagged(out),
        },
        addressed,
        counters,
    };
    let dropped = |counters| sent(Verdict::Drop, &[], true, counters);
    if hook == Hook::Xdp && case.xdp == Some(SlowPath::Early) {
        return Ok(untouched());
    }
    let to_uplink = case.expect.way() == Some(&table.world.way_out.interface);
    // Nobody looks at the last checks of a packet that cannot be sent anyway.
    if delivery == Delivery::NoUplink && to_uplink && !case.expect.is_for_neighbour() {
        return Ok(dropped(lost(table, case)?));
    }
    if hook == Hook::Xdp && case.xdp.is_some() {
        return Ok(untouched());
    }
    Ok(match &case.expect {
        Expect::Pass => Wanted {
            counters: counted(None)?,
            ..untouched()
        },
        Expect::Drop { reason, .. } => dropped(counted(Some(reason))?),
        Expect::Refuse { reason, out, .. } => {
            sent(Verdict::Redirect, &out.0, true, counted(Some(reason))?)
        }
        Expect::Reply { out } | Expect::Fragment { out, .. } => {
            sent(Verdict::Redirect, &out.0, true, counted(None)?)
        }
        Expect::Neighbour { out, .. } => sent(Verdict::Redirect, &out.0, false, counted(None)?),
        // As far as the kernel knows; nothing is counted.
        Expect::Daemon => dropped(counted(None)?),
        Expect::Deliver { out, .. } => {
            let counters = counted(None)?;
            match (delivery, hook) {
                (Delivery::Tc, Hook::Xdp) => untouched(),
                (Delivery::Unresolved, Hook::Xdp) if to_uplink => untouched(),
                (Delivery::Unresolved, Hook::Tc) if to_uplink => {
                    sent(Verdict::Redirect, &out.0, false, counters)
                }
                (Delivery::Tagged | Delivery::Stacked, _) if to_uplink => {
                    let out = in_vlans(&out.0, delivery.uplink_vlans());
                    sent(Verdict::Redirect, &out, true, counters)
                }
                _ => sent(Verdict::Redirect, &out.0, true, counters),
            }
        }
    })
}

/// The counters after a packet for which there is no uplink.
fn lost(table: &Table, case: &Case) -> Result<Counters> {
    let mut all = Counters::default();
    all.drops.insert(Reason::NoNextHop.index(), 1);
    for (address, change) in case.lost.as_ref().unwrap_or(&case.counters) {
        let change = Change {
            in_dropped: change.in_packets + change.in_dropped,
            out_dropped: change.out_packets + change.out_dropped,
            ..Change::default()
        };
        all.eips.insert(slot_of(table, *address)?, change);
    }
    Ok(all)
}

/// The counters that the case names.
fn counters(table: &Table, case: &Case, reason: Option<&str>) -> Result<Counters> {
    let mut all = Counters::default();
    if let Some(reason) = reason {
        all.drops.insert(reason_named(reason)?.index(), 1);
    }
    for name in &case.events {
        all.events.insert(event_named(name)?.index(), 1);
    }
    for (address, change) in &case.counters {
        all.eips.insert(slot_of(table, *address)?, *change);
    }
    Ok(all)
}

fn slot_of(table: &Table, address: IpAddr) -> Result<u32> {
    let eip = table.world.eips.iter().find(|eip| eip.address == address);
    Ok(eip.with_context(|| format!("no EIP {address}"))?.slot)
}

/// The event with this name.
///
/// # Errors
/// If there is none.
pub fn event_named(name: &str) -> Result<Event> {
    let mut all = Event::ALL.iter().copied();
    all.find(|event| event.name() == name)
        .with_context(|| format!("no event {name:?}"))
}

/// The reason with this name.
///
/// # Errors
/// If there is none.
pub fn reason_named(name: &str) -> Result<Reason> {
    let mut all = Reason::ALL.iter().copied();
    all.find(|reason| reason.name() == name)
        .with_context(|| format!("no reason {name:?}"))
}
