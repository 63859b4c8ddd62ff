//! What a table remembers of its changes.

use rusqlite::Connection;

use crate::{
    model::{
        Change, Model,
        command::Command,
        testing::{at, command},
    },
    table::{
        Table, record,
        schema::{APPLICATION_ID, MIGRATIONS},
        testing::{Pair, TABLES, follow},
    },
};

/// Every kind of object, and each field with a value.
const ALL: &str = "
    pool 203.0.113.0/24 gateway=none reserve=203.0.113.9-203.0.113.12
    pool 198.51.100.0/24 gateway=198.51.100.7
    pool 2001:db8::/64
    vpc v1 10.0.0.0/24,fd00::/64 gateway=10.0.0.9
    instance i1 max=3
    eni p1 v1 primary 1 10.0.0.5,fd00::5
    eni s1 v1 secondary 2 10.0.0.6 region=west
    attach p1 i1 port-p1 vlan=7
    eip x1 203.0.113.1 expires=2000
    eip x2 2001:db8::2
    eip x3 203.0.113.3 region=west
    associate x1 p1
    associate x2 p1 ip=fd00::5
    associate x3 s1 cut
    attach s1 i1 port-s1
";

#[test]
fn every_object_is_remembered_as_it_is() {
    let mut pair = Pair::with(ALL);
    assert!(follow(&pair, 0, Model::default()));
    let before = (pair.table.revision().unwrap(), pair.model.clone());
    pair.accept_at("expire", 2_000);
    pair.accept_all(
        "disassociate x2
         disassociate x3
         detach s1
         instance-delete i1
         set x1 never
         pool-delete 198.51.100.0/24",
    );
    assert!(follow(&pair, before.0, before.1));
}

#[test]
fn a_revision_that_is_still_to_come_is_of_another_table() {
    let pair = Pair::with("instance i1");
    assert_eq!(pair.table.changes_since(2).unwrap(), None);
    let none = pair.table.changes_since(1).unwrap().unwrap();
    assert_eq!((none.revision, none.changes), (1, vec![]));
}

#[test]
fn the_oldest_revisions_are_forgotten() {
    let mut pair = Pair::new();
    let length = |change: &[Change]| record::encode(change, usize::MAX).unwrap().len();
    let one = length(&pair.accept("instance i0").changes);
    pair.limit_log(3 * one);
    for number in 1..7 {
        pair.accept(&format!("instance i{number}"));
    }
    let known: Vec<_> = (0..=7)
        .map(|revision| pair.table.changes_since(revision).unwrap().is_some())
        .collect();
    assert_eq!(known, [false, false, false, false, true, true, true, true]);
    // Larger than the log: nothing before it is of use any more.
    pair.accept("vpc v1 10.0.0.0/24,10.1.0.0/24,10.2.0.0/24,10.3.0.0/24");
    assert_eq!(pair.table.changes_since(7).unwrap(), None);
    pair.accept("instance i7");
    assert!(pair.table.changes_since(8).unwrap().is_some());
    assert_eq!(pair.table.changes_since(7).unwrap(), None);
}

#[test]
fn what_a_follower_cannot_read_is_not_told() {
    let pair = Pair::with("instance i1 \n instance i2 \n instance i3");
    for damage in [
        "UPDATE log SET changes = substr(changes, 1, length(changes) - 1) WHERE revision = 2",
        "UPDATE log SET changes = x'09' WHERE revision = 2",
        "DELETE FROM log WHERE revision = 2",
    ] {
        pair.table.connection.execute(damage, []).unwrap();
        assert_eq!(pair.table.changes_since(1).unwrap(), None, "{damage}");
        assert!(pair.table.changes_since(2).unwrap().is_some(), "{damage}");
    }
}

#[test]
fn a_table_of_the_first_version_is_upgraded() {
    let pair = Pair::with(ALL);
    let path = pair.directory.path().join("old.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(MIGRATIONS[0]).unwrap();
    old.pragma_update(None, "application_id", APPLICATION_ID)
        .unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    let current = pair.directory.path().join("table.db");
    let copy = format!(
        "ATTACH '{}' AS current; BEGIN; DELETE FROM meta; {} COMMIT;",
        current.display(),
        TABLES
            .map(|table| {
                let columns = match table {
                    "meta" => "one, revision",
                    "pool" => "first, last, prefix, gateway, reserve",
                    "eni" => "id, vpc, kind, mac, region, antispoof, state, instance, port, vlan",
                    "eni_ip" => "eni, address, position, vpc",
                    "eip" => "id, address, region, expires_at, state, followed",
                    _ => "*",
                };
                format!("INSERT INTO {table} SELECT {columns} FROM current.{table};")
            })
            .concat(),
    );
    old.execute_batch(&copy).unwrap();
    drop(old);
    let mut table = Table::open_or_make(&format!("sqlite:{}", path.display()), None).unwrap();
    let before = table.snapshot().unwrap();
    assert_eq!(before, pair.table.snapshot().unwrap());
    assert_eq!(table.changes_since(before.revision - 1).unwrap(), None);
    table.execute(&command("instance i9"), &at(0)).unwrap();
    let delta = table.changes_since(before.revision).unwrap().unwrap();
    let mut model = before.model;
    model.change(&delta.changes);
    assert_eq!(model, table.snapshot().unwrap().model);
}

#[test]
fn a_table_that_is_applied_is_a_revision_like_others() {
    let document = Pair::with(ALL).model.into();
    let mut pair = Pair::with("instance i9 \n vpc v9 10.9.0.0/24");
    let before = (pair.table.revision().unwrap(), pair.model.clone());
    let apply = Command::Apply {
        document,
        prune: crate::model::command::Prune::All,
    };
    pair.run(&apply, &at(1_000)).unwrap();
    assert!(follow(&pair, before.0, before.1));
    assert!(follow(&pair, 0, Model::default()));
}
