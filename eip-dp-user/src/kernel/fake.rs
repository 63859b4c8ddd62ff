//! A data plane in memory, for tests.

use super::{Plane, PlaneError, WriteError};
use crate::compile::{Content, Limits, PreferredBuckets, Write};

/// Maps in memory.
#[derive(Clone, Debug, Default)]
pub struct Fake {
    /// What they hold.
    pub content: Content,
    /// How large they are.
    pub limits: Limits,
    /// After how many more changes they refuse every other one; `None`: never.
    pub fails_after: Option<usize>,
    /// The slots whose counters were cleared.
    pub cleared: Vec<u32>,
    /// How many grace periods passed.
    pub graces: usize,
}

impl Plane for Fake {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn homes(&self) -> PreferredBuckets {
        PreferredBuckets::new(1, &self.limits)
    }

    fn read(&self) -> Result<Content, PlaneError> {
        Ok(self.content.clone())
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), WriteError> {
        for (done, write) in writes.iter().enumerate() {
            if let Some(left) = &mut self.fails_after {
                if *left == 0 {
                    let error = PlaneError(format!("{write}: no space left on device"));
                    return Err(WriteError { done, error });
                }
                *left -= 1;
            }
            if let Write::ClearCounters(slot) = write {
                self.cleared.push(*slot);
            }
            self.content.apply(write);
        }
        Ok(())
    }

    fn grace(&mut self) -> Result<(), PlaneError> {
        self.graces += 1;
        Ok(())
    }
}
