//! What the gateway's own kernel gets to see of the packets: its IP layer's counters.
//!
//! What a program takes before the kernel's IP layer is in none of them. What gets there meets its
//! routing, its connection tracking and its sockets.

use std::{
    fs::File,
    io::{Read, Seek},
};

use anyhow::{Context, Result};

use crate::lab::netns::Netns;

/// The counters of a namespace.
pub struct Host {
    v4: File,
    v6: Option<File>,
}

impl Host {
    /// Those of `namespace`.
    pub fn new(namespace: &Netns) -> Result<Self> {
        namespace.enter(|| {
            // The files are of the namespace in which they were opened, whoever reads them.
            Ok(Self {
                v4: File::open("/proc/thread-self/net/snmp")?,
                // A kernel without IPv6 has none.
                v6: File::open("/proc/thread-self/net/snmp6").ok(),
            })
        })
    }

    /// How many IP packets have got to the kernel so far.
    pub fn received(&self) -> Result<u64> {
        let v4 = v4(&text(&self.v4)?).context("the kernel does not count what it receives")?;
        let v6 = match &self.v6 {
            Some(file) => v6(&text(file)?).unwrap_or_default(),
            None => 0,
        };
        Ok(v4 + v6)
    }
}

fn text(mut file: &File) -> Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Two lines for each protocol: names, and numbers.
fn v4(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Ip: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let place = names.split(' ').position(|name| name == "InReceives")?;
    numbers.split(' ').nth(place)?.parse().ok()
}

/// A line for each counter.
fn v6(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Ip6InReceives"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_are_found() {
        let text =
            "Ip: Forwarding DefaultTTL InReceives InHdrErrors\nIp: 1 64 1234 5\nIcmp: InMsgs\n";
        assert_eq!(v4(text), Some(1234));
        assert_eq!(v4("Icmp: InMsgs\nIcmp: 0\n"), None);
        let text = "Ip6InReceives                   \t77\nIp6InHdrErrors                  \t0\n";
        assert_eq!(v6(text), Some(77));
    }
}
