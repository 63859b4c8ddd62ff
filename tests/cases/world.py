"""The fixed world in which every case happens: two overlapping VPCs behind one gateway.

Each name of an interface is created by the harness; indices of targets and slots are given in order. Hosts are named by
their IPv4 addresses, see `family`.
"""

import ipaddress

import family

UPLINK = "up"
UPLINK_MAC = "02:00:00:00:ff:01"
UPLINK2 = "up2"
UPLINK2_MAC = "02:00:00:00:ff:02"
# Interfaces that no record knows (yet, or any more).
UPLINK3 = "up3"
UPLINK3_MAC = "02:00:00:00:ff:03"
STRAY_PORT = "px"
NEXT_HOP = "198.51.100.1"
NEXT_HOP_MAC = "02:00:00:00:ff:fe"
HOST = "198.51.100.2"
HOST_IN_POOL = "203.0.113.2"
REMOTE = "192.0.2.77"
# The uplink's link is a network of its own: who is there, and the addresses of it that are a pool's.
ON_LINK = "198.51.101.0/24"
ON_LINK_ROUTER, HOST_ON_LINK, NEIGHBOUR = "198.51.101.1", "198.51.101.2", "198.51.101.50"
ON_LINK_MTU = 1400
NEIGHBOUR_MAC = "02:00:00:00:ff:50"
# In the reserve of a pool that is routed to the gateway.
RESERVED = "203.0.113.241"
FOREIGN_MAC = "02:00:00:00:de:ad"
# Of the uplink, and of ports that are not named below.
MTU = 1500
# The first target that an ENI can have.
FIRST_TARGET = 2

VPCS = {
    1: [("10.0.0.0", "255.255.0.0", "10.0.0.1"), ("172.20.0.0", "255.255.252.0", "172.20.0.1")],
    2: [("10.0.0.0", "255.255.0.0", "10.0.0.1")],
}

# name: VPC
PORTS = {
    "pa": 1, "pb": 1, "pc": 1, "pd": 1, "pe": 2, "pf": 2, "pg": 2, "pm": 1, "ps": 1, "pt": 1, "pj": 1,
    "pv20": 1, "pv30": 2, "pq20": 2, "pq30": 1, "pw70": 1, "pl": 1, "pk": 1, "pz": 1,
}
# Ports that are VLANs of an interface; a pair is one within another.
VLANS = {"pv20": ("pv", 20), "pv30": ("pv", 30), "pq20": ("pv", (10, 20)), "pq30": ("pv", (11, 20)), "pw70": ("pw", 70)}
# What is the host's own on interfaces with ports: VLANs for which it has interfaces, within another one too, and its untagged
# frames. `None`: every VLAN that is nobody else's.
HOST_LINKS = [("pv", 0), ("pv", 50), ("pv", (10, 50)), ("pv", (60, 0)), ("pw", None)]
UPLINK_VLAN = 100
# Within another on the same interface.
UPLINK_VLANS = (10, 100)
MTUS = {"pt": 1300, "pj": 9000, "pz": 100}


def link(port):
    """The port's interface, and its VLAN there."""
    return VLANS.get(port, (port, 0))


def tags(vlan):
    """As the harness reads it."""
    outer, inner = vlan if isinstance(vlan, tuple) else (0, vlan)
    return {"outer": outer, "vlan": inner}


def port_mac(port):
    return "02:00:00:00:aa:%02x" % (sorted({link(one)[0] for one in PORTS}).index(link(port)[0]) + 1)


# name: (instance, port, MAC, antispoof = eni)
ENIS = {
    "a1": ("A", "pa", "0a:00:00:00:00:a1", False),
    "a2": ("A", "pb", "0a:00:00:00:00:a2", False),
    "b1": ("B", "pc", "0a:00:00:00:00:b1", False),
    "b2": ("B", "pd", "0a:00:00:00:00:b2", False),
    "c1": ("C", "pe", "0a:00:00:00:00:c1", True),
    "c2": ("C", "pf", "0a:00:00:00:00:c2", False),
    "d1": ("D", "pg", "0a:00:00:00:00:d1", False),
    "m1": ("M1", "pm", "0a:00:00:00:01:01", False),
    "m2": ("M2", "pm", "0a:00:00:00:01:02", False),
    "m3": ("M3", "pm", "0a:00:00:00:01:03", False),
    "m4": ("M1", "pm", "0a:00:00:00:01:04", True),
    "s1": ("S", "ps", "0a:00:00:00:00:51", False),
    "t1": ("T", "pt", "0a:00:00:00:00:71", False),
    "j1": ("J", "pj", "0a:00:00:00:00:31", False),
    "l1": ("L", "pl", "0a:00:00:00:00:61", False),
    "l2": ("L2", "pk", "0a:00:00:00:00:62", False),
    "z1": ("Z", "pz", "0a:00:00:00:00:63", False),
    "w1": ("X", "pw70", "0a:00:00:00:00:64", False),
    # Alike in everything but the VLAN and the VPC.
    "v1": ("V", "pv20", "0a:00:00:00:02:01", False),
    "v2": ("W", "pv30", "0a:00:00:00:02:01", False),
    # Likewise, of the first and of each other, in the outer VLAN.
    "q1": ("Q", "pq20", "0a:00:00:00:02:01", False),
    "q2": ("Q2", "pq30", "0a:00:00:00:02:01", False),
}

# (VPC, address): (ENI or None, state, EIP or None)
ADDRESSES = {
    (1, "10.0.0.10"): ("a1", "nat", "203.0.113.10"),
    (1, "10.0.0.11"): ("a2", "nat", "203.0.113.11"),
    (1, "10.0.0.12"): ("a2", "nat", "203.0.113.12"),
    (1, "10.0.0.20"): ("b1", "no-eip", None),
    (1, "10.0.0.21"): ("b2", "off", None),
    (1, "203.0.113.20"): ("b2", "cut-through", "203.0.113.20"),
    (2, "10.0.0.10"): ("c1", "nat", "203.0.113.30"),
    (2, "10.0.0.31"): ("c2", "nat", "203.0.113.31"),
    (2, "10.0.0.20"): ("d1", "nat", "203.0.113.32"),
    (1, "10.0.1.10"): ("m1", "nat", "198.18.7.10"),
    (1, "10.0.1.11"): ("m2", "no-eip", None),
    (1, "10.0.1.12"): ("m3", "off", None),
    (1, "198.18.7.20"): ("m3", "cut-through", "198.18.7.20"),
    (1, "10.0.1.13"): ("m4", "no-eip", None),
    (1, "10.0.0.40"): ("s1", "stranded", None),
    (1, "10.0.0.50"): (None, "detached", None),
    (1, "10.0.0.70"): ("t1", "nat", "203.0.113.70"),
    (1, "172.20.3.30"): ("j1", "nat", "203.0.113.80"),
    (1, "10.0.2.10"): ("v1", "nat", "203.0.113.90"),
    (2, "10.0.2.10"): ("v2", "nat", "203.0.113.91"),
    (2, "10.0.3.10"): ("q1", "nat", "203.0.113.92"),
    (1, "10.0.3.10"): ("q2", "off", None),
    (1, "203.0.113.93"): ("q2", "cut-through", "203.0.113.93"),
    (1, "10.0.0.60"): ("l1", "nat", "198.51.101.10"),
    (1, "198.51.101.20"): ("l2", "cut-through", "198.51.101.20"),
    (1, "10.0.0.61"): ("z1", "nat", "203.0.113.61"),
    (1, "10.0.0.62"): ("w1", "no-eip", None),
}

# address: (mode, private address, ENI or None, VPC)
EIPS = {
    "203.0.113.10": ("nat", "10.0.0.10", "a1", 1),
    "203.0.113.11": ("nat", "10.0.0.11", "a2", 1),
    "203.0.113.12": ("nat", "10.0.0.12", "a2", 1),
    "203.0.113.20": ("cut-through", "203.0.113.20", "b2", 1),
    "203.0.113.30": ("nat", "10.0.0.10", "c1", 2),
    "203.0.113.31": ("nat", "10.0.0.31", "c2", 2),
    "203.0.113.32": ("nat", "10.0.0.20", "d1", 2),
    "198.18.7.10": ("nat", "10.0.1.10", "m1", 1),
    "198.18.7.20": ("cut-through", "198.18.7.20", "m3", 1),
    "203.0.113.40": ("stranded", "10.0.0.40", "s1", 1),
    "203.0.113.50": ("detached", "10.0.0.50", None, 1),
    "203.0.113.60": ("unassociated", "0.0.0.0", None, None),
    "203.0.113.70": ("nat", "10.0.0.70", "t1", 1),
    "203.0.113.80": ("nat", "172.20.3.30", "j1", 1),
    "203.0.113.90": ("nat", "10.0.2.10", "v1", 1),
    "203.0.113.91": ("nat", "10.0.2.10", "v2", 2),
    "203.0.113.92": ("nat", "10.0.3.10", "q1", 2),
    "203.0.113.93": ("cut-through", "203.0.113.93", "q2", 1),
    "198.51.101.10": ("nat", "10.0.0.60", "l1", 1),
    "198.51.101.20": ("cut-through", "198.51.101.20", "l2", 1),
    "198.51.101.60": ("unassociated", "0.0.0.0", None, None),
    "203.0.113.61": ("nat", "10.0.0.61", "z1", 1),
}

# Prefix, class, and of a pool its gateway.
PREFIXES = [
    ("203.0.113.0/24", "pool", None),
    ("198.18.7.0/24", "pool", "198.18.7.1"),
    ("198.18.7.1/32", "pool-gateway", None),
    (HOST + "/32", "host", None),
    (HOST_IN_POOL + "/32", "host", None),
    ("203.0.113.240/28", "reserved", None),
    (ON_LINK, "on-link", ON_LINK_ROUTER),
    (HOST_ON_LINK + "/32", "host", None),
    (NEXT_HOP + "/32", "on-link", None),
]


def eni_mac(eni):
    return ENIS[eni][2]


def eni_port(eni):
    return ENIS[eni][1]


def is_behind_next_hop(address):
    """Whether a packet to this address goes to the uplink's next hop, without which there is no way for it."""
    return address == REMOTE


def router_of(eni, address):
    """From whom an ENI with this address is told of errors: its VPC's router, its pool's, or the uplink's address."""
    for network, mask, gateway in VPCS[PORTS[eni_port(eni)]]:
        if ipaddress.ip_address(address) in ipaddress.ip_network(f"{network}/{mask}"):
            return gateway
    for prefix, _, gateway in PREFIXES:
        if gateway and ipaddress.ip_address(address) in ipaddress.ip_network(prefix):
            return gateway
    return HOST


def link_local(mac):
    """The IPv6 link-local address of an interface (RFC 4291, appendix A)."""
    data = bytes.fromhex(mac.replace(":", ""))
    return ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + bytes([data[0] ^ 2]) + data[1:3] + b"\xff\xfe" + data[3:]).compressed


def to_json():
    """The world as the harness reads it."""
    a = family.address
    targets = {name: index for index, name in enumerate(ENIS, start=FIRST_TARGET)}
    devices = {link(port)[0]: port_mac(port) for port in PORTS}
    return {
        "family": family.version,
        "interfaces": [
            {"name": UPLINK, "mac": UPLINK_MAC},
            {"name": UPLINK2, "mac": UPLINK2_MAC},
            {"name": UPLINK3, "mac": UPLINK3_MAC},
            {"name": STRAY_PORT, "mac": "02:00:00:00:aa:ff"},
            *({"name": name, "mac": mac} for name, mac in devices.items()),
        ],
        "uplinks": [
            {"interface": UPLINK, **tags(0), "next_hop": a(NEXT_HOP), "icmp_source": a(HOST), "answer_arp": True, "drop_private_sources": False},
            *(
                {"interface": UPLINK, **tags(vlan), "next_hop": a(NEXT_HOP), "icmp_source": a(HOST), "answer_arp": True, "drop_private_sources": False}
                for vlan in (UPLINK_VLAN, UPLINK_VLANS)
            ),
            {"interface": UPLINK2, **tags(0), "next_hop": None, "icmp_source": None, "answer_arp": False, "drop_private_sources": True},
        ],
        "way_out": {"interface": UPLINK, "mac": NEXT_HOP_MAC, "mtu": MTU},
        "vpcs": [
            {
                "index": index,
                "cidrs": [{"network": a(n), "mask": family.mask(m), "gateway": a(g)} for n, m, g in cidrs],
            }
            for index, cidrs in VPCS.items()
        ],
        "ports": [
            {"name": port, "interface": link(port)[0], **tags(link(port)[1]), "vpc": vpc}
            for port, vpc in PORTS.items()
        ],
        "host_links": [
            {"interface": name, **tags(vlan or 0), "any_vlan": vlan is None} for name, vlan in HOST_LINKS
        ],
        "enis": [
            {
                "target": targets[name],
                "instance": instance,
                "port": port,
                "mac": mac,
                "mtu": MTUS.get(port, MTU),
                "antispoof_eni": narrow,
            }
            for name, (instance, port, mac, narrow) in ENIS.items()
        ],
        "addresses": [
            {
                "vpc": vpc,
                "address": a(address),
                "target": targets.get(eni),
                "state": state,
                "public": public and a(public),
            }
            for (vpc, address), (eni, state, public) in ADDRESSES.items()
        ],
        "eips": [
            {
                "address": a(address),
                "slot": slot,
                "mode": mode,
                "private": a(private),
                "target": targets.get(eni),
                "vpc": vpc,
            }
            for slot, (address, (mode, private, eni, vpc)) in enumerate(EIPS.items(), start=1)
        ],
        "prefixes": [
            {
                "prefix": family.prefix(prefix),
                "class": name,
                "gateway": gateway and a(gateway),
                "interface": UPLINK if name == "on-link" else None,
                "mtu": ON_LINK_MTU if name == "on-link" else 0,
            }
            for prefix, name, gateway in PREFIXES
        ],
    }
