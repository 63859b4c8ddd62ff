//! `check`: whether this host can run the data plane, line by line, with cures.

use super::{CheckArgs, Failure, Global};

/// `check`.
pub fn check(_args: &CheckArgs, _global: &Global) -> Result<(), Failure> {
    Err(Failure::failed("`check` is not built yet"))
}
