//! Compiles the BPF programs.

fn main() {
    eip_dp_ebpf_build::compile("eip-dp-ebpf", &["eip-dp-ebpf", "eip-dp-common"]);
}
