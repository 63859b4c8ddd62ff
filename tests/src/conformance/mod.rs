//! The conformance suite for 1:1 NAT gateways: cases as data (`tests/conformance`), a bed of packet
//! sockets around the gateway, an adapter for each gateway, and a table of who passes what.

pub mod adapters;
pub mod bed;
pub mod data;
pub mod host;
pub mod ip;
pub mod judge;
pub mod machine;
pub mod offload;
pub mod pieces;
pub mod play;
pub mod random;
pub mod report;
pub mod spontaneous;
pub mod tap;
pub mod wire;
pub mod wiring;

use anyhow::Result;

use adapters::{Adapter, Start};
use bed::Bed;
use data::{Case, Table};
use play::Player;
use report::{Outcome, Verdict};

/// Holds one gateway against `cases` of one family's table; `patience` is what waits are multiplied
/// by.
pub fn run(
    adapter: &dyn Adapter,
    table: &Table,
    cases: &[&Case],
    patience: u32,
) -> Result<Vec<Outcome>> {
    let all = |verdict: &Verdict| {
        let outcome = |case: &&Case| Outcome::new(adapter.name(), table, case, verdict.clone());
        cases.iter().map(outcome).collect()
    };
    if !table.bed.neighbours.is_empty() && !adapter.shares_link() {
        let why = "it is set up for a pool that is routed to it";
        return Ok(all(&Verdict::NotApplicable(why.to_owned())));
    }
    let bed = match Bed::new(&table.bed, adapter.wiring()) {
        Ok(bed) => bed,
        // A kernel without taps, for instance: the other gateways are tried all the same.
        Err(error) => return Ok(all(&Verdict::NotSetUp(format!("{error:#}")))),
    };
    let up = match adapter.start(&bed) {
        Ok(Start::Up(up)) => up,
        Ok(Start::NotApplicable(why)) => return Ok(all(&Verdict::NotApplicable(why))),
        Err(error) => {
            return Ok(all(&Verdict::NotSetUp(format!("{error:#}"))));
        }
    };
    let verdicts = Player::new(&bed, up.claims, patience)
        .pinned(|player| cases.iter().map(|case| player.verdict(case)).collect())?;
    let verdicts: Vec<Verdict> = verdicts;
    Ok(cases
        .iter()
        .zip(verdicts)
        .map(|(case, verdict)| Outcome::new(adapter.name(), table, case, verdict))
        .collect())
}
