//! What the machine gets: files, programs, modules, and the command to run.

use std::{
    env,
    fs::{self, File},
    io::{BufWriter, Seek, SeekFrom},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{Cache, Kernel, archive::Archive};

/// The line with which the machine tells how the command ended.
pub(crate) const ENDED: &str = "eip-dp-vm: the command ended with ";

/// Folders that are mounted over, or that programs expect.
const FOLDERS: &[&str] = &[
    "/proc", "/sys", "/dev", "/tmp", "/run", "/root", "/var/lib", "/etc",
];

/// Files for a machine without a disk, and the command that it runs.
#[derive(Clone, Debug)]
pub struct Payload {
    command: Vec<String>,
    files: Vec<(PathBuf, String)>,
    texts: Vec<(String, String)>,
    modules: Vec<String>,
}

impl Payload {
    /// Nothing but the command, which may be one of busybox's.
    pub fn new(command: &[&str]) -> Self {
        Self {
            command: command.iter().map(|&word| word.to_owned()).collect(),
            files: Vec::new(),
            texts: Vec::new(),
            modules: Vec::new(),
        }
    }

    /// Puts a file of this machine at `to`, with its permissions.
    pub fn file(&mut self, from: &Path, to: &str) -> &mut Self {
        self.files.push((from.to_owned(), to.to_owned()));
        self
    }

    /// Puts a file with this content at `to`. It can be executed.
    pub fn text(&mut self, to: &str, content: &str) -> &mut Self {
        self.texts.push((to.to_owned(), content.to_owned()));
        self
    }

    /// Puts a program at `to`, and the shared libraries that it needs where it looks for them.
    pub fn program(&mut self, from: &Path, to: &str) -> Result<&mut Self> {
        self.file(from, to);
        let output = Command::new("ldd")
            .arg(from)
            .output()
            .context("cannot start `ldd`")?;
        // A static program has none, and `ldd` says so by failing.
        for library in libraries(&String::from_utf8_lossy(&output.stdout)) {
            let to = library.to_string_lossy().into_owned();
            if !self.files.iter().any(|(_, other)| *other == to) {
                self.file(&library, &to);
            }
        }
        Ok(self)
    }

    /// Puts a program that is installed on this machine into `/usr/bin`.
    pub fn installed(&mut self, name: &str) -> Result<&mut Self> {
        let found =
            find(name).with_context(|| format!("no `{name}` here; run `cargo xtask setup`"))?;
        self.program(&found, &format!("/usr/bin/{name}"))
    }

    /// Kernel modules to load before the command runs, by name (`cls_bpf`). Those that they need
    /// come by themselves.
    pub fn modules(&mut self, names: &[&str]) -> &mut Self {
        self.modules
            .extend(names.iter().map(|&name| name.to_owned()));
        self
    }

    /// The archive that the kernel boots with: a file without a name, which is gone once nobody has
    /// it open.
    pub(crate) fn archive(&self, cache: &Cache, kernel: &Kernel) -> Result<File> {
        let busybox = cache.busybox()?;
        let modules = kernel.load_order(&self.modules, &busybox)?;
        let mut file = tempfile::tempfile_in(cache.folder())?;
        let mut archive = Archive::new(BufWriter::new(&mut file));
        for folder in FOLDERS {
            archive.directory(folder)?;
        }
        archive.file("/bin/busybox", 0o755, &fs::read(&busybox)?)?;
        archive.link("/bin/sh", "busybox")?;
        for module in &modules {
            let path = format!("/modules/{}.ko", module.name);
            archive.file(&path, 0o644, &module.content)?;
        }
        for (from, to) in &self.files {
            let content =
                fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
            let mode = fs::metadata(from)?.permissions().mode() & 0o777;
            archive.file(to, mode, &content)?;
        }
        for (to, text) in &self.texts {
            archive.file(to, 0o755, text.as_bytes())?;
        }
        let names: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
        archive.file("/init", 0o755, init(&names, &self.command).as_bytes())?;
        archive.finish()?;
        file.seek(SeekFrom::Start(0))?;
        ensure!(!self.command.is_empty(), "there is no command to run");
        Ok(file)
    }
}

/// Where `program` is, on `PATH` or in the folders that Debian keeps from the `PATH` of ordinary
/// users.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// The first process. The kernel's messages have the first serial line, the command's output has
/// the second.
fn init(modules: &[&str], command: &[String]) -> String {
    let command: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    let modules = modules.join(" ");
    let command = command.join(" ");
    format!(
        "#!/bin/busybox sh
export PATH=/usr/bin:/bin HOME=/root
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
exec </dev/null >/dev/ttyS1 2>&1
stty -F /dev/ttyS1 -opost
status=125
loaded=yes
for module in {modules}; do
    insmod /modules/$module.ko || loaded=no
done
if [ $loaded = yes ]; then
    {command}
    status=$?
fi
echo \"{ENDED}$status\"
poweroff -f
"
    )
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The paths in what `ldd` prints: `libc.so.6 => /lib/…/libc.so.6 (0x…)` and
/// `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn libraries(printed: &str) -> Vec<PathBuf> {
    printed
        .lines()
        .filter_map(|line| {
            let line = line.split_once("=>").map_or(line, |(_, path)| path);
            let path = line.split_whitespace().next()?;
            path.starts_with('/').then(|| path.into())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_prints() {
        let printed = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 \
                       (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(libraries(printed), paths.map(PathBuf::from));
        assert!(libraries("\tnot a dynamic executable\n").is_empty());
    }

    #[test]
    fn the_command_reaches_the_shell_word_by_word() {
        let text = init(&["veth"], &["run".into(), "it's".into(), "$HOME *".into()]);
        assert!(text.contains(r"'run' 'it'\''s' '$HOME *'"), "{text}");
        assert!(text.contains("for module in veth; do"));
    }
}
