//! Every case of the table, at both hooks, under every way of delivery: verdict, bytes and all counters.

use eip_dp_tests::prog::{
    Bench, Delivery, Failures, Hook, check::run_case, namespace, table::Table,
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
