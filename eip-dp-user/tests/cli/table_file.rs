//! `apply` and `export`: the round trip, pruning, and what is wrong with a file.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::bench::{Bench, Run};

/// Runs with this on standard input.
fn with_stdin(command: &mut Command, input: &str) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("a reader");
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    Run {
        exit: output.status.code().expect("no signal ends the program"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Applies a file that is wrong, on a table that must stay as it is, and returns what the program
/// says.
fn refused(content: &str) -> Run {
    let bench = Bench::rich();
    let before = bench.line("export");
    bench.file("bad.toml", content);
    let run = bench.run(["apply", "-f", "bad.toml"]);
    assert_eq!(run.stdout, "", "{run:?}");
    assert_eq!(bench.line("export"), before);
    run
}

/// It would ask for another time with each `apply`.
#[test]
fn a_time_from_now_on_is_refused_in_a_file() {
    let run = refused("[[eip]]\nid = \"sub\"\naddress = \"203.0.113.90\"\nexpires_at = \"+30d\"\n");
    assert_eq!(run.exit, 1, "{run:?}");
    for part in ["line 4", "+30d", "eip set ID --expires", "2030-01-01"] {
        assert!(run.stderr.contains(part), "{part}: {run:?}");
    }
}

#[test]
fn what_is_exported_applies_as_no_change() {
    let bench = Bench::rich();
    let exported = bench.line("export");
    for prune in [None, Some("--prune")] {
        let mut command = bench.command();
        let run = with_stdin(command.args(["apply", "-f", "-"]).args(prune), &exported);
        assert_eq!(
            (run.exit, run.stdout.as_str(), run.stderr.as_str()),
            (0, "no changes\n", "")
        );
    }
    assert_eq!(bench.line("export"), exported);
}

#[test]
fn what_is_exported_makes_the_same_table_elsewhere() {
    let exported = Bench::rich().line("export");
    let other = Bench::new();
    other.file("table.toml", &exported);
    other.line("apply -f table.toml");
    assert_eq!(other.line("export"), exported);
}

#[test]
fn the_rich_table_is_exported_as_it_was_written() {
    let exported = Bench::rich().line("export");
    let written = include_str!("../golden/rich.toml");
    let (_comment, written) = written
        .split_once("\n\n")
        .expect("a comment, then the table");
    similar_asserts::assert_eq!(written: written, exported: exported);
}

#[test]
fn a_stranded_eni_survives_the_round_trip() {
    let bench = Bench::rich();
    bench.run(["disassociate", "cut"]);
    assert_eq!(bench.json("eni show b-cut")["state"], "stranded");
    let exported = bench.line("export");
    let run = with_stdin(bench.command().args(["apply", "-f", "-"]), &exported);
    assert_eq!(
        (run.exit, run.stdout.as_str()),
        (0, "no changes\n"),
        "{run:?}"
    );
    assert_eq!(bench.json("eni show b-cut")["state"], "stranded");
}

#[test]
fn a_vlan_is_a_number_and_one_within_another_is_text() {
    let bench = Bench::rich();
    for (vlan, shown, written) in [
        ("7", serde_json::json!(7), "vlan = 7\n"),
        ("100.7", serde_json::json!("100.7"), "vlan = \"100.7\"\n"),
    ] {
        let line = format!("eni attach b-cut --instance b --port trunk --vlan {vlan}");
        let said = bench.line(&line);
        assert!(said.contains(&format!("trunk VLAN {vlan}")), "{said}");
        assert_eq!(bench.json("eni show b-cut")["vlan"], shown);
        let exported = bench.line("export");
        assert!(exported.contains(written), "{exported}");
        bench.file("table.toml", &exported);
        assert_eq!(bench.line("apply -f table.toml"), "no changes\n");
    }
    let bare = bench.line("export").replace("\"100.7\"", "100.7");
    bench.file("bare.toml", &bare);
    let run = bench.run(["apply", "-f", "bare.toml"]);
    assert_ne!(run.exit, 0, "{run:?}");
    assert!(run.stderr.contains("in quotes"), "{run:?}");
}

#[test]
fn an_empty_file_changes_nothing_unless_it_prunes() {
    let bench = Bench::new();
    bench.line("pool create 203.0.113.0/24");
    bench.line("eip create one");
    bench.file("empty.toml", "");
    assert_eq!(bench.line("apply -f empty.toml"), "no changes\n");
    let dry = bench.run(["apply", "-f", "empty.toml", "--prune", "--dry-run"]);
    assert!(dry.stdout.ends_with("2 to delete\n"), "{dry:?}");
    assert_ne!(bench.exported(), "");
    let refused = bench.run(["apply", "-f", "empty.toml", "--prune"]);
    assert_eq!(refused.exit, 3, "{refused:?}");
    assert!(
        refused.stderr.starts_with("error[needs-yes]: "),
        "{refused:?}"
    );
    bench.line("apply -f empty.toml --prune --yes");
    assert_eq!(bench.exported(), "");
}

#[test]
fn a_dry_run_prints_what_apply_then_prints_and_changes_nothing() {
    let (bench, applied) = (Bench::new(), Bench::new());
    for bench in [&bench, &applied] {
        bench.file("table.toml", include_str!("../golden/rich.toml"));
    }
    let preview = bench.line("apply -f table.toml --dry-run");
    assert_eq!(bench.exported(), "");
    assert_eq!(preview, applied.line("apply -f table.toml"));
    assert_eq!(
        preview.lines().count(),
        19,
        "one line for each object, and one in the end:\n{preview}"
    );
    assert!(preview.ends_with("\n18 to add, 0 to change, 0 to delete\n"));
    let other = Bench::new();
    other.file("table.toml", include_str!("../golden/rich.toml"));
    let quiet = other.line("apply -f table.toml --quiet");
    assert_eq!(quiet, "18 to add, 0 to change, 0 to delete\n");
}

#[test]
fn a_dry_run_is_refused_like_the_real_one() {
    let bench = Bench::rich();
    bench.file("bad.toml", "[[eip]]\nid = \"x\"\naddress = \"8.8.8.8\"\n");
    let dry = bench.run(["apply", "-f", "bad.toml", "--dry-run"]);
    let real = bench.run(["apply", "-f", "bad.toml"]);
    assert_eq!((dry.exit, real.exit), (3, 3), "{dry:?}");
    assert_eq!(dry.stderr, real.stderr);
    assert!(dry.stderr.starts_with("error[outside-pools]: "), "{dry:?}");
}

#[test]
fn a_rule_that_one_object_breaks_keeps_all_of_the_file_out() {
    let run = refused(
        r#"
        [[eip]]
        id = "good"
        address = "203.0.113.90"
        [[eip]]
        id = "bad"
        address = "203.0.113.20"
        "#,
    );
    assert_eq!(run.exit, 3);
    assert!(
        run.stderr.starts_with("error[duplicate-address]: "),
        "{run:?}"
    );
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let run = refused("[[eip]]\nid = \"x\"\nadress = \"203.0.113.90\"\n");
    assert_eq!(run.exit, 1);
    assert!(
        run.stderr
            .starts_with("error: bad.toml, line 3, column 1: unknown field `adress`"),
        "{run:?}"
    );
    assert!(
        run.stderr.contains("`address`"),
        "names what is possible: {run:?}"
    );
}

#[test]
fn an_unknown_kind_of_object_is_named_with_its_line() {
    let run = refused("\n[[enis]]\nid = \"x\"\n");
    assert_eq!(run.exit, 1);
    assert!(run.stderr.contains("bad.toml, line 2"), "{run:?}");
    assert!(run.stderr.contains("`enis`"), "{run:?}");
}

#[test]
fn a_wrong_type_is_named_with_its_line_key_and_value() {
    let run = refused("[[vpc]]\nid = \"x\"\ncidrs = [\"10.7.0.0/16\"]\nvni = \"seven\"\n");
    assert_eq!(run.exit, 1);
    assert!(run.stderr.contains("bad.toml, line 4, column 7"), "{run:?}");
    assert!(run.stderr.contains(r#"`vni = "seven"`"#), "{run:?}");
}

#[test]
fn a_value_of_the_wrong_form_is_named_with_its_line() {
    for (line, wrong) in [
        (3, "mac = \"02:00:00:00:00\""),
        (3, "kind = \"tertiary\""),
        (3, "private_ips = [\"10.0.0.300\"]"),
        (3, "vpc = 7"),
    ] {
        let run = refused(&format!("[[eni]]\nid = \"x\"\n{wrong}\n"));
        assert_eq!(run.exit, 1);
        assert!(
            run.stderr.contains(&format!("line {line}, column ")),
            "{run:?}"
        );
        assert!(run.stderr.contains(wrong), "{run:?}");
    }
}

#[test]
fn a_missing_field_is_named() {
    let run = refused("[[eip]]\nid = \"x\"\n");
    assert_eq!(run.exit, 1);
    assert!(
        run.stderr.contains("line 1") && run.stderr.contains("missing field `address`"),
        "{run:?}"
    );
}

#[test]
fn a_key_given_twice_is_named_with_its_line() {
    let run = refused("[[vpc]]\nid = \"x\"\nid = \"y\"\ncidrs = [\"10.7.0.0/16\"]\n");
    assert_eq!(run.exit, 1);
    assert!(
        run.stderr.contains("line 3, column 1: duplicate key"),
        "{run:?}"
    );
}

#[test]
fn an_object_given_twice_is_refused_with_both_lines() {
    let vpc = "[[vpc]]\nid = \"x\"\ncidrs = [\"10.7.0.0/16\"]\n";
    let run = refused(&format!("{vpc}\n{vpc}"));
    assert_eq!(run.exit, 3);
    assert!(
        run.stderr.starts_with(
            "error[already-exists]: bad.toml, line 5, column 1: vpc `x` stands in line 1 already"
        ),
        "{run:?}"
    );
}

#[test]
fn what_is_not_toml_is_named_with_its_line() {
    let run = refused("[[eip]]\nid = \"x\"\naddress = 203.0.113.9\n");
    assert_eq!(run.exit, 1);
    assert!(run.stderr.contains("bad.toml, line 3"), "{run:?}");
}

#[test]
fn a_file_that_is_not_text_is_refused() {
    let bench = Bench::new();
    std::fs::write(bench.path("bad.toml"), [0xff, 0xfe, 0]).expect("a file");
    let run = bench.run(["apply", "-f", "bad.toml"]);
    assert_eq!(run.exit, 1);
    assert!(
        run.stderr
            .starts_with("error: the table file `bad.toml` cannot be read"),
        "{run:?}"
    );
}

#[test]
fn an_empty_table_is_not_exported() {
    let bench = Bench::new();
    for format in ["text", "json"] {
        let run = bench.run(["export", "-o", format]);
        assert_eq!((run.exit, run.stdout.as_str()), (1, ""), "{run:?}");
        assert!(run.stderr.contains("nothing to export"), "{run:?}");
    }
}

#[test]
fn pruning_detaches_what_the_file_no_longer_has() {
    let bench = Bench::rich();
    let exported = bench.line("export");
    assert_eq!(bench.json("eni show b-cut")["state"], "attached");
    let parts = exported
        .split("\n[[")
        .filter(|part| !part.contains("b-cut"));
    bench.file("less.toml", &parts.collect::<Vec<_>>().join("\n[["));
    let dry = bench.line("apply -f less.toml --prune --dry-run");
    assert!(dry.contains("- eni b-cut"), "{dry}");
    assert!(
        dry.ends_with("\n0 to add, 1 to change, 2 to delete\n"),
        "{dry}"
    );
    assert_eq!(bench.line("apply -f less.toml --prune"), dry);
    assert_eq!(bench.run(["eni", "show", "b-cut"]).exit, 3);
    assert_eq!(bench.json("eip show cut")["state"], "free");
}

#[test]
fn a_dry_run_of_a_prune_that_needs_yes_says_so_and_shows_all() {
    let bench = Bench::rich();
    bench.file("empty.toml", "");
    let run = bench.run(["apply", "-f", "empty.toml", "--prune", "--dry-run"]);
    assert_eq!(run.exit, 0, "{run:?}");
    assert!(
        run.stderr.starts_with("warning: the file leaves out all "),
        "{run:?}"
    );
    assert!(run.stdout.ends_with("18 to delete\n"), "{run:?}");
    assert_ne!(bench.exported(), "");
}
