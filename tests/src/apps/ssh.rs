//! ssh: OpenSSH on both sides.

use anyhow::Result;

use super::{Ends, Seen, Stage, said};
use crate::lab::{
    process::{outcome, run},
    service::{Port, Service},
};

/// The client runs a command on the server, which says who is connected to what.
pub fn log_in(stage: &Stage, ends: &Ends) -> Result<Seen> {
    let folder = stage.folder("ssh")?;
    let [host_key, user_key, known] = ["host", "user", "known"].map(|name| folder.join(name));
    let (client, source) = ends.client;
    for key in [&host_key, &user_key] {
        let mut command = client.guest_command("ssh-keygen")?;
        run(command
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(key))?;
    }
    let (server, bound) = ends.server;
    let mut command = server.guest_command("/usr/sbin/sshd")?;
    command
        .args(["-D", "-e", "-f", "/dev/null"])
        .args(["-o", "UsePAM=no", "-o", "StrictModes=no"])
        .args(["-o", "PidFile=none", "-o", "PermitRootLogin=yes"])
        .args(["-o", "PasswordAuthentication=no"])
        .args(["-o", &format!("ListenAddress={bound}")])
        .args(["-o", &format!("HostKey={}", host_key.display())])
        .arg("-o")
        .arg(format!("AuthorizedKeysFile={}.pub", user_key.display()));
    let _server = Service::start(server, &mut command, &folder.join("log"), Port::Tcp(22))?;
    let mut command = client.guest_command("ssh")?;
    command
        .args(["-F", "none", "-T", "-b", source, "-i"])
        .arg(&user_key)
        .args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"])
        .args(["-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=5"])
        .args(["-o", &format!("UserKnownHostsFile={}", known.display())])
        .args([&format!("root@{}", ends.target), "echo $SSH_CONNECTION"]);
    let output = outcome(&mut command)?;
    let connection = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let words: Vec<&str> = connection.split(' ').collect();
    let [from, _, to, _] = words[..] else {
        return Ok(Seen::Fails(said(&output)));
    };
    Ok(Seen::when(
        from == ends.seen_as && to == bound,
        format!("a command runs; sshd sees {from} connected to {to}"),
    ))
}
