//! Which of the EIPs that are on an uplink's link nobody else there holds.
//!
//! Before the gateway says that it has such an EIP, it asks the link (RFC 5227 2.1, RFC 4862 5.4);
//! who answers has it. After that it listens (RFC 5227 2.4): the first who says that it has the
//! address is told once that it is ours, who says so again has it. What somebody else has is asked
//! for again from time to time, and is ours once nobody answers.
//!
//! The pauses are shorter than those of RFC 5227, which are for hosts whose users wait for them
//! once: here neighbours wait for the answer, a holder answers within a millisecond, and who did
//! not hear the probes is heard later.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use eip_dp_common::abi::LinkKey;
use tokio::time::Instant;

use crate::schedule::Schedule;

/// So many probes are sent, …
const PROBES: u8 = 3;
/// … with this distance, …
const DISTANCE: Duration = Duration::from_millis(200);
/// … and so long after the last of them nobody holds the address.
const SILENCE: Duration = Duration::from_millis(300);
/// `DEFEND_INTERVAL` of RFC 5227: who contradicts within that after another contradiction has the
/// address.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// So long after an answer an address is asked for again, …
const AGAIN: Duration = Duration::from_secs(5);
/// … or after as many of these as there are such addresses: 20 a second at most.
const AGAIN_EACH: Duration = Duration::from_millis(50);

/// An EIP on an uplink's link, and what is to be found out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The EIP.
    pub address: IpAddr,
    /// The uplink.
    pub link: LinkKey,
    /// The interface whose neighbours are there.
    pub home: u32,
    /// The uplink's Ethernet address.
    pub mac: [u8; 6],
    /// Whether it is answered for there already, as by a daemon before this one.
    pub held: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The EIP.
    pub address: IpAddr,
    /// The uplink on whose link it was asked for.
    pub link: LinkKey,
    /// Who else holds it; `None`: nobody.
    pub holder: Option<[u8; 6]>,
}

/// What somebody on a link says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The interface that heard it.
    pub home: u32,
    /// The address.
    pub address: IpAddr,
    /// Who says so.
    pub mac: [u8; 6],
    /// Whether it says that it has the address; else it asks whether somebody has, to take it.
    pub has_it: bool,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where.
    pub link: LinkKey,
    /// From whom.
    pub mac: [u8; 6],
    /// For what.
    pub address: IpAddr,
}

/// The claims, and what is to be done for them.
#[derive(Debug, Default)]
pub struct Claims {
    held: HashMap<IpAddr, Held>,
    /// Those of which some probes are sent: they go before others.
    begun: Schedule<IpAddr>,
    /// Those that wait for their first one.
    waiting: Schedule<IpAddr>,
    /// How many somebody else has.
    lost: u32,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    link: LinkKey,
    home: u32,
    mac: [u8; 6],
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many probes are sent. It may be somebody else's so far.
    Asking { sent: u8, was_lost: bool },
    /// Nobody else has it.
    Ours { contested: Option<Instant> },
    /// Somebody else has it.
    Lost,
}

impl State {
    fn is_lost(self) -> bool {
        matches!(self, Self::Lost | Self::Asking { was_lost: true, .. })
    }
}

/// What hearing something leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The address is somebody else's.
    Lost(Verdict),
    /// Everybody is told once more whose it is.
    Defend(Probe),
}

impl Claims {
    /// Takes a claim up. One that is the same goes on as it is.
    pub fn claim(&mut self, claim: Claim, now: Instant) {
        let Claim {
            address,
            link,
            home,
            mac,
            held,
        } = claim;
        let before = self.held.get(&address).copied();
        let is_same = before.is_some_and(|before| before.link == link && before.home == home);
        let ours = State::Ours { contested: None };
        let state = match before {
            Some(before) if is_same => before.state,
            // What was found out on one uplink of a link holds on another.
            _ if held => ours,
            _ => State::Asking {
                sent: 0,
                was_lost: before.is_some_and(|before| before.state.is_lost()),
            },
        };
        if !is_same {
            self.lost -= u32::from(before.is_some_and(|before| before.state.is_lost()));
            self.lost += u32::from(state.is_lost());
            self.begun.remove(address);
            self.waiting.remove(address);
            if state != ours {
                self.waiting.set(address, now);
            }
        }
        let held = Held {
            link,
            home,
            mac,
            state,
        };
        self.held.insert(address, held);
    }

    /// Drops a claim.
    pub fn release(&mut self, address: IpAddr) {
        if let Some(held) = self.held.remove(&address) {
            self.lost -= u32::from(held.state.is_lost());
            self.begun.remove(address);
            self.waiting.remove(address);
        }
    }

    /// When [`Self::next`] has something.
    pub fn next_due(&self) -> Option<Instant> {
        let both = [self.begun.next_due(), self.waiting.next_due()];
        both.into_iter().flatten().min()
    }

    /// What is due: a probe to send, or what came of those that were sent.
    pub fn next(&mut self, now: Instant) -> Option<Result<Probe, Verdict>> {
        let address = self.begun.pop(now).or_else(|| self.waiting.pop(now))?;
        let held = self.held.get_mut(&address)?;
        let (sent, was_lost) = match held.state {
            State::Asking { sent, was_lost } => (sent, was_lost),
            State::Lost => (0, true),
            State::Ours { .. } => return None,
        };
        if sent == PROBES {
            held.state = State::Ours { contested: None };
            self.lost -= u32::from(was_lost);
            let (link, holder) = (held.link, None);
            return Some(Err(Verdict {
                address,
                link,
                holder,
            }));
        }
        let sent = sent + 1;
        held.state = State::Asking { sent, was_lost };
        let pause = if sent == PROBES { SILENCE } else { DISTANCE };
        self.begun.set(address, now + pause);
        Some(Ok(held.probe(address)))
    }

    /// Somebody who is no gateway of this table says something of an address.
    pub fn hear(&mut self, evidence: &Evidence, now: Instant) -> Option<Heard> {
        let address = evidence.address;
        let held = self.held.get_mut(&address)?;
        if held.home != evidence.home {
            return None;
        }
        let was_lost = held.state.is_lost();
        match held.state {
            State::Asking { .. } => {}
            // Who asks is answered by the programs.
            State::Ours { .. } if !evidence.has_it => return None,
            State::Ours { contested } => {
                if contested.is_none_or(|before| now - before >= DEFEND_INTERVAL) {
                    let contested = Some(now);
                    held.state = State::Ours { contested };
                    return Some(Heard::Defend(held.probe(address)));
                }
            }
            State::Lost => return None,
        }
        held.state = State::Lost;
        let verdict = Verdict {
            address,
            link: held.link,
            holder: Some(evidence.mac),
        };
        self.lost += u32::from(!was_lost);
        self.waiting.remove(address);
        let pause = AGAIN.max(AGAIN_EACH.saturating_mul(self.lost));
        self.begun.set(address, now + pause);
        Some(Heard::Lost(verdict))
    }

    /// Whether there is a claim of that address.
    pub fn has(&self, address: IpAddr) -> bool {
        self.held.contains_key(&address)
    }
}

impl Held {
    fn probe(&self, address: IpAddr) -> Probe {
        Probe {
            link: self.link,
            mac: self.mac,
            address,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn address(last: u8) -> IpAddr {
        [203, 0, 113, last].into()
    }

    fn claim(last: u8) -> Claim {
        Claim {
            address: address(last),
            link: LinkKey::untagged(3),
            home: 3,
            mac: MAC,
            held: false,
        }
    }

    fn says(last: u8) -> Evidence {
        Evidence {
            home: 3,
            address: address(last),
            mac: OTHER,
            has_it: true,
        }
    }

    fn verdict(last: u8, holder: Option<[u8; 6]>) -> Verdict {
        Verdict {
            address: address(last),
            link: LinkKey::untagged(3),
            holder,
        }
    }

    /// Everything that happens until there is a verdict: the milliseconds of the probes, and it.
    fn drain(claims: &mut Claims, start: Instant) -> (Vec<u128>, Verdict) {
        let mut probes = Vec::new();
        loop {
            let due = claims.next_due().expect("a verdict");
            match claims.next(due) {
                Some(Ok(_)) => probes.push((due - start).as_millis()),
                Some(Err(verdict)) => return (probes, verdict),
                None => {}
            }
        }
    }

    #[test]
    fn nobody_answers_three_probes() {
        let (mut claims, start) = (Claims::default(), Instant::now());
        claims.claim(claim(9), start);
        let (probes, found) = drain(&mut claims, start);
        assert_eq!(probes, [0, 200, 400]);
        assert_eq!(found, verdict(9, None));
        assert_eq!(claims.next_due(), None);
        // Once more changes nothing.
        claims.claim(claim(9), start);
        assert_eq!(claims.next_due(), None);
    }

    #[test]
    fn who_answers_has_it_until_nobody_answers_any_more() {
        let (mut claims, start) = (Claims::default(), Instant::now());
        claims.claim(claim(9), start);
        assert!(matches!(claims.next(start), Some(Ok(_))));
        let lost = Heard::Lost(verdict(9, Some(OTHER)));
        assert_eq!(claims.hear(&says(9), start), Some(lost));
        assert_eq!(claims.hear(&says(9), start), None, "it is known");
        assert_eq!(claims.lost, 1);
        assert_eq!(claims.next_due(), Some(start + AGAIN));
        let (probes, found) = drain(&mut claims, start);
        assert_eq!(probes, [5_000, 5_200, 5_400]);
        assert_eq!((found, claims.lost), (verdict(9, None), 0));
    }

    #[test]
    fn who_asks_at_the_same_time_has_it() {
        let (mut claims, start) = (Claims::default(), Instant::now());
        claims.claim(claim(9), start);
        let asks = Evidence {
            has_it: false,
            ..says(9)
        };
        let elsewhere = Evidence { home: 4, ..asks };
        assert_eq!(claims.hear(&elsewhere, start), None);
        assert!(matches!(claims.hear(&asks, start), Some(Heard::Lost(_))));
    }

    #[test]
    fn it_is_defended_once_in_a_while() {
        let (mut claims, start) = (Claims::default(), Instant::now());
        claims.claim(
            Claim {
                held: true,
                ..claim(9)
            },
            start,
        );
        assert_eq!(claims.next_due(), None, "it is answered for already");
        let probe = Probe {
            link: LinkKey::untagged(3),
            mac: MAC,
            address: address(9),
        };
        let mut time = start;
        for _ in 0..3 {
            assert_eq!(
                claims.hear(&says(9), time),
                Some(Heard::Defend(probe)),
                "RFC 5227 2.4 (b)"
            );
            time += DEFEND_INTERVAL;
        }
        let soon = time - Duration::from_secs(1);
        let lost = Heard::Lost(verdict(9, Some(OTHER)));
        assert_eq!(claims.hear(&says(9), soon), Some(lost));
    }

    #[test]
    fn what_was_begun_goes_before_what_waits() {
        let (mut claims, start) = (Claims::default(), Instant::now());
        for last in 1..=200 {
            claims.claim(claim(last), start);
        }
        let first = claims.next(start).expect("due").expect("a probe");
        let second = claims.next(start + DISTANCE).expect("due");
        assert_eq!(second, Ok(first));
        claims.release(first.address);
        assert!(!claims.has(first.address));
        for _ in 0..199 {
            let probe = claims.next(start + DISTANCE).expect("due").expect("one");
            assert_ne!(probe.address, first.address);
        }
    }

    /// A router that answers for everything is not asked for 65,536 addresses every five seconds.
    #[test]
    fn many_addresses_of_others_are_asked_for_seldom() {
        let (mut claims, start) = (Claims::default(), Instant::now());
        let many: Vec<IpAddr> = (0..=u16::MAX)
            .map(|number| [10, 9, number.to_be_bytes()[0], number.to_be_bytes()[1]].into())
            .collect();
        for address in &many {
            claims.claim(
                Claim {
                    address: *address,
                    ..claim(0)
                },
                start,
            );
            let says = Evidence {
                address: *address,
                ..says(0)
            };
            claims.hear(&says, start);
        }
        let minute = start + Duration::from_mins(1);
        let mut asked = 0;
        while claims.next_due().is_some_and(|due| due < minute) {
            claims.next(minute);
            asked += 1;
        }
        assert!(asked <= 4 * 60 * 20, "{asked}");
        for address in many {
            claims.release(address);
        }
        assert_eq!((claims.lost, claims.next_due()), (0, None));
    }

    #[test]
    fn another_uplink_of_the_link_goes_on_with_what_is_held() {
        let (mut claims, start) = (Claims::default(), Instant::now());
        claims.claim(claim(9), start);
        drain(&mut claims, start);
        let moved = Claim {
            link: LinkKey::untagged(4),
            home: 4,
            held: true,
            ..claim(9)
        };
        claims.claim(moved, start);
        assert_eq!(claims.next_due(), None);
        let asked = Claim {
            held: false,
            ..claim(9)
        };
        claims.claim(asked, start);
        assert_eq!(claims.next_due(), Some(start));
    }
}
