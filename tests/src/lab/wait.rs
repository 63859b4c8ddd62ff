//! Waiting for what the kernel or a program does in its own time.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Asks until there is an answer, for as long as `patience`; `what` names what never came.
pub fn until<T>(
    patience: Duration,
    what: &str,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + patience;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            bail!("waited {patience:?} for {what}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}
