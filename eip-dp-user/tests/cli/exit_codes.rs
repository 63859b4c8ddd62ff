//! Each class of errors: its exit code, its form on stderr, nothing on stdout, and an unchanged
//! table.

use eip_dp_user::model::Code;
use serde_json::Value;

use crate::bench::{Bench, Run};

/// Runs what must not succeed, and asserts that it says so on stderr alone and changes nothing.
fn unsuccessful(bench: &Bench, line: &str, exit: i32) -> Run {
    let before = bench.exported();
    let run = bench.run(line.split_whitespace());
    assert_eq!(
        (run.exit, run.stdout.as_str()),
        (exit, ""),
        "{line}: {run:?}"
    );
    assert_eq!(bench.exported(), before, "{line}");
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
            "the name of an interface",
        ),
        (
            "eni attach a-second --instance a --port eth1 --vlan 4095",
            "4095",
            "between 1 and 4094",
        ),
        (
            "eni attach a-second --instance a --port eth1 --vlan 100.4095",
            "100.4095",
            "between 1 and 4094",
        ),
        (
            "eni attach a-second --instance a --port eth1 --vlan a.b",
            "a.b",
            "7 or 100.7",
        ),
        ("eip create x --expires tomorrow", "tomorrow", "+30d"),
        ("eip set web --expires soon", "soon", "+30d"),
        ("eip set web --expires -1d", "-1d", "+30d"),
        ("pool create 192.0.2.0/24 --priority -1", "-1", "0..=65535"),
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

/// The rich table, and what the rules need beyond it.
fn beyond_rich() -> Bench {
    let bench = Bench::rich();
    bench.file(
        "expired.toml",
        "[[eip]]\nid = \"old\"\naddress = \"203.0.113.40\"\nexpires_at = \"2001-01-01T00:00:00Z\"\n",
    );
    assert_eq!(bench.run(["apply", "-f", "expired.toml"]).exit, 0);
    for line in [
        "eip create next",
        "instance create full --max-enis 1",
        "eni create full-primary --vpc blue --kind primary --mac 02:00:00:00:0c:01 --private-ip 10.0.0.31",
        "eni attach full-primary --instance full --port tap-f0",
        "eni create red-second --vpc red --kind secondary --mac 02:00:00:00:0a:01 --private-ip 10.0.0.11",
        "eni create two --vpc blue --kind secondary --mac 02:00:00:00:0d:01 --private-ip 10.0.0.41 --private-ip 10.0.0.42",
        "eni create taken --vpc blue --kind secondary --mac 02:00:00:00:0d:02 --private-ip 10.0.0.51 --private-ip 10.0.0.52",
        "eip create first",
        "associate first taken",
    ] {
        bench.line(line);
    }
    bench
}

#[test]
#[expect(clippy::too_many_lines, reason = "a line for each rule")]
fn every_rule_refuses_with_its_code_in_one_sentence() {
    let bench = beyond_rich();
    bench.file("empty.toml", "");
    let refusals = [
        ("eip show nobody", Code::NotFound),
        ("eni attach nobody --instance a --port tap7", Code::NotFound),
        ("eip create web", Code::AlreadyExists),
        ("eip release web", Code::EipInUse),
        ("associate web b-second", Code::EipInUse),
        ("associate old two", Code::EipExpired),
        ("associate spare b-primary", Code::RegionMismatch),
        (
            "associate next two --private-ip fd00::9",
            Code::FamilyMismatch,
        ),
        (
            "associate next b-primary --mode cut-through",
            Code::CutThroughNeedsSecondary,
        ),
        (
            "associate next a-second --mode cut-through",
            Code::EniAttached,
        ),
        ("associate next b-cut", Code::CutThroughExclusive),
        (
            "associate next taken --mode cut-through",
            Code::CutThroughExclusive,
        ),
        (
            "associate next two --mode cut-through --private-ip 10.0.0.42",
            Code::CutThroughPrimaryIpOnly,
        ),
        ("associate next a-primary", Code::PrimaryEniLimit),
        (
            "associate next two --private-ip 10.0.0.43",
            Code::NotAnEniAddress,
        ),
        ("eni remove-ip two 10.0.0.43", Code::NotAnEniAddress),
        (
            "associate next a-second --private-ip 10.0.0.12",
            Code::PrivateIpInUse,
        ),
        ("eni detach a-primary", Code::PrimaryEniFixed),
        (
            "eni attach two --instance full --port tap-f1",
            Code::InstanceEniLimit,
        ),
        (
            "eni attach red-second --instance b --port tap-a0",
            Code::PortInUse,
        ),
        ("eip create x --address 8.8.8.8", Code::OutsidePools),
        (
            "eip create x --address 203.0.113.254",
            Code::ReservedAddress,
        ),
        ("eip create x --address 203.0.113.5", Code::ReservedAddress),
        ("eni add-ip two 10.0.0.254", Code::ReservedAddress),
        ("eni add-ip two 172.16.0.1", Code::OutsideVpc),
        ("pool create 203.0.113.0/25", Code::OverlappingCidr),
        (
            "vpc create x --cidr 10.0.0.0/16 --cidr 10.0.1.0/24",
            Code::OverlappingCidr,
        ),
        (
            "eni create x --vpc blue --kind secondary --mac 02:00:00:00:0a:01 --private-ip 10.0.0.60",
            Code::DuplicateMac,
        ),
        (
            "eip create x --address 203.0.113.20",
            Code::DuplicateAddress,
        ),
        ("eni add-ip a-second 10.0.0.11", Code::DuplicateAddress),
        ("instance delete a", Code::InUse),
        ("vpc delete blue", Code::InUse),
        ("pool delete 203.0.113.0/24", Code::InUse),
        ("apply -f empty.toml --prune", Code::NeedsYes),
        (
            "eni attach b-second --instance a --port lo",
            Code::PortIsTheHosts,
        ),
        (
            "eni add-ip a-second fd00:1::90 --shared",
            Code::SharedPrimaryIp,
        ),
        (
            "vpc set blue --add-cidr 10.32.0.0/16 --add-cidr 10.33.0.0/16 --add-cidr 10.34.0.0/16 --add-cidr 10.35.0.0/16 --add-cidr 10.36.0.0/16 --add-cidr 10.37.0.0/16 --add-cidr 10.38.0.0/16",
            Code::VpcCidrLimit,
        ),
    ];
    for (line, code) in refusals {
        let run = unsuccessful(&bench, line, 3);
        let prefix = format!("error[{code}]: ");
        assert!(run.stderr.starts_with(&prefix), "{line}: {run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{line}: {run:?}");
    }
    for code in Code::ALL {
        assert!(
            refusals.iter().any(|(_, tried)| tried == code),
            "{code} is never tried"
        );
    }
}

/// In a network namespace of its own the host has the addresses that the test gives it.
#[test]
fn an_address_of_this_host_is_refused() {
    let bench = Bench::new();
    bench.line("pool create 203.0.113.0/24");
    let script =
        "ip address add 203.0.113.9/32 dev lo && exec \"$0\" eip create x --address 203.0.113.9";
    let mut unshare = bench.command_of("unshare");
    unshare.args(["--net", "sh", "-c", script, env!("CARGO_BIN_EXE_eip-dp")]);
    let run = Run::of(&mut unshare);
    assert_eq!(run.exit, 3, "{run:?}");
    assert!(
        run.stderr.starts_with("error[reserved-address]: "),
        "{run:?}"
    );
    assert!(
        run.stderr
            .contains("203.0.113.9 is an address of this host"),
        "{run:?}"
    );
}

#[test]
fn what_is_not_built_is_refused_as_such() {
    let bench = Bench::rich();
    let run = unsuccessful(&bench, "--table etcd://127.0.0.1:2379 eip list", 1);
    assert!(run.stderr.contains("not built yet"), "{run:?}");
}

#[test]
fn a_table_that_cannot_be_opened_is_a_failure_that_names_it() {
    let bench = Bench::new();
    bench.file("garbage.db", &"no database ".repeat(1000));
    std::fs::copy(bench.path("table.db"), bench.path("newer.db")).expect("a copy");
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
    std::fs::copy(Bench::new().path("table.db"), bench.path("other.db")).expect("a copy");
    let run = bench.run(["--table", &other, "export"]);
    assert_eq!((run.exit, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("other.db is empty"), "{run:?}");
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
