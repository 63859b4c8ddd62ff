//! A network namespace that lives as long as a closure runs.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, unshare};

use super::table::Interface;

/// Runs `body` on a thread of its own in a new network namespace, which ends with the thread and
/// with it everything in the namespace.
pub fn with_namespace<T: Send>(body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET)
                    .context("cannot create a network namespace; run the tests as root")?;
                // Nothing but the tests' own packets is to be on the interfaces.
                fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")
                    .context("cannot turn IPv6 off in the namespace")?;
                body()
            })
            .join()
            .map_err(|panic| {
                let text = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied());
                anyhow!("{}", text.unwrap_or("the test panicked"))
            })?
    })
}

/// The far end of an interface's pair.
pub fn peer(name: &str) -> String {
    format!("{name}-far")
}

/// Creates veth pairs with these names and MACs, both ends up, and an MTU that is larger than any
/// of the table.
pub fn create(interfaces: &[Interface]) -> Result<()> {
    let mut batch = String::from("link set lo up\n");
    for Interface { name, mac } in interfaces {
        let far = peer(name);
        let _ = write!(
            batch,
            "link add name {name} address {mac} mtu 9500 type veth peer name {far} mtu 9500\n\
             link set dev {far} up\nlink set dev {name} up\n"
        );
    }
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run `ip` (iproute2)")?;
    // Dropped at the end of the statement, which ends the batch.
    ip.stdin
        .take()
        .context("no stdin")?
        .write_all(batch.as_bytes())?;
    let output = ip.wait_with_output()?;
    ensure!(
        output.status.success(),
        "ip -batch failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
