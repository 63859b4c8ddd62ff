//! The table's side: how long a cold load takes, a delta, one association; and what the kernel's
//! memory holds for each.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    applied::Revisions,
    gateways::eip_dp,
    memory,
    shape::{Gateway as Kind, Shape},
    site::Site,
    table_file::{self, Spare},
};
use crate::lab::gateway::Gateway;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// The table's EIPs.
    pub eips: u32,
    /// How often a cold load is repeated.
    pub loads: u32,
    /// How many associations are timed one by one, if they do not take too long together.
    pub samples: u32,
    /// How large the largest delta is.
    pub largest: u32,
}

/// The sizes of deltas.
const DELTAS: [u32; 3] = [1, 1_000, 100_000];
/// How many of each size there are.
const REPEATS: u32 = 3;
/// How long single associations may take together.
const PATIENCE: Duration = Duration::from_mins(2);

/// Figures by name.
type Figures = BTreeMap<String, Vec<f64>>;

/// Measures all of it.
pub fn run(effort: &Effort, cache: &Path, say: &mut dyn FnMut(&str)) -> Result<Figures> {
    let mut figures = Figures::new();
    let mut add = |name: String, value| figures.entry(name).or_default().push(value);
    loads(effort, cache, say, &mut add)?;
    changes(effort, cache, say, &mut add)?;
    Ok(figures)
}

/// Loads a table into a kernel that holds nothing.
fn loads(
    effort: &Effort,
    cache: &Path,
    say: &mut dyn FnMut(&str),
    add: &mut dyn FnMut(String, f64),
) -> Result<()> {
    let shape = Shape::nat4(effort.eips);
    let eips = shape.eips;
    let site = Site::new(shape, Kind::EipDp)?;
    let mut gateway = eip_dp::prepared(&site, "xdp", cache, Spare(0))?;
    for load in 1..=effort.loads {
        say(&format!(
            "cold load {load} of {}, {eips} associations",
            effort.loads
        ));
        let begun = Instant::now();
        gateway.start_within(eip_dp::LONGEST)?;
        add(format!("cold-load-{eips}"), begun.elapsed().as_secs_f64());
        add(format!("cold-load-maps-{eips}"), maps_part(&gateway.log())?);
        if load < effort.loads {
            gateway.stop()?;
            gateway.ok("unload")?;
        }
    }
    let total = memory::of(gateway.name())?;
    #[allow(clippy::cast_precision_loss, reason = "below 2^52")]
    add(format!("memory-{eips}"), total as f64 / f64::from(eips));
    Ok(())
}

/// Changes a table that a daemon follows.
fn changes(
    effort: &Effort,
    cache: &Path,
    say: &mut dyn FnMut(&str),
    add: &mut dyn FnMut(String, f64),
) -> Result<()> {
    let shape = Shape::nat4(effort.eips);
    let deltas = || DELTAS.into_iter().filter(|size| *size <= effort.largest);
    let spare = Spare(effort.samples + REPEATS * deltas().sum::<u32>());
    let site = Site::new(shape, Kind::EipDp)?;
    let mut gateway = eip_dp::prepared(&site, "xdp", cache, spare)?;
    say("single associations");
    gateway.start_within(eip_dp::LONGEST)?;
    let mut next = shape.eips;
    let begun = Instant::now();
    for _ in 0..effort.samples {
        if begun.elapsed() > PATIENCE {
            break;
        }
        let verb = format!("associate {} --wait", spare_words(&shape, next));
        next += 1;
        let begun = Instant::now();
        finish(&gateway, &verb)?;
        add(
            format!("associate-{}", shape.eips),
            begun.elapsed().as_secs_f64() * 1e3,
        );
    }
    let revisions = Revisions::of(&gateway)?;
    let file = site.lab.folder().join("delta.toml");
    for size in deltas() {
        let of = format!("{size}-of-{}", shape.eips);
        for repeat in 1..=REPEATS {
            say(&format!("delta {repeat} of {REPEATS}, of {size}"));
            table_file::write_delta(&shape, next..next + size, &file)?;
            next += size;
            let verb = ["apply", "-f", &file.to_string_lossy(), "--wait"];
            let took = revisions.time(&gateway, &verb)?;
            add(format!("delta-{of}"), took.daemon.as_secs_f64());
            add(format!("apply-{of}"), took.command.as_secs_f64());
        }
    }
    Ok(())
}

/// Runs a verb to its end, however long it takes.
fn finish(gateway: &Gateway, verb: &str) -> Result<()> {
    let words: Vec<&str> = verb.split_whitespace().collect();
    let output = gateway
        .command(&words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()?;
    ensure!(
        output.status.success(),
        "`eip-dp {verb}` ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// What the daemon's log says that writing the maps took of its first sync, in seconds.
fn maps_part(log: &str) -> Result<f64> {
    let figure = || {
        let line = log.lines().find(|line| line.contains(" synced "))?;
        let mut words = line.split_whitespace();
        let figure = words.find_map(|word| word.strip_prefix("write_ms="))?;
        figure.parse::<f64>().ok()
    };
    let millis = figure().context("the daemon's log does not say how long it wrote the maps")?;
    Ok(millis / 1e3)
}

fn spare_words(shape: &Shape, number: u32) -> String {
    let (eni, address) = table_file::spare(shape, number);
    format!("e{number} {eni} --private-ip {address}")
}

#[cfg(test)]
mod tests {
    use super::maps_part;

    #[test]
    fn the_first_sync_says_how_long_it_wrote() {
        let log = "INFO starting\nINFO synced revision=1 writes=7 compile_ms=9.5 write_ms=250.5\n\
                   INFO synced revision=2 writes=1 compile_ms=1 write_ms=2\n";
        assert!(maps_part(log).is_ok_and(|seconds| (seconds - 0.2505).abs() < 1e-9));
        assert!(maps_part("INFO synced revision=1 writes=7 maps_ms=1\n").is_err());
        assert!(maps_part("INFO starting\n").is_err());
    }
}
