//! What one program leaves for the next.

use super::{Egress, Outcome, Verdict};
use crate::abi::{Event, Reason};

/// An [`Outcome`] as one program leaves it for the next. Its layout is part of the ABI: while a
/// daemon starts, the programs of the one before go on to the stages of the new one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handoff {
    verdict: u32,
    reason: u32,
    receiver: u32,
    sender: u32,
    eni: u32,
    bytes: u32,
    mtu: u32,
    ifindex: u32,
    vlan: u32,
    event: u32,
}

impl Handoff {
    /// Writes an outcome down.
    #[inline(always)]
    pub const fn new(outcome: &Outcome) -> Self {
        let (verdict, reason) = match outcome.verdict {
            Verdict::Send => (1, 0),
            Verdict::SendUnresolved => (2, 0),
            Verdict::Fragment => (3, 0),
            Verdict::Reply => (4, 0),
            Verdict::Ping => (5, 0),
            Verdict::Pass => (6, 0),
            Verdict::PuntToDaemon => (7, 0),
            Verdict::Punt => (8, 0),
            Verdict::Drop(reason) => (9, reason.index()),
            Verdict::IcmpError(reason) => (10, reason.index()),
            Verdict::SendToNeighbour => (11, 0),
        };
        Self {
            verdict,
            reason,
            receiver: outcome.receiver,
            sender: outcome.sender,
            eni: outcome.eni,
            bytes: outcome.bytes,
            mtu: outcome.mtu,
            ifindex: outcome.egress.ifindex,
            vlan: outcome.egress.vlan,
            event: match outcome.event {
                Some(event) => event.index(),
                None => 0,
            },
        }
    }

    /// Reads one whose sender has to know: of all outcomes, two.
    #[inline(always)]
    pub const fn concerning_sender(&self) -> Outcome {
        let reason = if self.reason == Reason::TtlExceeded.index() {
            Reason::TtlExceeded
        } else {
            Reason::TooBig
        };
        Outcome {
            receiver: self.receiver,
            sender: self.sender,
            eni: self.eni,
            bytes: self.bytes,
            mtu: self.mtu,
            ..Outcome::dropped(reason)
        }
    }

    /// Reads it again; what no version of this ABI writes is a packet dropped as
    /// [`Reason::BadRecord`].
    #[inline(always)]
    pub const fn outcome(&self) -> Outcome {
        let reason = match Reason::from_index(self.reason) {
            Some(reason) => reason,
            None => Reason::BadRecord,
        };
        let verdict = match self.verdict {
            1 => Verdict::Send,
            2 => Verdict::SendUnresolved,
            3 => Verdict::Fragment,
            4 => Verdict::Reply,
            5 => Verdict::Ping,
            6 => Verdict::Pass,
            7 => Verdict::PuntToDaemon,
            8 => Verdict::Punt,
            9 => Verdict::Drop(reason),
            10 => Verdict::IcmpError(reason),
            11 => Verdict::SendToNeighbour,
            _ => Verdict::Drop(Reason::BadRecord),
        };
        Outcome {
            verdict,
            receiver: self.receiver,
            sender: self.sender,
            eni: self.eni,
            bytes: self.bytes,
            mtu: self.mtu,
            egress: Egress {
                ifindex: self.ifindex,
                vlan: self.vlan,
            },
            event: Event::from_index(self.event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_the_same_after_it() {
        let verdicts = [
            Verdict::Send,
            Verdict::SendUnresolved,
            Verdict::SendToNeighbour,
            Verdict::Fragment,
            Verdict::Reply,
            Verdict::Ping,
            Verdict::Pass,
            Verdict::PuntToDaemon,
            Verdict::Punt,
        ];
        let with_reason = Reason::ALL
            .iter()
            .flat_map(|reason| [Verdict::Drop(*reason), Verdict::IcmpError(*reason)]);
        for verdict in verdicts.into_iter().chain(with_reason) {
            for event in Event::ALL.iter().copied().map(Some).chain([None]) {
                let outcome = Outcome {
                    verdict,
                    receiver: 1,
                    sender: 2,
                    eni: 7,
                    bytes: 3,
                    mtu: 4,
                    egress: Egress {
                        ifindex: 5,
                        vlan: 6,
                    },
                    event,
                };
                assert_eq!(Handoff::new(&outcome).outcome(), outcome);
            }
        }
    }

    #[test]
    fn what_nobody_writes_is_a_drop() {
        let outcome = Handoff::default().outcome();
        assert_eq!(outcome.verdict, Verdict::Drop(Reason::BadRecord));
    }
}
