//! What `--help` says below the options: examples, and the exit codes.

use clap::Command;

/// What every exit code means.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, or what was looked at is not good
  2  usage: the arguments make no sense
  3  refused by a rule; nothing has changed
  4  done, and what the table wants is not forwarded all the same (`--wait`)";

/// The words of each verb, and lines that show it.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "pool create",
        &[
            "pool create 203.0.113.0/24 --gateway none",
            "pool create 198.51.100.0/24 --reserve 198.51.100.2-198.51.100.9",
        ],
    ),
    (
        "pool set",
        &["pool set 203.0.113.0/24 --reserve 203.0.113.1-203.0.113.9"],
    ),
    ("pool list", &["pool list", "pool ls -o json"]),
    ("pool delete", &["pool delete 203.0.113.0/24 --if-exists"]),
    (
        "vpc create",
        &[
            "vpc create blue --cidr 10.0.0.0/16",
            "vpc create blue --cidr 10.0.0.0/16 --cidr fd00:1::/64 --may-exist",
        ],
    ),
    (
        "vpc set",
        &["vpc set blue --add-cidr 10.2.0.0/16 --remove-cidr 10.1.0.0/16"],
    ),
    ("vpc list", &["vpc list"]),
    ("vpc show", &["vpc show blue", "vpc show 10.0.0.0/16"]),
    ("vpc delete", &["vpc delete blue"]),
    (
        "instance create",
        &["instance create web", "instance create web --max-enis 2"],
    ),
    ("instance set", &["instance set web --max-enis 4"]),
    ("instance list", &["instance list"]),
    (
        "instance show",
        &["instance show web", "instance show tap0"],
    ),
    ("instance delete", &["instance delete web"]),
    (
        "eni create",
        &[
            "eni create web-0 --vpc blue --kind primary --mac 02:00:00:00:00:0a --private-ip 10.0.0.10",
        ],
    ),
    ("eni set", &["eni set web-0 --mac 02:00:00:00:00:0b --wait"]),
    (
        "eni attach",
        &[
            "eni attach web-0 --instance web --port tap0 --wait",
            "eni attach web-0 --instance web --port eth2 --vlan 100",
        ],
    ),
    ("eni detach", &["eni detach web-1", "eni detach tap0"]),
    ("eni add-ip", &["eni add-ip web-1 10.0.0.12"]),
    ("eni remove-ip", &["eni remove-ip web-1 10.0.0.12"]),
    ("eni list", &["eni list", "eni ls -o json"]),
    (
        "eni show",
        &[
            "eni show web-0",
            "eni show 10.0.0.10",
            "eni show 02:00:00:00:00:0a",
            "eni show tap0",
        ],
    ),
    ("eni delete", &["eni delete web-1"]),
    (
        "eip create",
        &[
            "eip create web-public",
            "eip create web-public --address 203.0.113.10 --expires 2030-12-31T23:59:59Z",
        ],
    ),
    (
        "eip set",
        &[
            "eip set web-public --expires 2031-12-31T23:59:59Z",
            "eip set 203.0.113.10 --expires never",
        ],
    ),
    ("eip list", &["eip list"]),
    (
        "eip show",
        &["eip show web-public", "eip show 203.0.113.10"],
    ),
    (
        "eip release",
        &["eip release web-public", "eip rm 203.0.113.10 --if-exists"],
    ),
    (
        "associate",
        &[
            "associate web-public web-0 --wait",
            "associate 203.0.113.10 web-1 --private-ip 10.0.0.12",
            "associate web-public web-1 --mode cut-through",
        ],
    ),
    (
        "disassociate",
        &["disassociate web-public", "disassociate 203.0.113.10"],
    ),
    (
        "apply",
        &[
            "apply -f table.toml --dry-run",
            "apply -f table.toml --prune --wait",
            "apply -f - --quiet",
        ],
    ),
    ("export", &["export", "export -o json"]),
    ("backup", &["backup /root/table-monday.db"]),
    ("restore", &["restore /root/table-monday.db --wait"]),
    ("run", &["run", "run --uplink eth1"]),
    ("status", &["status", "status --strict -o json"]),
    ("stats", &["stats", "stats 203.0.113.10"]),
    ("drops", &["drops", "drops --all"]),
    ("verify", &["verify", "verify --repair"]),
    ("unload", &["unload", "unload --name gw2"]),
    ("check", &["check --uplink eth1", "check --strict"]),
    ("completions", &["completions bash"]),
];

/// The definition of the command line with all that.
pub(super) fn with_examples(command: Command) -> Command {
    with_examples_of(command.after_help(EXIT_CODES), "")
}

fn with_examples_of(command: Command, path: &str) -> Command {
    let names: Vec<String> = command
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    names.into_iter().fold(command, |command, name| {
        let path = format!("{path} {name}");
        let path = path.trim_start();
        command.mut_subcommand(&name, |verb| {
            let found = EXAMPLES.iter().find(|(verb, _)| *verb == path);
            let help = found.map_or_else(
                || EXIT_CODES.to_owned(),
                |(_, lines)| {
                    let lines: Vec<String> = lines
                        .iter()
                        .map(|line| format!("  eip-dp {line}"))
                        .collect();
                    format!("Examples:\n{}\n\n{EXIT_CODES}", lines.join("\n"))
                },
            );
            with_examples_of(verb.after_help(help), path)
        })
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_example_is_understood() {
        for (verb, lines) in EXAMPLES {
            for line in *lines {
                let words = std::iter::once("eip-dp").chain(line.split_whitespace());
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("{verb}: {line}: {error}");
                }
            }
        }
    }

    #[test]
    fn every_verb_has_examples_and_global_options_come_last() {
        fn leaves(command: &Command, path: &str, all: &mut Vec<(String, String)>) {
            for verb in command
                .get_subcommands()
                .filter(|verb| verb.get_name() != "help")
            {
                let path = format!("{path} {}", verb.get_name());
                if verb.has_subcommands() {
                    leaves(verb, &path, all);
                } else {
                    all.push((path, verb.clone().render_long_help().to_string()));
                }
            }
        }
        let mut command = with_examples(Cli::command());
        command.build();
        let mut all = Vec::new();
        leaves(&command, "", &mut all);
        assert!(all.len() > 30);
        for (path, help) in all {
            let at = |part: &str| {
                help.find(part)
                    .unwrap_or_else(|| panic!("{path}: no {part} in\n{help}"))
            };
            assert!(at("\nOptions:") < at("\nGlobal options:"), "{help}");
            assert!(at("\nGlobal options:") < at("\nExamples:"), "{help}");
            assert!(at("\nExamples:") < at("\nExit codes:"), "{help}");
        }
    }
}
