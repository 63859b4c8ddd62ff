//! The kernel's own forwarding, with and without NAT.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    lab::process::{run, write},
    speed::{
        plan::{POOL4, VPC4, eip, eni_mac, private},
        site::{Site, UPLINK, port},
    },
};

/// A router: every private address is behind one neighbour.
pub fn route(site: &mut Site) -> Result<()> {
    const NEIGHBOUR: &str = "10.255.255.254";
    let inside = port(0);
    site.gateway.enter(|| {
        for (name, value) in [
            ("ip_forward", "1"),
            ("conf/all/rp_filter", "0"),
            ("conf/default/rp_filter", "0"),
            ("conf/all/send_redirects", "0"),
        ] {
            let path = Path::new("/proc/sys/net/ipv4").join(name);
            fs::write(&path, value).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    })?;
    let mac = eni_mac(0, 0);
    for arguments in [
        format!("address add 10.255.255.253/30 dev {inside}"),
        format!("neighbour replace {NEIGHBOUR} lladdr {mac} dev {inside} nud permanent"),
        format!("route add {VPC4} via {NEIGHBOUR} dev {inside}"),
    ] {
        site.gateway.ip(&arguments)?;
    }
    Ok(())
}

/// nftables, stateless, at the uplink's ingress.
pub fn nft_ingress(site: &mut Site) -> Result<()> {
    let chain = format!("type filter hook ingress device \"{UPLINK}\" priority 0;");
    nft(site, "netdev", &chain, "ip daddr set ip daddr map @inward")
}

/// nftables, stateless, before routing, untracked.
pub fn nft_prerouting(site: &mut Site) -> Result<()> {
    let chain = "type filter hook prerouting priority raw;";
    nft(
        site,
        "ip",
        chain,
        "notrack ip daddr set ip daddr map @inward",
    )
}

/// nftables with connection tracking.
pub fn nft_conntrack(site: &mut Site) -> Result<()> {
    let chain = "type nat hook prerouting priority dstnat;";
    nft(site, "ip", chain, "dnat to ip daddr map @inward")
}

fn nft(site: &mut Site, table: &str, chain: &str, rule: &str) -> Result<()> {
    route(site)?;
    let shape = site.shape;
    let mut rules =
        format!("table {table} bench {{\nmap inward {{ type ipv4_addr : ipv4_addr; elements = {{");
    for number in 0..shape.eips {
        let (eip, private) = (eip(shape.family, number), private(shape.family, number));
        writeln!(rules, "{eip} : {private},")?;
    }
    writeln!(rules, "}} }}\nchain translate {{ {chain}\n{rule}\n}}\n}}")?;
    let file = site.lab.folder().join("rules.nft");
    write(&file, &rules)?;
    run(site.gateway.command("nft").arg("-f").arg(&file))?;
    Ok(())
}

/// iptables with one NETMAP rule for all.
pub fn netmap(site: &mut Site) -> Result<()> {
    route(site)?;
    let family = site.shape.family;
    let length = POOL4.rsplit_once('/').map_or("32", |(_, length)| length);
    // Both blocks are aligned to the prefix of the first million.
    let prefix = length.parse::<u32>()? + 1;
    let rule = format!(
        "-w -t nat -A PREROUTING -d {}/{prefix} -j NETMAP --to {}/{prefix}",
        eip(family, 0),
        private(family, 0)
    );
    run(site
        .gateway
        .command("iptables-legacy")
        .args(rule.split_whitespace()))?;
    Ok(())
}
