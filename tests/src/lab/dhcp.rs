//! A guest's DHCP client: Debian's, with its own script.

use anyhow::{Context, Result};

use super::{
    netns::Netns,
    process::{outcome, run},
};

/// Runs `dhclient` on `interface` until it is bound; it then stays in the background and renews.
pub fn bind(guest: &Netns, interface: &str) -> Result<()> {
    run(client(guest, interface, &["-1", "-v"])?.args([interface]))
        .with_context(|| format!("no lease on {interface} of {}", guest.name()))?;
    Ok(())
}

/// Whether a client that may try for `seconds` gets a lease on `interface`.
pub fn gets_lease(guest: &Netns, interface: &str, seconds: u32) -> Result<bool> {
    let configuration = guest.etc().join("dhcp/dhclient.conf");
    let text = std::fs::read_to_string(&configuration)?;
    std::fs::write(
        guest.etc().join("dhcp/once.conf"),
        format!("{text}\ntimeout {seconds};\n"),
    )?;
    let arguments = ["-1", "-v", "-cf", "/etc/dhcp/once.conf"];
    let output = outcome(client(guest, interface, &arguments)?.args([interface]))?;
    Ok(output.status.success())
}

/// The leases that the clients of `interface` were given, in the client's own format.
pub fn leases(guest: &Netns, interface: &str) -> Result<String> {
    run(guest
        .guest_command("cat")?
        .arg(format!("/var/lib/dhcp/dhclient.{interface}.leases")))
}

fn client(guest: &Netns, interface: &str, arguments: &[&str]) -> Result<std::process::Command> {
    let mut command = guest.guest_command("/sbin/dhclient")?;
    command
        .args(["-4", "--no-pid", "-lf"])
        .arg(format!("/var/lib/dhcp/dhclient.{interface}.leases"))
        .args(arguments);
    Ok(command)
}
