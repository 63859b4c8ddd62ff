//! Objects by what they have, misspelt ids, and verbs that a script may repeat.

use serde_json::Value;

use crate::bench::Bench;

#[test]
fn an_object_is_found_by_address_mac_and_port() {
    let bench = Bench::rich();
    for (line, id) in [
        ("eip show 203.0.113.20", "web"),
        ("eni show 10.0.0.11", "a-primary"),
        ("eni show 02:00:00:00:0a:02", "a-second"),
        ("eni show tap-b0", "b-primary"),
        ("eni show 203.0.113.20", "a-primary"),
        ("instance show tap-b0", "b"),
    ] {
        assert_eq!(bench.json(line)["id"], id, "{line}");
    }
}

#[test]
fn changes_take_addresses_too() {
    let bench = Bench::rich();
    bench.line("eip create next --address 203.0.113.99");
    assert_eq!(
        bench.line("associate 203.0.113.99 10.0.0.13 --private-ip 10.0.0.13"),
        "association next created: 10.0.0.13 of eni a-second, nat\n"
    );
    assert_eq!(
        bench.line("disassociate 203.0.113.99"),
        "association next ended: 10.0.0.13 of eni a-second\n"
    );
    assert_eq!(
        bench.line("eip rm 203.0.113.99"),
        "eip next released: 203.0.113.99\n"
    );
}

#[test]
fn what_fits_several_is_refused() {
    let bench = Bench::rich();
    bench.line("vpc create twin --cidr 10.0.0.0/16");
    bench.line("eni create twin-0 --vpc twin --kind secondary --mac 02:00:00:00:0a:01 --private-ip 10.0.0.11");
    for said in ["10.0.0.11", "02:00:00:00:0a:01"] {
        let run = bench.run(["eni", "show", said]);
        assert_eq!(run.exit, 3, "{run:?}");
        assert!(run.stderr.starts_with("error[ambiguous]: "), "{run:?}");
        assert!(
            run.stderr.contains("`a-primary` (VPC blue)")
                && run.stderr.contains("`twin-0` (VPC twin)"),
            "{run:?}"
        );
    }
}

#[test]
fn a_misspelt_id_brings_the_near_ones() {
    let bench = Bench::rich();
    for (line, near) in [
        ("eni show a-secnd", "`a-second`"),
        ("eip release wbe", "`web`"),
        ("associate web a-secnod", "`a-second`"),
        ("vpc show bleu", "`blue`"),
        ("eni attach a-second --instance A --port tap9", "`a`"),
    ] {
        let run = bench.run(line.split(' '));
        assert_eq!(run.exit, 3, "{line}: {run:?}");
        assert!(
            run.stderr.contains("did you mean ") && run.stderr.contains(near),
            "{line}: {run:?}"
        );
    }
    let run = bench.run(["eni", "lst"]);
    assert!(run.exit == 2 && run.stderr.contains("'list'"), "{run:?}");
}

#[test]
fn lists_and_deletes_have_short_names() {
    let bench = Bench::rich();
    for kind in ["pool", "vpc", "instance", "eni", "eip"] {
        assert_eq!(
            bench.line(&format!("{kind} ls")),
            bench.line(&format!("{kind} list"))
        );
    }
    let listed: Value = serde_json::from_str(&bench.line("eip ls -o json")).expect("JSON");
    assert!(listed.as_array().is_some_and(|eips| eips.len() > 2));
    bench.line("eip create gone");
    bench.line("eip rm gone");
    let run = bench.run(["-o", "json", "frobnicate"]);
    assert!(
        serde_json::from_str::<Value>(&run.stderr).is_ok(),
        "{run:?}"
    );
}

#[test]
fn what_is_not_there_may_be_taken_away() {
    let bench = Bench::rich();
    let before = bench.exported();
    for (line, said) in [
        ("eip release none --if-exists", "eip none"),
        ("eni delete none --if-exists", "eni none"),
        ("eni detach none --if-exists", "eni none"),
        ("vpc delete none --if-exists", "vpc none"),
        ("instance delete none --if-exists", "instance none"),
        ("pool delete 192.0.2.0/24 --if-exists", "pool 192.0.2.0/24"),
        ("disassociate none --if-exists", "eip none"),
        ("disassociate spare --if-exists", "association spare"),
    ] {
        assert_eq!(
            bench.line(line),
            format!("{said} is not there: nothing to do\n")
        );
        let without = line
            .strip_suffix(" --if-exists")
            .expect("the option is last");
        assert_eq!(bench.run(without.split(' ')).exit, 3, "{line}");
    }
    for (line, said) in [
        (
            "eni remove-ip none 10.0.0.99 --if-exists",
            "eni none is not there",
        ),
        (
            "eni remove-ip b-second 10.2.0.99 --if-exists",
            "eni b-second unchanged",
        ),
    ] {
        let stdout = bench.line(line);
        assert!(stdout.starts_with(said), "{line}: {stdout}");
        let without = line.trim_end_matches(" --if-exists");
        assert_eq!(bench.run(without.split(' ')).exit, 3, "{line}");
    }
    assert_eq!(
        bench.run(["eip", "release", "web", "--if-exists"]).exit,
        3,
        "it is in use"
    );
    assert_eq!(bench.exported(), before);
}

#[test]
fn an_address_may_be_added_again_if_it_is_shared_alike() {
    let bench = Bench::rich();
    bench.line("eni add-ip b-second 10.2.0.77 --shared");
    let before = bench.exported();
    let again = bench.line("eni add-ip b-second 10.2.0.77 --shared --may-exist");
    assert!(again.contains("unchanged: it is there already"), "{again}");
    for line in [
        "eni add-ip b-second 10.2.0.77 --may-exist",
        "eni add-ip b-second 10.2.0.77 --shared",
    ] {
        assert_eq!(bench.run(line.split(' ')).exit, 3, "{line}");
    }
    assert_eq!(bench.exported(), before);
}

/// Somebody wrote into the table past the rules.
#[test]
fn an_id_that_is_no_id_is_shown_in_a_line_and_can_be_said_as_it_is_shown() {
    let bench = Bench::rich();
    let id = "e\nvil\t\u{1b}[31m\u{202e}";
    let table = rusqlite::Connection::open(bench.path("table.db")).expect("the table");
    table
        .execute("UPDATE eip SET id = ?1 WHERE id = 'spare'", [id])
        .expect("written");
    drop(table);
    let shown = "e\\u{a}vil\\u{9}\\u{1b}[31m\\u{202e}";
    let list = bench.line("eip list");
    assert!(list.contains(&format!("{shown} ")), "{list}");
    assert_eq!(list.lines().count(), 5, "{list}");
    let one = bench.ok(["eip", "show", shown]);
    assert!(one.starts_with("id: ") && one.contains(shown), "{one}");
    for name in [shown, id] {
        let refused = bench.run(["associate", name, "none"]);
        assert!(
            refused.stderr.contains("there is no ENI `none`"),
            "{refused:?}"
        );
    }
    let released = bench.ok(["eip", "release", shown]);
    assert_eq!(released.lines().count(), 1, "{released}");
    assert!(released.contains(shown), "{released}");
}

#[test]
fn what_is_there_may_be_made_again_if_it_is_the_same() {
    let bench = Bench::rich();
    bench.line("pool create 192.0.2.0/24");
    let before = bench.exported();
    for line in [
        "instance create a --max-enis 4",
        "eni create b-second --vpc blue --kind secondary --mac 02:00:00:00:0b:03 --private-ip 10.2.0.5",
        "eip create web --address 203.0.113.20",
        "eip create web --pool 203.0.113.0/24",
        "eip create web",
        "associate web a-primary",
    ] {
        let run = bench.run(line.split(' ').chain(["--may-exist"]));
        let same = run.exit == 0 && run.stdout.contains("unchanged: it is there already");
        let differs = run.exit == 3 && run.stderr.contains("is there already and differs: ");
        assert!(same || differs, "{line}: {run:?}");
        assert_eq!(bench.run(line.split(' ')).exit, 3, "{line}");
    }
    for (line, difference) in [
        ("vpc create blue --cidr 10.99.0.0/16", "cidrs"),
        ("instance create a --max-enis 77", "max_enis"),
        (
            "eni create b-second --vpc blue --kind secondary --mac 02:00:00:00:0b:77 --private-ip 10.2.0.5",
            "mac 02:00:00:00:0b:03, not 02:00:00:00:0b:77",
        ),
        (
            "eip create web --address 203.0.113.55",
            "address 203.0.113.20, not 203.0.113.55",
        ),
        ("associate web a-second", "eni a-primary, not a-second"),
        // What is not said has the default, which is no text.
        (
            "pool create 192.0.2.0/24 --gateway none",
            "gateway unset, not none",
        ),
    ] {
        let run = bench.run(line.split(' ').chain(["--may-exist"]));
        assert_eq!(run.exit, 3, "{line}: {run:?}");
        assert!(
            run.stderr.contains("error[already-exists]") && run.stderr.contains(difference),
            "{line}: {run:?}"
        );
    }
    assert_eq!(bench.exported(), before);
}
