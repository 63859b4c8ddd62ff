//! Which interface it is among all that have had its name and its index: an index may be asked for
//! (`ip link add index`), so it alone tells nothing once an interface is made anew.
//!
//! An interface's folder in sysfs has a number that the kernel gives once (`kernfs_node.id`): it is
//! the same in every mount, and stays when the interface gets another name.

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Read as _},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    path::Path,
    ptr,
};

use nix::{
    fcntl::{AtFlags, OFlag, open, openat},
    sys::stat::{Mode, fstatat},
};

/// `FSCONFIG_CMD_CREATE`, `FSOPEN_CLOEXEC` and `FSMOUNT_CLOEXEC` of the kernel.
const CREATE: libc::c_ulong = 6;
const CLOSE_ON_EXEC: libc::c_ulong = 1;

/// The interfaces of a network namespace in sysfs.
#[derive(Debug)]
pub(super) struct Sysfs {
    root: OwnedFd,
    /// Whether it is certainly that of this network namespace: `/sys` may be another's.
    is_own: bool,
}

impl Sysfs {
    /// That of the network namespace of the calling thread. `None`: there is none.
    pub(super) fn open() -> Option<Self> {
        if let Ok(root) = mount() {
            return Some(Self { root, is_own: true });
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open("/sys", flags, Mode::empty()).ok()?;
        Some(Self {
            root,
            is_own: false,
        })
    }

    /// What tells the interface from others that have had its index. `None`: it is gone, or has
    /// another name by now.
    pub(super) fn incarnation(&self, name: &str, index: u32) -> Option<u64> {
        let folder = Path::new("class/net").join(name);
        if !self.is_own && self.index_of(&folder)? != index {
            return None;
        }
        let found = fstatat(&self.root, &folder, AtFlags::empty()).ok()?;
        Some(found.st_ino)
    }

    fn index_of(&self, folder: &Path) -> Option<u32> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = openat(&self.root, &folder.join("ifindex"), flags, Mode::empty());
        let mut text = String::new();
        File::from(file.ok()?).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }
}

/// A mount of sysfs that is nowhere, for this network namespace; needs `CAP_SYS_ADMIN`.
fn mount() -> io::Result<OwnedFd> {
    let kind: &CStr = c"sysfs";
    // SAFETY: `kind` is a string with a zero at its end, which the kernel only reads.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), CLOSE_ON_EXEC) };
    let context = owned(context)?;
    let nothing: *const libc::c_char = ptr::null();
    // SAFETY: this command takes neither a key nor a value.
    let made = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            CREATE,
            nothing,
            nothing,
            0,
        )
    };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    let flags = CLOSE_ON_EXEC;
    // SAFETY: it takes no pointers.
    let root = unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), flags, 0_u64) };
    owned(root)
}

fn owned(answer: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(answer) {
        Ok(fd) if fd >= 0 => {
            // SAFETY: the kernel has just opened it, and nobody else knows it.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_has_one_and_keeps_it() {
        let Some(sysfs) = Sysfs::open() else {
            panic!("no sysfs");
        };
        let first = sysfs.incarnation("lo", 1).expect("every namespace has it");
        assert_eq!(sysfs.incarnation("lo", 1), Some(first));
        assert_eq!(sysfs.incarnation("no-such-thing", 7), None);
        let again = Sysfs::open().expect("once more");
        assert_eq!(again.incarnation("lo", 1), Some(first), "in every mount");
    }
}
