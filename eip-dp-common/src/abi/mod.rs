//! What user space writes and the kernel reads, and the other way round: the pinned maps' keys and
//! records.
//!
//! Every type here is `repr(C)` without padding and holds addresses as byte arrays in network
//! order; all other integers are in the host's order. [`ABI_VERSION`] changes whenever a layout or
//! a meaning does.

mod checksummed;
mod counted;
mod counters;
mod event;
mod keys;
mod net;
mod next_hop;
mod reason;
mod records;
mod request;

pub use checksummed::{Address, ChecksumKey, Checksummed};
pub use counters::{CounterOverflow, EipCounters, Flow, PackedCounter, Status, StatusWord};
pub use event::Event;
pub use keys::{AddressClass, LinkKey, MacKey, PrefixKey, SourceKey};
pub use net::NetWord;
pub use next_hop::{INGRESS_PLACES, Ingress, LINKS, Link, NextHop};
pub use reason::Reason;
pub use records::{
    Cidr, EipMode, EipRoute, FIRST_ENI_TARGET, MAX_CIDRS, NONE, Owner, PREFIX_CHECKSUM, Port,
    PortMac, PortRole, Prefix, SourceBinding, SourceState, Target, TargetFlags, UPLINK_TARGET4,
    UPLINK_TARGET6, Uplink, UplinkFlags, Vpc,
};
pub use request::RequestHeader;

/// The version of everything in this module; kept in [`StatusWord::Abi`] of the pinned `STATUS`
/// map.
pub const ABI_VERSION: u64 = 7;

/// Elements of the map `NAT_PEERS6` that share a cache line.
pub const NAT_PEERS_PER_CACHE_LINE: u32 = 4;

/// The names of the maps, as the BPF object declares them and as they are pinned.
pub mod maps {
    /// `Array<Bucket>`: every EIP of the table, associated or not; see [`crate::cuckoo`].
    pub const EIP4: &str = "EIP4";
    /// `Array<Bucket>`: every address that an ENI may have as source, by VPC; see
    /// [`crate::cuckoo`].
    pub const PRIVATE4: &str = "PRIVATE4";
    /// `LpmTrie<[u8; 4], Prefix<[u8; 4]>>`: prefixes and addresses that are not an EIP's.
    pub const PREFIX4: &str = "PREFIX4";
    /// `Array<Vpc>`, by VPC index.
    pub const VPCS: &str = "VPCS";
    /// `Array<Cidr<[u8; 4]>>`, by [`super::Cidr::index`].
    pub const CIDR4: &str = "CIDR4";
    /// `Array<u64>` of [`super::NetWord`], by [`super::Cidr::index`]: the same in short.
    pub const NETS4: &str = "NETS4";
    /// `Array<u64>` of [`super::NextHop`], by target: where packets are delivered; the first two
    /// are the uplink's next hops.
    pub const NEXT_HOPS: &str = "NEXT_HOPS";
    /// `Array<Owner>`, by target: whose they are.
    pub const OWNERS: &str = "OWNERS";
    /// `Array<Link>`, by the index in [`super::NextHop`] and [`super::Ingress`].
    pub const LINKS: &str = "LINKS";
    /// `Array<u64>` of [`super::Ingress`], by [`super::Ingress::place`].
    pub const INGRESS: &str = "INGRESS";
    /// `Array<[u8; 16]>`: the other addresses of IPv6's entries, see [`crate::cuckoo`].
    pub const NAT_PEERS6: &str = "NAT_PEERS6";
    /// `HashMap<LinkKey, Port>`.
    pub const PORTS: &str = "PORTS";
    /// `HashMap<MacKey, PortMac>`: every ENI's MAC, by port.
    pub const MACS: &str = "MACS";
    /// `HashMap<LinkKey, Uplink>`.
    pub const UPLINKS: &str = "UPLINKS";
    /// `Array<u64>`, 2,048 words: bits for every IPv4 prefix that overlaps a pool, see
    /// [`crate::family::Family::prefilter`].
    pub const PREFILTER4: &str = "PREFILTER4";
    /// The same for IPv6.
    pub const PREFILTER6: &str = "PREFILTER6";
    /// [`EIP4`] for IPv6.
    pub const EIP6: &str = "EIP6";
    /// [`PRIVATE4`] for IPv6.
    pub const PRIVATE6: &str = "PRIVATE6";
    /// [`PREFIX4`] for IPv6.
    pub const PREFIX6: &str = "PREFIX6";
    /// [`CIDR4`] for IPv6.
    pub const CIDR6: &str = "CIDR6";
    /// [`NETS4`] for IPv6.
    pub const NETS6: &str = "NETS6";
    /// `DevMapHash`: the interfaces that XDP may redirect to, by interface index.
    pub const DEVICES: &str = "DEVICES";
    /// `Array<PackedCounter>`, by [`super::PackedCounter::index`] and the EIP's slot: delivered to
    /// the ENI. In maps that took the place of others a row more, behind the CPUs': what was
    /// counted in those.
    pub const EIP_IN: &str = "EIP_IN";
    /// The same, by the slot in [`OUT_SLOTS`]: sent for the ENI, to an uplink or to another EIP.
    pub const EIP_OUT: &str = "EIP_OUT";
    /// `Array<[CounterOverflow; 2]>`, of all CPUs: first that of the slot's [`EIP_IN`], then that
    /// of the slot's [`EIP_OUT`]. With a row more, as above.
    pub const EIP_OVERFLOW: &str = "EIP_OVERFLOW";
    /// `Array<[u64; 2]>`, of all CPUs: how many packets were dropped, first those to the EIP with
    /// this slot, then those from the private address of the EIP with this slot in [`OUT_SLOTS`].
    /// With a row more, as above.
    pub const EIP_DROPS: &str = "EIP_DROPS";
    /// `Array<[u32; 2]>`, two slots an element: one more than where in [`EIP_OUT`] the counters of
    /// the slot's EIP are, 0 where there are none.
    pub const OUT_SLOTS: &str = "OUT_SLOTS";
    /// `Array<u64>`, by the EIP's slot: on which uplinks ARP and neighbour discovery are answered
    /// for it, a bit for each [`super::Uplink::number`].
    pub const ANSWERS: &str = "ANSWERS";
    /// `PerCpuArray<u64>`, by [`super::Reason`]; behind these as many of what was counted in maps
    /// before.
    pub const DROPS: &str = "DROPS";
    /// `PerCpuArray<u64>`, by [`super::Event`]; likewise.
    pub const EVENTS: &str = "EVENTS";
    /// `PerCpuArray<Handoff>`: what one program leaves for the next.
    pub const HANDOFF: &str = "HANDOFF";
    /// `RingBuf`: what guests ask the daemon (DHCP, DHCPv6, router solicitations), each a
    /// [`super::RequestHeader`] and the frame.
    pub const REQUESTS: &str = "REQUESTS";
    /// `Array<u64>`, by [`super::StatusWord`].
    pub const STATUS: &str = "STATUS";
    /// All of them.
    pub const ALL: [&str; 35] = [
        EIP4,
        PRIVATE4,
        PREFIX4,
        VPCS,
        CIDR4,
        NETS4,
        NEXT_HOPS,
        OWNERS,
        LINKS,
        INGRESS,
        NAT_PEERS6,
        PORTS,
        MACS,
        UPLINKS,
        PREFILTER4,
        PREFILTER6,
        EIP6,
        PRIVATE6,
        PREFIX6,
        CIDR6,
        NETS6,
        EVENTS,
        HANDOFF,
        super::stages::XDP,
        super::stages::TC,
        DEVICES,
        EIP_IN,
        EIP_OUT,
        EIP_OVERFLOW,
        EIP_DROPS,
        OUT_SLOTS,
        ANSWERS,
        DROPS,
        REQUESTS,
        STATUS,
    ];
}

/// The Ethernet addresses of packets on an uplink that has none: they never leave the host.
pub mod layer3 {
    /// The uplink's.
    pub const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
    /// Whoever is at the other end, and the next hop.
    pub const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
}

/// The names of the programs in the BPF object.
pub mod programs {
    /// XDP on an uplink.
    pub const UPLINK_XDP: &str = "uplink_xdp";
    /// tc ingress on an uplink: the slow path of [`UPLINK_XDP`], and delivery to virtual ports.
    pub const UPLINK_TC: &str = "uplink_tc";
    /// tc ingress on an uplink without Ethernet, in place of [`UPLINK_TC`], which it goes on to.
    pub const UPLINK_L3_TC: &str = "uplink_l3_tc";
    /// XDP on a port that is a NIC or a VF, or whose guests complete their checksums.
    pub const PORT_XDP: &str = "port_xdp";
    /// tc ingress on a port.
    pub const PORT_TC: &str = "port_tc";
}

/// Programs that others go on to, each with a stack of its own: how they are named, and where in
/// which map they are found.
pub mod stages {
    /// `ProgramArray`: the stages of XDP programs.
    pub const XDP: &str = "XDP_STAGES";
    /// `ProgramArray`: the stages of tc programs.
    pub const TC: &str = "TC_STAGES";

    /// In both: IPv6 from an uplink.
    pub const UPLINK6: u32 = 0;
    /// In both: IPv6 from a port.
    pub const PORT6: u32 = 1;
    /// In [`TC`]: an ICMP error to the sender of a packet that came from an uplink.
    pub const UPLINK4_ERROR: u32 = 2;
    /// The same for IPv6.
    pub const UPLINK6_ERROR: u32 = 3;
    /// In [`TC`]: an ICMP error to the sender of a packet that came from a port.
    pub const PORT4_ERROR: u32 = 4;
    /// The same for IPv6.
    pub const PORT6_ERROR: u32 = 5;
    /// In [`TC`]: ARP from an uplink.
    pub const UPLINK_ARP: u32 = 6;
    /// In [`TC`]: neighbour discovery from an uplink.
    pub const UPLINK_ND: u32 = 7;
    /// In [`TC`]: ARP from a port.
    pub const PORT_ARP: u32 = 8;
    /// In [`TC`]: neighbour discovery from a port.
    pub const PORT_ND: u32 = 9;
    /// In [`TC`]: a ping of the gateway from a port.
    pub const PING4: u32 = 10;
    /// The same for IPv6.
    pub const PING6: u32 = 11;
    /// In [`TC`]: the end of every packet's way, whatever becomes of it.
    pub const FINISH: u32 = 12;
    /// In both: IPv4 from an uplink, and what is no IP; in [`TC`] for packets from an uplink
    /// without Ethernet.
    pub const UPLINK4: u32 = 13;
    /// In [`XDP`]: the same from a port.
    pub const PORT4: u32 = 14;
    /// In [`TC`]: a packet that is larger than its way out is cut.
    pub const FRAGMENT: u32 = 15;
    /// In [`TC`]: each of its fragments.
    pub const FRAGMENTS: u32 = 16;
    /// How many places each map has.
    pub const COUNT: u32 = 32;

    /// The programs: the map, the place in it, and the name.
    pub const ALL: [(&str, u32, &str); 20] = [
        (XDP, UPLINK4, "uplink4_xdp"),
        (XDP, PORT4, "port4_xdp"),
        (XDP, UPLINK6, "uplink6_xdp"),
        (XDP, PORT6, "port6_xdp"),
        (TC, UPLINK4, "uplink_tc"),
        (TC, UPLINK6, "uplink6_tc"),
        (TC, PORT6, "port6_tc"),
        (TC, UPLINK4_ERROR, "uplink4_error"),
        (TC, UPLINK6_ERROR, "uplink6_error"),
        (TC, PORT4_ERROR, "port4_error"),
        (TC, PORT6_ERROR, "port6_error"),
        (TC, UPLINK_ARP, "uplink_arp"),
        (TC, UPLINK_ND, "uplink_nd"),
        (TC, PORT_ARP, "port_arp"),
        (TC, PORT_ND, "port_nd"),
        (TC, PING4, "ping4"),
        (TC, PING6, "ping6"),
        (TC, FINISH, "finish"),
        (TC, FRAGMENT, "fragment"),
        (TC, FRAGMENTS, "fragments"),
    ];
}
