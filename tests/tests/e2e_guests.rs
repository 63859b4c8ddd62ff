//! What a site gives its guests beside addresses, and what their clients make of it.

use anyhow::{Context, Result};
use eip_dp_tests::lab::{
    dhcp,
    process::PATIENCE,
    scene::{Options, Scene},
    wait::until,
};

const SITE: &str = r#"[dhcp]
dns = []
domain = "example.org"
search = ["lab.example.org", "example.org"]
ntp = ["192.0.2.123", "2001:db8::123"]
next_server = "192.0.2.67"
boot_file = "boot/pxelinux.0""#;

#[test]
fn guests_are_told_what_the_site_gives() -> Result<()> {
    let scene = Scene::new(&Options {
        configuration: SITE,
        dual_stack: true,
        ..Options::default()
    })?;
    let lease = dhcp::leases(&scene.a, "eth0")?;
    for line in [
        "option domain-name \"example.org\";",
        "option domain-search \"lab.example.org.\", \"example.org.\";",
        "option ntp-servers 192.0.2.123;",
        "filename \"boot/pxelinux.0\";",
    ] {
        assert!(lease.contains(line), "{line} is not in: {lease}");
    }
    assert!(!lease.contains("domain-name-servers"), "{lease}");
    let lease = dhcp::leases6(&scene.a, "eth0")?;
    let line = "option dhcp6.domain-search \"lab.example.org.\", \"example.org.\";";
    assert!(lease.contains(line), "{line} is not in: {lease}");
    let status = scene.gateway.status_text()?;
    assert!(status.contains("none ([dhcp] dns)"), "{status}");
    Ok(())
}

/// The host's own name servers, but for what is its own alone; with what they are changed to.
#[test]
fn name_servers_are_the_hosts_as_long_as_the_configuration_names_none() -> Result<()> {
    let scene = Scene::new(&Options {
        resolver: Some("nameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver ::1\n"),
        ..Options::default()
    })?;
    let (gateway, guest) = (&scene.gateway, &scene.a);
    let servers = "option domain-name-servers";
    let lease = dhcp::leases(guest, "eth0")?;
    let line = format!("{servers} 192.0.2.53;");
    assert!(lease.contains(&line), "{line} is not in: {lease}");
    let told = |gateway: &eip_dp_tests::lab::gateway::Gateway| -> Result<String> {
        let text = gateway.status_text()?;
        let line = text.lines().find(|line| line.starts_with("name servers:"));
        Ok(line.with_context(|| text.clone())?.to_owned())
    };
    let status = told(gateway)?;
    assert!(
        status.ends_with("192.0.2.53 (/etc/resolv.conf)"),
        "{status}"
    );

    gateway.set_resolver("search example.org\nnameserver 192.0.2.54\n")?;
    until(PATIENCE, "the other name server", || {
        Ok(told(gateway)?.contains("192.0.2.54").then_some(()))
    })?;
    dhcp::bind(guest, "eth0")?;
    let lease = dhcp::leases(guest, "eth0")?;
    let line = format!("{servers} 192.0.2.54;");
    assert!(lease.contains(&line), "{line} is not in: {lease}");
    Ok(())
}
