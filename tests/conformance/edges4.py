"""IPv4 at the edges: what an attacker sends on his link, to the host, and with fields that he may
choose."""

import struct

import packets as p
import virtio
from chapters4 import DF, expired, sized, too_big
from scapy.all import ARP, BOOTP, DHCP
from suite import BOGONS, HOST, LINK, OFFLOADS, OPTIONS, PATTERN, SIZES, TAGS, arrives, in_pieces, sent

BROADCAST = "ff:ff:ff:ff:ff:ff"
NOBODY = "00:00:00:00:00:00"
NOP = b"\x01"
ALERT = b"\x94\x04\0\0"
# For experiments (RFC 4727 4.1): of the class of control, not copied into fragments, and copied.
FIRST_ONLY, COPIED = b"\x1e\x04\xab\xcd", b"\x9e\x04\xab\xcd"


def arp(operation, mac, source, target, *, known=NOBODY, **fields):
    return bytes(ARP(op=operation, hwsrc=mac, psrc=source, hwdst=known, pdst=target, **fields))


def hostile_arp(suite):
    """RFC 826; what a guest asks for is answered only if it is his to ask."""
    bed = suite.bed
    guests = bed.guests
    a, cut = guests["a"], guests["c"]

    def asked(name, ids, side, message, reply=None, *, to=BROADCAST, **more):
        """An ARP message, and the reply or nothing."""
        out = [{**arrives(side, reply), "ethertype": "arp"}] if reply else []
        send = [sent(side, message, ethertype="arp", to_mac=to, **more)]
        suite.add(name, ids, send, out, cut=side == "c")

    def reply(guest, address):
        return arp(2, guest.port_mac, address, guest.public if guest.mode == "cut-through" else guest.private, known=guest.mac)

    gateway = bed.network_gateway
    honest = arp(1, a.mac, a.private, gateway)
    suite.chapter(LINK, "RFC 826", tenants=True)
    asked("R9-arp-for-the-gateway", "R9", "a", honest, reply(a, gateway))
    asked("R9-arp-for-the-gateway-unicast", "R9", "a", honest, reply(a, gateway), to=a.port_mac)
    asked("R9-arp-for-the-gateway-cut-through", "R9", "c", arp(1, cut.mac, cut.public, bed.pool_gateway), reply(cut, bed.pool_gateway))
    for name, message in (
        ("hardware-type-24", arp(1, a.mac, a.private, gateway, hwtype=24)),
        ("of-ipv6", arp(1, a.mac, a.private, gateway, ptype=0x86DD)),
        ("hardware-length-8", honest[:4] + b"\x08" + honest[5:]),
        ("protocol-length-16", honest[:5] + b"\x10" + honest[6:]),
        ("operation-0", arp(0, a.mac, a.private, gateway)),
        ("operation-3", arp(3, a.mac, a.private, gateway)),
        ("cut", honest[:27]),
    ):
        asked(f"R9-arp-{name}", "R9", "a", message)
    # Who else is told goes by the sender's addresses.
    suite.chapter(LINK, "RFC 826", policy=True, tenants=True)
    for name, source in (("a-neighbour", guests["b"].private), ("the-gateway", gateway), ("its-eip", a.public), ("nobody", "10.0.0.99")):
        asked(f"O9-arp-in-the-name-of-{name}", "O9 R9", "a", arp(1, a.mac, source, gateway))
    asked("O9-arp-with-anothers-mac", "O9 R9", "a", arp(1, guests["b"].mac, a.private, gateway))
    suite.chapter(LINK, "RFC 1027 2.1", policy=True, tenants=True)
    neighbour = guests["b"].private
    asked("R9-arp-for-a-neighbour", "R9", "a", arp(1, a.mac, a.private, neighbour), reply(a, neighbour))
    suite.chapter(LINK, "RFC 5227 2.1.1", tenants=True)
    asked("R9-arp-probe-for-its-own-address", "R9", "a", arp(1, a.mac, "0.0.0.0", a.private))
    suite.chapter(LINK, "RFC 5227 2.4", tenants=True)
    for name, message in (
        ("announcement-of-the-gateway", arp(1, a.mac, gateway, gateway)),
        ("announcement-of-a-neighbour", arp(1, a.mac, neighbour, neighbour)),
        ("reply-about-the-gateway", arp(2, a.mac, gateway, neighbour, known=guests["b"].mac)),
        ("reply-about-itself", arp(2, a.mac, a.private, neighbour, known=guests["b"].mac)),
    ):
        asked(f"O19-arp-{name}-broadcast", "O19", "a", message)
        asked(f"O19-arp-{name}-unicast", "O19", "a", message, to=a.port_mac)
    suite.chapter(LINK, "RFC 826", tenants=True)
    # An EIP that is routed here need not be answered for, and may be. Nobody's is not.
    for name, address, owned in (("an-eip", a.public, True), ("nobodys", bed.unassociated, False), ("a-private-address", a.private, False), ("the-management", bed.management.host, False)):
        ask = sent("internet", arp(1, bed.next_hop_mac, bed.next_hop, address), ethertype="arp", to_mac=BROADCAST)
        told = arrives("internet", arp(2, bed.uplink_mac, address, bed.next_hop, known=bed.next_hop_mac))
        suite.add(f"R8-arp-for-{name}", "R8", [ask], [], [{**told, "ethertype": "arp"}] if owned else None)


def lease(**fields):
    """A DHCP server's offer, as UDP's payload; `fields` are the IP header's."""
    offer = BOOTP(op=2, yiaddr="10.0.0.66", siaddr="10.0.0.10", chaddr=b"\x02\0\0\0\x0a\x0b", xid=7)
    options = DHCP(options=[("message-type", "offer"), ("server_id", "10.0.0.10"), ("router", "10.0.0.10"), "end"])
    return p.udp(bytes(offer / options), sport=67, dport=68, **fields)


def hostile_dhcp(suite):
    """Who answers DHCP in a VPC is the gateway."""
    bed = suite.bed
    suite.chapter(LINK, "RFC 2131 4.1", policy=True, tenants=True)
    way = suite.way_private("a", "b")
    for name, body in (
        ("", lease()),
        ("-behind-nops", lease(**p.options(NOP * 40))),
        ("-behind-router-alert", lease(**p.options(ALERT))),
        ("-without-checksum", p.transport_edited(lease(), 6, b"\0\0")),
        ("-in-a-first-fragment", p.fragment(lease(), 0, 264, more=True, identification=0xE701)),
        ("-in-a-first-fragment-of-8-bytes", p.fragment(lease(), 0, 8, more=True, identification=0xE702)),
    ):
        suite.vanishes(f"O11-dhcp-answer{name}", "O11 R10", body, way)
        suite.vanishes(f"O11-dhcp-answer{name}-ttl-255", "O11 R10", body, way, ttl=255)
    a = bed.inside("a")
    for name, target in (("broadcast", "255.255.255.255"), ("subnet-broadcast", "10.0.0.255"), ("all-hosts", "224.0.0.1")):
        suite.vanishes(f"O11-dhcp-answer-{name}", "O11 O17 R10", lease(), ("a", (a, target)), to_mac=BROADCAST)
    suite.vanishes("O11-dhcp-answer-without-an-eip", "O11 R10", lease(), suite.way_private("n", "b"))
    suite.vanishes("O10-dhcp-answer-cut-through", "O10 R10", lease(), ("c", (bed.inside("c"), bed.inside("b"))))
    suite.vanishes("O14-dhcp-answer-to-another-vpc", "O14 O9", lease(), ("a", ("10.1.0.1", bed.inside("o"))))
    # Anything else is private traffic, on one link.
    suite.chapter(LINK, policy=True, tenants=True)
    side, addresses, at, _ = way
    for name, body in (("udp", p.udp()), ("udp-from-67", p.udp(sport=67)), ("udp-to-68", p.udp(dport=68)), ("tcp", p.tcp())):
        suite.add(f"O11-private-{name}", "O11", [sent(side, body(*addresses, 64))], [arrives(at, body(*addresses, 64))])
    # A client's message to a host on the Internet is a datagram like others.
    suite.chapter(LINK, "RFC 1812 5.2.1")
    for name, body in (("request", p.udp(sport=68, dport=67)), ("answer", p.udp(sport=67, dport=68))):
        suite.passes(f"O7-dhcp-{name}-to-the-internet", "O7 T14", body, suite.way_out("c"))
        suite.passes(f"O2-dhcp-{name}-from-the-internet", "O2 T14", body, suite.way_in("c"))


def priorities(suite):
    """Frames with a tag of VLAN 0 are untagged ones with a priority."""
    bed = suite.bed
    suite.chapter(TAGS, "IEEE 802.1Q 6.9.1")
    ways = (*suite.ways(), *suite.cut_through_ways())
    for where, way in ways:
        for priority in (0, 5, 7):
            suite.passes(f"T16-priority-{priority}-udp-{where}", "T16", p.udp(), way, priority=priority)
        suite.passes(f"T16-priority-tcp-{where}", "T16", p.tcp(), way, priority=3)
        later = p.fragment(p.udp(bytes(64)), 32, 32, more=False, identification=0xE800 + len(suite.cases) % 256)
        suite.passes(f"T16-priority-later-fragment-{where}", "T16 T7", later, way, priority=3)
        suite.passes(f"T16-priority-padded-{where}", "T16 R6", p.udp(b"x"), way, priority=3, padding=13)
        suite.answer(f"T16-priority-no-hops-left-{where}", "T16 R2", p.udp(), way, expired, ttl=1, priority=1)
    suite.vanishes("T16-priority-unassociated", "T16 O3", p.udp(), ("internet", (bed.remote, bed.unassociated)), priority=3)
    suite.chapter(TAGS, "IEEE 802.1Q 6.9.1", tenants=True)
    suite.vanishes("T16-priority-spoofed", "T16 O9", p.udp(), ("a", (bed.inside("b"), bed.remote)), priority=3)
    a = bed.guests["a"]
    ask = sent("a", arp(1, a.mac, a.private, bed.network_gateway), ethertype="arp", to_mac=BROADCAST, priority=6)
    told = arrives("a", arp(2, a.port_mac, bed.network_gateway, a.private, known=a.mac))
    suite.add("T16-priority-arp", "T16 R9", [ask], [{**told, "ethertype": "arp"}])


def bogons(suite):
    """Sources that cannot come from the Internet."""
    bed = suite.bed

    def never(name, ids, rfc, *sources, **more):
        suite.chapter(BOGONS, rfc, **more)
        for number, source in enumerate(sources):
            for to in ("a", "c"):
                where = "" if to == "a" else "-cut-through"
                way = "internet", (source, bed.guests[to].public)
                suite.vanishes(f"{name}-{number}{where}", ids, p.udp(), way, cut=to == "c")
            suite.vanishes(f"{name}-{number}-ping", ids, p.ping(), ("internet", (source, bed.guests["a"].public)))
            error = p.icmp_error(3, p.udp())
            suite.vanishes(f"{name}-{number}-error", ids, error, ("internet", (source, bed.guests["a"].public)))

    never("O15-from-link-local", "O15", "RFC 3927 7", "169.254.0.1", "169.254.77.7", "169.254.255.254")
    never("O15-from-the-hosts-own-address", "O15", "RFC 2827 3", bed.uplink, bed.management.address)
    pool = bed.pool_gateway, bed.unassociated
    never("O15-from-the-pool", "O15", "RFC 2827 3", *pool, policy=True)
    suite.chapter(BOGONS, "RFC 1812 5.3.7")
    for name, source in (("next-hop", bed.next_hop), ("neighbour-of-the-uplink", "198.51.100.77"), ("last-before-link-local", "169.253.255.255"), ("first-behind-link-local", "169.255.0.0")):
        suite.passes(f"O15-from-{name}", "O15", p.udp(), suite.way_in(src=source))
        suite.passes(f"O15-from-{name}-cut-through", "O15", p.udp(), suite.way_in("c", src=source))
    # The EIPs of a private cloud are such addresses, and so are those that send to them.
    suite.chapter(BOGONS, "RFC 1918 3", policy=True)
    for number, source in enumerate(("10.200.0.1", "172.16.5.5", "172.31.255.1", "192.168.1.1", "100.64.1.1", "100.127.255.1")):
        suite.passes(f"O15-from-private-{number}", "O15", p.udp(), suite.way_in(src=source))
        suite.passes(f"O15-from-private-{number}-cut-through", "O15", p.tcp(), suite.way_in("c", src=source))


def sizes(suite):
    """RFC 791 3.2, RFC 1812 5.2.6: without DF what is larger than the way out is fragmented;
    whatever its length is."""
    bed = suite.bed
    small, uplink = bed.guests["s"].mtu, bed.uplink_mtu
    suite.chapter(SIZES, "RFC 1812 5.2.6")
    identification = iter(range(0xA000, 0xC000))

    def body(size, made=p.udp, **fields):
        return sized(size, made, id=next(identification), **fields)

    for where, way, mtu, largest in (
        ("in", suite.way_in("s"), small, uplink),
        ("out", suite.way_out("a"), uplink, 9000),
        ("hairpin", suite.way_across("a", "s"), small, 9000),
        ("cut-through-out", suite.way_out("c"), uplink, 9000),
        ("cut-through-hairpin", suite.way_across("c", "s"), small, 9000),
    ):
        over = [mtu + more for more in (1, 2, 3, 4, 5, 7, 8, 9, 13, 100)] + [2 * mtu - 20, 2 * mtu, 4500, 8999, 9000]
        for size in [size for size in over if size <= largest]:
            suite.fragmented(f"R4-udp-of-{size}-{where}", "R4", body(size), way, mtu)
            suite.answer(f"R3-df-udp-of-{size}-{where}", "R3", p.edited(body(size), 6, DF), way, too_big(mtu))
        large = min(largest, mtu * 3)
        for name, made in (
            ("tcp", body(large, p.tcp)),
            ("ping", body(large - 1, p.ping)),
            ("echo-reply", body(large - 2, p.icmp_echo_reply)),
            ("gre", body(large - 3, lambda payload, **fields: p.other(47, payload, **fields))),
            ("udplite", body(large, p.udplite)),
            ("no-checksum", body(large - 1, chksum=0)),
            ("wrong-checksum", p.wrong(body(large, p.tcp), 16, 0x0101)),
            ("tos", body(large, tos=0xB9)),
        ):
            suite.fragmented(f"R4-large-{name}-{where}", "R4", made, way, mtu)
        # The first fragment has all options, the others those with the copied flag (RFC 791 3.1).
        for name, options in (
            ("copied", COPIED),
            ("not-copied", FIRST_ONLY),
            ("both", NOP + COPIED + NOP * 3 + FIRST_ONLY),
            ("alert", ALERT),
            ("nops", NOP * 8),
            ("40-bytes", b"\x9e\x14" + bytes(18) + b"\x1e\x14" + bytes(18)),
        ):
            made = body(min(largest, mtu + 300), p.tcp, **p.options(options))
            suite.fragmented(f"R4-option-{name}-{where}", "R4 T6", made, way, mtu)
        # Fragments that came: their fragments have their offsets, and more behind the last if they
        # had.
        for name, word, size in (
            ("first", 0x2000, mtu + 8),
            ("middle", 0x2000 | 185, mtu + 9),
            ("last", 185, mtu + 5),
            ("last-of-all", 6000, mtu + 3),
        ):
            # What follows the header has whole units of 8 bytes, unless nothing follows it.
            size += -(size - 20) % 8 if word & 0x2000 else 0
            made = body(min(size, largest), (lambda payload, **fields: p.other(17, payload, **fields)) if word & 0x1FFF else p.udp)
            suite.fragmented(f"R4-coming-{name}-fragment-{where}", "R4 T7", p.edited(made, 6, struct.pack("!H", word)), way, mtu)
    suite.chapter(SIZES, "RFC 1812 5.2.6")
    for size in (1501, 2000, 8999, 9000):
        suite.passes(f"R7-jumbo-of-{size}", "R7 O12", body(size), suite.way_across("a", "b"))
        suite.passes(f"R7-jumbo-of-{size}-to-cut-through", "R7 O12", body(size, p.tcp), suite.way_across("a", "c"))


def options(suite):
    """Options in which addresses are written down on the way."""
    bed = suite.bed
    record = b"\x07\x0b\x04" + bytes(8)
    full = b"\x07\x07\x08\x0a\0\0\x0a"
    stamp = b"\x44\x0c\x05\x01" + bytes(8)
    only_times = b"\x44\x08\x05\0" + bytes(4)
    asked = b"\x44\x0c\x05\x03\x0a\0\0\x01" + bytes(4)

    def drop(name, ids, body):
        suite.nowhere(name, ids, body)
        suite.vanishes(f"{name}-hairpin", f"O12 {ids}", body, suite.way_across())
        suite.vanishes(f"{name}-self", f"O13 {ids}", body, suite.way_across("a", "a"))
        suite.vanishes(f"{name}-to-cut-through", f"O12 {ids}", body, suite.way_across("a", "c"))
        suite.vanishes(f"{name}-from-cut-through", f"O12 {ids}", body, suite.way_across("c", "a"))

    for rfc, listed in (
        ("RFC 7126 4.5", (("record-route", record), ("record-route-full", full), ("record-route-behind-nops", NOP * 5 + record), ("record-route-last", ALERT + record))),
        ("RFC 7126 4.7", (("timestamp", stamp), ("timestamp-of-times", only_times), ("timestamp-asked", asked))),
    ):
        # What RFC 1812 5.2.4.1 wants of routers is what these advise against.
        suite.chapter(OPTIONS, rfc, policy=True)
        for name, option in listed:
            made = p.options(option)
            drop(f"T6-{name}", "T6", p.udp(**made))
            drop(f"T11-quoted-{name}", "T6 T11", p.icmp_error(3, p.udp(**made)))
        name, option = listed[0]
        made = p.options(option)
        drop(f"T6-{name}-ping", "T6 T3", p.ping(**made))
        drop(f"T6-{name}-first-fragment", "T6 T7", p.fragment(p.udp(bytes(256), **made), 0, 64, more=True, identification=0xE901))
        drop(f"T6-{name}-later-fragment", "T6 T7", p.fragment(p.udp(bytes(256), **made), 64, 64, more=True, identification=0xE902))
        drop(f"T11-quoted-{name}-cut-behind-it", "T6 T11", p.icmp_error(11, p.udp(**made), size=20 + len(option) + -len(option) % 4, code=0))
    # In cut-through nothing is told that the guest does not know.
    suite.chapter(OPTIONS, policy=True)
    for name, option in (("record-route", record), ("timestamp", stamp), ("timestamp-asked", asked)):
        for where, way in suite.cut_through_ways():
            suite.passes(f"T14-{name}-{where}", "T6 T14", p.udp(**p.options(option)), way)
            suite.passes(f"T14-quoted-{name}-{where}", "T11 T14", p.icmp_error(3, p.udp(**p.options(option))), way)
    # RFC 1812 4.2.2.6: what a router does not know it passes.
    suite.chapter(OPTIONS, "RFC 1812 4.2.2.6")
    for name, option in (
        ("stream-id", b"\x88\x04\0\x07"),
        ("security", b"\x82\x0b" + bytes(9)),
        ("quick-start", b"\x19\x08\x0a\x0b" + bytes(4)),
        ("copied-experiment", COPIED),
        ("experiment", FIRST_ONLY),
        ("unknown", b"\x5e\x06" + bytes(4)),
        ("alert-behind-nops", NOP * 36 + ALERT),
        ("40-bytes", b"\x9e\x28" + bytes(38)),
    ):
        suite.everywhere(f"T6-{name}", "T6", p.tcp(**p.options(option)), cut=True)
        suite.errors(f"T11-quoted-{name}", "T11", p.icmp_error(3, p.udp(**p.options(option))))


def hostile_destinations(suite):
    """Small or large: the host, its networks and other VPCs are not to be had. That something
    leaves for the Internet, where a router knows what to do with such a destination, is as good as
    that it does not."""
    bed = suite.bed
    suite.chapter(HOST, policy=True, tenants=True)
    guests = bed.guests
    for name, target in (
        ("the-hosts-uplink", bed.uplink),
        ("the-hosts-management", bed.management.address),
        ("management", bed.management.host),
        ("management-broadcast", "192.168.77.255"),
        ("uplink-broadcast", "198.51.100.255"),
        ("loopback", "127.0.0.1"),
        ("loopback-net", "127.255.255.254"),
        ("another-vpc", guests["o"].private),
        ("another-vpcs-gateway", "10.1.0.1"),
        ("the-vpcs-gateway", bed.network_gateway),
        ("the-pools-gateway", bed.pool_gateway),
        ("all-routers", "224.0.0.2"),
        ("broadcast", "255.255.255.255"),
    ):
        for side in ("a", "c", "n", "o"):
            if side == "o" and name == "another-vpc":
                continue
            source = bed.inside(side)
            public = guests[side].public
            for kind, body in (
                ("udp", p.udp()),
                ("tcp", p.tcp(b"", flags="S")),
                ("udp-of-1501", sized(1501, id=0xC001)),
                ("udp-of-3000", sized(3000, id=0xC002)),
                ("tcp-of-9000", sized(9000, p.tcp, id=0xC003)),
                ("options-of-1600", sized(1600, id=0xC004, **p.options(NOP * 8))),
                ("esp-of-2000", sized(2000, lambda payload: p.other(50, payload, id=0xC005))),
                ("first-fragment-of-1508", p.edited(sized(1508, id=0xC006), 6, b"\x20\0")),
                ("later-fragment-of-1508", p.edited(sized(1508, lambda payload: p.other(17, payload, id=0xC007)), 6, b"\x20\xb9")),
            ):
                packet = body(source, target, 64)
                if len(packet) > guests[side].mtu or (side in "no" and kind not in ("udp", "tcp")):
                    continue
                left = None
                if public and name not in ("loopback", "loopback-net", "all-routers", "broadcast"):
                    whole = body(public, target, 63)
                    left = [in_pieces("internet", whole, bed.uplink_mtu) if len(whole) > bed.uplink_mtu else arrives("internet", whole)]
                suite.add(f"O19-{kind}-from-{side}-to-{name}", "O19", [sent(side, packet)], [], left, cut=side == "c")
    # One hop is left: nobody but the tenant's own router says so, and the host does not see it.
    for side in ("a", "c"):
        body = p.udp()(bed.inside(side), bed.management.host, 1)
        message = {**arrives(side, expired(bed.gateway_of(side), bed.inside(side), body)), "open": ["tos", "identification", "df", "ttl", "quoted_ttl"]}
        suite.add(f"O19-one-hop-from-{side}-to-management", "O19 R2", [sent(side, body)], [message], [], answered=True, cut=side == "c")
    # Nor from the Internet, through a pool's addresses.
    for name, target in (("nobodys", bed.unassociated), ("gateway", bed.pool_gateway), ("network", "203.0.113.0"), ("broadcast", "203.0.113.255")):
        for kind, body in (("udp", p.udp()), ("ping", p.ping()), ("syn", p.tcp(b"", flags="S")), ("last-fragment", p.fragment(p.udp(bytes(64)), 32, 32, more=False, identification=0xEA01))):
            suite.vanishes(f"O20-{kind}-to-the-pools-{name}", "O3 O20", body, ("internet", (bed.remote, target)))


def offloads(suite):
    """What a guest behind a tap leaves to the device: as the virtio specification has it, or as
    nobody should."""
    bed = suite.bed
    ways = (("out", suite.way_out("a")), ("cut-through-out", suite.way_out("c")), ("hairpin", suite.way_across("a", "b")), ("to-a-small-mtu", suite.way_across("a", "s")))
    suite.chapter(OFFLOADS, "virtio 1.2, 5.1.6.2", tenants=True)
    for where, (side, addresses, at, got) in ways:
        for kind in ("tcp", "udp"):
            for size in (1000, 536):
                length = size * 3 + 321
                super_packet, header = virtio.super_packet4(kind, addresses, PATTERN[:length], size)
                segments = virtio.segments4(kind, got, PATTERN[:length], size)
                name = {"tcp": "tso", "udp": "uso"}[kind]
                send = [sent(side, super_packet, virtio=header)]
                suite.add(f"T1-{name}-of-{size}-{where}", "T1", send, [arrives(at, segment) for segment in segments], cut="c" in (side, at))
    suite.chapter(OFFLOADS, "virtio 1.2, 5.1.6.2", policy=True, tenants=True)
    udp, tcp = p.udp(), p.tcp()
    for where, (side, addresses, at, _) in ways:
        for name, body, start, offset in (
            ("the-ip-checksum", udp, 14, 10),
            ("the-source", udp, 20, 6),
            ("the-destination", udp, 20, 10),
            ("the-lengths", udp, 14, 2),
            ("tcps-place-in-udp", udp, 34, 16),
            ("udps-place-in-tcp", tcp, 34, 6),
            ("the-ports", udp, 34, 2),
            ("the-payload", udp, 42, 6),
            ("tcps-options", p.tcp(options=[("MSS", 1400)]), 54, 2),
            ("the-right-place-from-too-late", tcp, 36, 14),
            ("the-right-place-from-too-early", tcp, 30, 20),
            ("esp", p.ESP, 34, 6),
            ("protocol-253", p.other(253), 34, 16),
            ("behind-options-not-found", p.udp(**p.options(NOP * 8)), 34, 6),
            ("a-later-fragment", p.fragment(p.udp(bytes(256)), 64, 64, more=True, identification=0xEB01), 34, 6),
            ("a-first-fragment", p.fragment(p.udp(bytes(256)), 0, 64, more=True, identification=0xEB02), 34, 6),
        ):
            header = {"csum_start": start, "csum_offset": offset}
            send = [sent(side, body(*addresses, 64), virtio=header)]
            suite.add(f"R13-{name}-{where}", "R13", send, [], cut="c" in (side, at))


def generate(suite):
    hostile_arp(suite)
    hostile_dhcp(suite)
    priorities(suite)
    bogons(suite)
    sizes(suite)
    options(suite)
    hostile_destinations(suite)
    offloads(suite)
