//! The table's side: how long a cold load takes, a delta, one association; and what the kernel's memory holds for each.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{
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
/// How long single associations may take together.
const PATIENCE: Duration = Duration::from_mins(2);

/// Measures all of it.
pub fn run(
    effort: &Effort,
    cache: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<BTreeMap<String, Vec<f64>>> {
    let mut figures = BTreeMap::new();
    let mut add = |name: String, value: f64| figures.entry(name).or_insert_with(Vec::new).push(value);
    let shape = Shape::nat4(effort.eips);
    let spare = Spare(effort.samples + DELTAS.iter().filter(|size| **size <= effort.largest).sum::<u32>());
    let site = Site::new(shape, Kind::EipDp)?;
    let mut gateway = eip_dp::prepared(&site, "xdp", cache, spare)?;
    for load in 1..=effort.loads {
        say(&format!("cold load {load} of {}, {} associations", effort.loads, shape.eips));
        let begun = Instant::now();
        gateway.start_within(eip_dp::LONGEST)?;
        add(format!("cold-load-{}", shape.eips), begun.elapsed().as_secs_f64());
        if let Some(maps) = maps_part(&gateway.log()) {
            add(format!("cold-load-maps-{}", shape.eips), maps);
        }
        if load < effort.loads {
            gateway.stop()?;
            gateway.ok("unload")?;
        }
    }
    let total = memory::of(gateway.name())?;
    #[allow(clippy::cast_precision_loss, reason = "below 2^52")]
    add("memory".to_owned(), total as f64 / f64::from(shape.eips));
    let mut next = shape.eips;
    say("single associations");
    let begun = Instant::now();
    for _ in 0..effort.samples {
        if begun.elapsed() > PATIENCE {
            break;
        }
        let verb = format!("associate {} --wait", spare_words(&shape, next));
        next += 1;
        let begun = Instant::now();
        finish(&gateway, &verb)?;
        add("associate".to_owned(), begun.elapsed().as_secs_f64() * 1e3);
    }
    for size in DELTAS.into_iter().filter(|size| *size <= effort.largest) {
        say(&format!("a delta of {size}"));
        let file = site.lab.folder().join("delta.toml");
        table_file::write_delta(&shape, next..next + size, &file)?;
        next += size;
        let begun = Instant::now();
        finish(&gateway, &format!("apply -f {} --wait", file.display()))?;
        add(format!("delta-{size}"), begun.elapsed().as_secs_f64());
    }
    Ok(figures)
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
fn maps_part(log: &str) -> Option<f64> {
    let line = log.lines().find(|line| line.contains("synced"))?;
    let word = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("maps_ms="))?;
    Some(word.parse::<f64>().ok()? / 1e3)
}

fn spare_words(shape: &Shape, number: u32) -> String {
    let (eni, address) = table_file::spare(shape, number);
    format!("e{number} {eni} --private-ip {address}")
}
