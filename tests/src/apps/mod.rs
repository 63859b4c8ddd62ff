//! Real applications between the Internet and a guest, each as its users run it.
//!
//! The stage is the scene of the demo and, beyond its Internet host, a router and a distant host.
//! Each application says what was seen of it; what that should be is for the matrix and the tests
//! to say.

pub mod dns;
pub mod ftp;
pub mod http;
pub mod iperf;
pub mod path_mtu;
pub mod rtsp;
pub mod sip;
pub mod ssh;
pub mod tftp;
pub mod traceroute;

use std::{
    fs,
    path::PathBuf,
    process::Output,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Result;

use crate::lab::{
    beyond::Beyond,
    capture::{Capture, Frame},
    netns::Netns,
    scene::{EIPS, EIPS6, Options, Scene, SceneEip},
    topology::{INTERNET, INTERNET6},
};

/// Where the applications run.
pub struct Stage {
    /// The gateway, the Internet host and the guests.
    pub scene: Scene,
    /// What is beyond the Internet host.
    pub beyond: Beyond,
    used: AtomicU32,
}

/// An address family in which the scene has EIPs of both modes.
#[derive(Clone, Copy)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// The Internet host's address.
    internet: &'static str,
    /// The EIP in NAT mode, and the guest's router.
    nat: (SceneEip, &'static str),
    /// The EIP in cut-through mode, and the guest's router.
    cut_through: (SceneEip, &'static str),
}

/// IPv4: what every row but those about families runs over.
pub const IPV4: Family = Family {
    name: "IPv4",
    internet: INTERNET,
    nat: (EIPS[0], "10.0.0.1"),
    cut_through: (EIPS[3], "203.0.113.1"),
};

/// IPv6.
const IPV6: Family = Family {
    name: "IPv6",
    internet: INTERNET6,
    nat: (EIPS6[0], "fd00:10::1"),
    cut_through: (EIPS6[1], "2001:db8:cb::1"),
};

/// The families that rows run over which exist once per family.
pub const FAMILIES: &[Family] = &[IPV4, IPV6];

/// A guest, by the one EIP that an application reaches it by.
#[derive(Clone, Copy)]
pub struct Party<'a> {
    /// The guest.
    pub guest: &'a Netns,
    /// Its EIP.
    pub eip: SceneEip,
    /// The router of the guest's network.
    pub router: &'static str,
    /// The Internet host's address.
    pub internet: &'static str,
}

impl Party<'_> {
    /// The address that the guest itself has.
    pub fn inside(&self) -> &'static str {
        self.eip.inside()
    }
}

/// A client and a server.
#[derive(Clone, Copy)]
pub struct Ends<'a> {
    /// Where the client runs, and the address that it uses.
    pub client: (&'a Netns, &'static str),
    /// Where the server runs, and the address that it listens on.
    pub server: (&'a Netns, &'static str),
    /// The server's address for the client.
    pub target: &'static str,
    /// The client's address for the server.
    pub seen_as: &'static str,
}

/// What an application did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// What it is for.
    Works(String),
    /// Not that, because it led the other side to the guest's private address.
    Misled(String),
    /// Not that, for whatever reason.
    Fails(String),
}

impl Seen {
    /// It works if `good`; else it was `misled`, or fails.
    pub fn judged(good: bool, misled: bool, words: String) -> Self {
        if !good && misled {
            Self::Misled(words)
        } else {
            Self::when(good, words)
        }
    }

    /// It works if `good`.
    pub fn when(good: bool, words: String) -> Self {
        if good {
            Self::Works(words)
        } else {
            Self::Fails(words)
        }
    }
}

impl Stage {
    /// Builds it.
    pub fn new() -> Result<Self> {
        let scene = Scene::new(&Options {
            dual_stack: true,
            ..Options::default()
        })?;
        let beyond = Beyond::new(&scene.lab, &scene.backbone.internet)?;
        // B's programs that choose no address shall use the EIP, as where the ENI is the guest's
        // way to the Internet.
        scene
            .b
            .ip("route replace default via 203.0.113.1 dev eth1")?;
        Ok(Self {
            scene,
            beyond,
            used: AtomicU32::new(0),
        })
    }

    /// The guest with an EIP in NAT mode.
    pub fn nat(&self, family: &Family) -> Party<'_> {
        self.party(family.nat, family)
    }

    /// The guest with an EIP in cut-through mode.
    pub fn cut_through(&self, family: &Family) -> Party<'_> {
        self.party(family.cut_through, family)
    }

    fn party(&self, (eip, router): (SceneEip, &'static str), family: &Family) -> Party<'_> {
        Party {
            guest: self.scene.guest_of(&eip),
            eip,
            router,
            internet: family.internet,
        }
    }

    /// The Internet host.
    pub fn internet(&self) -> &Netns {
        &self.scene.backbone.internet
    }

    /// The guest as the client of the Internet host.
    pub fn out<'a>(&'a self, party: &Party<'a>) -> Ends<'a> {
        Ends {
            client: (party.guest, party.inside()),
            server: (self.internet(), party.internet),
            target: party.internet,
            seen_as: party.eip.address,
        }
    }

    /// The Internet host as the client of the guest.
    pub fn into<'a>(&'a self, party: &Party<'a>) -> Ends<'a> {
        Ends {
            client: (self.internet(), party.internet),
            server: (party.guest, party.inside()),
            target: party.eip.address,
            seen_as: party.internet,
        }
    }

    /// A folder of the lab that nobody else uses.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let number = self.used.fetch_add(1, Ordering::Relaxed);
        let folder = self.scene.lab.folder().join(format!("{name}-{number}"));
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Watches for packets that somebody on the Internet sends to the private address of `party`.
    pub fn astray(&self, party: &Party) -> Result<Astray> {
        Ok(Astray {
            capture: self.beyond.captured()?,
            private: party.eip.private,
        })
    }
}

/// Packets to an address that leads nowhere on the Internet.
pub struct Astray {
    capture: Capture,
    private: &'static str,
}

impl Astray {
    /// How many there were so far.
    pub fn count(&self) -> usize {
        let to_private = |frame: &Frame| destination(frame).as_deref() == Some(self.private);
        self.capture.incoming(to_private).len()
    }

    /// The same in words, behind what else is said; nothing if there were none.
    pub fn words(&self) -> String {
        match self.count() {
            0 => String::new(),
            count => format!(
                "; {count} packets sent to {}, which is nowhere",
                self.private
            ),
        }
    }
}

/// The destination of an IPv4 frame.
fn destination(frame: &Frame) -> Option<String> {
    let [a, b, c, d] = *frame.packet().get(16..20)? else {
        return None;
    };
    (frame.bytes.get(12..14) == Some(&[8, 0])).then(|| format!("{a}.{b}.{c}.{d}"))
}

/// What a program said, on one line.
fn said(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
