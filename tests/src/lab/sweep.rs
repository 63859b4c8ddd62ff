//! Taking labs away: one's own, and those of processes that were killed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::{Signal, kill};

use super::PREFIX;

/// The file that says: this lab stays although its process ended.
pub const KEPT: &str = "kept";

/// Where the kernel's BPF objects are pinned.
pub const BPFFS: &str = "/sys/fs/bpf";

const NAMESPACES: &str = "/run/netns";

/// Where daemons keep their locks and status.
const RUN_FOLDER: &str = eip_dp_user::daemon::RUN_FOLDER;

/// Removes the labs of processes that exist no more, except those that were kept on purpose.
pub fn dead() {
    for (name, namespaces) in found() {
        let folder = folder(&name);
        let alive = process_of(&name).is_none_or(|id| Path::new("/proc").join(id).exists());
        if !alive && !folder.join(KEPT).exists() {
            take_away(&name, &namespaces, &folder);
        }
    }
}

/// Removes the labs that were kept; returns their names.
pub fn kept() -> Vec<String> {
    let mut removed = Vec::new();
    for (name, namespaces) in found() {
        let folder = folder(&name);
        if folder.join(KEPT).exists() {
            take_away(&name, &namespaces, &folder);
            removed.push(name);
        }
    }
    if !removed.is_empty() {
        unmount_bpffs();
    }
    removed
}

/// Ends every process in the namespaces, then removes them, the pinned objects and the folder.
///
/// It goes on whatever fails: each step is worth having without the others.
pub fn take_away<N: AsRef<str>>(lab: &str, namespaces: &[N], folder: &Path) {
    for namespace in namespaces {
        kill_all_in(namespace.as_ref());
    }
    for namespace in namespaces {
        quietly("ip", &["netns", "delete", namespace.as_ref()]);
    }
    for instances in [Path::new(BPFFS).join("eip-dp"), RUN_FOLDER.into()] {
        for entry in entries(&instances) {
            if belongs_to(&entry, lab) {
                let path = instances.join(entry);
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
        }
        // Only goes when it is empty.
        let _ = fs::remove_dir(&instances);
    }
    let _ = fs::remove_dir_all(folder);
}

/// Unmounts the host's bpffs, unless somebody has pinned something there meanwhile.
pub fn unmount_bpffs() {
    // The kernel's own two files, `maps.debug` and `progs.debug`, are always there.
    let pinned = |name: &String| {
        Path::new(name)
            .extension()
            .is_none_or(|suffix| suffix != "debug")
    };
    if !entries(Path::new(BPFFS)).iter().any(pinned) {
        quietly("umount", &[BPFFS]);
    }
}

/// The labs that have left a trace, each with its namespaces.
fn found() -> BTreeMap<String, Vec<String>> {
    let mut labs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for namespace in entries(Path::new(NAMESPACES)) {
        if let Some(lab) = lab_of(&namespace) {
            labs.entry(lab).or_default().push(namespace);
        }
    }
    for folder in [std::env::temp_dir(), RUN_FOLDER.into()] {
        for entry in entries(&folder) {
            if let Some(lab) = lab_of(&entry) {
                labs.entry(lab).or_default();
            }
        }
    }
    labs
}

/// `eipdp-123-0-gateway` and `eipdp-123-0.lock` belong to the lab `eipdp-123-0`.
fn lab_of(name: &str) -> Option<String> {
    let mut parts = name.split(['-', '.']);
    let (prefix, process, number) = (parts.next()?, parts.next()?, parts.next()?);
    let numbers = process.parse::<u32>().is_ok() && number.parse::<u32>().is_ok();
    (prefix == PREFIX && numbers).then(|| format!("{prefix}-{process}-{number}"))
}

fn belongs_to(name: &str, lab: &str) -> bool {
    lab_of(name).as_deref() == Some(lab)
}

fn process_of(lab: &str) -> Option<&str> {
    lab.split('-').nth(1)
}

fn folder(lab: &str) -> PathBuf {
    std::env::temp_dir().join(lab)
}

fn entries(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn kill_all_in(namespace: &str) {
    // A process may start another one while the list is read: until the list is empty, but not for
    // ever.
    for _ in 0..20 {
        let Ok(output) = Command::new("ip")
            .args(["netns", "pids", namespace])
            .output()
        else {
            return;
        };
        let list = String::from_utf8_lossy(&output.stdout).into_owned();
        let own = nix::unistd::Pid::this();
        let ids: Vec<_> = list
            .split_whitespace()
            .filter_map(|id| id.parse().ok().map(nix::unistd::Pid::from_raw))
            .filter(|id| *id != own)
            .collect();
        if ids.is_empty() {
            return;
        }
        for id in ids {
            // It may have ended by itself.
            let _ = kill(id, Signal::SIGKILL);
        }
        // A killed child of this process stays a zombie, and outside the list, until it is waited
        // for.
        std::thread::yield_now();
    }
}

fn quietly(program: &str, arguments: &[&str]) {
    let _ = Command::new(program).args(arguments).output();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_labs_are_labs() {
        assert_eq!(lab_of("eipdp-12-0-gateway").as_deref(), Some("eipdp-12-0"));
        assert_eq!(lab_of("eipdp-12-3").as_deref(), Some("eipdp-12-3"));
        assert_eq!(lab_of("eipdp-12-3.lock").as_deref(), Some("eipdp-12-3"));
        for other in ["eipdp", "eipdp-x-0", "eipdp-1", "other-1-2", "eipdp-1-x"] {
            assert_eq!(lab_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_lab_does_not_own_what_begins_like_it() {
        assert!(belongs_to("eipdp-1-1-second", "eipdp-1-1"));
        assert!(!belongs_to("eipdp-1-10", "eipdp-1-1"));
    }
}
