//! What must hold of what guests are told, whatever they send: for the fuzz targets, and for the
//! tests that replay their corpora.
//!
//! Each function takes any bytes and panics if something does not hold. Frames are read by
//! [`wire`], which shares no code with the servers, and what has to come is said again after the
//! RFCs, for each input that they are clear about.

pub mod advertise;
pub mod dhcp4;
pub mod dhcp6;
pub mod envelope;
pub mod site;
pub mod solicit;
pub mod wire;

#[cfg(test)]
mod corpora;

/// What a server has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// To send a reply of this type.
    Reply(u8),
    /// To say nothing.
    Silence,
    /// Either: the RFC leaves open what the message means.
    Unclear,
}

impl Expected {
    fn of(reply: Option<u8>) -> Self {
        reply.map_or(Self::Silence, Self::Reply)
    }

    /// # Panics
    /// If it did something else. A client that has asked too often may be ignored.
    fn is(self, reply: Option<u8>, allowed: bool, asked: &impl std::fmt::Debug) {
        let found = match reply {
            Some(_) => Self::of(reply),
            None if !allowed => return,
            None => Self::Silence,
        };
        assert!(
            self == found || self == Self::Unclear,
            "{found:?} to {asked:?}: {self:?}"
        );
    }
}
