"""What a case is, and the few shapes in which cases come."""

import struct

from scapy.all import ARP, Ether

import family
import packets as p
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


def add(name, interface, packet, expect, *, xdp=None, counters=None, lost=None, events=()):
    """Adds a case, on an interface or a port. `xdp="pass"`: the XDP program leaves it to the tc program, `"early"`: before it
    looks where the packet goes. `lost`: the counters where there is no uplink to send to, if those do not follow from `counters`."""
    interface = world.link(interface)[0]
    assert name not in NAMES, name
    NAMES.add(name)
    case = {"name": name, "interface": interface, "in": bytes(packet).hex(), "expect": expect}
    if xdp is not None:
        case["xdp"] = xdp
    case["counters"] = {family.address(k): v for k, v in (counters or {}).items() if v}
    if lost is not None:
        case["lost"] = {family.address(k): v for k, v in lost.items()}
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


# Left to the kernel, untouched.
PASS = {"verdict": "pass"}
# Put into the map of guests' requests, for the daemon.
DAEMON = {"verdict": "daemon"}

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
    return ["ah-translated"] if "nat" in modes and p.is_authenticated(packet) else []


def inbound(name, eip, body, *, src=world.REMOTE, ttl=64, padding=b"", uplink=world.UPLINK, vlan=0, xdp=None):
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
        xdp=xdp,
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
    error = p.error(reason, world.HOST, src, packet, mtu)
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


def outbound(name, eni, src, body, *, dst=world.REMOTE, ttl=64, padding=b"", port=None, xdp=None):
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
        xdp=xdp,
    )


def to_neighbour(name, eni, src, body, *, dst=world.NEIGHBOUR, ttl=64, padding=b"", xdp="pass"):
    """From an ENI to somebody on the uplink's own link, whom the kernel finds."""
    port = world.eni_port(eni)
    _, state, public = world.ADDRESSES[world.PORTS[port], src]
    before = body(src, dst, ttl)
    after = body(public, dst, ttl - 1)
    mac = world.NEXT_HOP_MAC if dst == world.NEXT_HOP else world.NEIGHBOUR_MAC
    data = frame(mac, world.UPLINK_MAC, after, fitting(after, padding, world.ON_LINK_MTU))
    add(
        name,
        port,
        from_port(eni, before, padding=padding),
        {"verdict": "neighbour", "to": world.UPLINK, "out": data.hex()},
        xdp=xdp,
        counters={public: {"out_packets": 1, "out_bytes": length(before)}},
        events=events_of(before, state),
    )


def fragmented(name, interface, whole, packet, after, mtu, to, finish, *, lost=None, neighbour=False):
    """Larger than the way out: cut where it came in, and each fragment goes on as any packet. `whole` makes a frame of a packet that
    comes in, `finish` of one that leaves; `after` is the packet as it would leave."""
    out = whole(p.cut_up(packet, mtu)[-1])
    sent = [finish(piece).hex() for piece in p.cut_up(after, mtu)]
    expect = {"verdict": "fragment", "to": to, "out": out.hex(), "sent": sent, "neighbour": neighbour}
    add(name, interface, whole(packet), expect, xdp="pass", lost=lost, events=["fragmented"])


def fragmented_in(name, eip, body, *, ttl=64, vlan=0):
    """From the Internet to an ENI."""
    _, private, eni, _ = world.EIPS[eip]
    port = world.eni_port(eni)
    interface, port_vlan = world.link(port)
    fragmented(
        name,
        world.UPLINK,
        lambda packet: frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, packet, vlan=vlan),
        body(world.REMOTE, eip, ttl),
        body(world.REMOTE, private, ttl - 1),
        world.MTUS[port],
        interface,
        lambda packet: frame(world.eni_mac(eni), world.port_mac(port), packet, vlan=port_vlan),
    )


def fragmented_out(name, eni, src, body, *, dst=world.REMOTE, ttl=64, padding=b""):
    """From an ENI to the Internet, or to a neighbour."""
    public = world.ADDRESSES[world.PORTS[world.eni_port(eni)], src][2]
    mtu, mac = (world.MTU, world.NEXT_HOP_MAC) if dst == world.REMOTE else (world.ON_LINK_MTU, world.NEIGHBOUR_MAC)
    before = body(src, dst, ttl)
    fragmented(
        name,
        world.eni_port(eni),
        lambda packet: from_port(eni, packet, padding=padding if packet == before else b""),
        before,
        body(public, dst, ttl - 1),
        mtu,
        world.UPLINK,
        lambda packet: frame(mac, world.UPLINK_MAC, packet),
        lost={public: {"out_dropped": 1}},
        neighbour=dst != world.REMOTE,
    )


def fragmented_between(name, eni, src, dst, body, *, ttl=64):
    """From an ENI to another EIP, or within the VPC."""
    vpc = world.PORTS[world.eni_port(eni)]
    _, _, public = world.ADDRESSES[vpc, src]
    if dst in world.EIPS:
        _, private, receiver, _ = world.EIPS[dst]
        after = body(public, private, ttl - 1)
    else:
        receiver, after = world.ADDRESSES[vpc, dst][0], body(src, dst, ttl)
    port = world.eni_port(receiver)
    interface, vlan = world.link(port)
    fragmented(
        name,
        world.eni_port(eni),
        lambda packet: from_port(eni, packet),
        body(src, dst, ttl),
        after,
        world.MTUS[port],
        interface,
        lambda packet: frame(world.eni_mac(receiver), world.port_mac(port), packet, vlan=vlan),
    )


def hairpin(name, eni, src, eip, body, *, ttl=64, padding=b"", xdp=None):
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
        xdp=xdp,
    )


def private(name, eni, src, dst, body, *, ttl=64, padding=b"", port=None, xdp=None):
    """Private networking inside a VPC: not a byte of the packet changes."""
    port = port or world.eni_port(eni)
    receiver = world.ADDRESSES[world.PORTS[port], dst][0]
    packet = body(src, dst, ttl)
    add(
        name,
        port,
        from_port(eni, packet, port=port, padding=padding),
        to_eni(receiver, packet, padding),
        xdp=xdp,
    )


# What is looked at only once it is known where the packet goes.
LAST = ("ttl-exceeded", "too-big", "tiny-fragment", "icmp-quote-mismatch", "address-option", "headers-too-long")


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
    to = world.UPLINK if reason in LAST and world.is_behind_next_hop(dst) and not early else None
    add(name, port, data, drop(reason, to), counters=sender_counters(port, src, known, also), xdp=xdp)


def port_told(name, eni, src, dst, body, reason, *, mtu=0, ttl=64, known=True, also=None, padding=b""):
    """From an ENI, dropped, and its sender is told."""
    port = world.eni_port(eni)
    packet = body(src, dst, ttl)
    error = p.error(reason, world.router_of(eni, src), src, packet, mtu)
    add(
        name,
        port,
        from_port(eni, packet, padding=padding),
        refuse(reason, frame(world.eni_mac(eni), world.port_mac(port), error, vlan=world.link(port)[1]), world.UPLINK if world.is_behind_next_hop(dst) else None),
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
