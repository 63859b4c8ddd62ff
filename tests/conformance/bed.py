"""The bed in which a gateway is tested: an Internet side, an uplink, and guests on ports. Once for each family.

```text
   internet ═══ up0  gateway ═╦═ p1 ── a   NAT                  MTU 9000
   (the next hop)      ║      ╠═ p2 ── b   NAT                  MTU 9000
                     mgmt0    ╠═ p3 ── s   NAT                  MTU 1280
                       ║      ╠═ p4 ── n   no public address
                   management ╠═ p5 ── c   cut-through          MTU 9000
                              ╚═ p6 ── o   another VPC, no public address
```
"""

from typing import NamedTuple


class Guest(NamedTuple):
    port: str
    port_mac: str  # the gateway's
    mac: str
    vpc: str
    mtu: int
    private: str
    public: str | None
    mode: str | None


class Management(NamedTuple):
    """A network of the gateway's host, where nothing of the cases has any business."""

    interface: str
    interface_mac: str
    address: str
    length: int
    host: str
    mac: str


class Neighbour(NamedTuple):
    """A host on the uplink's link that has an address of the pool's prefix."""

    mac: str
    address: str


class Bed(NamedTuple):
    family: int
    uplink: str  # the gateway's own address on the uplink
    uplink_length: int
    uplink_mac: str
    next_hop: str
    next_hop_mac: str
    uplink_mtu: int
    pool: str
    pool_gateway: str
    network: str
    network_gateway: str
    other_network: str  # that of the other VPC
    remote: str  # a host on the Internet
    elsewhere: str  # another one
    unassociated: str  # an address of the pool that nobody has
    management: Management
    guests: dict[str, Guest]
    reserved: tuple[str, ...] = ()  # ranges of the pool that are not for EIPs
    neighbours: dict[str, Neighbour] = {}

    def inside(self, guest):
        """The address that the guest uses."""
        entry = self.guests[guest]
        return entry.public if entry.mode == "cut-through" else entry.private

    def gateway_of(self, guest):
        """The router that the guest knows."""
        return self.pool_gateway if self.guests[guest].mode == "cut-through" else self.network_gateway

    def to_json(self):
        fields = self._asdict()
        fields["management"] = self.management._asdict()
        for key in ("guests", "neighbours"):
            fields[key] = [{"name": name, **one._asdict()} for name, one in fields[key].items()]
        return fields


MAC = "02:00:00:00:0a:"
GATEWAY_MAC = "02:00:00:00:fe:"
UPLINK_MAC = GATEWAY_MAC + "01"


def guests(private, public, other):
    """Of `a` and `b` the two addresses differ by unlike amounts: what is left out of both translations of a packet between them
    does not cancel out."""
    rows = (
        ("a", "0a", "v", 9000, private + "10", public + "10", "nat"),
        ("b", "0b", "v", 9000, private + "11", public + "31", "nat"),
        ("s", "0c", "v", 1280, private + "12", public + "12", "nat"),
        ("n", "14", "v", 1500, private + "20", None, None),
        ("c", "15", "v", 9000, private + "21", public + "20", "cut-through"),
        ("o", "16", "w", 1500, other + "10", None, None),
    )
    return {name: Guest(f"p{number}", f"{GATEWAY_MAC}{number + 1:02x}", MAC + mac, *rest) for number, (name, mac, *rest) in enumerate(rows, 1)}


def management(address, length, host):
    return Management("mgmt0", GATEWAY_MAC + "63", address, length, host, MAC + "63")


IPV4 = Bed(
    family=4,
    uplink="198.51.100.2",
    uplink_length=24,
    uplink_mac=UPLINK_MAC,
    next_hop="198.51.100.1",
    next_hop_mac=MAC + "01",
    uplink_mtu=1500,
    pool="203.0.113.0/24",
    pool_gateway="203.0.113.1",
    network="10.0.0.0/24",
    network_gateway="10.0.0.1",
    other_network="10.1.0.0/24",
    remote="192.0.2.77",
    elsewhere="198.18.99.1",
    unassociated="203.0.113.60",
    management=management("192.168.77.1", 24, "192.168.77.9"),
    guests=guests("10.0.0.", "203.0.113.", "10.1.0."),
)

IPV6 = Bed(
    family=6,
    uplink="2001:db8:f::2",
    uplink_length=64,
    uplink_mac=UPLINK_MAC,
    next_hop="2001:db8:f::1",
    next_hop_mac=MAC + "01",
    uplink_mtu=1500,
    pool="2001:db8:100::/64",
    pool_gateway="2001:db8:100::1",
    network="fd00:10::/64",
    network_gateway="fd00:10::1",
    other_network="fd00:11::/64",
    remote="2001:db8:77::77",
    elsewhere="2001:db8:99::1",
    unassociated="2001:db8:100::60",
    management=management("fd00:77::1", 64, "fd00:77::9"),
    guests=guests("fd00:10::", "2001:db8:100::", "fd00:11::"),
)

# The same with the pool on the uplink's link: a LAN with the router, the gateway, and a server in
# it.
ON_LINK_IPV4 = IPV4._replace(
    uplink="203.0.113.2",
    next_hop="203.0.113.1",
    reserved=("203.0.113.2-203.0.113.9", "203.0.113.200-203.0.113.209"),
    neighbours={"server": Neighbour(MAC + "c8", "203.0.113.200")},
)

ON_LINK_IPV6 = IPV6._replace(
    uplink="2001:db8:100::2",
    next_hop="2001:db8:100::1",
    reserved=("2001:db8:100::2-2001:db8:100::9", "2001:db8:100::200-2001:db8:100::209"),
    neighbours={"server": Neighbour(MAC + "c8", "2001:db8:100::200")},
)
