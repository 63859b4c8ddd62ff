"""The address family of the table that is being written.

Cases name every host by its IPv4 address. In the table of IPv6 the same host has the address that is made from it here,
so that one case serves both.
"""

import ipaddress

# 4 or 6; `generate.py` sets it before it writes a table.
version = 4

# The first three words, by the first two bytes; the third byte's digits become the fourth word, the last one's the last.
NETWORKS = {
    "10.0": "fd00:10:0",
    "10.1": "fd00:10:1",
    "172.20": "fd00:172:20",
    "192.168": "fd00:192:168",
    "192.0": "3fff:192:0",
    "198.18": "2001:db8:18",
    "198.51": "2001:db8:51",
    "203.0": "2001:db8:203",
}
SPECIAL = {"0.0.0.0": "::", "127.0.0.1": "::1", "224.0.0.1": "ff02::1", "224.0.0.5": "ff02::5", "239.1.2.3": "ff0e::1:2:3"}
# Masks and prefix lengths.
MASKS = {"255.255.0.0": 48, "255.255.252.0": 62}
LENGTHS = {"24": "64", "28": "124", "32": "128"}


def is6():
    return version == 6


def pick(four, six):
    """What the families differ in."""
    return six if is6() else four


def address(name):
    """The address of a host in this family."""
    if not is6() or ":" in name:
        return name
    if name in SPECIAL:
        return SPECIAL[name]
    first, second, third, last = name.split(".")
    text = f"{NETWORKS[f'{first}.{second}']}:{third}::{last}"
    return ipaddress.IPv6Address(text).compressed


def mask(name):
    if not is6():
        return name
    return ipaddress.IPv6Network(f"::/{MASKS[name]}").netmask.compressed


def prefix(name):
    network, length = name.split("/")
    return f"{address(network)}/{pick(length, LENGTHS.get(length, length))}"


def group_mac(name):
    """The Ethernet address of a multicast group (RFC 1112, RFC 2464)."""
    packed = ipaddress.ip_address(address(name)).packed
    data = b"\x33\x33" + packed[12:] if is6() else bytes([1, 0, 0x5E, packed[1] & 0x7F]) + packed[2:]
    return ":".join(f"{byte:02x}" for byte in data)
