//! `cargo xtask bench`: how fast eip-dp is, beside others (`docs/performance.md`).

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;
use eip_dp_tests::speed::{rounds::{self, Effort}, rows};

#[derive(Parser)]
#[command(name = "eip-dp-bench", about = "Measures gateways")]
struct Arguments {
    /// Under three minutes: fewer rows and rounds
    #[arg(long)]
    quick: bool,
    /// Only rows whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// How many rounds
    #[arg(long)]
    rounds: Option<u32>,
    /// Where results go
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut rows = rows::all(arguments.quick);
    if let Some(pattern) = &arguments.only {
        rows = rounds::only(rows::all(false), pattern);
    }
    let effort = Effort { rounds: arguments.rounds.unwrap_or(if arguments.quick { 3 } else { 9 }), window: Duration::from_millis(200) };
    let all = rounds::run(&rows, &effort, &arguments.folder.join("tables"), &mut |what| eprintln!("bench: {what}"))?;
    for m in &all { println!("{} {:?} {}", m.name, m.rates, m.lost); }
    Ok(())
}
