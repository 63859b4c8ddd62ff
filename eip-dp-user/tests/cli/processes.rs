//! The program among others: writers at once, readers that go away, daemons that are not there,
//! shells.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    thread,
};

use crate::bench::{Bench, Run};

#[test]
fn writers_at_once_lose_nothing_and_share_no_address() {
    const WRITERS: usize = 4;
    const EACH: usize = 8;
    let bench = Bench::new();
    bench.line("pool create 203.0.113.0/24");
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let bench = &bench;
            scope.spawn(move || {
                for number in 0..EACH {
                    bench.line(&format!("eip create w{writer}-{number}"));
                }
            });
        }
    });
    let eips = bench.json("eip list");
    let eips = eips.as_array().expect("an array");
    let mut addresses: Vec<_> = eips
        .iter()
        .filter_map(|eip| eip["address"].as_str())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(
        (eips.len(), addresses.len()),
        (WRITERS * EACH, WRITERS * EACH)
    );
}

#[test]
fn of_writers_that_want_the_same_one_gets_it() {
    let bench = Bench::new();
    bench.line("pool create 203.0.113.0/24");
    let runs: Vec<Run> = thread::scope(|scope| {
        let create = |id: usize| {
            let bench = &bench;
            scope.spawn(move || {
                bench.run([
                    "eip",
                    "create",
                    &format!("e{id}"),
                    "--address",
                    "203.0.113.9",
                ])
            })
        };
        let writers: Vec<_> = (0..4).map(create).collect();
        writers
            .into_iter()
            .map(|writer| writer.join().expect("no panic"))
            .collect()
    });
    let mut exits: Vec<_> = runs.iter().map(|run| run.exit).collect();
    exits.sort_unstable();
    assert_eq!(exits, [0, 3, 3, 3], "{runs:?}");
    assert_eq!(bench.json("eip list").as_array().map(Vec::len), Some(1));
}

/// A table whose list is longer than a pipe holds.
fn long() -> Bench {
    use std::fmt::Write as _;
    let bench = Bench::new();
    let mut table = "[[pool]]\ncidr = \"10.64.0.0/16\"\n".to_owned();
    for number in 0..4000 {
        let (high, low) = (number / 250 + 1, number % 250 + 1);
        let _ = write!(
            table,
            "[[eip]]\nid = \"e{number}\"\naddress = \"10.64.{high}.{low}\"\n"
        );
    }
    bench.file("table.toml", &table);
    bench.line("apply -f table.toml");
    bench
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = long();
    for line in [
        "eip list",
        "eip list --output json",
        "export",
        "completions bash",
    ] {
        let mut child = bench
            .command()
            .args(line.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut first = String::new();
        let mut reader = BufReader::with_capacity(16, child.stdout.take().expect("a pipe"));
        reader.read_line(&mut first).expect("a first line");
        drop(reader);
        let output = child.wait_with_output().expect("the program ends");
        assert!(!first.is_empty());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        assert_eq!(output.status.code(), Some(0), "{line}");
    }
}

#[test]
fn a_full_disk_under_stdout_is_a_failure() {
    let bench = Bench::rich();
    let full = std::fs::File::create("/dev/full").expect("/dev/full");
    let output = bench
        .command()
        .args(["eip", "list"])
        .stdout(full)
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.starts_with("error: standard output cannot be written"),
        "{stderr}"
    );
}

#[test]
fn waiting_without_a_daemon_fails_at_once_and_says_that_the_change_stays() {
    let bench = Bench::new();
    let run = bench.run(["pool", "create", "203.0.113.0/24", "--wait"]);
    assert_eq!(run.exit, 1, "{run:?}");
    assert!(
        run.stderr.contains("committed as revision") && run.stderr.contains("no daemon"),
        "{run:?}"
    );
    assert_eq!(bench.json("pool list")[0]["cidr"], "203.0.113.0/24");
}

#[test]
fn a_refused_change_is_not_waited_for() {
    let run = Bench::rich().run(["eip", "create", "web", "--wait"]);
    assert_eq!(run.exit, 3, "{run:?}");
}

#[test]
fn completions_are_scripts_that_name_the_verbs() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = bench.line(&format!("completions {shell}"));
        for word in [
            "associate",
            "remove-ip",
            "cut-through",
            "--private-ip",
            "verify",
        ] {
            let word = if shell == "fish" {
                word.trim_start_matches("--")
            } else {
                word
            };
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn the_bash_completion_parses_and_completes() {
    let script = Bench::new().line("completions bash");
    for (words, completed) in [
        ("eip-dp ass", "associate"),
        ("eip-dp eni at", "attach"),
        ("eip-dp eni attach e --po", "--port"),
        ("eip-dp --output json associate a e --mode c", "cut-through"),
    ] {
        assert_eq!(complete(&script, words), completed, "{words}");
    }
}

/// What bash, with that script, makes of the last of the words.
fn complete(script: &str, words: &str) -> String {
    let mut backwards = words.split(' ').rev();
    let (word, previous) = (
        backwards.next().unwrap_or(""),
        backwards.next().unwrap_or(""),
    );
    let position = words.split(' ').count() - 1;
    let ask = format!(
        "\nCOMP_WORDS=({words}); COMP_CWORD={position}\n\
         _eip__dp eip-dp '{word}' '{previous}'; echo \"${{COMPREPLY[@]}}\"\n"
    );
    let mut child = Command::new("bash")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = [script, &ask].concat();
    stdin.write_all(input.as_bytes()).expect("a reader");
    drop(stdin);
    let output = child.wait_with_output().expect("bash ends");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
