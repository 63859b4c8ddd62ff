//! Every case of the tables, at both hooks, under every way of delivery: verdict, bytes and all counters.

use std::time::Instant;

use anyhow::ensure;
use eip_dp_common::abi::Event;
use eip_dp_tests::prog::{
    Bench, Delivery, Failures, Hook, Verdict,
    check::run_case,
    namespace,
    property::readdressed,
    table::{Expect, Table},
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

#[test]
fn every_ipv4_case_is_as_the_table_says() -> anyhow::Result<()> {
    every_case(&Table::ipv4()?)
}

#[test]
fn every_ipv6_case_is_as_the_table_says() -> anyhow::Result<()> {
    every_case(&Table::ipv6()?)
}

fn every_case(table: &Table) -> anyhow::Result<()> {
    let failures = namespace::with_namespace(|| {
        let mut bench = Bench::new(&table.world)?;
        let mut failures = Failures::default();
        for delivery in Delivery::ALL {
            bench.set_delivery(&table.world, delivery)?;
            for case in &table.cases {
                for hook in Hook::ALL {
                    if !hook.is_testable(&case.input.0) {
                        continue;
                    }
                    let name = format!("{} ({hook:?}, delivery {delivery:?})", case.name);
                    failures.check(&name, run_case(&mut bench, table, case, hook, delivery)?);
                }
            }
        }
        Ok(failures)
    })?;
    println!("{} checks", failures.checked());
    failures.conclude();
    Ok(())
}

/// A verdict that cannot be carried out is a drop, and counted as one for the EIP too.
#[test]
fn an_interface_that_was_taken_away_is_a_counted_drop() -> anyhow::Result<()> {
    let table = Table::ipv4()?;
    namespace::with_namespace(|| {
        let mut bench = Bench::new(&table.world)?;
        let case = table.case("T1-udp-in")?;
        let Expect::Deliver { to, .. } = &case.expect else {
            anyhow::bail!("{} is not delivered", case.name);
        };
        let before = bench.counters()?;
        let (maps, runner) = bench.parts();
        maps.forget_device(runner.ifindex(to)?)?;
        let run = runner.run(Hook::Xdp, &case.interface, &case.input.0)?;
        assert_eq!(run.verdict, Verdict::Drop);
        let counted = bench.counters()?.since(&before);
        assert_eq!((counted.dropped(), counted.delivered()), (1, 0));
        let words = counted.describe();
        assert!(
            words.contains("table-busy") && words.contains("in_dropped +1"),
            "{words}"
        );
        Ok(())
    })
}

/// How many ICMP errors are sent to one receiver, and to all of them: no more than a burst, and what comes in while it lasts.
#[test]
fn icmp_errors_are_limited() -> anyhow::Result<()> {
    const SOURCE: usize = 14 + 12;
    for (receivers, burst, each_millis) in [(1, 100, 10), (1_000, 500, 1)] {
        let table = Table::ipv4()?;
        namespace::with_namespace(|| {
            let bench = Bench::new(&table.world)?;
            // A bucket is of one processor.
            sched_setaffinity(Pid::from_raw(0), &first_cpu()?)?;
            let case = table.case("R2-ttl-1-in")?;
            let before = bench.counters()?;
            let start = Instant::now();
            let mut answers = 0_u32;
            loop {
                let number = u8::try_from(answers % receivers % 250)?;
                let [high, low] = [u8::try_from(answers % receivers / 250)?, number];
                let frame = readdressed(&case.input.0, SOURCE, &[192, 0, 2 + high, low])?;
                match bench
                    .runner()
                    .run(Hook::Tc, &case.interface, &frame)?
                    .verdict
                {
                    Verdict::Redirect => answers += 1,
                    Verdict::Drop => break,
                    Verdict::Pass => anyhow::bail!("left to the kernel"),
                }
                ensure!(answers < 100_000, "there is no limit");
            }
            let most = u128::from(burst + 2) + start.elapsed().as_millis() / each_millis;
            println!("{answers} to {receivers}, at most {most}");
            ensure!(
                answers >= burst && u128::from(answers) <= most,
                "{answers} answers"
            );
            let counted = bench.counters()?.since(&before);
            ensure!(
                counted.told() == u64::from(answers)
                    && counted.dropped() == u64::from(answers) + 1
                    && counted.events.get(&Event::Limited.index()) == Some(&1),
                "counted{}",
                counted.describe()
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// While no more may be sent, a packet whose sender would be told is dropped where it is first seen.
#[test]
fn a_sender_that_may_not_be_told_is_not() -> anyhow::Result<()> {
    for table in Table::all()? {
        namespace::with_namespace(|| {
            let mut bench = Bench::new(&table.world)?;
            bench.empty_limits()?;
            for name in [
                "R2-ttl-1-in",
                "R2-ttl-1-out",
                "R3-too-big-in",
                "R3-too-big-out",
            ] {
                let case = table.case(name)?;
                for hook in Hook::ALL {
                    let before = bench.counters()?;
                    let run = bench.runner().run(hook, &case.interface, &case.input.0)?;
                    let counted = bench.counters()?.since(&before);
                    ensure!(
                        run.verdict == Verdict::Drop
                            && (counted.dropped(), counted.told()) == (1, 0)
                            && counted.events.get(&Event::Limited.index()) == Some(&1),
                        "{name} ({hook:?}): {:?},{}",
                        run.verdict,
                        counted.describe()
                    );
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn first_cpu() -> anyhow::Result<CpuSet> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let mut one = CpuSet::new();
    for cpu in 0..CpuSet::count() {
        if allowed.is_set(cpu)? {
            one.set(cpu)?;
            break;
        }
    }
    Ok(one)
}
