//! What the driver of the bench and its programs tell each other.
//!
//! All integers are in the host's order, addresses too: four words, of which IPv4 uses the last.
#![no_std]

/// How many VPCs a run can have; also how many interfaces the generator sends through.
pub const MAX_VPCS: u32 = 64;

/// How many frames the kernel takes from the generator at a time, which all go through one
/// interface.
pub const BATCH: u32 = 64;

/// How many steps the sequence of EIPs has that are not uniformly random.
pub const SEQUENCE: u32 = 1 << 20;

/// How many steps one element of the map holds.
pub const STEPS: u32 = 16;

/// The upper bits of both ports, which tell the bench's frames from others. Below the lower one has
/// 14 bits of the EIP's number; the upper one the flow's number, its complement, and the other bits
/// of the EIP's.
pub const PORT_MARK: u16 = 0x4000;

/// How many flows each EIP has: so many source ports.
pub const FLOWS: u32 = 1 << FLOW_BITS;

/// The bits of a flow's number.
pub const FLOW_BITS: u32 = 4;

/// The bits of the EIP's number in the upper port; those in the lower one.
pub const UPPER_BITS: u32 = 14 - 2 * FLOW_BITS;
/// See [`UPPER_BITS`].
pub const LOWER_BITS: u32 = 14;

/// The first two octets of every ENI's MAC; below is its number.
pub const ENI_MAC: [u8; 2] = [0x02, 0x0e];

/// What an address hangs on.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// Nothing.
    Nothing = 0,
    /// The number of the EIP.
    Eip = 1,
    /// The number of the private address in its VPC.
    Member = 2,
    /// The number of the EIP that this one talks to.
    Partner = 3,
    /// The number of that one's private address.
    PartnerMember = 4,
}

/// An address of a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// That of the number 0; a number is added to the last word.
    pub words: [u32; 4],
    /// A [`Follows`].
    pub follows: u32,
}

/// What is sent and what has to arrive.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// As the generator writes it.
    pub source: Address,
    /// Likewise.
    pub destination: Address,
    /// As the sink wants it.
    pub expected_source: Address,
    /// Likewise.
    pub expected_destination: Address,
    /// How many EIPs there are.
    pub eips: u32,
    /// How many of each VPC.
    pub members: u32,
    /// The logarithm of the number of VPCs.
    pub vpc_bits: u32,
    /// The logarithm of how many private addresses an ENI has.
    pub eni_bits: u32,
    /// The distance of the EIPs that talk to each other.
    pub partner: u32,
    /// Whether EIPs come as in the map `SEQUENCES`, not uniformly random.
    pub in_sequence: u32,
    /// Whether flows come one after the other, each of them once before any comes again.
    pub in_order: u32,
    /// Whether frames of three sizes are mixed.
    pub mixed: u32,
    /// Whether frames are sent with the ENI's MAC as source.
    pub from_eni: u32,
    /// Whether they have to arrive with the ENI's MAC as destination.
    pub to_eni: u32,
    /// Whether the sink checks checksums.
    pub strict: u32,
    /// Whether the ports carry no number: a destination is right if it is one of those expected.
    pub loose: u32,
    /// The MAC that frames are sent to.
    pub destination_mac: [u8; 6],
    /// The MAC that they are sent from.
    pub source_mac: [u8; 6],
}

/// What the generator of one CPU knows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How many frames it has sent.
    pub sent: u64,
    /// The random number last drawn, never 0.
    pub random: u64,
}

/// What the sink of one CPU has seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Frames that arrived as they have to.
    pub right: u64,
    /// The bench's frames with another address, MAC or checksum.
    pub wrong: u64,
    /// Frames that are not the bench's.
    pub foreign: u64,
    /// The bytes of the right ones.
    pub bytes: u64,
    /// The wrong one seen last: what it had and should have had, by [`Seen::CHECKS`].
    pub reason: u64,
}

impl Seen {
    /// What the sink checks, by the number in [`Seen::reason`].
    pub const CHECKS: [&'static str; 6] = [
        "nothing",
        "source address",
        "destination address",
        "destination MAC",
        "IP header checksum",
        "transport checksum",
    ];
}

/// What the textbook's NAT does to an EIP.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Translated {
    /// The private address, in network order.
    pub address: [u8; 4],
    /// The interface behind which it is: a place in `DEVICES`.
    pub device: u32,
    /// Its MAC.
    pub destination_mac: [u8; 6],
    /// The MAC of that interface.
    pub source_mac: [u8; 6],
}

/// The names of the maps.
pub mod maps {
    /// `Array<Plan>`, one.
    pub const PLAN: &str = "PLAN";
    /// `PerCpuArray<State>`, one.
    pub const STATES: &str = "STATES";
    /// `PerCpuArray<Seen>`, one.
    pub const SEEN: &str = "SEEN";
    /// `Array<u32>`: the generator's interface for each VPC.
    pub const INTERFACES: &str = "INTERFACES";
    /// `Array<[u32; STEPS]>`.
    pub const SEQUENCES: &str = "SEQUENCES";
    /// `DevMap` of the bare redirect and the textbook.
    pub const DEVICES: &str = "DEVICES";
    /// `Array<[u8; 12]>`: the MACs that the bare redirect writes.
    pub const MACS: &str = "MACS";
    /// `HashMap<[u8; 4], Translated>` of the textbook.
    pub const TRANSLATED: &str = "TRANSLATED";
    /// `ProgramArray`: what `restore` goes on to.
    pub const UNDER_TEST: &str = "UNDER_TEST";
    /// `Array<[u8; 128]>`: the frame that it restores.
    pub const FRAME: &str = "FRAME";
}

/// The names of the programs.
pub mod programs {
    /// Sends UDP over IPv4.
    pub const UDP4: &str = "udp4";
    /// Sends UDP over IPv6.
    pub const UDP6: &str = "udp6";
    /// Sends ICMP errors that quote UDP over IPv4.
    pub const ERROR4: &str = "error4";
    /// Sends ICMP errors that quote UDP over IPv6.
    pub const ERROR6: &str = "error6";
    /// Counts what arrives, IPv4.
    pub const SINK4: &str = "sink4";
    /// Counts what arrives, IPv6.
    pub const SINK6: &str = "sink6";
    /// Redirects, with new MACs.
    pub const BARE: &str = "bare";
    /// Drops.
    pub const CEILING: &str = "ceiling";
    /// Translates as a textbook would.
    pub const TEXTBOOK: &str = "textbook";
    /// Restores a frame, then runs the program under test.
    pub const RESTORE: &str = "restore";
    /// Does nothing.
    pub const EMPTY: &str = "empty";
}
