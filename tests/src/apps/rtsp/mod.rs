//! RTSP: GStreamer's server and client.

use anyhow::Result;

use super::{Ends, Party, Seen, Stage};
use crate::lab::{
    capture::{Capture, Frame},
    process::{Job, PATIENCE, write},
    service::{Port, Service},
    topology::UPLINK,
    wait::until,
};

/// How the media travel.
#[derive(Clone, Copy, Debug)]
pub enum Media {
    /// In datagrams of their own, between ports that the two agree on.
    Udp,
    /// Interleaved in the connection.
    Tcp,
}

/// The client has heard the tone when it has got so many packets.
const PACKETS: usize = 20;

/// The client plays a tone.
pub fn play(stage: &Stage, party: &Party, ends: &Ends, media: Media) -> Result<Seen> {
    let folder = stage.folder("rtsp")?;
    let script = folder.join("server.py");
    write(&script, include_str!("server.py"))?;
    // What GStreamer learns of its plugins, once for all; it would else be below the home folder.
    let cache = stage.scene.lab.folder().join("cache");
    let (server, bound) = ends.server;
    let mut command = server.guest_command("/usr/bin/python3")?;
    command
        .arg(&script)
        .arg(bound)
        .env("XDG_CACHE_HOME", &cache)
        .env_remove("XDG_RUNTIME_DIR");
    let _server = Service::start(server, &mut command, &folder.join("log"), Port::Tcp(554))?;
    let astray = stage.astray(party)?;
    let outside = Capture::start(stage.internet(), UPLINK)?;
    let (client, _) = ends.client;
    let mut command = client.guest_command("gst-launch-1.0")?;
    let protocol = match media {
        Media::Udp => "udp",
        Media::Tcp => "tcp",
    };
    command
        .args(["-v", "rtspsrc"])
        .arg(format!("location=rtsp://{}/tone", ends.target))
        .arg(format!("protocols={protocol}"))
        .args(["!", "fakesink", "silent=false"])
        .env("XDG_CACHE_HOME", &cache)
        .env_remove("XDG_RUNTIME_DIR");
    let mut job = Job::start(&mut command, &folder.join("client.log"))?;
    let heard = until(PATIENCE, "a tone", || {
        job.still_runs()?;
        Ok((packets(&job.said()) >= PACKETS).then_some(()))
    });
    let said = job.said();
    let complaint = said
        .lines()
        .find(|line| line.starts_with("ERROR:"))
        .unwrap_or_default();
    Ok(Seen::judged(
        heard.is_ok(),
        astray.count() > 0,
        format!(
            "{} packets of audio{}{}{complaint}",
            packets(&said),
            named(&outside, party),
            astray.words()
        ),
    ))
}

/// In words, whether an answer of the guest's names its private address to the outside.
fn named(outside: &Capture, party: &Party) -> String {
    let private = party.eip.private.as_bytes();
    let names = |frame: &Frame| {
        let mut windows = frame.packet().windows(private.len());
        windows.any(|window| window == private)
    };
    if outside.incoming(names).is_empty() {
        return String::new();
    }
    format!("; an answer names {}", party.eip.private)
}

/// How many packets the client says it has got.
fn packets(said: &str) -> usize {
    said.matches("chain   ****").count()
}
