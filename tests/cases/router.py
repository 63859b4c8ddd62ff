"""R: being a router: TTL, sizes, malformed packets, ARP and DHCP."""

from scapy.all import BOOTP, DHCP, IP, UDP, Ether

import family
import packets as p
import world
from case import (
    DAEMON,
    PASS,
    add,
    arp,
    drop,
    fragmented_between,
    fragmented_in,
    fragmented_out,
    frame,
    from_port,
    hairpin,
    inbound,
    outbound,
    port_drop,
    port_told,
    private,
    reply,
    tagged,
    to_neighbour,
    uplink_drop,
    uplink_pass,
    uplink_told,
)

EIP, ENI, ADDRESS = "203.0.113.10", "a1", "10.0.0.10"
CUT, CUT_ENI = "203.0.113.20", "b2"
TCP, UDP_BODY = p.tcp(), p.udp()
BROADCAST = "ff:ff:ff:ff:ff:ff"
NOBODY = "00:00:00:00:00:00"


def ttl():
    for value in (255, 128, 64, 3, 2):
        inbound(f"R1-ttl-{value}-in", EIP, UDP_BODY, ttl=value)
        outbound(f"R1-ttl-{value}-out", ENI, ADDRESS, UDP_BODY, ttl=value)
        hairpin(f"R1-ttl-{value}-hairpin", ENI, ADDRESS, "203.0.113.30", UDP_BODY, ttl=value)
        inbound(f"R1-ttl-{value}-cut-through-in", CUT, UDP_BODY, ttl=value)
        outbound(f"R1-ttl-{value}-cut-through-out", CUT_ENI, CUT, UDP_BODY, ttl=value)
    late = "ttl-exceeded"
    for value in (1, 0):
        for name, eip in (("", EIP), ("-cut-through", CUT), ("-other-pool", "198.18.7.20")):
            uplink_told(f"R2-ttl-{value}{name}-in", eip, UDP_BODY, late, ttl=value)
        for name, eni, address in (
            ("", ENI, ADDRESS),
            ("-second-cidr", "j1", "172.20.3.30"),
            ("-vpc-2", "c1", ADDRESS),
            ("-many", "m1", "10.0.1.10"),
            # The pool of one has no gateway: the uplink's address stands for it.
            ("-cut-through", CUT_ENI, CUT),
            ("-cut-through-other-pool", "m3", "198.18.7.20"),
        ):
            port_told(f"R2-ttl-{value}{name}-out", eni, address, world.REMOTE, UDP_BODY, late, ttl=value)
        both = {EIP: {"out_dropped": 1}, "203.0.113.30": {"in_dropped": 1}}
        port_told(f"R2-ttl-{value}-hairpin", ENI, ADDRESS, "203.0.113.30", UDP_BODY, late, ttl=value, also=both)
        both = {"198.18.7.20": {"out_dropped": 1}, "203.0.113.30": {"in_dropped": 1}}
        port_told(f"R2-ttl-{value}-cut-through-hairpin", "m3", "198.18.7.20", "203.0.113.30", UDP_BODY, late, ttl=value, also=both)
        # Another reason not to forward it comes first.
        uplink_drop(f"R2-ttl-{value}-unassociated", "203.0.113.60", UDP_BODY, "no-association", ttl=value)
        uplink_drop(f"R2-ttl-{value}-detached", "203.0.113.50", UDP_BODY, "eni-detached", ttl=value)
        port_drop(f"R2-ttl-{value}-no-eip", "b1", "10.0.0.20", world.REMOTE, UDP_BODY, "no-eip", ttl=value)


def told():
    """What is quoted of which packet, and who is never told."""
    late, longest = "ttl-exceeded", family.pick(576 - 28, 1280 - 48)
    error = p.icmp_error(family.pick(3, 1), UDP_BODY)
    for name, body in (
        ("tcp", TCP),
        ("ping", p.ping()),
        ("echo-reply", p.icmp_echo_reply()),
        ("odd", p.udp(b"odd")),
        ("no-payload", p.other(99, b"")),
        ("protocol-253", p.other(253)),
        ("wrong-checksum", p.wrong(p.udp(), 6, 0x1234)),
        ("first-fragment", p.fragment(p.udp(bytes(256)), 0, 64, more=True)),
        ("longest", sized(longest)),
        ("one-byte-more", sized(longest + 1)),
        ("one-byte-less", sized(longest - 1)),
        ("full-sized", sized(1500)),
    ):
        uplink_told(f"R2-quoting-{name}-in", EIP, body, late, ttl=1)
        port_told(f"R2-quoting-{name}-out", ENI, ADDRESS, world.REMOTE, body, late, ttl=1)
    uplink_told("R2-quoting-no-padding-in", EIP, p.udp(b""), late, ttl=1, padding=b"\xa5" * 18)
    port_told("R2-quoting-no-padding-out", ENI, ADDRESS, world.REMOTE, p.udp(b""), late, ttl=1, padding=b"\xa5" * 18)
    silent = [("error", error), ("first-fragment-of-an-error", p.fragment(p.icmp_error(family.pick(11, 3), p.udp(bytes(256))), 0, 64, more=True))]
    later = p.fragment(p.udp(bytes(256)), 64, 64, more=False)
    if family.is6():
        silent.append(("error-to-come", p.icmp(100)))
        silent.append(("error-behind-headers", p.behind(error, p.hop_by_hop(), p.destination_options())))
        silent.append(("redirect", p.behind(p.icmp(137), p.destination_options())))
        uplink_told("R2-quoting-later-fragment-in", EIP, later, late, ttl=1)
        uplink_told("R2-quoting-headers-in", EIP, p.behind(TCP, p.hop_by_hop(), p.routing(), p.destination_options()), late, ttl=1)
        port_told("R2-quoting-headers-out", ENI, ADDRESS, world.REMOTE, p.behind(TCP, p.hop_by_hop(), p.destination_options()), late, ttl=1)
    else:
        silent.append(("redirect", p.icmp(5)))
        silent.append(("later-fragment", later))
        uplink_told("R2-quoting-options-in", EIP, p.tcp(**p.options(b"\x01" * 40)), late, ttl=1)
        port_told("R2-quoting-options-out", ENI, ADDRESS, world.REMOTE, p.tcp(**p.options(b"\x01" * 40)), late, ttl=1)
    for name, body in silent:
        uplink_drop(f"R2-silent-{name}-in", EIP, body, late, ttl=1, xdp="pass")
        port_drop(f"R2-silent-{name}-out", ENI, ADDRESS, world.REMOTE, body, late, ttl=1, xdp="early" if name == "redirect" and not family.is6() else "pass")
    # An uplink that has no address to tell anybody from.
    uplink_drop("R2-silent-uplink-without-address-in", EIP, UDP_BODY, late, ttl=1, xdp="pass", uplink=world.UPLINK2)


def sized(size, **fields):
    """A UDP packet of so many bytes."""
    return p.udp(bytes(size - family.pick(28, 48)), **fields)


def whole(body):
    """The packet, not to be fragmented."""
    return body if family.is6() else p.edited(body, 6, b"\x40\0")


def sizes():
    """The ENI t1 has an MTU of 1300, j1 one of 9000, the uplink 1500."""
    small, jumbo, big, eip = ("t1", "10.0.0.70"), ("j1", "172.20.3.30"), "too-big", "203.0.113.70"
    inbound("R3-fits-in", eip, sized(1300))
    uplink_told("R3-too-big-in", eip, whole(sized(1301)), big, mtu=1300)
    uplink_told("R3-full-sized-in", eip, whole(sized(1500)), big, mtu=1300)
    outbound("R3-fits-out", *jumbo, sized(1500))
    port_told("R3-too-big-out", *jumbo, world.REMOTE, whole(sized(1501)), big, mtu=1500)
    port_told("R3-jumbo-out", *jumbo, world.REMOTE, whole(sized(3400)), big, mtu=1500)
    hairpin("R3-fits-hairpin", ENI, ADDRESS, eip, sized(1300))
    outbound("R3-fits-from-small-link-out", *small, sized(1500))
    both = {EIP: {"out_dropped": 1}, eip: {"in_dropped": 1}}
    port_told("R3-too-big-hairpin", ENI, ADDRESS, eip, whole(sized(1301)), big, mtu=1300, also=both)
    if not family.is6():
        fragments(small, jumbo, eip)
        port_told("R2-too-big-without-hops-out", *jumbo, world.REMOTE, sized(1501), "ttl-exceeded", ttl=1)
    to_neighbour("R3-O18-fits", *jumbo, sized(1400))
    port_told("R3-O18-too-big", *jumbo, world.NEIGHBOUR, whole(sized(1401)), big, mtu=1400)
    error = p.icmp_error(family.pick(3, 1), p.udp(bytes(1400)))
    uplink_drop("R3-silent-error-in", eip, whole(error), big, xdp="pass")
    uplink_drop("R3-silent-uplink-without-address-in", eip, whole(sized(1301)), big, xdp="pass", uplink=world.UPLINK2)
    hairpin("R7-jumbo-hairpin", *jumbo, "203.0.113.80", sized(8999))
    private("R7-jumbo-private", *jumbo, "172.20.3.30", sized(9000))
    hairpin("R7-two-pages-hairpin", *jumbo, "203.0.113.80", p.tcp(bytes(4000)))
    inbound("R7-jumbo-in", "203.0.113.80", sized(9000))
    private("O11-fits-private", "a1", ADDRESS, "10.0.0.70", sized(1300))
    port_told("O11-too-big-private", "a1", ADDRESS, "10.0.0.70", whole(sized(1301)), big, mtu=1300, known=False)
    for name, size, pad in (("fits", 1260, 40), ("does-not-fit", 1261, 40), ("does-not-count", 1300, 40), ("of-a-byte", 1300, 1)):
        inbound(f"R3-padding-{name}-in", eip, sized(size), padding=bytes(pad))
    outbound("R3-padding-does-not-count-out", *jumbo, sized(1500), padding=bytes(40))
    private("R3-padding-does-not-count-private", "a1", ADDRESS, "10.0.0.70", sized(1300), padding=bytes(40))
    # The packet that is too big and has no hops left.
    uplink_told("R2-too-big-without-hops-in", eip, whole(sized(1301)), "ttl-exceeded", ttl=1)


def numbered(size, **fields):
    """A UDP packet of so many bytes, each place of which can be told from the others."""
    return p.udp(b"".join(number.to_bytes(2, "big") for number in range(5000))[: size - 28], **fields)


def fragments(small, jumbo, eip):
    """R4, RFC 791 3.2: cut in every direction, and between EIPs."""
    options, security = p.options(b"\x94\x04\0\0\x01\x1e\x04\0\0\x01\x01\x01"), p.options(b"\x82\x0b" + bytes(9) + b"\x01")
    # The last fragments of 1, 7, 8 and 9 bytes of what the largest one carries.
    edges = tuple(1300 + more for more in (1, 7, 8, 9, 100, 1279, 1280, 1281))
    for name, body in (
        *((f"of-{size}-bytes", numbered(size)) for size in edges),
        ("of-3400-bytes", numbered(3400)),
        ("tcp", p.tcp(bytes(range(256)) * 6)),
        ("ping", p.ping(bytes(range(256)) * 6)),
        ("other", p.other(253, bytes(range(256)) * 6)),
        ("udp-no-checksum", numbered(1500, chksum=0)),
        ("udp-wrong", p.wrong(numbered(1500), 6, 0x0101)),
        ("first-fragment", p.fragment(numbered(3000), 0, 1408, more=True)),
        ("later-fragment", p.fragment(numbered(3000), 1600, 1400, more=True)),
        ("last-fragment", p.fragment(numbered(3000), 1600, 1372, more=False)),
        ("options", numbered(1500, **options)),
        ("copied-option", numbered(1500, **security)),
        ("ihl-15", numbered(1500, **p.options(b"\x01" * 40))),
        ("dscp", numbered(1500, tos=0xB8)),
        ("identification-0", numbered(1500, id=0)),
    ):
        fragmented_in(f"R4-{name}-in", eip, body)
        fragmented_between(f"R4-{name}-hairpin", ENI, ADDRESS, eip, body)
        fragmented_between(f"R4-{name}-private", ENI, ADDRESS, "10.0.0.70", body)
        fragmented_between(f"R4-{name}-from-cut-through", CUT_ENI, CUT, eip, body)
    for name, body in (
        ("udp", numbered(1501)),
        ("of-3400-bytes", numbered(3400)),
        ("tcp", p.tcp(bytes(1470))),
        ("ping", p.ping(bytes(2000))),
        ("udp-no-checksum", numbered(1600, chksum=0)),
        ("fragment", p.fragment(p.udp(bytes(3000)), 0, 1600, more=True)),
        ("options", numbered(1600, **options)),
    ):
        fragmented_out(f"R4-{name}-out", *jumbo, body)
        fragmented_out(f"R4-O18-{name}-out", *jumbo, body, dst=world.NEIGHBOUR)
    fragmented_in("R4-too-big-in", eip, sized(1301))
    fragmented_between("R4-too-big-hairpin", ENI, ADDRESS, eip, sized(1301))
    fragmented_between("R4-too-big-private", ENI, ADDRESS, "10.0.0.70", sized(1301))
    fragmented_in("R4-ttl-2-in", eip, sized(1301), ttl=2)
    fragmented_out("R4-ttl-2-out", *jumbo, sized(1501), ttl=2)
    fragmented_out("R4-padded-out", *jumbo, sized(1501), padding=b"\xa5" * 30)
    for vlan in (world.UPLINK_VLAN, world.UPLINK_VLANS):
        name = "stack" if isinstance(vlan, tuple) else "vlan"
        fragmented_in(f"T16-R4-{name}-in", eip, numbered(1400), vlan=vlan)
    for name, eni, address in (("vlan", "v1", "10.0.2.10"), ("stack", "q1", "10.0.3.10")):
        fragmented_between(f"T16-R4-{name}-hairpin", eni, address, eip, numbered(1400))
    fragmented_out("T16-R4-O18-vlan-out", "v1", "10.0.2.10", numbered(1450), dst=world.NEIGHBOUR)
    # Of several pages, as jumbo frames bring them: up to 9,216 bytes.
    for size in (3600, 5000, 9000, 9215, 9216):
        fragmented_in(f"R4-R7-of-{size}-bytes-in", eip, numbered(size))
        fragmented_out(f"R4-R7-of-{size}-bytes-out", *jumbo, numbered(size))
        fragmented_out(f"R4-R7-O18-of-{size}-bytes-out", *jumbo, numbered(size), dst=world.NEIGHBOUR)
        fragmented_between(f"R4-R7-of-{size}-bytes-hairpin", *jumbo, eip, numbered(size))
        fragmented_between(f"R4-R7-of-{size}-bytes-private", *jumbo, "10.0.0.70", numbered(size))
    fragmented_out("R4-R7-tcp-out", *jumbo, p.tcp(bytes(range(256)) * 30))
    fragmented_out("R4-R7-fragment-out", *jumbo, p.fragment(numbered(9400), 0, 8800, more=True))
    fragmented_in("R4-R7-options-in", eip, numbered(8000, **options))
    for size in (9217, 9400):
        uplink_told(f"R4-R7-of-{size}-bytes-in", eip, numbered(size), "too-big", mtu=1300)
        port_told(f"R4-R7-of-{size}-bytes-out", *jumbo, world.REMOTE, numbered(size), "too-big", mtu=1500)
    # Many: the ENI z1 has an MTU of 100.
    tiny, big = "203.0.113.61", "too-big"
    for size in (101, 180, 1000, 2016):
        fragmented_in(f"R4-of-{size}-bytes-to-mtu-100-in", tiny, numbered(size))
    # More than 28 of 80 bytes each.
    uplink_told("R4-too-many-in", tiny, numbered(2261), big, mtu=100)
    both = {EIP: {"out_dropped": 1}, tiny: {"in_dropped": 1}}
    port_told("R4-too-many-hairpin", ENI, ADDRESS, tiny, numbered(2261), big, mtu=100, also=both)
    port_told("R4-too-many-private", ENI, ADDRESS, "10.0.0.61", numbered(2261), big, mtu=100, known=False)


def malformed6():
    for name, body in (
        ("version-4", p.edited(TCP, 0, b"\x45")),
        ("version-0", p.edited(TCP, 0, b"\x05")),
        ("length-over-frame", p.edited(TCP, 4, (len(TCP(EIP, EIP, 64)) - 39).to_bytes(2, "big"), fix=False)),
        ("length-ffff", p.edited(TCP, 4, b"\xff\xff", fix=False)),
        ("truncated", lambda *a: TCP(*a)[:-1]),
        ("header-only-cut", lambda *a: TCP(*a)[:39]),
        ("addresses-cut", lambda *a: TCP(*a)[:24]),
        ("one-byte", lambda *a: TCP(*a)[:1]),
        ("no-header", lambda *a: b""),
    ):
        # Before anybody knows whose it is: counted for no EIP.
        uplink_drop(f"R5-{name}-nat-in", EIP, body, "malformed", known=False)
        uplink_drop(f"R5-{name}-nobody-in", "192.0.2.200", body, "malformed")
        port_drop(f"R5-{name}-out", ENI, ADDRESS, world.REMOTE, body, "malformed", known=False)
    # A jumbogram says so (RFC 2675): what is behind the header is not part of the packet.
    without_length = p.edited(p.with_somebodys_payload(TCP), 4, b"\0\0", fix=False)
    inbound("R5-length-0-in", EIP, without_length)
    outbound("R5-length-0-out", ENI, ADDRESS, without_length)
    uplink_pass("R5-version-4-not-our-mac", frame(world.FOREIGN_MAC, world.NEXT_HOP_MAC, p.edited(TCP, 0, b"\x45")(world.REMOTE, EIP, 64)))


def malformed4():
    def spoilt(name, place, value, *, fix=True):
        yield name, p.edited(TCP, place, value, fix=fix)

    def bad():
        yield from spoilt("version-6", 0, b"\x65")
        yield from spoilt("version-0", 0, b"\x05")
        yield from spoilt("ihl-4", 0, b"\x44")
        yield from spoilt("ihl-0", 0, b"\x40", fix=False)
        yield from spoilt("length-under-header", 2, b"\x00\x13")
        yield from spoilt("length-0", 2, b"\0\0")
        yield from spoilt("length-over-frame", 2, (len(TCP("1.1.1.1", "1.1.1.2", 64)) + 1).to_bytes(2, "big"))
        yield from spoilt("length-ffff", 2, b"\xff\xff")
        yield "length-under-ihl", p.edited(p.tcp(**p.options(b"\x01" * 40)), 2, b"\x00\x3b")
        yield "truncated", lambda *a: TCP(*a)[:-1]
        yield "header-only-cut", lambda *a: TCP(*a)[:19]
        yield "one-byte", lambda *a: TCP(*a)[:1]
        yield "no-header", lambda *a: b""
        yield "options-cut", lambda *a: p.edited(p.tcp(b"", **p.options(b"\x01" * 40)), 2, b"\x00\x3c")(*a)[:50]
        yield "ihl-over-frame", lambda *a: p.edited(p.cut(TCP, 3), 0, b"\x4f", fix=False)(*a)

    for name, body in bad():
        # Before anybody knows whose it is: counted for no EIP.
        for where, mac in (("nat", EIP), ("nobody", "192.0.2.200")):
            data = frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, body(world.REMOTE, mac, 64))
            add(f"R5-{name}-{where}-in", world.UPLINK, data, drop("malformed"))
        port_drop(f"R5-{name}-out", ENI, ADDRESS, world.REMOTE, body, "malformed", known=False)
    def plus_one(*a):
        packet = TCP(*a)
        total = (int.from_bytes(packet[10:12], "big") + 1) % 0xFFFF
        return packet[:10] + total.to_bytes(2, "big") + packet[12:]

    wrong = p.edited(TCP, 10, b"\xbe\xef", fix=False)
    zero = p.edited(TCP, 10, b"\0\0", fix=False)
    for name, body in (("wrong-header-checksum", wrong), ("zero-header-checksum", zero), ("header-checksum-plus-1", plus_one)):
        uplink_drop(f"R5-{name}-in", EIP, body, "malformed")
        uplink_drop(f"R5-{name}-cut-through-in", CUT, body, "malformed")
        port_drop(f"R5-{name}-out", ENI, ADDRESS, world.REMOTE, body, "malformed", known=False)
        port_drop(f"R5-{name}-private", ENI, ADDRESS, "10.0.0.20", body, "malformed", known=False)
    wrong_options = p.edited(p.tcp(**p.options(b"\x01" * 40)), 59, b"\x02", fix=False)
    uplink_drop("R5-wrong-header-checksum-ihl-15-in", EIP, wrong_options, "malformed")
    port_drop("R5-wrong-header-checksum-ihl-15-out", ENI, ADDRESS, world.REMOTE, wrong_options, "malformed", known=False)
    # Behind an option without a sensible length nobody can tell whether there is a source route.
    for name, data in (
        ("option-length-0", b"\x44\x00\x05\x00"),
        ("option-length-1", b"\x44\x01\x05\x00"),
        ("option-over-the-end", b"\x07\x40\x04\x00"),
        ("option-without-length", b"\x01\x01\x01\x44"),
        ("option-over-the-end-ihl-15", b"\x01" * 36 + b"\x07\x05\x04\x00"),
    ):
        body = p.tcp(**p.options(data))
        uplink_drop(f"R5-{name}-in", EIP, body, "malformed")
        uplink_drop(f"R5-{name}-cut-through-in", CUT, body, "malformed")
        port_drop(f"R5-{name}-out", ENI, ADDRESS, world.REMOTE, body, "malformed", known=False)
        port_drop(f"R5-{name}-private", ENI, ADDRESS, "10.0.0.20", body, "malformed", known=False)
    uplink_pass("R5-version-6-not-our-mac", frame(world.FOREIGN_MAC, world.NEXT_HOP_MAC, p.edited(TCP, 0, b"\x65")(world.REMOTE, EIP, 64)))


def source_routes():
    lsrr, ssrr = b"\x83\x07\x04\xc0\x00\x02\x01", b"\x89\x07\x04\xc0\x00\x02\x01"
    for name, data in (
        ("lsrr", lsrr),
        ("ssrr", ssrr),
        ("lsrr-after-nop", b"\x01\x01\x01" + lsrr),
        ("ssrr-after-record-route", b"\x07\x07\x04\0\0\0\0" + ssrr),
        ("lsrr-at-the-end", b"\x01" * 33 + lsrr),
        ("lsrr-used-up", b"\x83\x07\x08\xc0\x00\x02\x01"),
    ):
        body = p.tcp(**p.options(data))
        uplink_drop(f"R5a-{name}-in", EIP, body, "source-route")
        uplink_drop(f"R5a-{name}-cut-through-in", CUT, body, "source-route")
        port_drop(f"R5a-{name}-out", ENI, ADDRESS, world.REMOTE, body, "source-route", known=False)
        port_drop(f"R5a-{name}-private", ENI, ADDRESS, "10.0.0.20", body, "source-route", known=False)
    # The same bytes where they are not an option's type: inside another option, after the end of the list.
    inside = p.tcp(**p.options(b"\x82\x0b\x08\x83\x07\x04\x89\x00\x00\x00\x00\x01"))
    behind = p.tcp(**p.options(b"\x00" + lsrr))
    inbound("R5a-inside-other-option-in", EIP, inside)
    outbound("R5a-inside-other-option-out", ENI, ADDRESS, inside)
    inbound("R5a-after-end-of-list-in", EIP, behind)
    outbound("R5a-after-end-of-list-out", ENI, ADDRESS, behind)


def foreign_macs():
    packet = TCP(world.REMOTE, EIP, 64)
    for name, mac in (("other", world.FOREIGN_MAC), ("broadcast", BROADCAST), ("multicast", "01:00:5e:00:00:01"), ("zero", NOBODY)):
        uplink_pass(f"R5b-{name}-in", frame(mac, world.NEXT_HOP_MAC, packet))
    uplink_pass("R5b-mac-of-other-uplink", frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, packet), interface=world.UPLINK2)
    out = TCP(ADDRESS, world.REMOTE, 64)
    other = drop("other-mac")
    for name, mac in (("other", world.FOREIGN_MAC), ("zero", NOBODY), ("other-ports", world.port_mac("pb")), ("own", world.eni_mac(ENI))):
        add(f"R5b-O19-{name}-out", "pa", from_port(ENI, out, dst=mac), other)
    add("R5b-other-enis-mac-out", "pm", from_port("m1", TCP("10.0.1.10", "10.0.1.11", 64), dst=world.eni_mac("m2")), other)


def padding():
    """An Ethernet frame of 60 bytes around a short packet; what is in the padding does not matter, and stays."""
    for size in (0, 1, 2, 5):
        body = p.udp(bytes(range(1, size + 1)))
        pad = bytes(0xA5 for _ in range(18 - size))
        inbound(f"R6-padding-{size}-in", EIP, body, padding=pad)
        outbound(f"R6-padding-{size}-out", ENI, ADDRESS, body, padding=pad)
        inbound(f"T14-R6-padding-{size}-in", CUT, body, padding=pad)
    hairpin("R6-padding-hairpin", ENI, ADDRESS, "203.0.113.30", p.udp(b"x"), padding=b"\xff" * 17)
    private("R6-padding-private", ENI, ADDRESS, "10.0.0.20", p.udp(b"x"), padding=b"\xff" * 17)
    inbound("R6-transport-in-padding-in", EIP, p.cut(TCP, 8), padding=b"\xee" * 32)
    outbound("R6-transport-in-padding-out", ENI, ADDRESS, p.cut(TCP, 8), padding=b"\xee" * 32)


def uplink_arp():
    asker, address = world.NEXT_HOP_MAC, world.NEXT_HOP

    def ask(name, target, *, answered, interface=world.UPLINK, **fields):
        question = arp(1, asker, address, NOBODY, target, **fields)
        if not answered:
            return add(name, interface, question, PASS)
        pad = question[42:]
        answer = arp(2, world.UPLINK_MAC, target, asker, address, dst=asker, padding=pad)
        return add(name, interface, question, reply(answer), xdp="pass")

    ask("R8-nat", EIP, answered=True)
    ask("R8-cut-through", CUT, answered=True)
    ask("R8-other-pool", "198.18.7.10", answered=True)
    ask("R8-unicast", EIP, answered=True, dst=world.UPLINK_MAC)
    ask("R8-padded", EIP, answered=True, padding=b"\xa5" * 18)
    ask("R8-detached", "203.0.113.50", answered=True)
    ask("R8-stranded", "203.0.113.40", answered=True)
    ask("R8-pool-gateway", "198.18.7.1", answered=False)
    ask("R8-unassociated", "203.0.113.60", answered=False)
    ask("R8-nobodys", "203.0.113.99", answered=False)
    ask("R8-host", world.HOST, answered=False)
    ask("R8-host-in-pool", world.HOST_IN_POOL, answered=False)
    ask("R8-private", ADDRESS, answered=False)
    ask("R8-switched-off", EIP, answered=False, interface=world.UPLINK2)
    ask("R8-not-our-mac", EIP, answered=False, dst=world.FOREIGN_MAC)
    add("R8-reply", world.UPLINK, arp(2, asker, address, world.UPLINK_MAC, world.HOST, dst=world.UPLINK_MAC), PASS)
    add("R8-reply-for-eip", world.UPLINK, arp(2, asker, EIP, world.UPLINK_MAC, EIP), PASS)
    for size in (14, 20, 41):
        add(f"R8-cut-{size}", world.UPLINK, arp(1, asker, address, NOBODY, EIP)[:size], PASS)
    add("R8-not-ethernet", world.UPLINK, arp(1, asker, address, NOBODY, EIP, hwtype=6), PASS)
    add("R8-not-ipv4", world.UPLINK, arp(1, asker, address, NOBODY, EIP, ptype=0x86DD), PASS)


def port_arp():
    def ask(name, eni, sender, target, *, mac=None, tha=NOBODY, **fields):
        port = world.eni_port(eni)
        mac = mac or world.eni_mac(eni)
        question = arp(1, mac, sender, tha, target, **fields)
        answer = arp(2, world.port_mac(port), target, mac, sender, dst=mac, src=world.port_mac(port), padding=question[42:])
        add(f"R9-{name}", port, question, reply(answer), xdp="pass")

    def refuse(name, eni, sender, target, reason, *, mac=None, op=1, **fields):
        question = arp(op, mac or world.eni_mac(eni), sender, NOBODY, target, **fields)
        add(f"R9-{name}", world.eni_port(eni), question, drop(reason), xdp="pass")

    ask("gateway", "a1", ADDRESS, "10.0.0.1")
    ask("gateway-padded", "a1", ADDRESS, "10.0.0.1", padding=b"\xa5" * 18)
    ask("gateway-unicast", "a1", ADDRESS, "10.0.0.1", dst=world.port_mac("pa"))
    ask("gateway-target-mac-set", "a1", ADDRESS, "10.0.0.1", tha=BROADCAST)
    ask("neighbour", "a1", ADDRESS, "10.0.0.20")
    ask("nobody", "a1", ADDRESS, "10.0.0.99")
    ask("off-link", "a1", ADDRESS, "192.0.2.1")
    ask("second-address", "a2", "10.0.0.12", "10.0.0.1")
    ask("same-instance-sender", "a1", "10.0.0.11", "10.0.0.1")
    ask("no-eip", "b1", "10.0.0.20", "10.0.0.1")
    ask("cut-through", "b2", CUT, "203.0.113.1")
    ask("cut-through-on-link-eip", "b2", CUT, EIP)
    ask("probe-free", "a1", "0.0.0.0", "10.0.0.99")
    ask("probe-taken", "a1", "0.0.0.0", "10.0.0.20")
    ask("many-gateway", "m1", "10.0.1.10", "10.0.0.1")
    ask("many-elsewhere", "m1", "10.0.1.10", "10.0.0.10")
    ask("vpc-2", "c1", "10.0.0.10", "10.0.0.1")
    refuse("own", "a1", ADDRESS, ADDRESS, "arp-ignored")
    refuse("probe-own", "a1", "0.0.0.0", ADDRESS, "arp-ignored")
    refuse("same-instance", "a1", ADDRESS, "10.0.0.11", "arp-ignored")
    refuse("probe-own-cut-through", "b2", "0.0.0.0", CUT, "arp-ignored")
    refuse("probe-old-private", "b2", "0.0.0.0", "10.0.0.21", "arp-ignored")
    refuse("many-neighbour", "m1", "10.0.1.10", "10.0.1.11", "arp-ignored")
    refuse("reply", "a1", ADDRESS, "10.0.0.1", "arp-ignored", op=2)
    refuse("gratuitous-reply", "a1", ADDRESS, ADDRESS, "arp-ignored", op=2)
    refuse("foreign-sender", "a1", "10.0.0.20", "10.0.0.1", "spoofed-source")
    refuse("sender-nobody", "a1", "10.0.0.99", "10.0.0.1", "spoofed-source")
    refuse("sender-gateway", "a1", "10.0.0.1", "10.0.0.99", "spoofed-source")
    refuse("sender-own-eip", "a1", EIP, "10.0.0.1", "spoofed-source")
    refuse("narrow-sender", "c1", "10.0.0.31", "10.0.0.1", "spoofed-source")
    refuse("unknown-mac", "a1", ADDRESS, "10.0.0.1", "spoofed-mac", mac="0a:00:00:00:00:99")
    refuse("other-sender-mac", "a1", ADDRESS, "10.0.0.1", "spoofed-mac", mac=world.FOREIGN_MAC, src=world.eni_mac("a1"))
    refuse("neighbours-sender-mac", "m1", "10.0.1.10", "10.0.0.1", "spoofed-mac", mac=world.eni_mac("m2"), src=world.eni_mac("m1"))
    refuse("not-ethernet", "a1", ADDRESS, "10.0.0.1", "malformed", hwtype=6)
    refuse("not-ipv4", "a1", ADDRESS, "10.0.0.1", "malformed", ptype=0x86DD)
    for size in (14, 30, 41):
        cut = arp(1, world.eni_mac("a1"), ADDRESS, NOBODY, "10.0.0.1")[:size]
        add(f"R9-cut-{size}", "pa", cut, drop("malformed"), xdp="pass")
    foreign = arp(1, world.eni_mac("m1"), "10.0.1.10", NOBODY, "10.0.1.11", dst=world.eni_mac("m2"))
    add("R9-not-our-mac", "pm", foreign, drop("other-mac"), xdp="pass")
    refuse("unknown-mac-reply", "a1", ADDRESS, "10.0.0.1", "spoofed-mac", mac="0a:00:00:00:00:99", op=2)


def dhcp():
    def request(src, dst, eni, *, kind="discover", dst_mac=BROADCAST, mac=None):
        mac = mac or world.eni_mac(eni)
        message = BOOTP(chaddr=bytes.fromhex(mac.replace(":", "")), xid=7) / DHCP(options=[("message-type", kind), "end"])
        packet = IP(src=src, dst=dst, ttl=64, id=1) / UDP(sport=68, dport=67) / message
        return bytes(Ether(dst=dst_mac, src=mac) / packet)

    for eni in ("a1", "b1", "b2", "c1", "m1", "m3", "s1"):
        port = world.eni_port(eni)
        add(f"R10-discover-{eni}", port, request("0.0.0.0", "255.255.255.255", eni), DAEMON, xdp="pass")

    def renew(name, eni, src, dst, *, dst_mac=None):
        port = world.eni_port(eni)
        data = request(src, dst, eni, kind="request", dst_mac=dst_mac or world.port_mac(port))
        add(f"R10-{name}", port, tagged(data, world.link(port)[1]), DAEMON, xdp="pass")

    renew("renew", "a1", ADDRESS, "10.0.0.1")
    renew("renew-second-cidr", "j1", "172.20.3.30", "172.20.0.1")
    renew("renew-no-eip", "b1", "10.0.0.20", "10.0.0.1")
    # In cut-through mode the router is the pool's; where that has none, as with `gateway = none`, a link-local address.
    renew("renew-cut-through", "m3", "198.18.7.20", "198.18.7.1")
    renew("renew-cut-through-on-link", "l2", "198.51.101.20", world.ON_LINK_ROUTER)
    renew("renew-cut-through-link-local", "b2", CUT, "169.254.1.1")
    renew("rebind", "a1", ADDRESS, "255.255.255.255", dst_mac=BROADCAST)
    renew("rebind-cut-through", "b2", CUT, "255.255.255.255", dst_mac=BROADCAST)
    for eni, src in (("v1", "10.0.2.10"), ("v2", "10.0.2.10"), ("q1", "10.0.3.10"), ("w1", "10.0.0.62")):
        renew(f"T16-renew-{eni}", eni, src, "10.0.0.1")
        renew(f"T16-discover-{eni}", eni, "0.0.0.0", "255.255.255.255", dst_mac=BROADCAST)
    for name, body in (("server-port", p.udp(sport=67, dport=67)), ("client-port", p.udp(sport=68, dport=68)), ("other-protocol", p.other(136, bytes.fromhex("0044004300000000")))):
        port_drop(f"R10-not-dhcp-{name}", "a1", "0.0.0.0", "255.255.255.255", body, "spoofed-source")
    unknown = request("0.0.0.0", "255.255.255.255", "a1", mac="0a:00:00:00:00:99")
    add("R10-unknown-mac", "pa", unknown, drop("spoofed-mac"))
    add("R10-foreign-source", "pa", request("10.0.0.20", "255.255.255.255", "a1"), drop("spoofed-source"))


def ethertypes():
    tail = bytes(46)
    for name, ethertype in (("lldp", "88cc"), ("pppoe", "8863"), ("mpls", "8847"), ("length", "0026"), ("zero", "0000")):
        head = bytes.fromhex((world.port_mac("pa") + world.eni_mac("a1")).replace(":", "") + ethertype)
        add(f"R5-{name}-out", "pa", head + tail, drop("unsupported-ethertype"))
    head = bytes.fromhex((world.port_mac("pa") + world.eni_mac("a1")).replace(":", "") + "86dd")
    add("R5-ipv6-out", "pa", head + tail, drop("malformed"))
    head = bytes.fromhex("333300000001" + world.eni_mac("a1").replace(":", "") + "86dd")
    add("R5-ipv6-multicast-out", "pa", head + tail, drop("malformed"))
    head = bytes.fromhex((world.FOREIGN_MAC + world.eni_mac("a1")).replace(":", "") + "86dd")
    add("R5b-ipv6-other-mac-out", "pa", head + tail, drop("other-mac"))


def generate():
    ttl()
    told()
    sizes()
    foreign_macs()
    padding()
    if family.is6():
        malformed6()
        return
    malformed4()
    source_routes()
    uplink_arp()
    port_arp()
    dhcp()
    ethertypes()
