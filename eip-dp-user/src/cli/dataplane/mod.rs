//! The verbs of the data plane: `run`, `status`, `stats`, `drops`, `verify`, `unload`.

mod counters;
mod status;
mod verify;

use serde_json::json;

pub use counters::{drops, stats};
pub use status::{Status, status};
pub use verify::verify;

use super::{Failure, Format, Global, Name, RunArgs, failure, output};
use crate::{
    daemon::{self, Lock, Presence, Report, readers},
    host::{self, HostFacts, NeighbourKeeper, Settings},
    kernel::{Kernel, Pins, PlaneError, ProgramLinks},
    private,
};

impl From<PlaneError> for Failure {
    fn from(error: PlaneError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// `run`: the daemon.
pub fn run(args: &RunArgs, global: &Global) -> Result<(), Failure> {
    let options = daemon::RunOptions {
        name: global.name.clone(),
        config: args.host.config.clone(),
        uplinks: args.host.uplinks.clone(),
        table: global.explicit_table().map(str::to_owned),
    };
    daemon::run(&options).map_err(|error| match Failure::from(error) {
        Failure::Failed(message) if daemon::tell_fatal(&message) => Failure::Reported,
        other => other,
    })
}

/// `unload`: takes everything off the host.
pub fn unload(global: &Global) -> Result<(), Failure> {
    let name = &global.name;
    if let Some(holder) = Lock::holder(name)? {
        return Err(Failure::failed(format!(
            "the daemon of gateway `{name}` runs{holder}; stop it first (forwarding goes on until the unload)"
        )));
    }
    Pins::check_mounted()?;
    let pins = Pins::new(name);
    let loaded = pins.exist()?;
    if loaded {
        // No daemon may start meanwhile.
        let _lock = Lock::take(name)?;
        ProgramLinks::new(&pins).detach_all()?;
        pins.remove()?;
        release_neighbours()?;
    }
    put_settings_back(name)?;
    for path in [
        Report::path(name),
        Presence::path(name),
        daemon::shared_path(name),
    ] {
        let _ = private::remove(&path);
    }
    // Nothing is forwarded any more: that is what was asked for.
    if let Err(error) = readers::remove(name) {
        failure::warn(global.output, &format!("{error:#}"));
    }
    match global.output {
        Format::Json => output::json(&json!({ "name": name.as_str(), "was_loaded": loaded })),
        Format::Text => output::write(|out| {
            if loaded {
                writeln!(
                    out,
                    "gateway {name} unloaded: nothing is forwarded any more"
                )
            } else {
                writeln!(out, "gateway {name} was not loaded")
            }
        }),
    }
}

/// Other gateways on this host ask for theirs again.
fn release_neighbours() -> Result<(), Failure> {
    on_runtime(async {
        let keeper = NeighbourKeeper::open()?;
        keeper.release_all().await
    })?
    .map_err(|error| Failure::failed(format!("next hops stay kept resolved: {error}")))
}

fn put_settings_back(name: &Name) -> Result<(), Failure> {
    on_runtime(async {
        let settings = Settings::open(daemon::settings_path(name))?;
        settings.release_all().await
    })?
    .map_err(|error| Failure::failed(format!("settings of the host stay changed: {error}")))
}

/// Runs what needs a reactor.
pub(super) fn on_runtime<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime cannot be started: {error}")))?;
    Ok(runtime.block_on(work))
}

/// What the kernel says of this host.
pub(super) fn facts() -> Result<HostFacts, Failure> {
    on_runtime(host::snapshot())?
        .map_err(|error| Failure::failed(format!("the host's interfaces cannot be read: {error}")))
}

/// The gateway's maps, which have to be there.
fn kernel(global: &Global) -> Result<Kernel, Failure> {
    let name = &global.name;
    Kernel::open(&Pins::new(name))?.ok_or_else(|| {
        Failure::failed(format!(
            "the data plane of gateway `{name}` is not loaded; start its daemon with `eip-dp --name {name} run`"
        ))
    })
}
