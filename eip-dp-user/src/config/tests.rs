//! What a configuration may say, and what it is told when it may not.

use super::*;

fn parse(text: &str, uplinks: &[&str]) -> Result<Config, String> {
    let uplinks: Vec<String> = uplinks.iter().map(ToString::to_string).collect();
    Config::parse(text, Path::new("config.toml"), &uplinks).map_err(|error| error.to_string())
}

#[test]
#[expect(clippy::too_many_lines, reason = "a line for each key")]
fn every_key_is_read() {
    let config = parse(
        r#"
        [[uplink]]
        interface = "wan0"
        vlan = 7
        next_hop = "192.0.2.1"
        next_hop_mac = "02:00:00:00:00:01"
        icmp_source = ["2001:db8::5", "192.0.2.5"]
        answer_arp = false
        drop_private_sources = true
        [[uplink]]
        interface = "wan1"
        [gateway]
        region = "west"
        [table]
        url = "sqlite:/tmp/t.db"
        [ports]
        delivery = "tcx"
        [[port]]
        interface = "vf0"
        delivery = "xdp"
        [dhcp]
        dns = ["192.0.2.53", "2001:db8::53"]
        lease = 600
        domain = "example.org."
        search = ["example.org", "example.net"]
        ntp = ["192.0.2.123"]
        next_server = "192.0.2.67"
        boot_file = "pxelinux.0"
        [maps]
        eips = 10
        eips6 = 6
        private_addresses = 20
        vpcs = 3
        ports = 4
        enis = 5
        [files]
        group = "root"
        "#,
        &["wan1", "wan2"],
    )
    .expect("valid");
    assert_eq!(
        config,
        Config {
            uplinks: vec![
                Uplink {
                    interface: "wan0".to_owned(),
                    vlan: Some(Vlan::of(7)),
                    next_hop: PerFamily {
                        v4: Some(Ipv4Addr::new(192, 0, 2, 1)),
                        v6: None,
                    },
                    next_hop4: None,
                    next_hop_mac: Some(Mac([2, 0, 0, 0, 0, 1])),
                    icmp_source: PerFamily {
                        v4: Some(Ipv4Addr::new(192, 0, 2, 5)),
                        v6: Some("2001:db8::5".parse().expect("an address")),
                    },
                    answer_arp: false,
                    drop_private_sources: true,
                },
                Uplink::new("wan1"),
                Uplink::new("wan2"),
            ],
            group: Some("root".to_owned()),
            region: Some("west".to_owned()),
            table: Some("sqlite:/tmp/t.db".to_owned()),
            delivery: Delivery::Tcx,
            complete_checksums: false,
            ports: vec![Port {
                complete_checksums: false,
                interface: "vf0".to_owned(),
                delivery: Delivery::Xdp,
            }],
            dhcp: Dhcp {
                dns: Some(vec![
                    Ipv4Addr::new(192, 0, 2, 53).into(),
                    "2001:db8::53".parse().expect("an address"),
                ]),
                lease: Duration::from_mins(10),
                domain: Some("example.org".parse().expect("a name")),
                search: ["example.org", "example.net"]
                    .map(|name| name.parse().expect("a name"))
                    .into(),
                ntp: vec![Ipv4Addr::new(192, 0, 2, 123).into()],
                next_server: Some(Ipv4Addr::new(192, 0, 2, 67)),
                boot_file: Some("pxelinux.0".to_owned()),
            },
            maps: MapSizes {
                eips: 10,
                eips6: Some(6),
                private_addresses: 20,
                private_addresses6: None,
                vpcs: 3,
                ports: 4,
                enis: 5,
            },
        }
    );
    assert_eq!(
        config.port_mode(|name| name == "vf0").delivery,
        Delivery::Xdp
    );
    assert_eq!(
        config.port_mode(|name| name == "tap0").delivery,
        Delivery::Tcx
    );
}

#[test]
fn an_uplink_on_the_command_line_is_enough() {
    let config = parse("", &["eth9"]).expect("valid");
    assert_eq!(config.uplinks, [Uplink::new("eth9")]);
    assert_eq!(config.maps, MapSizes::default());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a case for each key")]
fn refusals_name_key_line_and_cure() {
    let uplink = "[[uplink]]\ninterface = \"wan0\"\n";
    let cases: &[(&str, &[&str])] = &[
        ("", &["no uplink", "--uplink IF", "config.toml"]),
        ("[[uplink]]\ninterfaze = \"x\"", &["line 2", "interfaze"]),
        ("[[uplink]]\n", &["interface"]),
        ("[[uplink]]\ninterface = 3", &["line 2", "invalid type"]),
        ("[[uplink]]\ninterface = \"a b\"", &["line 2", "\"a b\""]),
        (
            "UPLINK[[uplink]]\ninterface = \"wan0\"",
            &["line 4", "second [[uplink]]"],
        ),
        (
            "UPLINK[gateway]\nregion = \"a b\"",
            &["line 4", "`region`", "\"a b\"", "leave the key out"],
        ),
        ("UPLINK[gateway]\nregion = \"\"", &["line 4", "`region`"]),
        (
            "UPLINK[table]\nurl = \"/var/lib/t.db\"",
            &["line 4", "`url`", "/var/lib/t.db", "sqlite:PATH"],
        ),
        (
            "UPLINK[[port]]\ninterface = \"a b\"",
            &["line 3", "`interface`", "\"a b\""],
        ),
        (
            "UPLINK[dhcp]\nlease = -1",
            &[
                "line 4",
                "lease = -1",
                "a whole number from 0",
                "correct it",
            ],
        ),
        (
            "UPLINK[dhcp]\ndns = \"192.0.2.1\"",
            &["line 4", "dns = ", "a list in brackets"],
        ),
        (
            "UPLINK[ports]\ndelivery = 5",
            &["line 4", "delivery = 5", "a text in quotes"],
        ),
        (
            "UPLINKicmp_source = \"224.0.0.1\"",
            &["line 3", "icmp_source", "unicast"],
        ),
        (
            "UPLINKnext_hop = [\"2001:db8::1\", \"fe80::1\"]",
            &["line 3", "next_hop", "fe80::1", "second IPv6"],
        ),
        (
            "UPLINKnext_hop = \"::ffff:192.0.2.1\"",
            &["line 3", "next_hop", "unicast"],
        ),
        (
            "UPLINKnext_hop_mac = \"ff:ff:ff:ff:ff:ff\"",
            &["line 3", "next_hop_mac", "ff:ff:ff:ff:ff:ff", "unicast"],
        ),
        (
            "UPLINKnext_hop_mac = \"01:00:5e:00:00:01\"",
            &["line 3", "next_hop_mac", "01:00:5e:00:00:01", "unicast"],
        ),
        ("UPLINKvlan = 4095", &["line 3", "vlan", "4095"]),
        (
            "UPLINKvlan = \"4095.7\"",
            &["line 3", "vlan", "4095.7", "between 1 and 4094"],
        ),
        ("UPLINKvlan = \"100.x\"", &["line 3", "100.x", "100.7"]),
        ("UPLINKvlan = 100.7", &["line 3", "in quotes"]),
        ("UPLINKvlan = 0", &["line 3", "vlan", "leave the key out"]),
        ("UPLINKnext_hop = \"nonsense\"", &["line 3", "invalid"]),
        (
            "UPLINKnext_hop = { ipv6 = \"192.0.2.1\" }",
            &["line 3", "next hop", "ipv4 = "],
        ),
        (
            "UPLINKnext_hop = { ipv4 = \"ff02::1\" }",
            &["line 3", "next_hop", "ff02::1", "unicast"],
        ),
        (
            "UPLINKnext_hop = { ip = \"192.0.2.1\" }",
            &["line 3", "next hop", "ipv4 = "],
        ),
        (
            "UPLINK[ports]\ndelivery = \"generic\"",
            &["line 4", "generic", "tcx"],
        ),
        (
            "UPLINK[[port]]\ninterface = \"wan0\"\ndelivery = \"xdp\"",
            &["[[port]] wan0", "keep one"],
        ),
        ("UPLINK[dhcp]\nlease = 5", &["line 4", "lease", "60"]),
        (
            "UPLINK[dhcp]\ndomain = \"a..b\"",
            &["line 4", "`domain`", "a..b", "example.org"],
        ),
        (
            "UPLINK[dhcp]\nsearch = [\"a.org\", \"b c\"]",
            &["line 4", "`search`", "b c", "example.org"],
        ),
        (
            "UPLINK[dhcp]\nntp = [\"127.0.0.1\"]",
            &["line 4", "`ntp`", "127.0.0.1", "unicast"],
        ),
        (
            "UPLINK[dhcp]\nnext_server = \"224.0.0.1\"",
            &["line 4", "`next_server`", "224.0.0.1", "unicast"],
        ),
        (
            "UPLINK[dhcp]\nboot_file = \"a\\nb\"",
            &["line 4", "`boot_file`", "a\\nb", "printable"],
        ),
        ("UPLINK[dhcp]\nboot_file = \"\"", &["line 4", "`boot_file`"]),
        ("UPLINK[maps]\neips = 0", &["eips", "0 is not between"]),
        (
            "UPLINK[maps]\neips = 4194304",
            &["eips", "4194304 is not between 1 and 4194303"],
        ),
        (
            "UPLINK[maps]\nenis = 4194302",
            &["enis", "4194302 is not between 1 and 4194301"],
        ),
        (
            "UPLINK[maps]\nvpcs = 65537",
            &["vpcs", "65537 is not between 1 and 65536"],
        ),
        ("UPLINK[map]\neips = 1", &["line 3", "map"]),
    ];
    for (text, wants) in cases {
        let message = parse(&text.replace("UPLINK", uplink), &[]).expect_err(text);
        for want in *wants {
            assert!(message.contains(want), "{text}: {message} lacks {want}");
        }
    }
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let error = Config::load(
        Some(Path::new("/nonexistent/eip-dp.toml")),
        &["eth9".to_owned()],
    )
    .expect_err("no such file");
    assert!(error.to_string().contains("/nonexistent/eip-dp.toml"));
}

/// One interface may carry uplinks on several VLANs.
#[test]
fn next_hops_of_both_families_and_several_vlans() {
    let config = parse(
        "[[uplink]]\ninterface = \"wan0\"\nnext_hop = [\"198.51.100.1\", \"fe80::1\"]\n\
         [[uplink]]\ninterface = \"wan0\"\nvlan = 4094\n\
         [[uplink]]\ninterface = \"wan0\"\nvlan = \"100.4094\"\n",
        &["wan0"],
    )
    .expect("valid");
    let [untagged, tagged, stacked] = &config.uplinks[..] else {
        panic!("{:?}", config.uplinks);
    };
    let next_hop = |family| untagged.next_hop.of(family).map(|hop| hop.to_string());
    assert_eq!(next_hop(Family::V4).as_deref(), Some("198.51.100.1"));
    assert_eq!(next_hop(Family::V6).as_deref(), Some("fe80::1"));
    assert_eq!((untagged.vlan, tagged.vlan), (None, Some(Vlan::of(4094))));
    assert_eq!(tagged.name(), "wan0 VLAN 4094");
    assert_eq!(stacked.vlan, Some(Vlan::within(100, 4094)));
    assert_eq!(stacked.name(), "wan0 VLAN 100.4094");
}

/// IPv4 may be sent to a router's IPv6 address (RFC 8950).
#[test]
fn the_next_hop_of_ipv4_may_have_an_ipv6_address() {
    let hops = |text: &str| {
        let text = format!("[[uplink]]\ninterface = \"wan0\"\nnext_hop = {text}\n");
        let config = parse(&text, &[]).expect("valid");
        Family::ALL.map(|family| {
            let hop = config.uplinks[0].next_hop_of(family);
            hop.map_or_else(String::new, |hop| hop.to_string())
        })
    };
    assert_eq!(hops("{ ipv4 = \"fe80::1\" }"), ["fe80::1", ""]);
    assert_eq!(
        hops("{ ipv4 = \"fe80::1\", ipv6 = \"fe80::1\" }"),
        ["fe80::1", "fe80::1"]
    );
    assert_eq!(
        hops("{ ipv4 = \"192.0.2.1\", ipv6 = \"fe80::2\" }"),
        ["192.0.2.1", "fe80::2"]
    );
    assert_eq!(hops("\"fe80::1\""), ["", "fe80::1"], "IPv6's alone");
}

/// Interfaces may have alternative names, as udev gives them, which are longer.
#[test]
fn an_interface_is_named_by_an_alternative_name_too() {
    let name = "a".repeat(127);
    let config = parse("", &["enp3s0f0np0d1-and-more", &name]).expect("valid");
    assert_eq!(config.uplinks[1].interface, name);
    let message = parse("", &[&"a".repeat(128)]).expect_err("too long");
    assert!(message.contains("127"), "{message}");
}

/// No list is larger than one packet has room for.
#[test]
fn lists_for_guests_are_bounded() {
    let list = |key: &str, one: &str, count: usize| {
        let all = vec![format!("{one:?}"); count].join(", ");
        parse(&format!("[dhcp]\n{key} = [{all}]"), &["wan0"])
    };
    for (key, one, most) in [("dns", "192.0.2.1", 16), ("ntp", "2001:db8::1", 16)] {
        assert!(list(key, one, most).is_ok());
        let refused = list(key, one, most + 1).expect_err("too many");
        assert!(refused.contains(key) && refused.contains("17"), "{refused}");
    }
    // 13 bytes each on the wire.
    assert!(list("search", "example.org", 19).is_ok());
    let refused = list("search", "example.org", 20).expect_err("too long");
    assert!(refused.contains("260 bytes"), "{refused}");
    let none = parse("[dhcp]\ndns = []", &["wan0"]).expect("valid");
    assert_eq!(none.dhcp.dns, Some(Vec::new()), "none on purpose");
}

#[test]
fn what_is_no_configuration_is_shown_with_its_line_and_a_cure() {
    for (text, parts) in [
        (
            "[[uplink]]\ninterface = 7\n",
            ["line 2", "`interface = 7`", "correct it"],
        ),
        (
            "[[uplink]]\nadress = \"x\"\n",
            ["line 2", "unknown field `adress`", "take the line out"],
        ),
        (
            "[ports]\ndelivery = \"fast\"\n",
            ["line 2", "`delivery = \"fast\"`", "correct it"],
        ),
        (
            "[dhcp]\nlease = -1\n",
            ["line 2", "`lease = -1`", "correct it"],
        ),
        ("[maps\n", ["line 1", "`[maps`", "correct it"]),
        (
            "[maps]\neips = 0\n",
            ["`eips` of [maps]: 0", "between 1 and", "give a number"],
        ),
    ] {
        let message = parse(text, &["wan"]).expect_err(text);
        for part in parts {
            assert!(message.contains(part), "{text}: {message} lacks {part}");
        }
    }
    // What a terminal would act on is shown, not sent.
    let message = parse("\u{1b}[2J = 1\n", &["wan"]).expect_err("no key");
    assert!(!message.contains('\u{1b}'), "{message:?}");
}

#[test]
fn a_group_that_is_not_there_is_named_with_its_cure() {
    let file = Path::new("/etc/eip-dp/config.toml");
    for (text, value) in [
        ("[files]\ngroup = \"no-such-group\"\n", "\"no-such-group\""),
        ("[files]\ngroup = \"\"\n", "\"\""),
        ("[files]\ngroup = \"a\\u0000b\"\n", "\"a\\0b\""),
    ] {
        let error = Config::parse(text, file, &["wan".to_owned()]).expect_err(text);
        let said = error.to_string();
        assert!(
            said.contains("line 2: `group`") && said.contains(value),
            "{said}"
        );
        assert!(said.contains("groupadd"), "{said}");
    }
}
