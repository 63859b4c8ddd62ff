//! The bench with the kernel's packet generator: these kernels have one. What it measures in here says nothing; that it does, and that
//! every frame comes out as it has to, is checked.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use eip_dp_tests::speed::{report::Report as Measured, shape::Gateway};

use crate::report::Report;

/// Rows from the Internet to 1,024 EIPs, on one core and on two, and the bare redirects before them.
const ROWS: &str = "eip-dp nat v4 1024 in uniform 64B";

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
    for gateway in [Gateway::Bare, Gateway::EipDp] {
        let rows = measured
            .rows
            .iter()
            .filter(|one| one.row.gateway == gateway);
        let rates: Vec<f64> = rows.flat_map(|one| one.rates.clone()).collect();
        let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
        report.judge(
            &format!("bench: frames a second, {gateway}"),
            "some, in each row",
            Ok(slowest),
            |slowest| slowest.is_finite() && *slowest > 0.0,
        );
    }
    Ok(())
}
