//! Protocol numbers (IANA) that the path treats in a way of their own.

/// ICMP for IPv4.
pub const ICMP: u8 = 1;
/// IPv4 in IP (RFC 2003).
pub const IPIP: u8 = 4;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// DCCP.
pub const DCCP: u8 = 33;
/// IPv6 in IP (RFC 2473, RFC 4213).
pub const IPV6: u8 = 41;
/// GRE (RFC 2784).
pub const GRE: u8 = 47;
/// Authentication header.
pub const AH: u8 = 51;
/// Encapsulating security payload (RFC 4303).
pub const ESP: u8 = 50;
/// ICMP for IPv6.
pub const ICMPV6: u8 = 58;
/// VRRP (RFC 5798).
pub const VRRP: u8 = 112;
/// SCTP.
pub const SCTP: u8 = 132;
/// UDP-Lite.
pub const UDP_LITE: u8 = 136;
