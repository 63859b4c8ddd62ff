//! What was measured: as JSON, and as text.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path as File};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{
    goals::{self, Wanted},
    machine::Machine,
    rounds::Measured,
    shape::{Gateway, Row},
};

/// All of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Where and when.
    pub machine: Machine,
    /// Whether it is a quick run's.
    pub quick: bool,
    /// Who sent: `live-frames` or `pktgen`.
    pub generator: String,
    /// How long each row was counted in a round, in seconds.
    pub window: f64,
    /// How long all of it took, in seconds.
    pub took: f64,
    /// Packet rates.
    pub rows: Vec<Measured>,
    /// What could not be measured, and why.
    #[serde(default)]
    pub failures: Vec<String>,
    /// Transfers.
    #[serde(default)]
    pub bulk: Vec<Bulk>,
    /// Figures of the table's side, by name; a figure's unit is its goal's.
    #[serde(default)]
    pub table: BTreeMap<String, Vec<f64>>,
}

/// Transfers of iperf3 through one gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bulk {
    /// Who forwards.
    pub gateway: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `out`: from the guest; or `in`.
    pub direction: String,
    /// Gbit/s that arrived, of each round.
    pub rates: Vec<f64>,
}

/// The rival of the transfers.
pub const BULK_RIVAL: &str = "nft-stateless";
/// Whose transfers are judged.
pub const BULK_OURS: &str = "eip-dp auto";

impl Report {
    /// What was measured of a row.
    pub fn row(&self, row: &Row) -> Option<&Measured> {
        self.rows.iter().find(|measured| measured.row == *row)
    }

    /// eip-dp's transfers over the rival's.
    pub fn bulk_ratio(&self, protocol: &str, direction: &str) -> Option<f64> {
        median(&self.over_rival(self.transfers(BULK_OURS, protocol, direction)?))
    }

    fn transfers(&self, gateway: &str, protocol: &str, direction: &str) -> Option<&Bulk> {
        let is = |bulk: &&Bulk| {
            (
                bulk.gateway.as_str(),
                bulk.protocol.as_str(),
                bulk.direction.as_str(),
            ) == (gateway, protocol, direction)
        };
        self.bulk.iter().find(is)
    }

    /// Transfers over the rival's, round by round.
    fn over_rival(&self, bulk: &Bulk) -> Vec<f64> {
        if bulk.gateway == BULK_RIVAL {
            return Vec::new();
        }
        let rival = self.transfers(BULK_RIVAL, &bulk.protocol, &bulk.direction);
        let theirs = rival.map_or(&[][..], |rival| &rival.rates);
        bulk.rates.iter().zip(theirs).map(|(a, b)| a / b).collect()
    }

    /// Reads one.
    pub fn read(path: &File) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no report", path.display()))
    }

    /// Writes it.
    pub fn write(&self, path: &File) -> Result<()> {
        fs::write(path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The tables, as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let Machine {
            processor,
            cpus,
            kernel,
            revision,
            ..
        } = &self.machine;
        let _ = writeln!(
            text,
            "{processor}, {cpus} CPUs, Linux {kernel}, revision {revision}"
        );
        if let Some(busy) = self.machine.busy() {
            let _ = writeln!(text, "{busy}");
        }
        if !self.rows.is_empty() {
            text += "\nPacket rates, million frames a second of a core (median, least, most), and share of the bare redirect\n";
            let _ = writeln!(
                text,
                "{:52} {:>6} {:>6} {:>6}  {:>5} {:>5} {:>5}  {:>7}",
                "row", "Mpps", "min", "max", "share", "min", "max", "ENIs"
            );
        }
        for measured in &self.rows {
            text += &line(measured);
        }
        if !self.bulk.is_empty() {
            let _ = writeln!(
                text,
                "\niperf3, Gbit/s (median, least, most), and times {BULK_RIVAL}, round by round"
            );
        }
        for bulk in &self.bulk {
            let what = format!("{} {} {}", bulk.gateway, bulk.protocol, bulk.direction);
            let (rates, times) = (&bulk.rates, self.over_rival(bulk));
            let _ = writeln!(
                text,
                "{what:52} {}  {}",
                three(rates, 1.0, 2),
                three(&times, 1.0, 2)
            );
        }
        if !self.table.is_empty() {
            text += "\nThe table (median, least, most)\n";
        }
        for (name, values) in &self.table {
            let _ = writeln!(
                text,
                "{name:52} {}  of {}",
                three(values, 1.0, 3),
                values.len()
            );
        }
        if !self.failures.is_empty() {
            text += "\nNot measured\n";
        }
        for failure in &self.failures {
            let _ = writeln!(text, "{failure}");
        }
        text + &self.verdict()
    }

    /// The goals, and the last line.
    pub fn verdict(&self) -> String {
        let judged = goals::judge(self);
        let mut text = String::from("\nGoals\n");
        for one in &judged {
            let (sign, bound, unit) = match one.goal.wanted {
                Wanted::AtLeast(least) => ("≥", least, ""),
                Wanted::AtMost(most, unit) => ("≤", most, unit),
            };
            let met = if one.met { "met" } else { "not met" };
            let _ = writeln!(
                text,
                "{:62} {sign} {bound:<5} {unit:5} {:8.2}  {met}",
                one.goal.what, one.reached
            );
        }
        let met = judged.iter().filter(|one| one.met).count();
        let _ = writeln!(text, "goals met: {met} of {}", judged.len());
        text
    }
}

fn line(measured: &Measured) -> String {
    let enis = match measured.row.gateway {
        Gateway::EipDp | Gateway::EipDpAuto => measured.row.shape.enis().to_string(),
        _ => "-".to_owned(),
    };
    let lost = if measured.lost > 0.01 {
        format!("  {:.0} % lost", measured.lost * 100.0)
    } else {
        String::new()
    };
    format!(
        "{:52} {}  {}  {enis:>7}{lost}\n",
        measured.name,
        three(&measured.rates, 1e6, 2),
        three(&measured.of_bare, 1.0, 2),
    )
}

/// Median, least and most.
fn three(values: &[f64], unit: f64, digits: usize) -> String {
    let width = digits + 3;
    let Some(median) = median(values) else {
        return format!("{:>width$} {:>width$} {:>width$}", "-", "-", "-");
    };
    let (least, most) = extremes(values);
    format!(
        "{:width$.digits$} {:width$.digits$} {:width$.digits$}",
        median / unit,
        least / unit,
        most / unit
    )
}

/// The least and the most.
pub fn extremes(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (least, most)
}

/// The middle one, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*sorted.get(sorted.len() / 2 - 1)?, upper))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speed::shape::{Path, Shape};

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn goals_are_judged_only_where_there_are_figures() {
        let row = Row::new(Gateway::EipDp, Shape::nat4(1_024), Path::In);
        let measured = Measured {
            row,
            name: row.name(),
            rates: vec![3e6],
            bits: Vec::new(),
            of_bare: vec![0.9, 0.8, 0.86],
            shares: Vec::new(),
            lost: 0.0,
        };
        let mut report = Report {
            rows: vec![measured],
            ..Report::default()
        };
        assert!(report.verdict().ends_with("goals met: 1 of 1\n"));
        report.rows[0].of_bare = vec![0.84];
        assert!(report.verdict().ends_with("goals met: 0 of 1\n"));
    }
}
