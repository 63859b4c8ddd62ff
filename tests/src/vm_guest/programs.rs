//! The BPF object before this kernel's verifier, and the packet tables.

use std::{env, process::Command, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use aya::{
    Ebpf,
    programs::{Program, ProgramError},
};
use eip_dp_tests::lab::{process::Job, wait::until};

use crate::report::Report;

/// How long the tables may take: the processor is emulated.
const LONGEST: Duration = Duration::from_mins(25);

/// Loads every program; prints how many instructions the verifier processed for each.
pub fn load(report: &mut Report) -> Result<()> {
    let mut object = Ebpf::load(eip_dp_user::PROGRAMS).context("the object does not load")?;
    for (name, program) in object.programs_mut() {
        let loaded = match program {
            Program::Xdp(xdp) => xdp.load(),
            Program::SchedClassifier(tc) => tc.load(),
            other => {
                anyhow::bail!("{name} is of a type that the product does not load: {other:?}")
            }
        };
        let seen = loaded.map_err(refused).and_then(|()| count(program));
        report.judge(&format!("verifier, {name}"), "loaded", seen, |_| true);
    }
    Ok(())
}

/// The verifier's last words: all of them are thousands of lines.
fn refused(error: ProgramError) -> anyhow::Error {
    const LINES: usize = 12;
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = &error
    else {
        return error.into();
    };
    let log = verifier_log.to_string();
    let skip = log.lines().count().saturating_sub(LINES);
    let last: Vec<&str> = log.lines().skip(skip).collect();
    anyhow!(
        "{io_error}; the verifier's last words:\n{}",
        last.join("\n")
    )
}

fn count(program: &Program) -> Result<String> {
    let count = program
        .info()?
        .verified_instruction_count()
        .context("the kernel does not say how many instructions it verified")?;
    Ok(format!("loaded, verified_insns {count}"))
}

/// Runs every packet of the tables through the programs.
pub fn packet_tables(report: &mut Report) {
    let seen = || -> Result<String> {
        let mut command = Command::new("packet-tables");
        command.args(["--nocapture", "--test-threads", "1"]);
        let mut job = Job::start(&mut command, &env::temp_dir().join("packet-tables.log"))?;
        until(LONGEST, "the packet tables", || {
            Ok(job.still_runs().is_err().then_some(()))
        })?;
        let (status, said) = (job.wait()?, job.said());
        ensure!(status.success(), "{said}");
        let checks = said
            .split_whitespace()
            .zip(said.split_whitespace().skip(1))
            .find_map(|(count, word)| (word == "checks").then_some(count))
            .context("no count of checks")?;
        Ok(format!("all of {checks} runs"))
    };
    report.judge("packet tables", "all as they say", seen(), |_| true);
}
