//! `eip-dp check` on a host that is ready, and on one that is not.

use std::{fs, process::Command};

use crate::netns::{run, sh};

/// Runs `check`, with a bpffs in a mount namespace of its own. Returns what it printed and its exit
/// code.
fn check(arguments: &[&str], directory: &std::path::Path) -> (String, i32) {
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c"])
        .arg("mount -t bpf bpf /sys/fs/bpf && exec \"$@\"")
        .args(["sh", env!("CARGO_BIN_EXE_eip-dp"), "--name", "check-test"])
        .args(["check", "-c"])
        .arg(directory.join("config.toml"))
        .args(arguments)
        .env(
            "EIP_DP_TABLE",
            format!("sqlite:{}/table.db", directory.display()),
        )
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text, output.status.code().unwrap())
}

fn eip_dp(arguments: &str, directory: &std::path::Path) {
    sh(&format!(
        "{} --table sqlite:{}/table.db {arguments}",
        env!("CARGO_BIN_EXE_eip-dp"),
        directory.display()
    ));
}

#[test]
fn a_host_that_is_ready() {
    run(|| async {
        sh("ip link add up0 type veth peer name wire");
        sh("ip link add port0 type veth peer name guest");
        for link in ["up0", "wire", "port0", "guest"] {
            sh(&format!("ip link set {link} up"));
        }
        sh("ip addr add 192.0.2.2/24 dev up0");
        sh("ip route add default via 192.0.2.1");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(
            path.join("config.toml"),
            "[[uplink]]\ninterface = \"up0\"\n",
        )
        .unwrap();
        eip_dp("vpc create v --cidr 10.0.0.0/24", path);
        eip_dp("instance create i", path);
        eip_dp(
            "eni create e --vpc v --kind primary --mac 02:00:00:00:00:01 --private-ip 10.0.0.5",
            path,
        );
        eip_dp("eni attach e --instance i --port port0", path);
        let (text, code) = check(&[], path);
        assert_eq!(code, 0, "{text}");
        for line in [
            "ok    capabilities       all that the daemon needs",
            "ok    bpf                XDP and tc programs and their maps load",
            "ok    bpffs              mounted at /sys/fs/bpf",
            "ok    kernel types       say where a checksum is to be written",
            "ok    uplink up0         veth, up, MTU 1500",
            "ok    uplink up0         LRO off, rx VLAN offload on",
            "ok    port port0         veth, up, MTU 1500, delivered by tc",
            "ok    forward hook       no firewall rules",
            "ok    daemon check-test  does not run",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line}\n{text}");
        }
        // Who may write to the BPF file system is not this test's.
        let bad = |line: &&str| line.starts_with("fail  ") || line.starts_with("warn  ");
        let mut complaints = text.lines().filter(bad);
        assert!(
            complaints.all(|line| line.starts_with("warn  bpffs ")),
            "{text}"
        );
    });
}

#[test]
fn a_host_that_is_not() {
    run(|| async {
        sh("ip link add up0 type veth peer name wire");
        sh("nft add table ip f");
        sh("nft add chain ip f x { type filter hook forward priority 0 ; policy drop ; }");
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("config.toml"), "").unwrap();
        let arguments = ["--uplink", "up0", "--uplink", "gone0", "--output", "json"];
        let (text, code) = check(&arguments, directory.path());
        assert_eq!(code, 1, "{text}");
        let lines: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let of = |status: &str| -> Vec<(&str, &str)> {
            lines
                .iter()
                .filter(|line| line["status"] == status)
                .map(|line| {
                    assert!(line["cure"].is_string(), "{line}");
                    (
                        line["subject"].as_str().unwrap(),
                        line["seen"].as_str().unwrap(),
                    )
                })
                .collect()
        };
        assert_eq!(
            of("fail"),
            [
                (
                    "uplink up0",
                    "no next hop: no default route leads through it"
                ),
                ("uplink gone0", "no such interface"),
            ]
        );
        let mut warned = of("warn");
        warned.retain(|(subject, _)| *subject != "bpffs");
        let subjects: Vec<&str> = warned.iter().map(|(subject, _)| *subject).collect();
        assert_eq!(subjects, ["table", "uplink up0", "forward hook"]);
        assert_eq!(
            warned[2].1,
            "nftables table ip f, chain x (0 rules, policy drop): packets of EIPs do not pass it"
        );
        assert!(
            !directory.path().join("table.db").exists(),
            "looking makes no table"
        );
    });
}
