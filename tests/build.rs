//! Compiles the BPF programs of the bench.

fn main() {
    eip_dp_ebpf_build::compile("eip-dp-bench-ebpf", &["tests/bench-ebpf"]);
}
