//! Random packets through two gateways: both have to make the same of them, byte for byte.
//!
//! What is sent is valid (but for transport checksums, which may be wrong) and of a kind that both
//! translate: TCP, UDP, UDP-Lite, ICMP queries, other protocols, fragments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, bail, ensure};

use super::{
    adapters::{Adapter, Claims, Start},
    bed::Bed,
    data::{Family, World},
    ip::{Header, UDP, UDP_LITE, sum_up},
    play::Player,
    wire::{INTERNET, Seen},
};
use crate::prog::{hex_diff, table::Frame};

const TCP: u8 = 6;

/// Sends `count` packets of `seed` through both gateways.
pub fn compare(world: &World, gateways: [&dyn Adapter; 2], seed: u64, count: u32) -> Result<()> {
    let beds = [
        Bed::new(world, gateways[0].wiring())?,
        Bed::new(world, gateways[1].wiring())?,
    ];
    let mut guards = Vec::new();
    for (bed, gateway) in beds.iter().zip(gateways) {
        let start = gateway.start(bed);
        match start.with_context(|| format!("{} could not be set up", gateway.name()))? {
            Start::Up(up) => guards.push(up),
            Start::NotApplicable(why) => bail!("{}: {why}", gateway.name()),
        }
    }
    let [first, second] = &beds;
    let mut other = Player::new(second, Claims::default(), 1);
    Player::new(first, Claims::default(), 1).pinned(|player| {
        let mut random = Random(seed);
        for number in 0..count {
            let (from, packet) = packet(&mut random, world);
            same(player, &mut other, gateways, from, &packet).with_context(|| {
                let packet = Frame(packet.clone());
                format!("packet {number} of seed {seed}, from {from}: {packet:?}")
            })?;
        }
        Ok(())
    })?
}

fn same(
    first: &mut Player,
    second: &mut Player,
    gateways: [&dyn Adapter; 2],
    from: &str,
    packet: &[u8],
) -> Result<()> {
    let through = |player: &mut Player, gateway: &dyn Adapter| {
        let seen = player.send(from, packet)?;
        let [one]: [Seen; 1] = seen.try_into().map_err(|seen: Vec<Seen>| {
            anyhow::anyhow!("{} made {} packets of it", gateway.name(), seen.len())
        })?;
        ensure!(
            one.addressed,
            "{} sent it with other Ethernet addresses",
            gateway.name()
        );
        Ok(one)
    };
    let one = through(first, gateways[0])?;
    let other = through(second, gateways[1])?;
    ensure!(
        one.at == other.at && settled(&one.packet) == settled(&other.packet),
        "{} sends it to {}, {} (expected) to {}{}",
        gateways[0].name(),
        one.at,
        gateways[1].name(),
        other.at,
        hex_diff(&other.packet, &one.packet)
    );
    Ok(())
}

/// The packet with a TCP checksum of all ones as 0: Linux writes the one, others the other, and to
/// a receiver they are the same (RFC 1624).
fn settled(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let (protocol, transport, later) = match packet[0] >> 4 {
        4 => {
            let offset = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff;
            (packet[9], usize::from(packet[0] & 15) * 4, offset > 0)
        }
        _ => (packet[6], 40, false),
    };
    let place = transport + 16;
    if let Some(field) = packet.get_mut(place..place + 2)
        && (protocol, later) == (TCP, false)
        && *field == [0xff, 0xff]
    {
        field.fill(0);
    }
    packet
}

/// Steele, Lea and Flood's `SplitMix64`: small, and any seed is good.
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn word(&mut self) -> u32 {
        let [a, b, c, d, ..] = self.next().to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// From 0 to less than `end`.
    fn below(&mut self, end: usize) -> usize {
        let word = usize::try_from(self.word()).unwrap_or_default();
        word % end
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn some(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// A random valid packet, and the side that sends it.
pub fn packet<'a>(random: &mut Random, world: &'a World) -> (&'a str, Vec<u8>) {
    let guests: Vec<_> = world
        .translated()
        .filter(|(guest, _)| guest.mtu >= world.uplink_mtu)
        .collect();
    let (guest, public) = *random.of(&guests);
    let (receiver, other) = *random.of(&guests);
    let remote = outside(random, world.family);
    let private = guest.private;
    let (from, sent, arrives) = match random.below(5) {
        0 | 1 => (INTERNET, [remote, public], [remote, private]),
        2 | 3 => (guest.name.as_str(), [private, remote], [public, remote]),
        _ => (
            guest.name.as_str(),
            [private, other],
            [public, receiver.private],
        ),
    };
    (from, content(random, world.family, sent, arrives))
}

/// An address of the Internet that no rule is about.
fn outside(random: &mut Random, family: Family) -> IpAddr {
    // Not in 198/8 and 203/8: the bed is there.
    const AVOIDED: [u8; 6] = [10, 127, 169, 172, 198, 203];
    match family {
        Family::V4 => loop {
            let [first, rest @ ..] = random.bytes::<4>();
            if (1..224).contains(&first) && !AVOIDED.contains(&first) {
                break Ipv4Addr::new(first, rest[0], rest[1], rest[2]).into();
            }
        },
        Family::V6 => {
            let mut octets = random.bytes::<16>();
            octets[..2].copy_from_slice(&[0x2a, 0x10]);
            Ipv6Addr::from(octets).into()
        }
    }
}

fn content(
    random: &mut Random,
    family: Family,
    sent: [IpAddr; 2],
    arrives: [IpAddr; 2],
) -> Vec<u8> {
    let mut header = Header::plain(sent[0], sent[1], 0);
    // 2 at least: somebody has to forward it.
    header.ttl = 2 + u8::try_from(random.below(254)).unwrap_or_default();
    header.tos = random.byte();
    header.word = random.word();
    let later = family == Family::V4 && random.one_in(5);
    if family == Family::V4 {
        // Identification and whether it may be fragmented; no fragment yet.
        header.word &= 0xffff_4000;
        if random.one_in(8) {
            header.options = vec![1; 4 * random.below(11)];
        }
    }
    // The smallest MTU on any way, the longest headers.
    let size = match random.below(4) {
        0 => random.below(8),
        1 => random.below(64),
        _ => random.below(1500 - 60 - 60),
    };
    let data = random.some(size);
    if later {
        header.protocol = random.byte();
        // A TCP fragment at 8 bytes could rewrite flags (RFC 3128): not from 2 on. Nor beyond what
        // a packet can hold.
        let offset = 2 + u32::try_from(random.below(8000 - 200)).unwrap_or_default();
        let more = u32::from(random.one_in(2)) << 13;
        let whole = data.len() & !7;
        let data = if more == 0 { &data[..] } else { &data[..whole] };
        header.word |= offset | more;
        return header.around(data);
    }
    let segment = transport(random, family, &mut header, arrives, &data);
    if family == Family::V4 && segment.len() > 64 && random.one_in(8) {
        // The first fragment of it.
        header.word |= 0x2000;
        return header.around(&segment[..segment.len() & !7]);
    }
    header.around(&segment)
}

fn transport(
    random: &mut Random,
    family: Family,
    header: &mut Header,
    arrives: [IpAddr; 2],
    data: &[u8],
) -> Vec<u8> {
    let (protocol, mut segment, place) = match random.below(8) {
        0..=2 => {
            let options = 4 * random_words(random);
            let mut segment = random.some(20 + options);
            segment[12] = u8::try_from(segment.len() / 4).unwrap_or_default() << 4;
            (TCP, segment, 16)
        }
        3 | 4 => {
            let mut segment = random.some(8);
            let length = u16::try_from(8 + data.len()).unwrap_or_default();
            segment[4..6].copy_from_slice(&length.to_be_bytes());
            (UDP, segment, 6)
        }
        5 => {
            let mut segment = random.some(8);
            segment[4..6].fill(0);
            (UDP_LITE, segment, 6)
        }
        6 => return query(random, family, header, data),
        _ => {
            header.protocol = other_protocol(random, family);
            return data.to_vec();
        }
    };
    header.protocol = protocol;
    let start = segment.len();
    segment.extend(data);
    if data.len() >= 2 && random.one_in(16) {
        // The two bytes with which the checksum comes out as 0.
        segment[start..start + 2].fill(0);
        sum_up(
            &Header::plain(arrives[0], arrives[1], protocol),
            &mut segment,
            place,
        );
        segment.copy_within(place..place + 2, start);
    }
    sum_up(header, &mut segment, place);
    if protocol == UDP && family == Family::V4 && random.one_in(4) {
        segment[6..8].fill(0);
    } else if random.one_in(10) {
        // Wrong, but not "no checksum", and not an all-ones one that would be that after the
        // translation.
        segment[place] = segment[place].wrapping_add(1).max(1);
    }
    segment
}

fn random_words(random: &mut Random) -> usize {
    if random.one_in(2) {
        random.below(11)
    } else {
        0
    }
}

fn query(random: &mut Random, family: Family, header: &mut Header, data: &[u8]) -> Vec<u8> {
    const ICMP: u8 = 1;
    const ICMPV6: u8 = 58;
    let (protocol, kinds): (u8, &[u8]) = match family {
        Family::V4 => (ICMP, &[0, 8, 13, 14]),
        Family::V6 => (ICMPV6, &[128, 129]),
    };
    header.protocol = protocol;
    let mut segment = vec![*random.of(kinds), 0, 0, 0];
    segment.extend(random.bytes::<4>());
    segment.extend(data);
    match family {
        Family::V4 => {
            let sum = super::ip::checksum(&[&segment]);
            segment[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        Family::V6 => sum_up(header, &mut segment, 2),
    }
    segment
}

/// One without a checksum over the addresses; for IPv6, no extension header either.
fn other_protocol(random: &mut Random, family: Family) -> u8 {
    const SUMMED: [u8; 6] = [1, 6, 17, 33, 58, 136];
    const EXTENSIONS: [u8; 10] = [0, 43, 44, 51, 60, 135, 139, 140, 253, 254];
    loop {
        let protocol = random.byte();
        let extension = family == Family::V6 && EXTENSIONS.contains(&protocol);
        if !SUMMED.contains(&protocol) && !extension {
            break protocol;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{data, ip::checksum};

    #[test]
    fn a_seed_gives_the_same_packets_again_and_each_is_valid() -> Result<()> {
        for table in data::read(&data::folder())? {
            let (mut one, mut other) = (Random::new(7), Random::new(7));
            for _ in 0..2000 {
                let (from, bytes) = packet(&mut one, &table.bed);
                assert_eq!((from, bytes.clone()), packet(&mut other, &table.bed));
                assert!(bytes.len() <= 1500);
                if table.bed.family == Family::V4 {
                    let end = usize::from(bytes[0] & 15) * 4;
                    assert_eq!(checksum(&[&bytes[..end]]), 0);
                }
            }
        }
        Ok(())
    }
}
