//! A reading of IP packets that shares no code with the path's, and checksums from scratch.

use std::ops::Range;

/// Where the IP header of a frame starts.
pub const IP: usize = 14;
/// The Ethernet types.
pub const TYPE4: [u8; 2] = [8, 0];
/// Likewise.
pub const TYPE6: [u8; 2] = [0x86, 0xdd];

/// The longest chain of extension headers that the path looks through: headers, and bytes.
const CHAIN: (usize, usize) = (8, 120);

/// Where the fields of an IP packet are, in bytes from the start of the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Its header.
    pub at: usize,
    /// Its version.
    pub version: u8,
    /// The source address.
    pub source: Range<usize>,
    /// The destination address.
    pub destination: Range<usize>,
    /// TTL or hop limit.
    pub hop: usize,
    /// What follows the headers; `None` where they are cut, or too long to be looked through.
    pub transport: Option<usize>,
    /// The end of what is there of it: by its own length, or by what holds it.
    pub end: usize,
    /// By its own length.
    pub own_end: usize,
    /// The protocol of what follows.
    pub protocol: u8,
    /// The fragment's offset, in units of 8 bytes.
    pub offset: u16,
    /// Whether fragments follow.
    pub more: bool,
    /// Whether routers may not cut it.
    pub unbroken: bool,
    /// Whether the destination is not its last: the transport checksum covers another (RFC 8200
    /// 8.1).
    pub segments_left: bool,
}

/// A transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Where it is.
    pub at: usize,
    /// Whether 0 there means none.
    pub may_be_none: bool,
    /// Whether it covers the addresses.
    pub covers_addresses: bool,
}

impl Ip {
    /// The packet at `at`, of what is there up to `limit`; `None` where there is no whole fixed
    /// header of it.
    pub fn read(bytes: &[u8], at: usize, limit: usize) -> Option<Self> {
        let bytes = bytes.get(..limit)?;
        match bytes.get(at)? >> 4 {
            4 => Self::read4(bytes, at),
            6 => Self::read6(bytes, at),
            _ => None,
        }
    }

    fn read4(bytes: &[u8], at: usize) -> Option<Self> {
        let header = bytes.get(at..at + 20)?;
        let length = usize::from(header[0] & 15) * 4;
        if length < 20 || at + length > bytes.len() {
            return None;
        }
        let own_end = at + usize::from(word(header, 2));
        let fragment = word(header, 6);
        Some(Self {
            at,
            version: 4,
            source: at + 12..at + 16,
            destination: at + 16..at + 20,
            hop: at + 8,
            transport: Some(at + length),
            end: own_end.min(bytes.len()),
            own_end,
            protocol: header[9],
            offset: fragment & 0x1fff,
            more: fragment & 0x2000 != 0,
            unbroken: fragment & 0x4000 != 0,
            segments_left: false,
        })
    }

    fn read6(bytes: &[u8], at: usize) -> Option<Self> {
        let header = bytes.get(at..at + 40)?;
        let own_end = at + 40 + usize::from(word(header, 4));
        let mut ip = Self {
            at,
            version: 6,
            source: at + 8..at + 24,
            destination: at + 24..at + 40,
            hop: at + 7,
            transport: None,
            end: own_end.min(bytes.len()),
            own_end,
            protocol: header[6],
            offset: 0,
            more: false,
            unbroken: true,
            segments_left: false,
        };
        ip.transport = ip.walk(bytes);
        Some(ip)
    }

    fn walk(&mut self, bytes: &[u8]) -> Option<usize> {
        let start = self.at + 40;
        let mut at = start;
        for _ in 0..CHAIN.0 {
            // Hop-by-hop, routing, fragment, authentication, destination options.
            if self.offset != 0 || !matches!(self.protocol, 0 | 43 | 44 | 51 | 60) {
                return Some(at);
            }
            let header = bytes.get(at..at + 8).filter(|_| at + 8 <= self.end)?;
            let length = match self.protocol {
                44 => {
                    self.offset = word(header, 2) >> 3;
                    self.more = header[3] & 1 != 0;
                    8
                }
                51 => (usize::from(header[1]) + 2) * 4,
                43 if header[2] == 0 && header[3] != 0 => return None,
                _ => (usize::from(header[1]) + 1) * 8,
            };
            self.segments_left |= self.protocol == 43 && header[3] != 0;
            self.protocol = header[0];
            at += length;
            if at - start > CHAIN.1 || at > self.end {
                return None;
            }
        }
        None
    }

    /// Its transport or ICMP checksum, if that is there.
    pub fn checksum(&self) -> Option<Checksum> {
        let (place, may_be_none, covers_addresses) = match (self.version, self.protocol) {
            (_, 6) => (16, false, true),
            (_, 17 | 136) => (6, true, true),
            (_, 33) => (6, false, true),
            (4, 1) => (2, false, false),
            (6, 58) => (2, false, true),
            _ => return None,
        };
        let at = self.transport.filter(|_| self.offset == 0)? + place;
        (at + 2 <= self.end).then_some(Checksum {
            at,
            may_be_none,
            covers_addresses,
        })
    }

    /// Whether it is a fragment that may not be translated: the first without its checksum (RFC
    /// 1858), or one that overwrites all but TCP's ports (RFC 3128).
    pub fn is_tiny(&self) -> bool {
        let has_checksum =
            matches!(self.protocol, 6 | 17 | 33 | 136) || (self.version, self.protocol) == (6, 58);
        let first = self.more && self.offset == 0 && has_checksum && self.checksum().is_none();
        first || self.protocol == 6 && self.offset == 1
    }

    /// The type of the ICMP message that begins here.
    pub fn icmp_type(&self, bytes: &[u8]) -> Option<u8> {
        let at = self.transport.filter(|at| *at < self.end)?;
        let icmp = matches!((self.version, self.protocol), (4, 1) | (6, 58));
        (icmp && self.offset == 0).then(|| bytes[at])
    }

    /// Whether an ICMP error begins here.
    pub fn is_icmp_error(&self, bytes: &[u8]) -> bool {
        match self.icmp_type(bytes) {
            Some(kind) if self.version == 4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
            Some(kind) => kind < 128,
            None => false,
        }
    }

    /// The packet that it quotes.
    pub fn embedded(&self, bytes: &[u8]) -> Option<Self> {
        Self::read(bytes, self.transport? + 8, self.end).filter(|ip| ip.version == self.version)
    }

    /// The sum of what its transport checksum covers, as far as it is there and may change: 0 where
    /// that is right.
    pub fn sum(&self, bytes: &[u8], checksum: Checksum) -> u64 {
        let start = self.transport.expect("a checksum is in a transport header");
        let message = sum(&bytes[start..self.end]);
        if !checksum.covers_addresses {
            return message % 0xffff;
        }
        let last = if self.segments_left {
            &self.source
        } else {
            &self.destination
        };
        let addresses = sum(&bytes[self.source.start..last.end]);
        let length = (self.end - start) as u64;
        (addresses + message + length + u64::from(self.protocol)) % 0xffff
    }

    /// The sum of an IPv4 header: 0 where its checksum is right.
    pub fn header_sum(&self, bytes: &[u8]) -> u64 {
        assert_eq!(self.version, 4, "IPv6 has no header checksum");
        let end = self.transport.expect("IPv4 headers are never too long");
        sum(&bytes[self.at..end]) % 0xffff
    }
}

/// The big-endian word at `at`.
pub fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The sum of the words of `bytes`; an odd last byte counts as the upper half of one.
pub fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2);
    words
        .map(|word| u64::from(word[0]) << 8 | word.get(1).map_or(0, |low| u64::from(*low)))
        .sum()
}

/// Likewise the ones' complement sum.
pub fn fold(bytes: &[u8]) -> u16 {
    let mut total = sum(bytes);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).expect("folded")
}

/// The two bytes that make the sum of what they are in 0, where they were 0 before.
pub fn complement(total: u64) -> [u8; 2] {
    let rest = u16::try_from(0xffff - total % 0xffff).expect("less than 2^16");
    rest.to_be_bytes()
}
