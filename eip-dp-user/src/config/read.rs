//! Reading the file, whatever it is: nothing that an operator names keeps a command waiting.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read as _},
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::stat::makedev,
};

/// A longer one is no configuration.
const LONGEST: usize = 1 << 20;
/// How long a pipe may have nothing to read, in milliseconds.
const PATIENCE: u16 = 2_000;

/// The file's text. It may be a pipe (`-c <(…)`), but neither one that nobody writes to nor a
/// device that never ends.
pub(super) fn text(file: &Path) -> io::Result<String> {
    let found = fs::metadata(file)?;
    // To open a device may already do something.
    if !found.is_file() && !is_pipe_or_null(&found) {
        let what = if found.is_dir() {
            "a folder"
        } else {
            "a device or socket"
        };
        let message = format!("it is {what}, not a file");
        return Err(io::Error::new(ErrorKind::InvalidInput, message));
    }
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let mut open = OpenOptions::new();
    let mut file = open.read(true).custom_flags(flags).open(file)?;
    let bytes = read(&mut file)?;
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is no UTF-8 text"))
}

/// `/dev/null` is an empty configuration.
fn is_pipe_or_null(found: &fs::Metadata) -> bool {
    let kind = found.file_type();
    kind.is_fifo() || kind.is_char_device() && found.rdev() == makedev(1, 3)
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut part = [0; 8 << 10];
    loop {
        let mut waits = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waits, PollTimeout::from(PATIENCE))? == 0 {
            let message = "it is a pipe, and nobody writes to it";
            return Err(io::Error::new(ErrorKind::TimedOut, message));
        }
        match file.read(&mut part) {
            Ok(0) => return Ok(bytes),
            Ok(length) => bytes.extend_from_slice(part.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if bytes.len() > LONGEST {
            let message = format!("it is longer than {LONGEST} bytes");
            return Err(io::Error::new(ErrorKind::FileTooLarge, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn what_never_ends_is_refused_and_a_pipe_is_read() {
        for (path, why) in [
            ("/dev/zero", "device"),
            ("/dev/tty", "device"),
            ("/proc/self/fd", "folder"),
        ] {
            let refused = text(Path::new(path)).expect_err(path).to_string();
            assert!(refused.contains(why), "{path}: {refused}");
        }
        assert_eq!(text(Path::new("/dev/null")).expect("empty"), "");
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
        // Opened for both, so that it does not wait for the reader.
        let mut both = OpenOptions::new();
        let writer = both.read(true).write(true).open(&pipe).expect("opened");
        let refused = text(&pipe).expect_err("nobody writes").to_string();
        assert!(refused.contains("nobody writes"), "{refused}");
        drop(writer);
        let (path, content) = (pipe.clone(), "a = 1\n".repeat(10_000));
        let written = content.clone();
        let writer = thread::spawn(move || fs::write(path, written));
        assert_eq!(text(&pipe).expect("read"), content);
        writer.join().expect("ended").expect("written");
        let long = folder.path().join("long");
        fs::write(&long, vec![b'#'; LONGEST + 1]).expect("written");
        assert!(text(&long).is_err());
    }
}
