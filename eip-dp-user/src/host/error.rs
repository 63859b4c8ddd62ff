//! What can go wrong while the kernel is asked about its networking.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::Setting;

/// A failure to read or change the kernel's networking.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A socket could not be opened.
    #[error("cannot open a {socket} socket: {error}")]
    Open {
        /// Which one.
        socket: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// A socket was closed under our hands.
    #[error("the {socket} socket was closed")]
    Closed {
        /// Which one.
        socket: &'static str,
    },
    /// The kernel refused a request.
    #[error("the kernel did not answer for its {what}: {error}")]
    Netlink {
        /// What was asked for.
        what: &'static str,
        /// Its answer.
        error: String,
    },
    /// A setting of an interface could not be changed.
    #[error("cannot {action} {} (interface {interface}): {error}", setting.name("IF"))]
    Setting {
        /// What was to be done.
        action: &'static str,
        /// The index of the interface.
        interface: u32,
        /// The setting.
        setting: Setting,
        /// Why not.
        error: io::Error,
    },
    /// The file in which changed settings are remembered could not be read or written.
    #[error("{file}: {error}", file = file.display())]
    Settings {
        /// The file.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A neighbour entry could not be changed.
    #[error("cannot {action} neighbour {address} on interface {interface}: {error}")]
    Neighbour {
        /// What was to be done.
        action: &'static str,
        /// The index of the interface.
        interface: u32,
        /// The neighbour.
        address: IpAddr,
        /// The kernel's answer.
        error: io::Error,
    },
}

impl HostError {
    pub(super) fn setting(
        action: &'static str,
        interface: u32,
        setting: Setting,
        error: io::Error,
    ) -> Self {
        Self::Setting {
            action,
            interface,
            setting,
            error,
        }
    }

    pub(super) fn settings(file: &Path, error: io::Error) -> Self {
        Self::Settings {
            file: file.to_owned(),
            error,
        }
    }

    pub(super) fn open(socket: &'static str, error: io::Error) -> Self {
        Self::Open { socket, error }
    }

    pub(super) fn closed(socket: &'static str) -> Self {
        Self::Closed { socket }
    }

    pub(super) fn netlink(what: &'static str, error: String) -> Self {
        Self::Netlink { what, error }
    }
}
