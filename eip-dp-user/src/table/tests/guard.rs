//! The schema refuses what the rules refuse, also when somebody writes past them.

use crate::table::testing::Pair;

#[test]
fn direct_sql_cannot_break_the_schema_s_rules() {
    let pair = Pair::with(
        "pool 203.0.113.0/24
         vpc v1 10.0.0.0/24
         instance i1
         eni p1 v1 primary 1 10.0.0.11,10.0.0.12
         eni s1 v1 secondary 2 10.0.0.21,10.0.0.22
         eni s2 v1 secondary 3 10.0.0.31,10.0.0.32
         attach p1 i1 port-p1
         eip x1 203.0.113.11
         eip x2 203.0.113.12
         associate x1 s1 cut
         associate x2 p1",
    );
    let v4 = |last: u8| format!("x'040a0000{last:02x}'");
    let insert = |eip: &str, eni: &str, ip: u8, mode: &str| {
        format!(
            "INSERT INTO association VALUES ('{eip}', '{eni}', {}, '{mode}')",
            v4(ip)
        )
    };
    let eip = |id: &str, address: &str| {
        format!(
            "INSERT INTO eip (id, address, state, announce, followed) VALUES ('{id}', {address}, 'free', 'auto', 0)"
        )
    };
    let eni = |id: &str, kind: &str, place: &str| {
        format!(
            "INSERT INTO eni (id, vpc, kind, mac, antispoof, force, rebind, state, instance, port, vlan) VALUES \
             ('{id}', 'v1', '{kind}', x'020000000009', 'instance', 0, 'name', {place})"
        )
    };
    let x3 = eip("x3", "x'04cb007120'");
    let cases = [
        "UPDATE meta SET identity = x'00'".to_owned(),
        format!("UPDATE eni SET region = '{}'", "r".repeat(65)),
        format!("UPDATE eip SET region = '{}'", "r".repeat(65)),
        format!("UPDATE pool SET gateway = '{}'", "1".repeat(65)),
        format!("UPDATE pool SET reserve = '{}'", "1".repeat(16_385)),
        "UPDATE eni SET force = 1 WHERE id = 's2'".to_owned(),
        "UPDATE eni SET bound = 'boot/1' WHERE id = 's2'".to_owned(),
        format!("INSERT INTO eni_ip VALUES ('s2', {}, 9, 'v1', 1)", v4(21)),
        format!("INSERT INTO eni_ip VALUES ('s2', {}, 9, 'v1', 0)", v4(21)),
        "UPDATE eip SET former_eni = 's1'".to_owned(),
        eip("dup", "x'04cb00710b'"),
        eip("x1", "x'04cb007121'"),
        eip("bad", "x'cb007121'"),
        "UPDATE eip SET state = 'lost'".to_owned(),
        "DELETE FROM eip WHERE id = 'x1'".to_owned(),
        "DELETE FROM eni_ip WHERE eni = 's1'".to_owned(),
        "DELETE FROM eni WHERE id = 's2'".to_owned(),
        "DELETE FROM vpc".to_owned(),
        "DELETE FROM instance".to_owned(),
        "UPDATE eni SET state = 'attached' WHERE id = 's2'".to_owned(),
        "UPDATE eni SET state = 'detached' WHERE id = 'p1'".to_owned(),
        "UPDATE eni SET instance = 'i9', port = 'p', state = 'attached' WHERE id = 's2'".to_owned(),
        "UPDATE eni SET mac = x'020000000001' WHERE id = 's2'".to_owned(),
        format!(
            "UPDATE eni_ip SET address = {} WHERE eni = 's2' AND position = 1",
            v4(11)
        ),
        eni("p2", "primary", "'attached', 'i1', 'port-p1', NULL"),
        eni("s9", "secondary", "'detached', NULL, NULL, 5"),
        insert("x1", "s2", 31, "nat"),
        format!("{x3}; {}", insert("x3", "s2", 99, "nat")),
        format!("{x3}; {}", insert("x3", "s2", 31, "magic")),
        format!("{x3}; {}", insert("x3", "s1", 22, "nat")),
        format!("{x3}; {}", insert("x3", "s1", 22, "cut-through")),
        format!("{x3}; {}", insert("x3", "p1", 12, "nat")),
        format!("{x3}; {}", insert("x3", "p1", 12, "cut-through")),
        insert("x9", "s2", 31, "nat"),
    ];
    let before = pair.dump();
    for sql in cases {
        let batch = format!("BEGIN; {sql}; COMMIT;");
        let result = pair.table.connection.execute_batch(&batch);
        assert!(result.is_err(), "`{sql}` is accepted");
        let _ = pair.table.connection.execute_batch("ROLLBACK");
        assert_eq!(before, pair.dump(), "`{sql}`");
    }
    for fine in [
        eni("s9", "secondary", "'detached', NULL, NULL, NULL"),
        eni("s9", "secondary", "'attached', 'i1', 'port-p1', NULL"),
        x3.clone(),
    ] {
        let batch = format!("BEGIN; {fine}; ROLLBACK;");
        pair.table.connection.execute_batch(&batch).expect(&fine);
    }
    let fine = format!("BEGIN; {x3}; {}; ROLLBACK;", insert("x3", "s2", 31, "nat"));
    pair.table.connection.execute_batch(&fine).unwrap();
}

/// What matches is few, and sorted where it is found.
fn few(sql: &str) -> bool {
    sql.contains("expires_at") || sql.contains("FROM association")
}

/// Every question of the rules goes by an index: no plan scans a table of objects.
#[test]
fn questions_use_indexes() {
    let pair = Pair::new();
    for sql in [
        "SELECT id FROM eni WHERE vpc = 'v' ORDER BY id",
        "SELECT id FROM eni WHERE instance = 'i' AND kind = 'primary' ORDER BY id",
        "SELECT id FROM eni WHERE instance = 'i' ORDER BY id",
        "SELECT id FROM eni WHERE port = 'p' AND vlan IS NULL AND outer_vlan IS NULL ORDER BY id",
        "SELECT id FROM eip WHERE address BETWEEN x'04' AND x'05' ORDER BY address",
        "SELECT address FROM eip WHERE followed = 0 AND address BETWEEN x'04' AND x'05' ORDER BY address LIMIT 1",
        "SELECT id FROM eip WHERE expires_at <= 5 AND expires_at IS NOT NULL AND state <> 'expired' ORDER BY id",
        "SELECT eip, eni, private_ip, mode FROM association WHERE eni = 'e' ORDER BY eip",
        "SELECT eni FROM eni_ip WHERE vpc = 'v' AND address = x'04'",
    ] {
        let mut statement = pair
            .table
            .connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let plan: Vec<String> = statement
            .query_map([], |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(plan[0].starts_with("SEARCH"), "{sql}: {plan:?}");
        let sorted = plan.iter().any(|step| step.contains("TEMP B-TREE"));
        assert!(!sorted || few(sql), "{sql}: {plan:?}");
    }
}
