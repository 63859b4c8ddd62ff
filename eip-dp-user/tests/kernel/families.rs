//! Both families, VLANs, and the settings of the host, in the real kernel.

use eip_dp_common::abi::{Checksummed, EipMode, LinkKey, NONE};
use eip_dp_user::{
    compile::{FamilyWrite, Write},
    kernel::Plane,
};

use crate::{
    gateway::{Gateway, run, sh},
    open_kernel, slot,
};

/// Both families and a VLAN, in the kernel's own maps.
#[test]
fn a_dual_stack_eni_on_a_vlan_is_served_and_recovered() {
    run(|| {
        let gateway = Gateway::served();
        for line in [
            "pool create 2001:db8:1::/64",
            "vpc create six --cidr 10.0.0.0/16 --cidr fd00:1::/64",
            "eni create d --vpc six --kind secondary --mac 02:00:00:00:00:02 --private-ip 10.0.0.10 --private-ip fd00:1::10",
            "eni attach d --instance i --port p0 --vlan 7",
            "eip create y --pool 2001:db8:1::/64",
            "associate y d",
        ] {
            gateway.ok(line);
        }
        let file = gateway.file(
            "dual.toml",
            "[[uplink]]\ninterface = \"wan\"\nnext_hop = [\"192.0.2.1\", \"fe80::1\"]\n\
             icmp_source = \"2001:db8:1::1\"\n",
        );
        let mut daemon = gateway.start_with(&["-c", &file]);
        let content = open_kernel().read().unwrap();
        let address = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        let record = content.v6.eips[&address];
        assert!(record.is_consistent(&address));
        assert_eq!(EipMode::from_value(record.mode), Some(EipMode::Nat));
        let target = content.targets[&record.target];
        assert_eq!(target.vlan, 7);
        let port = LinkKey::tagged(target.ifindex, 7);
        assert_eq!(content.ports[&port].target, record.target);
        assert!(
            content
                .ports
                .contains_key(&LinkKey::untagged(target.ifindex))
        );
        let uplink = content.uplinks.values().next().unwrap();
        assert_eq!(uplink.next_hop6[..2], [0xfe, 0x80]);
        assert_eq!(uplink.icmp_source6[..4], address[..4]);
        assert_ne!(slot(), None);
        let slot6 = open_kernel().slot(address.into());
        assert_ne!(slot6, slot());
        let rows = gateway.json("stats");
        assert_eq!(rows[1]["address"], "2001:db8:1::2");
        let status = gateway.status();
        assert_eq!(status["ports"][1]["vlan"], 7);
        assert_eq!(status["uplinks"][0]["next_hop6"], "fe80::1");
        gateway.ok("verify");
        daemon.stop();

        let removal = Write::V6(FamilyWrite::Eip(address, None));
        open_kernel().write(&[removal]).unwrap();
        assert!(gateway.fails("verify").contains("EIP6 2001:db8:1::2"));
        let _daemon = gateway.start_with(&["-c", &file]);
        assert_eq!(open_kernel().slot(address.into()), slot6);
        gateway.ok("disassociate y --wait");
        let record = open_kernel().read().unwrap().v6.eips[&address];
        assert_eq!(record.target, NONE);
        gateway.ok("eip release y --wait");
        assert_eq!(open_kernel().slot(address.into()), None);
    });
}

/// What neighbour solicitations for EIPs need, while the daemon runs, after it, and until the
/// unload; and nothing else, also where ports are larger than the uplink.
#[test]
fn settings_of_the_host_last_until_the_unload() {
    run(|| {
        let gateway = Gateway::served();
        sh("ip link set g0 mtu 9000");
        sh("ip link set p0 mtu 9000");
        // Asked of the kernel by netlink: a sysfs that is mounted shows the namespace of who
        // mounted it.
        let is_set = || sh("ip -j link show dev wan").contains("\"ALLMULTI\"");
        let mut daemon = gateway.start();
        assert!(!is_set());
        assert_eq!(gateway.status()["settings"].to_string(), "[]");
        gateway.ok("pool create 2001:db8:7::/64 --wait");
        assert!(is_set());
        let settings = gateway.status()["settings"].to_string();
        assert_eq!(settings, "[\"allmulticast of wan = 1 (was 0)\"]");

        gateway.ok("pool delete 2001:db8:7::/64");
        gateway.until("put back", || !is_set());
        gateway.ok("pool create 2001:db8:7::/64");
        gateway.until("set again", is_set);
        daemon.stop();
        assert!(is_set(), "forwarding goes on");
        gateway.ok("unload");
        assert!(!is_set());
    });
}
