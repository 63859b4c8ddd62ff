"""T: what is rewritten. Each body goes in and out, through NAT, a hairpin and cut-through."""

import family
import packets as p
import world
from case import hairpin, inbound, outbound, port_drop, private, uplink_drop

NAT_EIP, NAT_ENI, NAT_IP = "203.0.113.10", "a1", "10.0.0.10"
CUT_EIP, CUT_ENI = "203.0.113.20", "b2"

MSS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("WScale", 7)]
NOP, RECORD_ROUTE, ROUTER_ALERT = b"\x01", b"\x07\x07\x04\0\0\0\0", b"\x94\x04\0\0"
SECURITY, STREAM = b"\x82\x0b" + bytes(9), b"\x88\x04\0\x07"


def comes_out_zero(src, dst):
    """A UDP payload whose checksum is 0 between these two, and so 0xffff on the wire."""
    body = p.udp(p.field(p.udp(b"\0\0" + p.PAYLOAD), (src, dst), 6) + p.PAYLOAD)
    assert p.field(body, (src, dst), 6) == b"\xff\xff"
    return body


def udplite_zero(src, dst):
    """Likewise for UDP-Lite (RFC 3828 3.1)."""
    body = p.udplite(p.field(p.udplite(b"\0\0" + p.PAYLOAD), (src, dst), 6) + p.PAYLOAD)
    assert p.field(body, (src, dst), 6) == b"\xff\xff"
    return body


def tcp_zero(src, dst):
    """A TCP payload whose checksum is 0 between these two: for TCP that is a checksum like another."""
    body = p.tcp(p.field(p.tcp(b"\0\0" + p.PAYLOAD), (src, dst), 16) + p.PAYLOAD)
    assert p.field(body, (src, dst), 16) == b"\0\0"
    return body


def icmp_zero(src, dst):
    """Likewise for ICMPv6."""
    body = p.ping(p.field(p.ping(b"\0\0" + p.PAYLOAD), (src, dst), 2) + p.PAYLOAD)
    assert p.field(body, (src, dst), 2) == b"\0\0"
    return body


def queries4():
    """ICMP that asks and answers: its checksum covers no addresses."""
    yield "T3-echo-request", p.ping()
    yield "T3-echo-reply", p.icmp(0)
    yield "T3-timestamp", p.icmp(13, payload=bytes(12))
    yield "T3-timestamp-reply", p.icmp(14, payload=bytes(range(12)))
    yield "T3-information", p.icmp(15)
    yield "T3-information-reply", p.icmp(16)
    yield "T3-mask-request", p.icmp(17, payload=bytes(4))
    yield "T3-mask-reply", p.icmp(18, payload=b"\xff\xff\0\0")
    yield "T3-router-solicitation", p.icmp(10, payload=b"")
    yield "T3-extended-echo", p.icmp(42)
    yield "T3-unknown-type", p.icmp(200)


def queries6():
    """The same for ICMPv6, whose checksum covers the addresses. Kinds 133 to 137 are the link's own, see `discovery`."""
    yield "T1-echo-request", p.ping()
    yield "T1-echo-reply", p.icmp_echo_reply()
    for kind in (130, 131, 132, 143, 148, 151, 160, 200, 255):
        yield f"T1-icmp-{kind}", p.icmp(kind)


def options4():
    yield "T6-nop-ihl-6", p.tcp(**p.options(NOP * 4))
    yield "T6-router-alert", p.udp(**p.options(ROUTER_ALERT))
    yield "T6-security-ihl-8", p.tcp(**p.options(SECURITY + NOP))
    yield "T6-stream", p.udp(**p.options(STREAM))
    yield "T6-unknown-option", p.udp(**p.options(b"\x1e\x06\xc0\0\2\1" + NOP * 2))
    # Where the type of an option that is refused is another one's data.
    yield "T6-record-route-in-other-option", p.tcp(**p.options(b"\x82\x0b\x07\x07\x04\0\0\0\0\x44\x04" + NOP))
    yield "T6-record-route-after-end", p.tcp(**p.options(b"\0" + RECORD_ROUTE))
    for words in range(3, 11):
        yield f"T6-nop-ihl-{5 + words}", (p.tcp, p.udp)[words % 2](**p.options(NOP * 4 * words))
    yield "T6-end-of-list", p.udp(**p.options(b"\0\x83\x07\x04"))
    yield "T6-ping-ihl-15", p.ping(**p.options(NOP * 40))
    yield "T7-tcp-first-ihl-8", p.fragment(p.tcp(bytes(256), **p.options(NOP * 12)), 0, 64, more=True)
    yield "T15-do-not-fragment", p.edited(p.tcp(), 6, b"\x40\0")
    yield "T15-reserved-bit", p.edited(p.tcp(), 6, b"\x80\0")
    yield "T15-identification-0", p.tcp(id=0)
    yield "T15-identification-ffff", p.udp(id=0xFFFF)


def bodies():
    """Name (with the id that it proves) and body of everything that is forwarded."""
    yield "T1-tcp", p.tcp()
    yield "T1-tcp-syn", p.tcp(b"", flags="S", options=MSS)
    yield "T1-tcp-even", p.tcp(b"even")
    yield "T1-udp", p.udp()
    yield "T1-udp-empty", p.udp(b"")
    yield "T1-udplite", p.udplite()
    yield "T1-udplite-coverage-8", p.udplite(coverage=8)
    yield "T1-udplite-coverage-12", p.udplite(coverage=12)
    yield "T1-dccp", p.dccp()
    yield "T1-dccp-header-only", p.dccp(coverage=1)
    yield "T2-udp-no-checksum", p.udp(chksum=0)
    yield from family.pick(queries4, queries6)()
    yield "T4-sctp", p.sctp()
    yield "T4-gre", p.gre()
    yield "T4-esp", p.ESP
    yield "T4-ah", p.ah()
    yield "T4-ipip", p.ipip()
    yield "T4-6in4", p.sixinfour()
    yield "T4-ospf", p.OSPF
    yield "T4-vrrp", p.vrrp()
    for number in (2, 3, 16, 18, 103, 128, 137, 253, 255, *family.pick((0, 58), (1, 59))):
        yield f"T4-protocol-{number}", p.other(number)
    yield "T4-no-payload", p.other(99, b"")
    yield "T5-tcp-wrong", p.wrong(p.tcp(), 16, 0x0101)
    yield "T5-udp-wrong", p.wrong(p.udp(), 6, 0x1234)
    yield "T5-udplite-wrong", p.wrong(p.udplite(), 6, 0xFF00)
    yield "T5-dccp-wrong", p.wrong(p.dccp(), 6, 0x00FF)
    yield "T5-icmp-wrong", p.wrong(p.ping(), 2, 0x1234)
    if not family.is6():
        yield from options4()
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
    yield "T7-udp-no-checksum-first", p.fragment(p.udp(bytes(64), chksum=0), 0, 32, more=True)
    yield "T7-udplite-first", p.fragment(p.udplite(bytes(64)), 0, 32, more=True)
    yield "T7-dccp-first", p.fragment(p.dccp(bytes(64)), 0, 32, more=True)
    yield "T7-ping-first", p.fragment(p.ping(bytes(64)), 0, 32, more=True)
    yield "T7-ping-later", p.fragment(p.ping(bytes(64)), 32, 40, more=False)
    yield "T7-gre-first-8-bytes", p.fragment(p.gre(), 0, 8, more=True)
    # Its first byte is that of a "destination unreachable", but it is data.
    yield "T7-icmp-later-like-an-error", p.fragment(p.icmp(family.pick(8, 128), payload=b"\x03" * 64), 16, 16, more=True)
    place, highest = family.pick((6, b"\x1f\xff"), (42, b"\xff\xf8"))
    yield "T7-highest-offset", p.edited(p.fragment(p.udp(bytes(64)), 8, 8, more=False), place, highest)
    for field, value in (("dscp", 0xB8), ("ecn-ce", 3), ("all-ones", 0xFF)):
        yield f"T15-{field}", p.udp(tos=value)
    yield "R5-tcp-header-cut", p.cut(p.tcp(), 13)
    yield "R5-tcp-cut-in-checksum", p.cut(p.tcp(), 17)
    yield "R5-udp-header-cut", p.cut(p.udp(), 5)
    yield "R5-udp-cut-in-checksum", p.cut(p.udp(), 7)
    yield "R5-icmp-1-byte", p.cut(p.ping(), 1)
    yield "R5-udplite-header-cut", p.cut(p.udplite(), 6)
    yield "R5-dccp-header-cut", p.cut(p.dccp(), 7)


def forwarded():
    for name, body in bodies():
        inbound(f"{name}-in", NAT_EIP, body)
        outbound(f"{name}-out", NAT_ENI, NAT_IP, body)
        hairpin(f"{name}-hairpin", "d1", "10.0.0.20", "203.0.113.11", body)
        inbound(f"T14-{name}-in", CUT_EIP, body)
        outbound(f"T14-{name}-out", CUT_ENI, CUT_EIP, body)
        private(f"O11-{name}", "a1", "10.0.0.10", "10.0.0.20", body)


def zero_checksums():
    """Checksums on the edge of 0: which one it is hangs on the addresses after the translation."""
    after = (world.REMOTE, NAT_IP)
    inbound("T2-udp-comes-out-zero-in", NAT_EIP, comes_out_zero(*after))
    inbound("T2-tcp-comes-out-zero-in", NAT_EIP, tcp_zero(*after))
    inbound("T2-udp-comes-in-ffff-in", NAT_EIP, comes_out_zero(world.REMOTE, NAT_EIP))
    inbound("T2-udplite-comes-out-zero-in", NAT_EIP, udplite_zero(*after))
    outbound("T2-udplite-comes-out-zero-out", NAT_ENI, NAT_IP, udplite_zero(NAT_EIP, world.REMOTE))
    invalid = p.transport_edited(p.udplite(), 6, b"\0\0")
    inbound("T2-udplite-invalid-zero-in", NAT_EIP, invalid)
    outbound("T2-udplite-invalid-zero-out", NAT_ENI, NAT_IP, invalid)
    outbound("T2-udp-comes-out-zero-out", NAT_ENI, NAT_IP, comes_out_zero(NAT_EIP, world.REMOTE))
    outbound("T2-tcp-comes-out-zero-out", NAT_ENI, NAT_IP, tcp_zero(NAT_EIP, world.REMOTE))
    outbound("T2-udp-comes-in-ffff-out", NAT_ENI, NAT_IP, comes_out_zero(NAT_IP, world.REMOTE))
    both = comes_out_zero("203.0.113.10", "10.0.0.11")
    hairpin("T2-udp-comes-out-zero-hairpin", "a1", "10.0.0.10", "203.0.113.11", both)
    # Between the two translations of a hairpin it is 0 for a moment: not "no checksum".
    for name, pair in (
        ("after-source", ("203.0.113.10", "203.0.113.11")),
        ("after-destination", ("10.0.0.10", "10.0.0.11")),
    ):
        hairpin(f"T2-udp-zero-{name}-hairpin", "a1", "10.0.0.10", "203.0.113.11", comes_out_zero(*pair))
    if family.is6():
        inbound("T1-icmp-comes-out-zero-in", NAT_EIP, icmp_zero(*after))
        outbound("T1-icmp-comes-out-zero-out", NAT_ENI, NAT_IP, icmp_zero(NAT_EIP, world.REMOTE))
    inbound("T14-T2-udp-ffff", CUT_EIP, comes_out_zero(world.REMOTE, CUT_EIP))


def tiny_fragments():
    big = p.tcp(bytes(range(256)))
    options = () if family.is6() else (("tcp-first-16-bytes-ihl-15", p.fragment(p.tcp(**p.options(NOP * 40)), 0, 16, more=True)),)
    for name, body in (
        *options,
        ("tcp-first-8-bytes", p.fragment(big, 0, 8, more=True)),
        ("tcp-first-16-bytes", p.fragment(big, 0, 16, more=True)),
        ("tcp-at-8-bytes", p.fragment(big, 8, 64, more=True)),
        ("tcp-last-at-8-bytes", p.fragment(big, 8, 400, more=False)),
        ("udp-first-4-bytes", p.fragment(p.udp(), 0, 4, more=True)),
        ("udplite-first-7-bytes", p.fragment(p.udplite(), 0, 7, more=True)),
        ("dccp-first-6-bytes", p.fragment(p.dccp(), 0, 6, more=True)),
    ):
        uplink_drop(f"T8-{name}-in", NAT_EIP, body, "tiny-fragment")
        port_drop(f"T8-{name}-out", NAT_ENI, NAT_IP, world.REMOTE, body, "tiny-fragment")
        inbound(f"T14-T8-{name}-in", CUT_EIP, body)
        outbound(f"T14-T8-{name}-out", CUT_ENI, CUT_EIP, body)
        # Inside, what the gateway alone may say has to be told by a transport header.
        if name.startswith("tcp"):
            private(f"O11-T8-{name}", "a1", "10.0.0.10", "10.0.0.20", body)
        else:
            port_drop(f"O11-T8-{name}", "a1", "10.0.0.10", "10.0.0.20", body, "tiny-fragment", known=False)


def address_options():
    """Bodies in which an option carries addresses (RFC 7126 4.5, 4.7), and whether the transport header is found."""
    for name, data in (
        ("record-route", RECORD_ROUTE + NOP),
        ("record-route-used", b"\x07\x0b\x08\x0a\0\0\x63\0\0\0\0" + NOP),
        ("record-route-after-others", ROUTER_ALERT + NOP + RECORD_ROUTE),
        ("record-route-at-the-end", NOP * 33 + RECORD_ROUTE),
        ("record-route-empty", b"\x07\x03\x04" + NOP),
        ("timestamp", b"\x44\x08\x05\0\0\0\0\0"),
        ("timestamp-with-addresses", b"\x44\x0c\x05\x01" + bytes(8)),
        ("timestamp-prespecified", b"\x44\x0c\x05\x03\x0a\0\0\x63\0\0\0\0"),
    ):
        yield name, p.udp(**p.options(data))
    yield "record-route-ping", p.ping(**p.options(RECORD_ROUTE + NOP))
    yield "record-route-first-fragment", p.fragment(p.udp(bytes(64), **p.options(RECORD_ROUTE + NOP)), 0, 32, more=True)
    yield "record-route-later-fragment", p.fragment(p.udp(bytes(64), **p.options(RECORD_ROUTE + NOP)), 32, 32, more=False)


def messages():
    """ICMP messages that tell addresses: IPv4's router advertisement; IPv6's of one link, of routers and of mobile nodes."""
    kinds = family.pick((9,), (*range(133, 139), *range(140, 143), *range(144, 148)))
    for kind in kinds:
        yield f"icmp-{kind}", p.icmp(kind)
        yield f"icmp-{kind}-first-fragment", p.fragment(p.icmp(kind, payload=bytes(64)), 0, 32, more=True)
        if family.is6():
            yield f"icmp-{kind}-behind-headers", p.behind(p.icmp(kind), p.hop_by_hop(), p.destination_options())


def addresses_told():
    """T6: what would tell an inner address is refused where one is translated, and nobody's business where not."""
    reason, remote = "address-option", world.REMOTE
    bodies = [*messages(), *(() if family.is6() else address_options())]
    for name, body in bodies:
        is_discovery = family.is6() and name[5:8] in ("133", "134", "135", "136", "137")
        uplink_drop(f"T6-{name}-in", NAT_EIP, body, reason)
        port_drop(f"T6-{name}-out", NAT_ENI, NAT_IP, remote, body, reason)
        for kind, eni, src, eip in (("nat-to-nat", "d1", "10.0.0.20", "203.0.113.11"), ("nat-to-cut-through", "c1", "10.0.0.10", "203.0.113.20"), ("cut-through-to-nat", "b2", CUT_EIP, "203.0.113.32")):
            public = world.ADDRESSES[world.PORTS[world.eni_port(eni)], src][2]
            port_drop(f"T6-{name}-{kind}", eni, src, eip, body, reason, also={public: {"out_dropped": 1}, eip: {"in_dropped": 1}})
        inbound(f"T14-T6-{name}-in", CUT_EIP, body)
        outbound(f"T14-T6-{name}-out", CUT_ENI, CUT_EIP, body)
        if not is_discovery:
            private(f"O11-T6-{name}", "a1", "10.0.0.10", "10.0.0.20", body)
    if not family.is6():
        redirects()
        quoted_options()


def redirects():
    """ICMP redirects name a router; one inside the VPC is nobody's business outside of it (RFC 1812 5.2.7.2)."""
    for name, router, told in (
        ("gateway", "10.0.0.1", True),
        ("nobody", "10.0.77.7", True),
        ("second-cidr", "172.20.1.9", True),
        ("outside", "192.0.2.1", False),
        ("other-private", "192.168.7.7", False),
        ("unspecified", "0.0.0.0", False),
    ):
        body = p.icmp_error(5, p.udp(), rest=p.ipaddress.ip_address(router).packed)
        left = None if name == "unspecified" else "early"
        if told:
            port_drop(f"T6-redirect-to-{name}-out", NAT_ENI, NAT_IP, world.REMOTE, body, "address-option", early=True, xdp="pass")
            both = {"203.0.113.10": {"out_dropped": 1}, "203.0.113.30": {"in_dropped": 1}}
            port_drop(f"T6-redirect-to-{name}-hairpin", NAT_ENI, NAT_IP, "203.0.113.30", body, "address-option", also=both, xdp="pass")
        else:
            outbound(f"T6-redirect-to-{name}-out", NAT_ENI, NAT_IP, body, xdp=left)
            hairpin(f"T6-redirect-to-{name}-hairpin", NAT_ENI, NAT_IP, "203.0.113.30", body, xdp=left)
        inbound(f"T6-redirect-to-{name}-in", NAT_EIP, body)
        outbound(f"T14-T6-redirect-to-{name}-out", CUT_ENI, CUT_EIP, body)
        private(f"O11-T6-redirect-to-{name}", "a1", "10.0.0.10", "10.0.0.20", body)


def quoted_options():
    """T6, T11: quoted options that carry addresses are refused, all others are translated with the rest."""
    for name, quoted in address_options():
        if "later" in name:
            continue
        body = p.icmp_error(3, quoted)
        uplink_drop(f"T6-quoted-{name}-in", NAT_EIP, body, "address-option", xdp="pass")
        port_drop(f"T6-quoted-{name}-out", NAT_ENI, NAT_IP, world.REMOTE, body, "address-option", xdp="pass")
        also = {"203.0.113.32": {"out_dropped": 1}, "203.0.113.11": {"in_dropped": 1}}
        port_drop(f"T6-quoted-{name}-hairpin", "d1", "10.0.0.20", "203.0.113.11", body, "address-option", also=also, xdp="pass")
        inbound(f"T14-T6-quoted-{name}-in", CUT_EIP, body)
        outbound(f"T14-T6-quoted-{name}-out", CUT_ENI, CUT_EIP, body)
        private(f"O11-T6-quoted-{name}", "a1", "10.0.0.10", "10.0.0.20", body)
    # Cut before its data: the option is there all the same.
    cut = p.icmp_error(3, p.udp(**p.options(RECORD_ROUTE + NOP)), size=28)
    uplink_drop("T6-quoted-record-route-without-transport-in", NAT_EIP, cut, "address-option", xdp="pass")


KINDS = ((3, "unreachable"), (4, "quench"), (5, "redirect"), (11, "time-exceeded"), (12, "parameter"))
# With those of kinds to come (RFC 4443 2.1).
KINDS6 = (
    (1, "unreachable"), (2, "too-big"), (3, "time-exceeded"), (4, "parameter"),
    *((kind, f"type-{kind}") for kind in (0, 5, 99, 100, 101, 127)),
)


def unreachable():
    return family.pick(3, 1)


def time_exceeded():
    return family.pick(11, 3)


def header():
    """The length of an IP header without options."""
    return family.pick(20, 40)


def quotes():
    """Name and body of ICMP errors about every shape of a quoted packet."""
    gone, late, end = unreachable(), time_exceeded(), header()
    for kind, name in family.pick(KINDS, KINDS6):
        yield name, p.icmp_error(kind, p.udp(), size=end + 8)
    for name, quoted in (
        ("tcp", p.tcp()),
        ("tcp-wrong", p.wrong(p.tcp(), 16, 0x0101)),
        ("udp", p.udp()),
        ("udp-wrong", p.wrong(p.udp(), 6, 0x1234)),
        ("udp-no-checksum", p.udp(chksum=0)),
        ("udplite", p.udplite()),
        ("dccp", p.dccp()),
        ("ping", p.ping()),
        ("sctp", p.sctp()),
        ("gre", p.gre()),
        ("esp", p.ESP),
        ("ah", p.ah()),
        ("protocol-253", p.other(253)),
        *family.pick(quotable4, quotable6)(),
        ("tcp-first-fragment", p.fragment(p.tcp(bytes(range(256))), 0, 64, more=True)),
        ("udp-first-fragment-8-bytes", p.fragment(p.udp(bytes(64)), 0, 8, more=True)),
        ("udp-later-fragment", p.fragment(p.udp(bytes(256)), 64, 64, more=False)),
        ("tcp-later-fragment-at-8-bytes", p.fragment(p.tcp(bytes(256)), 8, 64, more=True)),
        ("tcp-header-cut", p.cut(p.tcp(), 13)),
        ("udp-header-cut", p.cut(p.udp(), 5)),
    ):
        yield f"about-{name}", p.icmp_error(gone, quoted, code=4)
    # RFC 792: the header and 8 bytes. Shorter and longer ones come as well.
    for size in (0, 1, 5, 6, 8, 9, 20):
        yield f"quoting-{end + size}-bytes-of-udp", p.icmp_error(late, p.udp(), size=end + size, code=0)
    for size in (8, 16, 18, 20, 24):
        yield f"quoting-{end + size}-bytes-of-tcp", p.icmp_error(late, p.tcp(), size=end + size, code=0)
    # Half a checksum cannot be changed: the carry out of its other half is not known.
    yield f"quoting-{end + 7}-bytes-of-udp", p.icmp_error(late, p.with_somebodys_payload(p.udp()), size=end + 7, code=0)
    yield f"quoting-{end + 17}-bytes-of-tcp", p.icmp_error(late, p.with_somebodys_payload(p.tcp()), size=end + 17, code=0)
    # Whoever sends nothing but the quoted header's own length pads: what follows the quoted packet is not its checksum.
    yield "padded-behind-a-short-packet", p.icmp_error(gone, p.cut(p.udp(), 4), tail=b"\x55" * 8)
    yield "rfc4884-udp", p.rfc4884(p.udp(), late)
    yield "rfc4884-tcp", p.rfc4884(p.tcp(bytes(300)), late)
    yield "rfc4884-unreachable", p.rfc4884(p.udp(bytes(300)), gone)
    yield "checksum-wrong", p.wrong(p.icmp_error(gone, p.udp()), 2, 0x0101)
    about = p.icmp_error(gone, p.udp(bytes(256)))
    yield "first-fragment", p.fragment(about, 0, 64, more=True)
    yield "later-fragment", p.fragment(about, 64, 64, more=False)
    if family.is6():
        for name, chain in (("hop-by-hop", (p.hop_by_hop(),)), ("three-headers", (p.hop_by_hop(), p.routing(), p.destination_options()))):
            yield f"behind-{name}", p.behind(p.icmp_error(late, p.tcp()), *chain)
    else:
        yield "quoting-options-and-8-bytes", p.icmp_error(late, p.tcp(**p.options(SECURITY + NOP)), size=40)
        yield "with-options", p.icmp_error(late, p.udp(), **p.options(ROUTER_ALERT))
        yield "with-options-ihl-15", p.icmp_error(late, p.tcp(**p.options(NOP * 40)), **p.options(NOP * 40))


def quotable4():
    """Quoted packets that only IPv4 has."""
    yield "header-wrong", p.wrong(p.udp(), -10, 0x0101)
    yield "tcp-ihl-6", p.tcp(**p.options(NOP * 4))
    yield "router-alert", p.udp(**p.options(ROUTER_ALERT))
    yield "security", p.tcp(**p.options(SECURITY + NOP))
    yield "udp-ihl-15", p.udp(**p.options(NOP * 40))


def quotable6():
    """Quoted packets with extension headers, whole and cut."""
    all_of_them = (p.hop_by_hop(), p.destination_options(), p.routing(), p.destination_options())
    yield "ping-wrong", p.wrong(p.ping(), 2, 0x1234)
    yield "tcp-behind-hop-by-hop", p.behind(p.tcp(), p.hop_by_hop())
    yield "udp-behind-four-headers", p.behind(p.udp(), *all_of_them)
    yield "udp-behind-authentication", p.behind(p.udp(), p.authentication())
    yield "udp-atomic-fragment", p.behind(p.udp(), p.fragment_header())
    yield "first-fragment-behind-options", p.fragment(p.behind(p.udp(bytes(256)), p.hop_by_hop(), p.destination_options()), 0, 64, more=True)
    yield "later-fragment-behind-options", p.fragment(p.behind(p.udp(bytes(256)), p.hop_by_hop()), 64, 64, more=False)
    # The transport header is not there, or not found: what would be its checksum's place is data.
    yield "chain-cut", p.behind(p.with_somebodys_payload(p.udp()), *all_of_them, size=12)
    yield "chain-cut-in-a-header", p.behind(p.with_somebodys_payload(p.udp()), p.hop_by_hop(), p.destination_options(), size=11)
    yield "too-many-headers", p.behind(p.with_somebodys_payload(p.udp()), *[p.destination_options()] * 9)
    yield "too-long-headers", p.behind(p.with_somebodys_payload(p.udp()), p.destination_options(bytes(126)))
    yield "no-next-header", p.other(59)


# Those with options in the quoted header.
OPTIONS = ("about-tcp-ihl-6", "about-udp-ihl-15", "about-router-alert", "about-security", "quoting-options-and-8-bytes", "with-options-ihl-15")


def icmp_errors():
    """T9 to T13. An error goes to whom its quoted packet came from, so both are seen with the same addresses."""
    for name, body in quotes():
        # Quoted options are tc's to look through, and so is whom a redirect names.
        options = "pass" if name in OPTIONS else None
        sent = "early" if name == "redirect" else options
        inbound(f"T9-T11-{name}-in", NAT_EIP, body, xdp=options)
        outbound(f"T10-T11-{name}-out", NAT_ENI, NAT_IP, body, xdp=sent)
        hairpin(f"T13-{name}-nat-to-nat", "d1", "10.0.0.20", "203.0.113.11", body, xdp=sent)
        hairpin(f"T13-{name}-nat-to-cut-through", "a1", "10.0.0.10", "203.0.113.20", body, xdp=sent)
        hairpin(f"T13-{name}-cut-through-to-nat", "b2", "203.0.113.20", "203.0.113.10", body, xdp=options)
        inbound(f"T14-{name}-in", CUT_EIP, body)
        outbound(f"T14-{name}-out", CUT_ENI, CUT_EIP, body)
        private(f"O11-{name}", "a1", "10.0.0.10", "10.0.0.20", body)
        if name != "later-fragment":
            # A router inside, without an EIP, about an EIP's traffic.
            port_drop(f"T12a-{name}-no-eip", "b1", "10.0.0.20", world.REMOTE, body, "no-eip")
            port_drop(f"T12a-{name}-router", "a1", "10.0.200.1", world.REMOTE, body, "spoofed-source")
    # From a router on the way: the quoted packet was for somebody else.
    elsewhere = p.icmp_error(time_exceeded(), lambda src, dst, ttl: p.udp()(src, "198.18.99.1", ttl))
    inbound("T9-from-a-router-on-the-way-in", NAT_EIP, elsewhere)
    # A quoted checksum that comes out 0 is quoted as it would have been sent.
    for name, zero in (("udp", comes_out_zero), ("tcp", tcp_zero)):
        inbound(f"T11-T2-quoted-{name}-comes-out-zero-in", NAT_EIP, p.icmp_error(unreachable(), zero(NAT_IP, world.REMOTE)))
        body = p.icmp_error(unreachable(), zero(world.REMOTE, NAT_EIP))
        outbound(f"T11-T2-quoted-{name}-comes-out-zero-out", NAT_ENI, NAT_IP, body)


def quote_mismatches():
    """T12: dropped where something would have to be translated, nobody's business where not."""
    stranger, gone, end = "192.0.2.200", unreachable(), header()
    short = (
        ("ihl-4", p.icmp_error(gone, p.edited(p.udp(), 0, b"\x44", fix=False))),
        ("ihl-6-of-20-bytes", p.icmp_error(gone, p.edited(p.udp(), 0, b"\x46", fix=False), size=20)),
        ("ihl-15-of-59-bytes", p.icmp_error(gone, p.edited(p.udp(), 0, b"\x4f", fix=False), size=59)),
    )
    for name, body in (
        ("other-sender", p.icmp_error(gone, lambda src, dst, ttl: p.udp()(stranger, dst, ttl))),
        ("nothing", p.icmp_error(gone, p.udp(), size=0)),
        ("1-byte", p.icmp_error(gone, p.udp(), size=1)),
        (f"{end - 1}-bytes", p.icmp_error(gone, p.udp(), size=end - 1)),
        ("other-version", p.icmp_error(gone, p.edited(p.udp(), 0, family.pick(b"\x65", b"\x45"), fix=False))),
        ("version-0", p.icmp_error(gone, p.edited(p.udp(), 0, b"\x05", fix=False))),
        *((("type-100-nothing", p.icmp_error(100, p.udp(), size=0)),) if family.is6() else short),
        ("one-byte-of-icmp", p.cut(p.icmp(gone), 1)),
        ("icmp-header-only", p.cut(p.icmp(gone), 8)),
    ):
        uplink_drop(f"T12-{name}-in", NAT_EIP, body, "icmp-quote-mismatch")
        inbound(f"T14-T12-{name}-in", CUT_EIP, body)
        outbound(f"T14-T12-{name}-out", CUT_ENI, CUT_EIP, body)
        if name != "other-sender":
            port_drop(f"T12-{name}-out", NAT_ENI, NAT_IP, world.REMOTE, body, "icmp-quote-mismatch")
    other = p.icmp_error(gone, lambda src, dst, ttl: p.udp()(src, stranger, ttl))
    port_drop("T12-other-receiver-out", NAT_ENI, NAT_IP, world.REMOTE, other, "icmp-quote-mismatch")


def generate():
    forwarded()
    zero_checksums()
    tiny_fragments()
    addresses_told()
    icmp_errors()
    quote_mismatches()
