//! Which rows are measured.

use std::collections::BTreeSet;

use super::{
    object::cpus,
    shape::{Draw, Family, Gateway, Mode, Path, Row, Shape, Size},
};

/// The sizes of tables.
pub const SIZES: [u32; 3] = [1_024, 65_536, 1_000_000];
/// The VPCs of tables with many.
pub const VPCS: u32 = 64;

/// All rows of a full run, or those of a quick one: IPv4, two sizes of tables, one core, the
/// shortest frames.
pub fn all(quick: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let sizes = if quick { &SIZES[..2] } else { &SIZES[..] };
    for (family, vpcs) in [(Family::V4, 1), (Family::V6, 1), (Family::V4, VPCS)] {
        if quick && (family, vpcs) != (Family::V4, 1) {
            continue;
        }
        for eips in sizes {
            for mode in [Mode::Nat, Mode::CutThrough] {
                for path in [Path::In, Path::Out] {
                    let shape = Shape {
                        family,
                        mode,
                        eips: *eips,
                        vpcs,
                    };
                    let row = Row::new(Gateway::EipDp, shape, path);
                    rows.push(row);
                    if *eips > SIZES[0] && !quick {
                        rows.push(row.drawn(Draw::Zipf));
                    }
                }
            }
        }
    }
    rows.extend(rivals(sizes, quick));
    rows.extend(special(quick));
    let bare: Vec<Row> = rows.iter().map(|row| row.bare()).collect();
    rows.extend(bare);
    rows.push(Row::new(Gateway::Ceiling, Shape::nat4(SIZES[0]), Path::In));
    let mut seen = BTreeSet::new();
    let cpus = cpus().unwrap_or(1);
    rows.retain(|row| row.cores as usize <= cpus && seen.insert(*row));
    // Each kind with its own, the bare redirect first.
    rows.sort_by_key(|row| (row.gateway, row.shape.eips, *row));
    rows
}

fn rivals(sizes: &[u32], quick: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for eips in sizes {
        let row = |gateway| Row::new(gateway, Shape::nat4(*eips), Path::In);
        rows.push(row(Gateway::Textbook));
        if *eips > SIZES[1] {
            continue;
        }
        rows.push(row(Gateway::NftIngress));
        rows.push(row(Gateway::NftConntrack));
        if !quick {
            rows.push(row(Gateway::NftPrerouting));
        }
    }
    let few = Shape::nat4(SIZES[0]);
    rows.push(Row::new(Gateway::Kernel, few, Path::In));
    if !quick {
        rows.push(Row::new(Gateway::Netmap, few, Path::In));
    }
    rows
}

/// What is not the plain way of a small packet on one core.
fn special(quick: bool) -> Vec<Row> {
    let few = Shape::nat4(SIZES[0]);
    let ours = |path| Row::new(Gateway::EipDp, few, path);
    let mut rows = vec![ours(Path::Hairpin), ours(Path::Error), ours(Path::Flood)];
    rows.push(ours(Path::In).on(2));
    rows.push(Row::new(Gateway::EipDpAuto, few, Path::In));
    rows.push(Row::new(Gateway::EipDpAuto, few, Path::Out));
    if quick {
        return rows;
    }
    rows.push(ours(Path::Out).on(2));
    let few6 = Shape {
        family: Family::V6,
        ..few
    };
    for path in [Path::Hairpin, Path::Error, Path::Flood] {
        rows.push(Row::new(Gateway::EipDp, few6, path));
    }
    let cut = Shape {
        mode: Mode::CutThrough,
        ..few
    };
    rows.push(Row::new(Gateway::EipDp, cut, Path::Hairpin));
    for size in [Size::Bytes(512), Size::Bytes(1500), Size::Mix] {
        rows.push(ours(Path::In).sized(size));
        rows.push(ours(Path::Out).sized(size));
        rows.push(Row::new(Gateway::NftIngress, few, Path::In).sized(size));
    }
    rows
}
