//! FTP.

use anyhow::Result;

use super::{Party, Seen, Stage, said};
use crate::lab::{
    ftp::{Data, FILE, FtpServer},
    process::outcome,
    topology::INTERNET,
};

/// The guest fetches a file from a server on the Internet.
pub fn client(stage: &Stage, party: &Party, data: Data) -> Result<Seen> {
    let server = FtpServer::start(stage.internet(), INTERNET, &stage.folder("ftp")?)?;
    let fetched = server.fetch(party.guest, party.inside(), INTERNET, data);
    Ok(match fetched {
        Ok(()) => Seen::Works("the file arrives".to_owned()),
        Err(complaint) => {
            let refusal = server.refusal().unwrap_or_default();
            let misled = refusal.contains(party.eip.private);
            Seen::judged(false, misled, format!("{complaint}; {refusal}"))
        }
    })
}

/// The same in active mode with a client that names the EIP as its own address: lftp, which can be
/// told so.
pub fn client_told_its_eip(stage: &Stage, party: &Party) -> Result<Seen> {
    let server = FtpServer::start(stage.internet(), INTERNET, &stage.folder("ftp")?)?;
    let mut command = party.guest.guest_command("lftp")?;
    command
        // It would else keep its history below the home folder.
        .env("HOME", stage.folder("lftp")?)
        .args(["--norc", "-c"])
        .arg(format!(
            "set ftp:passive-mode no; set ftp:port-ipv4 {}; set net:max-retries 1; set net:timeout 5; cat \
             ftp://{INTERNET}/file",
            party.eip.address
        ));
    let output = outcome(&mut command)?;
    let active = server.heard("PORT") && !server.heard("PASV");
    Ok(if active && output.stdout == FILE.as_bytes() {
        Seen::Works("the file arrives".to_owned())
    } else {
        Seen::Fails(said(&output))
    })
}

/// Somebody on the Internet fetches a file from the guest; `more` are further lines of the server's
/// configuration.
pub fn server(stage: &Stage, party: &Party, data: Data, more: &str) -> Result<Seen> {
    let server = FtpServer::configured(party.guest, party.inside(), &stage.folder("ftp")?, more)?;
    let astray = stage.astray(party)?;
    let fetched = server.fetch(stage.internet(), INTERNET, party.eip.address, data);
    Ok(match fetched {
        Ok(()) => Seen::Works("the file arrives".to_owned()),
        Err(complaint) => {
            let words = format!("{complaint}{}", astray.words());
            Seen::judged(false, astray.count() > 0, words)
        }
    })
}
