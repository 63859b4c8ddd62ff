//! What holds for every packet, whatever the table says: nothing but headers changes, and no error is repaired.

use std::ops::Range;

use anyhow::{Result, ensure};

use super::{Run, Verdict, hex_diff};

const NETWORK: usize = 14;

/// The shape of an IPv4 frame.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    header_len: usize,
    total_len: usize,
    protocol: u8,
    later_fragment: bool,
}

impl Shape {
    /// `None` for a frame that holds no whole IPv4 packet.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let ethertype = frame.get(12..NETWORK)?;
        let header = frame.get(NETWORK..NETWORK + 20)?;
        let shape = Self {
            header_len: usize::from(header[0] & 15) * 4,
            total_len: usize::from(word(header, 2)),
            protocol: header[9],
            later_fragment: word(header, 6) & 0x1fff != 0,
        };
        let whole = ethertype == [8, 0]
            && header[0] >> 4 == 4
            && shape.header_len >= 20
            && shape.total_len >= shape.header_len
            && NETWORK + shape.total_len <= frame.len();
        whole.then_some(shape)
    }

    /// Where the frame's packet ends.
    pub fn end(self) -> usize {
        NETWORK + self.total_len
    }

    /// Where its header ends.
    pub fn transport(self) -> usize {
        NETWORK + self.header_len
    }

    /// The bytes of the transport checksum that covers the addresses, if the packet has them.
    fn checksum(self) -> Option<usize> {
        let offset = match self.protocol {
            6 => 16,
            17 | 33 | 136 => 6,
            _ => return None,
        };
        let place = self.transport() + offset;
        (!self.later_fragment && place + 2 <= self.end()).then_some(place)
    }

    /// Where the header of the packet that an ICMP error quotes is, and the quoted transport checksum.
    fn quote(self, frame: &[u8]) -> Option<(Range<usize>, Option<Range<usize>>)> {
        let at = self.transport() + 8;
        let begins = self.protocol == 1 && !self.later_fragment;
        let header = frame.get(at..at + 20)?;
        let kind = frame[self.transport()];
        let quoted = Self {
            header_len: usize::from(header[0] & 15) * 4,
            total_len: usize::from(word(header, 2)),
            protocol: header[9],
            later_fragment: word(header, 6) & 0x1fff != 0,
        };
        let end = at + quoted.header_len;
        let whole = header[0] >> 4 == 4 && quoted.header_len >= 20 && end <= self.end();
        if !begins || !whole || !matches!(kind, 3 | 4 | 5 | 11 | 12) {
            return None;
        }
        let checksum = quoted
            .checksum()
            .map(|place| place - NETWORK + at)
            .filter(|place| place + 2 <= self.end())
            .map(|place| place..place + 2);
        Some((at..end, checksum))
    }
}

/// The frame's packet, cut to `total_len` by its sender: length and header checksum say so too.
pub fn shortened(frame: &[u8], shape: Shape, total_len: usize) -> Vec<u8> {
    let mut short = frame[..NETWORK + total_len].to_vec();
    let len = u16::try_from(total_len).expect("shorter than a packet");
    short[NETWORK + 2..NETWORK + 4].copy_from_slice(&len.to_be_bytes());
    short[NETWORK + 10..NETWORK + 12].fill(0);
    let sum = !sum(&short[NETWORK..shape.transport()]);
    short[NETWORK + 10..NETWORK + 12].copy_from_slice(&sum.to_be_bytes());
    short
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
            ensure!(
                input == output,
                "passed, but changed:{}",
                hex_diff(input, output)
            );
            Ok(())
        }
        Verdict::Redirect => check_rewritten(input, output),
    }
}

/// Says what is in a frame that is sent on which may not be there, however many hops it has gone.
///
/// # Errors
/// The violation.
pub fn check_rewritten(input: &[u8], output: &[u8]) -> Result<()> {
    ensure!(
        input.len() == output.len(),
        "{} bytes became {}",
        input.len(),
        output.len()
    );
    if input.get(12..NETWORK) == Some(&[8, 6]) {
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
        anyhow::bail!("sent on what is no whole IPv4 packet");
    };
    let transport = shape.transport();
    // All but the addresses, the TTL and the checksum is as it was.
    let fixed = [0..8, 9..10, 20..shape.header_len];
    for range in fixed {
        let (from, to) = (NETWORK + range.start, NETWORK + range.end);
        ensure!(
            input[from..to] == output[from..to],
            "changed the header's bytes {range:?}"
        );
    }
    ensure!(
        sum(&output[NETWORK..transport]) == 0xffff,
        "sent a wrong header checksum"
    );
    let addresses = NETWORK + 12..NETWORK + 20;
    let echo =
        shape.protocol == 1 && input[addresses.clone()] == swapped(&output[addresses.clone()]);
    let mut may_change: Vec<Range<usize>> = shape
        .checksum()
        .map(|place| place..place + 2)
        .into_iter()
        .collect();
    if echo {
        // The type and checksum of an answered ping.
        may_change.push(transport..transport + 4);
    }
    if let Some((header, checksum)) = shape.quote(input) {
        may_change.push(transport + 2..transport + 4);
        may_change.push(header.start + 10..header.start + 20);
        may_change.extend(checksum);
        // Right or wrong, what the two checksums cover sums up to the same.
        for covered in [header, transport..shape.end()] {
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
    if let Some(place) = shape.checksum() {
        let absent = shape.protocol == 17 && input[place..place + 2] == [0, 0];
        if absent {
            ensure!(
                output[place..place + 2] == [0, 0],
                "gave a checksum to a packet without one"
            );
        } else {
            // What the checksum covers sums up to the same, right or wrong: addresses and transport packet.
            let total = |frame: &[u8]| {
                let parts = u32::from(sum(&frame[addresses.clone()]))
                    + u32::from(sum(&frame[transport..shape.end()]));
                parts % 0xffff
            };
            ensure!(
                total(input) == total(output),
                "the checksum's error changed"
            );
        }
    }
    Ok(())
}

fn swapped(addresses: &[u8]) -> Vec<u8> {
    [&addresses[4..], &addresses[..4]].concat()
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
