//! Protocol numbers (IANA) that the path treats in a way of their own.

/// ICMP for IPv4.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// DCCP.
pub const DCCP: u8 = 33;
/// Authentication header.
pub const AH: u8 = 51;
/// Encapsulating security payload (RFC 4303).
pub const ESP: u8 = 50;
/// ICMP for IPv6.
pub const ICMPV6: u8 = 58;
/// UDP-Lite.
pub const UDP_LITE: u8 = 136;
