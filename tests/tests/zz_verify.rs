//! temp
use aya::{
    EbpfLoader,
    programs::{ProgramError, SchedClassifier, Xdp},
};
#[test]
fn verify() {
    let mut loader = EbpfLoader::new();
    loader.verifier_log_level(aya::VerifierLogLevel::from_bits_truncate(
        if std::env::var_os("V").is_some() {
            7
        } else {
            4
        },
    ));
    for m in [
        "EIP4",
        "EIP6",
        "PRIVATE4",
        "PRIVATE6",
        "EIP_COUNTERS",
        "TARGETS",
        "MACS",
    ] {
        loader.map_max_entries(m, 64);
    }
    let mut object = loader.load(eip_dp_user::PROGRAMS).unwrap();
    for name in ["uplink_xdp", "port_xdp", "uplink_tc", "port_tc"] {
        let start = std::time::Instant::now();
        let program = object.program_mut(name).unwrap();
        let result = if name.ends_with("_xdp") {
            let p: &mut Xdp = program.try_into().unwrap();
            p.load()
        } else {
            let p: &mut SchedClassifier = program.try_into().unwrap();
            p.load()
        };
        match result {
            Ok(()) => {
                let i = program.info().unwrap();
                println!(
                    "{name}: verified {:?} xlated {:?} jited {:?} in {:?}",
                    i.verified_instruction_count(),
                    i.size_translated(),
                    i.size_jitted(),
                    start.elapsed()
                );
            }
            Err(ProgramError::LoadError {
                io_error,
                verifier_log,
            }) => {
                println!("{name}: {io_error} {verifier_log}");
            }
            Err(e) => println!("{name} {e}"),
        }
    }
}
