//! Every rule of the service: pure functions from a view of the table and a command to changes or a refusal.

use super::{Context, Decision, Refusal, View, command::Command};

/// Decides what `command` does to the table that `view` shows.
pub fn decide(
    _view: &impl View,
    _command: &Command,
    _context: &Context,
) -> Result<Decision, Refusal> {
    todo!()
}
