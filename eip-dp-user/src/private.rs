//! Files and folders for this user alone: who may read one may lock it, who may write to one may be
//! believed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
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
/// may. What a link leads to is somebody else's. What fails is not the caller's to mend.
pub fn close(path: &Path, mode: u32) {
    if let Ok(found) = fs::symlink_metadata(path)
        && !found.is_symlink()
        && found.uid() == geteuid().as_raw()
        && found.mode() & mode != 0
    {
        let _ = fs::set_permissions(path, Permissions::from_mode(found.mode() & 0o700));
    }
}

/// Writes a file for this user alone, in one step: who reads it finds the one before or this one,
/// whole.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    write_with(path, |file| file.write_all(content))
}

/// Likewise; `content` writes it, and says who else may read it.
pub fn write_with(
    path: &Path,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let new = path.with_extension("new");
    // One that was left, or that somebody else put there, is not written to.
    remove(&new)?;
    let put = || {
        let mut file = options().create_new(true).open(&new)?;
        content(&mut file)?;
        // A file takes the place of all but a folder.
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
            remove(path)?;
        }
        fs::rename(&new, path)
    };
    put().inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

/// Reads a file. What is no file, and would have somebody wait or read something else, is invalid
/// data: links, pipes, folders.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.read_to_end(&mut content)?;
    Ok(content)
}

/// Likewise, opens it.
pub fn open(path: &Path) -> io::Result<File> {
    let is_none = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "it is no file, remove it: `rm -r`",
        )
    };
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    match opened {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(is_none()),
        // What a link, and a socket, say.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
            Err(is_none())
        }
        Err(error) => Err(error),
    }
}

/// Opens a folder of this user's own, and nothing that a link in its place leads to.
pub fn open_folder(path: &Path) -> io::Result<File> {
    let folder = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)?;
    let owner = folder.metadata()?.uid();
    if owner != geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("it belongs to user {owner}"),
        ));
    }
    Ok(folder)
}

/// Takes away whatever is there: of a link the link itself.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_a_link_leads_to_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("other"), folder.path().join("gw.json"));
        let elsewhere = folder.path().join("elsewhere");
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        fs::create_dir(&elsewhere).expect("made");
        fs::write(&file, "theirs").expect("written");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("set");
        symlink(&file, &link).expect("linked");
        close(&link, 0o077);
        assert_eq!(mode(&file), 0o644);
        let error = read(&link).expect_err("a link");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        write(&link, b"mine").expect("written");
        assert_eq!(fs::read_to_string(&file).expect("read"), "theirs");
        assert_eq!(read(&link).expect("a file"), b"mine");
        remove(&link).expect("removed");
        symlink(&elsewhere, &link).expect("linked");
        open_folder(&link).expect_err("a link");
        open_folder(&elsewhere).expect("a folder");
        remove(&link).expect("removed");
        assert!(elsewhere.exists() && !link.is_symlink());
        remove(&link).expect("nothing to remove");
    }

    #[test]
    fn what_is_no_file_is_replaced_and_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gw.json");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
        let error = read(&path).expect_err("a pipe");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        remove(&path).expect("removed");
        fs::create_dir(&path).expect("made");
        fs::write(path.join("file"), "").expect("written");
        assert_eq!(
            read(&path).expect_err("a folder").kind(),
            io::ErrorKind::InvalidData
        );
        write(&path, b"content").expect("written");
        assert_eq!(read(&path).expect("a file"), b"content");
        // What cannot be written leaves nothing.
        let full = |_: &mut File| Err(io::Error::other("full"));
        write_with(&path, full).expect_err("not written");
        assert_eq!(read(&path).expect("the one before"), b"content");
        assert!(!path.with_extension("new").exists());
    }

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
