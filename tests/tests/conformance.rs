//! The conformance suite itself: up to date, about what it says, and able to tell gateways apart.

use std::{collections::BTreeSet, process::Command};

use anyhow::Result;
use eip_dp_tests::conformance::data::{Case, Family, Sent, Table, folder, read};

const SPECIFICATION: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/packets.md"));

#[test]
fn the_generator_writes_the_same_suite() -> Result<()> {
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
fn every_part_of_the_specification_has_its_cases() -> Result<()> {
    let tables = read(&folder())?;
    let count = |which: &dyn Fn(&Table, &Case) -> bool| -> usize {
        tables
            .iter()
            .map(|table| table.cases.iter().filter(|case| which(table, case)).count())
            .sum()
    };
    let about = |ids: &'static [&'static str]| {
        move |_: &Table, case: &Case| case.ids.iter().any(|id| ids.contains(&id.as_str()))
    };
    let all = count(&|_, _| true);
    assert!(all >= 150, "{all} cases");
    let of_v6 = count(&|table, _| table.bed.family == Family::V6);
    assert!(of_v6 * 3 >= all, "{of_v6} of {all} cases are of IPv6");
    let errors = about(&["T9", "T10", "T11", "T12", "T12a", "T13", "R2", "R3"]);
    assert!(count(&errors) >= 40);
    assert!(count(&about(&["T7", "T8", "R4"])) >= 20);
    for id in [
        "O1", "O2", "O3", "O6", "O7", "O8", "O9", "O10", "O12", "O13", "O15", "O17", "T1", "T2",
        "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T10", "T11", "T12", "T12a", "T13", "T14", "T15",
        "R1", "R2", "R3", "R4", "R5", "R5a", "R5b", "R6", "R7", "R8", "R9", "R10", "R13", "T16",
        "O11", "O14", "O16", "O18", "O19", "O20",
    ] {
        let of = count(&|_, case: &Case| case.ids.iter().any(|other| other == id));
        assert!(of > 0, "no case for {id}");
    }
    Ok(())
}

#[test]
fn every_expectation_rests_on_something() -> Result<()> {
    for table in read(&folder())? {
        let policy = table.cases.iter().filter(|case| case.policy).count();
        assert!(policy * 2 < table.cases.len(), "{policy} are only policy");
        for case in &table.cases {
            let rfc = case.rfc.as_deref().unwrap_or_default();
            let known = ["RFC ", "IEEE ", "virtio "];
            let quotes = known.iter().any(|name| rfc.starts_with(name));
            assert!(quotes || case.policy && rfc.is_empty(), "{}", case.name);
        }
    }
    Ok(())
}

#[test]
fn every_case_says_what_it_is_about() -> Result<()> {
    let mut names = BTreeSet::new();
    for table in read(&folder())? {
        for case in &table.cases {
            assert!(names.insert(case.name.clone()), "{} twice", case.name);
            for id in &case.ids {
                let row = format!("\n| {id} | ");
                assert!(SPECIFICATION.contains(&row), "no row {id}: {}", case.name);
            }
            let sent = case.before.iter().chain(&case.send);
            let senders = sent.map(|sent: &Sent| sent.from.as_str());
            let receivers = case.expect.iter().flatten().map(|out| out.at.as_str());
            for side in senders.chain(receivers) {
                let is_neighbour = table.bed.neighbours.iter().any(|one| one.name == side);
                let known = side == "internet" || is_neighbour || table.bed.guest(side).is_some();
                assert!(known, "{}: there is no {side}", case.name);
            }
        }
    }
    Ok(())
}
