//! The tables themselves: up to date, and dense enough to mean something.

use std::{collections::BTreeSet, process::Command};

use eip_dp_tests::prog::table::{Expect, Table, folder};

const SPECIFICATION: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/packets.md"));

#[test]
fn the_generator_writes_the_same_tables() -> anyhow::Result<()> {
    // Debian's interpreter, where Debian's scapy is.
    let output = Command::new("/usr/bin/python3")
        .arg(folder().join("generate.py"))
        .arg("--check")
        .output()?;
    assert!(
        output.status.success(),
        "{}\n(it needs the package python3-scapy)",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn names_are_unique_and_every_id_has_cases() -> anyhow::Result<()> {
    for (table, ids) in Table::all()?.iter().zip([IPV4, IPV6]) {
        is_dense(table, ids);
    }
    Ok(())
}

/// The rows that each family has.
const IPV4: &[&str] = &[
    "O1", "O2", "O3", "O4", "O5", "O6", "O7", "O8", "O9", "O10", "O11", "O12", "O13", "O14", "O15",
    "O16", "O17", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11", "T12",
    "T12a", "T13", "T14", "T15", "T16", "R1", "R2", "R3", "R4", "R5", "R5a", "R5b", "R6", "R7",
    "R8", "R9", "R10",
];
const IPV6: &[&str] = &[
    "O1", "O2", "O3", "O4", "O5", "O6", "O7", "O8", "O9", "O10", "O11", "O12", "O13", "O14", "O15",
    "O16", "O17", "T1", "T2", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11", "T12", "T12a",
    "T13", "T14", "T15", "T16", "R1", "R2", "R3", "R5", "R5a", "R5b", "R6", "R7", "R8", "R9",
    "R10",
];

fn is_dense(table: &Table, wanted: &[&str]) {
    let mut names = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for case in &table.cases {
        assert!(names.insert(&case.name), "{} twice", case.name);
        ids.extend(case.name.split('-').take(2));
    }
    for id in wanted {
        assert!(ids.contains(id), "no case for {id}");
        let row = format!("\n| {id} | ");
        assert!(
            SPECIFICATION.contains(&row),
            "docs/packets.md says nothing of {id}"
        );
    }
    let delivered = table
        .cases
        .iter()
        .filter(|case| matches!(case.expect, Expect::Deliver { .. }))
        .count();
    assert!(delivered > 100 && table.cases.len() - delivered > 100);
}
