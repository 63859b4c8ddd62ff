//! The configuration, the table and the daemon's lock.

use std::path::Path;

use super::{
    super::{
        DEFAULT_TABLE, Global, HostArgs,
        wait::{AppliedRevision, Published},
    },
    Line,
};
use crate::{
    config::{Config, ConfigError},
    table::{Snapshot, Table},
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
pub(super) fn table(global: &Global, config: Option<&Config>) -> (Option<Snapshot>, Line) {
    let url = global
        .explicit_table()
        .or_else(|| config.and_then(|config| config.table.as_deref()))
        .unwrap_or(DEFAULT_TABLE);
    let missing = url
        .strip_prefix("sqlite:")
        .is_some_and(|path| matches!(Path::new(path).try_exists(), Ok(false)));
    if missing {
        let line = Line::warn(
            "table",
            format!("{url}: not there yet"),
            "the first command makes it, for instance `eip-dp pool create CIDR`",
        );
        return (None, line);
    }
    match Table::open(url).and_then(|table| table.snapshot()) {
        Ok(snapshot) => {
            let line = Line::ok(
                "table",
                format!(
                    "{url}: revision {}; ENIs: {}, EIPs: {}, associations: {}",
                    snapshot.revision,
                    snapshot.model.enis.len(),
                    snapshot.model.eips.len(),
                    snapshot.model.associations.len()
                ),
            );
            (Some(snapshot), line)
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
