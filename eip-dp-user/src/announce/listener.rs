//! Hears who says of an address that it has it: ARP packets and neighbour discovery that the
//! programs leave to the kernel.

use std::{io, net::IpAddr};

use tokio::io::{Interest, unix::AsyncFd};

use super::claims::Evidence;
use crate::{
    frame::v6::{Message, UNFORWARDED, parse},
    host::packet_socket::PacketReceiver,
};

/// How many frames are read at once, at most: others have their turn.
const AT_ONCE: usize = 64;

/// Longer messages say nothing of an address.
const LONGEST: usize = 1514;

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The Ethernet source of the frame.
    pub source: [u8; 6],
    /// The interface that received it.
    pub home: u32,
    /// What it says of an address.
    pub evidence: Option<Evidence>,
}

/// The sockets.
#[derive(Debug)]
pub struct Listener {
    arp: AsyncFd<PacketReceiver>,
    nd: AsyncFd<PacketReceiver>,
}

impl Listener {
    /// Begins to listen, on all interfaces of the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let open = |socket| {
            // SAFETY: the socket is open as long as the value lives, and its descriptor is always
            // the same.
            unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
        };
        Ok(Self {
            arp: open(PacketReceiver::arp()?)?,
            nd: open(PacketReceiver::neighbour_discovery()?)?,
        })
    }

    /// What comes next; it may be nothing that matters.
    pub async fn hear(&self) -> Vec<Heard> {
        tokio::select! {
            heard = hear(&self.arp, read_arp) => heard,
            heard = hear(&self.nd, read_discovery) => heard,
        }
    }
}

/// Reads what waits, once there is something.
async fn hear(
    socket: &AsyncFd<PacketReceiver>,
    read: fn(&[u8], u32) -> Option<Evidence>,
) -> Vec<Heard> {
    let mut heard = Vec::new();
    let Ok(mut ready) = socket.readable().await else {
        return heard;
    };
    let mut buffer = [0; LONGEST];
    for _ in 0..AT_ONCE {
        match ready.try_io(|socket| socket.get_ref().receive(&mut buffer)) {
            Ok(Ok((frame, home))) => {
                if let Some(source) = frame.get(6..).and_then(|rest| rest.first_chunk()) {
                    heard.push(Heard {
                        source: *source,
                        home,
                        evidence: read(frame, home),
                    });
                }
            }
            // An interface that went down is told of once.
            Ok(Err(_)) => {}
            Err(_would_block) => break,
        }
    }
    heard
}

/// An ARP packet for IPv4 over Ethernet (RFC 826). A probe has no sender (RFC 5227).
fn read_arp(frame: &[u8], home: u32) -> Option<Evidence> {
    const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
    let packet = frame.get(14..42)?;
    if *packet.first_chunk()? != ETHERNET_IPV4 {
        return None;
    }
    let mac = *packet.get(8..)?.first_chunk()?;
    let address_at = |at: usize| Some(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?.into());
    let (sender, target): (IpAddr, IpAddr) = (address_at(14)?, address_at(24)?);
    evidence(home, mac, sender, Some(target))
}

/// A neighbour solicitation or advertisement (RFC 4861). Who solicits without an address is about
/// to take the target.
fn read_discovery(frame: &[u8], home: u32) -> Option<Evidence> {
    const SOLICITATION: u8 = 135;
    const ADVERTISEMENT: u8 = 136;
    const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
    let received = parse(frame)?;
    let Message::Icmp(message) = received.message else {
        return None;
    };
    if received.hop_limit != UNFORWARDED {
        return None;
    }
    let target = <[u8; 16]>::try_from(message.get(8..24)?).ok()?.into();
    match (message.first()?, message.get(1)?) {
        (&SOLICITATION, 0) => evidence(home, received.mac, received.source.into(), Some(target)),
        (&ADVERTISEMENT, 0) => {
            let options = message.get(24..)?;
            let said = options
                .chunks_exact(8)
                .find(|option| option[..2] == [TARGET_LINK_LAYER_ADDRESS, 1]);
            let mac = said.and_then(|option| option[2..].first_chunk());
            evidence(home, mac.copied().unwrap_or(received.mac), target, None)
        }
        _ => None,
    }
}

fn evidence(home: u32, mac: [u8; 6], sender: IpAddr, target: Option<IpAddr>) -> Option<Evidence> {
    // A group has no address.
    if mac[0] & 1 == 1 {
        return None;
    }
    let has_it = !sender.is_unspecified();
    let address = if has_it { sender } else { target? };
    Some(Evidence {
        home,
        address,
        mac,
        has_it,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::{Place, Role, frame, probe};
    use eip_dp_common::abi::LinkKey;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn place(address: &str) -> Place {
        Place {
            link: LinkKey::untagged(3),
            role: Role::Eip,
            address: address.parse().unwrap(),
        }
    }

    #[test]
    fn announcements_and_probes_are_understood() {
        for (address, read) in [
            (
                "203.0.113.9",
                read_arp as fn(&[u8], u32) -> Option<Evidence>,
            ),
            ("2001:db8::9", read_discovery),
        ] {
            let place = place(address);
            let address = place.address;
            let evidence = |has_it| Evidence {
                home: 3,
                address,
                mac: MAC,
                has_it,
            };
            let announced = frame(MAC, place);
            assert_eq!(read(&announced, 3), Some(evidence(true)), "{address}");
            let probed = probe(MAC, address);
            assert_eq!(read(&probed, 3), Some(evidence(false)), "{address}");
            for whole in [announced, probed] {
                for length in 0..42 {
                    assert_eq!(read(&whole[..length], 3), None, "{address} {length}");
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_says_nothing() {
        let mut group = frame([3, 0, 0, 0, 0, 1], place("203.0.113.9"));
        assert_eq!(read_arp(&group, 3), None);
        group[22] = 2;
        assert!(read_arp(&group, 3).is_some());
        group[18] = 8;
        assert_eq!(read_arp(&group, 3), None);

        let advertised = frame(MAC, place("2001:db8::9"));
        for (at, what) in [(21, "hop limit"), (54, "type"), (57, "checksum")] {
            let mut wrong = advertised.clone();
            wrong[at] ^= 1;
            assert_eq!(read_discovery(&wrong, 3), None, "{what}");
        }
    }
}
