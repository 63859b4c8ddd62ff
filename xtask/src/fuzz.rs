//! `cargo xtask fuzz`: all that reads packets under libFuzzer, with what must hold of every packet.
//!
//! `fuzz/` is built by the compiler that setup recorded for the BPF programs, which takes unstable
//! options, and not by cargo-fuzz, which wants rustup. The flags are those that libFuzzer needs:
//! coverage in counters, and comparisons (<https://llvm.org/docs/LibFuzzer.html>,
//! <https://clang.llvm.org/docs/SanitizerCoverage.html>).

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    run::{capture, root, show},
    setup::{self, Compiler},
};

#[derive(clap::Args)]
pub struct Arguments {
    /// How long, all targets together
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// Only this target
    #[arg(long)]
    target: Option<String>,
    /// Run this one input, as after a finding
    #[arg(long, requires = "target", conflicts_with = "shrink")]
    input: Option<PathBuf>,
    /// Instead, write the smallest corpus that covers what seeds and earlier runs did
    #[arg(long)]
    shrink: bool,
}

/// The longest input: a frame that is larger than the MTU, or the dice for one.
const MAX_LEN: &str = "-max_len=2048";

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let compiler = setup::for_fuzzing()?;
    let all = targets()?;
    let chosen: Vec<&String> = match &arguments.target {
        Some(name) => all.iter().filter(|target| *target == name).collect(),
        None => all.iter().collect(),
    };
    ensure!(
        !chosen.is_empty(),
        "no such target; there are: {}",
        all.join(", ")
    );
    let folder = build(&compiler)?;
    if let (Some(input), Some(target)) = (&arguments.input, &arguments.target) {
        show(program(&folder, target).arg(input))?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.shrink {
        for target in chosen {
            shrink(&folder, target)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let begun = Instant::now();
    let count = u64::try_from(chosen.len()).context("too many targets")?;
    let each = Duration::from_mins(arguments.minutes) / u32::try_from(count)?;
    let (mut executions, mut findings) = (0, 0);
    for target in chosen {
        let result = fuzz(&folder, target, each)?;
        executions += result.executions;
        findings += u64::from(result.found);
    }
    println!(
        "fuzz: {count} targets, {executions} executions in {:.1} minutes, {findings} findings",
        begun.elapsed().as_secs_f64() / 60.0
    );
    Ok(if findings == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The targets: one file each.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))? {
        let path = entry?.path();
        if let Some(name) = path.file_stem() {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Builds all targets; gives the folder where they are.
fn build(compiler: &Compiler) -> Result<PathBuf> {
    let said = capture(setup::plain(Command::new(&compiler.rustc)).arg("-vV"))?;
    let host = said
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("the compiler does not say for what it compiles")?;
    let mut flags = vec![
        "--cfg=fuzzing",
        "-Cpasses=sancov-module",
        "-Cllvm-args=-sanitizer-coverage-level=4",
        "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
        "-Cllvm-args=-sanitizer-coverage-pc-table",
        "-Cllvm-args=-sanitizer-coverage-trace-compares",
        // Branches that are folded into one are not seen apart.
        "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    ];
    if has_address_sanitizer(compiler)? {
        flags.push("-Zsanitizer=address");
    } else {
        eprintln!(
            "fuzz: this compiler comes without AddressSanitizer; bounds are checked by Rust alone"
        );
    }
    let output = root().join("target/fuzz");
    show(
        compiler
            .cargo()
            .args(["build", "--release", "--locked", "--manifest-path"])
            .arg("fuzz/Cargo.toml")
            // With a target named, the flags are not for build scripts.
            .args(["--target", host])
            .arg("--target-dir")
            .arg(&output)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}")),
    )?;
    Ok(output.join(host).join("release"))
}

/// Whether the compiler's library for it is there: distributions leave it out.
fn has_address_sanitizer(compiler: &Compiler) -> Result<bool> {
    let mut question = setup::plain(Command::new(&compiler.rustc));
    let folder = capture(question.args(["--print", "target-libdir"]))?;
    let files = fs::read_dir(folder.trim()).context("the compiler has no libraries")?;
    for file in files {
        if file?.file_name().to_string_lossy().ends_with("_rt.asan.a") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A target, to be run.
fn program(folder: &Path, target: &str) -> Command {
    let mut program = Command::new(folder.join(target));
    // Two constants of SQLite's functions, which have one name, are taken for one that is defined
    // twice.
    program.env("ASAN_OPTIONS", "detect_odr_violation=0");
    program
}

/// What a target came to.
struct Outcome {
    executions: u64,
    found: bool,
}

/// The corpus that runs on this machine add to, and the committed one.
fn corpora(target: &str) -> Result<[PathBuf; 2]> {
    let own = root().join("target/fuzz/corpus").join(target);
    let seeds = root().join("fuzz/corpus").join(target);
    for folder in [&own, &seeds] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok([own, seeds])
}

fn fuzz(folder: &Path, target: &str, time: Duration) -> Result<Outcome> {
    let findings = root().join("target/fuzz/findings");
    fs::create_dir_all(&findings)?;
    eprintln!("fuzz: {target} for {} s", time.as_secs());
    let mut child = program(folder, target)
        .args([MAX_LEN, "-print_final_stats=1", "-timeout=10"])
        .arg(format!("-max_total_time={}", time.as_secs()))
        .arg(format!("-artifact_prefix={}/{target}-", findings.display()))
        .args(corpora(target)?)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {target}"))?;
    let output = child.stderr.take().context("a target has no output")?;
    let mut outcome = Outcome {
        executions: 0,
        found: false,
    };
    let mut last = VecDeque::new();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        read(&line, &mut outcome);
        if !line.starts_with('#') {
            last.push_back(line);
        }
        if last.len() > 60 {
            last.pop_front();
        }
    }
    let status = child.wait()?;
    outcome.found = !status.success();
    if outcome.found {
        for line in &last {
            println!("    {line}");
        }
        let file = last
            .iter()
            .find_map(|line| line.split("Test unit written to ").nth(1));
        let Some(file) = file else {
            bail!("{target} ended with {status} and without a finding: see above");
        };
        println!("reproduce: cargo xtask fuzz --target {target} --input {file}");
    }
    Ok(outcome)
}

/// Takes the number of executions out of libFuzzer's statistics.
fn read(line: &str, outcome: &mut Outcome) {
    let number = line.strip_prefix("stat::number_of_executed_units:");
    if let Some(number) = number.and_then(|number| number.trim().parse().ok()) {
        outcome.executions = number;
    }
}

/// Replaces the committed corpus of a target.
fn shrink(folder: &Path, target: &str) -> Result<()> {
    let [own, seeds] = corpora(target)?;
    let new = root().join("target/fuzz/shrunk").join(target);
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new)?;
    capture(
        program(folder, target)
            .args([MAX_LEN, "-set_cover_merge=1"])
            .args([&new, &own, &seeds]),
    )?;
    for entry in fs::read_dir(&seeds)? {
        fs::remove_file(entry?.path())?;
    }
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(&new)? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?;
        bytes += fs::copy(&path, seeds.join(name))?;
        files += 1;
    }
    println!("fuzz: the corpus of {target} has {files} files, {bytes} bytes");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_read_from_the_statistics() {
        let mut outcome = Outcome {
            executions: 0,
            found: false,
        };
        for line in [
            "#2\tINITED cov: 5",
            "stat::number_of_executed_units: 1234567",
            "stat::new_units_added:          12",
        ] {
            read(line, &mut outcome);
        }
        assert_eq!(outcome.executions, 1_234_567);
    }

    #[test]
    fn every_target_is_named_in_the_package() {
        let package = fs::read_to_string(root().join("fuzz/Cargo.toml")).expect("the package");
        for target in targets().expect("targets") {
            assert!(package.contains(&format!("path = \"targets/{target}.rs\"")));
        }
    }
}
