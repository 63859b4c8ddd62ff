//! The kernel behind a trait: what the maps hold, and how they are changed.

mod batch;
mod clsact;
mod counted;
mod counters;
pub mod cuckoo;
mod eips_by_target;
pub mod fake;
mod family;
mod kernel_maps;
mod kernel_types;
mod links;
mod load;
mod look;
pub mod mapped;
mod nat_peers;
mod next_hop_maps;
mod pins;
mod programs;
mod requests;
mod resize;
mod served;
mod source;

pub use kernel_maps::Kernel;
pub use kernel_types::{SkbLayout, Unknown};
pub use links::{Pinned, ProgramLinks};
pub use load::{Layout, Loaded, check_table, load};
pub use look::Look;
pub use pins::Pins;
pub use programs::Programs;
pub use requests::requests;
pub use resize::Resize;
pub use served::{Relation, ServedTable, Standing, boot_time, publish};
pub use source::Source;

use crate::compile::{Content, Limits, PreferredBuckets, Write};

/// The data plane, as far as the reconciler needs it.
pub trait Plane {
    /// How large the maps are.
    fn limits(&self) -> Limits;

    /// Where programs look first in them.
    fn homes(&self) -> PreferredBuckets;

    /// Reads everything.
    fn read(&self) -> Result<Content, PlaneError>;

    /// Makes the changes, in order, and stops at the first that fails; what was written before it
    /// stays.
    fn write(&mut self, writes: &[Write]) -> Result<(), WriteError>;

    /// Returns once every program that was running when it was called has ended.
    fn grace(&mut self) -> Result<(), PlaneError>;
}

/// The data plane cannot be used. The message names the thing, the reason and the cure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PlaneError(pub String);

/// A change that failed.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct WriteError {
    /// How many changes were made before it.
    pub done: usize,
    /// Why it failed.
    pub error: PlaneError,
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The operating system's error that is at the bottom of `error`.
fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.raw_os_error();
        }
        next = error.source();
    }
    None
}

/// What a lack of privileges looks like, and its cure.
fn with_cure(message: String, code: Option<i32>) -> PlaneError {
    if code == Some(libc::EPERM) || code == Some(libc::EACCES) {
        return PlaneError(format!(
            "{message}; run it as root (or with CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW and CAP_PERFMON)"
        ));
    }
    PlaneError(message)
}
