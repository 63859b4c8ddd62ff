//! The fuzz targets' corpora, replayed; and the same over bytes at random.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;

use super::{advertise, dhcp4, dhcp6, envelope, solicit};

/// What each file of a target's corpus comes to.
fn replay<T>(target: &str, hold: impl Fn(&[u8]) -> T) -> Vec<(PathBuf, T)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let folder = folder.join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut outcomes: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            let outcome = hold(&fs::read(&path).unwrap());
            (path, outcome)
        })
        .collect();
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    outcomes
}

/// The different ones.
fn kinds<T: Ord>(outcomes: Vec<(PathBuf, T)>) -> BTreeSet<T> {
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

#[test]
fn dhcp_messages() {
    let kinds = kinds(replay("dhcp4", dhcp4::hold));
    // Silence; offer, acknowledgement, refusal.
    assert_eq!(kinds, [None, Some(2), Some(5), Some(6)].into());
}

#[test]
fn dhcpv6_messages() {
    let kinds = kinds(replay("dhcp6", dhcp6::hold));
    let kinds: Vec<_> = kinds.into_iter().flatten().collect();
    // Solicit without and with rapid commit, then all others that a client sends.
    let answered = [
        (1, 2),
        (1, 7),
        (3, 7),
        (4, 7),
        (5, 7),
        (6, 7),
        (8, 7),
        (9, 7),
        (11, 7),
    ];
    assert_eq!(kinds, answered);
}

#[test]
fn router_solicitations() {
    let kinds = kinds(replay("solicit", solicit::hold));
    assert_eq!(kinds, [None, Some(false), Some(true)].into());
}

#[test]
fn router_advertisements() {
    for (path, sent) in replay("advertise", advertise::hold) {
        assert!(sent > 0, "{path:?}");
    }
}

#[test]
fn envelopes() {
    use envelope::Kind::{Dhcp4, Dhcp6, Icmp6};
    let kinds = kinds(replay("envelope", envelope::hold));
    assert_eq!(kinds, [None, Some(Dhcp4), Some(Dhcp6), Some(Icmp6)].into());
}

/// A file of a corpus with some bytes changed, and some added.
fn changed(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<Vec<u8>> = replay(target, <[u8]>::to_vec)
        .into_iter()
        .map(|(_, bytes)| bytes)
        .collect();
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    let more = proptest::collection::vec(any::<u8>(), 0..40);
    (prop::sample::select(seeds), changes, more).prop_map(|(mut bytes, changes, more)| {
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.extend(more);
        bytes
    })
}

proptest! {
    #[test]
    fn changed_messages(
        dhcp4 in changed("dhcp4"),
        dhcp6 in changed("dhcp6"),
        solicitation in changed("solicit"),
    ) {
        dhcp4::hold(&dhcp4);
        dhcp6::hold(&dhcp6);
        solicit::hold(&solicitation);
        for bytes in [dhcp4, dhcp6, solicitation] {
            envelope::hold(&bytes);
        }
    }

    #[test]
    fn leases_and_solicitations_in_any_order(
        steps in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        advertise::hold(&steps);
    }
}
