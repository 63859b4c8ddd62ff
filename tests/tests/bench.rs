//! The bench itself, at its smallest: every candidate forwards, on every path, and what arrives is
//! right to the checksum.

use std::time::Duration;

use eip_dp_tests::speed::{
    generator::Sender,
    rounds::{self, Effort},
    shape::{Draw, Family, Gateway, Mode, Path, Row, Shape, Size},
};
use tempfile::tempdir;

const SMALLEST: Effort = Effort {
    rounds: 2,
    window: Duration::from_millis(200),
    sender: Sender::LiveFrames,
};

/// Runs rows; a frame with a wrong address, MAC or checksum at the sink, or none at all, is an
/// error.
fn measure(rows: &[Row]) {
    let folder = tempdir().expect("a folder");
    let done = rounds::run(rows, &SMALLEST, folder.path(), &mut |_| {}).expect("it runs");
    assert!(done.failures.is_empty(), "{}", done.failures.join("\n"));
    assert_eq!(done.rows.len(), rows.len());
    for row in done.rows {
        assert_eq!(row.rates.len(), 2, "{}", row.name);
        assert!(row.rates.iter().all(|rate| *rate > 0.0), "{}", row.name);
    }
}

#[test]
fn every_rival_forwards() {
    let few = Shape::nat4(64);
    let rivals = [
        Gateway::Ceiling,
        Gateway::Bare,
        Gateway::Textbook,
        Gateway::Kernel,
        Gateway::NftIngress,
        Gateway::NftPrerouting,
        Gateway::NftConntrack,
        Gateway::Netmap,
    ];
    measure(&rivals.map(|gateway| Row::new(gateway, few, Path::In)));
}

#[test]
fn eip_dp_forwards_on_every_path() {
    let mut rows = Vec::new();
    for (family, vpcs) in [(Family::V4, 1), (Family::V6, 1), (Family::V4, 4)] {
        for mode in [Mode::Nat, Mode::CutThrough] {
            let shape = Shape {
                family,
                mode,
                eips: 64,
                vpcs,
            };
            let row = |path| Row::new(Gateway::EipDp, shape, path);
            rows.extend([row(Path::In), row(Path::Out).drawn(Draw::Zipf)]);
            if vpcs == 1 {
                rows.extend([row(Path::Hairpin), row(Path::Flood)]);
            }
            if mode == Mode::Nat {
                rows.extend([row(Path::Error), row(Path::In).sized(Size::Mix)]);
            }
        }
    }
    let auto = Row::new(Gateway::EipDpAuto, Shape::nat4(64), Path::In);
    rows.extend([auto, auto.on(2)]);
    measure(&rows);
}
