"""IPv6."""

import packets6 as p
from suite import ERRORS, EXPIRED, FRAGMENTS, OWNER, PATTERN, PROTOCOLS, ROUTER, TOO_BIG, arrives

FLOWS = {6: p.tcp(), 17: p.udp(), 33: p.dccp(), 47: p.gre(), 50: p.ESP, 58: p.ping(), 132: p.sctp(), 136: p.udplite(), 253: p.other(253)}

CUT_THROUGH = ("T1-tcp", "T1-udp", "T2-udp-no-checksum", "T1-echo-request", "T4-sctp", "T4-esp", "T5-tcp-wrong", "T6-hop-by-hop-tcp", "T7-tcp-first", "T7-tcp-later", "T15-all-ones")
CUT_THROUGH_ERRORS = ("about-tcp", "about-udp-later-fragment", "packet-too-big", "rfc4884-udp")


def prelude(error):
    return FLOWS.get(p.quoted_protocol(error))


def comes_out(value, body, place, addresses):
    """The body with two bytes of payload that make the checksum at `place` the ones' complement zero between these addresses."""
    probe = body(b"\0\0" + p.PAYLOAD)(*addresses, 64)
    made = body(probe[place : place + 2] + p.PAYLOAD)
    assert made(*addresses, 64)[place : place + 2] == value
    return made


def udp_zero(addresses):
    return comes_out(b"\xff\xff", p.udp, p.HEADER + 6, addresses)


def udplite_zero(addresses):
    return comes_out(b"\xff\xff", p.udplite, p.HEADER + 6, addresses)


def icmp_zero(addresses):
    """An ICMPv6 message whose checksum is 0: one like another."""
    return comes_out(b"\0\0", lambda payload: p.icmp(200, payload=payload), p.HEADER + 2, addresses)


def bodies():
    """Name and body of everything that is forwarded."""
    yield "T1-tcp", p.tcp()
    yield "T1-tcp-syn", p.tcp(b"", flags="S", options=[("MSS", 1440), ("SAckOK", b""), ("WScale", 7)])
    yield "T1-tcp-even", p.tcp(b"even")
    yield "T1-udp", p.udp()
    yield "T1-udp-empty", p.udp(b"")
    yield "T1-udplite", p.udplite()
    yield "T1-dccp", p.dccp()
    yield "T1-echo-request", p.ping()
    yield "T1-echo-reply", p.icmp(129)
    yield "T1-icmpv6-unknown-type", p.icmp(200)
    yield "T1-icmpv6-experiment", p.icmp(201, payload=b"")
    yield "T1-node-information", p.icmp(139, payload=bytes(24))
    yield "T2-udp-no-checksum", p.udp_without_checksum()
    yield "T4-sctp", p.sctp()
    yield "T4-gre", p.gre()
    yield "T4-esp", p.ESP
    yield "T4-4in6", p.four_in_six()
    yield "T4-6in6", p.six_in_six()
    for number in (3, 59, 89, 112, 253, 254):
        yield f"T4-protocol-{number}", p.other(number)
    yield "T4-no-payload", p.other(59, b"")
    # ICMP of the other version means nothing here.
    yield "T4-icmpv4", p.other(1, bytes.fromhex("0301fcfe00000000") + p.PAYLOAD)
    yield "T5-tcp-wrong", p.wrong(p.tcp(), p.HEADER + 16, 0x0101)
    yield "T5-udp-wrong", p.wrong(p.udp(), p.HEADER + 6, 0x1234)
    yield "T5-icmpv6-wrong", p.wrong(p.ping(), p.HEADER + 2, 0x00FF)
    yield "T6-hop-by-hop-tcp", p.tcp(before=[p.PADDING])
    yield "T6-router-alert-udp", p.udp(before=[p.ALERT])
    yield "T6-destination-options-tcp", p.tcp(before=[p.DESTINATION])
    yield "T6-destination-options-ping", p.ping(before=[p.DESTINATION])
    yield "T6-64-bytes-of-options-udp", p.udp(before=[p.LONG])
    yield "T6-routing-header-at-its-end-tcp", p.tcp(before=[p.ROUTED])
    yield "T6-three-headers-udp", p.udp(before=[p.PADDING, p.DESTINATION, p.LONG])
    yield "T6-hop-by-hop-esp", p.edited(p.of(p.PADDING, p.Raw(p.PAYLOAD)), p.HEADER, b"\x32")
    big = p.tcp(bytes(range(256)) * 4)
    yield "T7-tcp-first", p.fragment(big, 0, 512, more=True)
    yield "T7-tcp-later", p.fragment(big, 512, 256, more=True)
    yield "T7-tcp-last", p.fragment(big, 1016, 999, more=False)
    yield "T7-tcp-at-16-bytes", p.fragment(big, 16, 64, more=True)
    yield "T7-tcp-first-24-bytes", p.fragment(big, 0, 24, more=True)
    large = p.udp(bytes(range(256)) * 2)
    yield "T7-udp-first", p.fragment(large, 0, 256, more=True)
    yield "T7-udp-first-8-bytes", p.fragment(large, 0, 8, more=True)
    yield "T7-udp-later-8-bytes", p.fragment(large, 8, 8, more=True)
    yield "T7-udp-last-1-byte", p.fragment(p.udp(bytes(9)), 16, 1, more=False)
    yield "T7-udp-no-checksum-first", p.fragment(p.udp_without_checksum(bytes(64)), 0, 32, more=True)
    yield "T7-udplite-first", p.fragment(p.udplite(bytes(64)), 0, 32, more=True)
    yield "T7-ping-first", p.fragment(p.ping(bytes(64)), 0, 32, more=True)
    yield "T7-ping-later", p.fragment(p.ping(bytes(64)), 32, 40, more=False)
    # RFC 6946: a datagram in one piece.
    yield "T7-atomic-udp", p.fragment(p.udp(), 0, 200, more=False)
    yield "T7-atomic-tcp", p.fragment(p.tcp(), 0, 200, more=False)
    yield "T7-behind-hop-by-hop-first", p.fragment(p.tcp(bytes(256), before=[p.PADDING]), 0, 128, more=True, chain=8)
    yield "T7-behind-hop-by-hop-later", p.fragment(p.udp(bytes(256), before=[p.PADDING]), 128, 64, more=True, chain=8)
    yield "T7-options-inside-first", p.fragment(p.tcp(bytes(256), before=[p.DESTINATION]), 0, 128, more=True)
    yield "T7-icmpv6-later-like-an-error", p.fragment(p.icmp(128, payload=b"\x01" * 64), 16, 16, more=True)
    for field, value in (("traffic-class", 0xB9), ("all-ones", 0xFF)):
        yield f"T15-{field}", p.udp(tc=value)
    for value in (0, 0xFFFFF):
        yield f"T15-flow-label-{value:x}", p.tcp(fl=value)
    yield "R5-tcp-header-cut", p.cut(p.tcp(), 13)
    yield "R5-tcp-cut-in-checksum", p.cut(p.tcp(), 17)
    yield "R5-udp-cut-in-checksum", p.cut(p.udp(), 7)
    yield "R5-icmpv6-1-byte", p.cut(p.ping(), 1)


def forwarded(suite):
    for name, body in bodies():
        row = name.split("-")[0]
        suite.group = FRAGMENTS if row == "T7" else ROUTER if row == "R5" else PROTOCOLS
        asked = p.icmp(128) if name == "T1-echo-reply" else None
        suite.everywhere(name, row, body, asked=asked, cut=name in CUT_THROUGH)
    suite.group = PROTOCOLS
    for kind, zero in (("udp", udp_zero), ("udplite", udplite_zero), ("icmpv6", icmp_zero)):
        for direction, way in (("in", suite.way_in()), ("out", suite.way_out()), ("hairpin", suite.way_across())):
            body = zero(way[3])
            # To a receiver of ICMPv6 all ones are the same as zero.
            ones = p.edited(body, p.HEADER + 2, b"\xff\xff") if kind == "icmpv6" else None
            suite.passes(f"T2-{kind}-comes-out-zero-{direction}", "T2", body, way, otherwise=ones)
    for direction, way in (("in", suite.way_in()), ("out", suite.way_out())):
        suite.passes(f"T2-udp-comes-in-ffff-{direction}", "T2", udp_zero(way[1]), way)


def fragments(suite):
    suite.group = FRAGMENTS
    big = p.tcp(bytes(range(256)))
    for name, body in (
        ("tcp-first-8-bytes", p.fragment(big, 0, 8, more=True)),
        ("tcp-first-16-bytes", p.fragment(big, 0, 16, more=True)),
        ("tcp-at-8-bytes", p.fragment(big, 8, 64, more=True)),
        ("udp-first-4-bytes", p.edited(p.fragment(p.udp(), 0, 4, more=False), p.HEADER + 3, b"\x01")),
    ):
        suite.nowhere(f"T8-{name}", "T8", body)
        suite.passes(f"T8-{name}-cut-through-in", "T14", body, suite.way_in("c"))
    long = bytes(range(256)) * 5
    for number, (kind, body) in enumerate((("udp", p.udp(long)), ("tcp", p.tcp(long)), ("ping", p.ping(long)))):
        parts = [p.fragment(body, at, 600, more=at < 1200, identification=0xF000 + number) for at in (0, 600, 1200)]
        for direction, way in (("in", suite.way_in()), ("out", suite.way_out()), ("hairpin", suite.way_across())):
            suite.sequence(f"T7-{kind}-all-three-{direction}", "T7", parts, way)


def quotes():
    """Name and body of ICMPv6 errors about every shape of a quoted packet."""
    udp, tcp = p.udp(), p.tcp()
    yield "no-route", p.icmp_error(1, udp, size=48, code=0, rest=bytes(4))
    yield "port-unreachable", p.icmp_error(1, udp, code=4, rest=bytes(4))
    yield "packet-too-big", p.icmp_error(2, p.tcp(bytes(1200)), size=1232)
    yield "packet-too-big-cut", p.icmp_error(2, tcp, size=48)
    yield "time-exceeded", p.icmp_error(3, udp, rest=bytes(4))
    yield "parameter-problem", p.icmp_error(4, udp, code=1, rest=b"\0\0\0\x06")
    for name, quoted in (
        ("tcp", tcp),
        ("tcp-wrong", p.wrong(tcp, p.HEADER + 16, 0x0101)),
        ("udp-wrong", p.wrong(udp, p.HEADER + 6, 0x1234)),
        ("udp-no-checksum", p.udp_without_checksum()),
        ("udplite", p.udplite()),
        ("dccp", p.dccp()),
        ("ping", p.ping()),
        ("sctp", p.sctp()),
        ("gre", p.gre()),
        ("esp", p.ESP),
        ("protocol-253", p.other(253)),
        ("hop-by-hop-tcp", p.tcp(before=[p.PADDING])),
        ("destination-options-udp", p.udp(before=[p.DESTINATION])),
        ("three-headers-tcp", p.tcp(before=[p.PADDING, p.DESTINATION, p.LONG])),
        ("tcp-first-fragment", p.fragment(p.tcp(bytes(256)), 0, 64, more=True)),
        ("udp-first-fragment-8-bytes", p.fragment(p.udp(bytes(64)), 0, 8, more=True)),
        ("udp-later-fragment", p.fragment(p.udp(bytes(256)), 64, 64, more=False)),
        ("tcp-header-cut", p.cut(tcp, 13)),
    ):
        yield f"about-{name}", p.icmp_error(1, quoted, code=3, rest=bytes(4))
    for size in (40, 41, 46, 48):
        yield f"quoting-{size}-bytes-of-udp", p.icmp_error(3, udp, size=size, rest=bytes(4))
    for size in (48, 56, 58, 60):
        yield f"quoting-{size}-bytes-of-tcp", p.icmp_error(3, tcp, size=size, rest=bytes(4))
    yield "quoting-44-bytes-of-ping", p.icmp_error(3, p.ping(), size=44, rest=bytes(4))
    # Half a checksum cannot be changed: the carry out of its other half is not known.
    yield "quoting-47-bytes-of-udp", p.icmp_error(3, p.with_somebodys_payload(udp), size=47, rest=bytes(4))
    yield "quoting-half-an-extension-header", p.icmp_error(3, p.udp(before=[p.LONG]), size=60, rest=bytes(4))
    yield "padded-behind-a-short-packet", p.icmp_error(1, p.cut(udp, 4), tail=b"\x55" * 8, rest=bytes(4))
    yield "rfc4884-udp", p.rfc4884(udp, kind=1)
    yield "rfc4884-tcp", p.rfc4884(p.tcp(bytes(300)))
    yield "checksum-wrong", p.wrong(p.icmp_error(1, udp, rest=bytes(4)), p.HEADER + 2, 0x0101)
    yield "with-hop-by-hop", p.icmp_error(3, udp, rest=bytes(4), before=[p.PADDING])
    yield "with-destination-options", p.icmp_error(2, tcp, before=[p.DESTINATION])
    yield "atomic-fragment", p.fragment(p.icmp_error(1, udp, rest=bytes(4)), 0, 400, more=False)
    yield "first-fragment", p.fragment(p.icmp_error(1, p.udp(bytes(256)), rest=bytes(4)), 0, 128, more=True)
    yield "later-fragment", p.fragment(p.icmp_error(1, p.udp(bytes(256)), rest=bytes(4)), 64, 64, more=False)


def icmp_errors(suite):
    suite.group = ERRORS
    bed = suite.bed
    for name, body in quotes():
        suite.errors(f"T11-{name}", "T11", body, cut=name in CUT_THROUGH_ERRORS)
    elsewhere = p.icmp_error(3, lambda src, dst, hops: p.udp()(src, bed.elsewhere, hops), rest=bytes(4))
    suite.error("T9-from-a-router-on-the-way-in", "T9", elsewhere, suite.way_in(), about=bed.elsewhere)
    for direction, way in (("in", suite.way_in()), ("out", suite.way_out())):
        body = p.icmp_error(1, udp_zero(way[3][::-1]), rest=bytes(4))
        suite.error(f"T11-quoted-udp-comes-out-zero-{direction}", "T11 T2", body, way)
    udp = p.udp()
    for name, body in (
        ("nothing", p.icmp_error(1, udp, size=0, rest=bytes(4))),
        ("1-byte", p.icmp_error(1, udp, size=1, rest=bytes(4))),
        ("39-bytes", p.icmp_error(1, udp, size=39, rest=bytes(4))),
        ("version-4", p.icmp_error(1, p.edited(udp, 0, b"\x45"), rest=bytes(4))),
        ("icmp-header-only", p.cut(p.icmp(1), 8)),
    ):
        suite.vanishes(f"T12-{name}-in", "T12", body, suite.way_in())
        suite.vanishes(f"T12-{name}-out", "T12", body, suite.way_out())
        suite.passes(f"T12-{name}-cut-through-in", "T14", body, suite.way_in("c"))
    stranger = "2001:db8:5::5"
    other_sender = p.icmp_error(1, lambda src, dst, hops: udp(stranger, dst, hops), rest=bytes(4))
    other_receiver = p.icmp_error(1, lambda src, dst, hops: udp(src, stranger, hops), rest=bytes(4))
    suite.vanishes("T12-other-sender-in", "T12", other_sender, suite.way_in())
    suite.vanishes("T12-other-receiver-out", "T12", other_receiver, suite.way_out())
    about = p.icmp_error(1, lambda src, dst, hops: udp(src, bed.inside("a"), hops), rest=bytes(4))
    named = [arrives("internet", p.icmp_error(1, udp, rest=bytes(4))(bed.guests["a"].public, bed.remote, 63))]
    suite.vanishes("T12a-without-an-eip", "T12a", about, ("n", (bed.inside("n"), bed.remote)), otherwise=named)
    suite.vanishes("T12a-a-router-inside", "T12a", about, ("a", ("fd00:10::99", bed.remote)))


def expired(source, destination, packet):
    """RFC 4443 3.3: as much of the packet as fits into the least MTU of IPv6."""
    return p.icmp_error(3, lambda *_: packet, size=1232, rest=bytes(4), fl=0)(source, destination, 64)


def too_big(mtu):
    def message(source, destination, packet):
        return p.icmp_error(2, lambda *_: packet, size=1232, rest=mtu.to_bytes(4, "big"), fl=0)(source, destination, 64)

    return message


def time_exceeded(suite):
    suite.group = EXPIRED
    bed = suite.bed
    for name, body in (
        ("udp", p.udp()),
        ("tcp", p.tcp()),
        ("ping", p.ping()),
        ("echo-reply", p.icmp(129)),
        ("sctp", p.sctp()),
        ("tcp-wrong", p.wrong(p.tcp(), p.HEADER + 16, 0x0101)),
        ("hop-by-hop-tcp", p.tcp(before=[p.PADDING])),
        ("first-fragment", p.fragment(p.udp(bytes(256)), 0, 64, more=True)),
        ("quote-of-1232-bytes", p.udp(bytes(1184))),
        ("quote-cut-at-1232-bytes", p.udp(bytes(1185))),
        ("quote-cut-of-1500-bytes", p.udp((bytes(range(250)) * 6)[:1452])),
    ):
        suite.answer(f"R2-{name}-in", "R2", body, suite.way_in(), expired, ttl=1)
        suite.answer(f"R2-{name}-out", "R2", body, suite.way_out(), expired, ttl=1)
    suite.answer("R2-hairpin", "R2 O12", p.udp(), suite.way_across(), expired, ttl=1)
    for name, way in (("in", suite.way_in("c")), ("out", suite.way_out("c")), ("to-nat", suite.way_across("c", "a"))):
        suite.answer(f"R2-cut-through-{name}", "R2", p.tcp(), way, expired, ttl=1)
    for direction, way in (("in", suite.way_in()), ("out", suite.way_out())):
        suite.answer(f"R2-hop-limit-0-{direction}", "R2", p.udp(), way, expired, ttl=0)
        # RFC 4443 2.4: never about an error.
        for kind in (1, 2, 3, 4):
            suite.vanishes(f"R2-about-icmpv6-{kind}-{direction}", "R2", p.icmp_error(kind, p.udp()), way, ttl=1)
        suite.vanishes(f"R2-about-an-error-behind-options-{direction}", "R2", p.icmp_error(3, p.udp(), before=[p.DESTINATION]), way, ttl=1)
    suite.vanishes("R2-unassociated", "R2 O3", p.udp(), ("internet", (bed.remote, bed.unassociated)), ttl=1)
    suite.answer("R2-without-an-eip", "R2 O8", p.udp(), ("n", (bed.inside("n"), bed.remote)), expired, ttl=1, otherwise=[])
    suite.vanishes("R2-multicast", "R2 O17", p.udp(), ("a", (bed.inside("a"), "ff0e::5")), ttl=1)


def sized(size, body=p.udp, **fields):
    """A packet of so many bytes."""
    head = len(body(b"", **fields)("::", "::", 1))
    return body(PATTERN[: size - head], **fields)


def sizes(suite):
    suite.group = TOO_BIG
    small, uplink = suite.bed.guests["s"].mtu, suite.bed.uplink_mtu
    for where, way, mtu in (
        ("in", suite.way_in("s"), small),
        ("out", suite.way_out("a"), uplink),
        ("hairpin", suite.way_across("a", "s"), small),
        ("cut-through-out", suite.way_out("c"), uplink),
    ):
        suite.passes(f"R3-fits-{where}", "R3", sized(mtu), way)
        for name, body in (
            ("one-byte-over", sized(mtu + 1)),
            ("tcp", sized(mtu + 100, p.tcp)),
            ("ping", sized(mtu + 200, p.ping)),
            ("echo-reply", sized(mtu + 200, lambda payload: p.icmp(129, payload=payload))),
            ("wrong-checksum", p.wrong(sized(mtu + 3, p.tcp), p.HEADER + 16, 0x0101)),
            ("hop-by-hop", sized(mtu + 4, p.tcp, before=[p.PADDING])),
            ("first-fragment", p.fragment(p.udp(bytes(1900)), 0, (mtu - 48) // 8 * 8 + 8, more=True)),
        ):
            suite.answer(f"R3-{name}-{where}", "R3", body, way, too_big(mtu))
        suite.answer(f"R3-no-hops-left-{where}", "R3 R2", sized(mtu + 1), way, expired, ttl=1)
        about = p.icmp_error(1, p.udp(bytes(1800)), size=mtu, rest=bytes(4))
        suite.vanishes(f"R3-about-an-error-{where}", "R3", about, way)


def router(suite):
    suite.group = ROUTER
    for hops in (255, 3, 2):
        suite.everywhere(f"R1-hop-limit-{hops}", "R1", p.udp(), ttl=hops)
    tcp = p.tcp()
    for name, body in (
        ("version-4", p.edited(tcp, 0, b"\x45")),
        ("version-0", p.edited(tcp, 0, b"\x00")),
        ("length-over-frame", p.edited(tcp, 4, b"\x01\0")),
        ("truncated", lambda *a: tcp(*a)[:-1]),
        ("header-cut", lambda *a: tcp(*a)[:39]),
    ):
        suite.nowhere(f"R5-{name}", "R5", body)
    for direction, way in (("in", suite.way_in()), ("out", suite.way_out())):
        suite.vanishes(f"R5b-for-another-mac-{direction}", "R5b", p.udp(), way, other_mac=True)
        suite.passes(f"R6-padded-udp-{direction}", "R6", p.udp(b"x"), way, padding=6)


def owner(suite):
    suite.group = OWNER
    bed = suite.bed
    remote, inside = bed.remote, bed.inside
    for name, body in (("udp", p.udp()), ("ping", p.ping())):
        suite.vanishes(f"O3-{name}-unassociated", "O3", body, ("internet", (remote, bed.unassociated)))
        suite.vanishes(f"O8-{name}-without-an-eip", "O8", body, ("n", (inside("n"), remote)))
        suite.vanishes(f"O9-{name}-anothers-address", "O9", body, ("a", (inside("b"), remote)))
        suite.passes(f"O13-{name}-to-itself", "O13", body, suite.way_across("a", "a"))
        suite.passes(f"O12-{name}-to-cut-through", "O12", body, suite.way_across("a", "c"))
        suite.passes(f"O12-{name}-from-cut-through", "O12", body, suite.way_across("c", "a"))
    suite.vanishes("O12-to-nobodys-eip", "O12 O3", p.udp(), ("a", (inside("a"), bed.unassociated)))
    cut = bed.guests["c"]
    suite.vanishes("O10-cut-through-private-source", "O10", p.udp(), ("c", (cut.private, remote)))
    suite.vanishes("O10-private-to-cut-through", "O10", p.udp(), ("b", (inside("b"), cut.private)), cut=True)
    for name, address in (("nobodys-private", "fd00:10::99"), ("public", remote), ("own-eip", bed.guests["a"].public), ("loopback", "::1")):
        suite.vanishes(f"O9-source-{name}", "O9", p.udp(), ("a", (address, remote)))
    for name, source in (
        ("an-eip", bed.guests["b"].public),
        ("its-own-eip", bed.guests["a"].public),
        ("unspecified", "::"),
        ("loopback", "::1"),
        ("multicast", "ff0e::9"),
        ("private", inside("b")),
    ):
        suite.vanishes(f"O15-from-{name}", "O15", p.udp(), ("internet", (source, bed.guests["a"].public)))
    for name, target in (("unspecified", "::"), ("loopback", "::1"), ("link-local", "fe80::1"), ("multicast", "ff0e::5"), ("site-multicast", "ff05::1:3")):
        suite.vanishes(f"O17-to-{name}", "O17", p.udp(), ("a", (inside("a"), target)))


def generate(suite):
    owner(suite)
    forwarded(suite)
    fragments(suite)
    icmp_errors(suite)
    router(suite)
    time_exceeded(suite)
    sizes(suite)
