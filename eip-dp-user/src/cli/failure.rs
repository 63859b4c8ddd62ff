//! How a command ends when it does not succeed: the message on stderr and the exit code.

use std::{fmt, process::ExitCode};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde_json::json;

use super::{
    Format,
    output::{Style, escape, in_line},
};
use crate::{daemon, table::TableError};

/// Why a verb did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// Something did not work: exit code 1.
    Failed(String),
    /// The command makes no sense as it stands: exit code 2.
    Usage(String),
    /// A rule of the service forbids it and nothing has changed: exit code 3.
    Refused {
        /// The rule's stable code.
        code: &'static str,
        /// The sentence that names the object, the value and the cure.
        message: String,
    },
    /// It is done, and what the table wants is not forwarded all the same: exit code 4. Text has
    /// said so as the verb's result.
    NotForwarded(String),
    /// What was found is bad and has been printed as the verb's result: exit code 1, and no
    /// message.
    Reported,
}

impl Failure {
    /// A failure with this message: exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// Writes the message to stderr and tells the exit code.
    pub(super) fn report(self, format: Format) -> ExitCode {
        let (exit, code, message) = match self {
            Self::Reported => return ExitCode::from(1),
            Self::NotForwarded(message) => {
                if format == Format::Json {
                    eprint(&json_error("not-forwarded", &message));
                }
                return ExitCode::from(4);
            }
            Self::Failed(message) => (1, None, message),
            Self::Usage(message) => (2, None, message),
            Self::Refused { code, message } => (3, Some(code), message),
        };
        match (format, code) {
            (Format::Json, _) => {
                let code = code.unwrap_or(if exit == 2 { "usage" } else { "failed" });
                eprint(&json_error(code, &message));
            }
            (Format::Text, None) => eprint(&format!("error: {message}")),
            (Format::Text, Some(code)) => {
                eprint(&format!("error[{code}]: {}", in_line(&message)));
            }
        }
        ExitCode::from(exit)
    }
}

/// The message alone.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(message)
            | Self::Usage(message)
            | Self::NotForwarded(message)
            | Self::Refused { message, .. } => f.write_str(message),
            Self::Reported => Ok(()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        // It tells its cause itself.
        match error.downcast::<TableError>() {
            Ok(error) => Self::Failed(error.to_string()),
            Err(error) => Self::Failed(format!("{error:#}")),
        }
    }
}

/// Writes a warning to stderr: something that the operator should know about a command that
/// succeeds.
pub fn warn(format: Format, message: &str) {
    match format {
        Format::Text => eprint(&format!("warning: {}", in_line(message))),
        Format::Json => eprint(&json!({ "warning": { "message": message } }).to_string()),
    }
}

/// Writes a note to stderr: something that is as it should be, and that the operator may not think
/// of.
pub fn note(format: Format, message: &str) {
    match format {
        Format::Text => eprint(&format!("note: {}", in_line(message))),
        Format::Json => eprint(&json!({ "note": { "message": message } }).to_string()),
    }
}

/// Reports what clap found wrong with the arguments, or prints the help or version that was asked
/// for.
pub(super) fn usage(mut error: clap::Error) -> ExitCode {
    take_out_what_is_optional(&mut error);
    let asked_for = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if !asked_for && runs_a_daemon(std::env::args_os().skip(1)) {
        let rendered = error.render().to_string();
        let message = rendered.strip_prefix("error: ").unwrap_or(&rendered);
        if daemon::tell_fatal(message.trim_end()) {
            return ExitCode::from(2);
        }
    }
    if !asked_for && asks_for_json(std::env::args_os().skip(1)) {
        let rendered = error.render().to_string();
        let message = rendered.strip_prefix("error: ").unwrap_or(&rendered);
        eprint(&json_error("usage", message.trim_end()));
        return ExitCode::from(2);
    }
    // A closed pipe is nobody's error, and there is nowhere left to tell of any other.
    let _ = error.print();
    if asked_for {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    }
}

/// An option that an environment variable gives counts for one that was said, and stands in the
/// usage as if it had to be.
fn take_out_what_is_optional(error: &mut clap::Error) {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => return,
    };
    let optional = [" --table <URL>", " --name <NAME>", " --output <FORMAT>"];
    let plain = optional
        .iter()
        .fold(usage.clone(), |usage, option| usage.replace(option, ""));
    if plain != usage {
        let usage = ContextValue::StyledStr(plain.into());
        error.insert(ContextKind::Usage, usage);
    }
}

/// Whether the arguments, which clap could not parse as a whole, ask for JSON.
fn asks_for_json(args: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let args: Vec<_> = args.collect();
    let is_it = |arg: &std::ffi::OsString| {
        ["--output=json", "-ojson", "-o=json"]
            .iter()
            .any(|form| arg == form)
    };
    let is_option = |arg: &std::ffi::OsString| arg == "--output" || arg == "-o";
    args.iter().any(is_it)
        || args
            .windows(2)
            .any(|pair| is_option(&pair[0]) && pair[1] == "json")
}

/// Likewise, to run the daemon, which says everything in the form of its log.
fn runs_a_daemon(mut args: impl Iterator<Item = std::ffi::OsString>) -> bool {
    args.any(|arg| arg == "run")
}

fn json_error(code: &str, message: &str) -> String {
    json!({ "error": { "code": code, "message": message } }).to_string()
}

/// `eprintln!` without its panic: stderr may be closed.
fn eprint(line: &str) {
    use std::io::Write as _;
    let style = if line.starts_with('{') {
        Style::Json
    } else {
        Style::Text
    };
    let _ = writeln!(std::io::stderr(), "{}", escape(line, style));
}
