//! The conformance suite, and random packets, against the product.

use anyhow::{Context, Result};
use eip_dp_tests::conformance::{
    self,
    adapters::{Adapter as _, Command, EipDp, MODEL, named},
    data::{Case, folder, read},
    random,
    report::Report,
};

#[test]
fn eip_dp_passes_every_case() -> Result<()> {
    passes(EipDp::USUAL)
}

#[test]
fn eip_dp_passes_likewise_where_ports_take_xdp_frames() -> Result<()> {
    passes(EipDp::BY_XDP)
}

#[test]
fn eip_dp_passes_likewise_behind_taps() -> Result<()> {
    passes(EipDp::TAP)
}

#[test]
fn eip_dp_passes_likewise_in_vlans_within_others() -> Result<()> {
    passes(EipDp::QINQ_BY_XDP)
}

fn passes(gateway: EipDp) -> Result<()> {
    let mut report = Report::default();
    for table in read(&folder())? {
        let cases: Vec<&Case> = table.cases.iter().collect();
        report.add(conformance::run(&gateway, &table, &cases, 1)?);
    }
    let failures = report.failures(gateway.name(), true);
    assert!(failures.is_empty(), "{}:\n{failures}", report.summary());
    assert!(report.score(gateway.name()).of > 3000);
    Ok(())
}

#[test]
fn random_packets_come_out_as_those_of_nftables() -> Result<()> {
    // One a family: the rest have the same guests.
    for table in read(&folder())?.iter().take(2) {
        random::compare(&table.bed, [&EipDp::USUAL, named(MODEL)?.as_ref()], 1, 4000)?;
    }
    Ok(())
}

/// The contract of docs/conformance.md, by its example.
#[test]
fn a_program_can_be_an_adapter() -> Result<()> {
    let program = folder().join("example-adapter.py");
    let adapter = Command::new(&program.to_string_lossy());
    let mut report = Report::default();
    for table in read(&folder())? {
        let simple = |case: &&Case| {
            ["T1-udp-", "O8-udp-"]
                .iter()
                .any(|name| case.name.starts_with(name))
        };
        let cases: Vec<&Case> = table.cases.iter().filter(simple).collect();
        if cases.is_empty() {
            continue;
        }
        report.add(conformance::run(&adapter, &table, &cases, 1)?);
    }
    let failures = report.failures("example-adapter.py", true);
    // Its rules know no hairpin.
    let failed: Vec<&str> = failures
        .lines()
        .filter(|line| line.contains("T1-udp-"))
        .collect();
    assert!(
        failed.len() == 2 && failed.iter().all(|line| line.contains("-hairpin-v4")),
        "{failures}"
    );
    Ok(())
}

/// A gateway that drops what has a wrong checksum is not the same: the comparison sees it.
#[test]
fn random_packets_tell_gateways_apart() -> Result<()> {
    let tables = read(&folder())?;
    let table = &tables[0];
    let gateways = [named("nft-conntrack")?, named(MODEL)?];
    let outcome = random::compare(
        &table.bed,
        [gateways[0].as_ref(), gateways[1].as_ref()],
        1,
        1000,
    );
    let error = outcome.err().context("no difference was seen")?;
    let text = format!("{error:#}");
    assert!(
        text.contains("of seed 1") && text.contains("nft-conntrack made 0 packets of it"),
        "{text}"
    );
    Ok(())
}
