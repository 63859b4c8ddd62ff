//! What is said again and again is said at growing distance.

use std::{
    collections::HashMap,
    fmt::Write as _,
    hash::{BuildHasher, Hasher},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use foldhash::fast::FixedState;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// After it was said first, the same is not said for so long; from then on for twice as long each
/// time …
const FIRST: Duration = Duration::from_mins(1);
/// … but never for longer than that.
const LONGEST: Duration = Duration::from_hours(1);
/// What was not to be said for longer than its distance, and than that, is new.
const FORGOTTEN: Duration = Duration::from_mins(5);
/// So much is remembered; more than there are different warnings.
const MOST: usize = 1024;

/// A layer that lets a warning or an error pass when it is new, when it changed, and now and then
/// while it goes on: what is tried every two seconds fails every two seconds. Other events are not
/// looked at.
#[derive(Debug, Default)]
pub struct Repeats {
    known: Mutex<HashMap<u64, Said>>,
}

#[derive(Clone, Copy, Debug)]
struct Said {
    /// When it was said last.
    at: Instant,
    /// When it was to be said last.
    seen: Instant,
    /// How long not to say it after that.
    distance: Duration,
}

impl Repeats {
    /// Whether something is to be said now, by a hash over it.
    fn pass(&self, what: u64, now: Instant) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = known.get_mut(&what) {
            let quiet = now.saturating_duration_since(said.seen);
            said.seen = now;
            if quiet <= FORGOTTEN.max(said.distance) {
                if now.saturating_duration_since(said.at) < said.distance {
                    return false;
                }
                said.at = now;
                said.distance = (said.distance * 2).min(LONGEST);
                return true;
            }
        }
        if known.len() >= MOST {
            known.retain(|_, said| now.saturating_duration_since(said.seen) <= FORGOTTEN);
        }
        // So much that is different at a time is said, and not remembered.
        if known.len() < MOST || known.contains_key(&what) {
            let said = Said {
                at: now,
                seen: now,
                distance: FIRST,
            };
            known.insert(what, said);
        }
        true
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::WARN {
            return true;
        }
        let mut said = Content(FixedState::default().build_hasher());
        let place = event.metadata();
        said.0.write(place.file().unwrap_or_default().as_bytes());
        said.0.write_u32(place.line().unwrap_or_default());
        event.record(&mut said);
        self.pass(said.0.finish(), Instant::now())
    }
}

/// A hash over an event's fields, the message among them.
struct Content<H>(H);

impl<H: Hasher> Visit for Content<H> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.write(field.name().as_bytes());
        let mut text = String::new();
        // A string takes all that is written.
        let _ = write!(text, "{value:?}");
        self.0.write(text.as_bytes());
        self.0.write_u8(0xff);
    }
}

#[cfg(test)]
mod tests {
    use tracing::{error, info, warn};
    use tracing_subscriber::{layer::SubscriberExt as _, registry};

    use super::*;

    #[test]
    fn the_same_is_said_at_growing_distance_and_anew_after_a_pause() {
        let repeats = Repeats::default();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let said = |from: u64, to: u64| -> Vec<u64> {
            (from..to)
                .filter(|second| repeats.pass(1, at(*second)))
                .collect()
        };
        assert_eq!(said(0, 1000), [0, 60, 180, 420, 900]);
        // A day of it is not much.
        assert!(said(1000, 87_400).len() < 30);
        assert!(repeats.pass(2, at(87_400)), "another thing");
        // It went on for a day, was quiet for longer than its distance, and comes back.
        assert_eq!(said(95_000, 95_100), [95_000, 95_060]);
    }

    #[test]
    fn more_than_is_remembered_is_said() {
        let repeats = Repeats::default();
        let start = Instant::now();
        let most = MOST as u64;
        assert!((0..2 * most).all(|what| repeats.pass(what, start)));
        assert!((0..most).all(|what| !repeats.pass(what, start)));
        let later = start + FORGOTTEN + Duration::from_secs(1);
        assert!(repeats.pass(3 * most, later));
        assert!(!repeats.pass(3 * most, later));
    }

    /// Counts events.
    struct Count<'a>(&'a Mutex<Vec<Level>>);

    impl<S: Subscriber> Layer<S> for Count<'static> {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut events = self.0.lock().expect("no panic before");
            events.push(*event.metadata().level());
        }
    }

    #[test]
    fn warnings_and_errors_are_told_by_what_they_say() {
        static EVENTS: Mutex<Vec<Level>> = Mutex::new(Vec::new());
        let subscriber = registry().with(Repeats::default()).with(Count(&EVENTS));
        tracing::subscriber::with_default(subscriber, || {
            for round in 0..20_u32 {
                info!("goes on");
                warn!(error = %"refused", "a thing");
                error!(number = round / 10, "another");
                warn!("{}", if round % 2 == 0 { "even" } else { "odd" });
            }
        });
        let events = EVENTS.lock().expect("no panic before").clone();
        let count = |level| events.iter().filter(|event| **event == level).count();
        assert_eq!(
            (count(Level::INFO), count(Level::WARN), count(Level::ERROR)),
            (20, 3, 2)
        );
    }
}
