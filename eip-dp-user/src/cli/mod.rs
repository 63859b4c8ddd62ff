//! The command line: what can be said, and what each verb does with the table or the data plane.
//!
//! One file per object. A verb returns [`Failure`] or prints what it did; [`main`] turns that into
//! the exit code: 0 done, 1 failed, 2 usage, 3 refused by a rule, 4 done but not forwarded.

pub mod association;
pub mod check;
mod completions;
pub mod copies;
pub mod dataplane;
pub mod eip;
pub mod eni;
pub mod failure;
mod help;
pub mod instance;
mod lookup;
pub mod object;
pub mod output;
pub mod place;
pub mod pool;
mod readers;
pub mod serving;
pub mod session;
pub mod table_file;
pub mod values;
pub mod vpc;
pub mod wait;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use failure::Failure;
pub use output::Format;
pub use values::Name;

/// Where the table is when neither `--table` nor `EIP_DP_TABLE` says it.
pub const DEFAULT_TABLE: &str = "sqlite:/var/lib/eip-dp/table.db";

/// Elastic public addresses for the network interfaces behind this gateway.
#[derive(Debug, Parser)]
#[command(name = "eip-dp", version)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// The options that every verb takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The association table, `sqlite:PATH` [default: `sqlite:/var/lib/eip-dp/table.db`]
    #[arg(long, global = true, env = "EIP_DP_TABLE", value_name = "URL")]
    table: Option<String>,
    /// Which gateway of this host
    #[arg(long, global = true, env = "EIP_DP_NAME", default_value = Name::DEFAULT)]
    pub name: Name,
    /// How results and errors are written
    #[arg(
        short = 'o',
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output: Format,
}

impl Global {
    /// The table's location as `--table` or `EIP_DP_TABLE` gives it.
    pub fn explicit_table(&self) -> Option<&str> {
        self.table.as_deref()
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Public prefixes that this gateway serves
    #[command(subcommand)]
    Pool(pool::Verb),
    /// Private networks
    #[command(subcommand)]
    Vpc(vpc::Verb),
    /// Machines that ENIs are attached to
    #[command(subcommand)]
    Instance(instance::Verb),
    /// Elastic network interfaces
    #[command(subcommand)]
    Eni(eni::Verb),
    /// Elastic public addresses
    #[command(subcommand)]
    Eip(eip::Verb),
    /// Give an EIP to an address of an ENI
    Associate(association::Associate),
    /// Take an EIP away from its ENI
    Disassociate(association::Disassociate),
    /// Make the table what a file says, all or nothing, and print the difference
    Apply(table_file::Apply),
    /// Print the whole table as TOML
    Export,
    /// Write a copy of the table's file, while it is used
    Backup(copies::Backup),
    /// Put a copy in the table's place, in one step
    Restore(copies::Restore),
    /// Run the daemon that makes the kernel forward what the table says
    Run(RunArgs),
    /// Whether all that is wanted is served, what the data plane runs on and which revision of the
    /// table it has applied
    Status(StatusArgs),
    /// Packets and bytes per EIP and direction
    Stats(StatsArgs),
    /// Dropped packets by reason
    Drops(DropsArgs),
    /// Compare the table with the kernel's maps
    Verify(VerifyArgs),
    /// Take the data plane off this host's interfaces
    Unload,
    /// Tell line by line whether this host can run the data plane
    Check(CheckArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: completions::Shell,
    },
}

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// What to run with.
    #[command(flatten)]
    pub host: HostArgs,
}

/// Arguments of `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// What to check.
    #[command(flatten)]
    pub host: HostArgs,
    /// Fail, too, where ENIs wait for their interface
    #[arg(long)]
    pub strict: bool,
}

/// Arguments of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Fail, too, where ENIs wait for their interface
    #[arg(long)]
    pub strict: bool,
}

/// How `run` and `check` learn about this host.
#[derive(Clone, Debug, Args)]
pub struct HostArgs {
    /// The daemon's configuration [default: /etc/eip-dp/config.toml, where there is one]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// An interface towards the Internet, besides those of the configuration; may be given several
    /// times
    #[arg(long = "uplink", value_name = "IF", value_parser = values::interface)]
    pub uplinks: Vec<String>,
}

/// Arguments of `stats`.
#[derive(Clone, Debug, Args)]
pub struct StatsArgs {
    /// This EIP only, by its id or its address
    #[arg(value_name = "EIP", value_parser = values::name)]
    pub eip: Option<String>,
}

/// Arguments of `drops`.
#[derive(Clone, Debug, Args)]
pub struct DropsArgs {
    /// Reasons for which nothing was dropped, too
    #[arg(long)]
    pub all: bool,
}

/// Arguments of `verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Write what is missing or wrong
    #[arg(long)]
    pub repair: bool,
    /// Repair by a copy of the table that is older than what is forwarded, too: go back to it
    #[arg(long, requires = "repair")]
    pub older: bool,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let matches = help::with_examples(Cli::command()).try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return failure::usage(error),
    };
    match cli.verb.run(&cli.global) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.global.output),
    }
}

impl Verb {
    fn run(self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Pool(verb) => verb.run(global),
            Self::Vpc(verb) => verb.run(global),
            Self::Instance(verb) => verb.run(global),
            Self::Eni(verb) => verb.run(global),
            Self::Eip(verb) => verb.run(global),
            Self::Associate(args) => args.run(global),
            Self::Disassociate(args) => args.run(global),
            Self::Apply(args) => args.run(global),
            Self::Export => table_file::export(global),
            Self::Backup(args) => args.run(global),
            Self::Restore(args) => args.run(global),
            Self::Run(args) => dataplane::run(&args, global),
            Self::Status(args) => dataplane::status(&args, global),
            Self::Stats(args) => dataplane::stats(&args, global),
            Self::Drops(args) => dataplane::drops(&args, global),
            Self::Verify(args) => dataplane::verify(&args, global),
            Self::Unload => dataplane::unload(global),
            Self::Check(args) => check::check(&args, global),
            Self::Completions { shell } => completions::print(shell),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// Every line of the contract that scripts and tests rely on.
    #[test]
    fn the_contract_is_understood() {
        for line in [
            "--table sqlite:t.db --name gw2 --output json pool list",
            "pool create 203.0.113.0/24",
            "pool create 203.0.113.0/24 --gateway none --reserve 203.0.113.1-203.0.113.9",
            "pool delete 203.0.113.0/24",
            "vpc create v --cidr 10.0.0.0/24 --cidr 10.1.0.0/24 --gateway 10.0.0.1 --vni 5",
            "vpc list",
            "vpc show v",
            "vpc delete v",
            "instance create i --max-enis 3",
            "instance list",
            "instance show i",
            "instance delete i",
            "eni create e --vpc v --kind primary --mac 02:00:00:00:00:01 --private-ip 10.0.0.4 \
             --private-ip 10.0.0.5 --region r --antispoof eni",
            "eni attach e --instance i --port tap0 --vlan 7",
            "eni attach e --instance i --port tap0 --vlan 100.7",
            "eni detach e",
            "eni add-ip e 10.0.0.6",
            "eni remove-ip e 10.0.0.6",
            "eni add-ip e 10.0.0.6 --shared --may-exist",
            "eni remove-ip e 10.0.0.6 --if-exists --wait",
            "eni list",
            "eni show e",
            "eni delete e",
            "eip create a",
            "eip create a --address 203.0.113.9 --region r --expires 2030-01-01T00:00:00Z",
            "eip set a --expires 2030-01-01T00:00:00Z",
            "eip set a --expires never",
            "eip list",
            "eip show a",
            "eip release a",
            "associate a e",
            "associate a e --mode cut-through --private-ip 10.0.0.4",
            "disassociate a",
            "apply -f FILE --prune --dry-run",
            "export",
            "backup FILE",
            "restore FILE",
            "run",
            "run -c FILE --uplink eth0 --uplink eth1",
            "status",
            "status --strict -o json",
            "stats",
            "stats a",
            "drops",
            "verify",
            "verify --repair",
            "unload",
            "check",
            "check -c FILE --uplink eth0",
            "completions fish",
        ] {
            let words = std::iter::once("eip-dp").chain(line.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn every_verb_that_changes_the_table_can_wait() {
        for line in [
            "pool create 203.0.113.0/24",
            "pool delete 203.0.113.0/24",
            "vpc create v --cidr 10.0.0.0/24",
            "vpc delete v",
            "instance create i",
            "instance delete i",
            "eni create e --vpc v --kind primary --mac 02:00:00:00:00:01 --private-ip 10.0.0.4",
            "eni attach e --instance i --port tap0",
            "eni detach e",
            "eni add-ip e 10.0.0.6",
            "eni remove-ip e 10.0.0.6",
            "eni delete e",
            "eip create a",
            "eip set a",
            "eip release a",
            "associate a e",
            "disassociate a",
            "apply -f FILE",
            "restore FILE",
        ] {
            let words = std::iter::once("eip-dp").chain(line.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words.chain(["--wait"])) {
                panic!("{line}: {error}");
            }
        }
    }
}
