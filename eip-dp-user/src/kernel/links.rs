//! Programs on interfaces: links, pinned so that they outlive the daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use aya::programs::{
    SchedClassifier, TcAttachType, Xdp, XdpMode,
    links::{FdLink, LinkOrder, PinnedLink},
    tc::{SchedClassifierLink, TcAttachOptions},
    xdp::XdpLink,
};
use eip_dp_common::abi::maps;
use nix::net::if_::{if_indextoname, if_nametoindex};
use tracing::{debug, info, warn};

use super::{Pins, PlaneError, Programs, chain, clsact::Clsact, os_error, with_cure};
use crate::{
    attach::{Attachment, Program},
    requirements::has_tcx,
};

/// A program on an interface, as the name of its pin says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pinned {
    /// The program.
    pub program: Program,
    /// The interface's index.
    pub ifindex: u32,
}

impl Pinned {
    /// The pin's file name. The BPF file system takes no dots.
    fn file_name(self) -> String {
        format!("{}_{}", self.program.name(), self.ifindex)
    }

    fn from_file_name(name: &str) -> Option<Self> {
        let (program, ifindex) = name.rsplit_once('_')?;
        let program = Program::ALL
            .into_iter()
            .find(|known| known.name() == program)?;
        Some(Self {
            program,
            ifindex: ifindex.parse().ok()?,
        })
    }
}

/// The links of one gateway, and which of them run this daemon's programs.
#[derive(Debug)]
pub struct ProgramLinks {
    pins: Pins,
    ours: BTreeSet<Pinned>,
    /// Whether the kernel has links for tc programs.
    tcx: bool,
}

impl ProgramLinks {
    /// The links of the gateway; none runs this daemon's programs yet.
    pub fn new(pins: &Pins) -> Self {
        Self {
            pins: pins.clone(),
            ours: BTreeSet::new(),
            tcx: has_tcx(),
        }
    }

    /// Whether the maps are pinned still: somebody may have emptied the BPF file system.
    pub fn check_maps(&self) -> Result<(), PlaneError> {
        let lost = maps::ALL.iter().find(|map| !self.pins.map(map).exists());
        match lost {
            None => Ok(()),
            Some(map) => Err(PlaneError(format!(
                "the pin of the map {map} of gateway `{}` was removed from {}; start the daemon again, which loads what \
                 is missing",
                self.pins.name(),
                self.pins.root().display()
            ))),
        }
    }

    /// Has the next [`Self::sync`] look at every link: another program may have detached or removed
    /// one.
    pub fn forget(&mut self) {
        self.ours.clear();
    }

    /// What is pinned.
    pub fn pinned(&self) -> Result<BTreeSet<Pinned>, PlaneError> {
        let folder = self.pins.links();
        let failed = |error: &io::Error| {
            with_cure(
                format!("cannot read {}: {error}", folder.display()),
                error.raw_os_error(),
            )
        };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(failed(&error)),
        };
        let mut pinned = BTreeSet::new();
        for entry in entries {
            let name = entry.map_err(|error| failed(&error))?.file_name();
            pinned.extend(name.to_str().and_then(Pinned::from_file_name));
        }
        Ok(pinned)
    }

    /// Whether the program is pinned.
    pub fn is_pinned(&self, pin: Pinned) -> bool {
        self.path(pin).exists()
    }

    /// Attaches what is wanted and detaches what is not. What fails is told, by program and
    /// interface; the rest is done all the same.
    pub fn sync(
        &mut self,
        programs: &mut Programs,
        wanted: &[Attachment],
    ) -> Result<BTreeMap<Pinned, String>, PlaneError> {
        let mut failures = BTreeMap::new();
        let mut keep = BTreeSet::new();
        for attachment in wanted {
            for program in &attachment.programs {
                let pin = Pinned {
                    program: *program,
                    ifindex: attachment.ifindex,
                };
                keep.insert(pin);
                if self.ours.contains(&pin) {
                    continue;
                }
                match self.attach(programs, pin, &attachment.interface) {
                    Ok(()) => {
                        self.ours.insert(pin);
                    }
                    Err(error) => {
                        failures.insert(pin, error.to_string());
                    }
                }
            }
        }
        for pin in self.pinned()?.difference(&keep) {
            self.detach(*pin)?;
        }
        self.ours.retain(|pin| keep.contains(pin));
        Ok(failures)
    }

    /// Lets every link that there is run this daemon's programs. One that cannot be made to is
    /// taken away.
    pub fn take_over(&mut self, programs: &mut Programs) -> Result<(), PlaneError> {
        for pin in self.pinned()? {
            let Ok(interface) = if_indextoname(pin.ifindex) else {
                self.detach(pin)?;
                continue;
            };
            match self.attach(programs, pin, &interface.to_string_lossy()) {
                Ok(()) => {
                    self.ours.insert(pin);
                }
                Err(error) => {
                    self.detach(pin)?;
                    warn!(%error, "a program cannot be replaced by a new one");
                }
            }
        }
        Ok(())
    }

    fn path(&self, pin: Pinned) -> PathBuf {
        self.pins.links().join(pin.file_name())
    }

    /// Detaches everything.
    pub fn detach_all(&self) -> Result<(), PlaneError> {
        self.pinned()?
            .into_iter()
            .try_for_each(|pin| self.detach(pin))
    }

    /// Removes the pin, and with it the link.
    fn detach(&self, pin: Pinned) -> Result<(), PlaneError> {
        let path = self.path(pin);
        if self.is_filter(pin) {
            self.remove_filter(pin)?;
        }
        if remove_pin(&path)? {
            info!(
                program = pin.program.name(),
                ifindex = pin.ifindex,
                "detached"
            );
        }
        Ok(())
    }

    fn attach(
        &self,
        programs: &mut Programs,
        pin: Pinned,
        interface: &str,
    ) -> Result<(), PlaneError> {
        if self.is_filter(pin) {
            return self.attach_filter(programs, pin, interface);
        }
        if let Ok(link) = PinnedLink::from_pin(self.path(pin)) {
            match replace(programs, pin.program, link.into()) {
                Ok(()) => {
                    debug!(program = pin.program.name(), interface, "program replaced");
                    return Ok(());
                }
                // The interface that it was on is gone (ENOLINK).
                Err(error) => {
                    debug!(program = pin.program.name(), interface, %error, "a link without interface");
                }
            }
        }
        self.detach(pin)?;
        let link = if pin.program.is_xdp() {
            attach_xdp(programs.xdp(pin.program.name())?, pin.ifindex)
        } else {
            attach_tc(programs.tc(pin.program.name())?, pin.ifindex, interface)
        }
        .map_err(|failure| {
            let mut message = format!("{} on {interface}: {}", pin.program.name(), failure.message);
            if pin.program.is_xdp() && failure.code == Some(libc::EBUSY) {
                message = format!(
                    "{message}; another XDP program is there, of another gateway perhaps: take it off (`ip link set \
                     dev {interface} xdp off`), till then tc does all of its work"
                );
            }
            with_cure(message, failure.code)
        })?;
        let path = self.path(pin);
        link.pin(&path).map_err(|error| {
            let message = format!("cannot pin {}: {}", path.display(), chain(&error));
            with_cure(message, os_error(&error))
        })?;
        info!(program = pin.program.name(), interface, "attached");
        Ok(())
    }
}

/// Where the kernel has no links for tc programs, the pin is of the program that the filter runs.
impl ProgramLinks {
    fn is_filter(&self, pin: Pinned) -> bool {
        !self.tcx && !pin.program.is_xdp()
    }

    fn clsact(&self, pin: Pinned) -> Clsact {
        Clsact::new(self.pins.name(), pin.ifindex)
    }

    /// Pinned while the queueing discipline of the interface is one that was made here.
    fn qdisc_mark(&self, pin: Pinned) -> PathBuf {
        self.pins.links().join(format!("clsact_{}", pin.ifindex))
    }

    fn attach_filter(
        &self,
        programs: &mut Programs,
        pin: Pinned,
        interface: &str,
    ) -> Result<(), PlaneError> {
        let name = pin.program.name();
        let failed = |message: String, code| {
            let hint = if code == Some(libc::EINVAL) {
                format!(
                    "; if a filter of another kind has preference 1 there (`tc filter show dev {interface} ingress`), \
                     give it a later one"
                )
            } else {
                String::new()
            };
            with_cure(format!("{name} on {interface}: {message}{hint}"), code)
        };
        let program = programs.tc(name)?;
        let fd = program
            .fd()
            .map_err(|error| failed(chain(&error), os_error(&error)))?;
        let made = self
            .clsact(pin)
            .set(fd.as_fd(), name)
            .map_err(|error| failed(error.to_string(), error.raw_os_error()))?;
        let mark = made.then(|| self.qdisc_mark(pin));
        for path in mark.into_iter().chain([self.path(pin)]) {
            // The one before is an earlier program's.
            remove_pin(&path)?;
            program.pin(&path).map_err(|error| {
                let message = format!("cannot pin {}: {}", path.display(), chain(&error));
                with_cure(message, os_error(&error))
            })?;
        }
        info!(program = name, interface, "attached");
        Ok(())
    }

    /// Removes the filter, and the queueing discipline if it was made for it and nobody else uses
    /// it.
    fn remove_filter(&self, pin: Pinned) -> Result<(), PlaneError> {
        let clsact = self.clsact(pin);
        let mark = self.qdisc_mark(pin);
        let removed = clsact.remove().and_then(|()| {
            if mark.exists() {
                clsact.remove_empty_qdisc()?;
            }
            Ok(())
        });
        removed.map_err(|error| {
            let message = format!(
                "cannot take {} off the interface with index {}: {error}",
                pin.program.name(),
                pin.ifindex
            );
            with_cure(message, error.raw_os_error())
        })?;
        remove_pin(&mark).map(|_| ())
    }
}

/// Returns whether there was one.
fn remove_pin(path: &Path) -> Result<bool, PlaneError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(with_cure(
            format!("cannot remove {}: {error}", path.display()),
            error.raw_os_error(),
        )),
    }
}

/// Why an attachment failed.
struct Failure {
    message: String,
    code: Option<i32>,
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            message: chain(&error),
            code: os_error(&error),
        }
    }
}

/// Lets the link run this daemon's program, in one step.
fn replace(programs: &mut Programs, program: Program, link: FdLink) -> Result<(), PlaneError> {
    let result = if program.is_xdp() {
        replace_xdp(programs.xdp(program.name())?, link)
    } else {
        replace_tc(programs.tc(program.name())?, link)
    };
    result.map_err(|failure| PlaneError(failure.message))
}

fn replace_xdp(program: &mut Xdp, link: FdLink) -> Result<(), Failure> {
    let id = program.attach_to_link(XdpLink::try_from(link)?)?;
    // The pin holds the link; this value would only keep a file open.
    drop(FdLink::try_from(program.take_link(id)?)?);
    Ok(())
}

fn replace_tc(program: &mut SchedClassifier, link: FdLink) -> Result<(), Failure> {
    let id = program.attach_to_link(SchedClassifierLink::try_from(link)?)?;
    drop(FdLink::try_from(program.take_link(id)?)?);
    Ok(())
}

fn attach_xdp(program: &mut Xdp, ifindex: u32) -> Result<FdLink, Failure> {
    let id = program.attach_to_if_index(ifindex, XdpMode::Driver)?;
    Ok(program.take_link(id)?.try_into()?)
}

fn attach_tc(
    program: &mut SchedClassifier,
    ifindex: u32,
    interface: &str,
) -> Result<FdLink, Failure> {
    if if_nametoindex(interface)? != ifindex {
        return Err(Failure {
            message: "another interface has this name now".to_owned(),
            code: None,
        });
    }
    // At the head: what another program there does, it does with packets that are not ours.
    let order = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(interface, TcAttachType::Ingress, order)?;
    Ok(program.take_link(id)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_says_what_it_is() {
        for program in Program::ALL {
            let pin = Pinned {
                program,
                ifindex: 17,
            };
            assert_eq!(Pinned::from_file_name(&pin.file_name()), Some(pin));
            assert!(!pin.file_name().contains('.'));
        }
        assert_eq!(Pinned::from_file_name("uplink_tc_x"), None);
        assert_eq!(Pinned::from_file_name("other_3"), None);
    }
}
