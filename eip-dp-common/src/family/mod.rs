//! What IPv4 and IPv6 differ in, so that everything else is written once.

pub mod protocol;
pub mod v4;
pub mod v6;

pub use v4::V4;
pub use v6::{V6, headers::Chain};

use crate::{
    abi::{Address, Reason},
    checksum::Delta,
    packet::{ABSENT, Covers, Mac, NETWORK, Packet},
    tables::LinkTables,
};

/// How many bits a `PREFILTER` map has; the first half is of short prefixes.
pub const PREFILTER_BITS: u32 = 2 << 16;

/// A prefix in 16 bits, all words of it exclusive-or'ed: each bit of the last word changes one.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "16 bits are wanted")]
const fn fold(prefix: u64) -> u32 {
    let half = prefix ^ prefix >> 32;
    (half ^ half >> 16) as u32 & 0xffff
}

/// An address family.
pub trait Family: Copy + 'static {
    /// An address, in network order.
    type Address: Address;
    /// The fixed part of the IP header, as it came.
    type Header: Copy;

    /// The target that stands for the uplink's next hop of this family.
    const UPLINK_TARGET: u32;
    /// No address.
    const UNSPECIFIED: Self::Address;
    /// What a transport checksum covers besides the transport packet.
    const PSEUDO_HEADER: Covers;
    /// Whether that is true of ICMP's checksum, too.
    const ICMP_HAS_PSEUDO_HEADER: bool;
    /// ICMP's protocol number, and the types of an echo and its reply.
    const ICMP: u8;
    /// See [`Self::ICMP`].
    const ECHO_REQUEST: u8;
    /// See [`Self::ICMP`].
    const ECHO_REPLY: u8;
    /// How many bytes of a packet the gateway's own ICMP errors quote at most: RFC 1812 4.3.2.3
    /// (576 bytes in all), RFC 4443 2.4 (1280 in all).
    const MAX_EMBEDDED: usize;
    /// The length of the headers in front of that quotation, IP's and ICMP's.
    const ERROR_HEADERS: usize;

    /// How long the prefixes are that the `PREFILTER` map has bits for, the short ones and the long
    /// ones: those that providers have, and those that they hand out. So a pool's neighbours at the
    /// same provider are told from it, too.
    const PREFILTERED: [u32; 2];

    /// The first 64 bits of an address, or all of it and zeros.
    fn upper(address: &Self::Address) -> u64;

    /// Which bits of the `PREFILTER` map stand for the short and the long prefix that hold
    /// `address`. A clear one says that no pool has the address; two set ones say that it is worth
    /// a look.
    #[inline(always)]
    fn prefilter(address: &Self::Address) -> [u32; 2] {
        let upper = Self::upper(address);
        let [short, long] = Self::PREFILTERED;
        [
            fold(upper >> (64 - short)),
            PREFILTER_BITS / 2 + fold(upper >> (64 - long)),
        ]
    }

    /// `address` under `mask`.
    fn mask(address: &Self::Address, mask: &Self::Address) -> Self::Address;

    /// Whether this is the address of a host that has none yet.
    fn is_unspecified(address: &Self::Address) -> bool;

    /// Whether this is an address, valid on one link only, that hosts have beside others.
    fn is_link_local(address: &Self::Address) -> bool;

    /// Whether this is the address, valid on its link only, that the gateway has on a port with
    /// this MAC.
    fn is_link_router(address: &Self::Address, port: Mac) -> bool;

    /// Whether no host has this as the address of an interface: unspecified, loopback, multicast,
    /// reserved.
    fn is_no_host(address: &Self::Address) -> bool;

    /// Whether no router forwards from or to this address (RFC 1812 5.3.7, RFC 3927 7, RFC 6890).
    fn is_martian(address: &Self::Address) -> bool;

    /// Whether the address is for private use: RFC 1918 and RFC 6598, or RFC 4193.
    fn is_private_use(address: &Self::Address) -> bool;

    /// The source address of a packet, unchecked.
    fn read_source<P: Packet>(packet: &P) -> Option<Self::Address>;

    /// Reads the IP header and checks what can be checked without what follows it: version and
    /// lengths.
    ///
    /// # Errors
    /// [`Reason::Malformed`].
    fn parse<P: Packet>(packet: &P) -> Result<Datagram<Self>, Reason>;

    /// [`Self::parse`] and [`Self::verify`] of a packet that is whole, in one piece, has a header
    /// of the usual length and is no ICMP but a ping, all of which is then known without a walk;
    /// any other is [`Reason::Malformed`], whatever it is.
    ///
    /// # Errors
    /// [`Reason::Malformed`].
    fn parse_plain<P: Packet>(packet: &P) -> Result<Datagram<Self>, Reason>;

    /// Checks the rest: the header's checksum and its options, or the extension headers. Gives what
    /// of them only NAT mode refuses.
    ///
    /// # Errors
    /// [`Reason::Malformed`], [`Reason::SourceRoute`], [`Reason::TinyFragment`].
    fn verify<P: Packet, L: LinkTables>(
        packet: &P,
        links: &L,
        datagram: &Datagram<Self>,
    ) -> Result<NatObstacle, Reason>;

    /// Whether it is a message in which routers or hosts of a link tell each other addresses, so
    /// that NAT mode refuses it.
    fn tells_addresses<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> bool;

    /// The address that an ICMP redirect names as the better router; unspecified for everything
    /// else. (IPv6's redirects are neighbour discovery.)
    fn redirect_target<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> Self::Address;

    /// Whether it is neighbour discovery (RFC 4861), wherever it stands.
    fn is_neighbour_discovery<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> bool;

    /// Whether the datagram is an ICMP error, which quotes another.
    fn is_icmp_error<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> bool;

    /// Whether its sender is never told by an ICMP error of what became of it, for what it is (RFC
    /// 1122 3.2.2).
    fn is_never_answered<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> bool;

    /// The packet whose IP header is at `at`, quoted up to `end`; `None` if there is no whole
    /// header.
    fn embedded<P: Packet, L: LinkTables>(
        packet: &P,
        links: &L,
        at: usize,
        end: usize,
    ) -> Option<Quoted<Self>>;

    /// Exchanges in the quoted header at `at` the addresses that `rewrite` changes in the error
    /// itself. Gives the difference of all of the header.
    ///
    /// # Errors
    /// [`Reason::KernelRefused`].
    fn rewrite_embedded<P: Packet>(
        packet: &mut P,
        at: usize,
        datagram: &Datagram<Self>,
        rewrite: &Rewrite<Self>,
    ) -> Result<Delta, Reason>;

    /// Writes the headers of an ICMP error in front of the `quoted` bytes that follow them.
    ///
    /// # Errors
    /// [`Reason::KernelRefused`].
    fn write_error<P: Packet>(
        packet: &mut P,
        source: &Self::Address,
        destination: &Self::Address,
        error: Error,
        embedded: usize,
    ) -> Result<(), Reason>;

    /// Whether the datagram asks for an echo, or may belong to one that does, as a later fragment
    /// of ICMP.
    #[inline(always)]
    fn echo_request<P: Packet>(packet: &P, datagram: &Datagram<Self>) -> Echo {
        const HEADER: usize = 8;
        if datagram.protocol != Self::ICMP {
            Echo::No
        } else if !datagram.fragment.begins() {
            Echo::Continued
        } else if datagram.icmp_type(packet) == u16::from(Self::ECHO_REQUEST)
            && datagram.transport + HEADER <= datagram.end
        {
            Echo::Request
        } else {
            Echo::No
        }
    }

    /// Whether the ICMP message at `transport` asks for an echo or is one.
    #[inline(always)]
    fn is_ping<P: Packet>(packet: &P, transport: usize) -> bool {
        let kind = packet.byte(transport);
        kind == u16::from(Self::ECHO_REQUEST) || kind == u16::from(Self::ECHO_REPLY)
    }

    /// Where the transport checksum that covers the addresses is, and whether 0 there means none.
    fn checksum_field(protocol: u8) -> ChecksumPlace;

    /// Writes a header with these addresses, and the hop limit one less where that is asked for.
    ///
    /// # Errors
    /// [`Reason::KernelRefused`].
    fn rewrite<P: Packet>(
        packet: &mut P,
        datagram: &Datagram<Self>,
        rewrite: &Rewrite<Self>,
    ) -> Result<(), Reason>;

    /// Turns an echo request into its reply, from the hop limit `64` on. The addresses change
    /// places, which no checksum sees.
    ///
    /// # Errors
    /// [`Reason::KernelRefused`].
    fn write_echo_reply<P: Packet>(
        packet: &mut P,
        datagram: &Datagram<Self>,
        echo: Echo,
    ) -> Result<(), Reason>;
}

/// An IP packet's header, read and checked.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<F: Family> {
    /// The fixed part of the header.
    pub header: F::Header,
    /// From whom.
    pub source: F::Address,
    /// To whom.
    pub destination: F::Address,
    /// Where the transport header is, in bytes from the start of the frame.
    pub transport: usize,
    /// Where the packet ends; what follows is Ethernet padding.
    pub end: usize,
    /// The transport protocol.
    pub protocol: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Which part of the transport packet it carries.
    pub fragment: Fragment,
    /// Whether a router may cut it into fragments.
    pub may_fragment: bool,
    /// Not 0 if it has an authentication header, which covers its addresses (RFC 4302).
    pub authenticated: u8,
    /// How the walk through its extension headers ended; [`Chain::WHOLE`] for IPv4, which has none.
    pub chain: Chain,
    /// Not 0 if a routing header leads on from its destination, so that its transport checksum is
    /// over another one (RFC 8200 8.1).
    pub segments_left: u8,
}

/// What only NAT mode refuses a packet for: a number and not an `Option`, which the verifier would
/// follow both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatObstacle(u8);

impl NatObstacle {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// An IPv4 option that carries addresses (RFC 7126 4.5, 4.7).
    pub const ADDRESS_OPTION: Self = Self(1);
    /// More extension headers than are looked through.
    pub const HEADERS_TOO_LONG: Self = Self(2);
    /// Options in a quoted header, which only the slow path looks through.
    pub const UNREAD: Self = Self(3);

    /// # Errors
    /// The reason not to translate the packet.
    #[inline(always)]
    pub const fn refuse(self) -> Result<(), Reason> {
        match self {
            Self::NONE => Ok(()),
            Self::ADDRESS_OPTION => Err(Reason::AddressOption),
            _ => Err(Reason::HeadersTooLong),
        }
    }
}

/// Which part of a transport packet a datagram carries: offset and flag as they came, and not a
/// name for each kind, which the verifier would follow one by one through all that comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment(u16);

impl Fragment {
    /// All of it.
    pub const WHOLE: Self = Self(0);

    /// The part at this offset, in units of 8 bytes, which others follow if `more` is 1, not if it
    /// is 0.
    #[inline(always)]
    pub const fn new(offset: u16, more: u16) -> Self {
        Self(offset << 1 | more)
    }

    /// The same, of which the verifier knows nothing any more.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "sixteen bits")]
    #[must_use]
    pub fn verifier_opaque<P: Packet>(self, packet: &P) -> Self {
        Self(packet.verifier_opaque(usize::from(self.0)) as u16)
    }

    /// Whether it is all of it.
    #[inline(always)]
    pub const fn is_whole(self) -> bool {
        self.0 == 0
    }

    /// Whether the transport header is in it.
    #[inline(always)]
    pub const fn begins(self) -> bool {
        self.0 <= 1
    }

    /// Whether it is the part at 8 bytes, which overwrites all but the ports of a TCP header (RFC
    /// 3128).
    #[inline(always)]
    pub const fn follows_first_words(self) -> bool {
        self.0 >> 1 == 1
    }
}

/// What a datagram is to somebody who answers pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// A request, or its first fragment.
    Request,
    /// A later fragment that may belong to a request.
    Continued,
    /// None.
    No,
}

/// A transport checksum's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChecksumPlace {
    /// In bytes, from the start of the transport header ([`Family::checksum_field`]) or of the
    /// frame ([`Datagram::transport_checksum`]). 0 where there is no checksum that covers the
    /// addresses.
    pub offset: usize,
    /// Whether a field of 0 means that there is no checksum.
    pub zero_is_none: bool,
}

impl ChecksumPlace {
    /// There is none.
    pub const NONE: Self = Self {
        offset: 0,
        zero_is_none: false,
    };
}

/// A packet that an ICMP error quotes, as far as it is there.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<F: Family> {
    /// From whom.
    pub source: F::Address,
    /// To whom.
    pub destination: F::Address,
    /// Its transport checksum, from the start of the frame, if so much of it is quoted.
    pub checksum: ChecksumPlace,
    /// As [`Datagram::segments_left`].
    pub segments_left: u8,
    /// What only NAT mode refuses it for.
    pub obstacle: NatObstacle,
}

/// An ICMP error of the gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The hop limit ended here.
    TimeExceeded,
    /// The packet is larger than the way out.
    TooBig {
        /// The MTU of the way out, in bytes.
        mtu: u32,
    },
}

/// A change of an IP header.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite<F: Family> {
    /// The source from now on.
    pub source: F::Address,
    /// The destination from now on.
    pub destination: F::Address,
    /// The checksum difference of the source's change.
    pub source_delta: Delta,
    /// That of the destination's.
    pub destination_delta: Delta,
    /// Whether the hop limit is one less.
    pub hop: bool,
}

impl<F: Family> Rewrite<F> {
    /// The checksum difference of both changes.
    #[inline(always)]
    pub fn delta(&self) -> Delta {
        self.source_delta.and(self.destination_delta)
    }

    /// What both do to the checksum of the packet's own transport, or of a message that is about
    /// it.
    #[inline(always)]
    pub fn transport_delta(&self, datagram: &Datagram<F>) -> Delta {
        if datagram.segments_left == 0 {
            self.delta()
        } else {
            self.source_delta
        }
    }

    /// Whether the source becomes another.
    #[inline(always)]
    pub fn changes_source(&self, datagram: &Datagram<F>) -> bool {
        self.source != datagram.source
    }

    /// Whether the destination becomes another.
    #[inline(always)]
    pub fn changes_destination(&self, datagram: &Datagram<F>) -> bool {
        self.destination != datagram.destination
    }
}

impl<F: Family> Datagram<F> {
    /// Its length in bytes, from the IP header to the end of the payload.
    #[inline(always)]
    pub const fn length(&self) -> usize {
        self.end - NETWORK
    }

    /// The same, as counters take it.
    #[inline(always)]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "an IP packet is shorter than 2^32 bytes"
    )]
    pub const fn bytes(&self) -> u32 {
        self.length() as u32
    }

    /// The type field of an ICMP message that begins in it, [`ABSENT`] where none does.
    #[inline(always)]
    pub fn icmp_type<P: Packet>(&self, packet: &P) -> u16 {
        let begins = self.fragment.begins();
        if self.protocol != F::ICMP || !begins || self.transport >= self.end {
            return ABSENT;
        }
        packet.byte(self.transport)
    }

    /// Turns the echo request that begins in it into a reply, but for the IP header.
    ///
    /// # Errors
    /// [`Reason::KernelRefused`].
    #[inline(always)]
    pub fn write_reply_type<P: Packet>(&self, packet: &mut P) -> Result<(), Reason> {
        let [kind, code, a, b] = packet
            .read::<4>(self.transport)
            .ok_or(Reason::KernelRefused)?;
        let change = Delta::between(&[kind, code], &[F::ECHO_REPLY, code]);
        let [a, b] = change.apply([a, b]);
        packet.write(self.transport, [F::ECHO_REPLY, code, a, b])
    }

    /// Where the transport checksum is that a change of address changes too. None in this datagram
    /// because of its protocol, because it is a later fragment, or because it ends before:
    /// [`ChecksumPlace::NONE`].
    ///
    /// # Errors
    /// [`Reason::TinyFragment`].
    #[inline(always)]
    pub fn transport_checksum(&self) -> Result<ChecksumPlace, Reason> {
        let mut place = F::checksum_field(self.protocol);
        if place.offset == 0 {
            return Ok(place);
        }
        place.offset += self.transport;
        let fits = place.offset + 2 <= self.end;
        if !self.fragment.begins() {
            // RFC 3128.
            if self.protocol == protocol::TCP && self.fragment.follows_first_words() {
                return Err(Reason::TinyFragment);
            }
            return Ok(ChecksumPlace::NONE);
        }
        if fits {
            return Ok(place);
        }
        // RFC 1858: without its checksum a first fragment cannot be translated.
        if self.fragment.is_whole() {
            Ok(ChecksumPlace::NONE)
        } else {
            Err(Reason::TinyFragment)
        }
    }
}
