//! Which table a verb works on, when one is made, and copies of it.

use std::{fs, os::unix::fs::MetadataExt};

use crate::bench::Bench;

#[test]
fn only_what_may_be_the_first_command_makes_a_table_and_says_so() {
    for line in [
        "pool list",
        "export",
        "associate a e",
        "eip release a",
        "backup copy.db",
        "eni attach e --instance i --port p",
        "status",
        "verify",
        "stats",
    ] {
        let bench = Bench::bare();
        bench.run(line.split(' '));
        assert!(!bench.path("table.db").exists(), "{line}");
    }
    for line in ["pool list", "export", "associate a e", "backup copy.db"] {
        let bench = Bench::bare();
        let run = bench.run(line.split(' '));
        assert_eq!(run.exit, 1, "{run:?}");
        assert!(
            run.stderr.starts_with("error: there is no table "),
            "{run:?}"
        );
    }
    for line in [
        "pool create 203.0.113.0/24",
        "vpc create v --cidr 10.0.0.0/16",
        "instance create i",
    ] {
        let bench = Bench::bare();
        let run = bench.run(line.split(' '));
        assert_eq!(run.exit, 0, "{run:?}");
        assert!(
            run.stderr.contains("note: ") && run.stderr.contains("table.db"),
            "{run:?}"
        );
        assert_eq!(bench.run(["pool", "list"]).stderr, "");
        let mode = fs::metadata(bench.path("table.db")).expect("made").mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_first_command_that_is_refused_makes_nothing() {
    let bench = Bench::bare();
    let run = bench.run(["eip", "create", "x"]);
    assert_eq!(run.exit, 3, "{run:?}");
    assert!(run.stderr.starts_with("error["), "{run:?}");
    assert!(!bench.path("table.db").exists());
    bench.file("table.toml", "[[pool]]\ncidr = \"203.0.113.0/24\"\n");
    let run = bench.run(["apply", "-f", "table.toml", "--dry-run"]);
    assert!(
        run.exit == 0 && run.stdout.contains("+ pool 203.0.113.0/24"),
        "{run:?}"
    );
    assert!(!bench.path("table.db").exists());
}

#[test]
fn a_copy_is_put_back_and_another_table_is_not() {
    let bench = Bench::rich();
    let said = bench.line("backup copy.db");
    assert!(said.contains("revision 1 of"), "{said}");
    let mode = fs::metadata(bench.path("copy.db")).expect("made").mode();
    assert_eq!(mode & 0o777, 0o600);
    bench.line("eip create later");
    let changed = bench.line("export");
    bench.line("backup changed.db");
    let run = bench.run(["restore", "copy.db"]);
    assert_eq!(run.exit, 0, "{run:?}");
    assert!(
        run.stderr.starts_with("warning: revision 1 is older"),
        "{run:?}"
    );
    assert!(!bench.line("eip list").contains("later"));
    // Also where there is nothing, or nothing that can be read.
    bench.line("restore changed.db");
    for broken in [None, Some("no database "), Some("")] {
        match broken {
            None => fs::remove_file(bench.path("table.db")).expect("removed"),
            Some(text) => bench.file("table.db", &text.repeat(1000)),
        }
        bench.line("restore changed.db");
        assert_eq!(bench.line("export"), changed);
    }
    let other = Bench::rich();
    other.line("backup other.db");
    let other = other.path("other.db");
    let run = bench.run(["restore", other.to_str().expect("UTF-8")]);
    assert_eq!(run.exit, 1, "{run:?}");
    assert!(run.stderr.contains("is no copy of the table"), "{run:?}");
    assert_eq!(bench.line("export"), changed);
    let left: Vec<_> = fs::read_dir(bench.path(""))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_backup_takes_nobody_s_file() {
    let bench = Bench::rich();
    bench.file("letter.txt", "dear");
    let run = bench.run(["backup", "letter.txt"]);
    assert_eq!(run.exit, 1, "{run:?}");
    assert_eq!(fs::read(bench.path("letter.txt")).expect("read"), b"dear");
    let run = bench.run(["backup", "table.db"]);
    assert_eq!(run.exit, 2, "{run:?}");
    let run = bench.run(["restore", "letter.txt"]);
    assert_eq!(run.exit, 1, "{run:?}");
    bench.line("backup copy.db");
    bench.line("backup copy.db");
}

/// Copies are made and put back while others write: each is a table, and each command's answer is
/// true.
#[test]
fn copies_beside_writers() {
    let bench = Bench::rich();
    bench.line("backup first.db");
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let bench = &bench;
                scope.spawn(move || {
                    for round in 0..10 {
                        let id = format!("w{writer}-{round}");
                        let run = bench.run(["instance", "create", &id]);
                        let is_told = run.exit == 0 || run.stderr.contains("was replaced");
                        assert!(is_told, "{run:?}");
                    }
                })
            })
            .collect();
        while !writers
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            bench.line("backup beside.db");
            bench.run(["restore", "first.db"]);
            bench.line("pool list");
        }
    });
    bench.line("--table sqlite:beside.db export");
}
