//! The database as the rules see it: each question by an index, everything in one sweep.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::IpAddr,
    panic::resume_unwind,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use ipnet::IpNet;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Result, Row, params};

use super::encode::{
    Address, damaged, read_address, read_cidr, read_name, read_revision, read_text, read_time, time,
};
use crate::model::{
    EniFilter, Kind, Model, Pools, View, Vlan,
    objects::{Association, Eip, Eni, Former, Instance, Mac, Pool, Vpc},
};

/// A view of the database inside a transaction.
pub(super) struct Reader<'c> {
    connection: &'c Connection,
    /// The first question that SQLite could not answer. While there is one, answers mean nothing.
    failure: RefCell<Option<rusqlite::Error>>,
}

const ENI: &str = "SELECT id, vpc, kind, mac, region, antispoof, state, instance, port, vlan, outer_vlan, \
     force, rebind, bound FROM eni";
const EIP: &str = "SELECT id, address, region, expires_at, state, announce, former_eni, \
     former_private_ip, former_mode FROM eip";
const POOL: &str =
    "SELECT first, prefix, gateway, reserve, priority FROM pool ORDER BY first, prefix";
const ASSOCIATION: &str = "SELECT eip, eni, private_ip, mode FROM association";

impl<'c> Reader<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            failure: RefCell::new(None),
        }
    }

    /// Ends the view; an error when any answer was none.
    pub(super) fn finish(self) -> Result<()> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }

    fn answer<T: Default>(&self, result: Result<T>) -> T {
        result.unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            T::default()
        })
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Option<T> {
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(params, read).optional());
        self.answer(found)
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Vec<T> {
        self.answer(all(self.connection, sql, params, read))
    }

    /// The first id in the statement's first column that `accept` takes.
    fn first(
        &self,
        sql: &str,
        params: impl Params,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Option<String> {
        let find = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(params)?;
            while let Some(row) = rows.next()? {
                let id: String = row.get(0)?;
                if accept(&id) {
                    return Ok(Some(id));
                }
            }
            Ok(None)
        };
        let found: Result<Option<String>> = find();
        self.answer(found)
    }

    fn read_vpc(&self, id: &str) -> Result<Option<Vpc>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, gateway, vni FROM vpc WHERE id = ?1")?;
        let Some(mut vpc) = statement.query_row([id], read_vpc).optional()? else {
            return Ok(None);
        };
        vpc.cidrs = all(
            self.connection,
            "SELECT first, prefix FROM vpc_cidr WHERE vpc = ?1 ORDER BY position",
            [id],
            |row| read_cidr(row, 0),
        )?;
        Ok(Some(vpc))
    }

    fn read_eni(&self, id: &str) -> Result<Option<Eni>> {
        let mut statement = self
            .connection
            .prepare_cached(&format!("{ENI} WHERE id = ?1"))?;
        let Some(mut eni) = statement.query_row([id], read_eni).optional()? else {
            return Ok(None);
        };
        let ips = all(
            self.connection,
            "SELECT address, shared FROM eni_ip WHERE eni = ?1 ORDER BY position",
            [id],
            |row| Ok((read_address(row, 0)?, row.get(1)?)),
        )?;
        set_private_ips(&mut eni, ips.into_iter());
        Ok(Some(eni))
    }
}

impl View for Reader<'_> {
    fn pools(&self) -> Pools {
        self.answer(pools(self.connection))
    }

    fn vpc(&self, id: &str) -> Option<Vpc> {
        self.answer(self.read_vpc(id))
    }

    fn instance(&self, id: &str) -> Option<Instance> {
        let sql = "SELECT id, max_enis FROM instance WHERE id = ?1";
        self.one(sql, [id], read_instance)
    }

    fn eni(&self, id: &str) -> Option<Eni> {
        self.answer(self.read_eni(id))
    }

    fn eip(&self, id: &str) -> Option<Eip> {
        self.one(&format!("{EIP} WHERE id = ?1"), [id], read_eip)
    }

    fn association(&self, eip: &str) -> Option<Association> {
        let sql = format!("{ASSOCIATION} WHERE eip = ?1");
        self.one(&sql, [eip], read_association)
    }

    fn associations_of(&self, eni: &str) -> Vec<Association> {
        let sql = format!("{ASSOCIATION} WHERE eni = ?1 ORDER BY eip");
        self.all(&sql, [eni], read_association)
    }

    fn eni_by_mac(&self, vpc: &str, mac: Mac) -> Option<String> {
        let sql = "SELECT id FROM eni WHERE vpc = ?1 AND mac = ?2";
        self.one(sql, params![vpc, mac.0], |row| row.get(0))
    }

    fn enis_by_address(&self, vpc: &str, address: IpAddr) -> Vec<String> {
        let sql = "SELECT eni FROM eni_ip WHERE vpc = ?1 AND address = ?2 ORDER BY eni";
        self.all(sql, params![vpc, Address(address)], |row| row.get(0))
    }

    fn find_eni(
        &self,
        filter: EniFilter<'_>,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Option<String> {
        match filter {
            EniFilter::Vpc(vpc) => {
                let sql = "SELECT id FROM eni WHERE vpc = ?1 ORDER BY id";
                self.first(sql, [vpc], accept)
            }
            EniFilter::Instance(instance) => {
                let sql = "SELECT id FROM eni WHERE instance = ?1 ORDER BY id";
                self.first(sql, [instance], accept)
            }
            EniFilter::PrimaryOf(instance) => {
                let sql = "SELECT id FROM eni WHERE instance = ?1 AND kind = 'primary' ORDER BY id";
                self.first(sql, [instance], accept)
            }
            EniFilter::Port(port, vlan) => {
                let sql = "SELECT id FROM eni WHERE port = ?1 AND vlan IS ?2 AND outer_vlan IS ?3 \
                           ORDER BY id";
                let (id, outer) = (vlan.map(|vlan| vlan.id), vlan.and_then(|vlan| vlan.outer));
                self.first(sql, params![port, id, outer], accept)
            }
            EniFilter::Interface(port) => self.first(
                "SELECT id FROM eni WHERE port = ?1 ORDER BY id",
                [port],
                accept,
            ),
        }
    }

    fn each_id(&self, kind: Kind, show: &mut dyn FnMut(&str)) {
        let sql = match kind {
            Kind::Vpc => "SELECT id FROM vpc",
            Kind::Instance => "SELECT id FROM instance",
            Kind::Eni => "SELECT id FROM eni",
            Kind::Eip => "SELECT id FROM eip",
        };
        self.first(sql, [], &mut |id| {
            show(id);
            false
        });
    }

    fn eip_by_address(&self, address: IpAddr) -> Option<String> {
        let sql = "SELECT id FROM eip WHERE address = ?1";
        self.one(sql, [Address(address)], |row| row.get(0))
    }

    fn find_eip(
        &self,
        first: IpAddr,
        last: IpAddr,
        accept: &mut dyn FnMut(&str) -> bool,
    ) -> Option<String> {
        let sql = "SELECT id FROM eip WHERE address BETWEEN ?1 AND ?2 ORDER BY address";
        self.first(sql, [Address(first), Address(last)], accept)
    }

    fn free_address(&self, first: IpAddr, last: IpAddr) -> Option<IpAddr> {
        self.eip_by_address(first).map_or(Some(first), |_| {
            let sql = "SELECT address FROM eip WHERE followed = 0 AND address BETWEEN ?1 AND ?2 \
                       ORDER BY address LIMIT 1";
            let range = [Address(first), Address(last)];
            let end = self.one(sql, range, |row| read_address(row, 0))?;
            crate::model::next_address(end).filter(|free| *free <= last)
        })
    }

    fn find_vpc(&self, cidr: IpNet, accept: &mut dyn FnMut(&str) -> bool) -> Option<String> {
        let sql = "SELECT DISTINCT vpc FROM vpc_cidr WHERE first <= ?2 AND last >= ?1 ORDER BY vpc";
        let range = [Address(cidr.network()), Address(cidr.broadcast())];
        self.first(sql, range, accept)
    }

    fn due_eips(&self, now: Timestamp) -> Vec<String> {
        let sql = "SELECT id FROM eip WHERE expires_at <= ?1 AND expires_at IS NOT NULL \
                   AND state <> 'expired' ORDER BY id";
        self.all(sql, [time(now)], |row| row.get(0))
    }

    fn next_expiry(&self) -> Option<Timestamp> {
        let sql = "SELECT expires_at FROM eip WHERE expires_at IS NOT NULL AND state <> 'expired' \
                   ORDER BY expires_at LIMIT 1";
        self.one(sql, [], |row| read_time(row, 0)).flatten()
    }

    fn model(&self) -> Model {
        self.answer(model(self.connection, None))
    }
}

/// The table's revision.
pub(super) fn revision(connection: &Connection) -> Result<u64> {
    let mut statement = connection.prepare_cached("SELECT revision FROM meta")?;
    statement.query_row([], read_revision)
}

/// Shows each EIP's id and address.
pub(super) fn each_eip(connection: &Connection, show: &mut dyn FnMut(&str, IpAddr)) -> Result<()> {
    let mut statement = connection.prepare_cached("SELECT id, address FROM eip ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        // A row that cannot be read is not served either.
        if let (Ok(id), Ok(address)) = (row.get_ref(0)?.as_str(), read_address(row, 1)) {
            show(id, address);
        }
    }
    Ok(())
}

/// Everything, table by table in the order of the keys. Run it inside a transaction.
///
/// A second connection that sees the same shares the work: reading a million objects is work for
/// the processor.
pub(super) fn model(connection: &Connection, second: Option<Connection>) -> Result<Model> {
    let taken = AtomicBool::new(false);
    // Whoever is free first takes them.
    let associations = |connection: &Connection| {
        let mine = !taken.swap(true, Ordering::Relaxed);
        mine.then(|| associations(connection)).transpose()
    };
    thread::scope(|scope| {
        let helper = second.map(|second| {
            scope.spawn(move || -> Result<_> { Ok((eips(&second)?, associations(&second)?)) })
        });
        let enis = enis(connection)?;
        let own = associations(connection)?;
        let (eips, theirs) = match helper {
            Some(helper) => helper.join().unwrap_or_else(|panic| resume_unwind(panic))?,
            None => (eips(connection)?, None),
        };
        Ok(Model {
            pools: pools(connection)?,
            vpcs: vpcs(connection)?,
            instances: instances(connection)?,
            enis,
            eips,
            associations: own.or(theirs).unwrap_or_default(),
        })
    })
}

fn instances(connection: &Connection) -> Result<BTreeMap<String, Instance>> {
    let sql = "SELECT id, max_enis FROM instance ORDER BY id";
    map(connection, sql, |row| {
        read_instance(row).map(|one| (one.id.clone(), one))
    })
}

fn eips(connection: &Connection) -> Result<BTreeMap<String, Eip>> {
    map(connection, &format!("{EIP} ORDER BY id"), |row| {
        read_eip(row).map(|one| (one.id.clone(), one))
    })
}

fn associations(connection: &Connection) -> Result<BTreeMap<String, Association>> {
    map(connection, &format!("{ASSOCIATION} ORDER BY eip"), |row| {
        read_association(row).map(|one| (one.eip.clone(), one))
    })
}

fn vpcs(connection: &Connection) -> Result<BTreeMap<String, Vpc>> {
    let mut vpcs = all(
        connection,
        "SELECT id, gateway, vni FROM vpc ORDER BY id",
        [],
        read_vpc,
    )?;
    let sql = "SELECT vpc, first, prefix FROM vpc_cidr ORDER BY vpc, position";
    let read = |row: &Row<'_>| read_cidr(row, 1);
    distribute(
        connection,
        sql,
        read,
        &mut vpcs,
        |vpc| &vpc.id,
        |vpc, cidrs| {
            vpc.cidrs = cidrs.to_vec();
        },
    )?;
    Ok(vpcs.into_iter().map(|one| (one.id.clone(), one)).collect())
}

fn enis(connection: &Connection) -> Result<BTreeMap<String, Eni>> {
    let mut enis = all(connection, &format!("{ENI} ORDER BY id"), [], read_eni)?;
    let sql = "SELECT eni, position, address, shared FROM eni_ip ORDER BY eni";
    let read = |row: &Row<'_>| {
        let shared: bool = row.get(3)?;
        Ok((row.get::<_, i64>(1)?, read_address(row, 2)?, shared))
    };
    distribute(
        connection,
        sql,
        read,
        &mut enis,
        |eni| &eni.id,
        |eni, ips| {
            ips.sort_unstable();
            set_private_ips(eni, ips.iter().map(|(_, ip, shared)| (*ip, *shared)));
        },
    )?;
    Ok(enis.into_iter().map(|one| (one.id.clone(), one)).collect())
}

/// Gives each parent its rows, by the parent's id in the statement's first column; both are sorted
/// by it.
fn distribute<P, T>(
    connection: &Connection,
    sql: &str,
    read: impl Fn(&Row<'_>) -> Result<T>,
    parents: &mut [P],
    id: impl Fn(&P) -> &String,
    give: impl Fn(&mut P, &mut [T]),
) -> Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut parents = parents.iter_mut();
    let mut parent: Option<&mut P> = None;
    let mut own = Vec::new();
    while let Some(row) = rows.next()? {
        let owner = row.get_ref(0)?.as_str()?;
        if parent.as_ref().is_none_or(|parent| id(parent) != owner) {
            if let Some(parent) = &mut parent {
                give(parent, &mut own);
            }
            own.clear();
            parent = parents.find(|parent| id(parent) == owner);
            if parent.is_none() {
                let detail = format!("a row belongs to `{owner}`, which does not exist");
                return Err(damaged(0, detail));
            }
        }
        own.push(read(row)?);
    }
    if let Some(parent) = parent {
        give(parent, &mut own);
    }
    Ok(())
}

/// Rows that are sorted by the key: a map is made of them in one go.
fn map<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> Result<(String, T)>,
) -> Result<BTreeMap<String, T>> {
    connection
        .prepare_cached(sql)?
        .query_map([], read)?
        .collect()
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    connection
        .prepare_cached(sql)?
        .query_map(params, read)?
        .collect()
}

fn pools(connection: &Connection) -> Result<Pools> {
    let pools = all(connection, POOL, [], read_pool)?;
    Ok(pools.into_iter().map(|pool| (pool.cidr, pool)).collect())
}

fn read_pool(row: &Row<'_>) -> Result<Pool> {
    let reserve: String = row.get(3)?;
    let ranges = reserve.split_whitespace().map(str::parse);
    Ok(Pool {
        cidr: read_cidr(row, 0)?,
        gateway: read_text(row, 2)?,
        reserve: ranges
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| damaged(3, error))?,
        priority: row.get(4)?,
    })
}

/// Everything but the objects that hold what no writer of ours writes: a sentence about each of
/// those. It asks for one object after the other.
pub(super) fn sound_model(connection: &Connection) -> Result<(Model, Vec<String>)> {
    let reader = Reader::new(connection);
    let (mut model, mut not_live) = (Model::default(), Vec::new());
    let mut statement = connection.prepare_cached(POOL)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let pool = sound(read_pool(row).map(Some), "pool", &mut not_live, || {
            read_cidr(row, 0).map_or_else(|_| "of unknown prefix".to_owned(), |one| one.to_string())
        })?;
        if let Some(pool) = pool {
            model.pools.insert(pool.cidr, pool);
        }
    }
    each_sound(connection, "vpc", "id", &mut not_live, |id| {
        let vpc = reader.read_vpc(id)?;
        model.vpcs.extend(vpc.map(|one| (one.id.clone(), one)));
        Ok(())
    })?;
    each_sound(connection, "instance", "id", &mut not_live, |id| {
        let sql = "SELECT id, max_enis FROM instance WHERE id = ?1";
        let instance = connection.query_row(sql, [id], read_instance)?;
        model.instances.insert(id.to_owned(), instance);
        Ok(())
    })?;
    each_sound(connection, "eni", "id", &mut not_live, |id| {
        let eni = reader.read_eni(id)?;
        model.enis.extend(eni.map(|one| (one.id.clone(), one)));
        Ok(())
    })?;
    each_sound(connection, "eip", "id", &mut not_live, |id| {
        let eip = connection.query_row(&format!("{EIP} WHERE id = ?1"), [id], read_eip)?;
        model.eips.insert(id.to_owned(), eip);
        Ok(())
    })?;
    each_sound(connection, "association", "eip", &mut not_live, |eip| {
        let sql = format!("{ASSOCIATION} WHERE eip = ?1");
        let association = connection.query_row(&sql, [eip], read_association)?;
        model.associations.insert(eip.to_owned(), association);
        Ok(())
    })?;
    Ok((model, not_live))
}

/// Reads each object of a kind.
fn each_sound(
    connection: &Connection,
    kind: &str,
    key: &str,
    not_live: &mut Vec<String>,
    mut read: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let mut statement = connection.prepare_cached(&format!("SELECT {key} FROM {kind}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id: Result<String> = row.get(0);
        let name = id.as_ref().map_or("of no name", String::as_str).to_owned();
        let done = id.and_then(|id| read(&id)).map(Some);
        sound(done, kind, not_live, || name)?;
    }
    Ok(())
}

/// What was read of an object; `None`, with a sentence, where it holds a value that is none of its
/// column's. An error of SQLite's own is of the whole file.
fn sound<T>(
    read: Result<Option<T>>,
    kind: &str,
    not_live: &mut Vec<String>,
    name: impl FnOnce() -> String,
) -> Result<Option<T>> {
    match read {
        Err(error) if error.sqlite_error_code().is_none() => {
            not_live.push(format!(
                "{kind} {}: the table's row cannot be read ({error}): it is not served, and commands about it fail; correct or \
                 delete the row with sqlite3, or restore a copy",
                name()
            ));
            Ok(None)
        }
        other => other,
    }
}

fn read_vpc(row: &Row<'_>) -> Result<Vpc> {
    Ok(Vpc {
        id: row.get(0)?,
        cidrs: Vec::new(),
        gateway: row.get::<_, Option<Address>>(1)?.map(|address| address.0),
        vni: row.get(2)?,
    })
}

fn read_instance(row: &Row<'_>) -> Result<Instance> {
    Ok(Instance {
        id: row.get(0)?,
        max_enis: row.get(1)?,
    })
}

fn read_eni(row: &Row<'_>) -> Result<Eni> {
    Ok(Eni {
        id: row.get(0)?,
        vpc: row.get(1)?,
        kind: read_name(row, 2)?,
        mac: Mac(row.get(3)?),
        private_ips: Vec::new(),
        shared_ips: Vec::new(),
        region: row.get(4)?,
        antispoof: read_name(row, 5)?,
        state: read_name(row, 6)?,
        instance: row.get(7)?,
        port: row.get(8)?,
        vlan: read_vlan(row, 9)?,
        force: row.get(11)?,
        rebind: read_name(row, 12)?,
        bound: row.get(13)?,
    })
}

/// Gives an ENI its private IPs in their order, each with whether it is shared.
fn set_private_ips(eni: &mut Eni, ips: impl Iterator<Item = (IpAddr, bool)> + Clone) {
    eni.private_ips = ips.clone().map(|(ip, _)| ip).collect();
    eni.shared_ips = ips
        .filter(|(_, shared)| *shared)
        .map(|(ip, _)| ip)
        .collect();
}

/// The VLAN in two columns: the inner one's, and the outer one's.
fn read_vlan(row: &Row<'_>, index: usize) -> Result<Option<Vlan>> {
    let id: Option<u16> = row.get(index)?;
    let outer = row.get(index + 1)?;
    Ok(id.map(|id| Vlan { outer, id }))
}

fn read_eip(row: &Row<'_>) -> Result<Eip> {
    Ok(Eip {
        id: row.get(0)?,
        address: read_address(row, 1)?,
        region: row.get(2)?,
        expires_at: read_time(row, 3)?,
        state: read_name(row, 4)?,
        announce: read_name(row, 5)?,
        former: match row.get::<_, Option<String>>(6)? {
            Some(eni) => Some(Former {
                eni,
                private_ip: read_address(row, 7)?,
                mode: read_name(row, 8)?,
            }),
            None => None,
        },
    })
}

fn read_association(row: &Row<'_>) -> Result<Association> {
    Ok(Association {
        eip: row.get(0)?,
        eni: row.get(1)?,
        private_ip: read_address(row, 2)?,
        mode: read_name(row, 3)?,
    })
}
