//! The EIPs' counters.

use aya::maps::MapError;
use eip_dp_common::abi::{EipCounters, Flow, maps};

use super::{PlaneError, kernel::broken, mapped::Mapped, source::Source};

/// The maps.
pub(super) struct Counters {
    received: Mapped<Flow>,
    sent: Mapped<Flow>,
    dropped: Mapped<[u64; 2]>,
}

impl Counters {
    pub(super) fn open(source: &Source<'_>) -> Result<Self, PlaneError> {
        Ok(Self {
            received: source.mapped(maps::EIP_IN)?,
            sent: source.mapped(maps::EIP_OUT)?,
            dropped: source.mapped(maps::EIP_DROPS)?,
        })
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> u32 {
        self.dropped.elements()
    }

    /// A slot's, of all CPUs.
    pub(super) fn of(&self, slot: u32) -> Result<EipCounters, PlaneError> {
        if slot >= self.slots() {
            return Err(broken(
                maps::EIP_DROPS,
                &MapError::OutOfBounds {
                    index: slot,
                    max_entries: self.slots(),
                },
            ));
        }
        let (received, sent) = (
            self.total(&self.received, slot),
            self.total(&self.sent, slot),
        );
        let [in_dropped, out_dropped] = self.dropped.get(slot);
        Ok(EipCounters {
            in_packets: received.packets,
            in_bytes: received.bytes,
            in_dropped,
            out_packets: sent.packets,
            out_bytes: sent.bytes,
            out_dropped,
        })
    }

    /// Makes a slot's 0, because another EIP gets it, and no program counts there.
    pub(super) fn clear(&self, slot: u32) {
        for cpu in 0..self.cpus() {
            let index = Flow::index(self.slots(), cpu, slot);
            self.received.set(index, &Flow::default());
            self.sent.set(index, &Flow::default());
        }
        self.dropped.set(slot, &[0; 2]);
    }

    fn cpus(&self) -> u32 {
        self.received
            .elements()
            .checked_div(self.slots())
            .unwrap_or(0)
    }

    fn total(&self, flows: &Mapped<Flow>, slot: u32) -> Flow {
        (0..self.cpus())
            .map(|cpu| flows.get(Flow::index(self.slots(), cpu, slot)))
            .fold(Flow::default(), |sum, flow| Flow {
                packets: sum.packets.wrapping_add(flow.packets),
                bytes: sum.bytes.wrapping_add(flow.bytes),
            })
    }
}
