//! One step of making the kernel what the table wants: compile, plan, write.

use std::{collections::BTreeSet, net::IpAddr};

use tracing::warn;

use crate::{
    config::Config,
    host::HostFacts,
    image::{self, Allocations, Have, Image},
    model::Model,
    plan::plan,
    plane::{Plane, PlaneError},
};

/// The reconciler: a data plane, and what is known to be in it.
#[derive(Debug)]
pub struct Reconciler<P> {
    /// The data plane.
    pub plane: P,
    have: Have,
    /// Whether the kernel has all that the last step wanted.
    settled: bool,
}

/// What a step did.
#[derive(Debug)]
pub struct Step {
    /// What was wanted; its content is in the kernel unless `error` says otherwise.
    pub image: Image,
    /// The EIPs that began to be served, or moved.
    pub moved: BTreeSet<IpAddr>,
    /// The EIPs that are no longer served.
    pub silenced: BTreeSet<IpAddr>,
    /// How many elements were changed.
    pub writes: usize,
    /// Why the kernel does not have all of it. What was written is safe; the next step tries again.
    pub error: Option<PlaneError>,
}

impl<P: Plane> Reconciler<P> {
    /// Takes over what the data plane holds.
    pub fn adopt(mut plane: P) -> Result<Self, PlaneError> {
        let limits = plane.limits();
        let content = plane.read()?;
        // Programs may hold indexes that the daemon before this one took back at its very end.
        plane.grace()?;
        let allocations = Allocations::recover(&content, &limits);
        Ok(Self {
            plane,
            have: Have {
                content,
                allocations,
                limits,
            },
            settled: false,
        })
    }

    /// What is known to be in the kernel.
    pub fn have(&self) -> &Have {
        &self.have
    }

    /// Makes the data plane what the table wants on this host.
    pub fn step(&mut self, model: &Model, facts: &HostFacts, config: &Config) -> Step {
        let mut step = self.try_step(model, facts, config);
        // What had to wait for indexes that were in use a moment ago can have them after a grace period.
        if step.image.starved && step.error.is_none() {
            if let Err(error) = self.settle() {
                step.error = Some(error);
                return step;
            }
            let again = self.try_step(model, facts, config);
            step = Step {
                moved: &step.moved | &again.moved,
                silenced: &step.silenced - &again.moved,
                writes: step.writes + again.writes,
                ..again
            };
        }
        step
    }

    fn try_step(&mut self, model: &Model, facts: &HostFacts, config: &Config) -> Step {
        let image = image::compile(model, facts, config, &self.have);
        let writes = plan(&image.content, &self.have.content);
        let moved = image::moved(&self.have.content, &image.content);
        let silenced = image::silenced(&self.have.content, &image.content);
        // From here on the indexes are given, whatever becomes of the writes.
        self.have.allocations = image.allocations.clone();
        let (done, error) = match self.plane.write(&writes) {
            Ok(()) => (writes.len(), None),
            Err(failed) => (failed.done, Some(failed.error)),
        };
        for write in &writes[..done] {
            self.have.content.apply(write);
        }
        self.settled = error.is_none();
        Step {
            image,
            moved,
            silenced,
            writes: done,
            error,
        }
    }

    /// Lets the indexes that the last step took back be used again, if all of it was written. Takes some
    /// milliseconds when there are such.
    pub fn settle(&mut self) -> Result<(), PlaneError> {
        if self.settled && self.have.allocations.has_resting() {
            self.plane.grace()?;
            self.have.allocations.wake();
        }
        Ok(())
    }

    /// Reads the maps back; whoever changed them, the next step mends it. Returns how many elements were different.
    pub fn audit(&mut self) -> Result<usize, PlaneError> {
        let content = self.plane.read()?;
        let differences = plan(&self.have.content, &content);
        if !differences.is_empty() {
            for write in differences.iter().take(10) {
                warn!(element = %write, "the kernel's map was changed by another program");
            }
            self.have.content = content;
        }
        Ok(differences.len())
    }
}
