//! SIP: a call between two sipp, whose SDP says where each wants its audio.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Party, Seen, Stage};
use crate::lab::{
    capture::{Capture, Frame},
    netns::Netns,
    process::{Job, write},
    scene::ENIS,
    service::{Port, Service},
    topology::UPLINK,
};

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The guest.
    Guest,
    /// The Internet host.
    Internet,
}

const SIGNALLING: u16 = 5060;
/// Where sipp sends audio from and wants it, unless told otherwise.
const AUDIO: u16 = 6000;

/// One call of a second or so. The guest names `named` as its own address, in signalling and SDP.
pub fn call(stage: &Stage, party: &Party, who: Caller, named: &str) -> Result<Seen> {
    let folder = stage.folder("sip")?;
    // Raw PCMU: two seconds of silence.
    write(&folder.join("audio"), &"~".repeat(16_000))?;
    write(&folder.join("caller.xml"), include_str!("caller.xml"))?;
    write(&folder.join("callee.xml"), include_str!("callee.xml"))?;
    let guest = (party.guest, party.inside(), named);
    let internet = (stage.internet(), party.internet, party.internet);
    let (from, to, target) = match who {
        Caller::Guest => (guest, internet, party.internet),
        Caller::Internet => (internet, guest, party.eip.address),
    };
    let interface = ENIS
        .iter()
        .find(|eni| eni.id == party.eip.eni)
        .context("an EIP without an ENI")?
        .interface;
    let at_guest = Capture::start(party.guest, interface)?;
    let at_internet = Capture::start(stage.internet(), UPLINK)?;
    let astray = stage.astray(party)?;
    let mut command = sipp(to, &folder, "callee")?;
    let log = folder.join("callee.log");
    let port = Port::Udp(SIGNALLING);
    let mut answering = Service::start(to.0, &mut command, &log, port)?;
    let mut command = sipp(from, &folder, "caller")?;
    command.arg(format!("{target}:{SIGNALLING}"));
    let mut calling = Job::start(&mut command, &folder.join("caller.log"))?;
    let complete = calling.wait()?.success() & answering.wait()?.success();
    let guest_hears = at_guest.incoming(is_audio).len();
    let internet_hears = at_internet.incoming(is_audio).len();
    let call = if complete {
        "answered and hung up"
    } else {
        "not completed"
    };
    Ok(Seen::judged(
        complete && guest_hears > 0 && internet_hears > 0,
        astray.count() > 0,
        format!(
            "{call}; the Internet hears {internet_hears} packets of audio, the guest {guest_hears}{}",
            astray.words()
        ),
    ))
}

fn sipp(
    (namespace, address, named): (&Netns, &str, &str),
    folder: &Path,
    scenario: &str,
) -> Result<std::process::Command> {
    let mut command = namespace.guest_command("sipp")?;
    command
        .args(["-sf", &format!("{scenario}.xml"), "-m", "1", "-nostdin"])
        .args(["-i", address, "-mi", address, "-key", "named", named])
        .args(["-p", &SIGNALLING.to_string()])
        .args(["-timeout", "8s", "-timeout_error"])
        // Its screen wants to know of one.
        .env("TERM", "dumb")
        .current_dir(folder);
    Ok(command)
}

/// Whether a frame is RTP to where sipp listens for it.
fn is_audio(frame: &Frame) -> bool {
    let packet = frame.packet();
    let to_port = packet.get(22..24) == Some(&AUDIO.to_be_bytes());
    // UDP, without IP options.
    packet.first() == Some(&0x45) && packet.get(9) == Some(&17) && to_port
}
