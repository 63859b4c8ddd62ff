//! Every packet of the tables, cut at every length, by the wire and by its sender.

use std::ops::RangeInclusive;

use eip_dp_tests::prog::{
    Bench, Failures, Hook, Run, Verdict, namespace,
    property::{self, Shape},
    table::{Case, Table},
};

const ETHERNET: usize = 14;

/// Lengths to cut at: all of them, but for the middle of a long payload, which is the same
/// everywhere.
fn lengths(all: RangeInclusive<usize>) -> impl Iterator<Item = usize> {
    const HEADERS: usize = 200;
    const TAIL: usize = 64;
    let end = *all.end();
    all.filter(move |len| *len < HEADERS || *len + TAIL > end)
}

/// Runs frames made from each case and checks each run, and that nothing is counted but what is
/// dropped or sent.
fn every_case(
    frames: impl Fn(&Case) -> Vec<Vec<u8>> + Sync,
    check: impl Fn(&Case, &[u8], &Run) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<()> {
    for table in Table::all()? {
        every_case_of(&table, &frames, &check)?;
    }
    Ok(())
}

fn every_case_of(
    table: &Table,
    frames: &(impl Fn(&Case) -> Vec<Vec<u8>> + Sync),
    check: &(impl Fn(&Case, &[u8], &Run) -> anyhow::Result<()> + Sync),
) -> anyhow::Result<()> {
    let failures = namespace::with_namespace(|| {
        let mut bench = Bench::new(&table.world)?;
        let mut failures = Failures::default();
        let mut before = bench.counters()?;
        for case in &table.cases {
            for hook in Hook::ALL {
                let (mut dropped, mut sent) = (0, 0);
                for frame in frames(case) {
                    let name = format!("{} ({hook:?}, {} bytes)", case.name, frame.len());
                    if !hook.is_testable(&frame) {
                        continue;
                    }
                    let run = bench.runner().run(hook, &case.interface, &frame)?;
                    let result =
                        property::check(&frame, &run).and_then(|()| check(case, &frame, &run));
                    failures.check(&name, result.err().map(|error| format!("{error:#}")));
                    dropped += u64::from(run.verdict == Verdict::Drop);
                    sent += u64::from(run.verdict == Verdict::Redirect);
                }
                let after = bench.counters()?;
                let counted = after.since(&before);
                before = after;
                let requests = bench.requests()?.len();
                let right = counted.dropped() + requests as u64 == dropped + counted.told()
                    && (sent > 0 || counted.delivered() == 0);
                let problem = (!right).then(|| {
                    format!(
                        "{dropped} dropped, {requests} requests, {sent} sent; counters{}",
                        counted.describe()
                    )
                });
                failures.check(&format!("{} ({hook:?})", case.name), problem);
            }
        }
        Ok(failures)
    })?;
    println!("{} checks", failures.checked());
    failures.conclude();
    Ok(())
}

/// The case's packet, made shorter and shorter by its sender.
fn shortened(case: &Case) -> Vec<Vec<u8>> {
    let frame = &case.input.0;
    let Some(shape) = Shape::of(frame) else {
        return Vec::new();
    };
    lengths(shape.shortest()..=shape.end() - ETHERNET)
        .map(|len| property::shortened(frame, shape, len))
        .collect()
}

/// The end of the frame is lost: what is not whole is not sent, and padding is not part of a
/// packet.
#[test]
fn cut_by_the_wire() -> anyhow::Result<()> {
    every_case(
        |case| {
            lengths(ETHERNET..=case.input.0.len())
                .map(|len| case.input.0[..len].to_vec())
                .collect()
        },
        |case, frame, run| {
            if let Some(shape) = Shape::of(&case.input.0)
                && frame.len() < shape.end()
            {
                anyhow::ensure!(run.verdict != Verdict::Redirect, "sent a part of a packet");
            }
            Ok(())
        },
    )
}

/// The sender made a shorter packet: headers that end early are not read or written over their end.
#[test]
fn cut_by_the_sender() -> anyhow::Result<()> {
    every_case(shortened, |_, _, _| Ok(()))
}

/// The frame goes on behind the shorter packet: that is padding, and not a byte of it counts.
#[test]
fn cut_by_the_sender_and_padded() -> anyhow::Result<()> {
    let padded = |case: &Case| {
        let mut frames = shortened(case);
        for frame in &mut frames {
            frame.extend_from_slice(&case.input.0[frame.len()..]);
        }
        frames
    };
    every_case(padded, |_, _, _| Ok(()))
}
