//! `check`: whether this host can run the data plane, line by line, with cures.

mod files;
mod interfaces;
mod kernel;
mod pools;
mod serving;

use serde::Serialize;

use super::{CheckArgs, Failure, Format, Global, output};
use crate::host;

/// How a line turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// As it should be.
    Ok,
    /// The data plane runs, but not as well or not as the operator may expect.
    Warn,
    /// The data plane cannot run.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Line {
    status: Status,
    /// What was looked at.
    subject: String,
    /// What was seen.
    seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

impl Line {
    fn ok(subject: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            status: Status::Ok,
            subject: subject.into(),
            seen: seen.into(),
            cure: None,
        }
    }

    /// As it should be, and could be better.
    fn hint(subject: impl Into<String>, seen: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            cure: Some(cure.into()),
            ..Self::ok(subject, seen)
        }
    }

    fn warn(subject: impl Into<String>, seen: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            status: Status::Warn,
            cure: Some(cure.into()),
            ..Self::ok(subject, seen)
        }
    }

    fn fail(subject: impl Into<String>, seen: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            status: Status::Fail,
            ..Self::warn(subject, seen, cure)
        }
    }

    /// A warning whose message says what to do.
    fn warn_with_cure_inside(subject: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            status: Status::Warn,
            ..Self::ok(subject, seen)
        }
    }

    /// A failure whose message says what to do.
    fn fail_with_cure_inside(subject: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            status: Status::Fail,
            ..Self::ok(subject, seen)
        }
    }
}

/// `check`.
pub fn check(args: &CheckArgs, global: &Global) -> Result<(), Failure> {
    let (lines, waiting) = look(args, global);
    print(&lines, global.output)?;
    let is_waiting = args.strict && waiting > 0;
    if is_waiting || lines.iter().any(|line| line.status == Status::Fail) {
        return Err(Failure::Reported);
    }
    Ok(())
}

/// What there is to say, and how many ENIs wait for their interface.
fn look(args: &CheckArgs, global: &Global) -> (Vec<Line>, usize) {
    let mut waiting = 0;
    let mut lines = kernel::lines();
    let (config, line) = files::config(&args.host);
    lines.push(line);
    let uplinks = config.as_ref().map_or(&[][..], |config| &config.uplinks);
    let (snapshot, of_table) = files::table(global, &args.host);
    lines.extend(of_table);
    if let Some(snapshot) = &snapshot {
        lines.extend(pools::lines(&snapshot.model, uplinks));
    }
    match facts() {
        Ok(facts) => {
            for uplink in uplinks {
                lines.extend(interfaces::uplink(&facts, uplink));
            }
            if let Some(snapshot) = &snapshot {
                lines.extend(interfaces::ports(&facts, &snapshot.model, config.as_ref()));
                if let Some(config) = &config {
                    lines.extend(interfaces::overlaps(&facts, &snapshot.model, config));
                    lines.extend(interfaces::errors(&facts, &snapshot.model, config));
                    let survey = serving::survey(&snapshot.model, &facts, config);
                    waiting = survey.waiting;
                    // What is not served comes first.
                    lines.splice(0..0, serving::lines(&survey));
                }
            }
        }
        Err(error) => lines.push(Line::fail(
            "interfaces",
            error,
            "run as root, in the network namespace of the gateway",
        )),
    }
    lines.extend(forward_hook());
    lines.push(files::daemon(global));
    (lines, waiting)
}

fn facts() -> Result<host::HostFacts, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?
        .block_on(host::snapshot())
        .map_err(|error| error.to_string())
}

fn forward_hook() -> Vec<Line> {
    let subject = "forward hook";
    match host::forward_hook_rules() {
        Ok(chains) if chains.is_empty() => vec![Line::ok(subject, "no firewall rules")],
        Ok(chains) => chains
            .iter()
            .map(|chain| {
                Line::warn(
                    subject,
                    format!("{chain}: packets of EIPs do not pass it"),
                    "filter in the guests or before the uplink; see the documentation",
                )
            })
            .collect(),
        Err(error) => vec![Line::warn(
            subject,
            format!("unknown: {error}"),
            "run as root",
        )],
    }
}

fn print(lines: &[Line], format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return output::json(&lines);
    }
    let width = lines
        .iter()
        .map(|line| line.subject.chars().count())
        .max()
        .unwrap_or(0);
    output::write(|out| {
        lines.iter().try_for_each(|line| {
            let status = match line.status {
                Status::Ok => "ok",
                Status::Warn => "warn",
                Status::Fail => "fail",
            };
            let cure = line
                .cure
                .as_ref()
                .map(|cure| format!("  → {cure}"))
                .unwrap_or_default();
            writeln!(
                out,
                "{status:4}  {:width$}  {}{cure}",
                line.subject, line.seen
            )
        })
    })
}
