//! The BPF object, and against this machine's kernel, which needs root.

use std::collections::BTreeSet;

use aya::{Ebpf, programs::Program};
use eip_dp_common::abi::{maps, programs};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionKind};

/// A program that calls a function, `memset` is one, costs the verifier of Linux 6.1 several times
/// as much.
#[test]
fn no_program_has_a_function_in_it() {
    let object = object::File::parse(eip_dp_user::PROGRAMS).expect("an object file");
    let mut called = BTreeSet::new();
    let mut relocations = 0;
    for section in object.sections() {
        if section.kind() != SectionKind::Text {
            continue;
        }
        for (_, relocation) in section.relocations() {
            relocations += 1;
            let RelocationTarget::Symbol(symbol) = relocation.target() else {
                continue;
            };
            let symbol = object.symbol_by_index(symbol).expect("a symbol");
            let target = symbol.section_index();
            let target = target.and_then(|index| object.section_by_index(index).ok());
            if target.is_some_and(|target| target.kind() == SectionKind::Text) {
                called.insert(symbol.name().expect("a name").to_owned());
            }
        }
    }
    assert!(relocations > 0, "no program uses a map");
    assert_eq!(called, BTreeSet::new(), "functions that programs call");
}

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
