//! A gateway that this kernel may lack, in a virtual machine with a kernel that has it: there the
//! runner runs itself.

use std::{env, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use eip_dp_vm::{Cache, Kernel, Machine, Payload};

use super::report::Outcome;

/// Kernels, the first that is to be had is taken.
const SERIES: [&str; 2] = ["6.12", "6.1"];

/// How long the machine may take, on a slow and busy host.
const LIMIT: Duration = Duration::from_mins(30);

/// What waits are multiplied by: the machine is emulated.
const PATIENCE: &str = "5";

/// What the bed and the adapter need of the kernel.
const MODULES: &[&str] = &[
    "veth",
    "sch_ingress",
    "cls_u32",
    "act_nat",
    "act_gact",
    "act_skbedit",
];

/// Programs of this machine that the runner calls.
const PROGRAMS: &[&str] = &["ip", "ethtool", "mount", "tc"];

/// Where the cases are in the machine.
const CASES: &str = "/usr/share/conformance";

/// The line behind which the results come.
const RESULTS: &str = "the results:";

/// The machine's kernel, or why the first one is not to be had.
pub fn kernel(cache: &Cache) -> Result<Kernel> {
    let [first, second] = SERIES;
    cache
        .kernel(first)
        .or_else(|error| cache.kernel(second).map_err(|_| error))
}

/// Runs the runner there for one gateway; `chosen` are its arguments that say which of the cases in
/// `folder`.
pub fn run(
    cache: &Cache,
    kernel: &Kernel,
    gateway: &str,
    folder: &Path,
    chosen: &[&str],
) -> Result<Vec<Outcome>> {
    let runner = [
        "/usr/bin/judge",
        "--adapter",
        gateway,
        "--cases",
        CASES,
        "--patience",
        PATIENCE,
    ];
    let mut payload = Payload::new(&[&runner, chosen].concat());
    payload.text(
        "/usr/bin/judge",
        &format!(
            "#!/bin/sh\neip-dp-conformance \"$@\" --json /tmp/results || exit\necho '{RESULTS}'\ncat /tmp/results\n"
        ),
    );
    payload.program(&env::current_exe()?, "/usr/bin/eip-dp-conformance")?;
    for program in PROGRAMS {
        payload.installed(program)?;
    }
    for table in super::data::FILES {
        payload.file(&folder.join(table), &format!("{CASES}/{table}"));
    }
    payload.modules(MODULES);
    let mut lines = Vec::new();
    let status = Machine::new(LIMIT).run(cache, kernel, &payload, &mut |line| {
        lines.push(line.to_owned());
    })?;
    ensure!(
        status == 0,
        "the runner ended with {status} in the machine: {}",
        lines.join("\n")
    );
    results(&lines)
}

/// Reads what came behind [`RESULTS`].
fn results(lines: &[String]) -> Result<Vec<Outcome>> {
    let (_, results) = lines
        .iter()
        .position(|line| line == RESULTS)
        .map(|at| lines.split_at(at + 1))
        .with_context(|| format!("no results came: {}", lines.join("\n")))?;
    serde_json::from_str(&results.join("\n")).context("cannot read the machine's results")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::conformance::{
        data::Family,
        report::{Report, Verdict},
    };

    #[test]
    fn results_come_back_as_they_were_written() -> Result<()> {
        let verdicts = [
            Verdict::Passed,
            Verdict::Failed("in \"two\"\nlines".to_owned()),
            Verdict::NotSetUp("why".to_owned()),
            Verdict::NotApplicable("why".to_owned()),
        ];
        let outcome = |(verdict, family)| Outcome {
            adapter: "one".to_owned(),
            case: "a".to_owned(),
            ids: vec!["T1".to_owned()],
            rfc: Some("RFC 1624 3".to_owned()),
            policy: true,
            group: "errors".to_owned(),
            family,
            verdict,
        };
        let families = [Family::V4, Family::V6].into_iter().cycle();
        let written: Vec<Outcome> = verdicts.into_iter().zip(families).map(outcome).collect();
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("results");
        let mut report = Report::default();
        report.add(written.clone());
        report.write_json(&file)?;
        let console = format!("the table\n{RESULTS}\n{}", fs::read_to_string(&file)?);
        let lines: Vec<String> = console.lines().map(str::to_owned).collect();
        assert_eq!(results(&lines)?, written);
        // A machine that ends early, and one that ends amid them.
        assert!(results(&lines[..1]).is_err());
        assert!(results(&lines[..lines.len() - 1]).is_err());
        Ok(())
    }
}
