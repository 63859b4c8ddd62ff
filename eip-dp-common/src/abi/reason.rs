//! Why a packet was not delivered.

use super::counted::counted;

counted! {
    /// Why a packet was not delivered. The numbers are an ABI: one is never given to another
    /// reason.
    Reason in 64 {
    /// The destination is in a pool, but no EIP with that address is associated.
    NoAssociation = 1 "no-association";
    /// The EIP's ENI is attached to no instance, or its port is not there.
    EniDetached = 2 "eni-detached";
    /// The ENI lost its cut-through EIP while attached; detach it and attach it again.
    EniStranded = 3 "eni-stranded";
    /// The source is a private IP without an EIP, the destination is outside the VPC.
    NoEip = 4 "no-eip";
    /// The source address belongs to no ENI of the same instance and VPC.
    SpoofedSource = 5 "spoofed-source";
    /// The source MAC is of no ENI on this port.
    SpoofedMac = 6 "spoofed-mac";
    /// Private traffic to or from an ENI in cut-through mode.
    PrivateNetworkOff = 7 "private-network-off";
    /// The destination is in the VPC, but no ENI has that address.
    NoSuchEni = 8 "no-such-eni";
    /// From the uplink, with a source that cannot be there: an EIP of this gateway, a special or a
    /// private address.
    Martian = 9 "martian";
    /// To a destination that no router forwards (RFC 6890).
    MartianDestination = 10 "martian-destination";
    /// The first fragment is too short for its transport header (RFC 1858, RFC 3128).
    TinyFragment = 11 "tiny-fragment";
    /// The IP header is malformed, or its checksum is wrong (RFC 1812 5.2.2).
    Malformed = 12 "malformed";
    /// A source-route option (RFC 7126).
    SourceRoute = 13 "source-route";
    /// TTL or hop limit 1 or 0 arrived. The sender is told, where the gateway has an address to
    /// tell it from.
    TtlExceeded = 14 "ttl-exceeded";
    /// Larger than the MTU of the way out, and not to be fragmented. The sender is told, where the
    /// gateway has an address to tell it from.
    TooBig = 15 "too-big";
    /// An ICMP error in NAT mode that quotes no packet of the association (RFC 5508, REQ-4).
    IcmpQuoteMismatch = 16 "icmp-quote-mismatch";
    /// A frame from a port that is neither IP nor ARP.
    UnsupportedEthertype = 17 "unsupported-ethertype";
    /// There is no uplink with a next hop to send to.
    NoNextHop = 18 "no-next-hop";
    /// The record of a port, uplink, VPC or pool changed while the packet was looked up, or its way
    /// out went away.
    TableBusy = 19 "table-busy";
    /// A record of the table holds what this program does not know.
    BadRecord = 20 "bad-record";
    /// The kernel refused a change of the packet or its way out (out of memory, a frame it cannot
    /// change).
    KernelRefused = 21 "kernel-refused";
    /// Neighbour discovery on an uplink to an address of a pool that is not answered for; ARP or
    /// neighbour discovery on a port that asks for the ENI's own address, or is an answer: nobody
    /// else is there to see it.
    ArpIgnored = 22 "arp-ignored";
    /// To the VPC's gateway, which answers ARP or neighbour discovery, DHCP and ping only, or to
    /// the gateway host itself.
    GatewayService = 23 "gateway-service";
    /// An IPv6 packet with more extension headers than are looked through, so that its transport
    /// header is not found.
    HeadersTooLong = 24 "headers-too-long";
    /// In NAT mode, an option or message that carries an address which is not translated: record
    /// route, timestamp, ICMP router messages (RFC 7126 4.5, 4.7).
    AddressOption = 25 "address-option";
    /// Beyond the ENI's budget for what the gateway does for it: answers of DHCP, DHCPv6 and router
    /// solicitations, and asking for neighbours on the uplink's link.
    RateLimited = 26 "rate-limited";
    /// What only the gateway may send to a guest of the VPC, from another guest: answers of DHCP
    /// and DHCPv6, neighbour discovery.
    RogueServer = 27 "rogue-server";
    /// A frame from a port to a MAC that is not the port's.
    OtherMac = 28 "other-mac";
    /// A frame on an interface with ports, of a VLAN that is neither a port's nor used by the host
    /// itself.
    NoPort = 29 "no-port";
}
}
