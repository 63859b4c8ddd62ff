//! What drivers offer to XDP where the kernel does not tell: before Linux 6.3, which has no netlink
//! family for it.

use super::{XdpFeatures, offloads::driver};

/// Drivers that run XDP programs natively and redirect from them in Linux 6.1, by the name that
/// they give ethtool (`ndo_bpf` and `xdp_do_redirect` in drivers/net). Others are taken for drivers
/// that do not.
const NATIVE: [&str; 10] = [
    "bnxt_en",
    "ena",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "mlx5_core",
    "veth",
    "virtio_net",
];

/// What the interface of that name offers, as far as its driver's name says. Never that it takes
/// redirected frames: of many drivers that hangs on what else is set up on the interface, and then
/// frames would vanish.
pub(super) fn features(interface: &str) -> Option<XdpFeatures> {
    of_driver(&driver(interface).ok()?)
}

fn of_driver(driver: &str) -> Option<XdpFeatures> {
    NATIVE.contains(&driver).then_some(XdpFeatures::RECEIVES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_driver_runs_programs_and_takes_no_frames() {
        let features = of_driver("virtio_net").unwrap();
        assert!(features.basic() && features.redirect() && !features.ndo_xmit());
        assert_eq!(of_driver("e1000e"), None);
        assert_eq!(of_driver(""), None);
    }
}
