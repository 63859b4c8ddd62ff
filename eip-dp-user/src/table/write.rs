//! Changes become rows: all that goes first, then all that comes, so that no order of objects trips
//! a constraint.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
};

use rusqlite::{Connection, Params, Result, params};

use super::encode::{Address, read_revision, time};
use crate::model::{
    Change, Diff, next_address,
    objects::{Eip, Eni, Vpc},
    previous_address,
};

/// Makes the changes and counts the revision up. Run it inside a transaction.
pub(super) fn write(connection: &Connection, changes: &[Change]) -> Result<u64> {
    for change in changes {
        remove(connection, change)?;
    }
    let added = changes.iter().filter_map(|change| match change {
        Change::Eip(Diff {
            before: None,
            after: Some(eip),
        }) => Some(eip.address),
        _ => None,
    });
    let added = added.collect();
    for change in changes {
        insert(connection, change, &added)?;
    }
    let sql = "UPDATE meta SET revision = revision + 1 RETURNING revision";
    connection.query_row(sql, [], read_revision)
}

fn remove(connection: &Connection, change: &Change) -> Result<()> {
    let run = |sql, id: &str| run(connection, sql, [id]);
    match change {
        Change::Pool(Diff {
            before: Some(pool), ..
        }) => {
            let key = params![Address(pool.cidr.network()), pool.cidr.prefix_len()];
            self::run(
                connection,
                "DELETE FROM pool WHERE first = ?1 AND prefix = ?2",
                key,
            )
        }
        Change::Vpc(Diff {
            before: Some(vpc),
            after,
        }) => {
            run("DELETE FROM vpc_cidr WHERE vpc = ?1", &vpc.id)?;
            if after.is_some() {
                return Ok(());
            }
            run("DELETE FROM vpc WHERE id = ?1", &vpc.id)
        }
        Change::Instance(Diff {
            before: Some(instance),
            after: None,
        }) => run("DELETE FROM instance WHERE id = ?1", &instance.id),
        Change::Eni(Diff {
            before: Some(eni),
            after,
        }) => {
            for (_, address, _) in only(Some(eni), after.as_ref()) {
                let key = params![eni.id, Address(address)];
                self::run(
                    connection,
                    "DELETE FROM eni_ip WHERE eni = ?1 AND address = ?2",
                    key,
                )?;
            }
            match after {
                // Two ENIs may swap their Ethernet addresses: each goes before any comes.
                Some(after) if after.mac == eni.mac => run(
                    // Its place is free for others from now on.
                    "UPDATE eni SET state = 'detached', instance = NULL, port = NULL, vlan = NULL, \
                     outer_vlan = NULL, force = 0, rebind = 'name', bound = NULL WHERE id = ?1",
                    &eni.id,
                ),
                _ => run("DELETE FROM eni WHERE id = ?1", &eni.id),
            }
        }
        Change::Eip(Diff {
            before: Some(eip),
            after: None,
        }) => {
            run("DELETE FROM eip WHERE id = ?1", &eip.id)?;
            follow(connection, previous_address(eip.address), false)
        }
        Change::Association(Diff {
            before: Some(one), ..
        }) => run("DELETE FROM association WHERE eip = ?1", &one.eip),
        _ => Ok(()),
    }
}

fn insert(connection: &Connection, change: &Change, added: &HashSet<IpAddr>) -> Result<()> {
    match change {
        Change::Pool(Diff {
            after: Some(pool), ..
        }) => {
            let reserve: Vec<_> = pool.reserve.iter().map(ToString::to_string).collect();
            run(
                connection,
                "INSERT INTO pool (first, last, prefix, gateway, reserve, priority) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    Address(pool.cidr.network()),
                    Address(pool.cidr.broadcast()),
                    pool.cidr.prefix_len(),
                    pool.gateway.map(|gateway| gateway.to_string()),
                    reserve.join(" "),
                    pool.priority,
                ],
            )
        }
        Change::Vpc(Diff {
            before,
            after: Some(vpc),
        }) => insert_vpc(connection, before.is_some(), vpc),
        Change::Instance(Diff {
            before,
            after: Some(instance),
        }) => {
            let sql = match before {
                None => "INSERT INTO instance (id, max_enis) VALUES (?1, ?2)",
                Some(_) => "UPDATE instance SET max_enis = ?2 WHERE id = ?1",
            };
            run(connection, sql, params![instance.id, instance.max_enis])
        }
        Change::Eni(Diff {
            before,
            after: Some(eni),
        }) => insert_eni(connection, before.as_ref(), eni),
        Change::Eip(Diff {
            before,
            after: Some(eip),
        }) => insert_eip(connection, before.as_ref(), eip, added),
        Change::Association(Diff {
            after: Some(one), ..
        }) => run(
            connection,
            "INSERT INTO association (eip, eni, private_ip, mode) VALUES (?1, ?2, ?3, ?4)",
            params![
                one.eip,
                one.eni,
                Address(one.private_ip),
                one.mode.to_string()
            ],
        ),
        _ => Ok(()),
    }
}

fn insert_vpc(connection: &Connection, exists: bool, vpc: &Vpc) -> Result<()> {
    let sql = if exists {
        "UPDATE vpc SET gateway = ?2, vni = ?3 WHERE id = ?1"
    } else {
        "INSERT INTO vpc (id, gateway, vni) VALUES (?1, ?2, ?3)"
    };
    run(
        connection,
        sql,
        params![vpc.id, vpc.gateway.map(Address), vpc.vni],
    )?;
    for (position, cidr) in (0_i64..).zip(&vpc.cidrs) {
        run(
            connection,
            "INSERT INTO vpc_cidr (vpc, position, first, last, prefix) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                vpc.id,
                position,
                Address(cidr.network()),
                Address(cidr.broadcast()),
                cidr.prefix_len(),
            ],
        )?;
    }
    Ok(())
}

fn insert_eni(connection: &Connection, before: Option<&Eni>, eni: &Eni) -> Result<()> {
    let sql = if before.is_some_and(|before| before.mac == eni.mac) {
        "UPDATE eni SET vpc = ?2, kind = ?3, mac = ?4, region = ?5, antispoof = ?6, state = ?7, instance = ?8, \
         port = ?9, vlan = ?10, outer_vlan = ?11, force = ?12, rebind = ?13, bound = ?14 WHERE id = ?1"
    } else {
        "INSERT INTO eni (id, vpc, kind, mac, region, antispoof, state, instance, port, vlan, outer_vlan, \
         force, rebind, bound) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
    };
    run(
        connection,
        sql,
        params![
            eni.id,
            eni.vpc,
            eni.kind.to_string(),
            eni.mac.0,
            eni.region,
            eni.antispoof.to_string(),
            eni.state.to_string(),
            eni.instance,
            eni.port,
            eni.vlan.map(|vlan| vlan.id),
            eni.vlan.and_then(|vlan| vlan.outer),
            eni.force,
            eni.rebind.to_string(),
            eni.bound,
        ],
    )?;
    for (position, address, shared) in only(Some(eni), before) {
        run(
            connection,
            "INSERT INTO eni_ip (eni, address, position, vpc, shared) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![eni.id, Address(address), position, eni.vpc, shared],
        )?;
    }
    Ok(())
}

/// The private IPs that one version of an ENI has and another one has not: position, address, and
/// whether it is shared.
fn only(one: Option<&Eni>, other: Option<&Eni>) -> Vec<(i64, IpAddr, bool)> {
    let ips = |eni: &Eni| -> Vec<_> {
        let ips = (0..).zip(&eni.private_ips);
        ips.map(|(position, ip)| (position, *ip, eni.shared_ips.contains(ip)))
            .collect()
    };
    let (mut one, other) = (
        one.map(ips).unwrap_or_default(),
        other.map(ips).unwrap_or_default(),
    );
    if one == other {
        return Vec::new();
    }
    let other: BTreeSet<_> = other.into_iter().collect();
    one.retain(|ip| !other.contains(ip));
    one
}

/// `added` are the addresses of all new EIPs: one that comes behind another is known before it is
/// there.
fn insert_eip(
    connection: &Connection,
    before: Option<&Eip>,
    eip: &Eip,
    added: &HashSet<IpAddr>,
) -> Result<()> {
    let former = eip.former.as_ref();
    if before.is_some() {
        return run(
            connection,
            "UPDATE eip SET region = ?2, expires_at = ?3, state = ?4, announce = ?5, former_eni = ?6, \
             former_private_ip = ?7, former_mode = ?8 WHERE id = ?1",
            params![
                eip.id,
                eip.region,
                eip.expires_at.map(time),
                eip.state.to_string(),
                eip.announce.to_string(),
                former.map(|one| &one.eni),
                former.map(|one| Address(one.private_ip)),
                former.map(|one| one.mode.to_string()),
            ],
        );
    }
    let next = next_address(eip.address);
    run(
        connection,
        "INSERT INTO eip (id, address, region, expires_at, state, followed, announce, former_eni, \
         former_private_ip, former_mode) VALUES (?1, ?2, ?3, ?4, ?5, \
         ?6 OR EXISTS (SELECT 1 FROM eip WHERE address = ?7), ?8, ?9, ?10, ?11)",
        params![
            eip.id,
            Address(eip.address),
            eip.region,
            eip.expires_at.map(time),
            eip.state.to_string(),
            next.is_some_and(|next| added.contains(&next)),
            next.map(Address),
            eip.announce.to_string(),
            former.map(|one| &one.eni),
            former.map(|one| Address(one.private_ip)),
            former.map(|one| one.mode.to_string()),
        ],
    )?;
    let previous = previous_address(eip.address).filter(|previous| !added.contains(previous));
    follow(connection, previous, true)
}

/// Notes at the EIP of that address whether the next address is an EIP's too.
fn follow(connection: &Connection, address: Option<IpAddr>, followed: bool) -> Result<()> {
    let Some(address) = address else {
        return Ok(());
    };
    let sql = "UPDATE eip SET followed = ?2 WHERE address = ?1";
    run(connection, sql, params![Address(address), followed])
}

fn run(connection: &Connection, sql: &str, params: impl Params) -> Result<()> {
    connection.prepare_cached(sql)?.execute(params).map(drop)
}
