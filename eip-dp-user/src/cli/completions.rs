//! `completions`: scripts by which a shell completes this command line.

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::generate;

use super::{Cli, Failure, output};

/// The shells that completions are written for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn print(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    match shell {
        Shell::Bash => generate(
            clap_complete::Shell::Bash,
            &mut command,
            "eip-dp",
            &mut script,
        ),
        Shell::Zsh => generate(
            clap_complete::Shell::Zsh,
            &mut command,
            "eip-dp",
            &mut script,
        ),
        Shell::Fish => generate(
            clap_complete::Shell::Fish,
            &mut command,
            "eip-dp",
            &mut script,
        ),
    }
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if let Shell::Bash = shell {
        // clap_complete 4.6 spells a `-` in the program's name in two ways, and so finds no verb's
        // completions.
        script = script.replace("eip__subcmd__dp", "eip__dp");
    }
    output::write(|out| out.write_all(script.as_bytes()))
}
