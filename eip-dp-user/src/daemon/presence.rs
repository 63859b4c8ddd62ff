//! What others on this host have to know of a gateway: a small file beside its lock.
//!
//! Commands ask it which addresses cannot become EIPs, because an uplink sends to them. Other
//! gateways ask it whether who answers for an EIP is a gateway of the same table, which is no
//! conflict. It stays while the gateway is loaded, so that it is there after the daemon's end, too:
//! forwarding goes on.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::run_folder::RUN_FOLDER;
use crate::{cli::Name, model::objects::Mac, private, table::Identity};

/// How the files' names end.
const SUFFIX: &str = ".uplinks.json";

/// Nobody's file is longer.
const LONGEST: u64 = 64 << 10;

/// So many Ethernet addresses are remembered, those of the uplinks among them.
const MOST_MACS: usize = 64;

/// A gateway, as others see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The location of its table.
    pub table: String,
    /// What tells the table from others, wherever copies of it are; an earlier version did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The Ethernet addresses that its uplinks have, or had: the latest last.
    pub macs: Vec<Mac>,
    /// The next hops of its uplinks.
    pub next_hops: BTreeSet<IpAddr>,
}

impl Presence {
    /// Where that of the gateway is.
    pub fn path(name: &Name) -> PathBuf {
        Path::new(RUN_FOLDER).join(format!("{name}{SUFFIX}"))
    }

    /// Those of all gateways of this host. A file that cannot be read says nothing: its daemon
    /// writes it anew.
    pub fn all() -> Vec<Self> {
        let files = fs::read_dir(RUN_FOLDER).into_iter().flatten().flatten();
        files
            .filter(|file| file.file_name().to_string_lossy().ends_with(SUFFIX))
            .filter_map(|file| Self::read(&file.path()))
            .collect()
    }

    /// The one in a file; `None` if there is none that this version understands.
    pub fn read(path: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        let file = private::open(path).ok()?;
        file.take(LONGEST).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Whether it serves that table, or a copy of it.
    pub fn serves(&self, location: &str, identity: Option<Identity>) -> bool {
        match (&self.identity, identity) {
            (Some(own), Some(other)) => *own == other.to_string(),
            _ => self.table == location,
        }
    }

    /// Notes the Ethernet addresses that the uplinks have now. Earlier ones stay: a switch or a
    /// proxy may go on answering with them.
    pub fn note(&mut self, macs: impl IntoIterator<Item = [u8; 6]>) {
        for mac in macs {
            let mac = Mac(mac);
            self.macs.retain(|other| *other != mac);
            self.macs.push(mac);
        }
        let surplus = self.macs.len().saturating_sub(MOST_MACS);
        self.macs.drain(..surplus);
    }

    /// Writes it, in one step.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        private::write(path, &serde_json::to_vec_pretty(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_addresses_are_remembered_but_not_for_ever() {
        let mut presence = Presence::default();
        for number in 0..=100 {
            presence.note([[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 1, number]]);
        }
        assert_eq!(presence.macs.len(), MOST_MACS);
        assert!(presence.macs.contains(&Mac([2, 0, 0, 0, 0, 1])));
        assert!(presence.macs.contains(&Mac([2, 0, 0, 0, 1, 99])));
        assert!(!presence.macs.contains(&Mac([2, 0, 0, 0, 1, 1])));
    }

    #[test]
    fn gateways_of_copies_of_a_table_are_kin() {
        let identity = |number| Identity::of_words([number, number]);
        let mut presence = Presence {
            table: "sqlite:/one.db".to_owned(),
            ..Presence::default()
        };
        assert!(
            presence.serves("sqlite:/one.db", identity(1)),
            "an earlier version's"
        );
        assert!(!presence.serves("sqlite:/two.db", identity(1)));
        presence.identity = identity(1).map(|one| one.to_string());
        assert!(presence.serves("sqlite:/two.db", identity(1)), "a copy");
        assert!(
            !presence.serves("sqlite:/one.db", identity(2)),
            "another one at its place"
        );
        assert!(presence.serves("sqlite:/one.db", None));
    }

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gw.uplinks.json");
        let mut presence = Presence {
            table: "sqlite:/t.db".to_owned(),
            ..Presence::default()
        };
        presence.note([[2, 0, 0, 0, 0, 1]]);
        presence.next_hops.insert("192.0.2.1".parse().unwrap());
        presence.write(&path).unwrap();
        assert_eq!(Presence::read(&path), Some(presence));
        fs::write(&path, "{").unwrap();
        assert_eq!(Presence::read(&path), None);
    }
}
