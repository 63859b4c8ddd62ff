//! Where something was measured.

use std::{fs, path::Path, process::Command};

use serde::{Deserialize, Serialize};

/// A machine, its kernel, and the programs that took part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model.
    pub processor: String,
    /// How many of it the system sees.
    pub cpus: usize,
    /// Memory, in bytes.
    pub memory: u64,
    /// The kernel's release.
    pub kernel: String,
    /// eip-dp's version.
    pub eip_dp: String,
    /// The revision of the checkout, with a `+` if files differ from it.
    pub revision: String,
    /// Other programs, each with what it says of its version.
    pub programs: Vec<String>,
    /// When, in UTC.
    pub time: String,
    /// How many processes wanted a CPU before it began, on average over a minute.
    pub load: f64,
}

impl Machine {
    /// This one, now.
    pub fn now(eip_dp: &Path) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let processor = field(&cpuinfo, "model name").unwrap_or_else(|| "unknown".to_owned());
        let memory = field(&meminfo, "MemTotal")
            .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
            .unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let revision = said("git", &["rev-parse", "--short=12", "HEAD"]);
        let changed = !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
        let programs = [
            ("nft", "--version"),
            ("iptables-legacy", "--version"),
            ("iperf3", "--version"),
        ]
        .iter()
        .map(|(program, option)| said(program, &[option]))
        .filter(|said| !said.is_empty());
        Self {
            processor,
            cpus: super::object::cpus().unwrap_or(0),
            memory: memory * 1024,
            kernel: kernel.trim().to_owned(),
            eip_dp: said(&eip_dp.to_string_lossy(), &["--version"]),
            revision: format!("{revision}{}", if changed { "+" } else { "" }),
            programs: programs.collect(),
            time: jiff::Timestamp::now()
                .strftime("%Y-%m-%d %H:%M")
                .to_string(),
            load: load(),
        }
    }

    /// A sentence about others that ran beside, if there were any worth it.
    pub fn busy(&self) -> Option<String> {
        (self.load > 0.5).then(|| {
            format!(
                "The machine was busy when this began (load average {:.2}): figures are noisier than on a quiet one.",
                self.load
            )
        })
    }
}

/// The load average of the last minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or_default()
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The first line of what a program says; nothing of one that is not there.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
