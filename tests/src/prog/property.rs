//! What holds for every packet, whatever the table says: nothing but headers changes, and no error
//! is repaired.

use std::ops::Range;

use anyhow::{Context as _, Result, ensure};

use super::{Run, Verdict, hex_diff, wire::untagged};

const NETWORK: usize = 14;
const ICMP_HEADER: usize = 8;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Where both have the address that they are about, in the frame.
const SOLICITED: Range<usize> = NETWORK + 48..NETWORK + 64;
/// The length of an advertisement with its option, as a frame.
const ADVERTISEMENT_LEN: usize = NETWORK + 40 + 24 + 8;

/// The shape of an IP packet in a frame.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    is_ipv6: bool,
    header_len: usize,
    total_len: usize,
    protocol: u8,
    later_fragment: bool,
    /// Whether a routing header leads on from the destination, so that no checksum of a payload
    /// covers it (RFC 8200 8.1).
    leads_on: bool,
}

impl Shape {
    /// `None` for a frame that holds no whole IP packet.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let ethertype = frame.get(12..NETWORK)?;
        let shape = Self::of_packet(&frame[NETWORK..])?;
        let named = if shape.is_ipv6 { [0x86, 0xdd] } else { [8, 0] };
        let whole = ethertype == named
            && shape.total_len >= shape.header_len
            && NETWORK + shape.total_len <= frame.len();
        whole.then_some(shape)
    }

    /// Of a packet that may be cut off behind its headers.
    fn of_packet(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => {
                let header = packet.get(..20)?;
                let shape = Self {
                    is_ipv6: false,
                    header_len: usize::from(header[0] & 15) * 4,
                    total_len: usize::from(word(header, 2)),
                    protocol: header[9],
                    later_fragment: word(header, 6) & 0x1fff != 0,
                    leads_on: false,
                };
                (shape.header_len >= 20 && shape.header_len <= packet.len()).then_some(shape)
            }
            6 => Self::of_ipv6(packet),
            _ => None,
        }
    }

    /// With the chain of extension headers (RFC 8200 4), as far as it is there.
    fn of_ipv6(packet: &[u8]) -> Option<Self> {
        let header = packet.get(..40)?;
        let mut shape = Self {
            is_ipv6: true,
            header_len: 40,
            total_len: 40 + usize::from(word(header, 4)),
            protocol: header[6],
            later_fragment: false,
            leads_on: false,
        };
        let end = shape.total_len.min(packet.len());
        while !shape.later_fragment && matches!(shape.protocol, 0 | 43 | 44 | 51 | 60) {
            let header = packet.get(shape.header_len..shape.header_len + 8)?;
            let units = usize::from(header[1]);
            shape.header_len += match shape.protocol {
                44 => 8,
                51 => (units + 2) * 4,
                _ => (units + 1) * 8,
            };
            shape.leads_on |= shape.protocol == 43 && header[3] != 0;
            shape.later_fragment = shape.protocol == 44 && word(header, 2) & 0xfff8 != 0;
            shape.protocol = header[0];
            if shape.header_len > end {
                return None;
            }
        }
        Some(shape)
    }

    /// Where the frame's packet ends.
    pub fn end(self) -> usize {
        NETWORK + self.total_len
    }

    /// Where its headers end.
    pub fn transport(self) -> usize {
        NETWORK + self.header_len
    }

    /// The length that its sender can make it at least.
    pub fn shortest(self) -> usize {
        if self.is_ipv6 { 40 } else { self.header_len }
    }

    /// The header's bytes that nobody changes: all but the addresses, the hop limit and the
    /// checksum.
    fn fixed(self) -> [Range<usize>; 3] {
        if self.is_ipv6 {
            [0..7, 40..40, 40..self.header_len]
        } else {
            [0..8, 9..10, 20..self.header_len]
        }
    }

    /// Its addresses, in the frame.
    fn addresses(self) -> Range<usize> {
        let range = if self.is_ipv6 { 8..40 } else { 12..20 };
        NETWORK + range.start..NETWORK + range.end
    }

    /// Those of them that its transport checksum covers.
    fn covered_addresses(self) -> Range<usize> {
        let Range { start, end } = self.addresses();
        if self.leads_on {
            start..usize::midpoint(start, end)
        } else {
            start..end
        }
    }

    /// Where the ones' complement sum of the header's bytes is to be right.
    fn header_sum(self) -> Option<Range<usize>> {
        (!self.is_ipv6).then(|| NETWORK..self.transport())
    }

    fn is_icmp(self) -> bool {
        self.protocol == if self.is_ipv6 { ICMPV6 } else { 1 }
    }

    /// The bytes of the transport checksum that covers the addresses, if the packet has them.
    fn checksum(self) -> Option<usize> {
        let offset = match self.protocol {
            6 => 16,
            17 | 33 | 136 => 6,
            ICMPV6 if self.is_ipv6 => 2,
            _ => return None,
        };
        let place = self.transport() + offset;
        (!self.later_fragment && place + 2 <= self.end()).then_some(place)
    }

    /// The packet that an ICMP error quotes.
    fn quote(self, frame: &[u8]) -> Option<EmbeddedPacket> {
        let at = self.transport() + ICMP_HEADER;
        let kind = *frame.get(self.transport())?;
        let is_error = if self.is_ipv6 {
            kind < 128
        } else {
            matches!(kind, 3 | 4 | 5 | 11 | 12)
        };
        if !self.is_icmp() || self.later_fragment || !is_error || at > self.end() {
            return None;
        }
        let packet = &frame[at..self.end()];
        let (addresses, header) = if self.is_ipv6 {
            let is_ipv6 = packet.len() >= 40 && packet[0] >> 4 == 6;
            (is_ipv6.then_some(8..40)?, None)
        } else {
            let quoted = Self::of_packet(packet).filter(|quoted| !quoted.is_ipv6)?;
            (10..20, Some(at..at + quoted.header_len))
        };
        let checksum = Self::of_packet(packet)
            .and_then(Self::checksum)
            .map(|place| place - NETWORK + at)
            .filter(|place| place + 2 <= self.end())
            .map(|place| place..place + 2);
        Some(EmbeddedPacket {
            addresses: at + addresses.start..at + addresses.end,
            header,
            checksum,
        })
    }
}

/// Places in a frame with an ICMP error, of the packet that it quotes.
struct EmbeddedPacket {
    /// Its addresses, and the header checksum in front of them.
    addresses: Range<usize>,
    /// Its header, where that has a checksum.
    header: Option<Range<usize>>,
    /// Its transport checksum.
    checksum: Option<Range<usize>>,
}

/// The frame's packet, cut to `total_len` by its sender: length and header checksum say so too.
pub fn shortened(frame: &[u8], shape: Shape, total_len: usize) -> Vec<u8> {
    let mut short = frame[..NETWORK + total_len].to_vec();
    let (field, len) = if shape.is_ipv6 {
        (NETWORK + 4, total_len - 40)
    } else {
        (NETWORK + 2, total_len)
    };
    let len = u16::try_from(len).expect("shorter than a packet");
    short[field..field + 2].copy_from_slice(&len.to_be_bytes());
    complete_header(&mut short, shape);
    short
}

/// The frame with another address at `field`, and a right header checksum.
///
/// # Errors
/// If the frame holds no whole IP packet.
pub fn readdressed(frame: &[u8], field: usize, address: &[u8]) -> Result<Vec<u8>> {
    edited(frame, |frame, _| {
        frame[field..field + address.len()].copy_from_slice(address);
    })
}

/// The frame with another TTL or hop limit.
///
/// # Errors
/// If the frame holds no whole IP packet.
pub fn with_hop_limit(frame: &[u8], hop_limit: u8) -> Result<Vec<u8>> {
    edited(frame, |frame, shape| {
        frame[NETWORK + if shape.is_ipv6 { 7 } else { 8 }] = hop_limit;
    })
}

fn edited(frame: &[u8], edit: impl FnOnce(&mut [u8], Shape)) -> Result<Vec<u8>> {
    let shape = Shape::of(frame).context("no whole IP packet")?;
    let mut frame = frame.to_vec();
    edit(&mut frame, shape);
    complete_header(&mut frame, shape);
    Ok(frame)
}

fn complete_header(frame: &mut [u8], shape: Shape) {
    if let Some(header) = shape.header_sum() {
        frame[NETWORK + 10..NETWORK + 12].fill(0);
        let sum = !sum(&frame[header]);
        frame[NETWORK + 10..NETWORK + 12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Says what a run over a frame has done that no run may do.
///
/// # Errors
/// The violation.
pub fn check(input: &[u8], run: &Run) -> Result<()> {
    let output = &run.out;
    match run.verdict {
        Verdict::Drop => Ok(()),
        Verdict::Pass => {
            // A tag that says nothing at all may be there or not.
            let says_nothing = input.get(12..16) == Some(&[0x81, 0, 0, 0]);
            ensure!(
                input == output || says_nothing && untagged(input) == *output,
                "left to the kernel, but not untouched"
            );
            Ok(())
        }
        Verdict::Redirect => {
            // A VLAN may be within another.
            let [input, output] = [input, output].map(|frame| untagged(&untagged(frame)));
            if tells(&input, &output)
                || advertises(&input, &output)
                || ends(&input, &output)
                || passes_by(&input, &output)
            {
                Ok(())
            } else {
                check_rewritten(&input, &output)
            }
        }
    }
}

/// Whether the output is an ICMP error about the input, to its sender, that quotes nothing but it.
fn tells(input: &[u8], output: &[u8]) -> bool {
    let (Some(of), Some(shape)) = (Shape::of(input), Shape::of(output)) else {
        return false;
    };
    let kinds: [u8; 2] = if shape.is_ipv6 { [2, 3] } else { [3, 11] };
    let (message, quote) = (shape.transport(), shape.transport() + ICMP_HEADER);
    let covered = if shape.is_ipv6 {
        let length = u16::try_from(shape.end() - message).unwrap_or(0);
        u32::from(sum(&output[shape.addresses()])) + u32::from(length) + u32::from(ICMPV6)
    } else {
        0
    };
    let half = shape.addresses().len() / 2;
    shape.is_icmp()
        && shape.end() == output.len()
        && quote <= output.len()
        && kinds.contains(&output[message])
        && input[NETWORK..of.end()].starts_with(&output[quote..])
        && (output.len() - quote == of.total_len || output.len() > NETWORK + 500)
        && output[shape.addresses()][half..] == input[of.addresses()][..half]
        && output[..6] == input[6..12]
        && shape
            .header_sum()
            .is_none_or(|header| sum(&output[header]) == 0xffff)
        && (covered + u32::from(sum(&output[message..]))) % 0xffff == 0
}

/// Whether the output is the input but for its Ethernet addresses and one hop less, and its chain
/// of extension headers leaves the packet beyond what anybody looks through: 8 headers, and 120
/// bytes of them. Nothing of it is translated.
fn passes_by(input: &[u8], output: &[u8]) -> bool {
    const HOP_LIMIT: usize = NETWORK + 7;
    const FIRST: usize = NETWORK + 40;
    let is_same = input.len() == output.len()
        && input.len() >= FIRST
        && input[12..HOP_LIMIT] == output[12..HOP_LIMIT]
        && input[HOP_LIMIT].checked_sub(1) == Some(output[HOP_LIMIT])
        && input[HOP_LIMIT + 1..] == output[HOP_LIMIT + 1..];
    if !is_same || input[12..NETWORK] != [0x86, 0xdd] || input[NETWORK] >> 4 != 6 {
        return false;
    }
    let end = FIRST + usize::from(word(input, NETWORK + 4));
    let (mut at, mut kind) = (FIRST, input[NETWORK + 6]);
    for _ in 0..8 {
        let is_there = at + 8 <= end.min(input.len());
        if !is_there || !matches!(kind, 0 | 43 | 44 | 51 | 60) {
            return false;
        }
        let units = usize::from(input[at + 1]);
        let length = match kind {
            44 => 8,
            51 => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        (at, kind) = (at + length, input[at]);
        if at > FIRST + 120 {
            break;
        }
    }
    end <= input.len()
}

/// Whether the output is the last one of the fragments that the input was cut into (RFC 791 3.2):
/// not translated, and in its header nothing changed but length, flags, offset and checksum, and
/// options that only the first one has.
fn ends(input: &[u8], output: &[u8]) -> bool {
    const DO_NOT_FRAGMENT: u16 = 0x4000;
    const NO_OPERATION: u8 = 1;
    let (Some(of), Some(shape)) = (Shape::of(input), Shape::of(output)) else {
        return false;
    };
    if of.is_ipv6 || shape.is_ipv6 || of.header_len != shape.header_len {
        return false;
    }
    let [before, after] = [input, output].map(|frame| word(frame, NETWORK + 6));
    let Some(at) = (after & 0x1fff).checked_sub(before & 0x1fff) else {
        return false;
    };
    let begin = of.transport() + usize::from(at) * 8;
    let same = |from: usize, to: usize| {
        input[NETWORK + from..NETWORK + to] == output[NETWORK + from..NETWORK + to]
    };
    let options = NETWORK + 20..of.transport();
    at != 0
        && before & DO_NOT_FRAGMENT == 0
        && before & 0xe000 == after & 0xe000
        && input.get(begin..of.end()) == Some(&output[shape.transport()..])
        && output[..NETWORK] == input[..NETWORK]
        && same(0, 2)
        && same(4, 6)
        && same(8, 10)
        && same(12, 20)
        && options
            .into_iter()
            .all(|place| [input[place], NO_OPERATION].contains(&output[place]))
        && shape
            .header_sum()
            .is_some_and(|header| sum(&output[header]) == 0xffff)
}

/// Whether the output is a neighbour advertisement of what the input solicits.
fn advertises(input: &[u8], output: &[u8]) -> bool {
    let is = |frame: &[u8], kind| {
        Shape::of(frame).is_some_and(|shape| {
            shape.is_icmp() && frame[shape.transport()..].first() == Some(&kind)
        })
    };
    is(input, SOLICITATION)
        && is(output, ADVERTISEMENT)
        && output.len() == ADVERTISEMENT_LEN
        && input.get(SOLICITED) == output.get(SOLICITED)
}

/// Says what is in a frame that is sent on which may not be there, however many hops it has gone.
///
/// # Errors
/// The violation.
pub fn check_rewritten(input: &[u8], output: &[u8]) -> Result<()> {
    let lengths = || format!("{} bytes became {}", input.len(), output.len());
    if input.get(12..NETWORK) == Some(&[8, 6]) {
        ensure!(input.len() == output.len(), lengths());
        ensure!(
            input.len() >= NETWORK + 28,
            "answered a part of an ARP request"
        );
        ensure!(
            input[NETWORK + 28..] == output[NETWORK + 28..],
            "changed an ARP frame's padding"
        );
        return Ok(());
    }
    let Some(shape) = Shape::of(input) else {
        anyhow::bail!("sent on what is no whole IP packet");
    };
    // Padding that does not fit the way out is cut off.
    ensure!(
        [input.len(), shape.end()].contains(&output.len()),
        lengths()
    );
    let transport = shape.transport();
    for range in shape.fixed() {
        let (from, to) = (NETWORK + range.start, NETWORK + range.end);
        ensure!(
            input[from..to] == output[from..to],
            "changed the header's bytes {range:?}"
        );
    }
    if let Some(header) = shape.header_sum() {
        ensure!(
            sum(&output[header]) == 0xffff,
            "sent a wrong header checksum"
        );
    }
    check_payload(input, output, shape)?;
    let Some(place) = shape.checksum() else {
        return Ok(());
    };
    // UDP-Lite must have one (RFC 3828 3.1): a packet without is invalid, and stays so.
    if matches!(shape.protocol, 17 | 136) && input[place..place + 2] == [0, 0] {
        ensure!(
            output[place..place + 2] == [0, 0],
            "gave a checksum to a packet without one"
        );
        return Ok(());
    }
    // What the checksum covers sums up to the same, right or wrong: addresses and transport packet.
    let total = |frame: &[u8]| {
        let parts = u32::from(sum(&frame[shape.covered_addresses()]))
            + u32::from(sum(&frame[transport..shape.end()]));
        parts % 0xffff
    };
    ensure!(
        total(input) == total(output),
        "the checksum's error changed"
    );
    Ok(())
}

/// Nothing behind the headers changes but checksums, what an answered ping is called, and the
/// addresses in a quotation.
fn check_payload(input: &[u8], output: &[u8], shape: Shape) -> Result<()> {
    let transport = shape.transport();
    let echo = shape.is_icmp() && input[shape.addresses()] == swapped(&output[shape.addresses()]);
    let mut may_change: Vec<Range<usize>> = shape
        .checksum()
        .map(|place| place..place + 2)
        .into_iter()
        .collect();
    if echo {
        // The type and checksum of an answered ping.
        may_change.push(transport..transport + 4);
    }
    if let Some(quote) = shape.quote(input) {
        may_change.push(transport + 2..transport + 4);
        may_change.push(quote.addresses);
        may_change.extend(quote.checksum);
        // Right or wrong, what IPv4's two checksums cover sums up to the same.
        for covered in quote
            .header
            .into_iter()
            .flat_map(|header| [header, transport..shape.end()])
        {
            let total = |frame: &[u8]| sum(&frame[covered.clone()]) % 0xffff;
            ensure!(
                total(input) == total(output),
                "the error of a checksum over {covered:?} changed"
            );
        }
    }
    for (place, (before, after)) in input.iter().zip(output).enumerate().skip(transport) {
        ensure!(
            before == after || may_change.iter().any(|range| range.contains(&place)),
            "changed the byte at {place}:{}",
            hex_diff(input, output)
        );
    }
    Ok(())
}

fn swapped(addresses: &[u8]) -> Vec<u8> {
    let (source, destination) = addresses.split_at(addresses.len() / 2);
    [destination, source].concat()
}

/// The ones' complement sum (RFC 1071), in network order.
pub fn sum(bytes: &[u8]) -> u16 {
    let mut sum = bytes.chunks(2).fold(0u32, |sum, pair| {
        sum + (u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
    });
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded to 16 bits")
}

fn word(bytes: &[u8], place: usize) -> u16 {
    u16::from_be_bytes([bytes[place], bytes[place + 1]])
}
