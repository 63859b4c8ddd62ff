//! `cargo xtask bench`: how fast eip-dp is, beside others (`docs/performance.md`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Parser;
use eip_dp_tests::{
    lab::gateway,
    speed::{
        bulk, document,
        generator::Sender,
        machine::Machine,
        pktgen, plots, programs,
        report::Report,
        rounds::{self, Effort},
        rows, table_side,
    },
};

#[derive(Parser)]
#[command(
    name = "eip-dp-bench",
    about = "Measures how fast eip-dp forwards and changes, beside other gateways"
)]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line")]
struct Arguments {
    /// Under three minutes: IPv4, fewer sizes and rounds
    #[arg(long)]
    quick: bool,
    /// Only rows whose name contains this, of those of a full run; or all of `iperf3`, or of
    /// `table`
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// Send with the kernel's pktgen: rows from the Internet over IPv4 alone
    #[arg(long)]
    pktgen: bool,
    /// How many rounds
    #[arg(long)]
    rounds: Option<u32>,
    /// Instead of all that: the size of each BPF program beside the recorded one, and the time of
    /// each path
    #[arg(long)]
    programs: bool,
    /// Record the sizes as what later ones are held against
    #[arg(long, requires = "programs")]
    record: bool,
    /// List the rows and do nothing
    #[arg(long)]
    list: bool,
    /// Where results and applied tables are kept
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// Measure nothing: print the tables of this earlier result
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write tables and plots to this document, too
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
}

/// How long each row is counted in a round.
const WINDOW: Duration = Duration::from_millis(200);

/// What is measured besides rows, as `--only` names it.
const TRANSFERS: &str = "iperf3";
const TABLE: &str = "table";

const QUICK_BULK: bulk::Effort = bulk::Effort {
    rounds: 6,
    all: false,
};
const FULL_BULK: bulk::Effort = bulk::Effort {
    rounds: 12,
    all: true,
};
const QUICK_TABLE: table_side::Effort = table_side::Effort {
    eips: 65_536,
    loads: 1,
    samples: 30,
    largest: 1_000,
};
const FULL_TABLE: table_side::Effort = table_side::Effort {
    eips: 1_000_000,
    loads: 3,
    samples: 200,
    largest: 100_000,
};

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
    if arguments.programs {
        let costs = programs::costs()?;
        if arguments.record {
            programs::record(&costs)?;
        }
        println!("{}", programs::text(&costs)?);
        print!("{}", programs::times(&arguments.folder.join("tables"))?);
        return Ok(());
    }
    let mut rows = rows::all(arguments.quick);
    if let Some(pattern) = &arguments.only {
        rows = rounds::only(rows::all(false), pattern);
        ensure!(
            !rows.is_empty() || [TRANSFERS, TABLE].contains(&pattern.as_str()),
            "no row has `{pattern}` in its name: see --list"
        );
    }
    if arguments.pktgen {
        pktgen::check()?;
        rows.retain(pktgen::can_send);
    }
    if arguments.list {
        for row in &rows {
            println!("{}", row.name());
        }
        println!("{TRANSFERS}\n{TABLE}");
        return Ok(());
    }
    if let Some(file) = &arguments.report {
        return show(arguments, &Report::read(file)?);
    }
    let report = measure(arguments, &rows)?;
    fs::create_dir_all(&arguments.folder)?;
    let file = file_of(arguments);
    report.write(&file)?;
    plots::draw(&report, &arguments.folder)?;
    eprintln!(
        "bench: {:.0} s; all figures: {}",
        report.took,
        file.display()
    );
    // Last of all the goals.
    show(arguments, &report)?;
    ensure!(
        report.failures.is_empty(),
        "not all could be measured: {}",
        report.failures.join("; ")
    );
    Ok(())
}

fn show(arguments: &Arguments, report: &Report) -> Result<()> {
    if let Some(document) = &arguments.document {
        document::write(report, document)?;
    }
    print!("{}", report.text());
    Ok(())
}

/// A full run is kept apart from others.
fn file_of(arguments: &Arguments) -> PathBuf {
    let name = match (&arguments.only, arguments.quick) {
        (Some(_), _) => "only.json",
        (None, true) => "quick.json",
        (None, false) => "full.json",
    };
    arguments.folder.join(name)
}

fn measure(arguments: &Arguments, rows: &[eip_dp_tests::speed::shape::Row]) -> Result<Report> {
    let begun = Instant::now();
    let mut report = Report {
        machine: Machine::now(Path::new(&gateway::program()?)),
        quick: arguments.quick,
        generator: if arguments.pktgen {
            "pktgen"
        } else {
            "live frames"
        }
        .to_owned(),
        window: WINDOW.as_secs_f64(),
        ..Report::default()
    };
    let usual = if arguments.quick { 3 } else { 9 };
    let effort = Effort {
        rounds: arguments.rounds.unwrap_or(usual),
        window: WINDOW,
        sender: if arguments.pktgen {
            Sender::Pktgen
        } else {
            Sender::LiveFrames
        },
    };
    let tables = arguments.folder.join("tables");
    let mut say = |what: &str| eprintln!("bench: {:5.1} s  {what}", begun.elapsed().as_secs_f64());
    let done = rounds::run(rows, &effort, &tables, &mut say)?;
    (report.rows, report.failures) = (done.rows, done.failures);
    let asked = |section: &str| arguments.only.as_deref().is_none_or(|only| only == section);
    if asked(TRANSFERS) {
        let effort = if arguments.quick {
            QUICK_BULK
        } else {
            FULL_BULK
        };
        let effort = bulk::Effort {
            rounds: arguments.rounds.unwrap_or(effort.rounds),
            ..effort
        };
        match bulk::run_all(&effort, &mut say) {
            Ok(bulk) => report.bulk = bulk,
            Err(error) => report.failures.push(format!("iperf3: {error:#}")),
        }
    }
    if asked(TABLE) {
        let effort = if arguments.quick {
            QUICK_TABLE
        } else {
            FULL_TABLE
        };
        match table_side::run(&effort, &tables, &mut say) {
            Ok(table) => report.table = table,
            Err(error) => report.failures.push(format!("table: {error:#}")),
        }
    }
    report.took = begun.elapsed().as_secs_f64();
    Ok(report)
}
