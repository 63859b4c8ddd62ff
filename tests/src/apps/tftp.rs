//! TFTP: tftpd-hpa and its client. The server answers from a port of its own choice.

use std::fs;

use anyhow::Result;

use super::{Ends, Seen, Stage, said};
use crate::lab::{
    process::{outcome, write},
    service::{Port, Service},
};

/// The client fetches a file of many blocks.
pub fn fetch(stage: &Stage, ends: &Ends) -> Result<Seen> {
    let folder = stage.folder("tftp")?;
    let files = folder.join("served");
    fs::create_dir_all(&files)?;
    let content = "a line of a file that is many blocks long\n".repeat(1000);
    write(&files.join("file"), &content)?;
    let (server, bound) = ends.server;
    let mut command = server.guest_command("/usr/sbin/in.tftpd")?;
    command
        .args(["--foreground", "--secure", "--user", "nobody"])
        .args(["--address", &format!("{bound}:69")])
        .arg(&files);
    let _server = Service::start(server, &mut command, &folder.join("log"), Port::Udp(69))?;
    let (client, _) = ends.client;
    let fetched = folder.join("fetched");
    let mut command = client.guest_command("tftp")?;
    command
        .args(["-4", "-m", "octet", ends.target, "-c", "get", "file"])
        .arg(&fetched);
    let output = outcome(&mut command)?;
    // Nothing is there if nothing came.
    let got = fs::read_to_string(&fetched).unwrap_or_default();
    Ok(if got == content {
        Seen::Works(format!("{} bytes arrive", got.len()))
    } else {
        Seen::Fails(format!("{} bytes arrive: {}", got.len(), said(&output)))
    })
}
