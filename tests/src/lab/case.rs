//! Tables of packets: each case says what is sent where, and what becomes of it.
//!
//! Every packet of a table has an identification of its own in its IP header (IPv6: the flow
//! label), by which it is found wherever it comes out. At the end of a table each case was seen in
//! exactly the places that it names.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result, ensure};
use eip_dp_user::model::Vlan;

use super::{
    capture::{Capture, Frame, ip_of},
    frames,
    scene::{ENIS, Scene, eni_on},
    topology::{GATEWAY_MAC, INTERNET_MAC, UPLINK},
};

/// The name of the Internet host's side; a guest's side has the name of its port.
pub const INTERNET_SIDE: &str = "internet";

/// A host on the Internet that answers nothing (nobody has the address).
pub const OUTSIDE: &str = "192.0.2.1";

/// What becomes of a packet.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// It comes out at this side with this source and destination, and this TTL; all else is as the
    /// packet's expression gives it for these.
    Arrives(&'static str, [&'static str; 2], u8),
    /// It is dropped and counted under this reason.
    Dropped(&'static str),
    /// It comes out nowhere, and no drop is counted under any reason: the gateway's own kernel has
    /// it.
    ToTheHost,
}

/// One packet of a table.
#[derive(Clone, Debug)]
pub struct Case {
    /// The row of the specification, and what is special here.
    pub id: String,
    /// The side that sends.
    pub from: &'static str,
    /// The packet in scapy's words, of the source `S`, the destination `D` and the TTL `T`; `I(…)`
    /// is the IP header with them.
    pub packet: &'static str,
    /// The source and destination that are sent.
    pub sent: [&'static str; 2],
    /// What becomes of it.
    pub expect: Expect,
}

/// The TTL that every packet is sent with.
pub const TTL: u8 = 64;

/// Python that the expressions use. `GS` and `GD` are source and destination as they arrive.
const PRELUDE: &str = r"
import struct
def row(number, s, d, t, gs, gd, text):
    globals().update(N=number, S=s, D=d, T=t, GS=gs, GD=gd)
    return eval(text)
def I(**fields):
    if ':' in S:
        return IPv6(**{**dict(src=S, dst=D, hlim=T, fl=N), **fields})
    return IP(**{**dict(src=S, dst=D, ttl=T, id=N), **fields})
def bytes_at(packet, at, new):
    'The packet with some of its bytes replaced.'
    b = bytearray(bytes(packet)); b[at:at+len(new)] = new
    return bytes(b)
def wrong(packet, at):
    'The packet with the checksum at this offset of its payload wrong by a fixed difference.'
    b = bytearray(bytes(packet)); h = (b[0] & 15) * 4 + at
    c = int.from_bytes(b[h:h+2], 'big') + 0x0101
    b[h:h+2] = ((c & 0xffff) + (c >> 16)).to_bytes(2, 'big')
    return bytes(b)
def zero_sum():
    'A UDP datagram whose checksum comes out as 0 with the addresses that arrive.'
    plain = bytes(IP(src=GS, dst=GD)/UDP(sport=5000, dport=5001)/b'\0\0payload')
    return UDP(sport=5000, dport=5001)/(plain[26:28] + b'payload')
def summed(protocol, segment, at):
    'A segment with the pseudo-header checksum written at an offset.'
    c = in4_chksum(protocol, IP(src=S, dst=D), segment)
    return I(proto=protocol)/(segment[:at] + c.to_bytes(2, 'big') + segment[at+2:])
def udp_lite():
    return summed(136, struct.pack('!HHHH', 5000, 5001, 0, 0) + b'udp-lite', 6)
def dccp():
    return summed(33, struct.pack('!HHBBHBBHII', 5000, 5001, 6, 0, 0, 1, 0, 1, 2, 3) + b'dccp', 6)
def pieces(packet, size):
    'The fragments of a packet.'
    return fragment(packet, fragsize=size)
";

/// A running table: captures on every side.
pub struct Bench<'a> {
    scene: &'a Scene,
    sides: BTreeMap<&'static str, Side>,
}

/// Where packets are sent and seen: a VLAN of a wire, or the wire untagged.
struct Side {
    /// Of the wire: that of all sides that are its VLANs.
    capture: Arc<Capture>,
    /// The gateway's interface on the wire.
    wire: &'static str,
    vlan: Option<Vlan>,
    own_mac: [u8; 6],
    gateway_mac: [u8; 6],
}

impl<'a> Bench<'a> {
    /// Starts the captures.
    pub fn new(scene: &'a Scene) -> Result<Self> {
        let mut sides = BTreeMap::new();
        let internet = Side {
            capture: Arc::new(Capture::start(&scene.backbone.internet, UPLINK)?),
            wire: UPLINK,
            vlan: None,
            own_mac: mac(INTERNET_MAC)?,
            gateway_mac: mac(GATEWAY_MAC)?,
        };
        sides.insert(INTERNET_SIDE, internet);
        for eni in &ENIS {
            let side = Side {
                capture: Arc::new(Capture::start(
                    scene.guest(eni_on(eni.port)?.instance),
                    eni.interface,
                )?),
                wire: eni.port,
                vlan: None,
                own_mac: mac(eni.mac)?,
                gateway_mac: mac(&scene.mac_of(eni.port)?)?,
            };
            sides.insert(eni.port, side);
        }
        Ok(Self { scene, sides })
    }

    /// Adds a side that is not of the scene: an `interface` of a guest behind `port`.
    pub fn add(
        &mut self,
        port: &'static str,
        guest: &super::netns::Netns,
        interface: &str,
        own: &str,
    ) -> Result<()> {
        self.add_vlan(port, (port, None), guest, interface, own)
    }

    /// Likewise, with a name of its own: a VLAN of the wire at the gateway's interface, or the wire
    /// untagged.
    pub fn add_vlan(
        &mut self,
        name: &'static str,
        (wire, vlan): (&'static str, Option<Vlan>),
        host: &super::netns::Netns,
        interface: &str,
        own: &str,
    ) -> Result<()> {
        let of_wire = self.sides.values().find(|side| side.wire == wire);
        let capture = match of_wire {
            Some(side) => Arc::clone(&side.capture),
            None => Arc::new(Capture::start(host, interface)?),
        };
        let side = Side {
            capture,
            wire,
            vlan,
            own_mac: mac(own)?,
            gateway_mac: mac(&self.scene.mac_of(wire)?)?,
        };
        self.sides.insert(name, side);
        Ok(())
    }

    /// Sends a packet from a side, in a frame to the gateway's interface.
    pub fn send(&self, from: &str, ether_type: [u8; 2], packet: &[u8]) -> Result<()> {
        let side = self.side(from)?;
        side.capture.send(&side.frame(ether_type, packet))
    }

    /// Waits for the first frame that comes to a side and that `wanted` picks; it is looked at
    /// without its tags.
    pub fn wait_at(&self, at: &str, what: &str, wanted: impl Fn(&Frame) -> bool) -> Result<Frame> {
        let side = self.side(at)?;
        side.capture.wait_for(what, |seen| {
            seen.vlan() == side.vlan && wanted(&seen.untagged())
        })
    }

    /// The sides to which a frame came that `wanted` picks.
    pub fn seen(&self, wanted: impl Fn(&Frame) -> bool) -> Vec<&'static str> {
        let mut sides: Vec<_> = self.sides.iter().collect();
        sides.retain(|(_, side)| !side.capture.incoming(&wanted).is_empty());
        sides.into_iter().map(|(name, _)| *name).collect()
    }

    /// The capture of a side.
    pub fn capture(&self, side: &str) -> Result<&Capture> {
        Ok(&self.side(side)?.capture)
    }

    fn side(&self, name: &str) -> Result<&Side> {
        self.sides
            .get(name)
            .with_context(|| format!("there is no side {name}"))
    }

    /// Sends every packet of the table and holds what comes out against it.
    pub fn run(&self, cases: &[Case]) -> Result<()> {
        let packets = build(cases)?;
        let mut failures = Vec::new();
        for (case, [sent, expected]) in cases.iter().zip(&packets) {
            if let Err(error) = self.run_case(case, sent, expected) {
                failures.push(format!("{} from {}: {error:#}", case.id, case.from));
            }
            // So many have one cause; each would be waited for.
            ensure!(failures.len() < 10, "ten of them:\n{}", failures.join("\n"));
        }
        for (number, case) in (FIRST..).zip(cases) {
            failures.extend(
                self.strays(number, case)
                    .into_iter()
                    .map(|stray| format!("{} from {}: {stray}", case.id, case.from)),
            );
        }
        ensure!(
            failures.is_empty(),
            "{} of {} packets went wrong:\n{}",
            failures.len(),
            cases.len(),
            failures.join("\n")
        );
        Ok(())
    }

    fn run_case(&self, case: &Case, sent: &[u8], expected: &[u8]) -> Result<()> {
        let gateway = &self.scene.gateway;
        let from = self.side(case.from)?;
        let frame = from.frame(ether_type_of(sent), sent);
        match case.expect {
            Expect::Arrives(at, _, _) => {
                let to = self.side(at)?;
                from.capture.send(&frame)?;
                let number = identification(sent);
                let arrived = to.capture.wait_for("the packet to arrive", |seen| {
                    number.is_some() && identification_in(seen) == number
                })?;
                ensure!(
                    arrived.vlan() == to.vlan,
                    "it arrived at {at} with the tag {:?}, not {:?}",
                    arrived.vlan(),
                    to.vlan
                );
                let arrived = arrived.untagged();
                let expected = [&[0; 12], &ether_type_of(expected)[..], expected].concat();
                let expected = ip_of(&expected);
                ensure!(
                    arrived.packet() == expected,
                    "arrived at {at} as\n  {:02x?}, not as\n  {expected:02x?}",
                    arrived.packet()
                );
                let addresses: [u8; 12] = [to.own_mac, to.gateway_mac]
                    .concat()
                    .try_into()
                    .unwrap_or_default();
                ensure!(
                    arrived.bytes[..12] == addresses,
                    "its Ethernet addresses are {:02x?}, not {addresses:02x?}",
                    &arrived.bytes[..12]
                );
            }
            Expect::Dropped(reason) => {
                let before = gateway.dropped(reason)?;
                from.capture.send(&frame)?;
                let more = gateway.wait_for_drop(reason, before)?;
                ensure!(more == 1, "{more} packets were dropped as {reason}, not 1");
            }
            Expect::ToTheHost => {
                let before = gateway.all_dropped()?;
                from.capture.send(&frame)?;
                // A ping through the gateway after it: by then the packet had its turn.
                let pinged = super::traffic::ping(
                    &self.scene.backbone.internet,
                    None,
                    super::topology::GATEWAY,
                    1,
                )?;
                ensure!(pinged.lost_nothing(), "the gateway itself answers no ping");
                let after = gateway.all_dropped()?;
                ensure!(before == after, "{} packets were dropped", after - before);
            }
        }
        Ok(())
    }

    /// Where a case's packet came out besides where it should have.
    fn strays(&self, number: u16, case: &Case) -> Vec<String> {
        let wanted = match case.expect {
            Expect::Arrives(at, _, _) => self.sides.get(at).map(|side| (side.wire, side.vlan)),
            Expect::Dropped(_) | Expect::ToTheHost => None,
        };
        let mut strays = Vec::new();
        for (name, side) in &self.sides {
            let seen: Vec<_> = side
                .capture
                .incoming(|frame| identification_in(frame) == Some(number))
                .iter()
                .map(Frame::vlan)
                .collect();
            let wanted: Vec<_> = wanted
                .filter(|(wire, _)| *wire == side.wire)
                .map(|(_, vlan)| vlan)
                .into_iter()
                .collect();
            if seen != wanted {
                strays.push(format!(
                    "at {name} packets with tags {seen:?}, not {wanted:?}"
                ));
            }
        }
        strays
    }
}

impl Side {
    fn frame(&self, ether_type: [u8; 2], packet: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(22 + packet.len());
        frame.extend(self.gateway_mac);
        frame.extend(self.own_mac);
        if let Some(vlan) = self.vlan {
            if let Some(outer) = vlan.outer {
                frame.extend([0x88, 0xa8]);
                frame.extend(outer.to_be_bytes());
            }
            frame.extend([0x81, 0]);
            frame.extend(vlan.id.to_be_bytes());
        }
        frame.extend(ether_type);
        frame.extend(packet);
        frame
    }
}

/// The identification of a table's first packet.
const FIRST: u16 = 0x7100;

fn build(cases: &[Case]) -> Result<Vec<[Vec<u8>; 2]>> {
    let mut expressions = Vec::new();
    for (number, case) in (FIRST..).zip(cases) {
        let (got, ttl) = match case.expect {
            Expect::Arrives(_, got, ttl) => (got, ttl),
            Expect::Dropped(_) | Expect::ToTheHost => (case.sent, TTL),
        };
        for ([source, destination], ttl) in [(case.sent, TTL), (got, ttl)] {
            expressions.push(format!(
                "row({number},'{source}','{destination}',{ttl},'{}','{}',{:?})",
                got[0], got[1], case.packet
            ));
        }
    }
    let packets = frames::build(PRELUDE, &expressions)?;
    packets
        .chunks(2)
        .map(|pair| {
            let [sent, expected] = pair else {
                anyhow::bail!("scapy built half a case");
            };
            Ok([sent.clone(), expected.clone()])
        })
        .collect()
}

fn identification_in(frame: &Frame) -> Option<u16> {
    let frame = frame.untagged();
    let is_ip = matches!(frame.bytes.get(12..14), Some([8, 0] | [0x86, 0xdd]));
    identification(frame.packet()).filter(|_| is_ip)
}

fn identification(packet: &[u8]) -> Option<u16> {
    let at = if is_ipv6(packet) { 2..4 } else { 4..6 };
    let bytes: [u8; 2] = packet.get(at)?.try_into().ok()?;
    Some(u16::from_be_bytes(bytes))
}

fn ether_type_of(packet: &[u8]) -> [u8; 2] {
    if is_ipv6(packet) {
        [0x86, 0xdd]
    } else {
        [8, 0]
    }
}

fn is_ipv6(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == 6)
}

fn mac(text: &str) -> Result<[u8; 6]> {
    text.parse::<eip_dp_user::model::objects::Mac>()
        .map(|mac| mac.0)
        .with_context(|| format!("{text} is no Ethernet address"))
}
