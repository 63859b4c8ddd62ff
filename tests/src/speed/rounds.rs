//! Rounds: every row once in each, in turn, so that a machine that becomes slower meanwhile does so
//! for all.

use std::{any::Any, collections::BTreeMap, path::Path as File, time::Duration};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{
    gateways,
    generator::{Sender, fill, measure, spread, stand_aside},
    shape::{Draw, Gateway, Path, Row, Shape},
    site::Site,
    tracker::{self, Room},
};
use eip_dp_bench_ebpf::SEQUENCE;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds.
    pub rounds: u32,
    /// The window in which frames are counted.
    pub window: Duration,
    /// Who sends.
    pub sender: Sender,
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

/// Where the frames of a row are forwarded: one site serves all rows that differ in the traffic
/// alone.
type Place = (Gateway, Shape);

/// What was measured, and what could not be.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// The rows.
    pub rows: Vec<Measured>,
    /// Candidates that could not be built, and rows whose frames did not arrive as they have to.
    pub failures: Vec<String>,
}

/// Runs all of it. `say` is told what goes on.
pub fn run(rows: &[Row], effort: &Effort, cache: &File, say: &mut dyn FnMut(&str)) -> Result<Done> {
    let mut done = Done::default();
    // Given back when all of them are gone.
    let _room = room(rows, effort.sender, &mut done);
    let mut standing: BTreeMap<Place, Option<Standing>> = BTreeMap::new();
    for row in rows {
        let at = (row.gateway, row.shape);
        if standing.contains_key(&at) {
            continue;
        }
        let name = format!("{} {}", row.gateway, row.shape.name());
        say(&format!("building {name}"));
        let mut on = rows.iter().filter(|row| (row.gateway, row.shape) == at);
        let is_zipf = on.any(|row| row.draw == Draw::Zipf);
        let built = build(at, is_zipf, cache, effort.sender);
        let built = built.map_err(|error| done.failures.push(format!("{name}: {error:#}")));
        standing.insert(at, built.ok());
    }
    let mut standing: BTreeMap<Place, Standing> = standing
        .into_iter()
        .filter_map(|(at, built)| Some((at, built?)))
        .collect();
    let rows = rows
        .iter()
        .filter(|row| standing.contains_key(&(row.gateway, row.shape)));
    done.rows = rows.copied().map(Measured::new).collect();
    stand_aside()?;
    in_turn(&mut standing, &mut done, effort, say);
    spread()?;
    Ok(done)
}

/// Room for what gateways track.
fn room(rows: &[Row], sender: Sender, done: &mut Done) -> Option<Room> {
    let tracked = rows.iter().filter(|row| tracker::is_in(row.gateway));
    let most = tracked
        .map(|row| tracker::flows(&row.shape, sender))
        .max()?;
    let room = Room::make(most);
    // Those that do not find room are measured no more, and say so.
    room.map_err(|error| {
        done.failures
            .push(format!("connection tracking: {error:#}"));
    })
    .ok()
}

fn build((gateway, shape): Place, is_zipf: bool, cache: &File, sender: Sender) -> Result<Standing> {
    let mut site = Site::new(shape, gateway)?;
    if is_zipf {
        site.object.set_sequence(&zipf(shape.members()))?;
    }
    let guard = gateways::start(gateway, &mut site, cache)?;
    if tracker::is_in(gateway) {
        tracker::keep(&site.gateway)?;
        fill(&mut site, &Row::new(gateway, shape, Path::In), sender)?;
    }
    Ok(Standing {
        _guard: guard,
        site,
    })
}

impl Measured {
    fn new(row: Row) -> Self {
        Self {
            row,
            name: row.name(),
            rates: Vec::new(),
            bits: Vec::new(),
            of_bare: Vec::new(),
            shares: Vec::new(),
            lost: 0.0,
        }
    }

    /// Measures it once more.
    fn again(
        &mut self,
        standing: &mut BTreeMap<Place, Standing>,
        bare: &mut Bare,
        effort: &Effort,
    ) -> Result<()> {
        let rate = bare.rate(standing, &self.row, effort)?;
        let site = &mut place(standing, &self.row)?.site;
        let counted = measure(site, &self.row, effort.window, false, effort.sender)?;
        if tracker::is_in(self.row.gateway) {
            tracker::check(&site.gateway, &self.row.shape, effort.sender)?;
        }
        self.rates.push(counted.rate);
        self.bits.push(counted.bits);
        self.of_bare.extend(rate.map(|rate| counted.rate / rate));
        self.shares.push(counted.share);
        self.lost = self.lost.max(counted.lost);
        Ok(())
    }
}

/// Rows that fail are measured no more.
fn in_turn(
    standing: &mut BTreeMap<Place, Standing>,
    done: &mut Done,
    effort: &Effort,
    say: &mut dyn FnMut(&str),
) {
    let Done { rows, failures } = done;
    say("checking that all of them forward, checksums too");
    rows.retain(|measured| {
        let site = place(standing, &measured.row).map(|standing| &mut standing.site);
        let checked =
            site.and_then(|site| measure(site, &measured.row, CHECK, true, effort.sender));
        checked
            .map_err(|error| failures.push(format!("{error:#}")))
            .is_ok()
    });
    for round in 1..=effort.rounds {
        say(&format!("round {round} of {}", effort.rounds));
        let mut bare = Bare::default();
        rows.retain_mut(|measured| {
            let again = measured.again(standing, &mut bare, effort);
            again
                .map_err(|error| failures.push(format!("{error:#}")))
                .is_ok()
        });
    }
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

    /// The rate for a row; nothing for a row that needs none, or whose bare redirect is not among
    /// what stands.
    fn rate(
        &mut self,
        standing: &mut BTreeMap<Place, Standing>,
        row: &Row,
        effort: &Effort,
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
        let rate = measure(site, &bare, effort.window, false, effort.sender)?.rate;
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

/// A sequence of numbers below `members` by Zipf's law, exponent 1; which are the frequent ones is
/// scattered.
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
            let [upper @ .., _, _, _, _] = random.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes();
            let drawn = sum * f64::from(u32::from_be_bytes(upper)) / 2_f64.powi(32);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_draws_the_first_as_often_as_its_law_says() {
        const MEMBERS: u32 = 1_000;
        let sequence = zipf(MEMBERS);
        let mut counts = vec![0_u32; MEMBERS as usize];
        for member in &sequence {
            counts[*member as usize] += 1;
        }
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let harmonic: f64 = (1..=MEMBERS).map(|rank| 1.0 / f64::from(rank)).sum();
        for rank in [1_u32, 2, 10] {
            let expected = f64::from(SEQUENCE) / harmonic / f64::from(rank);
            let seen = f64::from(counts[rank as usize - 1]);
            assert!(
                (seen / expected - 1.0).abs() < 0.05,
                "rank {rank}: {seen}, and {expected} expected"
            );
        }
    }
}
