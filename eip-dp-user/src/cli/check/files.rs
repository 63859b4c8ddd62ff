//! The configuration, the table and the daemon's lock.

use std::path::Path;

use super::{
    super::{
        Global, HostArgs,
        place::{Gateway, Place, is_nothing},
        wait::{AppliedRevision, Published},
    },
    Line,
};
use crate::{
    config::{Config, ConfigError, DEFAULT_PATH},
    daemon::Lock,
    kernel::Relation,
    table::{Snapshot, Table, path_of},
};

/// Reads the configuration as the daemon would.
pub(super) fn config(args: &HostArgs) -> (Option<Config>, Line) {
    let subject = "configuration";
    match Config::load(args.config.as_deref(), &args.uplinks) {
        Ok(config) => {
            let uplinks: Vec<&str> = config
                .uplinks
                .iter()
                .map(|uplink| uplink.interface.as_str())
                .collect();
            let line = Line::ok(subject, format!("uplink {}", uplinks.join(", ")));
            (Some(config), line)
        }
        Err(ConfigError::NoUplink { path }) => {
            let cure = format!(
                "`--uplink IF`, or an [[uplink]] section in {}",
                path.display()
            );
            let seen = "nothing says which interface leads to the Internet";
            (None, Line::fail(subject, seen, cure))
        }
        Err(error) => {
            let cure = "correct the file, or name another with `--config`";
            (None, Line::fail(subject, error.to_string(), cure))
        }
    }
}

/// Reads the table, without making one where there is none.
pub(super) fn table(global: &Global, args: &HostArgs) -> (Option<Snapshot>, Vec<Line>) {
    let (table, mut lines) = match table_of(global, args) {
        (Some((table, snapshot)), line) => ((Some((table, snapshot))), vec![line]),
        (None, line) => (None, vec![line]),
    };
    let Some((table, snapshot)) = table else {
        return (None, lines);
    };
    lines.extend(standing(global, &table));
    (Some(snapshot), lines)
}

/// What of the gateway there is to say beside that: a copy of its table, or another revision.
fn standing(global: &Global, table: &Table) -> Vec<Line> {
    let gateway = Gateway::of(global);
    let subject = "table";
    let standing = match gateway.standing(table) {
        Ok(Some(standing)) => standing,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![Line::fail_with_cure_inside(subject, error.to_string())],
    };
    let mut lines = Vec::new();
    if standing.relation == Relation::Copy {
        let url = format!("sqlite:{}", table.path().display());
        lines.push(Line::warn_with_cure_inside(
            subject,
            gateway.is_a_copy(&url),
        ));
    }
    let daemon_runs = Lock::is_held(&global.name).unwrap_or(true);
    if !daemon_runs && let Some(lag) = gateway.lag(&standing) {
        lines.push(Line::fail_with_cure_inside("serving", lag));
    }
    lines
}

fn table_of(global: &Global, args: &HostArgs) -> (Option<(Table, Snapshot)>, Line) {
    let file = args.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
    let place = match Place::find_with(global, file) {
        Ok(place) => place,
        Err(failure) => {
            return (
                None,
                Line::fail_with_cure_inside("table", failure.to_string()),
            );
        }
    };
    let gateway = Gateway::of(global);
    let path = path_of(&place.url);
    if path.is_ok_and(|path| is_nothing(&path) && !gateway.is_of(&path)) {
        let line = Line::warn(
            "table",
            format!("{place}: not there yet"),
            "the first command makes it, for instance `eip-dp pool create CIDR`",
        );
        return (None, line);
    }
    let read = Table::open_read_only(&place.url).and_then(|table| {
        let snapshot = table.snapshot()?;
        Ok((table, snapshot))
    });
    match read {
        Ok((table, _)) if gateway.relation(&table) == Relation::Another => {
            let refusal = gateway.refused(&place.to_string());
            (
                None,
                Line::fail_with_cure_inside("table", refusal.to_string()),
            )
        }
        Ok((table, snapshot)) => {
            let line = Line::ok(
                "table",
                format!(
                    "{place}: revision {}; ENIs: {}, EIPs: {}, associations: {}",
                    snapshot.revision,
                    snapshot.model.enis.len(),
                    snapshot.model.eips.len(),
                    snapshot.model.associations.len()
                ),
            );
            (Some((table, snapshot)), line)
        }
        // The message says what to do.
        Err(error) => (
            None,
            Line::fail_with_cure_inside("table", error.to_string()),
        ),
    }
}

/// Whether a daemon of this name runs.
pub(super) fn daemon(global: &Global) -> Line {
    let name = &global.name;
    let subject = format!("daemon {name}");
    let published = Published::by(name);
    match published.daemon_runs() {
        Ok(true) => {
            let revision = published.applied().map_or_else(
                |error| format!("its revision cannot be read: {error:#}"),
                |revision| format!("it has applied revision {revision}"),
            );
            Line::ok(subject, format!("runs; {revision}"))
        }
        Ok(false) => match published.applied() {
            Ok(revision) => Line::warn(
                subject,
                format!("does not run; the kernel forwards as of revision {revision}"),
                format!(
                    "start it with `eip-dp --name {name} run`, or end the forwarding with `eip-dp --name {name} unload`"
                ),
            ),
            Err(_) => Line::ok(subject, "does not run"),
        },
        Err(error) => Line::warn(subject, format!("unknown: {error:#}"), "run as root"),
    }
}
