//! What hosts say by themselves on a link, beside what a case is about: ARP and neighbour
//! discovery, of the gateway or of the kernel that it runs on.

use super::{
    data::{Case, Ethertype, Family},
    wire::Seen,
};

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// As much of a case as tells its own frames from those that nobody asked for.
#[derive(Default)]
pub struct Asked {
    arp: bool,
    senders: Vec<[u8; 6]>,
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
                asked.senders.extend(bytes(&sent.packet.0, 8));
            } else if family == Family::V6 {
                let packet = &sent.packet.0;
                asked.sources.extend(bytes(packet, 8));
                asked.discovery |= kind(packet).is_some();
                if kind(packet) == Some(SOLICITATION) {
                    asked.targets.extend(bytes(packet, 48));
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
            if bytes(packet, 8).is_some_and(|sender| self.senders.contains(&sender)) {
                return false;
            }
            // A gratuitous one is of the gateway about itself.
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
            |at, list: &[[u8; 16]]| bytes(packet, at).is_some_and(|one| list.contains(&one));
        // An EIP's announcement has the EIP as its source.
        let announces = kind == Some(ADVERTISEMENT) && multicast && !self.discovery;
        if is_of(8, &self.sources) && !announces {
            return false;
        }
        let answers = match kind {
            // Router and neighbour advertisements.
            Some(134) => !multicast,
            Some(ADVERTISEMENT) => !multicast || is_of(48, &self.targets),
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

fn bytes<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{conformance::data::Sent, prog::table::Frame};

    fn asked(family: Family, ethertype: Option<Ethertype>, packet: &[u8]) -> Asked {
        let case: Case = serde_json::from_value(serde_json::json!({
            "name": "x", "ids": [], "group": "x", "send": [], "expect": []
        }))
        .expect("a case");
        let sent = Sent {
            from: "a".to_owned(),
            packet: Frame(packet.to_vec()),
            padding: 0,
            other_mac: false,
            to_mac: None,
            ethertype,
            priority: None,
            virtio: None,
        };
        Asked::by(
            family,
            &Case {
                send: vec![sent],
                ..case
            },
        )
    }

    fn seen(ethertype: [u8; 2], packet: &[u8]) -> Seen {
        Seen {
            at: "b".to_owned(),
            ethertype,
            packet: packet.to_vec(),
            addressed: true,
        }
    }

    #[test]
    fn a_forgery_is_not_taken_for_the_gateways_own_arp() {
        let arp = |operation: u8, sender: u8, source: u8, target: u8| {
            let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
            packet.extend([[2, 0, 0, 0, 0, sender], [0; 6]].concat());
            packet.splice(14..14, [10, 0, 0, source]);
            packet.extend([10, 0, 0, target]);
            packet
        };
        let is_arp = Some(Ethertype::Arp);
        let asked = asked(Family::V4, is_arp, &arp(1, 7, 1, 1));
        let is_spontaneous =
            |packet: &[u8]| asked.is_spontaneous(&seen(Ethertype::Arp.bytes(), packet));
        assert!(!is_spontaneous(&arp(1, 7, 1, 1)));
        assert!(is_spontaneous(&arp(1, 8, 1, 1)));
        assert!(is_spontaneous(&arp(1, 8, 1, 7)));
        assert!(!is_spontaneous(&arp(2, 8, 1, 7)));
    }

    #[test]
    fn what_is_forwarded_is_told_from_what_the_gateway_says() {
        let message = |kind: u8, source: u8, multicast: bool, target: u8| {
            let mut packet = vec![0x60, 0, 0, 0, 0, 24, ICMPV6, 255];
            packet.extend([[0xfd; 15].as_slice(), &[source]].concat());
            packet.extend(if multicast { [0xff, 2] } else { [0xfd; 2] });
            packet.extend([0; 14]);
            packet.extend([kind, 0, 0, 0, 0, 0, 0, 0]);
            packet.extend([[0xfd; 15].as_slice(), &[target]].concat());
            packet
        };
        let ethertype = Family::V6.ethertype();
        let forged = asked(Family::V6, None, &message(ADVERTISEMENT, 7, true, 1));
        let told = |asked: &Asked, packet: &[u8]| asked.is_spontaneous(&seen(ethertype, packet));
        assert!(!told(&forged, &message(ADVERTISEMENT, 7, true, 1)));
        assert!(told(&forged, &message(ADVERTISEMENT, 1, true, 1)));
        assert!(!told(&forged, &message(ADVERTISEMENT, 1, false, 1)));
        assert!(told(&forged, &message(SOLICITATION, 1, false, 7)));
        // A packet from an EIP, beside which the EIP is announced.
        let mut udp = message(0, 7, false, 0);
        udp[6] = 17;
        let plain = asked(Family::V6, None, &udp);
        assert!(told(&plain, &message(ADVERTISEMENT, 7, true, 7)));
        assert!(!told(&plain, &udp));
    }
}
