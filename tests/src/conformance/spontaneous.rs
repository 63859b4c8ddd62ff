//! What hosts say by themselves on a link, beside what a case is about: ARP and neighbour
//! discovery, of the gateway or of the kernel that it runs on.

use super::{
    data::{Case, Ethertype, Family},
    wire::Seen,
};

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;

/// As much of a case as tells its own frames from those that nobody asked for.
#[derive(Default)]
pub struct Asked {
    arp: bool,
    discovery: bool,
    sources: Vec<[u8; 16]>,
    targets: Vec<[u8; 16]>,
}

impl Asked {
    /// What a case sends.
    pub fn by(family: Family, case: &Case) -> Self {
        let mut asked = Self::default();
        for sent in case.before.iter().chain(&case.send) {
            if sent.ethertype == Some(Ethertype::Arp) {
                asked.arp = true;
            } else if family == Family::V6 {
                let packet = &sent.packet.0;
                asked.sources.extend(address(packet, 8));
                asked.discovery |= kind(packet).is_some();
                if kind(packet) == Some(SOLICITATION) {
                    asked.targets.extend(address(packet, 48));
                }
            }
        }
        asked
    }

    /// Whether nothing that was sent is the cause. Whatever has a source that was sent is not, as
    /// it was forwarded.
    pub fn is_spontaneous(&self, seen: &Seen) -> bool {
        const REPLY: [u8; 2] = [0, 2];
        let packet = &seen.packet;
        if seen.ethertype == Ethertype::Arp.bytes() {
            // A gratuitous one is of the sender about itself.
            let gratuitous = packet.get(14..18) == packet.get(24..28);
            return !self.arp || gratuitous || packet.get(6..8) != Some(&REPLY);
        }
        if seen.ethertype != Family::V6.ethertype() {
            return false;
        }
        let multicast = packet.get(24..26) == Some(&[0xff, 0x02]);
        let kind = kind(packet).filter(|_| packet.get(7) == Some(&255));
        if !multicast && kind.is_none() {
            return false;
        }
        let is_of =
            |at, list: &[[u8; 16]]| address(packet, at).is_some_and(|one| list.contains(&one));
        if is_of(8, &self.sources) {
            return false;
        }
        let answers = match kind {
            // Router and neighbour advertisements.
            Some(134) => !multicast,
            Some(136) => !multicast || is_of(48, &self.targets),
            _ => false,
        };
        !(self.discovery && answers)
    }
}

/// The type of a message of neighbour discovery without extension headers.
fn kind(packet: &[u8]) -> Option<u8> {
    let first = packet.get(6) == Some(&ICMPV6);
    let kind = packet.get(40).filter(|_| first)?;
    (133..=137).contains(kind).then_some(*kind)
}

fn address(packet: &[u8], at: usize) -> Option<[u8; 16]> {
    packet.get(at..at + 16)?.try_into().ok()
}
