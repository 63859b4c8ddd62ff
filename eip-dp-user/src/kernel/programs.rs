//! The programs in the kernel. To have them verified takes longer than most of a start, and only
//! attaching them needs it done: the maps are filled meanwhile.

use std::{
    num::NonZero,
    panic::resume_unwind,
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use aya::{
    Ebpf,
    maps::ProgramArray,
    programs::{Program, ProgramError, ProgramFd, SchedClassifier, Xdp},
};
use eip_dp_common::abi::stages;
use tracing::{debug, warn};

use super::{Pins, PlaneError, chain, os_error, with_cure};

/// The programs. They stay in the kernel while a link is pinned, also without this value.
#[derive(Debug)]
pub struct Programs {
    verifying: Option<JoinHandle<Result<Ebpf, PlaneError>>>,
    object: Result<Ebpf, PlaneError>,
    /// Maps that were made for them: they go if the programs do not come to use them.
    made: Option<Pins>,
}

impl Programs {
    /// Has the kernel verify an object's programs, some at once, while the caller goes on.
    pub(super) fn verify(object: Ebpf, at_once: NonZero<usize>) -> Self {
        Self {
            verifying: Some(thread::spawn(move || verified(object, at_once))),
            object: Err(PlaneError("the programs are not verified yet".to_owned())),
            made: None,
        }
    }

    /// Has the maps that are pinned there removed if the programs are not verified by
    /// [`Self::wait`] before this value goes.
    pub(super) fn or_remove(mut self, maps: &Pins) -> Self {
        self.made = Some(maps.clone());
        self
    }

    /// Returns once they can be attached.
    pub fn wait(&mut self) -> Result<(), PlaneError> {
        self.object().map(drop)
    }

    fn object(&mut self) -> Result<&mut Ebpf, PlaneError> {
        if let Some(verifying) = self.verifying.take() {
            let verified = verifying
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic));
            self.object = verified.and_then(entered);
            if self.object.is_ok() {
                self.made = None;
            }
        }
        let object = self.object.as_mut();
        object.map_err(|error| PlaneError(error.0.clone()))
    }

    /// The XDP program of that name.
    pub fn xdp(&mut self, name: &str) -> Result<&mut Xdp, PlaneError> {
        let found = self.object()?.program_mut(name);
        found
            .and_then(|found| found.try_into().ok())
            .ok_or_else(|| missing(name))
    }

    /// The tc program of that name.
    pub fn tc(&mut self, name: &str) -> Result<&mut SchedClassifier, PlaneError> {
        let found = self.object()?.program_mut(name);
        found
            .and_then(|found| found.try_into().ok())
            .ok_or_else(|| missing(name))
    }
}

/// Maps whose programs are not verified do not stay.
impl Drop for Programs {
    fn drop(&mut self) {
        if let Some(pins) = self.made.take()
            && let Err(error) = pins.remove()
        {
            warn!(%error, "new maps are not used, and stay till the next start");
        }
    }
}

/// The object with its programs in the kernel.
fn verified(mut object: Ebpf, at_once: NonZero<usize>) -> Result<Ebpf, PlaneError> {
    load_all(object.programs_mut(), at_once)?;
    Ok(object)
}

/// The object with the stages where the other programs find them: one of an earlier daemon is
/// replaced in one step.
fn entered(mut object: Ebpf) -> Result<Ebpf, PlaneError> {
    for (map, place, name) in stages::ALL {
        enter(&mut object, map, place, name)?;
    }
    Ok(object)
}

fn load_all<'a>(
    programs: impl Iterator<Item = (&'a str, &'a mut Program)> + Send,
    at_once: NonZero<usize>,
) -> Result<(), PlaneError> {
    let left = Mutex::new(programs);
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let load_those_left = || {
        while let Some((name, program)) = next() {
            load(name, program)?;
        }
        Ok(())
    };
    thread::scope(|threads| {
        let helpers: Vec<_> = (1..at_once.get())
            .map(|_| threads.spawn(load_those_left))
            .collect();
        let own = load_those_left();
        helpers.into_iter().fold(own, |result, helper| {
            result.and(helper.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    })
}

fn load(name: &str, program: &mut Program) -> Result<(), PlaneError> {
    let result = match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => return Err(missing(name)),
    };
    result.map_err(|error| {
        if let ProgramError::LoadError { verifier_log, .. } = &error {
            debug!(program = name, %verifier_log, "the verifier refuses a program");
        }
        let code = os_error(&error);
        let reason = code.map_or_else(
            || chain(&error),
            |code| std::io::Error::from_raw_os_error(code).to_string(),
        );
        let message = format!(
            "the kernel refuses the program {name}: {reason} (the verifier's words are in the log at level debug)"
        );
        with_cure(message, code)
    })
}

fn enter(object: &mut Ebpf, map: &str, place: u32, name: &str) -> Result<(), PlaneError> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        let message = format!("map {map}: the program {name}: {}", chain(error));
        with_cure(message, os_error(error))
    };
    let program = object.program(name).ok_or_else(|| missing(name))?;
    let program = program
        .fd()
        .and_then(|fd| Ok(ProgramFd::try_clone(fd)?))
        .map_err(|error| failed(&error))?;
    let array = object.map_mut(map).ok_or_else(|| missing(map))?;
    ProgramArray::try_from(array)
        .and_then(|mut array| array.set(place, &program, 0))
        .map_err(|error| failed(&error))
}

fn missing(name: &str) -> PlaneError {
    PlaneError(format!(
        "the BPF object has no {name} of the right type; build eip-dp again"
    ))
}
