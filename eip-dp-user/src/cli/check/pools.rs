//! The pools, and which sources the uplinks take.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::Line;
use crate::{
    config::Uplink,
    model::{Model, private_block},
};

/// What private addresses mean for the pools, and the pools for private sources.
pub(super) fn lines(model: &Model, uplinks: &[Uplink]) -> Vec<Line> {
    let pools = model.pools.keys();
    let private: Vec<(&IpNet, IpNet)> = pools
        .filter_map(|cidr| Some((cidr, private_block(cidr)?)))
        .collect();
    let mut lines: Vec<Line> = private
        .iter()
        .map(|(cidr, block)| {
            Line::ok(
                format!("pool {cidr}"),
                format!(
                    "has private addresses ({block}): its EIPs are reachable only inside a private cloud that routes them"
                ),
            )
        })
        .collect();
    if !model.pools.is_empty() {
        let private: BTreeSet<String> = private.iter().map(|(cidr, _)| cidr.to_string()).collect();
        lines.extend(
            uplinks
                .iter()
                .filter_map(|uplink| sources(uplink, &private)),
        );
    }
    lines
}

fn sources(uplink: &Uplink, private: &BTreeSet<String>) -> Option<Line> {
    let subject = format!("uplink {}", uplink.name());
    match (uplink.drop_private_sources, private.is_empty()) {
        (true, false) => {
            let pools: Vec<&str> = private.iter().map(String::as_str).collect();
            Some(Line::warn(
                subject,
                format!(
                    "packets from private addresses are dropped, and pool {} has such addresses: others of its private cloud do \
                     not reach its EIPs",
                    pools.join(", ")
                ),
                "take `drop_private_sources` out of this [[uplink]]",
            ))
        }
        (false, true) => Some(Line::hint(
            subject,
            "packets from private addresses (RFC 1918, RFC 6598, RFC 4193) reach EIPs",
            "all pools are global: set `drop_private_sources = true` in its [[uplink]], unless neighbours there have such addresses",
        )),
        (true, true) | (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::check::Status, model::objects::Pool};

    fn said(cidrs: &[&str], drop_private_sources: bool) -> Vec<(Status, String)> {
        let mut model = Model::default();
        for cidr in cidrs {
            let pool = Pool {
                cidr: cidr.parse().expect("a prefix"),
                gateway: None,
                reserve: Vec::new(),
                priority: 100,
            };
            model.pools.insert(pool.cidr, pool);
        }
        let uplink = Uplink {
            drop_private_sources,
            ..Uplink::new("wan")
        };
        let text = |line: Line| {
            let cure = line.cure.unwrap_or_default();
            (
                line.status,
                format!("{} {} {cure}", line.subject, line.seen),
            )
        };
        lines(&model, &[uplink]).into_iter().map(text).collect()
    }

    #[test]
    fn where_all_pools_are_global_dropping_private_sources_is_recommended() {
        let global = ["203.0.113.0/24", "2001:db8::/64"];
        let [(status, hint)] = &said(&global, false)[..] else {
            panic!("one line");
        };
        assert_eq!(*status, Status::Ok, "no failure, and no warning");
        assert!(hint.contains("uplink wan") && hint.contains("drop_private_sources = true"));
        assert_eq!(said(&global, true), []);
        assert_eq!(said(&[], false), [], "nothing is known yet");
    }

    #[test]
    fn what_a_pool_of_private_addresses_means_is_said() {
        for cidr in [
            "fd00:9::/64",
            "10.1.0.0/16",
            "172.16.0.0/14",
            "192.168.7.0/24",
            "100.64.0.0/16",
            "100.0.0.0/8",
        ] {
            let lines = said(&["203.0.113.0/24", cidr], false);
            let [(Status::Ok, line)] = &lines[..] else {
                panic!("{cidr}: {lines:?}");
            };
            assert!(line.contains(cidr) && line.contains("only inside a private cloud"));
            let contradicting = said(&[cidr], true);
            let (status, line) = contradicting.last().expect("a line");
            assert_eq!(*status, Status::Warn, "{cidr}");
            assert!(line.contains(cidr) && line.contains("take `drop_private_sources` out"));
        }
    }
}
