//! The folder of what daemons leave for commands while the machine runs: this user's alone, but
//! that a group which may read something in it may go through.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::Path,
};

use anyhow::{Context as _, bail};

use super::readers;
use crate::private;

/// Where locks and reports are.
pub const RUN_FOLDER: &str = "/run/eip-dp";

/// Makes the folder, and takes away what others may do there, which an earlier version let them.
pub fn make() -> anyhow::Result<()> {
    make_at(Path::new(RUN_FOLDER))
}

/// Lets those through who may read something in it, and nobody else.
pub fn reclaim() -> anyhow::Result<()> {
    settle_at(
        Path::new(RUN_FOLDER),
        &readers::groups(Path::new(RUN_FOLDER)),
    )
}

fn make_at(folder: &Path) -> anyhow::Result<()> {
    let made = private::folders().create(folder);
    made.with_context(|| format!("cannot create {}; run as root", folder.display()))?;
    let found = fs::symlink_metadata(folder)
        .with_context(|| format!("cannot look at {}", folder.display()))?;
    if !found.is_dir() || !private::is_own(found.uid()) {
        bail!(
            "{} is no folder of root's: somebody else made it; remove it and start again",
            folder.display()
        );
    }
    settle_at(folder, &readers::groups(folder))
}

/// A group's own bit is for one group. For several it takes the bit of all: they may go through to
/// what they may read, and neither list what there is nor open anything else.
fn settle_at(folder: &Path, groups: &BTreeSet<u32>) -> anyhow::Result<()> {
    let mut groups = groups.iter().copied();
    let (mode, group) = match (groups.next(), groups.next()) {
        (None, _) => (0o700, None),
        (Some(group), None) => (0o710, Some(group)),
        (Some(_), Some(_)) => (0o711, None),
    };
    let set = || {
        let found = fs::symlink_metadata(folder)?;
        // One that is root's is right as it is for who is not root.
        if found.mode() & 0o7777 == mode && group.is_none_or(|group| group == found.gid()) {
            return Ok(());
        }
        let held = private::open_folder(folder)?;
        if let Some(group) = group.filter(|group| *group != found.gid()) {
            // Nobody else's group is let through meanwhile.
            held.set_permissions(Permissions::from_mode(0o700))?;
            fchown(&held, None, Some(group))?;
        }
        held.set_permissions(Permissions::from_mode(mode))
    };
    let set: std::io::Result<()> = set();
    set.with_context(|| format!("cannot set who may go through {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_closed() {
        let above = tempfile::tempdir().expect("a folder");
        let folder = above.path().join("run");
        fs::create_dir(&folder).expect("made");
        let mode = || fs::metadata(&folder).expect("there").mode() & 0o777;
        for open in [0o755, 0o711] {
            fs::set_permissions(&folder, Permissions::from_mode(open)).expect("set");
            make_at(&folder).expect("closed");
            assert_eq!(mode(), 0o700);
        }
        let link = above.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).expect("linked");
        settle_at(&link, &[0].into()).expect_err("a link is no folder");
        assert_eq!(mode(), 0o700);
        fs::write(folder.join("file"), "").expect("written");
        make_at(&folder.join("file")).expect_err("a file is no folder");
    }

    #[test]
    fn groups_with_something_to_read_are_let_through() {
        let above = tempfile::tempdir().expect("a folder");
        let folder = above.path();
        let gid = fs::metadata(folder).expect("there").gid();
        let mode = || fs::metadata(folder).expect("there").mode() & 0o777;
        settle_at(folder, &[gid].into()).expect("set");
        assert_eq!(mode(), 0o710);
        settle_at(folder, &[gid, gid + 1].into()).expect("set");
        assert_eq!(mode(), 0o711);
        settle_at(folder, &BTreeSet::new()).expect("set");
        assert_eq!(mode(), 0o700);
        // A folder is one for readers by its name and its mode.
        let own = folder.join("gw.readers");
        fs::create_dir(&own).expect("made");
        fs::set_permissions(&own, Permissions::from_mode(0o700)).expect("set");
        assert!(readers::groups(folder).is_empty());
        fs::set_permissions(&own, Permissions::from_mode(0o750)).expect("set");
        assert_eq!(readers::groups(folder), [gid].into());
    }
}
