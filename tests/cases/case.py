"""What a case is, and the few shapes in which cases come."""

from scapy.all import ARP, Ether

import world

CASES = []
NAMES = set()


def frame(dst, src, packet, padding=b""):
    """An Ethernet frame around an IPv4 packet, every field of which scapy computes from scratch."""
    data = packet
    return bytes(Ether(dst=dst, src=src, type=0x0800)) + data + padding


def add(name, interface, packet, expect, *, xdp=None, counters=None):
    """Adds a case. `xdp="pass"`: the XDP program leaves it to the tc program."""
    assert name not in NAMES, name
    NAMES.add(name)
    case = {"name": name, "interface": interface, "in": bytes(packet).hex(), "expect": expect}
    if xdp is not None:
        case["xdp"] = xdp
    case["counters"] = {k: v for k, v in (counters or {}).items() if v}
    CASES.append(case)


def deliver(to, data):
    """Sent out of `to` with exactly these bytes."""
    return {"verdict": "deliver", "to": to, "out": data.hex()}


def reply(data):
    """Sent back out of the interface that it came from."""
    return {"verdict": "reply", "out": data.hex()}


def drop(reason, to=None):
    """Not delivered; `to`: where it would have gone, for a reason that is found last."""
    return {"verdict": "drop", "reason": reason, **({"to": to} if to else {})}


PASS = {"verdict": "pass"}


def length(packet):
    """The IP total length: what the counters call bytes."""
    data = packet
    return int.from_bytes(data[2:4], "big")


def inbound(name, eip, body, *, src=world.REMOTE, ttl=64, padding=b"", uplink=world.UPLINK):
    """From the Internet to an ENI: `body(src, dst, ttl)` builds the packet before and after."""
    mode, private, eni, _ = world.EIPS[eip]
    assert mode in ("nat", "cut-through")
    before = body(src, eip, ttl)
    after = body(src, private, ttl - 1)
    port = world.eni_port(eni)
    mac = {world.UPLINK: world.UPLINK_MAC, world.UPLINK2: world.UPLINK2_MAC}[uplink]
    add(
        name,
        uplink,
        frame(mac, world.NEXT_HOP_MAC, before, padding),
        deliver(port, frame(world.eni_mac(eni), world.port_mac(port), after, padding)),
        counters={eip: {"in_packets": 1, "in_bytes": length(before)}},
    )


def uplink_drop(name, dst, body, reason, *, src=world.REMOTE, ttl=64, padding=b""):
    """From the Internet, dropped; counted for the EIP where there is one."""
    counters = {dst: {"in_dropped": 1}} if dst in world.EIPS else {}
    data = frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, body(src, dst, ttl), padding)
    add(name, world.UPLINK, data, drop(reason), counters=counters)


def uplink_pass(name, data, *, interface=world.UPLINK):
    """From the uplink, left to the kernel."""
    add(name, interface, data, PASS)


def from_port(eni, packet, *, port=None, padding=b"", mac=None, dst=None):
    """A frame as the ENI sends it to its router."""
    port = port or world.eni_port(eni)
    return frame(dst or world.port_mac(port), mac or world.eni_mac(eni), packet, padding)


def outbound(name, eni, src, body, *, dst=world.REMOTE, ttl=64, padding=b"", port=None):
    """From an ENI to the Internet."""
    port = port or world.eni_port(eni)
    vpc = world.PORTS[port]
    _, state, public = world.ADDRESSES[vpc, src]
    assert state in ("nat", "cut-through")
    before = body(src, dst, ttl)
    after = body(public, dst, ttl - 1)
    add(
        name,
        port,
        from_port(eni, before, port=port, padding=padding),
        deliver(world.UPLINK, frame(world.NEXT_HOP_MAC, world.UPLINK_MAC, after, padding)),
        counters={public: {"out_packets": 1, "out_bytes": length(before)}},
    )


def hairpin(name, eni, src, eip, body, *, ttl=64, padding=b""):
    """From an ENI to another EIP of this gateway: both translations, one hop."""
    port = world.eni_port(eni)
    public = world.ADDRESSES[world.PORTS[port], src][2]
    _, private, receiver, _ = world.EIPS[eip]
    way = world.eni_port(receiver)
    before = body(src, eip, ttl)
    after = body(public, private, ttl - 1)
    counters = {public: {"out_packets": 1, "out_bytes": length(before)}}
    counters.setdefault(eip, {}).update(in_packets=1, in_bytes=length(before))
    add(
        name,
        port,
        from_port(eni, before, padding=padding),
        deliver(way, frame(world.eni_mac(receiver), world.port_mac(way), after, padding)),
        counters=counters,
    )


def private(name, eni, src, dst, body, *, ttl=64, padding=b"", port=None):
    """Private networking inside a VPC: not a byte of the packet changes."""
    port = port or world.eni_port(eni)
    receiver = world.ADDRESSES[world.PORTS[port], dst][0]
    way = world.eni_port(receiver)
    packet = body(src, dst, ttl)
    add(
        name,
        port,
        from_port(eni, packet, port=port, padding=padding),
        deliver(way, frame(world.eni_mac(receiver), world.port_mac(way), packet, padding)),
    )


# What is looked at only once it is known where the packet goes.
LAST = ("ttl-exceeded", "too-big", "tiny-fragment", "icmp-quote-mismatch")


def port_drop(name, eni, src, dst, body, reason, *, ttl=64, port=None, mac=None, known=True, also=None):
    """From an ENI, dropped; counted for the sender's EIP where its source was accepted (`known`)."""
    port = port or world.eni_port(eni)
    entry = world.ADDRESSES.get((world.PORTS[port], src))
    counters = {}
    if known and entry and entry[2]:
        counters[entry[2]] = {"out_dropped": 1}
    counters.update(also or {})
    data = from_port(eni, body(src, dst, ttl), port=port, mac=mac)
    to = world.UPLINK if reason in LAST and dst == world.REMOTE else None
    add(name, port, data, drop(reason, to), counters=counters)


def raw_case(name, interface, data, expect, **more):
    """Any frame."""
    add(name, interface, data, expect, **more)


def arp(op, sha, spa, tha, tpa, *, dst="ff:ff:ff:ff:ff:ff", src=None, padding=b"", **fields):
    """An ARP frame."""
    packet = ARP(op=op, hwsrc=sha, psrc=spa, hwdst=tha, pdst=tpa, **fields)
    return bytes(Ether(dst=dst, src=src or sha, type=0x0806) / packet) + padding
