//! A frame in pieces, as XDP gets it from a driver with large frames: the program may touch the
//! first piece alone.

use super::{Buffer, World, dice::Dice, run, site::UPLINK, wire::TYPE6};
use crate::{
    abi::{LinkKey, Reason, Target},
    family::{V4, V6},
    packet::{Change, HEADERS, Packet, PartialChecksum},
    pipeline::{
        LinkProtocols, Outcome, Verdict, fast_path_from_port, fast_path_from_uplink, is_discovery,
        packet_from_port, packet_from_uplink, punt_icmp_error,
    },
    tables::Tables,
};

/// A frame of which the path can touch a first piece of any length. What else it is asked, it
/// answers as the XDP programs' does: it leaves replies and what the kernel is to cut to tc, and
/// where a frame ends is only known of its first piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// The first piece.
    first: Buffer,
    /// The others.
    rest: Vec<u8>,
}

impl Pieces {
    /// A frame of these bytes, of which the first piece has so many.
    pub fn new(bytes: &[u8], first: usize) -> Self {
        let (first, rest) = bytes.split_at(first.min(bytes.len()));
        Self {
            first: Buffer::in_one_piece(first.to_vec()),
            rest: rest.to_vec(),
        }
    }

    /// All of the frame.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.first.bytes[..], &self.rest].concat()
    }
}

impl Packet for Pieces {
    fn holds(&self, end: usize) -> bool {
        end <= self.first.bytes.len() + self.rest.len()
    }

    fn is_longer_than(&self, len: usize) -> bool {
        self.first.is_longer_than(len)
    }

    /// Cuts the last piece first, as `bpf_xdp_adjust_tail` does.
    fn trim(&mut self, len: usize) -> Result<(), Reason> {
        self.rest
            .truncate(len.saturating_sub(self.first.bytes.len()));
        self.first.trim(len)
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.first.read(offset)
    }

    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Result<(), Reason> {
        self.first.write(offset, bytes)
    }

    fn adjust_checksum(&mut self, offset: usize, change: Change) -> Result<(), Reason> {
        self.first.adjust_checksum(offset, change)
    }

    fn segment_payload(&self) -> Option<u32> {
        Some(0)
    }

    fn can_send(&self, target: &Target) -> bool {
        self.first.can_send(target)
    }

    fn can_reply(&self) -> bool {
        false
    }

    fn partial_checksum(&mut self) -> PartialChecksum {
        PartialChecksum::NONE
    }

    fn pull(&mut self, _end: usize) -> Result<(), Reason> {
        Err(Reason::KernelRefused)
    }

    fn reshape(&mut self, _keep: usize, _headers: usize) -> Result<(), Reason> {
        Err(Reason::KernelRefused)
    }

    fn sum(&self, offset: usize, len: usize) -> Result<u16, Reason> {
        self.first.sum(offset, len)
    }
}

/// Which of the ways of XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Egress {
    Short,
    Whole,
}

/// Runs a frame that the dice make, and of which they say how long the first piece is: all of it at
/// most.
///
/// # Panics
/// See [`hold`].
pub fn roll(world: &World, dice: &mut Dice<'_>) -> Outcome {
    let first = usize::from(dice.short());
    let (ifindex, frame) = dice.frame();
    hold(world, ifindex, &frame, first % (frame.len() + 1))
}

/// Runs a frame from this interface whose first piece has so many bytes, or none, through the path
/// as XDP does.
///
/// # Panics
/// If it is sent as another frame than that which it becomes in one piece, or not sent and changed.
pub fn hold(world: &World, ifindex: u32, frame: &[u8], first: usize) -> Outcome {
    let is_ipv6 = frame.get(12..14) == Some(&TYPE6);
    let way = |way| {
        if is_ipv6 {
            held::<V6>(world, ifindex, frame, first, way)
        } else {
            held::<V4>(world, ifindex, frame, first, way)
        }
    };
    way(Egress::Short);
    way(Egress::Whole)
}

fn held<F: LinkProtocols>(
    world: &World,
    ifindex: u32,
    frame: &[u8],
    first: usize,
    way: Egress,
) -> Outcome
where
    World: Tables<F>,
{
    let mut packet = Pieces::new(frame, first);
    let outcome = match way {
        Egress::Short if ifindex == UPLINK => {
            fast_path_from_uplink::<F, _, _>(&mut packet, world, ifindex)
        }
        Egress::Short => fast_path_from_port::<F, _, _>(&mut packet, world, ifindex),
        Egress::Whole => whole::<F>(world, ifindex, &mut packet),
    };
    let after = packet.bytes();
    match outcome.verdict {
        Verdict::Send => is_that_of_one_piece(world, ifindex, frame, first, &outcome, &after),
        Verdict::Drop(Reason::KernelRefused) => panic!("a write outside the first piece"),
        _ => assert_eq!(after, frame, "{way:?}: {outcome:?}"),
    }
    outcome
}

/// What follows the fast path.
fn whole<F: LinkProtocols>(world: &World, ifindex: u32, packet: &mut Pieces) -> Outcome
where
    World: Tables<F>,
{
    // The program looks at this before all else.
    if packet.first.bytes.len() < HEADERS && !packet.rest.is_empty() {
        return Outcome {
            verdict: Verdict::Punt,
            ..Outcome::START
        };
    }
    let key = LinkKey::untagged(ifindex);
    let mut outcome = if is_discovery::<F, _>(packet) {
        Outcome::START
    } else if ifindex == UPLINK {
        packet_from_uplink::<F, _, _>(packet, world, key)
    } else {
        packet_from_port::<F, _, _>(packet, world, key)
    };
    punt_icmp_error::<F, _, _>(packet, world, &mut outcome);
    outcome
}

fn is_that_of_one_piece(
    world: &World,
    ifindex: u32,
    frame: &[u8],
    first: usize,
    outcome: &Outcome,
    after: &[u8],
) {
    let (in_one, mut expected) = run(world, ifindex, frame);
    assert_eq!(*outcome, in_one);
    let (sent, trimmed) = (after.len(), expected.len());
    if sent != trimmed {
        // Padding behind the first piece is nothing that the program sees; a device that it is too
        // long for drops it.
        assert!(sent == frame.len() && sent > trimmed && first < sent);
        expected.extend(&frame[trimmed..]);
    }
    assert_eq!(after, expected, "{outcome:?}");
}
