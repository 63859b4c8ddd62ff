"""R: being a router: TTL, sizes, malformed packets, ARP and DHCP."""

from scapy.all import BOOTP, DHCP, IP, UDP, Ether

import packets as p
import world
from case import PASS, add, arp, drop, frame, from_port, hairpin, inbound, outbound, port_drop, private, reply, uplink_drop, uplink_pass

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
    for value in (1, 0):
        for name, eip in (("", EIP), ("-cut-through", CUT)):
            uplink_drop(f"R2-ttl-{value}{name}-in", eip, UDP_BODY, "ttl-exceeded", ttl=value)
        port_drop(f"R2-ttl-{value}-out", ENI, ADDRESS, world.REMOTE, UDP_BODY, "ttl-exceeded", ttl=value)
        port_drop(f"R2-ttl-{value}-cut-through-out", CUT_ENI, CUT, world.REMOTE, UDP_BODY, "ttl-exceeded", ttl=value)
        both = {EIP: {"out_dropped": 1}, "203.0.113.30": {"in_dropped": 1}}
        port_drop(f"R2-ttl-{value}-hairpin", ENI, ADDRESS, "203.0.113.30", UDP_BODY, "ttl-exceeded", ttl=value, also=both)
        # Another reason not to forward it comes first.
        uplink_drop(f"R2-ttl-{value}-unassociated", "203.0.113.60", UDP_BODY, "no-association", ttl=value)
        uplink_drop(f"R2-ttl-{value}-detached", "203.0.113.50", UDP_BODY, "eni-detached", ttl=value)
        port_drop(f"R2-ttl-{value}-no-eip", "b1", "10.0.0.20", world.REMOTE, UDP_BODY, "no-eip", ttl=value)


def sizes():
    """IP packets of so many bytes; the ENI t1 has an MTU of 1000, j1 one of 9000, the uplink 1500."""

    def sized(size, **fields):
        return p.udp(bytes(size - 28), **fields)

    do_not_fragment = p.edited(sized(1001), 6, b"\x40\0")
    inbound("R3-fits-in", "203.0.113.70", sized(1000))
    uplink_drop("R4-too-big-in", "203.0.113.70", sized(1001), "too-big")
    uplink_drop("R3-too-big-do-not-fragment-in", "203.0.113.70", do_not_fragment, "too-big")
    outbound("R3-fits-out", "j1", "172.20.3.30", sized(1500))
    port_drop("R3-too-big-out", "j1", "172.20.3.30", world.REMOTE, p.edited(sized(1501), 6, b"\x40\0"), "too-big")
    port_drop("R4-too-big-out", "j1", "172.20.3.30", world.REMOTE, sized(1501), "too-big")
    hairpin("R3-fits-hairpin", ENI, ADDRESS, "203.0.113.70", sized(1000))
    both = {EIP: {"out_dropped": 1}, "203.0.113.70": {"in_dropped": 1}}
    port_drop("R3-too-big-hairpin", ENI, ADDRESS, "203.0.113.70", sized(1001), "too-big", also=both)
    hairpin("R7-jumbo-hairpin", "j1", "172.20.3.30", "203.0.113.80", sized(8999))
    private("R7-jumbo-private", "j1", "172.20.3.30", "172.20.3.30", sized(9000))
    hairpin("R7-two-pages-hairpin", "j1", "172.20.3.30", "203.0.113.80", p.tcp(bytes(4000)))
    inbound("R3-largest-in", "203.0.113.80", sized(9000))
    private("O11-fits-private", "a1", ADDRESS, "10.0.0.70", sized(1000))
    port_drop("O11-too-big-private", "a1", ADDRESS, "10.0.0.70", sized(1001), "too-big", known=False)
    inbound("R3-padding-does-not-count", "203.0.113.70", sized(1000), padding=bytes(40))
    # The packet that is too big and has no hops left.
    uplink_drop("R2-too-big-without-hops", "203.0.113.70", sized(1001), "ttl-exceeded", ttl=1)


def malformed():
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
    inside = p.tcp(**p.options(b"\x07\x0b\x08\x83\x07\x04\x89\x00\x00\x00\x00\x01"))
    behind = p.tcp(**p.options(b"\x00" + lsrr))
    inbound("R5a-inside-record-route-in", EIP, inside)
    outbound("R5a-inside-record-route-out", ENI, ADDRESS, inside)
    inbound("R5a-after-end-of-list-in", EIP, behind)
    outbound("R5a-after-end-of-list-out", ENI, ADDRESS, behind)


def foreign_macs():
    packet = TCP(world.REMOTE, EIP, 64)
    for name, mac in (("other", world.FOREIGN_MAC), ("broadcast", BROADCAST), ("multicast", "01:00:5e:00:00:01"), ("zero", NOBODY)):
        uplink_pass(f"R5b-{name}-in", frame(mac, world.NEXT_HOP_MAC, packet))
    uplink_pass("R5b-mac-of-other-uplink", frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, packet), interface=world.UPLINK2)
    out = TCP(ADDRESS, world.REMOTE, 64)
    add("R5b-other-out", "pa", from_port(ENI, out, dst=world.FOREIGN_MAC), PASS)
    add("R5b-other-enis-mac-out", "pm", from_port("m1", TCP("10.0.1.10", "10.0.1.11", 64), dst=world.eni_mac("m2")), PASS)


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
    add("R9-not-our-mac", "pm", foreign, PASS, xdp="pass")
    refuse("unknown-mac-reply", "a1", ADDRESS, "10.0.0.1", "spoofed-mac", mac="0a:00:00:00:00:99", op=2)


def dhcp():
    def request(src, dst, eni, *, kind="discover", dst_mac=BROADCAST, mac=None):
        mac = mac or world.eni_mac(eni)
        message = BOOTP(chaddr=bytes.fromhex(mac.replace(":", "")), xid=7) / DHCP(options=[("message-type", kind), "end"])
        packet = IP(src=src, dst=dst, ttl=64, id=1) / UDP(sport=68, dport=67) / message
        return bytes(Ether(dst=dst_mac, src=mac) / packet)

    for eni in ("a1", "b1", "b2", "c1", "m1", "m3", "s1"):
        port = world.eni_port(eni)
        add(f"R10-discover-{eni}", port, request("0.0.0.0", "255.255.255.255", eni), PASS)
    add("R10-renew", "pa", request(ADDRESS, "10.0.0.1", "a1", kind="request", dst_mac=world.port_mac("pa")), PASS)
    add("R10-renew-cut-through", "pd", request(CUT, "203.0.113.1", "b2", kind="request", dst_mac=world.port_mac("pd")), PASS)
    add("R10-rebind", "pa", request(ADDRESS, "255.255.255.255", "a1", kind="request"), PASS)
    for name, body in (("server-port", p.udp(sport=67, dport=67)), ("client-port", p.udp(sport=68, dport=68)), ("other-protocol", p.other(136, bytes.fromhex("0044004300000000")))):
        port_drop(f"R10-not-dhcp-{name}", "a1", "0.0.0.0", "255.255.255.255", body, "spoofed-source")
    unknown = request("0.0.0.0", "255.255.255.255", "a1", mac="0a:00:00:00:00:99")
    add("R10-unknown-mac", "pa", unknown, drop("spoofed-mac"))
    add("R10-foreign-source", "pa", request("10.0.0.20", "255.255.255.255", "a1"), drop("spoofed-source"))


def ethertypes():
    tail = bytes(46)
    for name, ethertype in (("ipv6", "86dd"), ("lldp", "88cc"), ("pppoe", "8863"), ("mpls", "8847"), ("length", "0026"), ("zero", "0000")):
        head = bytes.fromhex((world.port_mac("pa") + world.eni_mac("a1")).replace(":", "") + ethertype)
        add(f"R5-{name}-out", "pa", head + tail, drop("unsupported-ethertype"))
    # No port has a VLAN yet: another VLAN is left to the kernel.
    macs = (world.port_mac("pa") + world.eni_mac("a1")).replace(":", "")
    for name, ethertype in (("vlan", "810000640800"), ("priority-tag", "8100e0000806"), ("qinq", "88a800648100000a0800")):
        add(f"T16-{name}-out", "pa", bytes.fromhex(macs + ethertype) + tail, PASS)
    head = bytes.fromhex("333300000001" + world.eni_mac("a1").replace(":", "") + "86dd")
    add("R5-ipv6-multicast-out", "pa", head + tail, drop("unsupported-ethertype"))
    head = bytes.fromhex((world.FOREIGN_MAC + world.eni_mac("a1")).replace(":", "") + "86dd")
    add("R5b-ipv6-other-mac-out", "pa", head + tail, PASS)


def generate():
    ttl()
    sizes()
    malformed()
    source_routes()
    foreign_macs()
    padding()
    uplink_arp()
    port_arp()
    dhcp()
    ethertypes()
