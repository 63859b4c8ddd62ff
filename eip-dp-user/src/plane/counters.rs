//! The EIPs' counters.

use aya::maps::MapError;
use eip_dp_common::abi::{EipCounters, Flow, maps};

use super::{PlaneError, kernel::broken, mapped::Mapped, source::Source};

/// The rows of `EIP_DROPS`: what programs count, and what was counted in maps before.
pub(super) const ROWS_OF_DROPS: u32 = 2;

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
        self.dropped.elements() / ROWS_OF_DROPS
    }

    /// A slot's, of all CPUs, and of maps before if `whole`.
    pub(super) fn of(&self, slot: u32, whole: bool) -> Result<EipCounters, PlaneError> {
        if slot >= self.slots() {
            return Err(broken(
                maps::EIP_DROPS,
                &MapError::OutOfBounds {
                    index: slot,
                    max_entries: self.slots(),
                },
            ));
        }
        let rows = self.rows() - u32::from(!whole);
        let (received, sent) = (
            self.total(&self.received, slot, rows),
            self.total(&self.sent, slot, rows),
        );
        let [mut in_dropped, mut out_dropped] = self.dropped.get(slot);
        if whole {
            let before = self.dropped.get(self.slots() + slot);
            in_dropped = in_dropped.wrapping_add(before[0]);
            out_dropped = out_dropped.wrapping_add(before[1]);
        }
        Ok(EipCounters {
            in_packets: received.packets,
            in_bytes: received.bytes,
            in_dropped,
            out_packets: sent.packets,
            out_bytes: sent.bytes,
            out_dropped,
        })
    }

    /// Sets what was counted of a slot's EIP in maps before.
    pub(super) fn carry(&self, slot: u32, before: &EipCounters) {
        let index = Flow::index(self.slots(), self.rows() - 1, slot);
        let flow = |packets, bytes| Flow { packets, bytes };
        self.received
            .set(index, &flow(before.in_packets, before.in_bytes));
        self.sent
            .set(index, &flow(before.out_packets, before.out_bytes));
        let dropped = [before.in_dropped, before.out_dropped];
        self.dropped.set(self.slots() + slot, &dropped);
    }

    /// Makes a slot's 0, because another EIP gets it, and no program counts there.
    pub(super) fn clear(&self, slot: u32) {
        for row in 0..self.rows() {
            let index = Flow::index(self.slots(), row, slot);
            self.received.set(index, &Flow::default());
            self.sent.set(index, &Flow::default());
        }
        self.dropped.set(slot, &[0; 2]);
        self.dropped.set(self.slots() + slot, &[0; 2]);
    }

    /// The CPUs', and that of maps before.
    fn rows(&self) -> u32 {
        self.received
            .elements()
            .checked_div(self.slots())
            .unwrap_or(1)
    }

    fn total(&self, flows: &Mapped<Flow>, slot: u32, rows: u32) -> Flow {
        (0..rows)
            .map(|row| flows.get(Flow::index(self.slots(), row, slot)))
            .fold(Flow::default(), |sum, flow| Flow {
                packets: sum.packets.wrapping_add(flow.packets),
                bytes: sum.bytes.wrapping_add(flow.bytes),
            })
    }
}
