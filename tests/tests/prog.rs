//! Every case of the table, at both hooks, under every way of delivery: verdict, bytes and all counters.

use anyhow::Context as _;
use eip_dp_tests::prog::{
    Bench, Delivery, Failures, Hook, Verdict,
    check::run_case,
    namespace,
    table::{Expect, Table},
};

#[test]
fn every_case_is_as_the_table_says() -> anyhow::Result<()> {
    let table = Table::ipv4()?;
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
                    failures.check(&name, run_case(&bench, &table, case, hook, delivery)?);
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
        let case = table
            .cases
            .iter()
            .find(|case| case.name == "T1-udp-in")
            .context("no case T1-udp-in")?;
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
