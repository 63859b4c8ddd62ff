//! Verbs of users who may not look at a gateway themselves: they read the copies that the daemon
//! makes for a group, and say so.

use std::{fs, io, net::IpAddr, path::Path, time::Duration};

use eip_dp_common::abi::EipCounters;
use nix::unistd::{AccessFlags, access, geteuid};

use super::{Failure, Format, Global, Name, dataplane::Status, failure, place::Place};
use crate::{
    daemon::{
        RUN_FOLDER, is_locked, location_of_path,
        readers::{self, Counted, StatusCopy},
    },
    kernel::{Pins, boot_time},
    private,
    table::{Table, path_of},
};

/// So many periods late, a copy is none of what is so now.
const LATE: u64 = 3;

/// The copies of a gateway that this user may read in place of itself.
pub struct Copies {
    folder: std::path::PathBuf,
    status: StatusCopy,
}

impl Copies {
    /// Likewise; refuses who may read neither.
    pub fn or_itself(global: &Global) -> Result<Option<Self>, Failure> {
        match Self::of(global)? {
            None if is_hidden(global) => Err(refused(&format!("gateway `{}`", global.name))),
            copies => Ok(copies),
        }
    }

    /// Those of the gateway; `None` for who may look at it, who may read no copies, and who names
    /// another table by `--table`.
    pub fn of(global: &Global) -> Result<Option<Self>, Failure> {
        let name = &global.name;
        if geteuid().is_root() || fs::read_dir(Pins::new(name).root()).is_ok() {
            return Ok(None);
        }
        let folder = readers::folder(name);
        match StatusCopy::read(&folder) {
            Ok(status) => {
                let copies = Self { folder, status };
                let is_meant = match global.explicit_table() {
                    Some(table) => copies.is_of(table),
                    None => true,
                };
                Ok(is_meant.then_some(copies))
            }
            // Who may look into the folder is a member.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && global.explicit_table().is_none()
                    && fs::read_dir(&folder).is_ok() =>
            {
                Err(none_yet(name, &folder))
            }
            Err(error) if is_not_there(&error) => Ok(None),
            Err(error) => Err(Failure::failed(format!(
                "gateway `{name}`: the copies in {} cannot be read: {error}; the daemon's log says why",
                folder.display()
            ))),
        }
    }

    /// Whether that table is meant, and cannot be read itself.
    fn is_of(&self, table: &str) -> bool {
        let own = self.status.status.table();
        path_of(table).is_ok_and(|path| {
            may_not_read(&path) && (table == own || location_of_path(&path) == own)
        })
    }

    /// The copy of the table.
    pub fn place(&self) -> Place {
        let url = format!("sqlite:{}", readers::table_in(&self.folder).display());
        Place::copy(&url, self.status.status.table())
    }

    /// Opens it.
    pub fn table(&self, global: &Global) -> Result<Table, Failure> {
        self.place().read(global)
    }

    /// Whether the daemon runs that makes them.
    fn is_served(&self) -> bool {
        self.status.lock.is_some_and(is_locked)
    }

    /// What `status` said.
    pub fn status(self) -> Status {
        let (age, running) = (age(self.status.at), self.is_served());
        let why = late(age, self.status.again_in, running);
        let mut status = self.status.status;
        status.copied(age, running, why);
        status
    }

    /// What `status` said, as it stood then.
    pub fn told(&self) -> &Status {
        &self.status.status
    }

    /// What was counted; shows each EIP's counters. With it, whether that is about what is so now:
    /// if not, it is said.
    pub fn counted(
        &self,
        global: &Global,
        show: impl FnMut(String, IpAddr, EipCounters),
    ) -> Result<(Counted, bool), Failure> {
        let counted = Counted::read(&self.folder, show).map_err(|error| {
            Failure::failed(format!(
                "gateway `{}`: the copy of its counters in {} cannot be read: {error}; the first is made ten seconds after the \
                 daemon's start",
                global.name,
                self.folder.display()
            ))
        })?;
        let age = age(counted.at);
        let message = format!(
            "read from the daemon's copy of the counters, {} s old; one is made every {} s",
            age.as_secs(),
            counted.again_in
        );
        failure::note(global.output, &message);
        let late = late(age, counted.again_in, self.is_served());
        if let Some(why) = &late {
            failure::warn(
                global.output,
                &format!("these are not the counters of now: {why}"),
            );
        }
        Ok((counted, late.is_none()))
    }
}

/// Why a copy says nothing of what is so now, where it does not.
fn late(age: Duration, again_in: u64, is_served: bool) -> Option<String> {
    let age = age.as_secs();
    if !is_served {
        return Some(format!(
            "no daemon runs, and the copy that this user may read is {age} s old"
        ));
    }
    (age > LATE.saturating_mul(again_in.max(10))).then(|| {
        format!(
            "the daemon's copy is {age} s old, and one is made every {again_in} s; the daemon's log says why there is none"
        )
    })
}

/// What a member is told where there are no copies.
fn none_yet(name: &Name, folder: &Path) -> Failure {
    let is_served = readers::is_served(folder);
    let folder = folder.display();
    Failure::failed(match is_served {
        Some(false) => format!(
            "gateway `{name}`: there are no copies in {folder}, and no daemon runs that would make them; have it started \
             (`eip-dp --name {name} run`)"
        ),
        _ => format!(
            "gateway `{name}`: there are no copies yet in {folder}; the daemon makes them some seconds after its start: try \
             again, and if there are none by then, the daemon's log says why"
        ),
    })
}

/// Whether this user may not look at the gateway: at its pins, or at what its daemon leaves.
pub fn is_hidden(global: &Global) -> bool {
    let lock = Path::new(RUN_FOLDER).join(format!("{}.lock", global.name));
    let looks = [
        fs::read_dir(Pins::new(&global.name).root()).err(),
        private::open(&lock).err(),
    ];
    let mut errors = looks.into_iter().flatten();
    errors.any(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Whether there are no copies that this user may read.
fn is_not_there(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | PermissionDenied)
}

/// Says that it was read from the copy of that table.
pub fn tell(format: Format, of: &str, copy: &Table) -> Result<(), Failure> {
    let revision = copy.revision()?;
    let made = fs::metadata(copy.path()).and_then(|file| file.modified());
    let age = made.ok().and_then(|made| made.elapsed().ok());
    let age = age.map_or_else(String::new, |age| format!(", made {} s ago", age.as_secs()));
    failure::note(
        format,
        &format!("read from the copy of {of}, of revision {revision}{age}"),
    );
    Ok(())
}

/// Whether this user, who is not root, may not read that file.
pub fn may_not_read(path: &Path) -> bool {
    !geteuid().is_root() && access(path, AccessFlags::R_OK) == Err(nix::errno::Errno::EACCES)
}

/// What who may not look is told.
pub fn refused(what: &str) -> Failure {
    Failure::failed(format!(
        "{what}: this user may not read it; run as root, or as a member of the group that `[files] group` of the daemon's \
         configuration names, which reads copies from the daemon's first start with it until `unload`"
    ))
}

fn age(at: u64) -> Duration {
    Duration::from_nanos(boot_time().saturating_sub(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_says_nothing_of_now_without_its_daemon_and_when_it_is_late() {
        let late = |seconds, again_in, is_served| {
            late(Duration::from_secs(seconds), again_in, is_served).unwrap_or_default()
        };
        assert_eq!(late(30, 10, true), "");
        assert!(late(31, 10, true).contains("31 s old"));
        assert_eq!(late(31, 60, true), "");
        assert_eq!(late(3, 0, true), "");
        assert!(late(3, 10, false).contains("no daemon runs"));
    }
}
