//! A guest's DHCP client: Debian's, with its own script.

use anyhow::{Context, Result};

use super::{
    netns::Netns,
    process::{PATIENCE, outcome, run},
    wait::until,
};

/// Runs `dhclient` on `interface` until it is bound; it then stays in the background and renews.
pub fn bind(guest: &Netns, interface: &str) -> Result<()> {
    run(client(guest, interface, "-4", &["-1", "-v"])?.args([interface]))
        .with_context(|| format!("no lease on {interface} of {}", guest.name()))?;
    Ok(())
}

/// Gets IPv6 for `interface`: the kernel its router from an advertisement, `dhclient` the address,
/// which then is of use. The client stays in the background and renews.
pub fn bind6(guest: &Netns, interface: &str) -> Result<()> {
    guest.ip(&format!("link set dev {interface} up"))?;
    has_address(guest, interface, "link")?;
    run(client(guest, interface, "-6", &["-1", "-v"])?.args([interface]))
        .with_context(|| format!("no IPv6 lease on {interface} of {}", guest.name()))?;
    until(PATIENCE, "a router of IPv6", || {
        let routes = guest.ip(&format!("-6 route show default dev {interface}"))?;
        Ok(routes.contains("via fe80:").then_some(()))
    })?;
    has_address(guest, interface, "global")
}

/// Waits until the guest may use an IPv6 address of that scope, and every one that it has: no other
/// answers for it.
fn has_address(guest: &Netns, interface: &str, scope: &str) -> Result<()> {
    until(
        PATIENCE,
        &format!("an IPv6 address of scope {scope}"),
        || {
            let of = |state| {
                guest.ip(&format!(
                    "-6 -o address show dev {interface} scope {scope} {state}"
                ))
            };
            // An earlier lease's address may be there: it says nothing of the one that came now.
            Ok(
                (of("tentative")?.is_empty() && !of("-tentative -dadfailed")?.is_empty())
                    .then_some(()),
            )
        },
    )
    .with_context(|| format!("on {interface} of {}", guest.name()))
}

/// The global IPv6 addresses of `interface`, which its guest may use by now.
pub fn addresses6(guest: &Netns, interface: &str) -> Result<Vec<String>> {
    let text = guest.ip(&format!(
        "-6 -o address show dev {interface} scope global -tentative"
    ))?;
    let words = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3));
    Ok(words
        .filter_map(|word| word.split('/').next())
        .map(str::to_owned)
        .collect())
}

/// Whether a client that may try for `seconds` gets a lease on `interface`.
pub fn gets_lease(guest: &Netns, interface: &str, seconds: u32) -> Result<bool> {
    try_for(guest, interface, "-4", seconds)
}

/// Likewise an IPv6 lease. The client begins anew: one that has an old lease, and is not told
/// otherwise, goes on with it.
pub fn gets_lease6(guest: &Netns, interface: &str, seconds: u32) -> Result<bool> {
    run(guest
        .guest_command("rm")?
        .args(["-f", &lease_file("-6", interface)]))?;
    try_for(guest, interface, "-6", seconds)
}

fn try_for(guest: &Netns, interface: &str, family: &str, seconds: u32) -> Result<bool> {
    let configuration = guest.etc().join("dhcp/dhclient.conf");
    let text = std::fs::read_to_string(&configuration)?;
    std::fs::write(
        guest.etc().join("dhcp/once.conf"),
        format!("{text}\ntimeout {seconds};\n"),
    )?;
    let arguments = ["-1", "-v", "-cf", "/etc/dhcp/once.conf"];
    let output = outcome(client(guest, interface, family, &arguments)?.args([interface]))?;
    Ok(output.status.success())
}

/// The leases that the clients of `interface` were given, in the client's own format.
pub fn leases(guest: &Netns, interface: &str) -> Result<String> {
    read_leases(guest, "-4", interface)
}

/// Likewise the IPv6 leases.
pub fn leases6(guest: &Netns, interface: &str) -> Result<String> {
    read_leases(guest, "-6", interface)
}

fn read_leases(guest: &Netns, family: &str, interface: &str) -> Result<String> {
    run(guest
        .guest_command("cat")?
        .arg(lease_file(family, interface)))
}

fn lease_file(family: &str, interface: &str) -> String {
    format!("/var/lib/dhcp/dhclient{family}.{interface}.leases")
}

fn client(
    guest: &Netns,
    interface: &str,
    family: &str,
    arguments: &[&str],
) -> Result<std::process::Command> {
    let mut command = guest.guest_command("/sbin/dhclient")?;
    command
        .args([family, "--no-pid", "-lf"])
        .arg(lease_file(family, interface))
        .args(arguments);
    Ok(command)
}
