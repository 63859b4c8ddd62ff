//! `eip-dp`, the command.

use std::process::ExitCode;

fn main() -> ExitCode {
    eip_dp_user::cli::main()
}
