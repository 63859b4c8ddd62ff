//! Files that are no table, not any more, or not yet.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use crate::{
    model::{
        Code, Vlan,
        command::Command,
        testing::{at, command},
    },
    table::{ExecuteError, FileId, Identity, Table, TableError, schema, testing::Pair},
};

fn refused(url: &str) -> TableError {
    match Table::open(url) {
        Ok(_) => panic!("{url} is opened"),
        Err(error) => error,
    }
}

#[test]
fn urls() {
    for url in ["", "table.db", "sqlite:", "mysql:x", "/var/lib/table.db"] {
        let error = refused(url);
        assert!(matches!(error, TableError::Url { .. }), "{error}");
        assert!(error.to_string().contains("sqlite:PATH"), "{error}");
    }
    let error = refused("etcd://localhost:2379");
    assert!(error.to_string().contains("not built yet"), "{error}");
}

#[test]
fn directories_are_made_and_the_table_stays() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/a/b/table.db", directory.path().display());
    let mut table = Table::open_or_make(&url, None).unwrap();
    assert_eq!(table.revision().unwrap(), 0);
    table
        .execute(&command("vpc v1 10.0.0.0/24"), &at(0))
        .unwrap();
    drop(table);
    let again = Table::open(&url).unwrap();
    assert_eq!(again.revision().unwrap(), 1);
    assert!(again.snapshot().unwrap().model.vpcs.contains_key("v1"));
}

#[test]
fn a_path_that_is_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let error = refused(&format!("sqlite:{}", directory.path().display()));
    assert!(matches!(error, TableError::Access { .. }), "{error}");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let url = format!("sqlite:{}/table.db", file.display());
    let error = refused(&url);
    assert!(matches!(error, TableError::Access { .. }), "{error}");
    let error = Table::open_or_make(&url, None).unwrap_err();
    assert!(matches!(error, TableError::Directory { .. }), "{error}");
}

#[test]
fn no_database_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.db");
    fs::write(&path, "not a database, ".repeat(1_000)).unwrap();
    let error = refused(&format!("sqlite:{}", path.display()));
    assert!(matches!(error, TableError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("apply"), "{error}");
    assert!(error.to_string().contains("table.db"), "{error}");
}

#[test]
fn an_empty_file_is_a_new_table() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.db");
    fs::write(&path, "").unwrap();
    let table = Table::open_or_make(&format!("sqlite:{}", path.display()), None).unwrap();
    assert_eq!(table.revision().unwrap(), 0);
}

/// Of the modes of files and folders that are there, those bits that others have.
fn open_to_others(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o077
}

#[test]
fn nobody_else_reads_what_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("new");
    let path = folder.join("table.db");
    let url = format!("sqlite:{}", path.display());
    let mut table = Table::open_or_make(&url, None).unwrap();
    table
        .execute(&command("vpc v1 10.0.0.0/24"), &at(0))
        .unwrap();
    let journal = folder.join("table.db-journal");
    for path in [&folder, &path, &journal] {
        assert_eq!(open_to_others(path), 0, "{}", path.display());
    }
    // As an earlier version left them.
    for path in [&path, &journal] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    Table::open(&url).unwrap();
    for path in [&path, &journal] {
        assert_eq!(open_to_others(path), 0, "{}", path.display());
    }
}

#[test]
fn nothing_is_made_by_who_only_looks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/table.db");
    let url = format!("sqlite:{}", path.display());
    for opened in [Table::open(&url), Table::open_read_only(&url)] {
        let error = opened.unwrap_err();
        assert!(matches!(error, TableError::Missing { .. }), "{error}");
        for verb in ["restore", "apply", "create"] {
            assert!(error.to_string().contains(verb), "{error}");
        }
    }
    assert!(!directory.path().join("deep").exists());
    let path = directory.path().join("table.db");
    fs::write(&path, "").unwrap();
    let url = format!("sqlite:{}", path.display());
    for opened in [Table::open(&url), Table::open_read_only(&url)] {
        let error = opened.unwrap_err();
        assert!(matches!(error, TableError::Empty { .. }), "{error}");
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    let table = Table::open_or_make(&url, None).unwrap();
    assert!(table.is_new());
    assert!(!Table::open_or_make(&url, None).unwrap().is_new());
}

#[test]
fn who_reads_changes_nothing_on_disk() {
    let pair = Pair::with("pool 203.0.113.0/24 \n eip x1");
    let folder = pair.directory.path();
    let url = format!("sqlite:{}", folder.join("table.db").display());
    let revision = pair.table.revision().unwrap();
    drop(pair.table);
    let listed = || -> Vec<_> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = (listed(), fs::read(folder.join("table.db")).unwrap());
    let mut table = Table::open_read_only(&url).unwrap();
    assert_eq!(table.revision().unwrap(), revision);
    table.snapshot().unwrap();
    let error = table.execute(&command("eip x2"), &at(0)).unwrap_err();
    assert!(
        matches!(error, ExecuteError::Table(TableError::Access { .. })),
        "{error}"
    );
    assert_eq!(
        (listed(), fs::read(folder.join("table.db")).unwrap()),
        before
    );
}

/// A file of an earlier version that may only be read is shown as it would be after the upgrade,
/// and stays as it is. The log in which such a version kept its changes is not needed where it is
/// empty.
#[test]
fn an_older_version_is_read_without_being_touched() {
    let (directory, url) =
        of_version_1("PRAGMA journal_mode = wal; INSERT INTO vpc VALUES ('v1', NULL, NULL);");
    let path = directory.path().join("table.db");
    let before = fs::read(&path).unwrap();
    let table = Table::open_read_only(&url).unwrap();
    assert!(table.snapshot().unwrap().model.vpcs.contains_key("v1"));
    assert_eq!(table.identity(), None, "it has none yet");
    drop(table);
    assert_eq!(fs::read(&path).unwrap(), before);
    // Upgraded, it is kept without a log, and has the identity that it is given.
    let identity = Identity::of_words([7, 8]);
    let table = Table::open_for(&url, identity).unwrap();
    assert_eq!(table.identity(), identity);
    let mode: String = table
        .connection
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "persist");
    drop(table);
    assert!(!schema::beside(&path, "-wal").exists());
    assert!(!schema::beside(&path, "-shm").exists());
    // What has one keeps it.
    let table = Table::open_for(&url, Identity::of_words([1, 1])).unwrap();
    assert_eq!(table.identity(), identity);
}

#[test]
fn a_copy_is_followed_and_another_table_is_not() {
    let mut pair = Pair::with("pool 203.0.113.0/24 \n eip x1");
    let path = pair.directory.path().join("table.db");
    let beside = pair.directory.path().join("beside.db");
    let revision = pair.table.revision().unwrap();
    assert!(pair.table.at_path().unwrap().is_none());
    fs::copy(&path, &beside).unwrap();
    pair.accept("eip x2");
    fs::rename(&beside, &path).unwrap();
    let copy = pair.table.at_path().unwrap().expect("another file");
    assert_eq!(copy.revision().unwrap(), revision);
    // The connection is to the file before it.
    let error = pair.table.execute(&command("eip x3"), &at(0)).unwrap_err();
    assert!(
        matches!(error, ExecuteError::Table(TableError::Replaced { .. })),
        "{error}"
    );
    for (name, content) in [
        ("part", fs::read(&path).unwrap()[..8192].to_vec()),
        ("nothing", Vec::new()),
    ] {
        fs::write(&beside, content).unwrap();
        fs::rename(&beside, &path).unwrap();
        pair.table.at_path().expect_err(name);
    }
    fs::remove_file(&path).unwrap();
    let error = pair.table.at_path().unwrap_err();
    assert!(matches!(error, TableError::Gone { .. }), "{error}");
    assert!(!path.exists());
    let url = format!("sqlite:{}", path.display());
    Table::open_or_make(&url, None).unwrap();
    let error = pair.table.at_path().unwrap_err();
    assert!(matches!(error, TableError::Another { .. }), "{error}");
}

/// Written over, with the same file: what the connection remembers is not the file's any more.
#[test]
fn another_history_in_the_same_file_is_noticed() {
    let mut pair = Pair::with("pool 203.0.113.0/24 \n eip x1");
    let path = pair.directory.path().join("table.db");
    let before = fs::read(&path).unwrap();
    pair.accept("eip x2");
    let revision = pair.table.revision().unwrap();
    let trace = pair.table.trace(revision).unwrap();
    assert!(trace.is_some());
    fs::write(&path, before).unwrap();
    pair.table.check_identity().unwrap();
    assert_eq!(pair.table.trace(revision).unwrap(), None);
    let url = format!("sqlite:{}", path.display());
    Table::open(&url)
        .unwrap()
        .execute(&command("eip x9"), &at(0))
        .unwrap();
    assert_eq!(pair.table.revision().unwrap(), revision);
    assert_ne!(pair.table.trace(revision).unwrap(), trace);
    fs::write(&path, "").unwrap();
    let error = pair.table.at_path().unwrap_err();
    assert!(matches!(error, TableError::Empty { .. }), "{error}");
}

#[test]
fn another_program_s_database() {
    let directory = tempfile::tempdir().unwrap();
    for sql in [
        "CREATE TABLE songs (name TEXT)",
        "PRAGMA application_id = 7",
        "PRAGMA user_version = 3",
    ] {
        let path = directory.path().join("other.db");
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let error = refused(&format!("sqlite:{}", path.display()));
        assert!(
            matches!(error, TableError::Foreign { .. }),
            "{sql}: {error}"
        );
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_newer_version() {
    let pair = Pair::new();
    let path = pair.directory.path().join("table.db");
    let newer = schema::VERSION + 1;
    pair.table
        .connection
        .pragma_update(None, "user_version", newer)
        .unwrap();
    let error = refused(&format!("sqlite:{}", path.display()));
    assert!(
        matches!(error, TableError::Newer { found, .. } if found == newer),
        "{error}"
    );
}

/// A table of version 1 with these rows: its folder and its URL.
fn of_version_1(rows: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../schema.sql")).unwrap();
    old.execute_batch(&format!(
        "PRAGMA application_id = {}; PRAGMA user_version = 1; {rows}",
        schema::APPLICATION_ID
    ))
    .unwrap();
    (directory, format!("sqlite:{}", path.display()))
}

/// What a table of version 1 has is there after, and can be moved to a VLAN within another.
#[test]
fn an_older_version_is_brought_up() {
    let (_directory, url) = of_version_1(
        "INSERT INTO vpc VALUES ('v1', NULL, NULL); \
         INSERT INTO vpc_cidr VALUES ('v1', 0, x'040a000000', x'040a0000ff', 24); \
         INSERT INTO instance VALUES ('i1', NULL); \
         INSERT INTO eni VALUES ('e1', 'v1', 'secondary', x'020000000001', NULL, 'instance', 'attached', 'i1', 'lan', 7); \
         INSERT INTO eni_ip VALUES ('e1', x'040a000005', 0, 'v1')",
    );
    let mut table = Table::open(&url).unwrap();
    let vlan = |table: &Table| table.snapshot().unwrap().model.enis["e1"].vlan;
    assert_eq!(vlan(&table), Some(Vlan::of(7)));
    for (line, wanted) in [
        ("attach e1 i1 lan vlan=100.7", Some(Vlan::within(100, 7))),
        ("attach e1 i1 lan vlan=8", Some(Vlan::of(8))),
        ("attach e1 i1 lan vlan=101.8", Some(Vlan::within(101, 8))),
        ("detach e1", None),
    ] {
        table.execute(&command(line), &at(0)).unwrap();
        assert_eq!(vlan(&table), wanted, "{line}");
    }
    drop(table);
    let again = Table::open(&url).unwrap();
    assert_eq!(vlan(&again), None);
    // The schema itself refuses an outer VLAN without an inner one.
    let refused = again
        .connection
        .execute("UPDATE eni SET outer_vlan = 5 WHERE id = 'e1'", []);
    assert!(refused.is_err());
}

#[test]
fn damage_inside_the_file_is_an_error_and_no_panic() {
    let mut pair = Pair::with("vpc v1 10.0.0.0/8 \n pool 203.0.0.0/16");
    for number in 1..200_u8 {
        pair.accept(&format!(
            "eni e{number} v1 secondary {number} 10.0.1.{number}"
        ));
        pair.accept(&format!("eip x{number}"));
    }
    let path = pair.directory.path().join("table.db");
    let url = format!("sqlite:{}", path.display());
    drop(pair.table);
    let good = fs::read(&path).unwrap();
    let mut noticed = 0;
    for page in 1..good.len() / 4096 {
        let mut bad = good.clone();
        bad[page * 4096..][..2048].fill(0xa5);
        fs::write(&path, &bad).unwrap();
        let snapshot = Table::open(&url).and_then(|table| table.snapshot());
        let executed =
            Table::open(&url).map(|mut table| table.execute(&command("eip new"), &at(0)));
        for error in [snapshot.err(), executed.err()].into_iter().flatten() {
            assert!(matches!(error, TableError::Damaged { .. }), "{error}");
            noticed += 1;
        }
    }
    assert!(noticed > 5, "{noticed} errors");
}

#[test]
fn columns_that_hold_what_no_writer_writes() {
    let pair = Pair::with("vpc v1 10.0.0.0/24");
    let sql = "PRAGMA ignore_check_constraints = 1; UPDATE vpc_cidr SET prefix = 99; UPDATE vpc SET gateway = x'00';";
    pair.table.connection.execute_batch(sql).unwrap();
    let error = pair.table.snapshot().unwrap_err();
    assert!(matches!(error, TableError::Damaged { .. }), "{error}");
    let mut table = pair.table;
    let error = table
        .execute(&command("eni e1 v1 secondary 1 10.0.0.5"), &at(0))
        .unwrap_err();
    assert!(
        matches!(error, ExecuteError::Table(TableError::Damaged { .. })),
        "{error}"
    );
}

#[test]
fn a_refused_command_leaves_the_file_as_it_was() {
    let mut pair = Pair::with("pool 203.0.113.0/24 \n eip x1");
    let bytes = |pair: &Pair| {
        let path = pair.directory.path();
        ["table.db", "table.db-journal"].map(|name| fs::read(path.join(name)).unwrap())
    };
    let before = bytes(&pair);
    pair.refuse(Code::InUse, "pool-delete 203.0.113.0/24");
    pair.table.preview(&command("eip x2"), &at(0)).unwrap();
    assert_eq!(before, bytes(&pair));
}

#[test]
fn preview_says_what_execute_does() {
    let mut pair = Pair::with("pool 203.0.113.0/24");
    let preview = pair.table.preview(&command("eip x1"), &at(0)).unwrap();
    let done = pair.accept("eip x1");
    assert_eq!(
        (preview.revision + 1, preview.changes),
        (done.revision, done.changes.clone())
    );
    let line = done.changes[0].to_string();
    assert_eq!(line, "+ eip x1 address=203.0.113.2 state=free");
    let set = pair.accept("set x1 2000").changes[0].to_string();
    assert_eq!(set, "~ eip x1 expires_at=none->1970-01-01T00:33:20Z");
    assert!(
        pair.accept("release x1").changes[0]
            .to_string()
            .starts_with("- eip x1 ")
    );
}

#[test]
fn what_cannot_be_meant_and_what_is_not_built() {
    let mut pair = Pair::new();
    let long = "x".repeat(65);
    let invalid = [
        format!("eip {long}"),
        "instance i1 max=0".to_owned(),
        "pool 203.0.113.5/24".to_owned(),
        "pool 203.0.113.0/24 gateway=2001:db8::1".to_owned(),
        "attach e1 i1 a/b".to_owned(),
        format!("attach e1 i1 {}", "x".repeat(128)),
        "attach e1 i1 port vlan=4095".to_owned(),
        "attach e1 i1 port vlan=0.7".to_owned(),
        "attach e1 i1 port vlan=100.4095".to_owned(),
        "eip a\u{1b}b".to_owned(),
        format!("vpc v1 {}", ["10.0.0.0/24"; 9].join(",")),
    ];
    for line in invalid {
        let error = pair.table.execute(&command(&line), &at(0)).unwrap_err();
        assert!(
            matches!(error, ExecuteError::Unacceptable(_)),
            "{line}: {error}"
        );
    }
    let mapped = [
        "pool ::ffff:203.0.113.0/120",
        "vpc v1 ::ffff:10.0.0.0/104",
        "eni e1 v1 secondary 1 ::ffff:10.0.0.5",
        "add-ip e1 ::ffff:10.0.0.5",
        "eip x1 ::ffff:203.0.113.5",
    ];
    for line in mapped {
        let error = pair.table.execute(&command(line), &at(0)).unwrap_err();
        assert!(
            matches!(error, ExecuteError::Unacceptable(_)),
            "{line}: {error}"
        );
        assert!(error.to_string().contains("; write "), "{error}");
    }
    assert_eq!(pair.table.revision().unwrap(), 0);
    // The rule stays within reach: the private IP may be of either family.
    pair.accept_all(
        "pool 203.0.113.0/24 \n vpc v1 10.0.0.0/24 \n eni e1 v1 secondary 1 10.0.0.5 \n eip x1",
    );
    let error = pair
        .table
        .execute(&command("associate x1 e1 nat ip=fd00::5"), &at(0))
        .unwrap_err();
    assert!(
        matches!(error, ExecuteError::Refused(refusal) if refusal.code == Code::FamilyMismatch)
    );
}

#[test]
fn a_document_is_checked_like_the_verbs() {
    let mut pair = Pair::new();
    let half = "[[eni]]\nid = \"e\"\nvpc = \"v\"\nkind = \"secondary\"\nmac = \"02:00:00:00:00:01\"\n\
                private_ips = [\"10.0.0.5\"]\ninstance = \"i\"";
    let stranded = half.replace("secondary", "primary") + "\nport = \"p\"\nstate = \"stranded\"";
    for (text, part) in [
        (half, "instance and port"),
        (&stranded, "cannot be stranded"),
        (
            "[[pool]]\ncidr = \"::ffff:192.0.2.0/120\"",
            "write 192.0.2.0",
        ),
        ("[[vpc]]\nid = \"v\"\ncidrs = []", "no CIDR"),
        (
            "[[vpc]]\nid = \"v\"\ncidrs = [\"10.0.0.0/24\"]\nvni = 16777216",
            "16777216",
        ),
    ] {
        let document = toml::from_str(text).unwrap();
        let apply = Command::Apply {
            document,
            prune: crate::model::command::Prune::No,
        };
        let error = pair.table.execute(&apply, &at(0)).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_pipe_in_the_tables_place_is_refused_and_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.db");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let url = format!("sqlite:{}", path.display());
    for opened in [Table::open_read_only(&url), Table::open(&url)] {
        assert!(
            matches!(opened, Err(TableError::NoFile { .. })),
            "{opened:?}"
        );
    }
}

/// What says which file is open must not be said of another one that came to its path meanwhile:
/// nobody would ever look at that one again.
#[test]
fn a_file_that_is_replaced_while_it_is_opened_is_never_taken_for_another() {
    const OPENED: usize = 300;
    const FILES: u64 = 30;
    let folder = tempfile::tempdir().unwrap();
    let at_name = |name: &str| folder.path().join(name);
    let url_of = |path: &Path| format!("sqlite:{}", path.display());
    // Each copy has a revision of its own, by which it is told from the others.
    let mut files: Vec<(PathBuf, FileId, u64)> = Vec::new();
    for revision in 1..=FILES {
        let path = at_name(&format!("{revision}.db"));
        if let Some((before, ..)) = files.last() {
            fs::copy(before, &path).unwrap();
        }
        let mut table = Table::open_or_make(&url_of(&path), None).unwrap();
        let vpc = format!("vpc v{revision} 10.0.0.0/24");
        table.execute(&command(&vpc), &at(0)).unwrap();
        files.push((path, table.file(), revision));
    }
    let (path, next) = (at_name("table.db"), at_name("next.db"));
    let replace = |file: &Path| {
        fs::hard_link(file, &next).unwrap();
        fs::rename(&next, &path).unwrap();
        // To rename a file over itself does nothing.
        let _ = fs::remove_file(&next);
    };
    replace(&files[0].0);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                for (file, ..) in &files {
                    replace(file);
                }
            }
        });
        let outcome = std::panic::catch_unwind(|| {
            for number in 0..OPENED {
                let table = if number % 2 == 0 {
                    Table::open_read_only(&url_of(&path))
                } else {
                    Table::open(&url_of(&path))
                };
                // Where the file changes all the time, that is said.
                let Ok(table) = table else { continue };
                let read = (table.file(), table.revision().unwrap());
                let is_known =
                    |(_, file, revision): &(PathBuf, FileId, u64)| (*file, *revision) == read;
                assert!(files.iter().any(is_known), "{read:?}");
            }
        });
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        outcome.unwrap();
    });
}

/// Both have the same number where SQLite counts a file's changes.
#[test]
fn a_copy_that_is_written_over_another_one_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let at_path = |name: &str| folder.path().join(name);
    let live = at_path("live.db");
    let mut table = Table::open_or_make(&format!("sqlite:{}", live.display()), None).unwrap();
    for (number, name) in ["one", "two"].into_iter().enumerate() {
        let made = command(&format!("instance {name}"));
        table.execute(&made, &at(0)).unwrap();
        let revision = table.back_up(&at_path(name)).unwrap();
        assert_eq!(revision, number as u64 + 1);
    }
    drop(table);
    let follower = at_path("follower.db");
    let put = |name: &str| fs::write(&follower, fs::read(at_path(name)).unwrap()).unwrap();
    put("two");
    let table = Table::open(&format!("sqlite:{}", follower.display())).unwrap();
    assert_eq!(table.revision().unwrap(), 2);
    let state = table.state().unwrap();
    assert_eq!(table.state().unwrap(), state);
    assert_eq!(state, (2, table.stamp()));
    put("one");
    assert!(table.at_path().unwrap().is_none(), "the same file");
    assert_eq!(table.opened_anew().unwrap().revision().unwrap(), 1);
    fs::write(&follower, "half").unwrap();
    table.opened_anew().expect_err("not whole");
    assert_ne!(table.stamp(), state.1);
}

/// Whoever forwards by the table goes on with all the rest.
#[test]
fn a_row_that_cannot_be_read_is_named_and_the_rest_is_not() {
    let lines = "pool 203.0.113.0/24 \n pool 198.51.100.0/24 \n vpc v1 10.0.0.0/24 \n vpc v2 10.0.0.0/24 \n \
                 eip x1 \n eip x2 \n eni e1 v1 secondary 1 10.0.0.5 \n eni e2 v2 secondary 1 10.0.0.5 \n \
                 associate x1 e1 \n associate x2 e2";
    let pair = Pair::with(lines);
    let table = &pair.table;
    let whole = table.snapshot().unwrap();
    assert_eq!(table.sound_snapshot().unwrap(), whole);
    for (sql, name) in [
        (
            "UPDATE vpc_cidr SET prefix = 99 WHERE vpc = 'v2'",
            "vpc v2: ",
        ),
        ("UPDATE vpc SET gateway = x'00' WHERE id = 'v2'", "vpc v2: "),
        (
            "UPDATE eip SET expires_at = 9223372036854775807 WHERE id = 'x1'",
            "eip x1: ",
        ),
        ("UPDATE eip SET state = 'lost' WHERE id = 'x1'", "eip x1: "),
        ("UPDATE eni SET kind = 'x' WHERE id = 'e2'", "eni e2: "),
        (
            "UPDATE eni_ip SET address = x'0405' WHERE eni = 'e2'",
            "eni e2: ",
        ),
        (
            "UPDATE association SET mode = 'x' WHERE eip = 'x2'",
            "association x2: ",
        ),
        (
            "UPDATE pool SET reserve = 'x' WHERE first = x'04cb007100'",
            "pool 203.0.113.0/24: ",
        ),
    ] {
        let connection = &table.connection;
        let damage = format!("PRAGMA ignore_check_constraints = 1; BEGIN; {sql};");
        connection.execute_batch(&damage).unwrap();
        let (model, not_live) = super::super::read::sound_model(connection).unwrap();
        connection.execute_batch("ROLLBACK").unwrap();
        let [sentence] = &not_live[..] else {
            panic!("{sql}: {not_live:?}");
        };
        assert!(sentence.starts_with(name), "{sql}: {sentence}");
        let count = |model: &crate::model::Model| {
            model.pools.len()
                + model.vpcs.len()
                + model.enis.len()
                + model.eips.len()
                + model.associations.len()
        };
        assert_eq!(count(&model) + 1, count(&whole.model), "{sql}");
    }
    let damage =
        "PRAGMA ignore_check_constraints = 1; UPDATE eip SET state = 'lost' WHERE id = 'x1'";
    table.connection.execute_batch(damage).unwrap();
    assert!(table.snapshot().is_err());
    table
        .check_whole()
        .expect("a value is not the file's structure");
    let sound = table.sound_snapshot().unwrap();
    assert_eq!((sound.not_live.len(), sound.revision), (1, whole.revision));
    // Whose counters are copied.
    let damage =
        "PRAGMA ignore_check_constraints = 1; UPDATE eip SET address = x'0405' WHERE id = 'x1'";
    table.connection.execute_batch(damage).unwrap();
    let mut shown = Vec::new();
    let show = &mut |id: &str, _| shown.push(id.to_owned());
    table.each_eip(show).expect("the others");
    assert_eq!(shown, ["x2"]);
}
