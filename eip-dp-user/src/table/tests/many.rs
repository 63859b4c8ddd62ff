//! Several writers at once, and tables with very many objects.

use std::{sync::Barrier, thread};

use crate::{
    model::{
        Code, Document,
        command::Command,
        objects::{Announce, Eip, EipState},
        testing::{at, check_invariants, command},
    },
    table::{ExecuteError, Table, testing::Pair},
};

#[test]
fn writers_at_once_never_break_a_rule() {
    let pair = Pair::with(
        "pool 203.0.113.0/24
         vpc v1 10.0.0.0/24
         eni e1 v1 primary 1 10.0.0.11
         eip x0
         eip x1
         eip x2
         eip x3",
    );
    let url = format!(
        "sqlite:{}",
        pair.directory.path().join("table.db").display()
    );
    let start = Barrier::new(4);
    let writer = |number: usize| {
        let mut table = Table::open_or_make(&url, None).unwrap();
        table.shared_from = 0;
        start.wait();
        let mut won = 0;
        for round in 0..20 {
            // All of them want the one EIP that a primary ENI takes, and the next free address.
            match table.execute(&command(&format!("associate x{number} e1")), &at(0)) {
                Ok(_) => {
                    won += 1;
                    table
                        .execute(&command(&format!("disassociate x{number}")), &at(0))
                        .unwrap();
                }
                Err(ExecuteError::Refused(refusal)) => {
                    assert_eq!(refusal.code, Code::PrimaryEniLimit);
                }
                Err(error) => panic!("{error}"),
            }
            table
                .execute(&command(&format!("eip y{number}-{round}")), &at(0))
                .unwrap();
            check_invariants(&table.snapshot().unwrap().model);
        }
        won
    };
    let writer = &writer;
    let won: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| scope.spawn(move || writer(number)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    let snapshot = pair.table.snapshot().unwrap();
    assert_eq!(snapshot.model.eips.len(), 4 + 80);
    assert_eq!(
        snapshot.revision,
        7 + 80 + 2 * won as u64,
        "no revision is lost or given twice"
    );
}

#[test]
fn one_new_file_opened_by_many_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let url = &format!("sqlite:{}/table.db", directory.path().display());
    let start = &Barrier::new(8);
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                start.wait();
                let mut table = Table::open_or_make(url, None).unwrap();
                table
                    .execute(&command(&format!("instance i{number}")), &at(0))
                    .unwrap();
            });
        }
    });
    let snapshot = Table::open(url).unwrap().snapshot().unwrap();
    assert_eq!((snapshot.revision, snapshot.model.instances.len()), (8, 8));
}

#[test]
fn the_next_free_address_behind_many_eips() {
    let mut pair = Pair::with("pool 100.0.0.0/8");
    let eips = (2..20_002_u32).map(|host| Eip {
        id: format!("x{host}"),
        address: std::net::Ipv4Addr::from_bits(0x6400_0000 + host).into(),
        region: None,
        expires_at: None,
        state: EipState::Free,
        announce: Announce::Auto,
        former: None,
    });
    let document = Document {
        eips: eips.collect(),
        ..Document::default()
    };
    let table = &mut pair.table;
    table
        .execute(
            &Command::Apply {
                document,
                prune: crate::model::command::Prune::No,
            },
            &at(0),
        )
        .unwrap();
    table.execute(&command("eip behind"), &at(0)).unwrap();
    table.execute(&command("release x7777"), &at(0)).unwrap();
    table.execute(&command("eip between"), &at(0)).unwrap();
    let model = table.snapshot().unwrap().model;
    assert_eq!(model.eips["behind"].address.to_string(), "100.0.78.34");
    assert_eq!(model.eips["between"].address.to_string(), "100.0.30.97");
}
