//! nftables, in the two ways that it can translate 1:1.

use anyhow::Result;

use super::{
    super::bed::{Bed, UPLINK},
    super::data::Family,
    Adapter, Start, linux,
};
use crate::lab::process::{run, write};

/// Payload rewriting with maps, untracked: the way of its wiki for stateless NAT.
pub const STATELESS: Nft = Nft {
    name: "nft-stateless",
    chains: stateless,
};

/// `dnat` and `snat` with maps, by connection tracking.
pub const CONNTRACK: Nft = Nft {
    name: "nft-conntrack",
    chains: conntrack,
};

/// A set of rules.
pub struct Nft {
    name: &'static str,
    chains: fn(&Words) -> String,
}

/// What rules of a family are written with.
struct Words {
    ip: &'static str,
    address: &'static str,
    network: String,
    /// A filter for sources that do not belong where they come from; IPv4 has a sysctl for it.
    reverse_path: &'static str,
}

impl Adapter for Nft {
    fn name(&self) -> &str {
        self.name
    }

    fn start(&self, bed: &Bed) -> Result<Start> {
        linux::route(bed)?;
        let words = match bed.world.family {
            Family::V4 => Words {
                ip: "ip",
                address: "ipv4_addr",
                network: bed.world.network.clone(),
                reverse_path: "",
            },
            Family::V6 => Words {
                ip: "ip6",
                address: "ipv6_addr",
                network: bed.world.network.clone(),
                reverse_path: "fib saddr . iif oif missing drop",
            },
        };
        let map = |inward: bool| {
            let pairs: Vec<String> = bed
                .world
                .translated()
                .map(|(guest, public)| {
                    if inward {
                        format!("{public} : {}", guest.private)
                    } else {
                        format!("{} : {public}", guest.private)
                    }
                })
                .collect();
            let (name, address) = (if inward { "inward" } else { "outward" }, words.address);
            format!(
                "map {name} {{ type {address} : {address}; elements = {{ {} }} }}",
                pairs.join(", ")
            )
        };
        let rules = format!(
            "table {} eip {{\n{}\n{}\n{}\n}}\n",
            words.ip,
            map(true),
            map(false),
            (self.chains)(&words)
        );
        let file = bed.lab.folder().join("rules.nft");
        write(&file, &rules)?;
        run(bed.gateway.command("nft").arg("-f").arg(&file))?;
        Ok(Start::in_kernel())
    }
}

fn stateless(words: &Words) -> String {
    let Words {
        ip,
        network,
        reverse_path,
        ..
    } = words;
    format!(
        "chain prerouting {{ type filter hook prerouting priority raw;
    notrack
    {reverse_path}
    {ip} daddr set {ip} daddr map @inward meta mark set 1
}}
chain postrouting {{ type filter hook postrouting priority srcnat;
    oifname \"{UPLINK}\" {ip} saddr set {ip} saddr map @outward
    oifname != \"{UPLINK}\" meta mark 1 {ip} saddr set {ip} saddr map @outward
    oifname \"{UPLINK}\" {ip} saddr {network} drop
}}"
    )
}

fn conntrack(words: &Words) -> String {
    let Words {
        ip,
        network,
        reverse_path,
        ..
    } = words;
    format!(
        "chain raw {{ type filter hook prerouting priority raw;
    {reverse_path}
}}
chain prerouting {{ type nat hook prerouting priority dstnat;
    dnat to {ip} daddr map @inward
}}
chain postrouting {{ type nat hook postrouting priority srcnat;
    oifname \"{UPLINK}\" snat to {ip} saddr map @outward
    ct status dnat snat to {ip} saddr map @outward
}}
chain leaks {{ type filter hook postrouting priority srcnat + 1;
    oifname \"{UPLINK}\" {ip} saddr {network} drop
}}"
    )
}
