//! The folder of what daemons leave for commands while the machine runs: this user's alone.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::{Context as _, bail};

use crate::private;

/// Where locks and reports are.
pub const RUN_FOLDER: &str = "/run/eip-dp";

/// Makes the folder, and takes away what others may do there, which an earlier version let them.
pub fn make() -> anyhow::Result<()> {
    make_at(Path::new(RUN_FOLDER))
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
    private::close(folder, 0o066);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_folder_is_closed() {
        let above = tempfile::tempdir().expect("a folder");
        let folder = above.path().join("run");
        fs::create_dir(&folder).expect("made");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("set");
        make_at(&folder).expect("closed");
        let mode = fs::metadata(&folder).expect("there").mode() & 0o777;
        assert_eq!(mode, 0o700);
        fs::write(folder.join("file"), "").expect("written");
        make_at(&folder.join("file")).expect_err("a file is no folder");
    }
}
