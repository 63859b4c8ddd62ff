//! Firewalls on the forward hook are found, whichever tool made them.

use std::fmt::Write as _;

use eip_dp_user::host::forward_hook_rules;

use crate::netns::{run, sh};

fn found() -> Vec<String> {
    let mut chains: Vec<String> = forward_hook_rules()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    chains.sort();
    chains
}

#[test]
fn nftables_chains_count_if_they_have_an_effect() {
    run(|| async {
        assert_eq!(found(), [""; 0]);
        sh("nft add table inet filter");
        sh("nft add chain inet filter input { type filter hook input priority 0 ; policy drop ; }");
        sh("nft add chain inet filter idle { type filter hook forward priority 0 ; }");
        sh("nft add chain inet filter plain");
        sh("nft add rule inet filter plain drop");
        assert_eq!(found(), [""; 0]);
        sh(
            "nft add chain inet filter onward { type filter hook forward priority 1 ; policy drop ; }",
        );
        sh("nft add table ip nat");
        sh("nft add chain ip nat onward { type filter hook forward priority 2 ; }");
        sh("nft add rule ip nat onward tcp dport 25 drop");
        assert_eq!(
            found(),
            [
                "nftables table inet filter, chain onward (0 rules, policy drop)",
                "nftables table ip nat, chain onward (1 rule, policy accept)",
            ]
        );
        sh("nft flush ruleset");
        assert_eq!(found(), [""; 0]);
    });
}

#[test]
fn more_chains_than_one_message_holds_are_all_found() {
    run(|| async {
        let mut ruleset = String::from("table ip many {\n");
        for n in 0..500 {
            writeln!(
                ruleset,
                "chain c{n} {{ type filter hook forward priority {n}; policy drop; }}"
            )
            .unwrap();
        }
        ruleset += "}\n";
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, ruleset.as_bytes()).unwrap();
        sh(&format!("nft -f {}", file.path().display()));
        assert_eq!(found().len(), 500);
    });
}

#[test]
fn iptables_of_both_kinds_is_found() {
    run(|| async {
        sh("iptables-nft -A FORWARD -j ACCEPT");
        sh("iptables-legacy -A FORWARD -p tcp --dport 25 -j DROP");
        sh("iptables-legacy -A FORWARD -s 192.0.2.0/24 -j ACCEPT");
        sh("iptables-legacy -A INPUT -j DROP");
        assert_eq!(
            found(),
            [
                "iptables-legacy table filter, chain FORWARD (2 rules, policy accept)",
                "nftables table ip filter, chain FORWARD (1 rule, policy accept)",
            ]
        );
        sh("iptables-legacy -F FORWARD");
        sh("iptables-nft -F FORWARD");
        assert_eq!(found(), [""; 0]);
        sh("iptables-legacy -P FORWARD DROP");
        assert_eq!(
            found(),
            ["iptables-legacy table filter, chain FORWARD (0 rules, policy drop)"]
        );
    });
}

#[test]
fn looking_makes_no_table() {
    run(|| async {
        assert_eq!(found(), [""; 0]);
        let tables = std::fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap();
        assert_eq!(tables, "");
    });
}
