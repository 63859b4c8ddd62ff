//! Frames out of bytes: what a fuzzer or a property test rolls decides, field by field, what is
//! built.

use super::{
    craft::{Draft, INWARD, Link, asks, echo, icmp_error, outward, transport},
    site::{ENIS, GATEWAY, HOST, Plan, STANDINGS, Standing, UNASSOCIATED, UPLINK},
};
use crate::family::{V4, V6};

/// Bytes that are used up; zeros follow.
pub struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    /// These bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next one.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// One in so many; true only where there are bytes.
    pub fn one_in(&mut self, many: u8) -> bool {
        self.byte() % many == many - 1
    }

    /// Two of them.
    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    fn some(&mut self, most: usize) -> Vec<u8> {
        let len = usize::from(self.short()) % (most + 1);
        (0..len).map(|_| self.byte()).collect()
    }

    /// A frame, and the interface that it comes from.
    pub fn frame(&mut self) -> (u32, Vec<u8>) {
        let (ifindex, mut frame) = if self.byte() & 1 == 0 {
            self.family::<V4>()
        } else {
            self.family::<V6>()
        };
        if self.one_in(4) {
            // Padding of the link, which is none of the packet.
            let padding = self.some(30);
            frame.extend(padding);
        }
        if self.one_in(8) {
            let keep = usize::from(self.short()) % (frame.len() + 1);
            frame.truncate(keep);
        }
        if self.one_in(8) {
            let at = usize::from(self.short()) % frame.len().max(1);
            if let Some(byte) = frame.get_mut(at) {
                *byte ^= self.byte();
            }
        }
        (ifindex, frame)
    }

    fn family<F: Plan>(&mut self) -> (u32, Vec<u8>) {
        let (ifindex, link, source, destination) = self.ends::<F>();
        if self.one_in(10) {
            let own = if self.one_in(4) {
                F::UNSPECIFIED
            } else {
                source
            };
            return (ifindex, asks::<F>(link, own, destination));
        }
        let draft = self.draft::<F>(source, destination, true);
        (ifindex, draft.frame(link))
    }

    /// Who sends to whom: mostly somebody who may.
    fn ends<F: Plan>(&mut self) -> (u32, Link, F::Address, F::Address) {
        if self.byte() & 1 == 0 {
            let source = if self.one_in(8) {
                self.anybody::<F>()
            } else {
                F::far(7)
            };
            let destination = if self.one_in(8) {
                self.anybody::<F>()
            } else {
                let standing = self.of(&STANDINGS);
                F::public(standing.public)
            };
            return (UPLINK, INWARD, source, destination);
        }
        let (place, standing) = self.attached();
        let eni = &ENIS[place];
        let source = if self.one_in(8) {
            self.anybody::<F>()
        } else {
            standing.own::<F>()
        };
        let destination = match self.byte() % 4 {
            0 => self.anybody::<F>(),
            1 => F::public(self.of(&STANDINGS).public),
            _ => F::far(7),
        };
        (eni.port, outward(eni), source, destination)
    }

    fn attached(&mut self) -> (usize, Standing) {
        let standing = self.of(&STANDINGS);
        standing
            .eni
            .map_or((0, STANDINGS[0]), |eni| (eni, standing))
    }

    fn anybody<F: Plan>(&mut self) -> F::Address {
        let last = self.of(&[GATEWAY, HOST, UNASSOCIATED, 10, 11, 20, 21, 40, 50, 70]);
        match self.byte() % 5 {
            0 => F::public(last),
            1 => F::private(last),
            2 => F::far(last),
            3 => {
                // Somebody near the pool.
                let mut bytes = F::bytes(&F::public(last)).to_vec();
                let place = usize::from(self.byte()) % bytes.len();
                bytes[place] ^= self.byte();
                F::address(&bytes)
            }
            _ => {
                let bytes: Vec<u8> = (0..size_of::<F::Address>()).map(|_| self.byte()).collect();
                F::address(&bytes)
            }
        }
    }

    /// A packet between these; one that may quote another if `outer`.
    fn draft<F: Plan>(
        &mut self,
        source: F::Address,
        destination: F::Address,
        outer: bool,
    ) -> Draft<F> {
        let (protocol, payload) = self.payload::<F>(source, destination, outer);
        let mut draft = Draft::<F>::new(source, destination, protocol, payload);
        if !self.one_in(4) {
            draft.sum();
        } else if draft.payload.len() > 8 {
            // A wrong one, or none.
            let wrong = self.short().to_be_bytes();
            let at = self.of(&[2, 6, 6, 16]).min(draft.payload.len() - 2);
            draft.payload[at..at + 2].copy_from_slice(&wrong);
        }
        if self.one_in(4) {
            draft.hop = self.of(&[0, 1, 2, 255]);
        }
        if self.one_in(4) {
            draft.class = self.byte();
        }
        if self.one_in(4) {
            draft.fragment = self.fragment::<F>();
        }
        if self.one_in(4) {
            draft.options = self.options::<F>(protocol);
        }
        draft
    }

    fn payload<F: Plan>(
        &mut self,
        source: F::Address,
        destination: F::Address,
        outer: bool,
    ) -> (u8, Vec<u8>) {
        let kind = self.byte() % 10;
        if kind >= 7 && outer {
            return self.error::<F>(source, destination);
        }
        let mut data = self.some(40);
        if outer && self.one_in(6) {
            let len = self.of(&[1200, 1232, 1252, 1460, 1472, 1480, 1500, 8900, 9000]);
            data.resize(len, 0x5a);
        }
        match kind {
            0 | 5 => (6, transport(6, &data)),
            1 | 6 => (17, transport(17, &data)),
            2 => {
                let protocol = self.of(&[33, 136]);
                (protocol, transport(protocol, &data))
            }
            3 => {
                let request = self.byte() & 1 == 0;
                echo::<F>(request, &data)
            }
            _ => (self.byte(), data),
        }
    }

    /// An ICMP error, which mostly quotes a packet that its receiver sent.
    fn error<F: Plan>(&mut self, source: F::Address, destination: F::Address) -> (u8, Vec<u8>) {
        let quoted_source = if self.one_in(8) {
            self.anybody::<F>()
        } else {
            destination
        };
        let quoted_destination = if self.one_in(8) {
            self.anybody::<F>()
        } else {
            source
        };
        let mut embedded = self
            .draft::<F>(quoted_source, quoted_destination, false)
            .packet();
        if !self.one_in(3) {
            let keep = usize::from(self.byte()) % (embedded.len() + 1);
            embedded.truncate(keep);
        }
        if self.one_in(6) {
            // RFC 4884: what it quotes is padded, and extensions follow.
            embedded.resize(128, 0);
            embedded.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 2, 3]);
        }
        let (protocol, mut payload) = icmp_error::<F>(&embedded);
        payload[0] = self.of(&[payload[0], 1, 2, 3, 4, 5, 11, 12]);
        (protocol, payload)
    }

    fn fragment<F: Plan>(&mut self) -> u16 {
        if size_of::<F::Address>() == 4 {
            self.of(&[0x4000, 0x2000, 0x2001, 1, 0x10, 0x8000])
        } else {
            self.of(&[1, 9, 8, 0x80, 0x81])
        }
    }

    fn options<F: Plan>(&mut self, protocol: u8) -> Vec<u8> {
        if size_of::<F::Address>() == 4 {
            let choices: [&[u8]; 6] = [
                &[1, 1, 1, 0],
                &[0x94, 4, 0, 0],
                &[7, 7, 4, 0, 0, 0, 0, 0],
                &[0x83, 7, 4, 0, 0, 0, 0, 0],
                &[0x44, 8, 9, 0, 0, 0, 0, 0, 0x44, 8, 9, 0, 0, 0, 0, 0],
                &[0x44, 40, 0, 0],
            ];
            let mut options = self.of(&choices).to_vec();
            if self.one_in(4) {
                options = self.some(40);
            }
            return options;
        }
        let mut kinds: Vec<u8> = Vec::new();
        for _ in 0..=self.byte() % 3 {
            kinds.push(self.of(&[60, 0, 43, 51, 60]));
        }
        let mut options = vec![kinds[0]];
        for (place, kind) in kinds.iter().enumerate() {
            let next = *kinds.get(place + 1).unwrap_or(&protocol);
            let words = self.byte() % 4;
            let length = match kind {
                51 => (usize::from(words) + 2) * 4,
                _ => (usize::from(words) + 1) * 8,
            };
            let mut header = vec![0; length];
            (header[0], header[1]) = (next, words);
            // A routing header of a type without rules here, mostly with segments left.
            header[2..4].copy_from_slice(&if *kind == 43 { [4, words] } else { [1, 0] });
            options.extend(header);
        }
        options
    }
}
