//! `cargo xtask conformance`: 1:1 NAT gateways held against what `docs/packets.md` says, and the table of who passes what.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail, ensure};
use clap::Parser;
use eip_dp_tests::conformance::{
    self,
    adapters::{self, Adapter},
    data::{self, Case, Table},
    random,
    report::Report,
};

#[derive(Parser)]
#[command(
    name = "eip-dp-conformance",
    about = "Holds 1:1 NAT gateways against packets and what has to become of them"
)]
struct Arguments {
    /// Only this gateway (may be repeated): one of those listed by --list, or the path of a program (docs/conformance.md)
    #[arg(long)]
    adapter: Vec<String>,
    /// Only this case, or those whose names begin with it (may be repeated)
    #[arg(long)]
    case: Vec<String>,
    /// Only this family
    #[arg(long, value_parser = ["4", "6"])]
    family: Option<String>,
    /// List gateways and cases, and do nothing
    #[arg(long)]
    list: bool,
    /// Print the failures of every gateway, not only those of eip-dp
    #[arg(long)]
    failures: bool,
    /// Write every result to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Put the table into this document
    #[arg(long)]
    update: Option<PathBuf>,
    /// The folder of cases
    #[arg(long)]
    cases: Option<PathBuf>,
    /// Instead of the cases, send so many random packets through eip-dp and nftables stateless, and compare
    #[arg(long, visible_alias = "count")]
    random: Option<u32>,
    /// Which random packets
    #[arg(long, requires = "random")]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let folder = arguments.cases.clone().unwrap_or_else(data::folder);
    let mut tables: Vec<Table> = data::read(&folder)?.into();
    if let Some(family) = &arguments.family {
        tables.retain(|table| u8::from(table.bed.family).to_string() == *family);
    }
    if arguments.list {
        list(arguments, &tables);
        return Ok(true);
    }
    if let Some(count) = arguments.random {
        // IPv4 unless another family is asked for: one run, one family.
        tables.truncate(1);
        return compare(&tables[0], count, arguments.seed);
    }
    suite(arguments, &tables)
}

fn list(arguments: &Arguments, tables: &[Table]) {
    let mut text = String::new();
    for adapter in adapters::all() {
        let usual = adapters::USUAL.contains(&adapter.name());
        let when = if usual { "" } else { "  (only if asked for)" };
        let _ = writeln!(text, "gateway {}{when}", adapter.name());
    }
    for table in tables {
        for case in chosen(arguments, table) {
            let ids = case.ids.join(" ");
            let _ = writeln!(text, "{}  [{}]  {ids}", case.name, case.group);
        }
    }
    // Who reads no further has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn chosen<'a>(arguments: &Arguments, table: &'a Table) -> Vec<&'a Case> {
    let asked = |case: &&Case| {
        let names = &arguments.case;
        names.is_empty()
            || names
                .iter()
                .any(|name| case.name.starts_with(name.as_str()))
    };
    table.cases.iter().filter(asked).collect()
}

fn gateways(arguments: &Arguments) -> Result<Vec<Box<dyn Adapter>>> {
    let mut all = adapters::all();
    if arguments.adapter.is_empty() {
        all.retain(|adapter| adapters::USUAL.contains(&adapter.name()));
        return Ok(all);
    }
    let mut chosen: Vec<Box<dyn Adapter>> = Vec::new();
    for name in &arguments.adapter {
        if let Some(place) = all.iter().position(|adapter| adapter.name() == name) {
            chosen.push(all.remove(place));
        } else if name.contains('/') {
            chosen.push(Box::new(adapters::Command::new(name)));
        } else {
            bail!("there is no gateway {name}: see --list, or give the path of a program");
        }
    }
    Ok(chosen)
}

fn suite(arguments: &Arguments, tables: &[Table]) -> Result<bool> {
    let begun = Instant::now();
    let selected: Vec<(&Table, Vec<&Case>)> = tables
        .iter()
        .map(|table| (table, chosen(arguments, table)))
        .filter(|(_, cases)| !cases.is_empty())
        .collect();
    ensure!(!selected.is_empty(), "no case has such a name: see --list");
    let mut report = Report::default();
    for gateway in gateways(arguments)? {
        for (table, cases) in &selected {
            eprintln!(
                "{}: {} cases of IPv{} …",
                gateway.name(),
                cases.len(),
                u8::from(table.bed.family)
            );
            report.add(conformance::run(gateway.as_ref(), table, cases)?);
        }
        let all = arguments.failures || gateway.name().starts_with(OURS);
        print!("{}", report.failures(gateway.name(), all));
    }
    println!("\n{}", report.table());
    if let Some(file) = &arguments.json {
        report.write_json(file)?;
    }
    if let Some(file) = &arguments.update {
        report.update(file)?;
    }
    println!(
        "conformance: {}; finished in {:.1} s",
        report.summary(),
        begun.elapsed().as_secs_f64()
    );
    let passes_all = |name: &&str| {
        let score = report.score(name);
        score.passed == score.of
    };
    let mut ours = report.adapters().into_iter();
    Ok(ours.all(|name| !name.starts_with(OURS) || passes_all(&name)))
}

/// Whose failure is this project's: what the names of its adapters begin with.
const OURS: &str = "eip-dp";

fn compare(table: &Table, count: u32, seed: Option<u64>) -> Result<bool> {
    let begun = Instant::now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = seed.unwrap_or_else(|| u64::from(now.subsec_nanos()));
    println!("random packets of seed {seed}");
    let other = adapters::named(adapters::MODEL)?;
    let outcome = random::compare(
        &table.bed,
        [&adapters::EipDp::Usual, other.as_ref()],
        seed,
        count,
    );
    if let Err(error) = &outcome {
        println!("{error:#}");
    }
    let version = u8::from(table.bed.family);
    let same = outcome.is_ok();
    println!(
        "conformance: {count} random packets of IPv{version}, seed {seed}: eip-dp and {} {}; finished in {:.1} s",
        other.name(),
        if same { "agree" } else { "DIFFER" },
        begun.elapsed().as_secs_f64()
    );
    Ok(same)
}
