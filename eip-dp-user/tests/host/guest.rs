//! A port and the guest behind it: the two ends of a veth pair.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
    process::Stdio,
};

use eip_dp_common::abi::LinkKey;
use eip_dp_user::{guests::Client, host::snapshot};
use nix::{
    ifaddrs::getifaddrs,
    sys::{
        socket::{
            AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, bind, setsockopt, socket,
            sockopt::ReceiveTimeout,
        },
        time::TimeVal,
    },
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::netns::{PATIENCE, sh};

/// The guest's Ethernet address.
pub const GUEST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The port's.
pub const PORT_MAC: [u8; 6] = [2, 0, 0, 0, 0xff, 1];

/// Makes the pair and raises it; the gateway's end is `port`, the guest's is `guest`, in the same
/// namespace. The port is no interface of the host's own IPv6.
pub async fn plug() -> Client {
    sh("ip link add port address 02:00:00:00:ff:01 type veth peer name guest");
    sh("ip link set guest address 02:00:00:00:00:01");
    set_ipv6("port", "disable_ipv6", 1);
    // Else its link-local address is of no use for a second or two.
    set_ipv6("guest", "accept_dad", 0);
    sh("ip link set port up");
    sh("ip link set guest up");
    let port = snapshot().await.unwrap().link_named("port").unwrap().0;
    Client::on(LinkKey::untagged(port), GUEST_MAC)
}

fn set_ipv6(interface: &str, setting: &str, value: u8) {
    let file = format!("/proc/sys/net/ipv6/conf/{interface}/{setting}");
    std::fs::write(file, value.to_string()).unwrap();
}

/// A packet socket on one interface.
pub fn packet_socket(interface: &str) -> OwnedFd {
    let address: LinkAddr = getifaddrs()
        .unwrap()
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address.and_then(|a| a.as_link_addr().copied()))
        .unwrap();
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )
    .unwrap();
    bind(socket.as_raw_fd(), &address).unwrap();
    setsockopt(&socket, ReceiveTimeout, &TimeVal::new(60, 0)).unwrap();
    socket
}

/// Runs a client where its files are new and its own. The shell stays: a client that changes its
/// user is not ended with its parent.
const HIDE: &str = "for folder in /run /var/lib/dhcpcd; do \
                    [ ! -d $folder ] || mount -t tmpfs none $folder; done; \"$0\" \"$@\" || exit";

/// A DHCP client that runs until it is dropped, and what it and its script print.
pub struct Running {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _folder: tempfile::TempDir,
}

impl Running {
    /// Starts a client whose arguments are given by the folder for its files and its script's path.
    /// The script prints `line`, in the shell's words.
    pub fn start(
        program: &str,
        line: &str,
        arguments: impl FnOnce(PathBuf, PathBuf) -> Vec<String>,
    ) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        std::fs::write(&script, format!("#!/bin/sh\necho \"{line}\"\n")).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
        // Clients leave processes of their own behind: with the first of this process namespace all
        // of them end. What they write is seen by nobody else.
        let mut child = Command::new("unshare")
            .args([
                "--pid",
                "--mount",
                "--fork",
                "--kill-child",
                "sh",
                "-ec",
                HIDE,
                program,
            ])
            .args(arguments(folder.path().to_owned(), script))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let stdout = child.stdout.take().unwrap();
        Self {
            _child: child,
            lines: BufReader::new(stdout).lines(),
            _folder: folder,
        }
    }

    /// Waits until a line begins so, blanks apart, and returns the rest of it.
    pub async fn line(&mut self, start: &str) -> String {
        let mut seen = Vec::new();
        let found = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if let Some(rest) = line.trim_start().strip_prefix(start) {
                    return Some(rest.trim().to_owned());
                }
                seen.push(line);
            }
            None
        })
        .await;
        match found {
            Ok(Some(rest)) => rest,
            Ok(None) => panic!("the client ended without {start:?}: {seen:#?}"),
            Err(elapsed) => panic!("no {start:?}: {elapsed}: {seen:#?}"),
        }
    }
}
