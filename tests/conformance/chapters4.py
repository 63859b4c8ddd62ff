"""IPv4. What every packet and every quote looks like is the packet path's own table (`tests/cases/rewrite.py`)."""

import struct

import packets as p
import rewrite
from suite import ERRORS, EXPIRED, FRAGMENTS, OWNER, PATTERN, PROTOCOLS, ROUTER, TOO_BIG, arrives

# By protocol: the packet that an error quotes.
FLOWS = {1: p.ping(), 6: p.tcp(), 17: p.udp(), 33: p.dccp(), 47: p.gre(), 50: p.ESP, 51: p.AH, 132: p.sctp(), 136: p.udplite(), 253: p.other(253)}

# Options that a router may change: it records its route, or clears what stands behind the last one.
ROUTERS_CHANGE = ("T6-record-route-ihl-7", "T6-end-of-list")

# What answers a question, and the question.
ANSWERS = {
    "T3-echo-reply": p.icmp(8),
    "T3-timestamp-reply": p.icmp(13, payload=bytes(12)),
    "T3-information-reply": p.icmp(15),
    "T3-mask-reply": p.icmp(17, payload=bytes(4)),
}

# Of what cut-through does not touch, as many as show that it does not.
CUT_THROUGH = (
    "T1-tcp", "T1-udp", "T2-udp-no-checksum", "T3-echo-request", "T4-sctp", "T4-esp", "T4-ah", "T4-gre", "T4-6in4", "T4-ospf",
    "T5-tcp-wrong", "T6-router-alert", "T7-tcp-first", "T7-tcp-later", "T7-udp-last-1-byte", "T15-all-ones", "R5-tcp-cut-in-checksum",
)  # fmt: skip
CUT_THROUGH_ERRORS = ("about-tcp", "about-udp-later-fragment", "about-header-wrong", "rfc4884-udp", "quoting-28-bytes-of-udp")


def prelude(error):
    quote = p.header_end(error) + 8
    if error[9] != 1 or len(error) < quote + 20 or error[6] & 0x3F or error[7]:
        return None
    return FLOWS.get(error[quote + 9])


def forwarded(suite):
    for number, (name, body) in enumerate(rewrite.bodies()):
        if name in ROUTERS_CHANGE:
            continue
        row = name.split("-")[0]
        suite.group = FRAGMENTS if row == "T7" else ROUTER if row == "R5" else PROTOCOLS
        if row == "T7":
            # Nobody shall take it for a fragment of another case's packet.
            body = p.edited(body, 4, struct.pack("!H", 0xE000 + number))
        suite.everywhere(name, row, body, asked=ANSWERS.get(name), cut=name in CUT_THROUGH)


def zero_checksums(suite):
    suite.group = PROTOCOLS
    for kind, zero in (("udp", rewrite.comes_out_zero), ("udplite", rewrite.udplite_zero), ("tcp", rewrite.tcp_zero)):
        for direction, way in (("in", suite.way_in()), ("out", suite.way_out()), ("hairpin", suite.way_across())):
            body = zero(*way[3])
            # To a receiver of TCP all ones are the same as zero (RFC 1624 3).
            ones = p.edited(body, 36, b"\xff\xff") if kind == "tcp" else None
            suite.passes(f"T2-{kind}-comes-out-zero-{direction}", "T2", body, way, otherwise=ones)
    for direction, way in (("in", suite.way_in()), ("out", suite.way_out())):
        suite.passes(f"T2-udp-comes-in-ffff-{direction}", "T2", rewrite.comes_out_zero(*way[1]), way)


def fragments(suite):
    suite.group = FRAGMENTS
    big = p.tcp(bytes(range(256)))
    for name, body in (
        ("tcp-first-8-bytes", p.fragment(big, 0, 8, more=True)),
        ("tcp-first-16-bytes", p.fragment(big, 0, 16, more=True)),
        ("tcp-at-8-bytes", p.fragment(big, 8, 64, more=True)),
        ("tcp-last-at-8-bytes", p.fragment(big, 8, 400, more=False)),
        ("udp-first-4-bytes", p.fragment(p.udp(), 0, 4, more=True)),
    ):
        suite.nowhere(f"T8-{name}", "T8", body)
        suite.passes(f"T8-{name}-cut-through-in", "T14", body, suite.way_in("c"))
    long = bytes(range(256)) * 5
    for number, (kind, body) in enumerate((("udp", p.udp(long)), ("tcp", p.tcp(long)), ("ping", p.ping(long)))):
        parts = [p.fragment(body, at, 600, more=at < 1200, identification=0xF000 + number) for at in (0, 600, 1200)]
        for direction, way in (("in", suite.way_in()), ("out", suite.way_out()), ("hairpin", suite.way_across())):
            suite.sequence(f"T7-{kind}-all-three-{direction}", "T7", parts, way)
        suite.sequence(f"T7-{kind}-later-ones-first-in", "T7", parts[::-1], suite.way_in(src="192.0.2.78"))


def icmp_errors(suite):
    suite.group = ERRORS
    for name, body in rewrite.quotes():
        suite.errors(f"T11-{name}", "T11", body, cut=name in CUT_THROUGH_ERRORS)
    bed = suite.bed
    elsewhere = p.icmp_error(11, lambda src, dst, ttl: p.udp()(src, bed.elsewhere, ttl), code=0)
    suite.error("T9-from-a-router-on-the-way-in", "T9", elsewhere, suite.way_in(), about=bed.elsewhere)
    for kind, zero in (("udp", rewrite.comes_out_zero), ("tcp", rewrite.tcp_zero)):
        for direction, way in (("in", suite.way_in()), ("out", suite.way_out())):
            body = p.icmp_error(3, zero(*way[3][::-1]))
            suite.error(f"T11-quoted-{kind}-comes-out-zero-{direction}", "T11 T2", body, way)
    for size in (576, 1400):
        body = p.icmp_error(3, p.udp(bytes(1400)), code=4, size=size - 28)
        suite.errors(f"T11-an-error-of-{size}-bytes", "T11", body)
    for name, body in mismatches():
        suite.vanishes(f"T12-{name}-in", "T12", body, suite.way_in())
        suite.vanishes(f"T12-{name}-out", "T12", body, suite.way_out())
        suite.passes(f"T12-{name}-cut-through-in", "T14", body, suite.way_in("c"))
    stranger = "192.0.2.200"
    suite.vanishes("T12-other-sender-in", "T12", p.icmp_error(3, lambda src, dst, ttl: p.udp()(stranger, dst, ttl)), suite.way_in())
    suite.vanishes("T12-other-receiver-out", "T12", p.icmp_error(3, lambda src, dst, ttl: p.udp()(src, stranger, ttl)), suite.way_out())
    # A router inside, without an address of its own outside, about what an EIP was sent.
    about = p.icmp_error(3, lambda src, dst, ttl: p.udp()(src, bed.inside("a"), ttl))
    # Or in the name of the EIP that it is about (RFC 5508, REQ-5).
    public = bed.guests["a"].public
    named = [arrives("internet", p.icmp_error(3, p.udp())(public, bed.remote, 63))]
    suite.vanishes("T12a-without-an-eip", "T12a", about, ("n", (bed.inside("n"), bed.remote)), otherwise=named)
    suite.vanishes("T12a-a-router-inside", "T12a", about, ("a", ("10.0.0.99", bed.remote)))


def mismatches():
    """Errors that quote too little to say what they are about."""
    yield "nothing", p.icmp_error(3, p.udp(), size=0)
    yield "1-byte", p.icmp_error(3, p.udp(), size=1)
    yield "19-bytes", p.icmp_error(3, p.udp(), size=19)
    yield "version-6", p.icmp_error(3, p.edited(p.udp(), 0, b"\x65", fix=False))
    yield "ihl-4", p.icmp_error(3, p.edited(p.udp(), 0, b"\x44", fix=False))
    yield "ihl-15-of-59-bytes", p.icmp_error(3, p.edited(p.udp(), 0, b"\x4f", fix=False), size=59)
    yield "icmp-header-only", p.cut(p.icmp(3), 8)


def expired(source, destination, packet):
    """RFC 1812 4.3.2.3: as much of the packet as fits into 576 bytes."""
    return p.icmp_error(11, lambda *_: packet, size=548, code=0, rest=bytes(4), tos=0xC0, id=0)(source, destination, 64)


def too_big(mtu):
    def message(source, destination, packet):
        rest = b"\0\0" + mtu.to_bytes(2, "big")
        return p.icmp_error(3, lambda *_: packet, size=548, code=4, rest=rest, tos=0xC0, id=0)(source, destination, 64)

    return message


def time_exceeded(suite):
    suite.group = EXPIRED
    for name, body in (
        ("udp", p.udp()),
        ("tcp", p.tcp()),
        ("ping", p.ping()),
        ("echo-reply", p.icmp_echo_reply()),
        ("sctp", p.sctp()),
        ("esp", p.ESP),
        ("udp-no-checksum", p.udp(chksum=0)),
        ("tcp-wrong", p.wrong(p.tcp(), 16, 0x0101)),
        ("udp-ihl-15", p.udp(**p.options(rewrite.NOP * 40))),
        ("first-fragment", p.fragment(p.udp(bytes(256)), 0, 64, more=True)),
        ("quote-of-547-bytes", p.udp(bytes(519))),
        ("quote-of-548-bytes", p.udp(bytes(520))),
        ("quote-cut-at-548-bytes", p.udp(bytes(521))),
        ("quote-cut-of-1400-bytes", p.udp(bytes(range(250)) * 5 + bytes(122))),
        ("header-only", p.other(99, b"")),
    ):
        suite.answer(f"R2-{name}-in", "R2", body, suite.way_in(), expired, ttl=1)
        suite.answer(f"R2-{name}-out", "R2", body, suite.way_out(), expired, ttl=1)
    for name, way in (("hairpin", suite.way_across()), ("self", suite.way_across("a", "a"))):
        suite.answer(f"R2-{name}", "R2 O12", p.udp(), way, expired, ttl=1)
    for name, way in (("in", suite.way_in("c")), ("out", suite.way_out("c")), ("to-nat", suite.way_across("c", "a"))):
        suite.answer(f"R2-cut-through-{name}", "R2", p.tcp(), way, expired, ttl=1)
    for direction, way in (("in", suite.way_in()), ("out", suite.way_out())):
        suite.answer(f"R2-ttl-0-{direction}", "R2", p.udp(), way, expired, ttl=0)
        suite.answer(f"R2-padded-{direction}", "R2 R6", p.udp(b"x"), way, expired, ttl=1, padding=17)
        # RFC 1812 4.3.2.7: no error about an error, about a later fragment.
        for kind, _ in rewrite.KINDS:
            suite.vanishes(f"R2-about-icmp-{kind}-{direction}", "R2", p.icmp_error(kind, p.udp()), way, ttl=1)
        suite.vanishes(f"R2-later-fragment-{direction}", "R2", p.fragment(p.udp(bytes(256)), 64, 64, more=True), way, ttl=1)
        suite.vanishes(f"R2-last-fragment-{direction}", "R2", p.fragment(p.udp(bytes(256)), 64, 64, more=False), way, ttl=1)
    nobody = "internet", (suite.bed.remote, suite.bed.unassociated)
    suite.vanishes("R2-unassociated", "R2 O3", p.udp(), nobody, ttl=1)
    # What has no way out has no hops to count; who counts them first is a router as well.
    suite.answer("R2-without-an-eip", "R2 O8", p.udp(), ("n", (suite.bed.inside("n"), suite.bed.remote)), expired, ttl=1, otherwise=[])
    suite.vanishes("R2-spoofed", "R2 O9", p.udp(), ("a", (suite.bed.inside("b"), suite.bed.remote)), ttl=1)
    suite.vanishes("R2-multicast", "R2 O17", p.udp(), ("a", (suite.bed.inside("a"), "224.0.0.5")), ttl=1)


DF = b"\x40\0"


def sized(size, body=p.udp, **fields):
    """A packet of so many bytes."""
    head = len(body(b"", **fields)("0.0.0.0", "0.0.0.0", 1))
    return body(PATTERN[: size - head], **fields)


def sizes(suite):
    suite.group = TOO_BIG
    bed = suite.bed
    small, uplink = bed.guests["s"].mtu, bed.uplink_mtu
    places = (
        ("in", suite.way_in("s"), small),
        ("out", suite.way_out("a"), uplink),
        ("hairpin", suite.way_across("a", "s"), small),
        ("cut-through-out", suite.way_out("c"), uplink),
        ("cut-through-hairpin", suite.way_across("c", "s"), small),
    )
    for where, way, mtu in places:
        suite.passes(f"R3-fits-{where}", "R3", p.edited(sized(mtu), 6, DF), way)
        suite.passes(f"R3-fits-without-df-{where}", "R3", sized(mtu), way)
        bodies = [("one-byte-over", sized(mtu + 1)), ("tcp", sized(mtu + 100, p.tcp)), ("ping", sized(mtu + 200, p.ping)), ("echo-reply", sized(mtu + 200, p.icmp_echo_reply))]
        bodies.append(("no-checksum", sized(mtu + 2, chksum=0)))
        bodies.append(("wrong-checksum", p.wrong(sized(mtu + 3, p.tcp), 16, 0x0101)))
        bodies.append(("options", sized(mtu + 4, p.tcp, **p.options(rewrite.NOP * 12))))
        for name, body in bodies:
            suite.answer(f"R3-{name}-{where}", "R3", p.edited(body, 6, DF), way, too_big(mtu))
        suite.answer(f"R3-no-hops-left-{where}", "R3 R2", p.edited(sized(mtu + 1), 6, DF), way, expired, ttl=1)
        about = p.icmp_error(3, p.udp(bytes(1600)), code=1, size=mtu - 20)
        suite.vanishes(f"R3-about-an-error-{where}", "R3", p.edited(about, 6, DF), way)
        later = p.edited(p.fragment(p.udp(bytes(1900)), 8, mtu - 12, more=False), 6, b"\x40\x01")
        suite.vanishes(f"R3-later-fragment-{where}", "R3", later, way)
        fragmentable(suite, where, way, mtu)
    suite.passes("R3-padding-does-not-count-in", "R3 R6", p.edited(sized(small), 6, DF), suite.way_in("s"), padding=9)


def fragmentable(suite, where, way, mtu):
    """R4: RFC 791, RFC 1812 5.2.6. A router that fragments may choose any size that fits."""
    for name, body in (
        ("one-byte-over", sized(mtu + 1)),
        ("tcp", sized(mtu + 100, p.tcp)),
        ("ping", sized(mtu + 200, p.ping)),
        ("esp", sized(mtu + 50, lambda payload: p.other(50, payload))),
        ("no-checksum", sized(mtu + 2, chksum=0)),
        ("wrong-checksum", p.wrong(sized(mtu + 3, p.tcp), 16, 0x0101)),
        ("first-fragment", p.edited(sized(mtu + (20 - mtu - 1) % 8 + 1), 6, b"\x20\0")),
        ("last-fragment", p.edited(sized(mtu + 4, lambda payload: p.other(17, payload)), 6, b"\x00\x70")),
    ):
        suite.fragmented(f"R4-{name}-{where}", "R4", body, way, mtu)


def router(suite):
    suite.group = ROUTER
    for ttl in (255, 3, 2):
        suite.everywhere(f"R1-ttl-{ttl}", "R1", p.udp(), ttl=ttl)
    tcp = p.tcp()
    for name, body in (
        ("version-6", p.edited(tcp, 0, b"\x65")),
        ("version-0", p.edited(tcp, 0, b"\x05")),
        ("ihl-4", p.edited(tcp, 0, b"\x44")),
        ("length-under-header", p.edited(tcp, 2, b"\0\x13")),
        ("length-over-frame", p.edited(tcp, 2, b"\x01\0")),
        ("truncated", lambda *a: tcp(*a)[:-1]),
        ("header-cut", lambda *a: tcp(*a)[:19]),
        ("ihl-over-length", p.edited(p.cut(tcp, 3), 0, b"\x4f", fix=False)),
        ("wrong-header-checksum", p.edited(tcp, 10, b"\xbe\xef", fix=False)),
        ("zero-header-checksum", p.edited(tcp, 10, b"\0\0", fix=False)),
    ):
        suite.nowhere(f"R5-{name}", "R5", body)
    for name, data in (("loose", b"\x83\x07\x04\xc0\0\x02\x09\x01"), ("strict", b"\x01\x89\x07\x04\xc0\0\x02\x09")):
        suite.nowhere(f"R5a-{name}-source-route", "R5a", p.udp(**p.options(data)))
    for direction, way in (("in", suite.way_in()), ("out", suite.way_out())):
        suite.vanishes(f"R5b-for-another-mac-{direction}", "R5b", p.udp(), way, other_mac=True)
        for kind, body in (("udp", p.udp(b"x")), ("tcp", p.tcp(b""))):
            suite.passes(f"R6-padded-{kind}-{direction}", "R6", body, way, padding=6)


def owner(suite):
    suite.group = OWNER
    bed = suite.bed
    remote, inside = bed.remote, bed.inside
    for name, body in (("udp", p.udp()), ("tcp", p.tcp()), ("ping", p.ping()), ("gre", p.gre())):
        suite.vanishes(f"O3-{name}-unassociated", "O3", body, ("internet", (remote, bed.unassociated)))
        suite.vanishes(f"O8-{name}-without-an-eip", "O8", body, ("n", (inside("n"), remote)))
        suite.vanishes(f"O9-{name}-anothers-address", "O9", body, ("a", (inside("b"), remote)))
        suite.passes(f"O13-{name}-to-itself", "O13", body, suite.way_across("a", "a"))
        suite.passes(f"O12-{name}-to-cut-through", "O12", body, suite.way_across("a", "c"))
        suite.passes(f"O12-{name}-from-cut-through", "O12", body, suite.way_across("c", "a"))
        suite.vanishes(f"O12-{name}-to-nobodys-eip", "O12 O3", body, ("a", (inside("a"), bed.unassociated)))
    suite.passes("O12-back-again", "O12", p.udp(), suite.way_across("b", "a"))
    suite.passes("O13-cut-through-to-itself", "O13", p.udp(), suite.way_across("c", "c"))
    for name, address in (("nobodys-private", "10.0.0.99"), ("public", remote), ("own-eip", bed.guests["a"].public), ("zero", "0.0.0.0"), ("loopback", "127.0.0.1")):
        suite.vanishes(f"O9-source-{name}", "O9", p.udp(), ("a", (address, remote)))
    cut = bed.guests["c"]
    suite.vanishes("O10-cut-through-private-source", "O10", p.udp(), ("c", (cut.private, remote)))
    suite.vanishes("O10-cut-through-to-private", "O10", p.udp(), ("c", (cut.public, inside("b"))))
    suite.vanishes("O10-private-to-cut-through", "O10", p.udp(), ("b", (inside("b"), cut.private)), cut=True)
    for name, source in (
        ("an-eip", bed.guests["b"].public),
        ("its-own-eip", bed.guests["a"].public),
        ("zero", "0.1.2.3"),
        ("loopback", "127.0.0.1"),
        ("multicast", "224.0.0.9"),
        ("reserved", "240.0.0.1"),
        ("broadcast", "255.255.255.255"),
        ("private", inside("b")),
    ):
        suite.vanishes(f"O15-from-{name}", "O15", p.udp(), ("internet", (source, bed.guests["a"].public)))
    for name, target in (
        ("zero", "0.1.2.3"),
        ("loopback", "127.0.0.1"),
        ("link-local", "169.254.1.1"),
        ("multicast", "224.0.0.5"),
        ("multicast-239", "239.1.2.3"),
        ("reserved", "240.0.0.1"),
        ("broadcast", "255.255.255.255"),
    ):
        suite.vanishes(f"O17-to-{name}", "O17", p.udp(), ("a", (inside("a"), target)))


def generate(suite):
    owner(suite)
    forwarded(suite)
    zero_checksums(suite)
    fragments(suite)
    icmp_errors(suite)
    router(suite)
    time_exceeded(suite)
    sizes(suite)
