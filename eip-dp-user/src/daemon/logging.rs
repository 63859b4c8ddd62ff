//! The daemon's log, on stderr: text or JSON; for the journal with priorities, and without a second
//! timestamp.

use std::{
    collections::HashSet,
    env, fmt,
    io::{self, Write},
    os::fd::AsFd,
    panic,
};

use anyhow::{Context, bail};
use jiff::Timestamp;
use nix::sys::stat::fstat;
use serde_json::json;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt,
};

use super::repeats::Repeats;
use crate::model::Change;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Style {
    json: bool,
    /// Whether the journal reads them: it has a time of its own, and takes a priority in front of
    /// each line (`sd-daemon(3)`).
    journal: bool,
}

impl Style {
    /// What `EIP_DP_LOG_FORMAT` says, where it makes sense, and whether stderr is the journal.
    fn of_process() -> Self {
        Self {
            json: env::var("EIP_DP_LOG_FORMAT").is_ok_and(|format| format == "json"),
            journal: env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stderr(&stream)),
        }
    }
}

/// Whether `JOURNAL_STREAM`, device and inode, is this process's stderr: who redirects that to a
/// file inherits the variable, too.
fn is_stderr(stream: &str) -> bool {
    fstat(io::stderr().as_fd()).is_ok_and(|stat| {
        let parts = stream.split_once(':');
        parts.is_some_and(|(device, inode)| {
            device.parse() == Ok(stat.st_dev) && inode.parse() == Ok(stat.st_ino)
        })
    })
}

/// Starts logging: `EIP_DP_LOG` (or `RUST_LOG`) filters, `EIP_DP_LOG_FORMAT` is `text` or `json`.
pub fn start() -> anyhow::Result<()> {
    let text = ["EIP_DP_LOG", "RUST_LOG"]
        .into_iter()
        .find_map(|name| env::var(name).ok().filter(|text| !text.is_empty()))
        .unwrap_or_else(|| "info".to_owned());
    let filter = EnvFilter::builder().parse(&text).with_context(|| {
        format!("`{text}` in EIP_DP_LOG is no filter; give a level, such as `debug`")
    })?;
    match env::var("EIP_DP_LOG_FORMAT").as_deref() {
        Ok("json" | "text" | "") | Err(_) => {}
        Ok(other) => bail!("EIP_DP_LOG_FORMAT is `{other}`; give `text` or `json`"),
    }
    let style = Style::of_process();
    tracing_subscriber::registry()
        .with(filter)
        .with(Repeats::default())
        .with(lines(style))
        .try_init()
        .context("the log cannot be started")?;
    if style.json || style.journal {
        panic::set_hook(Box::new(|panic| {
            tell_fatal(&panic.to_string());
        }));
    }
    Ok(())
}

/// Writes each event as a line.
fn lines<S>(style: Style) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(Lines(style))
        .with_target(false)
        .with_ansi(false);
    match (style.json, style.journal) {
        (false, false) => layer.boxed(),
        (false, true) => layer.without_time().boxed(),
        (true, false) => layer.json().boxed(),
        (true, true) => layer.json().without_time().boxed(),
    }
}

/// Logs why the daemon ends, whatever is filtered, where the log is for programs: as JSON, or for
/// the journal. `false` where it is not, and somebody else has to say it.
pub fn tell_fatal(message: &str) -> bool {
    let style = Style::of_process();
    let Some(text) = style.fatal(message, Timestamp::now()) else {
        return false;
    };
    // Stderr may be closed; there is nowhere left to say so.
    let _ = io::stderr().write_all(text.as_bytes());
    true
}

impl Style {
    fn fatal(self, message: &str, now: Timestamp) -> Option<String> {
        let priority = if self.journal { "<3>" } else { "" };
        if self.json {
            let mut line = json!({ "level": "ERROR", "fields": { "message": message } });
            if !self.journal {
                line["timestamp"] = json!(now.to_string());
            }
            return Some(format!("{priority}{line}\n"));
        }
        if !self.journal {
            return None;
        }
        let lines = message.lines().map(|line| format!("{priority}{line}\n"));
        Some(lines.collect())
    }

    /// An event as it is written: one line, whatever is in it.
    fn line(self, level: Level, text: &str) -> String {
        let mut line = String::with_capacity(text.len() + 4);
        if self.journal {
            line.push_str(priority(level));
        }
        for character in text.strip_suffix('\n').unwrap_or(text).chars() {
            if character.is_control() {
                line.extend(character.escape_default());
            } else {
                line.push(character);
            }
        }
        line.push('\n');
        line
    }
}

/// What syslog calls err, warning, info and debug.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

/// Where events go to.
#[derive(Clone, Copy, Debug)]
struct Lines(Style);

/// Where one event goes to, which is written as a whole.
#[derive(Debug)]
struct Event {
    style: Style,
    level: Level,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Event;

    fn make_writer(&'a self) -> Event {
        Event {
            style: self.0,
            level: Level::INFO,
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Event {
        Event {
            style: self.0,
            level: *metadata.level(),
        }
    }
}

impl Write for Event {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let line = self
            .style
            .line(self.level, &String::from_utf8_lossy(buffer));
        io::stderr().write_all(line.as_bytes())?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A time in milliseconds, rounded to a tenth: what a person reads.
pub fn milliseconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

/// The objects that changes are of, in one line of the log: the first few, and how many more there
/// are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    names: Vec<String>,
    more: usize,
}

/// So many are named.
const NAMED: usize = 5;
/// Of more changes than that nobody looks which are of the same object.
const TOLD_APART: usize = 1000;

impl Named {
    /// A word for what has no names.
    pub fn one(word: &str) -> Self {
        Self {
            names: vec![word.to_owned()],
            more: 0,
        }
    }

    /// The objects of these changes, each once.
    pub fn of(changes: &[Change]) -> Self {
        let mut named = Self::default();
        named.add(changes);
        named
    }

    /// Names those of further changes, too.
    pub fn add(&mut self, changes: &[Change]) {
        let mut seen = HashSet::new();
        for (place, change) in changes.iter().enumerate() {
            if place == TOLD_APART {
                self.more += changes.len() - place;
                return;
            }
            let (kind, id) = change.object();
            if !seen.insert((kind, id.clone())) {
                continue;
            }
            if self.names.len() < NAMED {
                self.names.push(format!("{kind} {id}"));
            } else {
                self.more += 1;
            }
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join(", "))?;
        match self.more {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use similar_asserts::assert_eq;

    use super::*;
    use crate::model::{Diff, objects::Instance};

    const TEXT: Style = Style {
        json: false,
        journal: false,
    };
    const JOURNAL: Style = Style {
        json: false,
        journal: true,
    };

    #[test]
    fn an_event_is_one_line_with_its_priority_whatever_is_in_it() {
        let forged = "WARN eni=\"x\n<0>panic\" \u{1b}[31m\u{9b}é\n";
        let line = "WARN eni=\"x\\n<0>panic\" \\u{1b}[31m\\u{9b}é\n";
        assert_eq!(TEXT.line(Level::WARN, forged), line);
        assert_eq!(JOURNAL.line(Level::WARN, forged), format!("<4>{line}"));
        for (level, start) in [
            (Level::ERROR, "<3>"),
            (Level::INFO, "<6>"),
            (Level::DEBUG, "<7>"),
            (Level::TRACE, "<7>"),
        ] {
            assert_eq!(JOURNAL.line(level, "a\n"), format!("{start}a\n"));
        }
    }

    #[test]
    fn the_last_words_are_in_the_form_of_the_log() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(
            TEXT.fatal("no uplink", now),
            None,
            "the command line says it"
        );
        let told = JOURNAL.fatal("no uplink: one of\nA", now);
        assert_eq!(told.as_deref(), Some("<3>no uplink: one of\n<3>A\n"));
        for journal in [false, true] {
            let style = Style {
                json: true,
                journal,
            };
            let told = style.fatal("no \"uplink\"\nA", now).expect("told");
            let json = told.strip_prefix("<3>");
            assert_eq!(json.is_some(), journal);
            let line: serde_json::Value =
                serde_json::from_str(json.unwrap_or(&told)).expect("JSON");
            assert_eq!(line["level"], "ERROR");
            assert_eq!(line["fields"]["message"], "no \"uplink\"\nA");
            assert_eq!(line.get("timestamp").is_none(), journal);
            assert_eq!(told.lines().count(), 1);
        }
    }

    #[test]
    fn another_stream_is_not_the_journal() {
        let stat = fstat(io::stderr().as_fd()).expect("stderr");
        let (device, inode) = (stat.st_dev, stat.st_ino);
        assert!(is_stderr(&format!("{device}:{inode}")));
        for other in [
            format!("{device}:{}", inode + 1),
            format!("{}:{inode}", device + 1),
            String::new(),
            "a:b".to_owned(),
        ] {
            assert!(!is_stderr(&other), "{other}");
        }
    }

    #[test]
    fn a_few_objects_are_named_and_the_others_counted() {
        let instance = |number: usize, max_enis| {
            let after = Instance {
                id: format!("i{number}"),
                max_enis: Some(max_enis),
            };
            Change::Instance(Diff {
                before: None,
                after: Some(after),
            })
        };
        let named = |count: usize| {
            let twice = (0..count).flat_map(|number| [instance(number, 1), instance(number, 2)]);
            Named::of(&twice.collect::<Vec<_>>()).to_string()
        };
        assert_eq!(named(2), "instance i0, instance i1");
        let five = "instance i0, instance i1, instance i2, instance i3, instance i4";
        assert_eq!(named(5), five);
        assert_eq!(named(8), format!("{five} and 3 more"));
        // The rest of a great many is counted by changes.
        assert_eq!(named(1000), format!("{five} and 1495 more"));
    }

    #[test]
    fn times_are_rounded() {
        let text = |nanos| milliseconds(Duration::from_nanos(nanos)).to_string();
        assert_eq!(text(1_234_567), "1.2");
        assert_eq!(text(49_999), "0");
        assert_eq!(text(2_000_000_000), "2000");
    }
}
