//! ARP as a neighbour asks it, by frames of the lab's own: there are two programs by the name of
//! `arping`, which take different options, and a machine has one of them at most.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use super::{capture::Capture, netns::Netns};

const REQUEST: u8 = 1;
const REPLY: u8 = 2;

/// Who answers an ARP request of this side for `address`, if anybody does. `fence` is an address
/// that somebody on the link has: it is asked for afterwards, and whoever has answered that has
/// answered the other one, or never will.
pub fn who_has(
    side: &Netns,
    interface: &str,
    address: &str,
    fence: &str,
) -> Result<Option<String>> {
    let own = address_of(side, interface)?;
    ask(side, interface, own, address, fence)
}

/// Who answers a probe: the question whether an address is free that this side is about to take
/// (RFC 5227).
pub fn probe(side: &Netns, interface: &str, address: &str, fence: &str) -> Result<Option<String>> {
    ask(side, interface, Ipv4Addr::UNSPECIFIED, address, fence)
}

/// Tells everybody on the link that this side has the address.
pub fn announce(side: &Netns, interface: &str, address: &str) -> Result<()> {
    let capture = Capture::start(side, interface)?;
    let address = address.parse()?;
    capture.send(&request(mac_of(side, interface)?, address, address))
}

fn ask(
    side: &Netns,
    interface: &str,
    sender: Ipv4Addr,
    address: &str,
    fence: &str,
) -> Result<Option<String>> {
    let mac = mac_of(side, interface)?;
    let (wanted, fence): (Ipv4Addr, Ipv4Addr) = (address.parse()?, fence.parse()?);
    let capture = Capture::start(side, interface)?;
    capture.send(&request(mac, sender, wanted))?;
    capture.send(&request(mac, address_of(side, interface)?, fence))?;
    let what = format!("an answer for {fence} on {interface} of {}", side.name());
    capture.wait_for(&what, |frame| answers(&frame.bytes, mac, fence).is_some())?;
    let frames = capture.incoming(|_| true);
    let mut answers = frames
        .iter()
        .filter_map(|frame| answers(&frame.bytes, mac, wanted));
    Ok(answers.next().map(|mac| {
        let bytes = mac.map(|byte| format!("{byte:02x}"));
        bytes.join(":")
    }))
}

/// A broadcast request.
fn request(mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = [0xff; 6].to_vec();
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, REQUEST]);
    frame.extend(mac);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// The MAC that a frame says an address has, in answer to `mac`.
fn answers(frame: &[u8], mac: [u8; 6], address: Ipv4Addr) -> Option<[u8; 6]> {
    let head = [8, 6, 0, 1, 8, 0, 6, 4, 0, REPLY];
    let is_answer = frame.get(..6) == Some(&mac[..])
        && frame.get(12..22) == Some(&head[..])
        && frame.get(28..32) == Some(&address.octets()[..]);
    let sender = frame.get(22..28).filter(|_| is_answer)?;
    sender.try_into().ok()
}

fn mac_of(side: &Netns, interface: &str) -> Result<[u8; 6]> {
    let text = side.ip(&format!("-o link show dev {interface}"))?;
    let mac = text
        .split_once("link/ether ")
        .and_then(|(_, rest)| rest.split(' ').next());
    let mac = mac.with_context(|| format!("no Ethernet address: {text}"))?;
    let bytes: Result<Vec<u8>, _> = mac
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect();
    bytes?.try_into().ok().with_context(|| mac.to_owned())
}

/// The first IPv4 address of an interface; none is the unspecified one.
fn address_of(side: &Netns, interface: &str) -> Result<Ipv4Addr> {
    let text = side.ip(&format!("-4 -o address show dev {interface}"))?;
    let word = text.split_whitespace().nth(3).unwrap_or("0.0.0.0/0");
    Ok(word.split('/').next().unwrap_or_default().parse()?)
}
