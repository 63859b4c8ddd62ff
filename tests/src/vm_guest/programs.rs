//! The BPF object before this kernel's verifier, and the packet tables.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use aya::{Ebpf, programs::Program};
use eip_dp_tests::lab::process::outcome;

use crate::report::Report;

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
        let seen = loaded
            .map_err(anyhow::Error::from)
            .and_then(|()| count(program));
        report.judge(&format!("verifier, {name}"), "loaded", seen, |_| true);
    }
    Ok(())
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
        let output = outcome(command.args(["--nocapture", "--test-threads", "1"]))?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let find = |words: &str| said.lines().find(|line| line.contains(words));
        let counted = find(" checks").context("no count of checks")?;
        let result = find("test result").context("no result")?;
        Ok(format!("{counted}, {result}"))
    };
    report.judge("packet tables", "all as the tables say", seen(), |seen| {
        seen.contains("ok")
    });
}
