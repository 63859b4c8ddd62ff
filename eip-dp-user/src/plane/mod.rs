//! The kernel behind a trait: what the maps hold, and how they are changed.

pub mod fake;

use crate::image::{Content, Limits, Write};

/// The data plane, as far as the reconciler needs it.
pub trait Plane {
    /// How large the maps are.
    fn limits(&self) -> Limits;

    /// Reads everything.
    fn read(&self) -> Result<Content, PlaneError>;

    /// Makes the changes, in order, and stops at the first that fails; what was written before it stays.
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
