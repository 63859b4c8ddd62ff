//! `--wait`: return once the daemon has applied what was committed.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use aya::maps::{Array, Map, MapData};
use clap::Args;
use eip_dp_common::abi::{StatusWord, maps};

use super::{
    Failure, Global, Name,
    place::Gateway,
    serving::{Judge, Subject, Verdict},
};
use crate::{
    compile::tag,
    daemon::{Lock, location_of, tag_of_file},
    kernel::{Pins, Relation, ServedTable, Standing},
    table::{Identity, Table},
};

/// The option of every verb that changes the table.
#[derive(Clone, Copy, Debug, Args)]
pub struct Wait {
    /// Return once the daemon has applied the change; fails after 5 s, or at once when no daemon
    /// runs
    #[arg(long)]
    pub wait: bool,
}

/// How long a committed change may take to be applied.
const LIMIT: Duration = Duration::from_secs(5);
/// A BPF array raises no event, so it is read again: soon at first, because a change is applied
/// within milliseconds, and later after a part of the time that has passed, so that little is added
/// to it.
const SHORTEST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
const PART: u32 = 16;

/// What a daemon publishes about itself.
pub trait AppliedRevision {
    /// The table's revision that the kernel's maps hold.
    fn applied(&self) -> anyhow::Result<u64>;
    /// Whether a daemon of this gateway runs: it holds the lock of that name.
    fn daemon_runs(&self) -> anyhow::Result<bool>;
    /// Whether the revision is of the file that was written; another at that location has revisions
    /// of its own.
    fn is_of_this_file(&self) -> bool;
    /// How the table stands to the one that the revision is of.
    fn relation(&self) -> Relation;
}

/// How long a next hop that does not answer yet is waited for, once the change is applied: a daemon
/// that has just started asks for it.
const RESOLVING: Duration = Duration::from_secs(1);

/// Waits until `revision` is applied, and tells whether what was changed is forwarded now. The
/// change is committed whatever comes of it.
///
/// The table is closed before that, because the daemon looks at it whenever somebody closes it.
pub(super) fn finish(
    revision: u64,
    table: Table,
    global: &Global,
    subjects: &[Subject],
) -> Result<Vec<Verdict>, Failure> {
    let published = Published::of(global, &table);
    drop(table);
    until_applied(revision, global.name.as_str(), &published, LIMIT)?;
    if subjects.is_empty() {
        return Ok(Vec::new());
    }
    let judge = match Judge::open(global) {
        Ok(judge) => judge,
        Err(verdict) => return Ok(vec![verdict; subjects.len()]),
    };
    let begin = Instant::now();
    while subjects.iter().any(|subject| judge.is_resolving(subject)) && begin.elapsed() < RESOLVING
    {
        thread::sleep(LONGEST_PAUSE);
    }
    Ok(subjects
        .iter()
        .map(|subject| judge.judge(subject))
        .collect())
}

/// Why the gateway does not forward by the table as it is; `None`: it does.
pub(super) fn not_applied(global: &Global, table: &Table) -> Result<Option<String>, Failure> {
    let (name, published) = (&global.name, Published::of(global, table));
    let gateway = Gateway::of(global);
    let Some(standing) = gateway.standing(table)? else {
        return Ok(None);
    };
    match standing.relation {
        Relation::Another => {
            return Ok(Some(format!(
                "gateway `{name}` forwards for another table; name the gateway of this one with `--name`"
            )));
        }
        Relation::Copy => {
            let url = format!("sqlite:{}", table.path().display());
            return Ok(Some(gateway.is_a_copy(&url)));
        }
        Relation::Same => {}
    }
    let daemon_runs = published.daemon_runs()?;
    if !daemon_runs && let Some(lag) = gateway.lag(&standing) {
        return Ok(Some(lag));
    }
    let Standing {
        revision, applied, ..
    } = standing;
    if !published.is_of_this_file() {
        let daemon = if daemon_runs {
            "the daemon has not followed it yet; its log says why".to_owned()
        } else {
            format!("no daemon runs; start it with `eip-dp --name {name} run`")
        };
        return Ok(Some(format!(
            "the table's file, a copy at revision {revision}, took the place of the one that is forwarded by (revision \
             {applied}): {daemon}"
        )));
    }
    Ok((applied < revision)
        .then(|| format!("the table is at revision {revision} and revision {applied} is applied")))
}

/// What the daemon of one gateway left in the kernel, and its lock.
pub(super) struct Published {
    name: Name,
    status: PathBuf,
    /// The table that the revision is of, where that matters: the tag of its location, and what
    /// tells it from others.
    table: Option<(u64, Option<Identity>)>,
    /// Likewise, of the table's file.
    file: Option<u64>,
}

impl Published {
    /// What was left of this table.
    fn of(global: &Global, table: &Table) -> Self {
        Self {
            table: Some((tag(&location_of(table)), table.identity())),
            file: Some(tag_of_file(table.file())),
            ..Self::by(&global.name)
        }
    }

    pub(super) fn by(name: &Name) -> Self {
        Self {
            name: name.clone(),
            status: Pins::new(name).map(maps::STATUS),
            table: None,
            file: None,
        }
    }

    fn word(&self, word: StatusWord) -> anyhow::Result<u64> {
        let map = Map::Array(MapData::from_pin(&self.status)?);
        let status: Array<_, u64> = Array::try_from(map)?;
        Ok(status.get(&(word as u32), 0)?)
    }
}

impl AppliedRevision for Published {
    fn applied(&self) -> anyhow::Result<u64> {
        self.word(StatusWord::Revision)
    }

    fn daemon_runs(&self) -> anyhow::Result<bool> {
        Lock::is_held(&self.name)
    }

    fn is_of_this_file(&self) -> bool {
        let published = self.word(StatusWord::TableFile).unwrap_or(0);
        self.file.is_none_or(|file| file == published)
    }

    fn relation(&self) -> Relation {
        let word = |word| self.word(word).unwrap_or(0);
        let served = ServedTable {
            location: word(StatusWord::Table),
            identity: Identity::of_words([
                word(StatusWord::Identity),
                word(StatusWord::IdentityEnd),
            ]),
            applied: 0,
            file: 0,
        };
        self.table.map_or(Relation::Same, |(location, identity)| {
            served.relation(location, identity)
        })
    }
}

fn until_applied(
    revision: u64,
    name: &str,
    source: &impl AppliedRevision,
    limit: Duration,
) -> Result<(), Failure> {
    let begin = Instant::now();
    let committed = format!("the change is committed as revision {revision} but not applied");
    loop {
        if source.relation() == Relation::Another {
            return Err(Failure::failed(format!(
                "{committed}: gateway `{name}` forwards for another table; name the gateway of this one with `--name`"
            )));
        }
        // In this order: what a daemon applied before it ended counts.
        let runs = source.daemon_runs();
        let applied = source.applied();
        let is_reached = applied.as_ref().is_ok_and(|applied| *applied >= revision);
        if is_reached && source.is_of_this_file() {
            return Ok(());
        }
        match runs {
            Ok(true) => {}
            Ok(false) => {
                return Err(Failure::failed(format!(
                    "{committed}: no daemon of gateway `{name}` runs; start it with `eip-dp --name {name} run`"
                )));
            }
            Err(error) => {
                return Err(Failure::failed(format!(
                    "{committed}: whether a daemon of gateway `{name}` runs is unknown: {error:#}"
                )));
            }
        }
        let passed = begin.elapsed();
        if passed >= limit {
            let state = match applied {
                Ok(applied) if source.relation() == Relation::Copy => format!(
                    "forwards by revision {applied} of the table at another path, of which this is a copy (leave out --table)"
                ),
                Ok(applied) if !source.is_of_this_file() => {
                    format!("forwards by revision {applied} of another file, before at this place")
                }
                Ok(applied) => format!("has applied revision {applied}"),
                Err(error) => format!("has published none that could be read ({error:#})"),
            };
            return Err(Failure::failed(format!(
                "{committed} within {} s: the daemon of gateway `{name}` {state}; its log says why",
                limit.as_secs()
            )));
        }
        thread::sleep((passed / PART).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A daemon that applies one revision each time that somebody looks.
    struct Daemon {
        runs: bool,
        relation: Relation,
        other_file: bool,
        applied: Cell<u64>,
        step: u64,
    }

    impl AppliedRevision for Daemon {
        fn applied(&self) -> anyhow::Result<u64> {
            let applied = self.applied.get();
            anyhow::ensure!(applied > 0, "no map");
            self.applied.set(applied + self.step);
            Ok(applied)
        }

        fn daemon_runs(&self) -> anyhow::Result<bool> {
            Ok(self.runs)
        }

        fn is_of_this_file(&self) -> bool {
            !self.other_file
        }

        fn relation(&self) -> Relation {
            self.relation
        }
    }

    fn wait(runs: bool, applied: u64, step: u64, limit: Duration) -> Result<(), String> {
        ask(
            &Daemon {
                runs,
                relation: Relation::Same,
                other_file: false,
                applied: Cell::new(applied),
                step,
            },
            limit,
        )
    }

    fn ask(daemon: &Daemon, limit: Duration) -> Result<(), String> {
        until_applied(7, "gw", daemon, limit).map_err(|failure| match failure {
            Failure::Failed(message) => message,
            other => panic!("{other:?} is another exit code"),
        })
    }

    #[test]
    fn the_revision_of_another_table_does_not_count() {
        let daemon = Daemon {
            runs: true,
            relation: Relation::Another,
            other_file: false,
            applied: Cell::new(9),
            step: 0,
        };
        let message = ask(&daemon, LIMIT).unwrap_err();
        assert!(message.contains("committed as revision 7"), "{message}");
        assert!(message.contains("another table"), "{message}");
    }

    #[test]
    fn the_revision_of_another_file_does_not_count() {
        let daemon = Daemon {
            runs: true,
            relation: Relation::Same,
            other_file: true,
            applied: Cell::new(9),
            step: 0,
        };
        let message = ask(&daemon, Duration::ZERO).unwrap_err();
        assert!(message.contains("committed as revision 7"), "{message}");
        assert!(message.contains("revision 9 of another file"), "{message}");
        let copy = Daemon {
            relation: Relation::Copy,
            ..daemon
        };
        let message = ask(&copy, Duration::ZERO).unwrap_err();
        assert!(message.contains("leave out --table"), "{message}");
    }

    #[test]
    fn returns_once_the_revision_is_applied() {
        assert_eq!(wait(true, 7, 0, Duration::ZERO), Ok(()));
        assert_eq!(wait(true, 8, 0, Duration::ZERO), Ok(()));
        assert_eq!(wait(true, 3, 1, LIMIT), Ok(()));
    }

    #[test]
    fn a_revision_that_a_daemon_applied_before_it_ended_counts() {
        assert_eq!(wait(false, 7, 0, LIMIT), Ok(()));
    }

    #[test]
    fn fails_at_once_without_a_daemon() {
        for applied in [0, 6] {
            let message = wait(false, applied, 0, LIMIT).unwrap_err();
            assert!(message.contains("committed as revision 7"), "{message}");
            assert!(
                message.contains("no daemon of gateway `gw` runs"),
                "{message}"
            );
        }
    }

    #[test]
    fn fails_when_the_time_is_over() {
        let message = wait(true, 6, 0, Duration::ZERO).unwrap_err();
        assert!(message.contains("committed as revision 7"), "{message}");
        assert!(message.contains("has applied revision 6"), "{message}");
        let message = wait(true, 0, 0, Duration::ZERO).unwrap_err();
        assert!(message.contains("no map"), "{message}");
    }
}
