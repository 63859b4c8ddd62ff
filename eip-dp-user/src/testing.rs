//! What must hold of all that is read from elsewhere, whatever it is: for the fuzz targets, and for
//! the tests that replay their corpora.
//!
//! Each function takes any bytes and panics if something does not hold; it returns whether they
//! meant something. Who writes them is one who may write the configuration, a table file, the
//! table, or below `/run`; or the kernel.

use std::path::Path;

use jiff::Timestamp;

use crate::{
    cli::table_file::read_document,
    config::Config,
    daemon::Report,
    host,
    model::{
        Code, Context, Model,
        command::{Command, Prune},
        rules,
    },
    table,
};

/// Changes in the table's log.
///
/// # Panics
/// If what was read is not what is written of it.
pub fn record(bytes: &[u8]) -> bool {
    table::hold_records(bytes)
}

/// The daemon's configuration.
///
/// # Panics
/// If it is another one after it went to `status` and back, or if it is refused without a place.
pub fn configuration(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else {
        return false;
    };
    match Config::parse(text, Path::new("c.toml"), &["wan0".to_owned()]) {
        Ok(config) => {
            let json = serde_json::to_vec(&config).expect("JSON");
            let again: Config = serde_json::from_slice(&json).expect("it was written here");
            assert_eq!(config, again);
            true
        }
        Err(error) => {
            assert!(error.to_string().contains("c.toml"), "{error}");
            false
        }
    }
}

/// A table file: read, and made of an empty table.
///
/// # Panics
/// If it is another one when it is read in parts, or another table when it is applied to what came
/// of it.
pub fn document(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else {
        return false;
    };
    let document = match read_document(text) {
        Ok(document) => document,
        Err(message) => {
            assert!(!message.is_empty());
            return false;
        }
    };
    let context = Context {
        now: Timestamp::UNIX_EPOCH,
        host_addresses: Vec::new(),
        host_networks: Vec::new(),
        host_ports: Vec::new(),
        port: None,
        next_hops: Vec::new(),
    };
    let prune = Prune::All;
    let command = Command::Apply { document, prune };
    let mut model = Model::default();
    match rules::decide(&model, &command, &context) {
        Ok(decision) => {
            model.change(&decision.changes);
            for change in &decision.changes {
                let _ = (change.to_string(), change.object());
            }
            let again = rules::decide(&model, &command, &context).expect("it is so already");
            assert_eq!(again.changes, []);
            true
        }
        Err(refusal) => {
            assert!(Code::ALL.contains(&refusal.code), "{refusal:?}");
            false
        }
    }
}

/// The file from which `status` has what the daemon saw.
///
/// # Panics
/// If it is another one when it is written again.
pub fn report(bytes: &[u8]) -> bool {
    let Some(report) = Report::parse(bytes) else {
        return false;
    };
    let json = serde_json::to_vec(&report).expect("JSON");
    assert_eq!(Report::parse(&json).as_ref(), Some(&report));
    if let Some(servers) = &report.name_servers {
        assert!(!servers.to_string().is_empty());
    }
    true
}

/// The file with what was changed on the host, which is put back.
///
/// # Panics
/// If it is another one when it is written again.
pub fn settings(bytes: &[u8]) -> bool {
    let Ok(changed) = host::read_changed(bytes) else {
        return false;
    };
    for one in &changed {
        assert!(one.to_string().contains(" = "));
    }
    let json = serde_json::to_vec(&changed).expect("JSON");
    assert_eq!(
        host::read_changed(&json).expect("it was written here"),
        changed
    );
    true
}

/// What the kernel says of its networking.
///
/// # Panics
/// If facts come of it that contradict each other.
pub fn netlink(bytes: &[u8]) -> bool {
    host::hold_netlink(bytes)
}

/// What the kernel says of its firewall's chains; the first byte says whether by netlink or by
/// socket option.
///
/// # Panics
/// If a chain comes of it that has more rules than fit.
pub fn firewall(bytes: &[u8]) -> bool {
    host::hold_firewall(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use fastrand::Rng;

    use super::*;

    /// So many changed inputs each target is held against.
    const ROUNDS: usize = 4000;

    /// Holds a target against its corpus, each file of which means something unless its name says
    /// otherwise, and against changed ones.
    fn hold(target: &str, hold: fn(&[u8]) -> bool) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        let folder = folder.join(target);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut seeds = Vec::new();
        for file in files {
            let path = file.expect("a file").path();
            let bytes = fs::read(&path).expect("read");
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            assert_eq!(hold(&bytes), !name.starts_with("refused"), "{path:?}");
            seeds.push(bytes);
        }
        assert!(!seeds.is_empty(), "{folder:?}");
        let mut random = Rng::with_seed(7);
        for _ in 0..ROUNDS {
            let mut bytes = seeds[random.usize(..seeds.len())].clone();
            for _ in 0..random.usize(1..6) {
                change(&mut bytes, &seeds, &mut random);
            }
            hold(&bytes);
        }
    }

    /// What fuzzers do to an input.
    fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Rng) {
        let place = random.usize(..=bytes.len());
        let end = (place + random.usize(..40)).min(bytes.len());
        match random.u8(..6) {
            0 => bytes.truncate(place),
            1 => drop(bytes.drain(place..end)),
            2 => bytes.insert(place, random.u8(..)),
            3 => {
                let again = bytes[place..end].to_vec();
                bytes.splice(place..place, again);
            }
            4 => {
                let other = &seeds[random.usize(..seeds.len())];
                let start = random.usize(..=other.len());
                bytes.splice(place.., other[start..].iter().copied());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(place) {
                    const EDGES: [u8; 6] = [0, 1, 0x7f, 0x80, 0xff, b'"'];
                    *byte = if random.bool() {
                        EDGES[random.usize(..EDGES.len())]
                    } else {
                        *byte ^ 1 << random.u8(..8)
                    };
                }
            }
        }
    }

    #[test]
    fn records() {
        hold("record", record);
    }

    #[test]
    fn configurations() {
        hold("configuration", configuration);
    }

    #[test]
    fn documents() {
        hold("document", document);
    }

    #[test]
    fn reports() {
        hold("report", report);
    }

    #[test]
    fn settings_of_the_host() {
        hold("settings", settings);
    }

    #[test]
    fn networking() {
        hold("netlink", netlink);
    }

    #[test]
    fn firewalls() {
        hold("firewall", firewall);
    }
}
