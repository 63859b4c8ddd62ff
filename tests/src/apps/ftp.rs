//! FTP.

use anyhow::Result;

use super::{Party, Seen, Stage};
use crate::lab::{
    ftp::{Data, FtpServer},
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

/// Somebody on the Internet fetches a file from the guest; `more` are further lines of the server's configuration.
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
