//! The verbs of the data plane: `run`, `status`, `stats`, `drops`, `verify`, `unload`.

use super::{Failure, Global, RunArgs, StatsArgs, VerifyArgs};
use crate::{daemon, plane::Pins};

/// `run`: the daemon.
pub fn run(args: &RunArgs, global: &Global) -> Result<(), Failure> {
    let options = daemon::Options {
        name: global.name.clone(),
        config: args.host.config.clone(),
        uplinks: args.host.uplinks.clone(),
        table: global.explicit_table().map(str::to_owned),
    };
    Ok(daemon::run(&options)?)
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
pub fn unload(global: &Global) -> Result<(), Failure> {
    Pins::new(&global.name)
        .remove()
        .map_err(anyhow::Error::from)?;
    Ok(())
}

fn not_built_yet(verb: &str) -> Result<(), Failure> {
    Err(Failure::failed(format!("`{verb}` is not built yet")))
}
