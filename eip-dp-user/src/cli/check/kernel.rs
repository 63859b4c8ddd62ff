//! What the kernel offers, and what this process may do with it.

use std::{fs, path::Path};

use aya::{maps::MapType, programs::ProgramType, sys};
use caps::Capability;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::Line;
use crate::{
    kernel::{Pins, SkbLayout, Unknown},
    requirements::{BPFFS, OLDEST_KERNEL, missing_capabilities},
};

/// There in the first network namespace only.
const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";

pub(super) fn lines() -> Vec<Line> {
    let release = nix::sys::utsname::uname().map_or_else(
        |error| format!("unknown ({error})"),
        |name| name.release().to_string_lossy().into_owned(),
    );
    let mut lines = vec![
        kernel(&release),
        capabilities(&missing_capabilities()),
        bpf(),
        jit(fs::read_to_string(JIT).ok().as_deref()),
        types(SkbLayout::of_this_kernel()),
        bpffs(),
    ];
    lines.extend(lax_mount(Pins::lax_mount()));
    lines
}

fn kernel(release: &str) -> Line {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let version = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
    };
    let (major, minor) = OLDEST_KERNEL;
    if version >= (major.into(), minor.into()) {
        return Line::ok("kernel", release);
    }
    Line::fail(
        "kernel",
        format!("{release}: not supported"),
        format!("boot Linux {major}.{minor} or later"),
    )
}

fn capabilities(missing: &[(Capability, &str)]) -> Line {
    let subject = "capabilities";
    if missing.is_empty() {
        return Line::ok(subject, "all that the daemon needs");
    }
    let list: Vec<String> = missing
        .iter()
        .map(|(capability, purpose)| format!("{capability} (to {purpose})"))
        .collect();
    let names: Vec<String> = missing.iter().map(|(name, _)| name.to_string()).collect();
    Line::fail(
        subject,
        format!("missing: {}", list.join(", ")),
        format!(
            "run as root, or with `AmbientCapabilities={}` in the systemd unit",
            names.join(" ")
        ),
    )
}

/// Whether the programs and maps of the data plane are of types that the kernel has, by loading a
/// small one of each.
fn bpf() -> Line {
    let subject = "bpf";
    let cure = "use a kernel with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_ACT, and see that neither lockdown nor \
                seccomp forbids bpf(2)";
    let programs = [
        ("XDP programs", ProgramType::Xdp),
        ("tc programs", ProgramType::SchedClassifier),
    ]
    .map(|(what, kind)| {
        let result = sys::is_program_supported(kind).map_err(anyhow::Error::from);
        (what, result)
    });
    let maps = [
        ("hash maps", MapType::Hash),
        ("longest-prefix maps", MapType::LpmTrie),
        ("arrays", MapType::Array),
        ("per-CPU arrays", MapType::PerCpuArray),
        ("device maps", MapType::DevMapHash),
        ("ring buffers", MapType::RingBuf),
    ]
    .map(|(what, kind)| {
        let result = sys::is_map_supported(kind).map_err(anyhow::Error::from);
        (what, result)
    });
    let wrong: Vec<String> = programs
        .into_iter()
        .chain(maps)
        .filter_map(|(what, result)| match result {
            Ok(true) => None,
            Ok(false) => Some(format!("no {what}")),
            Err(error) => Some(format!("{what}: {error:#}")),
        })
        .collect();
    if wrong.is_empty() {
        Line::ok(subject, "XDP and tc programs and their maps load")
    } else {
        Line::fail(subject, wrong.join("; "), cure)
    }
}

fn jit(setting: Option<&str>) -> Line {
    let subject = "bpf jit";
    match setting.map(str::trim) {
        Some("0") => Line::warn(
            subject,
            "off: programs are interpreted, several times slower",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        Some(_) => Line::ok(subject, "on"),
        None => Line::ok(
            subject,
            "unknown: not to be seen from this network namespace",
        ),
    }
}

/// Without them, programs cannot tell which checksums are still to be written, and where.
fn types(layout: Result<SkbLayout, &Unknown>) -> Line {
    let subject = "kernel types";
    let (error, cure) = match layout {
        Ok(_) => return Line::ok(subject, "say where a checksum is to be written"),
        Err(error @ Unknown::Refused) => (error, "boot with lockdown=integrity, or without"),
        Err(error) => (error, "use a kernel with CONFIG_DEBUG_INFO_BTF"),
    };
    let seen = format!("{error}: frames whose checksums a device is to complete are dropped");
    Line::fail(subject, seen, cure)
}

fn bpffs() -> Line {
    match statfs(Path::new(BPFFS)) {
        Ok(found) if found.filesystem_type() == BPF_FS_MAGIC => {
            Line::ok("bpffs", format!("mounted at {BPFFS}"))
        }
        Ok(_) => Line::fail(
            "bpffs",
            format!("not mounted at {BPFFS}"),
            format!("mount -t bpf bpf {BPFFS}"),
        ),
        Err(error) => Line::fail(
            "bpffs",
            format!("{BPFFS}: {error}"),
            format!("mount -t sysfs sysfs /sys; mount -t bpf bpf {BPFFS}"),
        ),
    }
}

/// Who may make folders there may take the gateway's place.
fn lax_mount(warning: Option<(String, String)>) -> Option<Line> {
    warning.map(|(seen, cure)| Line::warn("bpffs", seen, cure))
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};
    use crate::requirements::CAPABILITIES;

    #[test]
    fn kernels_from_6_1_on_will_do() {
        for release in [
            "6.1.0-44-amd64",
            "6.1",
            "6.12.38+deb13-amd64",
            "7.0-rc1",
            "10.1.2",
        ] {
            assert_eq!(kernel(release).status, Status::Ok, "{release}");
        }
        for release in ["6.0.19", "5.15.0", "4.19", "unknown", ""] {
            let line = kernel(release);
            assert_eq!(line.status, Status::Fail, "{release}");
            assert!(line.seen.contains("not supported"));
            assert!(line.cure.unwrap().contains("6.1"));
        }
    }

    #[test]
    fn missing_capabilities_are_named_with_their_purpose() {
        assert_eq!(capabilities(&[]).status, Status::Ok);
        let line = capabilities(&CAPABILITIES[..2]);
        assert_eq!(line.status, Status::Fail);
        assert_eq!(
            line.seen,
            "missing: CAP_BPF (to load programs and maps), CAP_PERFMON (to let programs use packet pointers)"
        );
        assert!(
            line.cure
                .unwrap()
                .contains("AmbientCapabilities=CAP_BPF CAP_PERFMON")
        );
    }

    #[test]
    fn a_kernel_that_does_not_say_where_checksums_go_has_a_cure() {
        let hidden = Unknown::Hidden(std::io::ErrorKind::NotFound.into());
        for (unknown, seen, cure) in [
            (hidden, "/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"),
            (Unknown::Refused, "confidentiality", "lockdown=integrity"),
        ] {
            let line = types(Err(&unknown));
            assert_eq!(line.status, Status::Fail);
            assert!(line.seen.contains(seen), "{}", line.seen);
            assert!(line.cure.unwrap().contains(cure));
        }
        assert_eq!(types(SkbLayout::of_this_kernel()).status, Status::Ok);
    }

    #[test]
    fn the_jit_is_on_off_or_unknown() {
        assert_eq!(jit(Some("0\n")).status, Status::Warn);
        assert_eq!(jit(Some("1\n")), Line::ok("bpf jit", "on"));
        assert!(jit(None).seen.starts_with("unknown"));
    }
}
