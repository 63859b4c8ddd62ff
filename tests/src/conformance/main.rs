//! `cargo xtask conformance`: 1:1 NAT gateways held against what `docs/packets.md` says, and the
//! table of who passes what.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail, ensure};
use clap::Parser;
use eip_dp_tests::conformance::{
    self,
    adapters::{self, Adapter},
    data::{self, Case, Table},
    machine, random,
    report::{Outcome, Report, basis},
};
use eip_dp_vm::Cache;

#[derive(Parser)]
#[command(
    name = "eip-dp-conformance",
    about = "Holds 1:1 NAT gateways against packets and what has to become of them"
)]
struct Arguments {
    /// Only this gateway (may be repeated): one of those listed by --list, or the path of a program
    /// (docs/conformance.md)
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
    /// Try act-nat in a virtual machine, whose kernel and emulator are kept in this folder
    #[arg(long, value_name = "FOLDER")]
    vm: Option<PathBuf>,
    /// Start no virtual machine: act-nat is left out, or runs here if it is asked for
    #[arg(long, overrides_with = "vm")]
    no_vm: bool,
    /// What waits are multiplied by, on a slow machine
    #[arg(long, default_value_t = 1)]
    patience: u32,
    /// The folder of cases
    #[arg(long)]
    cases: Option<PathBuf>,
    /// Instead of the cases, send so many random packets through eip-dp and nftables stateless, and
    /// compare
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
    let mut tables: Vec<Table> = data::read(&folder(arguments))?;
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

fn folder(arguments: &Arguments) -> PathBuf {
    arguments.cases.clone().unwrap_or_else(data::folder)
}

fn list(arguments: &Arguments, tables: &[Table]) {
    let mut text = String::new();
    for adapter in adapters::all() {
        let name = adapter.name();
        let when = if is_usual(arguments, name) {
            ""
        } else {
            "  (only if asked for)"
        };
        let _ = writeln!(text, "gateway {name}{when}");
    }
    for table in tables {
        for case in chosen(arguments, table) {
            let ids = case.ids.join(" ");
            let basis = basis(case.rfc.as_deref(), case.policy);
            let _ = writeln!(text, "{}  [{}]  {ids}{basis}", case.name, case.group);
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

/// Whether a gateway is run if none is asked for.
fn is_usual(arguments: &Arguments, gateway: &str) -> bool {
    adapters::USUAL.contains(&gateway) || in_machine(arguments, gateway).is_some()
}

/// The folder of the virtual machine, if this gateway is tried in one.
fn in_machine<'a>(arguments: &'a Arguments, gateway: &str) -> Option<&'a Path> {
    arguments
        .vm
        .as_deref()
        .filter(|_| gateway == adapters::RARE)
}

fn gateways(arguments: &Arguments) -> Result<Vec<Box<dyn Adapter>>> {
    let mut all = adapters::all();
    if arguments.adapter.is_empty() {
        all.retain(|adapter| is_usual(arguments, adapter.name()));
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
    let mut left_out = arguments.no_vm.then(|| "--no-vm".to_owned());
    for gateway in gateways(arguments)? {
        let name = gateway.name();
        if let Some(machine) = in_machine(arguments, name) {
            match elsewhere(arguments, machine, name) {
                Ok(outcomes) => report.add(outcomes),
                // Whoever asks for it wants nothing else.
                Err(error) if !arguments.adapter.is_empty() => return Err(error),
                Err(error) => left_out = Some(format!("{error:#}")),
            }
        } else {
            for (table, cases) in &selected {
                let version = u8::from(table.bed.family);
                eprintln!("{name}: {} cases of IPv{version} …", cases.len());
                let (gateway, patience) = (gateway.as_ref(), arguments.patience);
                report.add(conformance::run(gateway, table, cases, patience)?);
            }
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
    if let Some(why) = left_out.filter(|_| arguments.adapter.is_empty()) {
        println!("{} is left out: {why}", adapters::RARE);
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

/// What a gateway does in the virtual machine.
fn elsewhere(arguments: &Arguments, machine: &Path, gateway: &str) -> Result<Vec<Outcome>> {
    let cache = Cache::new(machine);
    let kernel = machine::kernel(&cache)?;
    eprintln!(
        "{gateway}: in a virtual machine with Linux {} …",
        kernel.release()
    );
    let mut chosen = Vec::new();
    for name in &arguments.case {
        chosen.extend(["--case", name]);
    }
    if let Some(family) = &arguments.family {
        chosen.extend(["--family", family]);
    }
    machine::run(&cache, &kernel, gateway, &folder(arguments), &chosen)
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
        [&adapters::EipDp::USUAL, other.as_ref()],
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
