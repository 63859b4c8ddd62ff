//! Who stands where: an ENI of each kind, with neighbours on its port.

use std::{
    net::Ipv4Addr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use eip_dp_common::abi::LinkKey;

use super::wire;
use crate::guests::{
    Client, Lease6, LeaseTable, Parameters,
    dhcp4::{Lease, Router},
};

/// Two ENIs on one untagged port; one in a VLAN of it, with the MAC of the first; one within two
/// tags; a port without any.
pub const PORTS: [LinkKey; 4] = [
    LinkKey::untagged(7),
    LinkKey::tagged(7, 9),
    LinkKey::stacked(8, 100, 20),
    LinkKey::untagged(9),
];

/// The ENIs: port, the last byte of the MAC.
pub const ENIS: [(LinkKey, u8); 4] = [(PORTS[0], 1), (PORTS[0], 2), (PORTS[1], 1), (PORTS[2], 3)];

/// The identifier of the DHCPv6 server; a fixed one, for the corpora.
const SERVER: [u8; 18] = *b"\x00\x04corpora's server";

/// How long a lease holds, in seconds.
pub const SECONDS: u32 = 3600;

/// An ENI as the servers know it.
pub fn client(place: usize) -> Client {
    let (port, last) = ENIS[place];
    Client::on(port, [2, 0, 0, 0, 0, last])
}

/// The MAC of a port, with this last byte.
pub const fn port_mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0xff, last]
}

/// The one with an EIP on the uplink's link, who may make its IPv6 address itself, is told all that
/// there is to tell.
fn parameters(place: usize) -> &'static Arc<Parameters> {
    static NONE: LazyLock<Arc<Parameters>> = LazyLock::new(Arc::default);
    static ALL: LazyLock<Arc<Parameters>> = LazyLock::new(|| {
        let name = |text: &str| text.parse().expect("a name");
        Arc::new(Parameters {
            domain: Some(name("example.org")),
            search: vec![name("lab.example.org"), name("example.org")],
            ntp4: vec![Ipv4Addr::new(192, 0, 2, 123)],
            ntp6: vec!["2001:db8::123".parse().expect("an address")],
            next_server: Some(Ipv4Addr::new(192, 0, 2, 67)),
            boot_file: Some("pxelinux.0".to_owned()),
        })
    });
    if place == 2 { &ALL } else { &NONE }
}

/// NAT in a VPC; cut-through in a routed pool; cut-through in a pool on the uplink's link; NAT
/// again, without an MTU or name servers that are worth a word.
fn lease4(place: usize) -> Lease {
    let on_link = |address: [u8; 4], server: [u8; 4]| Lease {
        address: address.into(),
        prefix_len: 24,
        router: Router::OnLink(server.into()),
        server: server.into(),
        mtu: 1450,
        dns: vec![Ipv4Addr::new(192, 0, 2, 53), Ipv4Addr::new(192, 0, 2, 54)],
        site: Arc::clone(parameters(place)),
        duration: Duration::from_secs(SECONDS.into()),
        port_mac: port_mac(1),
    };
    match place {
        0 => on_link([10, 0, 0, 5], [10, 0, 0, 1]),
        1 => {
            let router = Ipv4Addr::new(169, 254, 1, 1);
            Lease {
                prefix_len: 32,
                router: Router::OffLink(router),
                ..on_link([203, 0, 113, 9], router.octets())
            }
        }
        2 => on_link([198, 51, 100, 20], [198, 51, 100, 1]),
        _ => Lease {
            dns: Vec::new(),
            ..on_link([10, 0, 0, 5], [10, 0, 0, 1])
        },
    }
}

/// The IPv6 side of the same.
pub fn lease6(place: usize) -> Lease6 {
    let lease = |address: &str, on_link: Option<&str>| Lease6 {
        address: address.parse().expect("an address"),
        on_link: on_link.map(|prefix| prefix.parse().expect("a prefix")),
        autonomous: place == 2,
        mtu: 1450,
        dns: ["2001:db8::53", "2001:db8::54"]
            .map(|it| it.parse().expect("an address"))
            .into(),
        site: Arc::clone(parameters(place)),
        duration: Duration::from_secs(SECONDS.into()),
        server: SERVER,
        port_mac: port_mac(1),
    };
    match place {
        0 => lease("fd00::5", Some("fd00::/64")),
        1 => lease("2001:db8:1::9", None),
        2 => lease("2001:db8:2::20", Some("2001:db8:2::/64")),
        _ => Lease6 {
            dns: Vec::new(),
            ..lease("fd00::5", Some("fd00::/64"))
        },
    }
}

/// What the daemon publishes for them.
pub fn directory() -> &'static Arc<LeaseTable> {
    static DIRECTORY: LazyLock<Arc<LeaseTable>> = LazyLock::new(|| {
        let mut directory = LeaseTable::default();
        for place in 0..ENIS.len() {
            directory.tell(client(place), Some(lease4(place)), Some(lease6(place)));
        }
        Arc::new(directory)
    });
    &DIRECTORY
}

/// A frame as a socket hands it over, out of any bytes: the first says on which port, and whether
/// the guest may ask.
///
/// It may also say that lengths are to be right, and ICMPv6's checksum, which few changes of a
/// frame leave right.
pub struct Input {
    /// The port.
    pub port: LinkKey,
    /// Whether the guest has not asked too often.
    pub allowed: bool,
    /// The frame.
    pub frame: Vec<u8>,
}

impl Input {
    const REFUSED: u8 = 0x10;
    const LENGTHS: u8 = 0x20;
    const CHECKSUM: u8 = 0x40;

    /// `None`: there is no byte.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (flags, frame) = bytes.split_first()?;
        let mut frame = frame.to_vec();
        if flags & Self::LENGTHS != 0 {
            set_lengths(&mut frame);
        }
        if flags & Self::CHECKSUM != 0 {
            set_checksum(&mut frame);
        }
        Some(Self {
            port: PORTS[usize::from(*flags) % PORTS.len()],
            allowed: flags & Self::REFUSED == 0,
            frame,
        })
    }
}

/// Sets an IP packet's length to what is there of the frame, and that of the UDP datagram in it.
fn set_lengths(frame: &mut [u8]) {
    let is_udp = |frame: &[u8], at: usize| frame.get(at) == Some(&17);
    match frame.get(12..14) {
        Some([0x08, 0]) => {
            set_length(frame, 16, 14);
            if is_udp(frame, 23) {
                let header = usize::from(frame[14] & 15) * 4;
                set_length(frame, 14 + header + 4, 14 + header);
            }
        }
        Some([0x86, 0xdd]) => {
            set_length(frame, 18, 54);
            if is_udp(frame, 20) {
                set_length(frame, 58, 54);
            }
        }
        _ => {}
    }
}

/// Sets the field at `at` to the number of bytes from `start` on.
fn set_length(frame: &mut [u8], at: usize, start: usize) {
    let length = frame.len().checked_sub(start);
    let length = length.and_then(|length| u16::try_from(length).ok());
    if let (Some(field), Some(length)) = (frame.get_mut(at..at + 2), length) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// Makes the checksum of an ICMPv6 message right.
fn set_checksum(frame: &mut [u8]) {
    let Some(packet) = wire::Packet::read(frame) else {
        return;
    };
    let is_icmp = packet.is_ipv6 && packet.protocol == 58 && packet.payload.len() >= 4;
    let rest = packet.sum_without(2);
    if is_icmp {
        frame[56..58].copy_from_slice(&(!rest).to_be_bytes());
    }
}
