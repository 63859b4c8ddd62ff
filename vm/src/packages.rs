//! Debian's packages, downloaded with apt and unpacked into a folder of ours.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use nix::unistd::geteuid;

use crate::kernel::Kernel;

/// Where unpacked packages are kept between runs.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// A cache in `folder`, which is made when something is put there.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The newest of Debian's kernels of a series (`6.1`) that apt offers, else the newest that is
    /// unpacked already.
    pub fn kernel(&self, series: &str) -> Result<Kernel> {
        let pattern = format!(
            r"^linux-image-{}\.[0-9].*-cloud-amd64$",
            series.replace('.', r"\.")
        );
        let newest = |names: &str| newest(names.lines().map(first_word), series);
        let mut package = newest(&search(&pattern)?);
        if package.is_none() && geteuid().is_root() {
            // On a fresh machine apt knows of nothing yet.
            show(apt_get().arg("update"))?;
            package = newest(&search(&pattern)?);
        }
        let unpacked = || {
            let names = fs::read_dir(&self.folder).into_iter().flatten().flatten();
            let names: Vec<String> = names
                .filter_map(|entry| entry.file_name().into_string().ok())
                .collect();
            newest(&names.join("\n"))
        };
        let package = package.or_else(unpacked).with_context(|| {
            format!(
                "apt offers no Linux {series}: {}, then `apt-get update`",
                source(series)
            )
        })?;
        Kernel::find(&self.unpacked(&package)?)
    }

    /// The program of a static busybox.
    pub(crate) fn busybox(&self) -> Result<PathBuf> {
        Ok(self.unpacked("busybox-static")?.join("bin/busybox"))
    }

    /// A command that starts qemu: this machine's if it has one, else one that is unpacked here.
    ///
    /// Unpacked and not installed: on a machine with another release's qemu tools an installation
    /// would take those away.
    pub(crate) fn qemu(&self) -> Result<Command> {
        const PROGRAM: &str = "qemu-system-x86_64";
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path)
            .map(|folder| folder.join(PROGRAM))
            .find(|candidate| candidate.is_file());
        if let Some(found) = found {
            return Ok(Command::new(found));
        }
        let root = self.filled("qemu", |root| {
            self.unpack_with_dependencies("qemu-system-x86", root)
        })?;
        let mut command = Command::new(root.join("usr/bin").join(PROGRAM));
        command.env(
            "LD_LIBRARY_PATH",
            env::join_paths([
                root.join("usr/lib/x86_64-linux-gnu"),
                root.join("lib/x86_64-linux-gnu"),
            ])?,
        );
        for folder in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(root.join(folder));
        }
        Ok(command)
    }

    /// The content of one package.
    fn unpacked(&self, package: &str) -> Result<PathBuf> {
        self.filled(package, |root| {
            let folder = tempfile::tempdir_in(&self.folder)?;
            show(
                apt_get()
                    .args(["download", package])
                    .current_dir(folder.path()),
            )
            .with_context(|| format!("the package {package} cannot be downloaded; the cure is a network that reaches the archive, or `apt-get update`"))?;
            unpack(folder.path(), root)
        })
    }

    /// What apt would install for `package`, as if no package of its source were here yet.
    fn unpack_with_dependencies(&self, package: &str, root: &Path) -> Result<()> {
        let folder = tempfile::tempdir_in(&self.folder)?;
        fs::create_dir_all(folder.path().join("archives/partial"))?;
        let installed = fs::read_to_string("/var/lib/dpkg/status")
            .context("cannot read which packages are installed")?;
        let status = folder.path().join("status");
        fs::write(&status, without_source(&installed, "qemu"))?;
        let option = |key: &str, value: &Path| format!("{key}={}", value.display());
        let archives = folder.path().join("archives");
        show(
            apt_get()
                .args(["-o", &option("Dir::State::status", &status)])
                .args(["-o", &option("Dir::Cache::archives", &archives)])
                .args(["-o", "Debug::NoLocking=1", "--download-only", "--yes"])
                .args(["install", "--no-install-recommends", package]),
        )
        .with_context(|| {
            format!(
                "{package} cannot be downloaded; the cure is `apt-get update`, or to install it"
            )
        })?;
        unpack(&archives, root)
    }

    /// The folder of that name, filled if it is not there yet; never half.
    fn filled(&self, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        if folder.exists() {
            return Ok(folder);
        }
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))?;
        let making = tempfile::tempdir_in(&self.folder)?;
        fill(making.path())?;
        fs::rename(making.keep(), &folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }
}

/// Where Debian keeps a series, for the reader.
fn source(series: &str) -> &'static str {
    match series {
        "6.1" => {
            "it is Debian 12's; add `deb http://deb.debian.org/debian bookworm main` to apt's sources"
        }
        "6.12" => {
            "it is Debian 13's, and Debian 12 has it among its security updates; add `deb \
             http://deb.debian.org/debian-security bookworm-security main` to apt's sources"
        }
        _ => "add a release of Debian that has it to apt's sources",
    }
}

fn first_word(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

/// The newest kernel package of a series among `names`.
fn newest<'a>(names: impl Iterator<Item = &'a str>, series: &str) -> Option<String> {
    let prefix = format!("linux-image-{series}.");
    names
        .filter(|name| name.starts_with(&prefix) && name.ends_with("-cloud-amd64"))
        .max_by_key(|name| numbers(name))
        .map(str::to_owned)
}

/// The numbers in a name, in order: what `sort -V` goes by.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// The list of installed packages without those that were built from `source`.
fn without_source(status: &str, source: &str) -> String {
    let own = [format!("Package: {source}"), format!("Source: {source}")];
    let of_source = |package: &str| {
        package.lines().any(|line| {
            own.iter()
                .any(|own| line == own || line.starts_with(&format!("{own} (")))
        })
    };
    let kept: Vec<&str> = status
        .split("\n\n")
        .filter(|package| !of_source(package))
        .collect();
    kept.join("\n\n")
}

fn search(pattern: &str) -> Result<String> {
    let output = Command::new("apt-cache")
        .args(["search", "--names-only", pattern])
        .stdin(Stdio::null())
        .output()
        .context(
            "there is no `apt-cache` here: the kernels are packages of Debian's; run this on Debian",
        )?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // The folders are this user's; apt's own user could not write there.
    command.args(["-qq", "-o", "APT::Sandbox::User=root"]);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn unpack(archives: &Path, root: &Path) -> Result<()> {
    for entry in fs::read_dir(archives)? {
        let path = entry?.path();
        if path.extension().is_some_and(|suffix| suffix == "deb") {
            show(Command::new("dpkg").arg("-x").arg(&path).arg(root))?;
        }
    }
    Ok(())
}

fn show(command: &mut Command) -> Result<()> {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    let words = words.join(" ");
    eprintln!("  $ {words}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{words}`"))?;
    ensure!(
        output.status.success(),
        "`{words}` ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_of_the_series_is_taken() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-56-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.99+deb12-cloud-amd64",
        ];
        let newest = |series| newest(names.into_iter(), series);
        assert_eq!(
            newest("6.1").as_deref(),
            Some("linux-image-6.1.0-56-cloud-amd64")
        );
        assert_eq!(
            newest("6.12").as_deref(),
            Some("linux-image-6.12.117+deb12-cloud-amd64")
        );
        assert_eq!(newest("5.10"), None);
    }

    #[test]
    fn packages_of_one_source_are_taken_off_the_list() {
        let status = "Package: a\nSource: qemu\n\nPackage: qemu\n\nPackage: b\nSource: qemu (1.2)\n\nPackage: \
                      qemulike\nSource: qemulike\n";
        assert_eq!(
            without_source(status, "qemu"),
            "Package: qemulike\nSource: qemulike\n"
        );
    }
}
