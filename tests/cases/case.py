"""What a case is, and the few shapes in which cases come."""

import struct

from scapy.all import ARP, Ether

import family
import packets
import world

CASES = []
NAMES = set()


def start():
    """Begins another table."""
    CASES.clear()
    NAMES.clear()


def frame(dst, src, packet, padding=b"", vlan=0):
    """An Ethernet frame around an IP packet, every field of which scapy computes from scratch."""
    return tagged(bytes(Ether(dst=dst, src=src, type=family.pick(0x0800, 0x86DD))) + packet + padding, vlan)


def tagged(data, control):
    """A frame with a tag of 802.1Q; none for 0. `control`: the VLAN, below three bits of priority and one more. Of two, the outer
    one first, it is of 802.1ad."""
    if isinstance(control, tuple):
        outer, control = control
        return stacked(tagged(data, control), outer)
    return data[:12] + struct.pack("!HH", 0x8100, control) + data[12:] if control else data


def stacked(data, control):
    """A frame with a tag of 802.1ad outside of all that it has."""
    return data[:12] + struct.pack("!HH", 0x88A8, control) + data[12:]


def fitting(packet, padding, mtu):
    """Padding that does not fit the way out is cut off."""
    return padding if len(packet) + len(padding) <= mtu else b""


def to_eni(eni, packet, padding=b""):
    """The frame in which an ENI gets a packet from its router, and the interface that it leaves by."""
    port = world.eni_port(eni)
    interface, vlan = world.link(port)
    padding = fitting(packet, padding, world.MTUS.get(port, world.MTU))
    return deliver(interface, frame(world.eni_mac(eni), world.port_mac(port), packet, padding, vlan))


def add(name, interface, packet, expect, *, xdp=None, counters=None, events=()):
    """Adds a case, on an interface or a port. `xdp="pass"`: the XDP program leaves it to the tc program."""
    interface = world.link(interface)[0]
    assert name not in NAMES, name
    NAMES.add(name)
    case = {"name": name, "interface": interface, "in": bytes(packet).hex(), "expect": expect}
    if xdp is not None:
        case["xdp"] = xdp
    case["counters"] = {family.address(k): v for k, v in (counters or {}).items() if v}
    if events:
        case["events"] = list(events)
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


def fragments(data):
    """Given to the kernel, translated, to be sent in fragments."""
    return {"verdict": "kernel", "out": data.hex()}


PASS = {"verdict": "pass"}

# How the event of an ICMP error is called, by the reason that it tells.
TOLD = {"ttl-exceeded": "time-exceeded-sent", "too-big": "too-big-sent"}


def refuse(reason, data, to=None):
    """Not delivered, and answered out of the interface that it came from; `to` as for `drop`."""
    return {"verdict": "refuse", "reason": reason, "out": data.hex(), **({"to": to} if to else {})}


def length(packet):
    """The packet's length by its header: what the counters call bytes."""
    return int.from_bytes(packet[4:6], "big") + 40 if family.is6() else int.from_bytes(packet[2:4], "big")


def events_of(packet, *modes):
    """What happens to an authentication header where an address is translated."""
    return ["ah-translated"] if "nat" in modes and packets.is_authenticated(packet) else []


def inbound(name, eip, body, *, src=world.REMOTE, ttl=64, padding=b"", uplink=world.UPLINK, vlan=0):
    """From the Internet to an ENI: `body(src, dst, ttl)` builds the packet before and after."""
    mode, private, eni, _ = world.EIPS[eip]
    assert mode in ("nat", "cut-through")
    before = body(src, eip, ttl)
    after = body(src, private, ttl - 1)
    mac = {world.UPLINK: world.UPLINK_MAC, world.UPLINK2: world.UPLINK2_MAC}[uplink]
    add(
        name,
        uplink,
        frame(mac, world.NEXT_HOP_MAC, before, padding, vlan),
        to_eni(eni, after, padding),
        counters={eip: {"in_packets": 1, "in_bytes": length(before)}},
        events=events_of(before, mode),
    )


def uplink_drop(name, dst, body, reason, *, src=world.REMOTE, ttl=64, padding=b"", known=True, xdp=None, uplink=world.UPLINK):
    """From the Internet, dropped; counted for the EIP where there is one that was looked at (`known`)."""
    counters = {dst: {"in_dropped": 1}} if known and dst in world.EIPS else {}
    mac = {world.UPLINK: world.UPLINK_MAC, world.UPLINK2: world.UPLINK2_MAC}[uplink]
    data = frame(mac, world.NEXT_HOP_MAC, body(src, dst, ttl), padding)
    add(name, uplink, data, drop(reason), counters=counters, xdp=xdp)


def uplink_told(name, dst, body, reason, *, mtu=0, src=world.REMOTE, ttl=64, padding=b"", vlan=0):
    """From the Internet, dropped, and its sender is told."""
    packet = body(src, dst, ttl)
    error = packets.error(reason, world.HOST, src, packet, mtu)
    add(
        name,
        world.UPLINK,
        frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, packet, padding, vlan),
        refuse(reason, frame(world.NEXT_HOP_MAC, world.UPLINK_MAC, error, vlan=vlan)),
        xdp="pass",
        counters={dst: {"in_dropped": 1}},
        events=[TOLD[reason]],
    )


def uplink_pass(name, data, *, interface=world.UPLINK):
    """From the uplink, left to the kernel."""
    add(name, interface, data, PASS)


def from_port(eni, packet, *, port=None, padding=b"", mac=None, dst=None):
    """A frame as the ENI sends it to its router."""
    port = port or world.eni_port(eni)
    return frame(dst or world.port_mac(port), mac or world.eni_mac(eni), packet, padding, world.link(port)[1])


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
        deliver(world.UPLINK, frame(world.NEXT_HOP_MAC, world.UPLINK_MAC, after, fitting(after, padding, world.MTU))),
        counters={public: {"out_packets": 1, "out_bytes": length(before)}},
        events=events_of(before, state),
    )


def fragmented(name, eni, src, body, *, dst=world.REMOTE, ttl=64):
    """From an ENI to the Internet, larger than the way: the kernel routes and cuts what is translated."""
    public = world.ADDRESSES[world.PORTS[world.eni_port(eni)], src][2]
    before = body(src, dst, ttl)
    add(
        name,
        world.eni_port(eni),
        from_port(eni, before),
        {**fragments(from_port(eni, body(public, dst, ttl))), "to": world.UPLINK},
        xdp="pass",
        counters={public: {"out_packets": 1, "out_bytes": length(before)}},
        events=["fragmented"],
    )


def hairpin(name, eni, src, eip, body, *, ttl=64, padding=b""):
    """From an ENI to another EIP of this gateway: both translations, one hop."""
    port = world.eni_port(eni)
    _, state, public = world.ADDRESSES[world.PORTS[port], src]
    mode, private, receiver, _ = world.EIPS[eip]
    before = body(src, eip, ttl)
    after = body(public, private, ttl - 1)
    counters = {public: {"out_packets": 1, "out_bytes": length(before)}}
    counters.setdefault(eip, {}).update(in_packets=1, in_bytes=length(before))
    add(
        name,
        port,
        from_port(eni, before, padding=padding),
        to_eni(receiver, after, padding),
        counters=counters,
        events=events_of(before, state, mode),
    )


def private(name, eni, src, dst, body, *, ttl=64, padding=b"", port=None):
    """Private networking inside a VPC: not a byte of the packet changes."""
    port = port or world.eni_port(eni)
    receiver = world.ADDRESSES[world.PORTS[port], dst][0]
    packet = body(src, dst, ttl)
    add(
        name,
        port,
        from_port(eni, packet, port=port, padding=padding),
        to_eni(receiver, packet, padding),
    )


# What is looked at only once it is known where the packet goes.
LAST = ("ttl-exceeded", "too-big", "tiny-fragment", "icmp-quote-mismatch")


def sender_counters(port, src, known, also):
    entry = world.ADDRESSES.get((world.PORTS[port], src))
    counters = {}
    if known and entry and entry[2]:
        counters[entry[2]] = {"out_dropped": 1}
    counters.update(also or {})
    return counters


def port_drop(name, eni, src, dst, body, reason, *, ttl=64, port=None, mac=None, known=True, also=None, xdp=None, early=False):
    """From an ENI, dropped; counted for the sender's EIP where its source was accepted (`known`). `early`: the reason is
    found first, where most of its kind are found last."""
    port = port or world.eni_port(eni)
    data = from_port(eni, body(src, dst, ttl), port=port, mac=mac)
    to = world.UPLINK if reason in LAST and dst == world.REMOTE and not early else None
    add(name, port, data, drop(reason, to), counters=sender_counters(port, src, known, also), xdp=xdp)


def port_told(name, eni, src, dst, body, reason, *, mtu=0, ttl=64, known=True, also=None, padding=b""):
    """From an ENI, dropped, and its sender is told."""
    port = world.eni_port(eni)
    packet = body(src, dst, ttl)
    error = packets.error(reason, world.router_of(eni, src), src, packet, mtu)
    add(
        name,
        port,
        from_port(eni, packet, padding=padding),
        refuse(reason, frame(world.eni_mac(eni), world.port_mac(port), error, vlan=world.link(port)[1]), world.UPLINK if dst == world.REMOTE else None),
        xdp="pass",
        counters=sender_counters(port, src, known, also),
        events=[TOLD[reason]],
    )


def raw_case(name, interface, data, expect, **more):
    """Any frame."""
    add(name, interface, data, expect, **more)


def arp(op, sha, spa, tha, tpa, *, dst="ff:ff:ff:ff:ff:ff", src=None, padding=b"", **fields):
    """An ARP frame."""
    packet = ARP(op=op, hwsrc=sha, psrc=spa, hwdst=tha, pdst=tpa, **fields)
    return bytes(Ether(dst=dst, src=src or sha, type=0x0806) / packet) + padding
