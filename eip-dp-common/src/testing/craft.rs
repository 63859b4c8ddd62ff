//! Frames, built from their fields.

use super::{
    site::{Eni, Plan, ROUTER_MAC, UPLINK_MAC},
    wire::{self, Ip, complement},
};
use crate::packet::Mac;

/// To and from which MAC a frame goes.
pub type Link = (Mac, Mac);

/// From the uplink's next hop.
pub const INWARD: Link = (UPLINK_MAC, ROUTER_MAC);

/// From an ENI.
pub const fn outward(eni: &Eni) -> Link {
    (eni.port_mac, eni.mac)
}

/// An IP packet to be.
#[derive(Clone, Debug)]
pub struct Draft<F: Plan> {
    /// From whom.
    pub source: F::Address,
    /// To whom.
    pub destination: F::Address,
    /// The protocol of the payload.
    pub protocol: u8,
    /// The payload, transport header included.
    pub payload: Vec<u8>,
    /// TTL or hop limit.
    pub hop: u8,
    /// DSCP and ECN.
    pub class: u8,
    /// IPv4: flags and offset. IPv6: those of a fragment header, which is there where this is not
    /// 0.
    pub fragment: u16,
    /// IPv4: options, of which four bytes each are there. IPv6: extension headers, the first's type
    /// in front.
    pub options: Vec<u8>,
}

impl<F: Plan> Draft<F> {
    /// Without anything special.
    pub fn new(
        source: F::Address,
        destination: F::Address,
        protocol: u8,
        payload: Vec<u8>,
    ) -> Self {
        Self {
            source,
            destination,
            protocol,
            payload,
            hop: 64,
            class: 0,
            fragment: 0,
            options: Vec::new(),
        }
    }

    /// The packet, its IPv4 header checksum right.
    pub fn packet(&self) -> Vec<u8> {
        if size_of::<F::Address>() == 4 {
            self.packet4()
        } else {
            self.packet6()
        }
    }

    fn packet4(&self) -> Vec<u8> {
        let length = 20 + self.options.len() / 4 * 4;
        #[allow(clippy::cast_possible_truncation, reason = "at most 15 words")]
        let mut packet = vec![0x40 | (length / 4) as u8, self.class];
        packet.extend(short(length + self.payload.len()));
        packet.extend([0x12, 0x34]);
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([self.hop, self.protocol, 0, 0]);
        packet.extend(F::bytes(&self.source));
        packet.extend(F::bytes(&self.destination));
        packet.extend(&self.options[..length - 20]);
        let check = complement(wire::sum(&packet));
        packet[10..12].copy_from_slice(&check);
        packet.extend(&self.payload);
        packet
    }

    fn packet6(&self) -> Vec<u8> {
        let mut headers = self.options.get(1..).unwrap_or_default().to_vec();
        let mut first = *self.options.first().unwrap_or(&self.protocol);
        if self.fragment != 0 {
            // In front of the others, as IPv4's field is in front of the options.
            let [high, low] = self.fragment.to_be_bytes();
            headers.splice(0..0, [first, 0, high, low, 0, 0, 0, 7]);
            first = 44;
        }
        let mut packet = vec![0x60 | self.class >> 4, self.class << 4 | 5, 0x43, 0x21];
        packet.extend(short(headers.len() + self.payload.len()));
        packet.extend([first, self.hop]);
        packet.extend(F::bytes(&self.source));
        packet.extend(F::bytes(&self.destination));
        packet.extend(headers);
        packet.extend(&self.payload);
        packet
    }

    /// Sets the payload's checksum, where it has one, right for this packet.
    pub fn sum(&mut self) {
        let mut plain = self.clone();
        plain.options.clear();
        plain.fragment = 0;
        let packet = plain.packet();
        let Some(ip) = Ip::read(&packet, 0, packet.len()) else {
            return;
        };
        if let Some(checksum) = ip.checksum() {
            let at = checksum.at - ip.transport.unwrap_or_default();
            self.payload[at..at + 2].fill(0);
            let packet = Self {
                payload: self.payload.clone(),
                ..plain
            }
            .packet();
            let field = complement(ip.sum(&packet, checksum));
            self.payload[at..at + 2].copy_from_slice(&field);
        }
    }

    /// The frame.
    pub fn frame(&self, link: Link) -> Vec<u8> {
        let ethertype = if size_of::<F::Address>() == 4 {
            wire::TYPE4
        } else {
            wire::TYPE6
        };
        [&link.0[..], &link.1, &ethertype, &self.packet()].concat()
    }
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length)
        .expect("a packet has a length of 16 bits")
        .to_be_bytes()
}

/// A payload of this protocol, its checksum 0: the transport header and `data`.
pub fn transport(protocol: u8, data: &[u8]) -> Vec<u8> {
    let ports = [0x30, 0x39, 0, 80];
    let header: &[u8] = match protocol {
        6 => &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0],
        17 | 136 => &[0, 0, 0, 0],
        33 => &[4, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0],
        _ => return data.to_vec(),
    };
    let mut payload = [&ports, header, data].concat();
    if protocol == 17 {
        let length = short(payload.len());
        payload[4..6].copy_from_slice(&length);
    }
    payload
}

/// An ICMP error's payload in this family, its checksum 0.
pub fn icmp_error<F: Plan>(embedded: &[u8]) -> (u8, Vec<u8>) {
    let (protocol, kind) = if size_of::<F::Address>() == 4 {
        (1, 3)
    } else {
        (58, 1)
    };
    (
        protocol,
        [&[kind, 3, 0, 0, 0, 0, 0, 0][..], embedded].concat(),
    )
}

/// An echo request's or, else, its reply's payload in this family, its checksum 0.
pub fn echo<F: Plan>(request: bool, data: &[u8]) -> (u8, Vec<u8>) {
    let (protocol, kind) = match (size_of::<F::Address>(), request) {
        (4, true) => (1, 8),
        (4, false) => (1, 0),
        (_, true) => (58, 128),
        (_, false) => (58, 129),
    };
    (protocol, [&[kind, 0, 0, 0, 0, 1, 0, 2][..], data].concat())
}

/// Who has `wanted`? From the sender of this frame, who has `own`: ARP in IPv4, a neighbour
/// solicitation in IPv6.
pub fn asks<F: Plan>(link: Link, own: F::Address, wanted: F::Address) -> Vec<u8> {
    let (own_bytes, wanted_bytes) = (F::bytes(&own), F::bytes(&wanted));
    if size_of::<F::Address>() == 4 {
        let request: [&[u8]; 5] = [
            &[0, 1, 8, 0, 6, 4, 0, 1],
            &link.1,
            own_bytes,
            &[0; 6],
            wanted_bytes,
        ];
        let request = request.concat();
        return [&[0xff; 6][..], &link.1, &[8, 6], &request].concat();
    }
    // Who has no address yet does not say where it would be (RFC 4861 4.3).
    let option: [&[u8]; 2] = if F::is_unspecified(&own) {
        [&[], &[]]
    } else {
        [&[1, 1], &link.1]
    };
    let target: [&[u8]; 4] = [
        &[135, 0, 0, 0, 0, 0, 0, 0],
        wanted_bytes,
        option[0],
        option[1],
    ];
    // The group of those whose addresses end so (RFC 4291 2.7.1).
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&wanted_bytes[13..]);
    let mut draft = Draft::<F>::new(own, F::address(&group), 58, target.concat());
    draft.hop = 255;
    draft.sum();
    let mut frame = draft.frame(link);
    frame[..6].copy_from_slice(&[0x33, 0x33, 0xff, group[13], group[14], group[15]]);
    frame
}
