//! The fuzz targets' corpora, replayed.

use std::{fs, path::Path};

use super::*;
use crate::testing::{decay, dice::Dice, mirror, partial, pieces};

fn replay(target: &str, mut hold: impl FnMut(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let files = fs::read_dir(folder.join(target)).expect("a corpus");
    let mut count = 0;
    for file in files {
        hold(&fs::read(file.expect("a file").path()).expect("a file"));
        count += 1;
    }
    assert!(count > 0, "nothing in the corpus of {target}");
}

#[test]
#[cfg_attr(miri, ignore = "files")]
fn frames() {
    let world = world();
    replay("frame", |bytes| {
        if let Some((interface, frame)) = bytes.split_first() {
            let eni = ENIS.get(usize::from(*interface) % (ENIS.len() + 1));
            hold(&world, eni.map_or(UPLINK, |eni| eni.port), frame);
        }
    });
}

#[test]
#[cfg_attr(miri, ignore = "files")]
fn packets() {
    let world = world();
    replay("packet", |bytes| {
        let (ifindex, frame) = Dice::new(bytes).frame();
        let (outcome, sent) = hold(&world, ifindex, &frame);
        mirror::back(&world, ifindex, &frame, &outcome, &sent);
    });
}

#[test]
#[cfg_attr(miri, ignore = "files")]
fn tables() {
    let world = world();
    replay("table", |bytes| {
        let mut dice = Dice::new(bytes);
        let (ifindex, frame) = dice.frame();
        decay::hold(&world, &mut dice, ifindex, &frame);
    });
}

#[test]
#[cfg_attr(miri, ignore = "files")]
fn frames_in_pieces() {
    let world = world();
    replay("pieces", |bytes| {
        pieces::roll(&world, &mut Dice::new(bytes));
    });
}

#[test]
#[cfg_attr(miri, ignore = "files")]
fn partial_checksums() {
    let world = world();
    let mut sent = 0;
    replay("partial", |bytes| {
        sent += usize::from(partial::roll(&world, &mut Dice::new(bytes)));
    });
    assert!(sent > 0, "none is honest");
}
