//! One frame through the path, and what must hold of every outcome.

use super::{
    Buffer, World, answers,
    site::{ENIS, Eni, Plan, ROUTER_MAC, STANDINGS, Standing, UPLINK, UPLINK_MAC, UPLINK_MTU},
    wire::{IP, Ip, TYPE6},
};
use crate::{
    abi::{LinkKey, Reason, SourceState, TargetFlags},
    family::{V4, V6},
    packet::Mac,
    pipeline::{
        Outcome, Verdict, fast_path_from_port, fast_path_from_uplink, from_port, from_uplink,
    },
};

/// Runs a frame from this interface through the path.
pub fn run(world: &World, ifindex: u32, frame: &[u8]) -> (Outcome, Vec<u8>) {
    let mut packet = Buffer::new(frame.to_vec());
    let key = LinkKey::untagged(ifindex);
    let outcome = if ifindex == UPLINK {
        from_uplink(&mut packet, world, key)
    } else {
        from_port(&mut packet, world, key)
    };
    assert_fast_path_agrees(world, ifindex, frame, &outcome, &packet.bytes);
    (outcome, packet.bytes)
}

/// Whoever takes the fast path ends where the full path does.
fn assert_fast_path_agrees(
    world: &World,
    ifindex: u32,
    frame: &[u8],
    outcome: &Outcome,
    after: &[u8],
) {
    let (short, bytes) = run_fast_path(world, ifindex, frame);
    if short.verdict == Verdict::Punt {
        assert_eq!(bytes, frame, "left, but not untouched");
        return;
    }
    assert_eq!(short, *outcome);
    assert_eq!(bytes, after);
}

/// Runs a frame from this interface the fast path, which is not for all.
pub fn run_fast_path(world: &World, ifindex: u32, frame: &[u8]) -> (Outcome, Vec<u8>) {
    let mut packet = Buffer::new(frame.to_vec());
    let is_ipv6 = frame.get(12..14) == Some(&TYPE6);
    let outcome = match (ifindex == UPLINK, is_ipv6) {
        (true, true) => fast_path_from_uplink::<V6, _, _>(&mut packet, world, ifindex),
        (true, false) => fast_path_from_uplink::<V4, _, _>(&mut packet, world, ifindex),
        (false, true) => fast_path_from_port::<V6, _, _>(&mut packet, world, ifindex),
        (false, false) => fast_path_from_port::<V4, _, _>(&mut packet, world, ifindex),
    };
    (outcome, packet.bytes)
}

/// Runs a frame from this interface through the path of the [site](super::site)'s world.
///
/// # Panics
/// If anything that has to hold does not.
pub fn hold(world: &World, ifindex: u32, frame: &[u8]) -> (Outcome, Vec<u8>) {
    let (outcome, after) = run(world, ifindex, frame);
    if frame.get(12..14) == Some(&TYPE6) {
        judge::<V6>(ifindex, frame, &outcome, &after);
    } else {
        judge::<V4>(ifindex, frame, &outcome, &after);
    }
    (outcome, after)
}

fn judge<F: Plan>(ifindex: u32, before: &[u8], outcome: &Outcome, after: &[u8]) {
    match outcome.verdict {
        Verdict::Pass | Verdict::PuntToDaemon => assert_eq!(after, before, "{outcome:?}"),
        Verdict::Fragment => {
            assert_eq!(after, before, "{outcome:?}");
            let ip = Ip::read(before, IP, before.len()).expect("no IP packet is cut");
            assert!(ip.version == 4 && !ip.unbroken, "it may not be cut");
            assert!(ip.end - IP > outcome.mtu as usize, "it fits");
        }
        Verdict::Drop(reason) => {
            assert_eq!(after, before, "{outcome:?}");
            // A bound that was not checked before the first write; a table that is not as it was
            // written.
            let impossible = [
                Reason::KernelRefused,
                Reason::TableBusy,
                Reason::BadRecord,
                Reason::NoNextHop,
            ];
            assert!(!impossible.contains(&reason), "{outcome:?}");
        }
        Verdict::Send => forwarded::<F>(ifindex, before, outcome, after),
        Verdict::Reply => answers::replied(ifindex, before, after),
        Verdict::IcmpError(reason) => {
            answers::refused::<F>(ifindex, before, reason, outcome.mtu, after);
        }
        Verdict::Ping | Verdict::Punt | Verdict::SendUnresolved | Verdict::SendToNeighbour => {
            panic!("not the end of a way in a buffer: {outcome:?}")
        }
    }
}

/// Where a packet has to go, and as what.
struct Onward<F: Plan> {
    source: F::Address,
    destination: F::Address,
    /// Whether NAT is on its way.
    translated: bool,
    /// Whether it is routed, and not on one link.
    routed: bool,
    ifindex: u32,
    mtu: u32,
    macs: [Mac; 2],
}

impl<F: Plan> Onward<F> {
    /// To an ENI.
    fn to(eni: &Eni, source: F::Address, destination: F::Address) -> Self {
        Self {
            source,
            destination,
            translated: false,
            routed: true,
            ifindex: eni.port,
            mtu: eni.mtu,
            macs: [eni.mac, eni.port_mac],
        }
    }

    fn inward(source: F::Address, destination: F::Address) -> Self {
        assert!(
            !is_attached_eip::<F>(&source),
            "an EIP's source from outside"
        );
        let standing = of_eip::<F>(&destination).expect("only packets to EIPs are forwarded");
        assert!(!is_inside::<F>(&source), "a private source from outside");
        receive(standing, source)
    }

    fn outward(eni: usize, source: F::Address, destination: F::Address) -> Self {
        let sender = &ENIS[eni];
        let owner = owner::<F>(sender.vpc, &source).expect("a source that nobody has");
        let owners = &ENIS[owner.eni.expect("an ENI that is attached")];
        let only_own = sender.flags & TargetFlags::ANTISPOOF_ENI != 0;
        assert!(
            owner.eni == Some(eni) || !only_own && owners.instance == sender.instance,
            "a spoofed source"
        );
        if is_inside::<F>(&destination) {
            let receiver = owner_of_private::<F>(sender.vpc, &destination);
            for end in [owner, receiver] {
                let private = matches!(end.state, SourceState::Nat | SourceState::NoEip);
                assert!(private, "private networking is off: {end:?}");
            }
            let receiver = &ENIS[receiver.eni.expect("an ENI that is attached")];
            let onward = Self::to(receiver, source, destination);
            return Self {
                routed: false,
                ..onward
            };
        }
        let sends = matches!(owner.state, SourceState::Nat | SourceState::CutThrough);
        assert!(sends, "no EIP: {owner:?}");
        let onward = match of_eip::<F>(&destination) {
            Some(receiver) => receive(receiver, F::public(owner.public)),
            None => Self {
                source: F::public(owner.public),
                destination,
                translated: false,
                routed: true,
                ifindex: UPLINK,
                mtu: UPLINK_MTU,
                macs: [ROUTER_MAC, UPLINK_MAC],
            },
        };
        Self {
            translated: onward.translated || owner.state == SourceState::Nat,
            ..onward
        }
    }
}

/// To an EIP.
fn receive<F: Plan>(standing: &Standing, source: F::Address) -> Onward<F> {
    let receives = matches!(standing.state, SourceState::Nat | SourceState::CutThrough);
    assert!(receives, "an EIP that receives nothing: {standing:?}");
    let eni = &ENIS[standing.eni.expect("an ENI that is attached")];
    Onward {
        translated: standing.state == SourceState::Nat,
        ..Onward::to(eni, source, standing.own::<F>())
    }
}

fn of_eip<F: Plan>(address: &F::Address) -> Option<&'static Standing> {
    let mut with_eip = STANDINGS.iter().filter(|standing| standing.public != 0);
    with_eip.find(|standing| F::public(standing.public) == *address)
}

fn is_attached_eip<F: Plan>(address: &F::Address) -> bool {
    of_eip::<F>(address).is_some_and(|standing| standing.state != SourceState::Detached)
}

fn owner<F: Plan>(vpc: u32, address: &F::Address) -> Option<&'static Standing> {
    let mut in_vpc = STANDINGS.iter().filter(|standing| standing.vpc == vpc);
    in_vpc.find(|standing| standing.own::<F>() == *address)
}

fn owner_of_private<F: Plan>(vpc: u32, address: &F::Address) -> &'static Standing {
    owner::<F>(vpc, address).expect("private traffic to nobody")
}

/// Whether an address is in the VPCs, which have all the same ones.
fn is_inside<F: Plan>(address: &F::Address) -> bool {
    F::mask(address, &F::VPC_MASK) == F::mask(&F::private(0), &F::VPC_MASK)
}

/// The ENI with the frame's source MAC on this port.
pub fn sender_of(ifindex: u32, frame: &[u8]) -> usize {
    let mut enis = ENIS.iter();
    enis.position(|eni| eni.port == ifindex && eni.mac == frame[6..12])
        .expect("a spoofed MAC")
}

fn forwarded<F: Plan>(ifindex: u32, before: &[u8], outcome: &Outcome, after: &[u8]) {
    let ip = Ip::read(before, IP, before.len()).expect("no IP packet was forwarded");
    assert!(ip.own_end <= before.len(), "a cut packet was forwarded");
    let source = F::address(&before[ip.source.clone()]);
    let destination = F::address(&before[ip.destination.clone()]);
    let onward = if ifindex == UPLINK {
        Onward::<F>::inward(source, destination)
    } else {
        Onward::<F>::outward(sender_of(ifindex, before), source, destination)
    };
    let length = ip.end - IP;
    assert_eq!(outcome.bytes as usize, length);
    let mut expected = before.to_vec();
    assert!(length <= onward.mtu as usize, "larger than the way out");
    if before.len() > IP + onward.mtu as usize {
        // Its padding does not fit.
        expected.truncate(ip.end);
    }
    assert_eq!(
        (outcome.egress.ifindex, outcome.egress.vlan),
        (onward.ifindex, 0)
    );
    expected[..12].copy_from_slice(&onward.macs.concat());
    if onward.routed {
        expected[ip.hop] = before[ip.hop].checked_sub(1).expect("a hop limit of 0");
        assert!(expected[ip.hop] != 0, "the hop limit ended here");
    }
    let leaves = onward.ifindex == UPLINK;
    assert!(
        !leaves || !is_inside::<F>(&onward.source),
        "a private source"
    );
    expected[ip.source.clone()].copy_from_slice(F::bytes(&onward.source));
    expected[ip.destination.clone()].copy_from_slice(F::bytes(&onward.destination));
    let mut checks = Checks::default();
    if ip.version == 4 {
        assert_eq!(ip.header_sum(before), 0, "a wrong header was forwarded");
        checks.header(&ip, before, after);
    }
    if onward.translated {
        assert!(!ip.is_tiny(), "a fragment that cannot be translated");
        if ip.is_icmp_error(before) {
            let embedded = ip.embedded(before).expect("nothing that is quoted");
            assert_eq!(
                before[embedded.source.clone()],
                before[ip.destination.clone()],
                "a quotation of somebody else's packet"
            );
            // Only where the source changes need it be the one that the packet went to: routers on
            // the way send errors, too.
            if onward.source != source {
                assert_eq!(
                    before[embedded.destination.clone()],
                    before[ip.source.clone()]
                );
                expected[embedded.destination.clone()].copy_from_slice(F::bytes(&onward.source));
            }
            expected[embedded.source.clone()].copy_from_slice(F::bytes(&onward.destination));
            if embedded.version == 4 {
                checks.header(&embedded, before, after);
            }
            checks.transport(&embedded, before, after);
            checks.transport(&ip, before, after);
        } else if ip.checksum().is_some_and(|sum| sum.covers_addresses) {
            checks.transport(&ip, before, after);
        }
    }
    assert_eq!(after.len(), expected.len(), "another length");
    for at in checks.fields {
        expected[at..at + 2].copy_from_slice(&after[at..at + 2]);
    }
    assert_eq!(after, expected, "{outcome:?}");
}

/// Checksums that may change, each held against what it covers.
#[derive(Default)]
pub struct Checks {
    /// Where they are.
    pub fields: Vec<usize>,
}

impl Checks {
    /// An IPv4 header's.
    pub fn header(&mut self, ip: &Ip, before: &[u8], after: &[u8]) {
        assert_eq!(ip.header_sum(after), ip.header_sum(before), "{ip:?}");
        self.fields.push(ip.at + 10);
    }

    /// A transport packet's or ICMP message's: right or wrong by as much as before.
    pub fn transport(&mut self, ip: &Ip, before: &[u8], after: &[u8]) {
        let Some(checksum) = ip.checksum() else {
            return;
        };
        let is_none = |bytes: &[u8]| bytes[checksum.at..checksum.at + 2] == [0, 0];
        if checksum.may_be_none && is_none(before) {
            return;
        }
        assert!(!checksum.may_be_none || !is_none(after), "no checksum now");
        let sums = [before, after].map(|bytes| ip.sum(bytes, checksum));
        assert_eq!(sums[1], sums[0], "{ip:?}");
        self.fields.push(checksum.at);
    }
}
