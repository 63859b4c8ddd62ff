//! Reads a client's message (RFC 8415, 8 and 21).
//!
//! The reader is our own for the reason that the DHCPv4 server's is: it faces whatever a guest
//! sends, and an option that means nothing here must not hide the next one.

use std::net::Ipv6Addr;

use crate::frame::v6::address;

const CLIENT_IDENTIFIER: u16 = 1;
const SERVER_IDENTIFIER: u16 = 2;
const ADDRESSES: u16 = 3;
const TEMPORARY_ADDRESSES: u16 = 4;
const ADDRESS: u16 = 5;
const OPTION_LIST: u16 = 6;
const RAPID_COMMIT: u16 = 14;
const PREFIXES: u16 = 25;

/// The longest identifier that a client may have (RFC 8415, 11.1).
const LONGEST_IDENTIFIER: usize = 130;
/// So many identity associations are looked at; a client has one or two. More would be a reply that
/// fits no frame.
const MOST_ASSOCIATIONS: usize = 8;
/// Likewise the addresses of an association.
const MOST_ADDRESSES: usize = 8;

/// A client's message, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// The message type's number.
    pub kind: u8,
    /// The transaction, which the reply repeats.
    pub xid: [u8; 3],
    /// The client's identifier, which the reply repeats.
    pub client: Option<&'a [u8]>,
    /// The server that it speaks to.
    pub server: Option<&'a [u8]>,
    /// What it wants addresses for, and those that it has.
    pub associations: Vec<Association>,
    /// The codes of the options that it would like to get, two bytes each.
    pub options: Option<&'a [u8]>,
    /// Whether it would take an address without a second exchange.
    pub rapid_commit: bool,
}

/// An identity association.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Association {
    /// Of what.
    pub kind: AssociationKind,
    /// The client's number for it.
    pub id: u32,
    /// The addresses that the client has, or would like to have.
    pub addresses: Vec<Ipv6Addr>,
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AssociationKind {
    /// An address.
    Address,
    /// An address that changes.
    Temporary,
    /// A prefix to delegate.
    Prefix,
}

impl<'a> Request<'a> {
    /// Reads a message. `None`: it is cut, or has an identifier that nobody may have.
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let ([kind, xid @ ..], options) = message.split_first_chunk::<4>()?;
        let mut request = Self {
            kind: *kind,
            xid: *xid,
            client: None,
            server: None,
            associations: Vec::new(),
            options: None,
            rapid_commit: false,
        };
        for option in Options(options) {
            let (code, value) = option?;
            match code {
                CLIENT_IDENTIFIER => request.client = Some(identifier(value)?),
                SERVER_IDENTIFIER => request.server = Some(identifier(value)?),
                ADDRESSES => request.take(AssociationKind::Address, value, 12)?,
                TEMPORARY_ADDRESSES => request.take(AssociationKind::Temporary, value, 4)?,
                PREFIXES => request.take(AssociationKind::Prefix, value, 12)?,
                OPTION_LIST => request.options = Some(value),
                RAPID_COMMIT => request.rapid_commit = true,
                _ => {}
            }
        }
        Some(request)
    }

    /// Whether the client asks for that option, or does not say what it wants.
    pub(super) fn wants(&self, code: u16) -> bool {
        self.options.is_none_or(|list| {
            list.chunks_exact(2)
                .any(|asked| *asked == code.to_be_bytes())
        })
    }

    /// Takes in an association, whose fixed part is of that length: its number and perhaps times.
    fn take(&mut self, kind: AssociationKind, value: &[u8], fixed: usize) -> Option<()> {
        let (fixed, options) = value.split_at_checked(fixed)?;
        let mut addresses = Vec::new();
        for option in Options(options) {
            let (code, value) = option?;
            if code == ADDRESS && addresses.len() < MOST_ADDRESSES {
                addresses.push(address(value)?);
            }
        }
        if self.associations.len() < MOST_ASSOCIATIONS {
            self.associations.push(Association {
                kind,
                id: u32::from_be_bytes(*fixed.first_chunk()?),
                addresses,
            });
        }
        Some(())
    }
}

fn identifier(value: &[u8]) -> Option<&[u8]> {
    (1..=LONGEST_IDENTIFIER)
        .contains(&value.len())
        .then_some(value)
}

/// The options in a message or in another option: code and value, or `None` for one that is cut,
/// which is the last.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = Option<(u16, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some(option) = split_option(self.0) else {
            self.0 = &[];
            return Some(None);
        };
        let (code, value, rest) = option;
        self.0 = rest;
        Some(Some((code, value)))
    }
}

/// The first option's code and value, and what is behind it.
fn split_option(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let ([a, b, c, d], rest) = bytes.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*c, *d])))?;
    Some((u16::from_be_bytes([*a, *b]), value, rest))
}
