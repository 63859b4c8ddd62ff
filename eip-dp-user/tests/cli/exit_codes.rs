//! Each class of errors: its exit code, its form on stderr, nothing on stdout, and an unchanged table.

use serde_json::Value;

use crate::bench::{Bench, Run};

/// Runs what must not succeed, and asserts that it says so on stderr alone and changes nothing.
fn unsuccessful(bench: &Bench, line: &str, exit: i32) -> Run {
    let before = bench.line("export");
    let run = bench.run(line.split_whitespace());
    assert_eq!(
        (run.exit, run.stdout.as_str()),
        (exit, ""),
        "{line}: {run:?}"
    );
    assert_eq!(bench.line("export"), before, "{line}");
    run
}

#[test]
fn a_value_that_does_not_parse_is_a_usage_error_that_names_value_and_form() {
    let bench = Bench::rich();
    for (line, value, form) in [
        (
            "pool create 203.0.113.0",
            "203.0.113.0",
            "a prefix such as 203.0.113.0/24",
        ),
        (
            "pool create 203.0.113.7/24",
            "203.0.113.7/24",
            "203.0.113.0/24",
        ),
        (
            "pool create 192.0.2.0/24 --gateway no",
            "no",
            "an address or `none`",
        ),
        (
            "pool create 192.0.2.0/24 --reserve 192.0.2.9-192.0.2.1",
            "192.0.2.9-192.0.2.1",
            "a range of addresses such as",
        ),
        ("vpc create x --cidr ten", "ten", "a prefix such as"),
        (
            "vpc create x --cidr 10.0.0.0/8 --vni 16777216",
            "16777216",
            "1..16777216",
        ),
        (
            "eni create x --vpc blue --kind primary --mac 02:00 --private-ip 10.0.0.9",
            "02:00",
            "02:00:00:00:00:01",
        ),
        (
            "eni create x --vpc blue --kind primary --mac 03:00:00:00:00:01 --private-ip 10.0.0.9",
            "03:00:00:00:00:01",
            "unicast",
        ),
        (
            "eni create x --vpc blue --kind main --mac 02:00:00:00:00:01 --private-ip 10.0.0.9",
            "main",
            "primary, secondary",
        ),
        (
            "eni create x --vpc blue --kind primary --mac 02:00:00:00:00:01 --private-ip 10.0.0",
            "10.0.0",
            "an address such as",
        ),
        (
            "eni attach a-second --instance a --port a/b",
            "a/b",
            "an interface name is",
        ),
        (
            "eni attach a-second --instance a --port eth1 --vlan 4095",
            "4095",
            "1..=4094",
        ),
        ("eip create x --expires tomorrow", "tomorrow", "RFC 3339"),
        ("eip set web --expires soon", "soon", "RFC 3339"),
        (
            "associate web a-second --mode pat",
            "pat",
            "nat, cut-through",
        ),
        ("--name a/b eip list", "a/b", "letters, digits, `-` or `_`"),
        ("--output yaml eip list", "yaml", "text, json"),
    ] {
        let run = unsuccessful(&bench, line, 2);
        assert!(run.stderr.starts_with("error: "), "{line}: {run:?}");
        assert!(
            run.stderr.contains(value),
            "{line} names the value: {run:?}"
        );
        assert!(run.stderr.contains(form), "{line} names the form: {run:?}");
    }
}

#[test]
fn what_the_contract_does_not_know_is_a_usage_error() {
    let bench = Bench::rich();
    for line in [
        "",
        "pool",
        "frobnicate",
        "eip create",
        "eip list --wait",
        "eip create x --adress 203.0.113.9",
        "eni create x --vpc blue --kind primary --mac 02:00:00:00:00:01",
        "vpc create x",
        "apply",
        "apply -f x --dry-run --wait",
        "completions tcsh",
    ] {
        unsuccessful(&bench, line, 2);
    }
}

#[test]
fn a_rule_that_refuses_prints_its_code() {
    let bench = Bench::rich();
    for (line, code) in [
        ("eip show nobody", "not-found"),
        ("eni attach nobody --instance a --port tap7", "not-found"),
        ("eip create web", "already-exists"),
        ("eip release web", "eip-in-use"),
        ("associate web b-second", "eip-in-use"),
        ("associate spare b-primary", "region-mismatch"),
        ("eni detach a-primary", "primary-eni-fixed"),
        ("instance delete a", "in-use"),
        ("vpc delete blue", "in-use"),
        ("pool delete 203.0.113.0/24", "in-use"),
        ("eip create x --address 8.8.8.8", "outside-pools"),
        ("eip create x --address 203.0.113.254", "reserved-address"),
        ("eip create x --address 203.0.113.5", "reserved-address"),
        ("eip create x --address 203.0.113.20", "duplicate-address"),
        ("pool create 203.0.113.0/25", "overlapping-cidr"),
        ("eni add-ip a-primary 172.16.0.1", "outside-vpc"),
        ("eni add-ip a-primary 10.0.0.12", "duplicate-address"),
    ] {
        let run = unsuccessful(&bench, line, 3);
        assert!(
            run.stderr.starts_with(&format!("error[{code}]: ")),
            "{line}: {run:?}"
        );
        assert_eq!(
            run.stderr.lines().count(),
            1,
            "{line}: one sentence: {run:?}"
        );
    }
}

#[test]
fn what_is_not_built_is_refused_as_such() {
    let bench = Bench::rich();
    for line in [
        "--table etcd://127.0.0.1:2379 eip list",
        "pool create 2001:db8::/64",
        "vpc create six --cidr fd00::/64",
        "eni create six --vpc blue --kind primary --mac 02:00:00:00:00:01 --private-ip fd00::9",
        "eni attach a-second --instance a --port eth1 --vlan 7",
    ] {
        let run = unsuccessful(&bench, line, 1);
        assert!(run.stderr.contains("not built yet"), "{line}: {run:?}");
    }
}

#[test]
fn a_table_that_cannot_be_opened_is_a_failure_that_names_it() {
    let bench = Bench::new();
    bench.file("garbage.db", &"no database ".repeat(1000));
    bench.line("--table sqlite:newer.db pool list");
    rusqlite::Connection::open(bench.path("newer.db"))
        .and_then(|table| table.pragma_update(None, "user_version", 999))
        .expect("a database");
    for (url, named) in [
        ("sqlite:garbage.db", "garbage.db"),
        ("sqlite:garbage.db/table.db", "garbage.db"),
        ("sqlite:newer.db", "version 999"),
        ("table.db", "`table.db` is not of the form sqlite:PATH"),
        (
            "http://table",
            "`http://table` is not of the form sqlite:PATH",
        ),
    ] {
        for line in ["eip list", "pool create 203.0.113.0/24", "export"] {
            let run = bench.run(["--table", url].into_iter().chain(line.split(' ')));
            assert_eq!((run.exit, run.stdout.as_str()), (1, ""), "{url}: {run:?}");
            assert!(run.stderr.starts_with("error: "), "{url}: {run:?}");
            assert!(run.stderr.contains(named), "{url}: {run:?}");
        }
    }
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    let bench = Bench::rich();
    for (line, exit, code) in [
        ("--output json eip create x --address nine", 2, "usage"),
        ("--output=json frobnicate", 2, "usage"),
        ("eip create web --output json", 3, "already-exists"),
        ("--output json --table etcd://x eip list", 1, "failed"),
    ] {
        let run = unsuccessful(&bench, line, exit);
        let error: Value = serde_json::from_str(&run.stderr).expect("JSON on stderr");
        assert_eq!(error["error"]["code"], code, "{line}");
        assert!(
            !error["error"]["message"].as_str().unwrap_or("").is_empty(),
            "{line}"
        );
    }
}

#[test]
fn the_table_option_wins_over_the_environment() {
    let bench = Bench::rich();
    let other = format!("sqlite:{}", bench.path("other.db").display());
    assert_eq!(bench.ok(["--table", &other, "export"]), "");
    assert_ne!(bench.ok(["export"]), "");
}

#[test]
fn help_and_version_are_no_errors() {
    let bench = Bench::new();
    assert!(bench.line("--version").starts_with("eip-dp 0."));
    for line in [
        "--help",
        "help",
        "eni --help",
        "eni attach --help",
        "apply --help",
    ] {
        assert!(bench.line(line).contains("Usage: eip-dp"), "{line}");
    }
}
