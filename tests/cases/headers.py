"""T6, T7, T8 and R5a of IPv6: extension headers (RFC 8200 4)."""

from scapy.all import TCP as ScapyTCP
from scapy.all import UDP as ScapyUDP
from scapy.all import ICMPv6EchoRequest, IPv6ExtHdrHopByHop, IPv6ExtHdrSegmentRouting, Raw

import family
import packets as p
import world
from case import frame, hairpin, inbound, outbound, port_drop, private, uplink_drop, uplink_pass

EIP, ENI, ADDRESS = "203.0.113.10", "a1", "10.0.0.10"
CUT, CUT_ENI = "203.0.113.20", "b2"
TCP, UDP, PING = p.tcp(), p.udp(), p.ping()
HOP, OPTIONS, AH = p.hop_by_hop(), p.destination_options(), p.authentication()
# With the transport header, as many headers as are looked at; as many bytes as they may have.
MOST, LONGEST = 7, 120


def bodies():
    """Chains behind which the transport header is found, or which have none."""
    for name, body in (("tcp", TCP), ("udp", UDP), ("ping", PING)):
        yield f"T6-hop-by-hop-{name}", p.behind(body, HOP)
        yield f"T6-three-headers-{name}", p.behind(body, HOP, p.routing(), OPTIONS)
        yield f"T6-authentication-{name}", p.behind(body, AH)
        yield f"T7-atomic-fragment-{name}", p.behind(body, p.fragment_header())
    yield "T6-destination-options", p.behind(TCP, OPTIONS)
    yield "T6-routing-used-up", p.behind(UDP, p.routing())
    yield "T6-routing-type-0-used-up", p.behind(UDP, p.routing(kind=0))
    yield "T6-options-twice", p.behind(UDP, HOP, OPTIONS, p.routing(), OPTIONS)
    yield "T6-authentication-amid-others", p.behind(TCP, HOP, AH, OPTIONS)
    yield "T6-authentication-odd-length", p.behind(UDP, p.authentication(icv=b"\x5a" * 16))
    yield "T6-sctp", p.behind(p.sctp(), HOP, OPTIONS)
    yield "T6-udplite", p.behind(p.udplite(), OPTIONS)
    yield "T6-dccp", p.behind(p.dccp(), OPTIONS)
    yield "T6-udp-no-checksum", p.behind(p.udp(chksum=0), HOP)
    yield "T6-tcp-wrong", p.wrong(p.behind(TCP, HOP, OPTIONS), 16, 0x0101)
    yield "T6-no-next-header", p.behind(p.other(59), HOP, OPTIONS)
    yield "T6-nothing-behind-them", p.behind(p.other(59, b""), HOP)
    yield "T6-most-headers", p.behind(TCP, *[OPTIONS] * MOST)
    yield "T6-longest-header", p.behind(TCP, p.destination_options(bytes(LONGEST - 2)))
    yield "T6-longest-chain", p.behind(TCP, HOP, p.destination_options(bytes(LONGEST - 10)))
    yield "R5-tcp-header-cut-behind-options", p.cut(p.behind(TCP, OPTIONS), 13)
    big = p.behind(p.tcp(bytes(range(256)) * 2), HOP, OPTIONS)
    yield "T7-behind-hop-by-hop-first", p.fragment(big, 0, 128, more=True)
    yield "T7-behind-hop-by-hop-later", p.fragment(big, 128, 128, more=True)
    yield "T7-behind-hop-by-hop-last", p.fragment(big, 512, 28, more=False)
    # Its protocol is that of what the first fragment begins with: nothing in it is TCP's header.
    yield "T7-options-first-at-8-bytes", p.fragment(big, 8, 64, more=True)
    yield "T7-authentication-behind-fragment", p.fragment(p.behind(UDP, AH), 0, 64, more=True)
    # What looks like one more header is data.
    yield "T7-later-of-options", p.fragment(p.behind(UDP, p.destination_options(bytes(62))), 32, 32, more=True)


def too_long():
    """Chains of which only cut-through takes any number and length."""
    for count in (MOST + 1, MOST + 2, 40):
        yield f"T6-{count}-headers", p.behind(TCP, *[OPTIONS] * count)
        yield f"T6-{count}-headers-udp", p.behind(UDP, *[OPTIONS] * count)
        yield f"T6-{count}-headers-ping", p.behind(PING, *[OPTIONS] * count)
    yield "T6-header-too-long", p.behind(TCP, p.destination_options(bytes(LONGEST + 6)))
    yield "T6-header-of-510-bytes", p.behind(UDP, p.destination_options(bytes(510)))
    yield "T6-chain-too-long", p.behind(TCP, HOP, p.destination_options(bytes(LONGEST - 2)))
    # Segment routing (RFC 8754) through eight segments: 136 bytes.
    yield "T6-eight-segments", through(ScapyUDP(sport=40002, dport=4500) / Raw(p.PAYLOAD), 8)
    yield "T6-fragment-behind-long-headers", p.fragment(p.behind(p.udp(bytes(256)), *[p.hop_by_hop(bytes(LONGEST + 6))]), 0, 64, more=True)


def through(layer, count, *before, left=1):
    """Through segments of which the packet's destination is one: what follows is for the last of them (RFC 8200 8.1), which is the
    first in the list (RFC 8754 2)."""

    def body(src, dst, ttl):
        addresses = [family.address(f"192.0.2.{200 + number}") for number in range(count)]
        addresses[left] = family.address(dst)
        header = IPv6ExtHdrSegmentRouting(addresses=addresses, segleft=left, lastentry=count - 1)
        packet = p.ip(src, dst, ttl)
        for one in (*before, header, layer):
            packet = packet / one
        # The list is not the gateway's to change.
        return bytes(packet).replace(family_bytes(addresses), bytes(16 * count), 1)

    return body


def family_bytes(addresses):
    return b"".join(p.ipaddress.ip_address(address).packed for address in addresses)


def segments():
    """Name and body of packets with segments left, all headers of which are looked through."""
    hop = IPv6ExtHdrHopByHop()
    for name, layer in (
        ("tcp", ScapyTCP(sport=40001, dport=443, seq=7, ack=9, flags="PA") / Raw(p.PAYLOAD)),
        ("udp", ScapyUDP(sport=40002, dport=4500) / Raw(p.PAYLOAD)),
        ("udp-no-checksum", ScapyUDP(sport=40002, dport=4500, chksum=0) / Raw(p.PAYLOAD)),
        ("ping", ICMPv6EchoRequest(id=0x77, seq=1, data=p.PAYLOAD)),
        ("other", Raw(p.PAYLOAD)),
    ):
        yield f"T6-segments-left-{name}", through(layer, 2)
        yield f"T6-segments-left-{name}-of-six", through(layer, 6, left=3)
        yield f"T6-segments-left-{name}-behind-hop-by-hop", through(layer, 3, hop, left=2)
    yield "T6-segments-left-udp-wrong", p.wrong(through(ScapyUDP(sport=1, dport=2) / Raw(p.PAYLOAD), 2), 6, 0x0101)
    yield "T6-segments-left-first-fragment", p.fragment(through(ScapyUDP(sport=1, dport=2) / Raw(bytes(256)), 2), 0, 64, more=True)
    for name, layer in (("udp", ScapyUDP(sport=40002, dport=4500) / Raw(p.PAYLOAD)), ("tcp", ScapyTCP(sport=40001, dport=443) / Raw(p.PAYLOAD)), ("ping", ICMPv6EchoRequest(id=7, data=p.PAYLOAD))):
        yield f"T9-T11-about-segments-left-{name}", p.icmp_error(3, through(layer, 2))


def refused():
    """Name, body and reason of chains that are not gone through to their end."""
    for size in (0, 1, 4, 7):
        yield f"R5-chain-cut-{size}", p.behind(TCP, HOP, size=size), "malformed"
    yield "R5-chain-cut-in-second", p.behind(TCP, HOP, OPTIONS, size=13), "malformed"
    yield "R5-header-over-the-end", p.behind(TCP, p.destination_options(bytes(62)), size=40), "malformed"
    yield "R5-authentication-cut", p.behind(TCP, AH, size=16), "malformed"
    for left in (1, 255):
        yield f"R5a-routing-type-0-left-{left}", p.behind(TCP, p.routing(kind=0, left=left)), "source-route"
    yield "R5a-routing-type-0-behind-others", p.behind(TCP, HOP, OPTIONS, p.routing(kind=0, left=1)), "source-route"
    # RFC 7112: the first fragment has the whole chain.
    first = p.fragment_header(more=True)
    yield "T8-chain-cut-in-first-fragment", p.behind(TCP, first, OPTIONS, size=8 + 4), "tiny-fragment"
    yield "T8-no-chain-in-first-fragment", p.behind(TCP, first, OPTIONS, size=8), "tiny-fragment"


def tiny():
    """First fragments that have all of the chain, but not the transport checksum."""
    big = p.behind(p.tcp(bytes(range(256))), HOP, OPTIONS)
    yield "T8-options-and-8-bytes-of-tcp", p.fragment(big, 0, 16, more=True)
    yield "T8-options-only", p.fragment(big, 0, 8, more=True)
    yield "T8-4-bytes-of-udp", p.behind(UDP, p.fragment_header(more=True), size=8 + 4)


def generate():
    for name, body in bodies():
        inbound(f"{name}-in", EIP, body)
        outbound(f"{name}-out", ENI, ADDRESS, body)
        hairpin(f"{name}-hairpin", "d1", "10.0.0.20", "203.0.113.11", body)
        inbound(f"T14-{name}-in", CUT, body)
        outbound(f"T14-{name}-out", CUT_ENI, CUT, body)
        private(f"O11-{name}", ENI, ADDRESS, "10.0.0.20", body)
    for name, body in segments():
        inbound(f"{name}-in", EIP, body)
        outbound(f"{name}-out", ENI, ADDRESS, body)
        hairpin(f"{name}-hairpin", "d1", "10.0.0.20", "203.0.113.11", body)
        hairpin(f"{name}-nat-to-cut-through", ENI, ADDRESS, CUT, body)
        hairpin(f"{name}-cut-through-to-nat", CUT_ENI, CUT, "203.0.113.32", body)
        inbound(f"T14-{name}-in", CUT, body)
        outbound(f"T14-{name}-out", CUT_ENI, CUT, body)
        private(f"O11-{name}", ENI, ADDRESS, "10.0.0.20", body)
    for name, body in too_long():
        reason = "headers-too-long"
        uplink_drop(f"{name}-in", EIP, body, reason)
        port_drop(f"{name}-out", ENI, ADDRESS, world.REMOTE, body, reason)
        both = {"203.0.113.32": {"out_dropped": 1}, "203.0.113.11": {"in_dropped": 1}}
        port_drop(f"{name}-hairpin", "d1", "10.0.0.20", "203.0.113.11", body, reason, also=both)
        both = {CUT: {"out_dropped": 1}, "203.0.113.32": {"in_dropped": 1}}
        port_drop(f"{name}-cut-through-to-nat", CUT_ENI, CUT, "203.0.113.32", body, reason, also=both)
        port_drop(f"{name}-private", ENI, ADDRESS, "10.0.0.20", body, reason, known=False)
        inbound(f"T14-{name}-in", CUT, body)
        outbound(f"T14-{name}-out", CUT_ENI, CUT, body)
        hairpin(f"T14-{name}-hairpin", CUT_ENI, CUT, "198.18.7.20", body)
        # R5a and O17 hold as before.
        uplink_drop(f"O15-{name}", CUT, body, "martian", src="203.0.113.10")
        port_drop(f"O17-{name}", CUT_ENI, CUT, "fe80::1234", body, "martian-destination")
    for name, body, reason in refused():
        uplink_drop(f"{name}-in", EIP, body, reason)
        uplink_drop(f"{name}-cut-through-in", CUT, body, reason)
        uplink_pass(f"O4-{name}", frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, body(world.REMOTE, world.HOST, 64)))
        port_drop(f"{name}-out", ENI, ADDRESS, world.REMOTE, body, reason, known=False, early=True)
        port_drop(f"{name}-cut-through-out", CUT_ENI, CUT, world.REMOTE, body, reason, known=False, early=True)
        port_drop(f"{name}-private", ENI, ADDRESS, "10.0.0.20", body, reason, known=False)
    for name, body in tiny():
        uplink_drop(f"{name}-in", EIP, body, "tiny-fragment")
        port_drop(f"{name}-out", ENI, ADDRESS, world.REMOTE, body, "tiny-fragment")
        inbound(f"T14-{name}-in", CUT, body)
        if name == "T8-options-and-8-bytes-of-tcp":
            private(f"O11-{name}", ENI, ADDRESS, "10.0.0.20", body)
        else:
            port_drop(f"O11-{name}", ENI, ADDRESS, "10.0.0.20", body, "tiny-fragment", known=False)
