//! FTP: vsftpd with one file for everybody, and curl.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::Result;

use super::{
    netns::Netns,
    process::{outcome, write},
    service::{Port, Service},
};

/// How client and server agree on the data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Active: the client names an address of its own, and the server connects to it.
    Port,
    /// Passive: the server names an address of its own, and the client connects to it.
    Pasv,
    /// The same, with a client that goes by the port and keeps to the address it already talks to.
    PasvPortOnly,
    /// Extended passive (RFC 2428): the server names a port only.
    Epsv,
}

/// The server.
pub struct FtpServer {
    _service: Service,
    log: PathBuf,
}

/// What the file, `file`, holds.
pub const FILE: &str = "what the server keeps\n";

impl FtpServer {
    /// Starts it on `address`, with its files in `folder`.
    pub fn start(on: &Netns, address: &str, folder: &Path) -> Result<Self> {
        Self::configured(on, address, folder, "")
    }

    /// Likewise; `more` are further lines of its configuration.
    pub fn configured(on: &Netns, address: &str, folder: &Path, more: &str) -> Result<Self> {
        let [files, empty, log] = ["ftp", "ftp-empty", "ftp.log"].map(|name| folder.join(name));
        fs::create_dir_all(&files)?;
        fs::create_dir_all(&empty)?;
        // What an earlier server said is not what this one says.
        let _ = fs::remove_file(&log);
        write(&files.join("file"), FILE)?;
        let configuration = folder.join("vsftpd.conf");
        // Sessions stay in the namespace, where the lab finds them if it has to end them.
        write(
            &configuration,
            &format!(
                "listen=YES\nlisten_address={address}\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\n\
                 no_anon_password=YES\nanon_root={}\nsecure_chroot_dir={}\nxferlog_enable=YES\nvsftpd_log_file={}\n\
                 log_ftp_protocol=YES\nisolate_network=NO\n{more}\n",
                files.display(),
                empty.display(),
                log.display()
            ),
        )?;
        let mut command = on.guest_command("/usr/sbin/vsftpd")?;
        command.arg(&configuration);
        Ok(Self {
            _service: Service::start(on, &mut command, &folder.join("vsftpd.out"), Port::Tcp(21))?,
            log,
        })
    }

    /// Fetches the file as a client does that uses the address `source` and knows the server as
    /// `target`.
    pub fn fetch(
        &self,
        client: &Netns,
        source: &str,
        target: &str,
        data: Data,
    ) -> Result<(), String> {
        let attempt = || -> Result<Output> {
            let mut command = client.guest_command("curl")?;
            command.args(["--silent", "--show-error", "--max-time", "8"]);
            command.args(["--interface", source]);
            match data {
                Data::Port => command.args(["--disable-eprt", "--ftp-port", source]),
                Data::Pasv => command.args(["--disable-epsv", "--no-ftp-skip-pasv-ip"]),
                Data::PasvPortOnly => command.args(["--disable-epsv", "--ftp-skip-pasv-ip"]),
                Data::Epsv => &mut command,
            };
            outcome(command.arg(format!("ftp://{target}/file")))
        };
        let output = attempt().map_err(|error| format!("{error:#}"))?;
        if output.status.success() && output.stdout == FILE.as_bytes() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(complaint)
    }

    /// Whether a client has sent such a command.
    pub fn heard(&self, command: &str) -> bool {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.contains(&format!("\"{command}"))
    }

    /// The server's words about the last data connection that it refused to open, and the address
    /// that the client had named.
    pub fn refusal(&self) -> Option<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let (_, after) = log.rsplit_once("\"PORT ")?;
        let (named, after) = after.split_once('"')?;
        let numbers: Vec<&str> = named.split(',').take(4).collect();
        let (_, answer) = after.split_once("\"500 ")?;
        let (words, _) = answer.split_once('"')?;
        Some(format!(
            "the server, told of {}, says {words:?}",
            numbers.join(".")
        ))
    }
}
