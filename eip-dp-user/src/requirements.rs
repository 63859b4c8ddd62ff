//! What the daemon needs of kernel and process. `run` refuses to start without it, `check` tells
//! what is missing.

use aya::util::KernelVersion;
use caps::{CapSet, Capability};

/// The oldest kernel that is supported, and tried (docs/kernels.md): major and minor number.
pub const OLDEST_KERNEL: (u8, u8) = (6, 1);

/// Whether this kernel has tcx, links for tc programs (Linux 6.6).
pub fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

/// Where the BPF file system is mounted.
pub const BPFFS: &str = "/sys/fs/bpf";

/// The capabilities, and what each is for.
pub const CAPABILITIES: [(Capability, &str); 4] = [
    (Capability::CAP_BPF, "load programs and maps"),
    (Capability::CAP_PERFMON, "let programs use packet pointers"),
    (Capability::CAP_NET_ADMIN, "attach programs to interfaces"),
    (Capability::CAP_NET_RAW, "answer DHCP and announce EIPs"),
];

/// The capabilities that this process lacks.
pub fn missing_capabilities() -> Vec<(Capability, &'static str)> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    // CAP_SYS_ADMIN includes those that were split off from it.
    let all_of_bpf = has(Capability::CAP_SYS_ADMIN);
    CAPABILITIES
        .into_iter()
        .filter(|(capability, _)| {
            let of_bpf = matches!(capability, Capability::CAP_BPF | Capability::CAP_PERFMON);
            !(has(*capability) || of_bpf && all_of_bpf)
        })
        .collect()
}
