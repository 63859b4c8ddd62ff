//! The bench with the kernel's packet generator: these kernels have one. What it measures in here
//! says nothing; that it does, and that every frame comes out as it has to, is checked.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use eip_dp_tests::speed::{report::Report as Measured, shape::Gateway};

use crate::report::Report;

/// From the Internet to 1,024 EIPs as eip-dp delivers by itself, which the oldest kernel can, too;
/// and the bare redirect.
const ROWS: &str = "eip-dp-auto nat v4 1024 in";

const FOLDER: &str = "/tmp/bench";

pub fn pktgen(report: &mut Report) -> Result<()> {
    let output = Command::new("eip-dp-bench")
        .args(["--pktgen", "--rounds", "1", "--only", ROWS])
        .args(["--folder", FOLDER])
        .output()
        .context("cannot start the bench")?;
    ensure!(
        output.status.success(),
        "the bench: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let measured = Measured::read(&Path::new(FOLDER).join("only.json"))?;
    let generator = Ok(measured.generator.clone());
    report.expect("bench: the generator", &"pktgen".to_owned(), generator);
    for gateway in [Gateway::Bare, Gateway::EipDpAuto] {
        let rows = measured
            .rows
            .iter()
            .filter(|one| one.row.gateway == gateway);
        let rows: Vec<_> = rows.collect();
        let rates: Vec<f64> = rows.iter().flat_map(|one| one.rates.clone()).collect();
        let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
        report.judge(
            &format!("bench: frames a second, {gateway}"),
            "some, in each row",
            Ok(slowest),
            |slowest| slowest.is_finite() && *slowest > 0.0,
        );
        // A rate is by that time: a thread that was not found would make it too high.
        let shares = rows.iter().flat_map(|one| one.shares.clone());
        report.judge(
            &format!("bench: the share of its core that the loop had, {gateway}"),
            "a half at least",
            Ok(shares.fold(f64::INFINITY, f64::min)),
            |least| (0.5..=1.1).contains(least),
        );
    }
    Ok(())
}
