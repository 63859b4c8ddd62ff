//! A reading of frames that shares no code with the servers'.

use std::net::IpAddr;

/// The names in a field of them (RFC 1035 3.1), each with a dot at its end; `None` where it is
/// none. Pointers are followed where they lead back.
pub fn names(bytes: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (name, end) = name(bytes, at)?;
        names.push(name);
        at = end;
    }
    Some(names)
}

/// The name at a place, and the end of what stands there.
fn name(bytes: &[u8], at: usize) -> Option<(String, usize)> {
    let length = usize::from(*bytes.get(at)?);
    match length {
        0 => Some((String::new(), at + 1)),
        1..=63 => {
            let label = str::from_utf8(bytes.get(at + 1..=at + length)?).ok()?;
            let (rest, end) = name(bytes, at + 1 + length)?;
            Some((format!("{label}.{rest}"), end))
        }
        192.. => {
            let to = (length & 63) << 8 | usize::from(*bytes.get(at + 1)?);
            let (name, _) = (to < at).then(|| name(bytes, to))??;
            Some((name, at + 2))
        }
        _ => None,
    }
}

/// An IP packet in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// To which MAC.
    pub to: [u8; 6],
    /// From which MAC.
    pub from: [u8; 6],
    /// Its version.
    pub is_ipv6: bool,
    /// The IP header.
    pub header: &'a [u8],
    /// From whom.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// Hop limit or TTL.
    pub hops: u8,
    /// What the payload is, by the header.
    pub protocol: u8,
    /// Whether it is not all of a packet.
    pub is_fragment: bool,
    /// What follows the header, as long as that says.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the frame; `None` where it holds no whole IP packet.
    pub fn read(frame: &'a [u8]) -> Option<Self> {
        let (ethernet, packet) = frame.split_at_checked(14)?;
        let is_ipv6 = match ethernet[12..] {
            [0x08, 0x00] => false,
            [0x86, 0xdd] => true,
            _ => return None,
        };
        let version = packet.first()? >> 4;
        let (length, end) = match version {
            4 if !is_ipv6 => (usize::from(packet[0] & 15) * 4, short(packet.get(2..4)?)),
            6 if is_ipv6 => (40, 40 + short(packet.get(4..6)?)),
            _ => return None,
        };
        let (header, payload) = packet.get(..end)?.split_at_checked(length)?;
        let (source, destination, hops, protocol, is_fragment) = if is_ipv6 {
            let source = <[u8; 16]>::try_from(&header[8..24]).ok()?;
            let destination = <[u8; 16]>::try_from(&header[24..40]).ok()?;
            (
                source.into(),
                destination.into(),
                header[7],
                header[6],
                false,
            )
        } else {
            let source = <[u8; 4]>::try_from(header.get(12..16)?).ok()?;
            let destination = <[u8; 4]>::try_from(header.get(16..20)?).ok()?;
            // More fragments, or an offset.
            let is_fragment = header[6] & 0x3f != 0 || header[7] != 0;
            (
                source.into(),
                destination.into(),
                header[8],
                header[9],
                is_fragment,
            )
        };
        Some(Self {
            to: ethernet[..6].try_into().ok()?,
            from: ethernet[6..12].try_into().ok()?,
            is_ipv6,
            header,
            source,
            destination,
            hops,
            protocol,
            is_fragment,
            payload,
        })
    }

    /// The ports of the UDP datagram that it is, and what that holds.
    pub fn datagram(&self) -> Option<(usize, usize, &'a [u8])> {
        let header = self.payload.get(..8)?;
        if self.protocol != 17 || self.is_fragment {
            return None;
        }
        let payload = self.payload.get(8..short(&header[4..6]))?;
        Some((short(header), short(&header[2..4]), payload))
    }

    /// The ones' complement sum of what the checksum of a UDP datagram or ICMPv6 message covers:
    /// all ones where it is right.
    pub fn sum(&self) -> u16 {
        sum(&self.pseudo_header(), self.payload)
    }

    /// The same, were the two bytes at `at` of the payload 0.
    pub fn sum_without(&self, at: usize) -> u16 {
        let mut payload = self.payload.to_vec();
        if let Some(field) = payload.get_mut(at..at + 2) {
            field.fill(0);
        }
        sum(&self.pseudo_header(), &payload)
    }

    fn pseudo_header(&self) -> Vec<u8> {
        let addresses = if self.is_ipv6 {
            &self.header[8..40]
        } else {
            &self.header[12..20]
        };
        let length = u16::try_from(self.payload.len()).expect("as the header says");
        [addresses, &[0, self.protocol], &length.to_be_bytes()].concat()
    }

    /// Whether the IPv4 header's checksum is right.
    pub fn has_header_sum(&self) -> bool {
        sum(self.header, &[]) == 0xffff
    }
}

/// The ones' complement sum; the first part has an even length.
fn sum(first: &[u8], second: &[u8]) -> u16 {
    let words = first.chunks(2).chain(second.chunks(2));
    let total: u64 = words
        .map(|word| u64::from(word[0]) << 8 | word.get(1).map_or(0, |low| u64::from(*low)))
        .sum();
    match total % 0xffff {
        0 if total > 0 => 0xffff,
        rest => u16::try_from(rest).expect("16 bits"),
    }
}

/// The big-endian number in the first two bytes.
pub fn short(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// The big-endian number in the first four bytes.
pub fn long(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))
}

/// The address at the start.
pub fn address6(bytes: &[u8]) -> std::net::Ipv6Addr {
    <[u8; 16]>::try_from(&bytes[..16])
        .expect("sixteen bytes")
        .into()
}

/// The link-local address that an interface with this MAC makes itself (RFC 2464, 4 and 5).
pub fn link_local(mac: [u8; 6]) -> std::net::Ipv6Addr {
    let (maker, number) = mac.split_at(3);
    let mut address = [
        &[0xfe, 0x80, 0, 0, 0, 0, 0, 0],
        maker,
        &[0xff, 0xfe],
        number,
    ]
    .concat();
    address[8] ^= 2;
    address6(&address)
}
