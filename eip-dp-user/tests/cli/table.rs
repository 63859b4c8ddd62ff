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

/// Each error names what is wrong and what to do, and nothing is changed.
#[test]
fn a_wrong_use_of_backup_and_restore_says_what_to_do() {
    let bench = Bench::bare();
    bench.run(["pool", "create", "203.0.113.0/24"]);
    bench.line("backup copy.db");
    let copy = fs::read(bench.path("copy.db")).expect("a copy");
    let before = fs::read(bench.path("table.db")).expect("a table");
    fs::write(bench.path("half.db"), &copy[..copy.len() / 2]).expect("written");
    bench.file("empty.db", "");
    bench.file("notes.txt", "not a table");
    fs::create_dir(bench.path("folder")).expect("made");
    for (line, exit, said) in [
        (
            "backup none/copy.db",
            1,
            "cannot write none/copy.db: No such file",
        ),
        ("backup folder", 2, "folder is a folder; name a file in it"),
        ("backup notes.txt", 1, "notes.txt is there and no copy"),
        (
            "backup table.db",
            2,
            "is the table itself; name another file",
        ),
        (
            "restore none.db",
            1,
            "there is no copy none.db; name the file",
        ),
        (
            "restore folder",
            1,
            "folder is a folder; name the copy in it",
        ),
        (
            "restore empty.db",
            1,
            "the copy empty.db is empty; name another",
        ),
        (
            "restore half.db",
            1,
            "the copy half.db is damaged, not whole, or none",
        ),
        (
            "restore notes.txt",
            1,
            "the copy notes.txt is damaged, not whole, or none",
        ),
        ("restore /dev/null", 1, "/dev/null is no file; name the one"),
        (
            "restore table.db",
            2,
            "is the table itself; name another file",
        ),
    ] {
        let run = bench.run(line.split(' '));
        assert_eq!(run.exit, exit, "{line}: {run:?}");
        assert!(run.stderr.contains(said), "{line}: {run:?}");
        assert_eq!(fs::read(bench.path("table.db")).expect("a table"), before);
    }
}
