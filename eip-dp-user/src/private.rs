//! Files and folders for this user alone: who may read one may lock it, who may write to one may be
//! believed.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::Path,
};

use nix::unistd::geteuid;

/// How to open a file that nobody else may open.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// How to make folders that nobody else may look into, one within the other.
pub fn folders() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
}

/// Whether that user is root or this one.
pub fn is_own(user: u32) -> bool {
    user == 0 || user == geteuid().as_raw()
}

/// Takes away what others may do with a file or folder of this user's, where `mode` says that they
/// may. What fails is not the caller's to mend.
pub fn close(path: &Path, mode: u32) {
    if let Ok(found) = fs::metadata(path)
        && found.uid() == geteuid().as_raw()
        && found.mode() & mode != 0
    {
        let _ = fs::set_permissions(path, Permissions::from_mode(found.mode() & 0o700));
    }
}

/// Writes a file for this user alone, in one step: who reads it finds the one before or this one,
/// whole.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    // One that was left, or that somebody else put there, is not written to.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = options().create_new(true).open(&new)?;
    file.write_all(content)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_for_this_user_alone_and_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gw.status.json");
        fs::write(folder.path().join("gw.status.new"), "left").expect("written");
        for content in ["one", "another"] {
            write(&file, content.as_bytes()).expect("written");
            assert_eq!(fs::read_to_string(&file).expect("read"), content);
        }
        let mode = || fs::metadata(&file).expect("there").mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("set");
        close(&file, 0o077);
        assert_eq!(mode(), 0o600);
    }
}
