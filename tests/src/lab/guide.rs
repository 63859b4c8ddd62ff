//! How to look around in a scene that was kept.

use super::scene::Scene;

/// What can be done with a scene that stays up.
pub fn print(scene: &Scene) {
    let gateway = &scene.gateway;
    let enter = |role: &str| format!("ip netns exec {}-{role}", scene.lab.name());
    println!(
        "
The network stays up. To look around:
  {} ip address                  # a guest
  {} ping -c 3 203.0.113.20      # the Internet host
  export EIP_DP_TABLE={} EIP_DP_NAME={}
  nsenter --net=/run/netns/{}-gateway {} status      # also: stats, drops, verify, eni show b-secondary
  cat {}      # the daemon's log
To take it away:
  cargo xtask demo --remove",
        enter("b"),
        enter("internet"),
        gateway.table(),
        gateway.name(),
        scene.lab.name(),
        gateway.program().display(),
        gateway.log_file().display(),
    );
}
