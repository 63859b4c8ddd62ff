//! Compares what a program did with what the table says.

use std::{collections::BTreeMap, fmt::Write as _, net::Ipv4Addr};

use anyhow::{Context as _, Result};
use eip_dp_common::abi::Reason;

use super::{
    Bench, Counters, Delivery, Hook, Run, Verdict, hex_diff,
    table::{Case, Change, Expect, Frame, Table},
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
    bench: &Bench,
    table: &Table,
    case: &Case,
    hook: Hook,
    delivery: Delivery,
) -> Result<Option<String>> {
    let wanted = wanted(table, case, hook, delivery)?;
    let before = bench.counters()?;
    let run = match bench.runner().run(hook, &case.interface, &case.input.0) {
        Ok(run) => run,
        Err(error) => return Ok(Some(format!("{error:#}"))),
    };
    let counted = bench.counters()?.since(&before);
    Ok(difference(&wanted, &run, &counted))
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
        if want.get(start..) != have.get(start..) {
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
    if hook == Hook::Xdp && case.xdp.is_some() {
        return Ok(untouched());
    }
    let counters = counters(table, &case.counters, None)?;
    let redirect = |Frame(out): &Frame, addressed| Wanted {
        verdict: Verdict::Redirect,
        out: out.clone(),
        addressed,
        counters: counters.clone(),
    };
    let dropped = |counters| Wanted {
        verdict: Verdict::Drop,
        out: Vec::new(),
        addressed: true,
        counters,
    };
    Ok(match &case.expect {
        Expect::Pass => Wanted {
            counters,
            ..untouched()
        },
        Expect::Drop { reason, to } => {
            // Nobody looks at the last checks of a packet that cannot be sent anyway.
            let lost = delivery == Delivery::NoUplink && to.is_some();
            let reason = if lost {
                Reason::NoNextHop
            } else {
                reason_named(reason)?
            };
            dropped(self::counters(table, &case.counters, Some(reason))?)
        }
        Expect::Reply { out } => redirect(out, true),
        Expect::Deliver { to, out } => {
            let to_uplink = *to == table.world.way_out.interface;
            match (delivery, hook) {
                (Delivery::Tc, Hook::Xdp) => untouched(),
                (Delivery::Unresolved, Hook::Xdp) if to_uplink => untouched(),
                (Delivery::Unresolved, Hook::Tc) if to_uplink => redirect(out, false),
                (Delivery::NoUplink, _) if to_uplink => dropped(self::counters(
                    table,
                    &undelivered(&case.counters),
                    Some(Reason::NoNextHop),
                )?),
                _ => redirect(out, true),
            }
        }
    })
}

/// The changes of a packet that would have been delivered, but is not.
fn undelivered(changes: &BTreeMap<Ipv4Addr, Change>) -> BTreeMap<Ipv4Addr, Change> {
    let lost = |change: &Change| Change {
        in_dropped: change.in_packets,
        out_dropped: change.out_packets,
        ..Change::default()
    };
    changes
        .iter()
        .map(|(eip, change)| (*eip, lost(change)))
        .collect()
}

fn counters(
    table: &Table,
    changes: &BTreeMap<Ipv4Addr, Change>,
    reason: Option<Reason>,
) -> Result<Counters> {
    let mut all = Counters::default();
    if let Some(reason) = reason {
        all.drops.insert(reason.index(), 1);
    }
    for (address, change) in changes {
        let eip = table.world.eips.iter().find(|eip| eip.address == *address);
        let slot = eip.with_context(|| format!("no EIP {address}"))?.slot;
        all.eips.insert(slot, *change);
    }
    Ok(all)
}

fn reason_named(name: &str) -> Result<Reason> {
    let mut all = Reason::ALL.iter().copied();
    all.find(|reason| reason.name() == name)
        .with_context(|| format!("no reason {name:?}"))
}
