//! What else is counted: things that the gateway did.

use super::counted::counted;

counted! {
    /// Something that the gateway did beside delivering or dropping. The numbers are an ABI, as
    /// those of `Reason`.
    Event in 16 {
    /// A packet with an authentication header was translated: its receiver will refuse it (RFC
    /// 3715).
    AhTranslated = 1 "ah-translated";
    /// A time-exceeded message was sent.
    TimeExceeded = 2 "time-exceeded-sent";
    /// A fragmentation-needed or packet-too-big message was sent.
    TooBig = 3 "too-big-sent";
    /// An ICMP error was not sent, because too many were.
    Limited = 4 "icmp-limited";
    /// A packet was sent in fragments, or in smaller TCP segments.
    Fragmented = 5 "fragmented";
}
}
