//! The verbs of the data plane: `run`, `status`, `stats`, `drops`, `verify`, `unload`.

use super::{Failure, Global, RunArgs, StatsArgs, VerifyArgs};

/// `run`: the daemon.
pub fn run(_args: &RunArgs, _global: &Global) -> Result<(), Failure> {
    not_built_yet("run")
}

/// `status`: what runs, where, and the applied revision.
pub fn status(_global: &Global) -> Result<(), Failure> {
    not_built_yet("status")
}

/// `stats`: packets and bytes per EIP.
pub fn stats(_args: &StatsArgs, _global: &Global) -> Result<(), Failure> {
    not_built_yet("stats")
}

/// `drops`: dropped packets by reason.
pub fn drops(_global: &Global) -> Result<(), Failure> {
    not_built_yet("drops")
}

/// `verify`: the table against the maps.
pub fn verify(_args: &VerifyArgs, _global: &Global) -> Result<(), Failure> {
    not_built_yet("verify")
}

/// `unload`: takes everything off the host.
pub fn unload(_global: &Global) -> Result<(), Failure> {
    not_built_yet("unload")
}

fn not_built_yet(verb: &str) -> Result<(), Failure> {
    Err(Failure::failed(format!("`{verb}` is not built yet")))
}
