//! A frame in memory.

use super::wire::fold;
use crate::{
    abi::{Reason, Target},
    packet::{Change, HEADERS, NETWORK, Packet, PartialChecksum},
};

/// A frame, as a driver hands it over whose first piece has no more than what the path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// All of it.
    pub bytes: Vec<u8>,
    /// How many bytes its first piece has.
    first: usize,
    /// A checksum that is still to be written.
    pub partial: PartialChecksum,
}

impl Buffer {
    /// A frame of these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        let first = bytes.len().min(HEADERS);
        Self {
            bytes,
            first,
            partial: PartialChecksum::NONE,
        }
    }

    /// A frame of these bytes, all of which the path can read.
    pub fn in_one_piece(bytes: Vec<u8>) -> Self {
        let first = bytes.len();
        Self {
            first,
            ..Self::new(bytes)
        }
    }
}

impl Packet for Buffer {
    fn holds(&self, end: usize) -> bool {
        end <= self.bytes.len()
    }

    fn is_longer_than(&self, len: usize) -> bool {
        self.bytes.len() > len
    }

    fn trim(&mut self, len: usize) -> Result<(), Reason> {
        self.bytes.truncate(len);
        self.first = self.first.min(len);
        Ok(())
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let first = &self.bytes[..self.first];
        first.get(offset..offset + N)?.try_into().ok()
    }

    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Result<(), Reason> {
        let place = self.bytes[..self.first]
            .get_mut(offset..offset + N)
            .ok_or(Reason::KernelRefused)?;
        place.copy_from_slice(&bytes);
        Ok(())
    }

    fn adjust_checksum(&mut self, offset: usize, change: Change) -> Result<(), Reason> {
        let field = self.read(offset).ok_or(Reason::KernelRefused)?;
        self.write(offset, change.apply(field))
    }

    fn segment_payload(&self) -> Option<u32> {
        Some(0)
    }

    fn can_send(&self, _target: &Target) -> bool {
        true
    }

    fn can_reply(&self) -> bool {
        true
    }

    fn partial_checksum(&mut self) -> PartialChecksum {
        self.partial
    }

    fn pull(&mut self, end: usize) -> Result<(), Reason> {
        self.first = self.first.max(end.min(self.bytes.len()));
        Ok(())
    }

    /// As on an skb, the frame is in one piece after this.
    fn reshape(&mut self, keep: usize, headers: usize) -> Result<(), Reason> {
        if NETWORK + keep > self.bytes.len() {
            return Err(Reason::KernelRefused);
        }
        self.bytes.truncate(NETWORK + keep);
        self.bytes
            .splice(NETWORK..NETWORK, std::iter::repeat_n(0, headers));
        self.first = self.bytes.len();
        Ok(())
    }

    fn sum(&self, offset: usize, len: usize) -> Result<u16, Reason> {
        let bytes = self.bytes[..self.first].get(offset..offset + len);
        bytes
            .map(|bytes| fold(bytes).to_be())
            .ok_or(Reason::KernelRefused)
    }
}
