//! RTSP: GStreamer's server and client.

use anyhow::Result;

use super::{Ends, Party, Seen, Stage, said};
use crate::lab::{
    process::{outcome, write},
    service::{Port, Service},
};

/// How the media travel.
#[derive(Clone, Copy, Debug)]
pub enum Media {
    /// In datagrams of their own, between ports that the two agree on.
    Udp,
    /// Interleaved in the connection.
    Tcp,
}

/// Plays a tone for as long as so many packets take.
const PACKETS: usize = 20;

/// The client plays a tone.
pub fn play(stage: &Stage, party: &Party, ends: &Ends, media: Media) -> Result<Seen> {
    let folder = stage.folder("rtsp")?;
    let script = folder.join("server.py");
    write(&script, include_str!("server.py"))?;
    // What GStreamer knows of its plugins; it would else be below the home folder.
    let registry = stage.scene.lab.folder().join("gstreamer-registry");
    let (server, bound) = ends.server;
    let mut command = server.guest_command("/usr/bin/python3")?;
    command
        .arg(&script)
        .arg(bound)
        .env("GST_REGISTRY", &registry);
    let _server = Service::start(server, &mut command, &folder.join("log"), Port::Tcp(554))?;
    let astray = stage.astray(party)?;
    let (client, _) = ends.client;
    let mut command = client.guest_command("timeout")?;
    let protocol = match media {
        Media::Udp => "udp",
        Media::Tcp => "tcp",
    };
    command
        .args(["15", "gst-launch-1.0", "-v", "rtspsrc"])
        .arg(format!("location=rtsp://{}/tone", ends.target))
        .arg(format!("protocols={protocol}"))
        .args(["!", "fakesink", "silent=false"])
        .arg(format!("num-buffers={PACKETS}"))
        .env("GST_REGISTRY", &registry);
    let output = outcome(&mut command)?;
    let text = said(&output);
    let packets = text.matches("chain ****").count();
    let complaint = text
        .split_once("ERROR:")
        .map_or("", |(_, complaint)| complaint.trim());
    Ok(Seen::when(
        output.status.success() && packets >= PACKETS,
        format!("{packets} packets of audio; {}{complaint}", astray.words()),
    ))
}
