//! Reads a client's message (RFC 2131, figure 1; RFC 2132).
//!
//! The reader is our own because it faces whatever a guest sends: `dhcproto`, which writes the
//! replies, asserts that some options are empty, and gives up on all that follows an option that it
//! cannot decode (a host name that is not UTF-8). Here only the few options that decide anything
//! are looked at.

use std::net::Ipv4Addr;

const HEADER: usize = 236;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// Opcode request, hardware type Ethernet, address length 6.
const ETHERNET_REQUEST: [u8; 3] = [1, 1, 6];

const PAD: u8 = 0;
const REQUESTED_ADDRESS: u8 = 50;
const MESSAGE_TYPE: u8 = 53;
const SERVER_IDENTIFIER: u8 = 54;
const PARAMETER_LIST: u8 = 55;
const LONGEST_MESSAGE: u8 = 57;
const CLIENT_IDENTIFIER: u8 = 61;
const END: u8 = 255;

/// A client's message, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// The message type's number.
    pub kind: u8,
    /// The transaction, which the reply repeats.
    pub xid: u32,
    /// Whether the client cannot receive unicast yet.
    pub broadcast: bool,
    /// The address that the client has, if it can be reached there.
    pub current: Option<Ipv4Addr>,
    /// The client's Ethernet address.
    pub mac: [u8; 6],
    /// The address that it asks for.
    pub requested: Option<Ipv4Addr>,
    /// The server that it speaks to.
    pub server: Option<Ipv4Addr>,
    /// The options that it would like to get.
    pub parameters: Option<&'a [u8]>,
    /// The longest IP packet that it takes a reply in, where it says so.
    pub longest: Option<u16>,
    /// Its identifier, which the reply repeats.
    pub identifier: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// Reads a message. `None`: it is no client's, not over Ethernet, relayed, or without a message
    /// type (BOOTP).
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let (header, rest) = message.split_at_checked(HEADER)?;
        let options = rest.strip_prefix(&MAGIC)?;
        let relayed = header[24..28] != [0; 4];
        if !header.starts_with(&ETHERNET_REQUEST) || relayed {
            return None;
        }
        let mut request = Self {
            kind: 0,
            xid: u32::from_be_bytes(*header[4..].first_chunk()?),
            broadcast: header[10] & 0x80 != 0,
            current: address(&header[12..16]).filter(|address| !address.is_unspecified()),
            mac: *header[28..].first_chunk()?,
            requested: None,
            server: None,
            parameters: None,
            longest: None,
            identifier: None,
        };
        request.read_options(options);
        (request.kind != 0).then_some(request)
    }

    /// Reads up to the end mark or the first option that is cut.
    fn read_options(&mut self, mut rest: &'a [u8]) {
        while let [code, after @ ..] = rest {
            match *code {
                END => return,
                PAD => {
                    rest = after;
                    continue;
                }
                _ => {}
            }
            let Some((length, after)) = after.split_first() else {
                return;
            };
            let Some((value, after)) = after.split_at_checked(usize::from(*length)) else {
                return;
            };
            rest = after;
            match *code {
                MESSAGE_TYPE => self.kind = value.first().copied().unwrap_or(0),
                REQUESTED_ADDRESS => self.requested = address(value),
                SERVER_IDENTIFIER => self.server = address(value),
                PARAMETER_LIST => self.parameters = Some(value),
                LONGEST_MESSAGE => {
                    self.longest = <[u8; 2]>::try_from(value).ok().map(u16::from_be_bytes);
                }
                CLIENT_IDENTIFIER => self.identifier = Some(value),
                _ => {}
            }
        }
    }
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}
