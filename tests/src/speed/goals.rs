//! The goals, as data, and what of them a report reaches.

use super::{
    report::{Report, median},
    rows::{SIZES, VPCS},
    shape::{Draw, Family, Gateway, Mode, Path, Row, Shape},
};

/// Something to reach.
#[derive(Clone, Debug)]
pub struct Goal {
    /// What.
    pub what: String,
    /// How much.
    pub wanted: Wanted,
    by: By,
}

/// A bound.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// Not less than this.
    AtLeast(f64),
    /// Not more than this, in this unit.
    AtMost(f64, &'static str),
}

/// Where the figure comes from.
#[derive(Clone, Debug)]
enum By {
    /// A row's share of the bare redirect.
    OfBare(Row),
    /// A row's rate over another's of the same round.
    Over(Row, Row),
    /// The rate over iperf3 of one gateway over another's.
    Bulk(&'static str, &'static str),
    /// A figure of the table's side.
    Table(&'static str),
}

/// A goal and what was reached.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The goal.
    pub goal: Goal,
    /// What was measured.
    pub reached: f64,
    /// Whether that is enough.
    pub met: bool,
}

/// All goals.
pub fn all() -> Vec<Goal> {
    let mut goals = shares();
    let nat_in = |eips| Row::new(Gateway::EipDp, Shape::nat4(eips), Path::In);
    let over = |gateway, eips, wanted| Goal {
        what: format!("NAT in, times {gateway}, {eips} EIPs"),
        wanted: Wanted::AtLeast(wanted),
        by: By::Over(nat_in(eips), Row::new(gateway, Shape::nat4(eips), Path::In)),
    };
    for (gateway, eips, wanted) in [
        (Gateway::Textbook, SIZES[0], 1.1),
        (Gateway::Textbook, SIZES[1], 2.2),
        (Gateway::Textbook, SIZES[2], 2.0),
        (Gateway::NftIngress, SIZES[0], 5.0),
        (Gateway::NftIngress, SIZES[1], 4.5),
        (Gateway::NftConntrack, SIZES[0], 7.0),
        (Gateway::NftConntrack, SIZES[1], 14.0),
    ] {
        goals.push(over(gateway, eips, wanted));
    }
    let few = nat_in(SIZES[0]);
    goals.push(Goal {
        what: format!("ICMP error in, share of NAT in, {} EIPs", SIZES[0]),
        wanted: Wanted::AtLeast(0.6),
        by: By::Over(
            Row {
                path: Path::Error,
                ..few
            },
            few,
        ),
    });
    goals.push(Goal {
        what: "two cores over one, NAT in".to_owned(),
        wanted: Wanted::AtLeast(1.8),
        by: By::Over(few.on(2), few),
    });
    for direction in ["out", "in"] {
        goals.push(Goal {
            what: format!("iperf3 TCP {direction}, times nftables stateless with GRO"),
            wanted: Wanted::AtLeast(1.0),
            by: By::Bulk("tcp", direction),
        });
    }
    for (what, figure, wanted, unit) in [
        (
            "cold load of 1000000 associations",
            "cold-load-1000000",
            2.0,
            "s",
        ),
        ("of it maps", "cold-load-maps-1000000", 0.2, "s"),
        ("`associate --wait`, median", "associate", 10.0, "ms"),
        ("a delta of 100000 associations", "delta-100000", 0.5, "s"),
        ("kernel memory per association", "memory", 128.0, "bytes"),
    ] {
        goals.push(Goal {
            what: what.to_owned(),
            wanted: Wanted::AtMost(wanted, unit),
            by: By::Table(figure),
        });
    }
    goals
}

/// Shares of the bare redirect.
fn shares() -> Vec<Goal> {
    let mut goals = Vec::new();
    let uniform = [
        (Family::V4, 1, [0.85, 0.70, 0.52]),
        (Family::V6, 1, [0.80, 0.58, 0.45]),
        (Family::V4, VPCS, [0.80, 0.58, 0.45]),
    ];
    for (family, vpcs, wanted) in uniform {
        for (eips, wanted) in SIZES.into_iter().zip(wanted) {
            for row in ways(family, vpcs, eips) {
                goals.push(share(row, wanted));
            }
        }
    }
    for (eips, wanted) in [(SIZES[1], 0.78), (SIZES[2], 0.70)] {
        for row in ways(Family::V4, 1, eips) {
            goals.push(share(row.drawn(Draw::Zipf), wanted));
        }
    }
    goals
}

fn ways(family: Family, vpcs: u32, eips: u32) -> impl Iterator<Item = Row> {
    [Mode::Nat, Mode::CutThrough]
        .into_iter()
        .flat_map(move |mode| {
            [Path::In, Path::Out].into_iter().map(move |path| {
                let shape = Shape {
                    family,
                    mode,
                    eips,
                    vpcs,
                };
                Row::new(Gateway::EipDp, shape, path)
            })
        })
}

fn share(row: Row, wanted: f64) -> Goal {
    let Row {
        shape, path, draw, ..
    } = row;
    Goal {
        what: format!("{} {path}, {draw}: share of bare redirect", shape.name()),
        wanted: Wanted::AtLeast(wanted),
        by: By::OfBare(row),
    }
}

/// The goals that a report has figures for.
pub fn judge(report: &Report) -> Vec<Judged> {
    let judged = |goal: Goal| {
        let reached = goal.by.figure(report)?;
        let met = match goal.wanted {
            Wanted::AtLeast(least) => reached >= least,
            Wanted::AtMost(most, _) => reached <= most,
        };
        Some(Judged { goal, reached, met })
    };
    all().into_iter().filter_map(judged).collect()
}

impl By {
    fn figure(&self, report: &Report) -> Option<f64> {
        match self {
            Self::OfBare(row) => median(&report.row(row)?.of_bare),
            Self::Over(row, other) => {
                let (rates, others) = (&report.row(row)?.rates, &report.row(other)?.rates);
                let ratios: Vec<f64> = rates.iter().zip(others).map(|(a, b)| a / b).collect();
                median(&ratios)
            }
            Self::Bulk(protocol, direction) => report.bulk_ratio(protocol, direction),
            Self::Table(name) => report.table.get(*name).and_then(|values| median(values)),
        }
    }
}
