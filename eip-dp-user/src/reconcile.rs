//! One step of making the kernel what the table wants: compile, plan, write.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use tracing::warn;

use crate::{
    compile::{self, Allocations, Applied, Content, HostPlan, Unaware, Write},
    config::Config,
    host::HostFacts,
    kernel::{Plane, PlaneError},
    model::{Change, Model},
    plan::{Sink, plan, plan_into},
};

/// So many writes are handed to the data plane at once.
const BATCH: usize = 8192;

/// The reconciler: a data plane, and what is known to be in it.
#[derive(Debug)]
pub struct Reconciler<P> {
    /// The data plane.
    pub plane: P,
    have: Applied,
    served: HostPlan,
    /// Whether the kernel has all that the last step wanted.
    settled: bool,
    /// Whether the last whole step left something out for want of room.
    short: bool,
}

/// What a step did.
#[derive(Debug, Default)]
pub struct Step {
    /// The EIPs that began to be served, or moved.
    pub moved: Vec<IpAddr>,
    /// The EIPs that are no longer served.
    pub withdrawn: Vec<IpAddr>,
    /// The EIPs that got an association.
    pub begun: Vec<IpAddr>,
    /// The EIPs that have none any more.
    pub ended: Vec<IpAddr>,
    /// The guests that have to learn where their gateway is.
    pub unaware: Unaware,
    /// Whether what goes on which interface may have changed.
    pub attachments: bool,
    /// Whether what guests are told may have changed.
    pub directory: bool,
    /// Whether the settings of interfaces may have changed, and the warnings.
    pub settings: bool,
    /// How many elements were changed.
    pub writes: usize,
    /// How long it took to find out what to write, with the plan's own part.
    pub compiling: Duration,
    /// How long it took to write.
    pub writing: Duration,
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
        let allocations = Allocations::recover(&content, &limits, plane.homes());
        Ok(Self {
            plane,
            have: Applied {
                content,
                allocations,
                limits,
            },
            served: HostPlan::default(),
            settled: false,
            short: false,
        })
    }

    /// What is known to be in the kernel.
    pub fn have(&self) -> &Applied {
        &self.have
    }

    /// The data plane, and what is known to be in it.
    pub fn parts(&mut self) -> (&mut P, &Applied) {
        (&mut self.plane, &self.have)
    }

    /// What the last step found to be served.
    pub fn served(&self) -> &HostPlan {
        &self.served
    }

    /// Whether the last whole step left something out because it does not fit into the maps.
    pub fn over_capacity(&self) -> bool {
        self.short
    }

    /// Makes the data plane what the table wants on this host.
    pub fn step(&mut self, model: &Model, facts: &HostFacts, config: &Config) -> Step {
        let (mut step, out_of_indexes) = self.try_step(model, facts, config);
        // What had to wait for indexes that were in use a moment ago can have them after a grace
        // period.
        if out_of_indexes && step.error.is_none() {
            if let Err(error) = self.reclaim() {
                step.error = Some(error);
                return step;
            }
            let (again, _) = self.try_step(model, facts, config);
            step.moved.extend(again.moved);
            step.moved.sort_unstable();
            step.moved.dedup();
            step.withdrawn
                .retain(|eip| step.moved.binary_search(eip).is_err());
            step.begun.extend(again.begun);
            step.ended.extend(again.ended);
            step.unaware.extend(again.unaware);
            step = Step {
                unaware: step.unaware,
                moved: step.moved,
                withdrawn: step.withdrawn,
                begun: step.begun,
                ended: step.ended,
                writes: step.writes + again.writes,
                compiling: step.compiling + again.compiling,
                writing: step.writing + again.writing,
                ..again
            };
        }
        step
    }

    /// Compiles everything.
    fn try_step(&mut self, model: &Model, facts: &HostFacts, config: &Config) -> (Step, bool) {
        let start = Instant::now();
        let (image, served) = compile::compile_all(model, facts, config, &self.have);
        self.served = served;
        self.short = image.over_capacity;
        // From here on the indexes are given, whatever becomes of the writes.
        self.have.allocations = image.allocations;
        let old = std::mem::take(&mut self.have.content);
        let step = self.write(&old, &image.content);
        self.have.content = if step.error.is_none() {
            image.content
        } else {
            let mut content = old;
            for write in plan(&image.content, &content).iter().take(step.writes) {
                content.apply(write);
            }
            content
        };
        self.settled = step.error.is_none();
        let step = Step {
            attachments: true,
            directory: true,
            settings: true,
            compiling: start.elapsed().saturating_sub(step.writing),
            ..step
        };
        (step, image.out_of_indexes)
    }

    /// Makes the changes in the model, and the data plane what the table wants then. `None`: it
    /// takes a whole step.
    pub fn follow(
        &mut self,
        model: &mut Model,
        changes: &[Change],
        facts: &HostFacts,
        config: &Config,
    ) -> Option<Step> {
        let start = Instant::now();
        if !std::mem::take(&mut self.settled) {
            model.change(changes);
            return None;
        }
        let have = &mut self.have;
        let result = self.served.change(model, changes, facts, config, have)?;
        let step = self.write(&result.old, &result.new);
        let mut done = Recorder {
            content: &mut self.have.content,
            left: step.writes,
        };
        plan_into(&result.new, &result.old, &mut done);
        self.settled = step.error.is_none();
        Some(Step {
            attachments: result.attachments,
            directory: result.directory,
            settings: result.settings,
            compiling: start.elapsed().saturating_sub(step.writing),
            ..step
        })
    }

    /// Writes what `old` and `new` differ in.
    fn write(&mut self, old: &Content, new: &Content) -> Step {
        let mut writer = Writer {
            plane: &mut self.plane,
            batch: Vec::with_capacity(BATCH),
            step: Step::default(),
        };
        plan_into(new, old, &mut writer);
        writer.flush();
        let moved = compile::moved(old, new);
        let (begun, ended) = compile::begun_and_ended(old, new);
        Step {
            begun,
            ended,
            withdrawn: compile::withdrawn(old, new),
            unaware: Unaware::between(old, new, &moved),
            moved,
            ..writer.step
        }
    }

    /// Lets the indexes that the last step took back be used again, if all of it was written. Takes
    /// some milliseconds when there are such.
    pub fn reclaim(&mut self) -> Result<(), PlaneError> {
        if self.settled && self.have.allocations.has_quarantined() {
            self.plane.grace()?;
            self.have.allocations.end_quarantine();
        }
        Ok(())
    }

    /// Reads the maps back; whoever changed them, the next step mends it. Returns how many elements
    /// were different.
    pub fn audit(&mut self) -> Result<usize, PlaneError> {
        let content = self.plane.read()?;
        let differences = plan(&self.have.content, &content);
        if !differences.is_empty() {
            for write in differences.iter().take(10) {
                warn!(element = %write, "the kernel's map was changed by another program");
            }
            self.have.content = content;
            self.settled = false;
        }
        Ok(differences.len())
    }
}

/// Hands writes to a data plane, up to the first that fails.
struct Writer<'a, P> {
    plane: &'a mut P,
    batch: Vec<Write>,
    step: Step,
}

impl<P: Plane> Sink for Writer<'_, P> {
    fn push(&mut self, write: Write) {
        self.batch.push(write);
        if self.batch.len() == BATCH {
            self.flush();
        }
    }
}

impl<P: Plane> Writer<'_, P> {
    fn flush(&mut self) {
        if self.step.error.is_none() && !self.batch.is_empty() {
            let start = Instant::now();
            match self.plane.write(&self.batch) {
                Ok(()) => self.step.writes += self.batch.len(),
                Err(failed) => {
                    self.step.writes += failed.done;
                    self.step.error = Some(failed.error);
                }
            }
            self.step.writing += start.elapsed();
        }
        self.batch.clear();
    }
}

/// Remembers the writes that were done.
struct Recorder<'a> {
    content: &'a mut Content,
    left: usize,
}

impl Sink for Recorder<'_> {
    fn push(&mut self, write: Write) {
        if self.left > 0 {
            self.left -= 1;
            self.content.apply(&write);
        }
    }
}
