//! The BPF object against this machine's kernel: needs root.

use aya::{Ebpf, programs::Program};
use eip_dp_common::abi::{maps, programs};

/// Every program passes the verifier and every map of the ABI is there.
#[test]
fn every_program_passes_the_verifier() {
    let mut bpf = Ebpf::load(eip_dp_user::PROGRAMS).expect("the object loads");
    for name in maps::ALL {
        assert!(bpf.map(name).is_some(), "map {name} is missing");
    }
    for name in [
        programs::UPLINK_XDP,
        programs::PORT_XDP,
        programs::UPLINK_TC,
        programs::PORT_TC,
    ] {
        let program = bpf
            .program_mut(name)
            .unwrap_or_else(|| panic!("program {name} is missing"));
        let loaded = match program {
            Program::Xdp(xdp) => xdp.load(),
            Program::SchedClassifier(tc) => tc.load(),
            other => panic!("program {name} has an unexpected type {other:?}"),
        };
        loaded.unwrap_or_else(|error| panic!("{name}: {error:#?}"));
        let info = bpf
            .program(name)
            .expect("just loaded")
            .info()
            .expect("info");
        println!(
            "{name}: verifier processed {:?} instructions",
            info.verified_instruction_count()
        );
    }
}
