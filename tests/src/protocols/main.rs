//! `cargo xtask protocols`: real applications, each through NAT and through cut-through.

mod rows;

use std::{process::ExitCode, time::Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use eip_dp_tests::{
    apps::{IPV4, Party, Seen, Stage},
    lab::guide,
    report::Report,
};

use rows::{Expected, Row};

#[derive(Parser)]
#[command(
    name = "eip-dp-protocols",
    about = "Runs real applications through NAT and through cut-through"
)]
struct Arguments {
    /// Only the rows whose name contains this, whatever the case
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Leave the network up at the end, and print how to look around in it
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    match show(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: the matrix could not be set up: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn show(arguments: &Arguments) -> Result<bool> {
    let wanted = arguments.only.as_deref().unwrap_or_default().to_lowercase();
    let mut rows = rows::all();
    rows.retain(|row| row.name.to_lowercase().contains(&wanted));
    ensure!(!rows.is_empty(), "no row's name contains {wanted:?}");
    let begun = Instant::now();
    println!("building the network: an Internet host, a gateway, guests, and an Internet beyond …");
    let stage = Stage::new()?;
    println!("{ABOUT}");
    let mut report = Report::new("cells");
    let mut summary = Vec::new();
    for row in &rows {
        report.heading(&row.name);
        let family = row.family.unwrap_or(IPV4);
        let cells = [
            ("NAT", stage.nat(&family), row.nat),
            ("cut-through", stage.cut_through(&family), Expected::Works),
        ]
        .map(|(mode, party, expected)| cell(&mut report, &stage, row, mode, &party, expected));
        summary.push((row, cells));
    }
    print_matrix(&summary);
    let good = report.summary(begun.elapsed().as_secs_f64());
    if arguments.keep {
        guide::print(&stage.scene);
        stage.scene.keep()?;
    }
    Ok(good)
}

const ABOUT: &str = "
NAT is guest A at 203.0.113.10, which has 10.0.0.10; cut-through is guest B, which has 203.0.113.20 itself. Nothing on the
way looks into a payload: what is expected of NAT is what a protocol does when one address is replaced in its headers alone.";

const NAMED: &str = "
named: the documents of the service that has these two modes name the protocol as not supported in NAT mode, where an
application gateway would be needed (H.323, SIP, DNS, RTSP; one of them also TFTP); in cut-through mode they promise all.
docs/protocols.md says what to do about what breaks. H.323 is not run: Debian 12 has no program that speaks it.";

/// What the matrix says of a cell that is not as expected.
const DIFFERS: &str = "DIFFERS";

/// Runs a row for one guest; what is to stand in the matrix.
fn cell(
    report: &mut Report,
    stage: &Stage,
    row: &Row,
    mode: &str,
    party: &Party,
    expected: Expected,
) -> &'static str {
    let seen = (row.run)(stage, party);
    let result = match &seen {
        Ok(Seen::Works(_)) => "works",
        Ok(Seen::Misled(_)) => "breaks",
        // Never expected.
        Ok(Seen::Fails(_)) | Err(_) => DIFFERS,
    };
    let judged = seen.map(|seen| match seen {
        Seen::Works(words) => (expected == Expected::Works, format!("works: {words}")),
        Seen::Misled(words) => (expected == Expected::Misleads, format!("breaks: {words}")),
        Seen::Fails(words) => (false, format!("fails: {words}")),
    });
    if report.line(mode, expected.words(), judged) {
        result
    } else {
        DIFFERS
    }
}

/// The result once more, in few words.
fn print_matrix(rows: &[(&Row, [&str; 2])]) {
    println!("\n{:<66} {:<9} {:<12} named", "", "NAT", "cut-through");
    for (row, [nat, cut_through]) in rows {
        let named = if row.named() { "named" } else { "" };
        println!("{:<66} {nat:<9} {cut_through:<12} {named}", row.name);
    }
    println!("{NAMED}");
}
