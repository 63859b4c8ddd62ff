"""The bed in which a gateway is tested: an Internet side, an uplink, and guests on ports. Once for each family.

```text
   internet ═══ up0  gateway ═╦═ p1 ── a   NAT                  MTU 2000
   (the next hop)             ╠═ p2 ── b   NAT                  MTU 2000
                              ╠═ p3 ── s   NAT                  MTU 1280
                              ╠═ p4 ── n   no public address
                              ╚═ p5 ── c   cut-through          MTU 2000
```
"""

from typing import NamedTuple


class Guest(NamedTuple):
    port: str
    mac: str
    mtu: int
    private: str
    public: str | None
    mode: str | None


class Bed(NamedTuple):
    family: int
    uplink: str  # the gateway's own address on the uplink
    uplink_length: int
    next_hop: str
    next_hop_mac: str
    uplink_mtu: int
    pool: str
    pool_gateway: str
    network: str
    network_gateway: str
    remote: str  # a host on the Internet
    elsewhere: str  # another one
    unassociated: str  # an address of the pool that nobody has
    guests: dict[str, Guest]

    def inside(self, guest):
        """The address that the guest uses."""
        entry = self.guests[guest]
        return entry.public if entry.mode == "cut-through" else entry.private

    def gateway_of(self, guest):
        """The router that the guest knows."""
        return self.pool_gateway if self.guests[guest].mode == "cut-through" else self.network_gateway

    def to_json(self):
        fields = self._asdict()
        fields["guests"] = [{"name": name, **guest._asdict()} for name, guest in self.guests.items()]
        return fields


MAC = "02:00:00:00:0a:"


def guests(private, public):
    """Of `a` and `b` the two addresses differ by unlike amounts: what is left out of both translations of a packet between them
    does not cancel out."""
    return {
        "a": Guest("p1", MAC + "0a", 2000, private + "10", public + "10", "nat"),
        "b": Guest("p2", MAC + "0b", 2000, private + "11", public + "31", "nat"),
        "s": Guest("p3", MAC + "0c", 1280, private + "12", public + "12", "nat"),
        "n": Guest("p4", MAC + "14", 1500, private + "20", None, None),
        "c": Guest("p5", MAC + "15", 2000, private + "21", public + "20", "cut-through"),
    }


IPV4 = Bed(
    family=4,
    uplink="198.51.100.2",
    uplink_length=24,
    next_hop="198.51.100.1",
    next_hop_mac=MAC + "01",
    uplink_mtu=1500,
    pool="203.0.113.0/24",
    pool_gateway="203.0.113.1",
    network="10.0.0.0/24",
    network_gateway="10.0.0.1",
    remote="192.0.2.77",
    elsewhere="198.18.99.1",
    unassociated="203.0.113.60",
    guests=guests("10.0.0.", "203.0.113."),
)

IPV6 = Bed(
    family=6,
    uplink="2001:db8:f::2",
    uplink_length=64,
    next_hop="2001:db8:f::1",
    next_hop_mac=MAC + "01",
    uplink_mtu=1500,
    pool="2001:db8:100::/64",
    pool_gateway="2001:db8:100::1",
    network="fd00:10::/64",
    network_gateway="fd00:10::1",
    remote="2001:db8:77::77",
    elsewhere="2001:db8:99::1",
    unassociated="2001:db8:100::60",
    guests=guests("fd00:10::", "2001:db8:100::"),
)
