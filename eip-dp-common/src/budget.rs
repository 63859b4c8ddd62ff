//! What the gateway does for each, and how often: ICMP errors, guests' requests, neighbours that
//! are asked for.
//!
//! Each ENI, and each EIP towards the Internet, has a budget of its own, so that nobody can use up
//! another's. A budget is one word, the time at which it is whole again (the generic cell rate
//! algorithm, ITU-T I.371): an action moves that time on by an interval, and is refused where it
//! would lie too far ahead. Words are shared by all CPUs and written without a lock; of two CPUs
//! that act at once one may go uncounted.

/// A rate, and how much may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How long it takes until there is one more, in nanoseconds.
    every: u64,
    /// How many may come at once.
    burst: u64,
}

impl Budget {
    const fn per_second(rate: u64, burst: u64) -> Self {
        Self {
            every: 1_000_000_000 / rate,
            burst,
        }
    }

    /// The word after one more action at `now`, in nanoseconds; 0 if the budget is used up. A word
    /// of 0 is a budget that is whole.
    #[inline(always)]
    pub const fn spend(self, word: u64, now: u64) -> u64 {
        let whole = if word > now { word } else { now };
        if whole - now > self.every * (self.burst - 1) {
            return 0;
        }
        whole + self.every
    }
}

/// What an ENI has a budget for.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EniBudget {
    /// Time-exceeded messages to it (RFC 1812 4.3.2.8, RFC 4443 2.4 (f)).
    TimeExceeded = 0,
    /// Fragmentation-needed and packet-too-big messages to it: apart, since path MTU discovery
    /// hangs on them.
    TooBig = 1,
    /// DHCP, DHCPv6 and router solicitations.
    Requests = 2,
    /// Addresses on an uplink's link that are to be resolved.
    Neighbours = 3,
}

impl EniBudget {
    /// How many an ENI has.
    pub const COUNT: u32 = 4;

    /// How much.
    #[inline(always)]
    pub const fn budget(self) -> Budget {
        match self {
            Self::TimeExceeded | Self::TooBig => ERRORS,
            Self::Requests => Budget::per_second(20, 40),
            Self::Neighbours => Budget::per_second(4, 16),
        }
    }
}

/// What an EIP has a budget for: about packets that come for it from the Internet.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EipBudget {
    /// Time-exceeded messages.
    TimeExceeded = 0,
    /// Fragmentation-needed and packet-too-big messages.
    TooBig = 1,
}

impl EipBudget {
    /// How much.
    #[inline(always)]
    pub const fn budget(self) -> Budget {
        ERRORS
    }
}

/// ICMP errors of a kind about one ENI's or EIP's packets.
const ERRORS: Budget = Budget::per_second(100, 100);

/// ICMP errors to one address on the Internet, whatever they are about: what somebody who forges
/// that source can direct there.
pub const RECEIVER: Budget = Budget::per_second(1_000, 1_000);

/// Whether a budget is only looked at, or one of it is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spend {
    /// Looked at, for another program to spend.
    Check,
    /// Spent.
    Consume,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget::per_second(10, 3);
    const SECOND: u64 = 1_000_000_000;

    /// How many of a flood at `now` are allowed.
    fn flood(word: &mut u64, now: u64) -> u32 {
        let mut allowed = 0;
        while BUDGET.spend(*word, now) != 0 {
            *word = BUDGET.spend(*word, now);
            allowed += 1;
        }
        allowed
    }

    #[test]
    fn a_burst_then_the_rate_then_a_burst_again() {
        let mut word = 0;
        assert_eq!(flood(&mut word, SECOND), 3);
        assert_eq!(flood(&mut word, SECOND), 0);
        assert_eq!(flood(&mut word, SECOND + SECOND / 10), 1);
        assert_eq!(flood(&mut word, SECOND + SECOND / 10), 0);
        assert_eq!(flood(&mut word, 100 * SECOND), 3);
    }

    #[test]
    fn who_keeps_to_the_rate_is_never_refused() {
        let mut word = 0;
        for tick in 1..1000 {
            word = BUDGET.spend(word, tick * SECOND / 10);
            assert_ne!(word, 0, "{tick}");
        }
    }
}
