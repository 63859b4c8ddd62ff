//! Transcripts: what every verb prints, as text and as JSON. `EIP_DP_BLESS=1` writes them anew.

use std::{env, fmt::Write as _, fs, path::Path};

use similar_asserts::assert_eq;

use crate::bench::{Bench, Run};

/// Runs the lines on a table, once for text and once for JSON, and compares each transcript with
/// its file.
fn transcript(name: &str, make: impl Fn() -> Bench, lines: &[&str]) {
    for (format, extension) in [("text", "txt"), ("json", "json.txt")] {
        let bench = make();
        let mut transcript = String::new();
        for line in lines {
            let run = bench.run(line.split_whitespace().chain(["--output", format]));
            record(&mut transcript, line, &run);
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(format!("{name}.{extension}"));
        if env::var_os("EIP_DP_BLESS").is_some() {
            fs::write(&path, &transcript).expect("a writable golden file");
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(golden: golden, now: transcript, "{}", path.display());
    }
}

/// A command, its stdout, its stderr behind `!`, and its exit code unless it is 0.
fn record(transcript: &mut String, line: &str, run: &Run) {
    let _ = writeln!(transcript, "$ eip-dp {line}");
    transcript.push_str(&run.stdout);
    for line in run.stderr.lines() {
        let _ = writeln!(transcript, "! {line}");
    }
    if run.exit != 0 {
        let _ = writeln!(transcript, "[exit {}]", run.exit);
    }
    transcript.push('\n');
}

#[test]
fn pool() {
    transcript(
        "pool",
        Bench::new,
        &[
            "pool list",
            "pool create 203.0.113.0/24 --gateway 203.0.113.254 --reserve 203.0.113.10-203.0.113.19 --reserve 203.0.113.30",
            "pool create 198.51.100.0/28 --gateway none",
            "pool create 192.0.2.0/24",
            "pool list",
            "pool create 192.0.2.0/25",
            "pool delete 192.0.2.0/24",
            "pool delete 192.0.2.0/24",
            "pool list",
        ],
    );
}

#[test]
fn vpc() {
    transcript(
        "vpc",
        Bench::new,
        &[
            "vpc list",
            "vpc create blue --cidr 10.0.0.0/16 --cidr 10.2.0.0/16 --gateway 10.0.0.254 --vni 77",
            "vpc create red --cidr 10.0.0.0/16",
            "vpc create red --cidr 10.1.0.0/16",
            "vpc list",
            "vpc show blue",
            "vpc show red",
            "vpc show green",
            "vpc delete red",
            "vpc list",
        ],
    );
}

#[test]
fn instance() {
    transcript(
        "instance",
        Bench::rich,
        &[
            "instance create c --max-enis 2",
            "instance create d",
            "instance create d",
            "instance list",
            "instance show a",
            "instance show d",
            "instance show nobody",
            "instance delete d",
            "instance delete a",
            "instance list",
        ],
    );
}

#[test]
fn eni() {
    transcript(
        "eni",
        Bench::rich,
        &[
            "eni list",
            "eni create e9 --vpc blue --kind secondary --mac 02:00:00:00:00:99 --private-ip 10.0.0.99 --private-ip 10.0.0.100 --region east --antispoof eni",
            "eni create e9 --vpc blue --kind secondary --mac 02:00:00:00:00:99 --private-ip 10.0.0.99",
            "eni show e9",
            "eni add-ip e9 10.0.0.101",
            "eni remove-ip e9 10.0.0.101",
            "eni remove-ip e9 10.0.0.101",
            "eni attach e9 --instance b --port tap9",
            "eni show e9",
            "eni attach e9 --instance a --port tap8",
            "eni detach e9",
            "eni detach a-primary",
            "eni delete e9",
            "eni show e9",
            "eni show a-second",
            "eni list",
        ],
    );
}

#[test]
fn eip() {
    transcript(
        "eip",
        Bench::rich,
        &[
            "eip list",
            "eip create next",
            "eip create given --address 203.0.113.77 --region east --expires 2099-12-31T23:59:59Z",
            "eip create given --address 203.0.113.78",
            "eip create outside --address 8.8.8.8",
            "eip show given",
            "eip set given --expires never",
            "eip set given",
            "eip show given",
            "eip show web",
            "eip show nothing",
            "eip release web",
            "eip release given",
            "eip list",
        ],
    );
}

#[test]
fn association() {
    transcript(
        "association",
        Bench::rich,
        &[
            "eip create next",
            "associate next a-second --private-ip 10.0.0.13",
            "associate next b-second",
            "eip show next",
            "eip release next",
            "disassociate next",
            "disassociate next",
            "associate next b-primary --mode cut-through",
            "eni show b-cut",
            "disassociate cut",
            "eni show b-cut",
            "eni detach b-cut",
            "associate cut b-cut --mode cut-through",
            "eni attach b-cut --instance b --port tap-b1",
            "eni show b-cut",
            "eip list",
        ],
    );
}

#[test]
fn table_file() {
    transcript(
        "table_file",
        || {
            let bench = Bench::rich();
            bench.file(
                "change.toml",
                r#"
                [[vpc]]
                id = "green"
                cidrs = ["10.9.0.0/16"]
                [[eip]]
                id = "web"
                address = "203.0.113.20"
                expires_at = "2099-01-01T00:00:00Z"
                "#,
            );
            bench.file(
                "expired.toml",
                r#"
                [[eip]]
                id = "old"
                address = "203.0.113.40"
                expires_at = "2001-01-01T00:00:00Z"
                [[association]]
                eip = "old"
                eni = "b-second"
                private_ip = "10.2.0.5"
                mode = "nat"
                "#,
            );
            bench
        },
        &[
            "export",
            "apply -f change.toml --dry-run",
            "apply -f change.toml",
            "apply -f change.toml",
            "apply -f change.toml --prune --dry-run",
            "apply -f missing.toml",
            "apply -f expired.toml",
            "eip show old",
            "eip set old --expires never",
            "vpc show green",
        ],
    );
}

#[test]
fn dual_stack() {
    transcript(
        "dual_stack",
        Bench::new,
        &[
            "pool create 203.0.113.0/29",
            "pool create 2001:db8:1::/64 --reserve 2001:db8:1::2-2001:db8:1::f",
            "pool create 2001:db8:2::/48 --gateway none",
            "pool create fd00:9::/64",
            "pool create 4000::/64",
            "pool create ::ffff:192.0.2.0/120",
            "pool list",
            "vpc create six --cidr 10.0.0.0/24 --cidr fd00:1::/64",
            "vpc create bad --cidr fe80::/64",
            "vpc show six",
            "instance create i",
            "eni create both --vpc six --kind secondary --mac 02:00:00:00:00:01 --private-ip 10.0.0.5 --private-ip fd00:1::5 --private-ip fd00:1::6",
            "eni create router --vpc six --kind secondary --mac 02:00:00:00:00:02 --private-ip fd00:1::1",
            "eni create anycast --vpc six --kind secondary --mac 02:00:00:00:00:02 --private-ip fd00:1::",
            "eni add-ip both ::ffff:10.0.0.6",
            "eip create four",
            "eip create six --pool 2001:db8:1::/64",
            "eip create routed --pool 2001:db8:2::/48",
            "eip create given --address 2001:DB8:1:0::77",
            "eip create none --pool 2001:db8:3::/64",
            "associate six both --private-ip 10.0.0.5",
            "associate six both --mode cut-through --private-ip fd00:1::6",
            "associate six both --mode cut-through",
            "associate four both",
            "associate four both --mode cut-through",
            "associate given both --private-ip fd00:1::6",
            "eni attach both --instance i --port lan --vlan 7",
            "eni show both",
            "eip list",
            "export",
        ],
    );
}

#[test]
fn waiting_without_a_daemon() {
    transcript(
        "wait",
        Bench::new,
        &["pool create 203.0.113.0/24 --wait", "pool list"],
    );
}
