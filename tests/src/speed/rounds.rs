//! Rounds: every row once in each, in turn, so that a machine that becomes slower meanwhile does so for all.

use std::{any::Any, collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{
    gateways,
    generator::{measure, spread, stand_aside},
    shape::{Draw, Gateway, Row, Shape},
    site::Site,
};
use eip_dp_bench_ebpf::SEQUENCE;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds.
    pub rounds: u32,
    /// The window in which frames are counted.
    pub window: Duration,
}

/// What was measured of a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Which.
    pub row: Row,
    /// Its name.
    pub name: String,
    /// Frames a second, of each round.
    pub rates: Vec<f64>,
    /// Bits a second.
    pub bits: Vec<f64>,
    /// The share of the bare redirect's rate, measured in the same round just before.
    pub of_bare: Vec<f64>,
    /// The share of its cores' time that the loop had.
    pub shares: Vec<f64>,
    /// The largest share of frames that did not arrive.
    pub lost: f64,
}

/// A candidate that stands.
struct Standing {
    // Dropped in this order.
    _guard: Box<dyn Any>,
    site: Site,
}

/// Where the frames of a row are forwarded: one site serves all rows that differ in the traffic alone.
type Place = (Gateway, Shape);

/// Runs all of it. `say` is told what goes on.
pub fn run(
    rows: &[Row],
    effort: &Effort,
    cache: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Measured>> {
    let mut standing: BTreeMap<Place, Standing> = BTreeMap::new();
    for row in rows {
        let place = (row.gateway, row.shape);
        if standing.contains_key(&place) {
            continue;
        }
        say(&format!("building {} {}", row.gateway, row.shape.name()));
        let mut site = Site::new(row.shape, row.gateway)?;
        let drawn = rows
            .iter()
            .any(|row| (row.gateway, row.shape) == place && row.draw == Draw::Zipf);
        if drawn {
            site.object.set_sequence(&zipf(row.shape.members()))?;
        }
        let guard = gateways::start(row.gateway, &mut site, cache)
            .with_context(|| format!("{} {}", row.gateway, row.shape.name()))?;
        standing.insert(
            place,
            Standing {
                _guard: guard,
                site,
            },
        );
    }
    stand_aside()?;
    let done = in_turn(&mut standing, rows, effort, say);
    spread()?;
    done
}

fn in_turn(
    standing: &mut BTreeMap<Place, Standing>,
    rows: &[Row],
    effort: &Effort,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Measured>> {
    let mut all: Vec<Measured> = rows
        .iter()
        .map(|row| Measured {
            row: *row,
            name: row.name(),
            rates: Vec::new(),
            bits: Vec::new(),
            of_bare: Vec::new(),
            shares: Vec::new(),
            lost: 0.0,
        })
        .collect();
    say("checking that all of them forward, checksums too");
    for row in rows {
        let site = &mut place(standing, row)?.site;
        measure(site, row, CHECK, true)?;
    }
    for round in 1..=effort.rounds {
        say(&format!("round {round} of {}", effort.rounds));
        let mut bare = Bare::default();
        for at in 0..all.len() {
            let row = all[at].row;
            let rate = bare.rate(standing, &row, effort.window)?;
            let site = &mut place(standing, &row)?.site;
            let counted = measure(site, &row, effort.window, false)?;
            let measured = &mut all[at];
            measured.rates.push(counted.rate);
            measured.bits.push(counted.bits);
            measured
                .of_bare
                .extend(rate.map(|rate| counted.rate / rate));
            measured.shares.push(counted.share);
            measured.lost = measured.lost.max(counted.lost);
        }
    }
    Ok(all)
}

/// The bare redirect's rate just now: a machine's speed changes within a round, too.
#[derive(Default)]
struct Bare {
    last: Option<(Row, f64)>,
    age: u32,
}

impl Bare {
    /// How many rows are held against one measurement.
    const LASTS: u32 = 3;

    /// The rate for a row; nothing for a row that needs none, or whose bare redirect is not among what stands.
    fn rate(
        &mut self,
        standing: &mut BTreeMap<Place, Standing>,
        row: &Row,
        window: Duration,
    ) -> Result<Option<f64>> {
        let bare = row.bare();
        if row.gateway == Gateway::Bare || !standing.contains_key(&(bare.gateway, bare.shape)) {
            return Ok(None);
        }
        if let Some((of, rate)) = self.last
            && of == bare
            && self.age < Self::LASTS
        {
            self.age += 1;
            return Ok(Some(rate));
        }
        let site = &mut place(standing, &bare)?.site;
        let rate = measure(site, &bare, window, false)?.rate;
        self.last = Some((bare, rate));
        self.age = 1;
        Ok(Some(rate))
    }
}

/// How long each row is checked.
const CHECK: Duration = Duration::from_millis(20);

fn place<'a>(standing: &'a mut BTreeMap<Place, Standing>, row: &Row) -> Result<&'a mut Standing> {
    let place = standing.get_mut(&(row.gateway, row.shape));
    place.context("no site for a row")
}

/// A sequence of numbers below `members` by Zipf's law, exponent 1; which are the frequent ones is scattered.
fn zipf(members: u32) -> Vec<u32> {
    /// Prime, and larger than any table: no two ranks fall on one number.
    const SCATTER: u64 = 2_654_435_761;
    let mut sum = 0.0;
    let cumulated: Vec<f64> = (1..=members)
        .map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        })
        .collect();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    (0..SEQUENCE)
        .map(|_| {
            random ^= random >> 12;
            random ^= random << 25;
            random ^= random >> 27;
            let drawn = random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
            let drawn = sum * drawn as f64 / 2_f64.powi(32);
            let rank = cumulated.partition_point(|upper| *upper < drawn) as u64;
            u32::try_from(rank * SCATTER % u64::from(members)).unwrap_or(0)
        })
        .collect()
}

/// The rows that a pattern names, with the bare redirects that they are held against.
pub fn only(all: Vec<Row>, pattern: &str) -> Vec<Row> {
    let chosen: Vec<Row> = all
        .iter()
        .filter(|row| row.name().contains(pattern))
        .copied()
        .collect();
    let bare: Vec<Row> = chosen.iter().map(|row| row.bare()).collect();
    all.into_iter()
        .filter(|row| chosen.contains(row) || bare.contains(row))
        .collect()
}
