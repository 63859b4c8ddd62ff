//! What `cargo xtask vm` runs in each virtual machine: the product on this kernel, one line a check.

mod programs;
mod report;

use std::process::ExitCode;

use report::Report;

fn main() -> ExitCode {
    let mut report = Report::default();
    report.group("programs", programs::load);
    programs::packet_tables(&mut report);
    if report.conclude() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
