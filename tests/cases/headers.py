"""T6, T7, T8 and R5a of IPv6: extension headers (RFC 8200 4)."""

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


def refused():
    """Name, body and reason of chains that are not gone through to their end."""
    for count in (MOST + 1, MOST + 2):
        yield f"T6-{count}-headers", p.behind(TCP, *[OPTIONS] * count), "headers-too-long"
    yield "T6-header-too-long", p.behind(TCP, p.destination_options(bytes(LONGEST + 6))), "headers-too-long"
    yield "T6-chain-too-long", p.behind(TCP, HOP, p.destination_options(bytes(LONGEST - 2))), "headers-too-long"
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
    for name, body, reason in refused():
        uplink_drop(f"{name}-in", EIP, body, reason)
        uplink_drop(f"{name}-cut-through-in", CUT, body, reason)
        uplink_pass(f"O4-{name}", frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, body(world.REMOTE, world.HOST, 64)))
        port_drop(f"{name}-out", ENI, ADDRESS, world.REMOTE, body, reason, known=False, early=True)
        port_drop(f"{name}-private", ENI, ADDRESS, "10.0.0.20", body, reason, known=False)
    for name, body in tiny():
        uplink_drop(f"{name}-in", EIP, body, "tiny-fragment")
        port_drop(f"{name}-out", ENI, ADDRESS, world.REMOTE, body, "tiny-fragment")
        inbound(f"T14-{name}-in", CUT, body)
        private(f"O11-{name}", ENI, ADDRESS, "10.0.0.20", body)
