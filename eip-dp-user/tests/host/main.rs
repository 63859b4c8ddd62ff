//! What the daemon learns from the kernel and asks of it, against the real kernel.
//!
//! Every test runs in a network namespace of its own, made by [`netns::run`]. Needs root, and the
//! commands `ip`, `ethtool`, `dhclient`, `dhcpcd`, `udhcpc`, `rdisc6`, `unshare`, `nft` and
//! `iptables`.

mod netns;

mod announce;
mod check;
mod dhcp4;
mod dhcp6;
mod forward;
mod guest;
mod neighbours;
mod ring;
mod settings;
mod watch;
