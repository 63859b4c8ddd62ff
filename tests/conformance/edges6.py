"""IPv6 at the edges: what an attacker sends on his link, to the host, and with headers that he may
choose."""

import ipaddress
import struct

import packets6 as p
import virtio
from chapters6 import expired, sized, too_big
from scapy.all import Raw
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, PadN, in6_chksum
from suite import BOGONS, HEADERS, HOST, LINK, OFFLOADS, PATTERN, SIZES, TAGS, arrives, sent

SOLICITATION, ADVERTISEMENT = 135, 136
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, REDIRECT = 133, 134, 137
ALL_NODES = "ff02::1"
OPEN = ["traffic_class", "flow_label", "hop_limit", "quoted_ttl"]


def packed(address):
    return ipaddress.ip_address(address).packed


def solicited(address):
    """RFC 4291 2.7.1."""
    return str(ipaddress.ip_address(packed("ff02::1:ff00:0")[:13] + packed(address)[13:]))


def multicast_mac(address):
    """RFC 2464 7."""
    return "33:33:" + ":".join(f"{byte:02x}" for byte in packed(address)[12:])


def link_local(mac):
    """RFC 4291, appendix A."""
    first, *rest = bytes.fromhex(mac.replace(":", ""))
    return str(ipaddress.ip_address(packed("fe80::")[:8] + bytes([first ^ 2, *rest[:2], 0xFF, 0xFE, *rest[2:]])))


def option(kind, mac):
    """A link-layer address."""
    return bytes([kind, 1]) + bytes.fromhex(mac.replace(":", ""))


def discovery(kind, target=None, options=b"", *, flags=0, code=0, **more):
    """A message of neighbour discovery: 4 bytes of flags, a target, options."""
    rest = struct.pack("!I", flags)
    return p.icmp(kind, code, (packed(target) if target else b"") + options, rest=rest, fl=0, **more)


def router_advertisement(mac, code=0, **more):
    """RFC 4861 4.2: a default router for half an hour."""
    prefix = bytes([3, 4, 64, 0xC0]) + struct.pack("!III", 1800, 1800, 0) + packed("2001:db8:bad::")
    return p.icmp(ROUTER_ADVERTISEMENT, code, bytes(8) + option(1, mac) + prefix, rest=struct.pack("!BBH", 64, 0, 1800), fl=0, **more)


def redirect(target, destination, mac):
    """RFC 4861 4.5."""
    return lambda **more: discovery(REDIRECT, target, packed(destination) + option(2, mac), **more)


def behind(made):
    """Name and body of a message behind every kind of header, and in fragments; `made` builds it
    behind some."""
    for name, headers in (
        ("hop-by-hop", [p.PADDING]),
        ("router-alert", [p.ALERT]),
        ("destination-options", [p.DESTINATION]),
        ("64-bytes-of-options", [p.LONG]),
        ("a-routing-header", [p.ROUTED]),
        ("two-headers", [p.PADDING, p.DESTINATION]),
        ("ten-headers", [p.DESTINATION] * 10),
    ):
        yield f"behind-{name}", made(before=headers)
    whole = made(before=())
    yield "in-an-atomic-fragment", p.fragment(whole, 0, 1400, more=False)
    yield "in-a-first-fragment", p.fragment(whole, 0, 24, more=True)
    yield "in-a-first-fragment-of-8-bytes", p.fragment(whole, 0, 8, more=True)
    yield "in-an-atomic-fragment-behind-options", p.fragment(made(before=[p.DESTINATION]), 0, 1400, more=False, chain=8)
    yield "behind-options-in-an-atomic-fragment", p.fragment(made(before=[p.DESTINATION]), 0, 1400, more=False)


def hostile_solicitations(suite):
    """RFC 4861 7.1.1: what a guest's solicitation has to be like."""
    bed = suite.bed
    a, cut, gateway = bed.guests["a"], bed.guests["c"], bed.network_gateway
    group, own = solicited(gateway), option(1, a.mac)

    def asked(name, ids, side, body, source, target, reply=None, *, ttl=255, to=None, host=0, **more):
        """A message, and the advertisement or nothing."""
        multicast = multicast_mac(target) if packed(target)[0] == 0xFF else None
        send = [sent(side, body(source, target, ttl), **({"to_mac": to or multicast} if to or multicast else {}), **more)]
        suite.add(name, ids, send, [arrives(side, reply)] if reply else [], cut=side == "c", host=host)

    def reply(guest, address, source):
        # A router, asked, and its own address (RFC 4861 4.4).
        return discovery(ADVERTISEMENT, address, option(2, guest.port_mac), flags=0xE0000000)(address, source, 255)

    honest = discovery(SOLICITATION, gateway, own)
    suite.chapter(LINK, "RFC 4861 7.2.4", tenants=True)
    asked("R9-ns-for-the-gateway", "R9", "a", honest, a.private, group, reply(a, gateway, a.private))
    asked("R9-ns-for-the-gateway-unicast", "R9", "a", honest, a.private, gateway, reply(a, gateway, a.private))
    local = link_local(a.mac)
    asked("R9-ns-for-the-gateway-from-link-local", "R9", "a", honest, local, group, reply(a, gateway, local))
    nonce = discovery(SOLICITATION, gateway, own + b"\x0e\x01abcdef")
    asked("R9-ns-for-the-gateway-with-a-nonce", "R9", "a", nonce, a.private, group, reply(a, gateway, a.private))
    pool = bed.pool_gateway
    cut_asks = discovery(SOLICITATION, pool, option(1, cut.mac))
    asked("R9-ns-for-the-gateway-cut-through", "R9", "c", cut_asks, cut.public, solicited(pool), reply(cut, pool, cut.public))
    suite.chapter(LINK, "RFC 4861 7.1.1", tenants=True)
    for hops in (254, 64, 1, 0):
        asked(f"R9-ns-of-hop-limit-{hops}", "R9", "a", honest, a.private, group, ttl=hops)
    for name, body, source, target in (
        ("wrong-checksum", p.wrong(honest, p.HEADER + 2, 0x0101), a.private, group),
        ("code-1", discovery(SOLICITATION, gateway, own, code=1), a.private, group),
        ("of-23-bytes", p.icmp(SOLICITATION, 0, packed(gateway)[:15], rest=bytes(4)), a.private, group),
        ("of-8-bytes", p.icmp(SOLICITATION, 0, b"", rest=bytes(4)), a.private, group),
        ("for-multicast", discovery(SOLICITATION, "ff02::1:ff00:1", own), a.private, group),
        ("option-of-no-length", discovery(SOLICITATION, gateway, b"\x01\x00" + own[2:]), a.private, group),
        ("second-option-of-no-length", discovery(SOLICITATION, gateway, own + b"\x0e\x00" + bytes(6)), a.private, group),
        ("unspecified-to-unicast", discovery(SOLICITATION, gateway), "::", gateway),
        ("unspecified-to-all-nodes", discovery(SOLICITATION, gateway), "::", ALL_NODES),
        ("unspecified-with-an-address", honest, "::", group),
    ):
        asked(f"R9-ns-{name}", "R9", "a", body, source, target)
    suite.chapter(LINK, "RFC 4862 5.4.3", tenants=True)
    probe = discovery(SOLICITATION, a.private)
    asked("R9-ns-probe-for-its-own-address", "R9", "a", probe, "::", solicited(a.private))
    probe = discovery(SOLICITATION, local)
    asked("R9-ns-probe-for-its-own-link-local", "R9", "a", probe, "::", solicited(local))
    for name, body in behind(lambda **more: discovery(SOLICITATION, gateway, own, **more)):
        fragmented = "fragment" in name
        suite.chapter(LINK, "RFC 6980 5" if fragmented else "RFC 7113", policy=not fragmented, tenants=True)
        asked(f"R9-ns-{name}", "R9", "a", body, a.private, group)
    suite.chapter(LINK, "RFC 4861 7.2.3", policy=True, tenants=True)
    neighbour = bed.inside("b")
    for name, source in (("a-neighbour", neighbour), ("the-gateway", gateway), ("its-eip", a.public), ("nobody", "fd00:10::99")):
        asked(f"O9-ns-in-the-name-of-{name}", "O9 R9", "a", honest, source, group)


def hostile_answers(suite):
    """What makes somebody a router, or another's address his own: it does not leave the sender's
    port."""
    bed = suite.bed
    a, b, gateway = bed.guests["a"], bed.guests["b"], bed.network_gateway
    local, router = link_local(a.mac), link_local(b.port_mac)
    messages = (
        ("ra", "RFC 4861 6.1.2", lambda **more: router_advertisement(a.mac, **more)),
        ("na", "RFC 4861 7.1.2", lambda **more: discovery(ADVERTISEMENT, gateway, option(2, a.mac), flags=0x20000000, **more)),
        ("na-as-a-router", "RFC 4861 7.1.2", lambda **more: discovery(ADVERTISEMENT, router, option(2, a.mac), flags=0xA0000000, **more)),
        ("redirect", "RFC 4861 8.1", redirect(a.private, bed.remote, a.mac)),
    )
    for name, rfc, made in messages:
        # What does not pass there is for nobody to believe; that it does not come at all is what
        # tenants are promised.
        suite.chapter(LINK, rfc, tenants=True)
        ids = "O11 O19"
        for who, source in (("itself", a.private), ("its-link-local", local), ("the-gateway", gateway), ("the-gateways-link-local", router)):
            for where, target in (("all-nodes", ALL_NODES), ("a-neighbour", b.private)):
                more = {"to_mac": multicast_mac(ALL_NODES)} if target == ALL_NODES else {}
                suite.vanishes(f"O11-{name}-as-{who}-to-{where}", ids, made(), ("a", (source, target)), ttl=255, **more)
        for where, body in behind(made):
            fragmented = "fragment" in where
            suite.chapter(LINK, "RFC 6980 5" if fragmented else "RFC 7113 2", policy=not fragmented, tenants=True)
            suite.vanishes(f"O11-{name}-{where}", ids, body, suite.way_private(), ttl=255)
        suite.chapter(LINK, rfc, policy=True, tenants=True)
        suite.vanishes(f"O11-{name}-of-hop-limit-64", ids, made(), suite.way_private())
        suite.vanishes(f"O11-{name}-without-an-eip", ids, made(), suite.way_private("n", "b"), ttl=255)
        suite.vanishes(f"O10-{name}-cut-through", "O10 O19", made(), ("c", (bed.inside("c"), b.private)), ttl=255)
        suite.vanishes(f"O14-{name}-to-another-vpc", "O14 O19", made(), ("a", (a.private, bed.guests["o"].private)), ttl=255)
    suite.chapter(LINK, policy=True, tenants=True)
    side, addresses, at, _ = suite.way_private()
    for name, body in (("udp", p.udp()), ("tcp", p.tcp()), ("ping", p.ping()), ("udp-behind-options", p.udp(before=[p.DESTINATION]))):
        suite.add(f"O11-private-{name}", "O11", [sent(side, body(*addresses, 64))], [arrives(at, body(*addresses, 64))])


def dhcp(source, destination):
    """A DHCPv6 message; what is in it nobody here reads."""

    def made(before=()):
        return p.of(*before, p.UDP(sport=source, dport=destination), Raw(b"\x07\x12\x34\x56" + bytes(40)))

    return made


def hostile_dhcp(suite):
    """RFC 7610: servers' messages of a guest, whatever stands in front of them."""
    bed = suite.bed
    made = dhcp(547, 546)
    suite.chapter(LINK, "RFC 7610 5", tenants=True)
    way = suite.way_private()
    suite.vanishes("O11-dhcpv6-answer", "O11 R10", made(), way)
    suite.vanishes("O11-dhcpv6-answer-hop-limit-255", "O11 R10", made(), way, ttl=255)
    for name, body in behind(made):
        suite.vanishes(f"O11-dhcpv6-answer-{name}", "O11 R10", body, way)
    # RFC 7112: the first fragment has all headers. Else nobody can tell what it is.
    hidden = made(before=[p.DESTINATION])
    parts = [p.fragment(hidden, 0, 8, more=True, identification=0xDC01), p.fragment(made(), 0, 0x500, more=False, identification=0xDC01)]
    side, addresses, at, _ = way
    first = parts[0](*addresses, 64)
    later = bytearray(parts[1](*addresses, 64))
    later[p.HEADER : p.HEADER + 4] = struct.pack("!BBH", 60, 0, 8)
    send = [sent(side, first), sent(side, later)]
    suite.chapter(LINK, "RFC 7610 5, RFC 7112 5", tenants=True)
    suite.add("O11-dhcpv6-answer-in-a-later-fragment", "O11 R10", send, [], [arrives(at, later)])
    suite.chapter(LINK, "RFC 7610 5", tenants=True)
    a = bed.inside("a")
    for name, target in (("all-nodes", ALL_NODES), ("all-agents", "ff02::1:2")):
        suite.vanishes(f"O11-dhcpv6-answer-to-{name}", "O11 O17 R10", made(), ("a", (a, target)), to_mac=multicast_mac(target))
    local = link_local(bed.guests["a"].mac)
    suite.vanishes("O11-dhcpv6-answer-from-link-local", "O11 R10", made(), ("a", (local, bed.inside("b"))))
    suite.vanishes("O11-dhcpv6-answer-to-link-local", "O11 R10", made(), ("a", (local, link_local(bed.guests["b"].mac))))
    suite.vanishes("O11-dhcpv6-answer-without-an-eip", "O11 R10", made(), suite.way_private("n", "b"))
    suite.chapter(LINK, "RFC 8200 3")
    for name, body in (("request", dhcp(546, 547)()), ("answer", made())):
        suite.passes(f"O7-dhcpv6-{name}-to-the-internet", "O7 T14", body, suite.way_out("c"))
        suite.passes(f"O2-dhcpv6-{name}-from-the-internet", "O2 T14", body, suite.way_in("c"))


def discovery_on_the_uplink(suite):
    """Types of neighbour discovery for a pool's address: of this link, or somebody's, or dropped;
    never sent back."""
    bed = suite.bed
    mac, hop = bed.next_hop_mac, bed.next_hop
    eip, nobody = bed.guests["a"].public, bed.unassociated
    bodies = (
        ("rs", lambda target, **more: discovery(ROUTER_SOLICITATION, None, option(1, mac), **more)),
        ("ra", lambda target, **more: router_advertisement(mac, **more)),
        ("ns", lambda target, **more: discovery(SOLICITATION, target, option(1, mac), **more)),
        ("na", lambda target, **more: discovery(ADVERTISEMENT, target, option(2, mac), flags=0x60000000, **more)),
        ("redirect", lambda target, **more: redirect(target, bed.remote, mac)(**more)),
    )

    def somebodys(name, ids, body, target, ttl, source=None):
        """An ICMPv6 message for its owner, if there is one, or nothing."""
        source = source or bed.remote
        owned = [arrives("a", body(source, bed.inside("a"), ttl - 1))] if target == eip and ttl > 1 else None
        suite.add(name, ids, [sent("internet", body(source, target, ttl))], [], owned)

    def told_about(target, source):
        """An EIP that is routed here need not be answered for, and may be."""
        made = discovery(ADVERTISEMENT, target, option(2, bed.uplink_mac), flags=0x60000000)
        return arrives("internet", made(target, source, 255))

    for name, made in bodies:
        for whose, target in (("an-eip", eip), ("nobodys", nobody), ("the-pools-gateway", bed.pool_gateway)):
            suite.chapter(LINK, "RFC 4861 6.1, 7.1, 8.1", tenants=True)
            for hops in (254, 64, 2):
                somebodys(f"O20-{name}-of-hop-limit-{hops}-to-{whose}", "O20", made(target), target, hops)
            for kind, body in (
                ("code-1", made(target, code=1)),
                ("wrong-checksum", p.wrong(made(target), p.HEADER + 2, 0x0101)),
                ("of-12-bytes", p.icmp({"rs": 133, "ra": 134, "ns": 135, "na": 136, "redirect": 137}[name], 0, bytes(4), rest=bytes(4))),
            ):
                if kind == "of-12-bytes" and name == "rs":
                    continue
                somebodys(f"O20-{name}-{kind}-to-{whose}", "O20", body, target, 255)
            suite.chapter(LINK, "RFC 6980 5", tenants=True)
            somebodys(f"O20-{name}-fragmented-to-{whose}", "O20", p.fragment(made(target), 0, 1400, more=False), target, 255)
            suite.chapter(LINK, "RFC 7113", policy=True, tenants=True)
            somebodys(f"O20-{name}-behind-options-to-{whose}", "O20", made(target, before=[p.DESTINATION]), target, 255)
            # It may be of this link: the kernel may see it, and has nothing to send.
            suite.chapter(LINK, "RFC 4861 6.1, 7.1, 8.1", tenants=True)
            for who, source in (("the-router", hop), ("a-link-local", link_local(mac))):
                send = [sent("internet", made(target)(source, target, 255))]
                told = [told_about(target, source)] if (name, whose) == ("ns", "an-eip") else None
                suite.add(f"O20-{name}-of-{who}-to-{whose}", "O20", send, [], told, host=1)
    suite.chapter(LINK, "RFC 4861 7.2.4", tenants=True)
    for whose, target in (("an-eip", eip), ("nobodys", nobody)):
        group = solicited(target)
        body = discovery(SOLICITATION, target, option(1, mac))
        send = [sent("internet", body(hop, group, 255), to_mac=multicast_mac(group))]
        suite.add(f"R8-ns-for-{whose}", "R8 O16", send, [], [told_about(eip, hop)] if target == eip else None, host=1)


def priorities(suite):
    """Frames with a tag of VLAN 0 are untagged ones with a priority."""
    bed = suite.bed
    suite.chapter(TAGS, "IEEE 802.1Q 6.9.1")
    for where, way in (*suite.ways(), *suite.cut_through_ways()):
        for priority in (0, 5, 7):
            suite.passes(f"T16-priority-{priority}-udp-{where}", "T16", p.udp(), way, priority=priority)
        suite.passes(f"T16-priority-tcp-{where}", "T16", p.tcp(), way, priority=3)
        suite.passes(f"T16-priority-hop-by-hop-{where}", "T16 T6", p.tcp(before=[p.PADDING]), way, priority=3)
        suite.passes(f"T16-priority-padded-{where}", "T16 R6", p.udp(b"x"), way, priority=3, padding=13)
        suite.answer(f"T16-priority-no-hops-left-{where}", "T16 R2", p.udp(), way, expired, ttl=1, priority=1)
    suite.vanishes("T16-priority-unassociated", "T16 O3", p.udp(), ("internet", (bed.remote, bed.unassociated)), priority=3)
    suite.chapter(TAGS, "IEEE 802.1Q 6.9.1", tenants=True)
    suite.vanishes("T16-priority-spoofed", "T16 O9", p.udp(), ("a", (bed.inside("b"), bed.remote)), priority=3)
    a, gateway = bed.guests["a"], bed.network_gateway
    group = solicited(gateway)
    ask = discovery(SOLICITATION, gateway, option(1, a.mac))(a.private, group, 255)
    told = discovery(ADVERTISEMENT, gateway, option(2, a.port_mac), flags=0xE0000000)(gateway, a.private, 255)
    suite.add("T16-priority-ns", "T16 R9", [sent("a", ask, to_mac=multicast_mac(group), priority=6)], [arrives("a", told)])


def bogons(suite):
    """Sources that cannot come from the Internet."""
    bed = suite.bed

    def never(name, ids, rfc, *sources, **more):
        suite.chapter(BOGONS, rfc, **more)
        for number, source in enumerate(sources):
            for kind, body in (("udp", p.udp()), ("ping", p.ping()), ("error", p.icmp_error(1, p.udp(), rest=bytes(4)))):
                suite.vanishes(f"{name}-{number}-{kind}", ids, body, ("internet", (source, bed.guests["a"].public)))
            suite.vanishes(f"{name}-{number}-cut-through", ids, p.udp(), ("internet", (source, bed.guests["c"].public)), cut=True)

    never("O15-from-link-local", "O15", "RFC 4291 2.5.6", "fe80::1", link_local(bed.next_hop_mac), "febf::1")
    never("O15-from-the-hosts-own-address", "O15", "RFC 2827 3", bed.uplink, bed.management.address)
    pool = bed.pool_gateway, bed.unassociated
    never("O15-from-the-pool", "O15", "RFC 2827 3", *pool, policy=True)
    suite.chapter(BOGONS, "RFC 4291 2.5.4")
    for name, source in (("next-hop", bed.next_hop), ("neighbour-of-the-uplink", "2001:db8:f::77")):
        suite.passes(f"O15-from-{name}", "O15", p.udp(), suite.way_in(src=source))
        suite.passes(f"O15-from-{name}-cut-through", "O15", p.udp(), suite.way_in("c", src=source))
    suite.chapter(BOGONS, "RFC 4193 4.3", policy=True)
    for number, source in enumerate(("fd99::1", "fc00::1", "fdff:ffff::1")):
        suite.passes(f"O15-from-private-{number}", "O15", p.udp(), suite.way_in(src=source))
        suite.passes(f"O15-from-private-{number}-cut-through", "O15", p.tcp(), suite.way_in("c", src=source))


def routing(kind, left, segments, following):
    """A routing header: its segments, in the order of the header."""
    body = b"".join(packed(one) for one in segments)
    fields = struct.pack("!BBH", len(segments) - 1, 0, 0) if kind == 4 else bytes(4)
    return struct.pack("!BBBB", following, len(body) // 8, kind, left) + fields + body


def routed(protocol, kind, left, segments, final=None):
    """A packet behind a routing header. Its checksum covers the last destination (RFC 8200 8.1)."""

    def body(source, destination, hops):
        data = {
            6: struct.pack("!HHIIBBHHH", 40001, 443, 7, 9, 0x50, 0x18, 8192, 0, 0) + p.PAYLOAD,
            17: struct.pack("!HHHH", 40002, 4500, 8 + len(p.PAYLOAD), 0) + p.PAYLOAD,
            58: struct.pack("!BBHHH", 128, 0, 0, 0x77, 1) + p.PAYLOAD,
        }[protocol]
        place = {6: 16, 17: 6, 58: 2}[protocol]
        total = in6_chksum(protocol, p.IPv6(src=source, dst=final or destination, nh=protocol), data)
        data = data[:place] + struct.pack("!H", total) + data[place + 2 :]
        header = routing(kind, left, segments, protocol)
        return bytes(p.ip(source, destination, hops, nh=43) / Raw(header + data))

    return body


def segments(suite):
    """Routing headers: where segments are left, the destination is not what the checksum covers."""
    bed = suite.bed
    final = "2001:db8:5e9::1"
    suite.chapter(HEADERS, "RFC 8200 8.1")
    for protocol, name in ((6, "tcp"), (17, "udp"), (58, "ping")):
        for kind in (2, 4, 253):
            for where, way in (*suite.ways(), ("to-cut-through", suite.way_across("a", "c")), ("from-cut-through", suite.way_across("c", "a"))):
                # A segment routing header has its last segment first.
                left = routed(protocol, kind, 1, [final, bed.elsewhere] if kind == 4 else [final], final)
                suite.passes(f"T6-routing-{kind}-{name}-a-segment-left-{where}", "T6", left, way)
                done = routed(protocol, kind, 0, [bed.elsewhere])
                suite.passes(f"T6-routing-{kind}-{name}-none-left-{where}", "T6", done, way)
    suite.chapter(HEADERS, "RFC 5095 3")
    for where, way in suite.ways():
        suite.vanishes(f"R5a-routing-0-{where}", "R5a", routed(17, 0, 1, [final], final), way)
        suite.passes(f"R5a-routing-0-none-left-{where}", "T6", routed(17, 0, 0, [final]), way)
    for where, way in suite.cut_through_ways():
        suite.vanishes(f"R5a-routing-0-{where}", "R5a", routed(17, 0, 1, [final], final), way)


def options_of(length):
    """Destination options of that many bytes."""
    padding = []
    left = length - 2
    while left:
        size = min(left, 255)
        # A padding of 1 byte has another form.
        size -= left - size == 1
        padding.append(PadN(optdata=bytes(size - 2)))
        left -= size
    return IPv6ExtHdrDestOpt(options=padding)


def headers_without_end(suite):
    """Cut-through passes any number and length of extension headers; what is translated has a
    limit."""
    bed = suite.bed
    one = options_of(8)
    suite.chapter(HEADERS, "RFC 8200 4")
    srh = [f"2001:db8:5e9::{number}" for number in range(8)]
    ways = (*suite.cut_through_ways(), ("cut-through-hairpin", suite.way_across("c", "c")))
    for where, way in ways:
        for left in (0, 7):
            suite.passes(f"T14-srh-of-8-segments-{left}-left-{where}", "T6 T14", routed(17, 4, left, srh, srh[0] if left else None), way)
        for count in (8, 20, 64, 150):
            suite.passes(f"T14-{count}-headers-{where}", "T6 T14", p.tcp(before=[one] * count), way)
        for size in (128, 512, 1024, 1320):
            suite.passes(f"T14-options-of-{size}-{where}", "T6 T14", p.udp(before=[options_of(size)]), way)
        for count in (8, 20):
            whole = p.udp(bytes(512), before=[one] * count)
            suite.passes(f"T14-{count}-headers-first-fragment-{where}", "T6 T7 T14", p.fragment(whole, 0, 512, more=True), way)
            suite.passes(f"T14-fragment-behind-{count}-headers-{where}", "T6 T7 T14", p.fragment(whole, 128, 256, more=True, chain=8 * count), way)
        error = p.icmp_error(1, p.udp(), rest=bytes(4), before=[one] * 20)
        suite.passes(f"T14-error-behind-20-headers-{where}", "T11 T14", error, way)
        quoted = p.icmp_error(1, p.udp(before=[one] * 20), rest=bytes(4))
        suite.passes(f"T14-error-about-20-headers-{where}", "T11 T14", quoted, way)
    suite.chapter(HEADERS, "RFC 4443 3.3")
    for where, way in suite.cut_through_ways():
        suite.answer(f"R2-20-headers-{where}", "R2 T14", p.udp(before=[one] * 20), way, expired, ttl=1)
        suite.answer(f"R2-srh-{where}", "R2 T14", routed(17, 4, 7, srh, srh[0]), way, expired, ttl=1)
        # About an error there is none, however far behind it is (RFC 4443 2.4).
        error = p.icmp_error(1, p.udp(), rest=bytes(4), before=[one] * 20)
        suite.vanishes(f"R2-about-an-error-behind-20-headers-{where}", "R2 T14", error, way, ttl=1)
    suite.chapter(HEADERS, "RFC 8201 4")
    over = p.udp(PATTERN[:1301], before=[one] * 20)
    suite.answer("R3-20-headers-cut-through-out", "R3 T14", over, suite.way_out("c"), too_big(bed.uplink_mtu))
    # The limit is what packets.md states; a host far away may have a lower one (RFC 8504 5.3).
    suite.chapter(HEADERS, "RFC 8504 5.3", policy=True)
    for where, way in suite.ways():
        for name, before in (("7-headers", [one] * 7), ("120-bytes", [options_of(120)]), ("7-headers-of-120-bytes", [options_of(24)] + [options_of(16)] * 6)):
            suite.passes(f"T6-{name}-{where}", "T6", p.tcp(before=before), way)
        for name, before in (("8-headers", [one] * 8), ("20-headers", [one] * 20), ("128-bytes", [options_of(128)]), ("two-of-64-bytes", [options_of(64)] * 2)):
            suite.vanishes(f"T6-{name}-{where}", "T6", p.tcp(before=before), way)
        suite.vanishes(f"T6-srh-of-8-segments-{where}", "T6", routed(6, 4, 7, srh, srh[0]), way)


def sizes(suite):
    """RFC 8200 5: a router fragments nothing."""
    bed = suite.bed
    small, uplink = bed.guests["s"].mtu, bed.uplink_mtu
    suite.chapter(SIZES, "RFC 4443 3.2")
    for where, way, mtu, largest in (
        ("in", suite.way_in("s"), small, uplink),
        ("out", suite.way_out("a"), uplink, 9000),
        ("hairpin", suite.way_across("a", "s"), small, 9000),
        ("cut-through-out", suite.way_out("c"), uplink, 9000),
        ("cut-through-hairpin", suite.way_across("c", "s"), small, 9000),
    ):
        over = [mtu + more for more in (2, 3, 4, 5, 7, 8, 9, 13, 200)] + [2 * mtu, 4500, 8999, 9000]
        for size in [size for size in over if size <= largest]:
            suite.answer(f"R3-udp-of-{size}-{where}", "R3", sized(size), way, too_big(mtu))
    suite.chapter(SIZES, "RFC 8200 5")
    for size in (1501, 2000, 8999, 9000):
        suite.passes(f"R7-jumbo-of-{size}", "R7 O12", sized(size), suite.way_across("a", "b"))
        suite.passes(f"R7-jumbo-of-{size}-to-cut-through", "R7 O12", sized(size, p.tcp), suite.way_across("a", "c"))


def hostile_destinations(suite):
    """The host, its networks and other VPCs are not to be had. That something leaves for the
    Internet, where a router knows what to do with such a destination, is as good as that it does
    not."""
    bed = suite.bed
    guests = bed.guests
    suite.chapter(HOST, policy=True, tenants=True)
    for name, target in (
        ("the-hosts-uplink", bed.uplink),
        ("the-hosts-management", bed.management.address),
        ("management", bed.management.host),
        ("the-uplinks-anycast", "2001:db8:f::"),
        ("loopback", "::1"),
        ("mapped-loopback", "::ffff:127.0.0.1"),
        ("another-vpc", guests["o"].private),
        ("another-vpcs-gateway", "fd00:11::1"),
        ("the-vpcs-gateway", bed.network_gateway),
        ("the-pools-gateway", bed.pool_gateway),
        ("the-ports-link-local", None),
        ("the-uplinks-link-local", link_local(bed.uplink_mac)),
        ("all-routers", "ff02::2"),
    ):
        for side in ("a", "c", "n", "o"):
            if side == "o" and name == "another-vpc":
                continue
            source = bed.inside(side)
            public = guests[side].public
            to = target or link_local(guests[side].port_mac)
            for kind, body in (
                ("udp", p.udp()),
                ("tcp", p.tcp(b"", flags="S")),
                ("behind-options", p.udp(before=[p.DESTINATION])),
                ("first-fragment", p.fragment(p.udp(bytes(256)), 0, 64, more=True)),
                ("udp-of-1500", sized(1500)),
                ("udp-of-1501", sized(1501)),
                ("tcp-of-9000", sized(9000, p.tcp)),
            ):
                packet = body(source, to, 64)
                if len(packet) > guests[side].mtu or (side in "no" and kind not in ("udp", "tcp")):
                    continue
                left = None
                if public and name not in ("loopback", "mapped-loopback", "all-routers") and not name.endswith("link-local"):
                    left = [arrives("internet", body(public, to, 63))]
                    if len(packet) > bed.uplink_mtu:
                        left = [{**arrives(side, too_big(bed.uplink_mtu)(bed.gateway_of(side), source, packet)), "open": OPEN}]
                answered = bool(left) and left[0]["at"] == side
                suite.add(f"O19-{kind}-from-{side}-to-{name}", "O19", [sent(side, packet)], [], left, answered=answered, cut=side == "c")
    for name, target in (("nobodys", bed.unassociated), ("gateway", bed.pool_gateway), ("anycast", "2001:db8:100::"), ("last", "2001:db8:100:0:ffff:ffff:ffff:ffff")):
        for kind, body in (("udp", p.udp()), ("ping", p.ping()), ("syn", p.tcp(b"", flags="S")), ("echo-reply", p.icmp(129)), ("last-fragment", p.fragment(p.udp(bytes(64)), 32, 32, more=False))):
            suite.vanishes(f"O20-{kind}-to-the-pools-{name}", "O3 O20", body, ("internet", (bed.remote, target)))


def offloads(suite):
    """What a guest behind a tap leaves to the device: as the virtio specification has it, or as
    nobody should."""
    ways = (("out", suite.way_out("a")), ("cut-through-out", suite.way_out("c")), ("hairpin", suite.way_across("a", "b")), ("to-a-small-mtu", suite.way_across("a", "s")))
    suite.chapter(OFFLOADS, "virtio 1.2, 5.1.6.2", tenants=True)
    for where, (side, addresses, at, got) in ways:
        for kind, name in (("tcp", "tso"), ("udp", "uso")):
            for size in (1000, 536):
                payload = PATTERN[: size * 3 + 321]
                super_packet, header = virtio.super_packet6(kind, addresses, payload, size)
                segments = virtio.segments6(kind, got, payload, size)
                send = [sent(side, super_packet, virtio=header)]
                suite.add(f"T1-{name}-of-{size}-{where}", "T1", send, [arrives(at, segment) for segment in segments], cut="c" in (side, at))
    suite.chapter(OFFLOADS, "virtio 1.2, 5.1.6.2", policy=True, tenants=True)
    udp, tcp = p.udp(), p.tcp()
    for where, (side, addresses, at, _) in ways:
        for name, body, start, offset in (
            ("the-source", udp, 20, 16),
            ("the-sources-start", udp, 14, 8),
            ("the-destination", udp, 20, 32),
            ("the-length", udp, 14, 4),
            ("tcps-place-in-udp", udp, 54, 16),
            ("udps-place-in-tcp", tcp, 54, 6),
            ("the-ports", udp, 54, 2),
            ("the-payload", udp, 62, 6),
            ("the-right-place-from-too-late", tcp, 56, 14),
            ("the-right-place-from-too-early", tcp, 46, 24),
            ("esp", p.ESP, 54, 6),
            ("protocol-253", p.other(253), 54, 16),
            ("behind-options-not-found", p.udp(before=[p.DESTINATION]), 54, 6),
            ("a-segment-left", routed(17, 4, 1, ["2001:db8:5e9::1", "2001:db8:5e9::2"], "2001:db8:5e9::1"), 54, 6),
            ("a-later-fragment", p.fragment(p.udp(bytes(256)), 64, 64, more=True), 62, 6),
            ("a-first-fragment", p.fragment(p.udp(bytes(256)), 0, 64, more=True), 62, 6),
        ):
            send = [sent(side, body(*addresses, 64), virtio={"csum_start": start, "csum_offset": offset})]
            suite.add(f"R13-{name}-{where}", "R13", send, [], cut="c" in (side, at))


def generate(suite):
    hostile_solicitations(suite)
    hostile_answers(suite)
    hostile_dhcp(suite)
    discovery_on_the_uplink(suite)
    priorities(suite)
    bogons(suite)
    segments(suite)
    headers_without_end(suite)
    sizes(suite)
    hostile_destinations(suite)
    offloads(suite)
