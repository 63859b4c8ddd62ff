"""R8 to R10 of IPv6: neighbour discovery (RFC 4861) and DHCPv6."""

from scapy.all import (
    UDP,
    Ether,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    Raw,
)
from scapy.layers.dhcp6 import DHCP6_Request, DHCP6_Solicit, DHCP6OptClientId, DUID_LL

import family
import packets as p
import world
from case import DAEMON, PASS, add, drop, reply, tagged

EIP, CUT, ADDRESS = "203.0.113.10", "203.0.113.20", "10.0.0.10"
ALL_NODES, ALL_ROUTERS, ALL_NODES_MAC = "ff02::1", "ff02::2", "33:33:00:00:00:01"
a, link_local = family.address, world.link_local


def group_of(target):
    """The solicited-node group (RFC 4291 2.7.1)."""
    low = "".join(f"{byte:02x}" for byte in p.ipaddress.ip_address(target).packed[13:])
    return f"ff02::1:ff{low[:2]}:{low[2:]}"


def solicitation(mac, src, target, *, dst=None, dst_mac=None, option=True, hlim=255, tail=b"", padding=b"", code=0, cksum=None, size=None):
    """A neighbour solicitation as a host sends it; cut off after `size` bytes of its message."""
    src, target = a(src), a(target)
    dst = dst or group_of(target)
    message = ICMPv6ND_NS(tgt=target, code=code, cksum=cksum)
    if option:
        message /= ICMPv6NDOptSrcLLAddr(lladdr=mac)
    if tail:
        message /= Raw(tail)
    packet = bytes(IPv6(src=src, dst=dst, hlim=hlim) / message)
    if size is not None:
        head = IPv6(packet[:40])
        packet = bytes(IPv6(src=src, dst=dst, hlim=hlim, nh=58) / Raw(checked(head, packet[40 : 40 + size])))
    return bytes(Ether(src=mac, dst=dst_mac or family.group_mac(dst), type=0x86DD)) + packet + padding


def checked(head, message):
    """The ICMPv6 message with a right checksum, between the addresses of that header."""
    message = message[:2] + b"\0\0" + message[4:]
    return message[:2] + p.pseudo(head.src, head.dst, 58, message).to_bytes(2, "big") + message[4:]


# What RFC 4861 7.1.1 has discarded, but for the hop limit; by which of its points.
LONG = b"\x0e\x01" + bytes(6)


def invalid(src):
    """Name and fields of solicitations that are to be discarded silently."""
    yield "checksum", {"cksum": 0x1234}
    yield "checksum-0", {"cksum": 0}
    yield "code", {"code": 1}
    yield "length-16", {"option": False, "size": 16}
    yield "length-23", {"option": False, "size": 23}
    yield "option-of-length-0", {"tail": b"\x0e\0" + bytes(6)}
    yield "option-of-length-0-behind-others", {"tail": LONG + b"\x0e\0" + bytes(6)}
    yield "option-beyond-the-end", {"tail": b"\x0e\x02" + bytes(6)}
    yield "option-cut", {"tail": b"\x0e\x01\0"}
    yield "option-of-one-byte", {"tail": b"\x0e"}
    yield "from-a-group", {"src": "ff02::1:2"}
    yield "unspecified-with-its-address", {"src": "::", "option": True}
    yield "unspecified-with-its-address-behind-others", {"src": "::", "option": False, "tail": LONG + b"\x01\x01" + bytes(6)}
    yield "unspecified-to-all-nodes", {"src": "::", "option": False, "dst": ALL_NODES}
    yield "unspecified-to-all-routers", {"src": "::", "option": False, "dst": ALL_ROUTERS}
    yield "unspecified-to-another-scope", {"src": "::", "option": False, "dst": "ff05::1:ff00:1"}
    yield "target-group", {"target": "ff02::1", "dst": group_of(a(EIP))}
    yield "target-unspecified", {"target": "::", "dst": group_of(a(EIP))}


def advertisement(mac, target, to, to_mac, *, router=0, solicited=1):
    target = a(target)
    message = ICMPv6ND_NA(R=router, S=solicited, O=1, tgt=target) / ICMPv6NDOptDstLLAddr(lladdr=mac)
    return bytes(Ether(src=mac, dst=to_mac) / IPv6(src=target, dst=a(to), hlim=255) / message)


def uplink():
    asker, address = world.NEXT_HOP_MAC, world.NEXT_HOP

    def ask(name, target, *, answered=True, interface=world.UPLINK, src=address, **fields):
        question = solicitation(asker, src, target, **fields)
        if not answered:
            return add(f"R8-{name}", interface, question, PASS)
        answer = advertisement(world.UPLINK_MAC, target, src, asker)
        return add(f"R8-{name}", interface, question, reply(answer), xdp="pass")

    ask("nat", EIP)
    ask("cut-through", CUT)
    ask("other-pool", "198.18.7.10")
    ask("from-link-local", EIP, src=link_local(asker))
    ask("unicast", EIP, dst=a(EIP), dst_mac=world.UPLINK_MAC)
    ask("without-option", EIP, option=False)
    ask("more-options", EIP, tail=bytes.fromhex("0e01123456789abc"))
    ask("padded", EIP, padding=b"\xa5" * 18)
    ask("detached", "203.0.113.50")
    ask("stranded", "203.0.113.40")
    probe = solicitation(asker, "::", EIP, option=False)
    add("R8-probe", world.UPLINK, probe, reply(advertisement(world.UPLINK_MAC, EIP, ALL_NODES, ALL_NODES_MAC, solicited=0)), xdp="pass")
    for name, target in (
        ("pool-gateway", "198.18.7.1"),
        ("unassociated", "203.0.113.60"),
        ("nobodys", "203.0.113.99"),
        ("host", world.HOST),
        ("host-in-pool", world.HOST_IN_POOL),
        ("private", ADDRESS),
        ("link-local", link_local(world.UPLINK_MAC)),
    ):
        ask(name, target, answered=False)
    ask("switched-off", EIP, answered=False, interface=world.UPLINK2)
    ask("not-our-mac", EIP, answered=False, dst_mac=world.FOREIGN_MAC)
    # Nothing that a router may have forwarded (RFC 4861 7.1.1).
    ask("hop-limit-254", EIP, answered=False, hlim=254)
    whole = solicitation(asker, address, EIP)
    for size in (54, 58, 77, 85):
        add(f"R8-cut-{size}", world.UPLINK, whole[:size], PASS)
    strangers_to_the_link(asker, address)
    others = (
        ("router-solicitation", ICMPv6ND_RS()),
        ("router-advertisement", ICMPv6ND_RA()),
        ("advertisement", ICMPv6ND_NA(tgt=a(EIP)) / ICMPv6NDOptDstLLAddr(lladdr=asker)),
        ("redirect", ICMPv6ND_Redirect(tgt=a(address), dst=a(EIP))),
    )
    for name, message in others:
        packet = IPv6(src=link_local(asker), dst=ALL_NODES, hlim=255) / message
        add(f"R8-{name}", world.UPLINK, bytes(Ether(src=asker, dst=ALL_NODES_MAC) / packet), PASS)


def strangers_to_the_link(asker, address):
    """O20: what is for a pool's address is never left to the kernel, which would route it."""
    nobodys, gone = "203.0.113.99", "no-association"
    for name, fields in invalid(address):
        src, target = fields.pop("src", address), fields.pop("target", EIP)
        question = solicitation(asker, src, target, **fields)
        add(f"R8-invalid-{name}", world.UPLINK, question, PASS)
        # To the EIP itself.
        fields["dst"] = a(EIP)
        if name.startswith("unspecified-to"):
            continue
        question = solicitation(asker, src, target, dst_mac=world.UPLINK_MAC, **fields)
        add(f"R8-O20-invalid-{name}-unicast", world.UPLINK, question, drop("arp-ignored"), xdp="pass")
    probe = solicitation(asker, "::", EIP, option=False, dst=a(EIP), dst_mac=world.UPLINK_MAC)
    add("R8-O20-invalid-unspecified-unicast", world.UPLINK, probe, drop("arp-ignored"), xdp="pass")
    # A group address is nobody's, and is told of nobody (RFC 4861 7.2.4 sends to the source).
    grouped = solicitation("33:33:00:00:00:01", address, EIP)
    add("R8-from-a-group-mac", world.UPLINK, grouped, PASS)
    for name, dst in (("eip", EIP), ("cut-through", CUT), ("nobodys", nobodys), ("on-link", world.NEIGHBOUR), ("reserved", world.RESERVED), ("gateway", "198.18.7.1"), ("detached", "203.0.113.50")):
        dst = a(dst)
        messages = (
            ("solicitation", ICMPv6ND_NS(tgt=a(nobodys)) / ICMPv6NDOptSrcLLAddr(lladdr=asker)),
            ("advertisement", ICMPv6ND_NA(tgt=a(address)) / ICMPv6NDOptDstLLAddr(lladdr=asker)),
            ("router-solicitation", ICMPv6ND_RS()),
            ("router-advertisement", ICMPv6ND_RA()),
            ("redirect", ICMPv6ND_Redirect(tgt=a(address), dst=dst)),
        )
        for kind, message in messages:
            for src in (a(address), a(world.REMOTE), link_local(asker)):
                packet = IPv6(src=src, dst=dst, hlim=255) / message
                data = bytes(Ether(src=asker, dst=world.UPLINK_MAC) / packet)
                add(f"R8-O20-{kind}-to-{name}-from-{src}", world.UPLINK, data, drop("arp-ignored"), xdp="pass")
            # Not this link's, whatever it looks like: as any packet.
            far = IPv6(src=a(world.REMOTE), dst=dst, hlim=64) / message
            behind = IPv6(src=a(world.REMOTE), dst=dst, hlim=255) / IPv6ExtHdrDestOpt() / message
            for shape, packet in (("hop-limit-64", far), ("behind-a-header", behind)):
                data = bytes(Ether(src=asker, dst=world.UPLINK_MAC) / packet)
                name_of = f"R8-O20-{kind}-{shape}-to-{name}"
                if name == "eip":
                    add(name_of, world.UPLINK, data, drop("address-option"), counters={EIP: {"in_dropped": 1}})
                elif name == "detached":
                    add(name_of, world.UPLINK, data, drop("eni-detached"), counters={"203.0.113.50": {"in_dropped": 1}})
                elif name != "cut-through":
                    add(name_of, world.UPLINK, data, drop(gone))
    # To the uplink's own addresses they are the kernel's.
    for name, dst in (("host", world.HOST), ("host-in-pool", world.HOST_IN_POOL), ("host-on-link", world.HOST_ON_LINK)):
        packet = IPv6(src=a(address), dst=a(dst), hlim=255) / ICMPv6ND_NA(tgt=a(address), S=1)
        add(f"R8-O16-advertisement-to-{name}", world.UPLINK, bytes(Ether(src=asker, dst=world.UPLINK_MAC) / packet), PASS)
    unicast = solicitation(asker, address, EIP, dst=a(EIP), dst_mac=world.UPLINK2_MAC)
    add("R8-O20-switched-off-unicast", world.UPLINK2, unicast, drop("arp-ignored"), xdp="pass")


def ports():
    routers = {"10.0.0.1", "172.20.0.1", "198.18.7.1", world.ON_LINK_ROUTER}

    def ask(name, eni, src, target, *, router=None, mac=None, **fields):
        port, mac = world.eni_port(eni), mac or world.eni_mac(eni)
        # The VPC's routers and the pools' (RFC 4861 4.4).
        router = int(target in routers) if router is None else router
        own = world.port_mac(port)
        probe = a(src) == "::"
        to, to_mac = (ALL_NODES, ALL_NODES_MAC) if probe else (src, mac)
        answer = advertisement(own, target, to, to_mac, router=router, solicited=0 if probe else 1)
        question = solicitation(mac, src, target, option=fields.pop("option", not probe), **fields)
        add(f"R9-{name}", port, question, reply(answer), xdp="pass")

    def refuse(name, eni, src, target, reason, *, mac=None, **fields):
        question = solicitation(mac or world.eni_mac(eni), src, target, option=fields.pop("option", a(src) != "::"), **fields)
        add(f"R9-{name}", world.eni_port(eni), question, drop(reason), xdp="pass")

    own, router = link_local(world.eni_mac("a1")), link_local(world.port_mac("pa"))
    ask("gateway", "a1", ADDRESS, "10.0.0.1")
    ask("gateway-from-link-local", "a1", own, "10.0.0.1")
    ask("gateway-without-option", "a1", ADDRESS, "10.0.0.1", option=False)
    ask("gateway-unicast", "a1", ADDRESS, "10.0.0.1", dst=a("10.0.0.1"), dst_mac=world.port_mac("pa"))
    ask("gateway-padded", "a1", ADDRESS, "10.0.0.1", padding=b"\xa5" * 18)
    ask("gateway-more-options", "a1", ADDRESS, "10.0.0.1", tail=bytes.fromhex("0e01123456789abc"))
    ask("link-router", "a1", own, router, router=1)
    ask("link-router-from-address", "a1", ADDRESS, router, router=1)
    ask("link-router-probe", "a1", "::", router, router=1)
    ask("link-router-many", "m2", link_local(world.eni_mac("m2")), link_local(world.port_mac("pm")), router=1)
    ask("neighbour", "a1", ADDRESS, "10.0.0.20")
    ask("nobody", "a1", ADDRESS, "10.0.0.99")
    ask("off-link", "a1", ADDRESS, "192.0.2.1")
    ask("second-address", "a2", "10.0.0.12", "10.0.0.1")
    ask("same-instance-sender", "a1", "10.0.0.11", "10.0.0.1")
    ask("no-eip", "b1", "10.0.0.20", "10.0.0.1")
    ask("cut-through", "b2", CUT, "203.0.113.1")
    ask("cut-through-on-link-eip", "b2", CUT, EIP)
    ask("probe-free", "a1", "::", "10.0.0.99")
    ask("probe-taken", "a1", "::", "10.0.0.20")
    ask("many-gateway", "m1", "10.0.1.10", "10.0.0.1")
    ask("many-elsewhere", "m1", "10.0.1.10", "10.0.0.10")
    ask("vpc-2", "c1", "10.0.0.10", "10.0.0.1")
    ask("second-cidr-gateway", "a1", ADDRESS, "172.20.0.1")
    ask("second-cidr-gateway-of-other-vpc", "c1", "10.0.0.10", "172.20.0.1", router=0)
    ask("pool-gateway", "m3", "198.18.7.20", "198.18.7.1")
    ask("pool-gateway-from-nat", "a1", ADDRESS, "198.18.7.1")
    ask("on-link-router", "l2", "198.51.101.20", world.ON_LINK_ROUTER)
    ask("on-link-neighbour", "l2", "198.51.101.20", world.NEIGHBOUR)
    ask("on-link-host", "l2", "198.51.101.20", world.HOST_ON_LINK)
    ask("pool-nobodys", "b2", CUT, "203.0.113.99")
    ignored = "arp-ignored"
    refuse("own", "a1", ADDRESS, ADDRESS, ignored)
    refuse("probe-own", "a1", "::", ADDRESS, ignored)
    refuse("probe-own-link-local", "a1", "::", own, ignored)
    refuse("foreign-link-local", "a1", own, "fe80::1234", ignored)
    refuse("other-ports-link-local", "a1", own, link_local(world.port_mac("pb")), ignored)
    refuse("neighbours-link-local", "m1", "10.0.1.10", link_local(world.eni_mac("m2")), ignored)
    refuse("same-instance", "a1", ADDRESS, "10.0.0.11", ignored)
    refuse("probe-own-cut-through", "b2", "::", CUT, ignored)
    refuse("probe-old-private", "b2", "::", "10.0.0.21", ignored)
    refuse("many-neighbour", "m1", "10.0.1.10", "10.0.1.11", ignored)
    for name, fields in invalid(ADDRESS):
        src, target = fields.pop("src", ADDRESS), fields.pop("target", "10.0.0.1")
        question = solicitation(world.eni_mac("a1"), src, target, **fields)
        add(f"R9-invalid-{name}", "pa", question, drop("malformed"), xdp="pass")
        if "dst" not in fields:
            question = solicitation(world.eni_mac("a1"), src, target, dst=a("10.0.0.1"), dst_mac=world.port_mac("pa"), **fields)
            add(f"R9-invalid-{name}-unicast", "pa", question, drop("malformed"), xdp="pass")
    probe = solicitation(world.eni_mac("a1"), "::", "10.0.0.99", option=False, dst=a("10.0.0.99"), dst_mac=world.port_mac("pa"))
    add("R9-invalid-unspecified-unicast", "pa", probe, drop("malformed"), xdp="pass")
    # RFC 6980, and what stands behind other headers.
    for name, chain in (("fragmented", IPv6ExtHdrFragment(id=7)), ("behind-a-header", IPv6ExtHdrDestOpt()), ("behind-hop-by-hop", IPv6ExtHdrHopByHop())):
        message = ICMPv6ND_NS(tgt=a("10.0.0.1")) / ICMPv6NDOptSrcLLAddr(lladdr=world.eni_mac("a1"))
        for kind, dst, mac, reason in (("unicast", a("10.0.0.1"), world.port_mac("pa"), "gateway-service"), ("", group_of(a("10.0.0.1")), None, "martian-destination")):
            packet = IPv6(src=a(ADDRESS), dst=dst, hlim=255) / chain / message
            data = bytes(Ether(src=world.eni_mac("a1"), dst=mac or family.group_mac(dst)) / packet)
            add(f"R9-{name}-{kind}", "pa", data, drop(reason), counters={EIP: {"out_dropped": 1}})
    for name, eni, src in (
        ("foreign-sender", "a1", "10.0.0.20"),
        ("sender-nobody", "a1", "10.0.0.99"),
        ("sender-gateway", "a1", "10.0.0.1"),
        ("sender-own-eip", "a1", EIP),
        ("narrow-sender", "c1", "10.0.0.31"),
    ):
        refuse(name, eni, src, "10.0.0.1", "spoofed-source")
    refuse("unknown-mac", "a1", ADDRESS, "10.0.0.1", "spoofed-mac", mac="0a:00:00:00:00:99")
    refuse("unknown-mac-link-router", "a1", own, router, "spoofed-mac", mac="0a:00:00:00:00:99")
    # Not this link's: a packet to a group, or to the gateway.
    far = {"hlim": 254}
    counted = {"counters": {EIP: {"out_dropped": 1}}}
    add("R9-hop-limit-254", "pa", solicitation(world.eni_mac("a1"), ADDRESS, "10.0.0.1", **far), drop("martian-destination"), **counted)
    unicast = solicitation(world.eni_mac("a1"), ADDRESS, "10.0.0.1", dst=a("10.0.0.1"), dst_mac=world.port_mac("pa"), **far)
    add("R9-hop-limit-254-unicast", "pa", unicast, drop("gateway-service"), **counted)
    whole = solicitation(world.eni_mac("a1"), ADDRESS, "10.0.0.1")
    for size in (58, 77, 85):
        add(f"R9-cut-{size}", "pa", whole[:size], drop("malformed"), xdp="pass")
    foreign = solicitation(world.eni_mac("m1"), "10.0.1.10", "10.0.1.11", dst_mac=world.eni_mac("m2"))
    add("R9-not-our-mac", "pm", foreign, drop("other-mac"), xdp="pass")
    others = (
        ("advertisement", ICMPv6ND_NA(R=0, O=1, tgt=a(ADDRESS)) / ICMPv6NDOptDstLLAddr(lladdr=world.eni_mac("a1"))),
        ("router-advertisement", ICMPv6ND_RA()),
        ("redirect", ICMPv6ND_Redirect(tgt=own, dst=a(world.REMOTE))),
    )
    for name, message in others:
        packet = IPv6(src=own, dst=ALL_NODES, hlim=255) / message
        add(f"R9-{name}", "pa", bytes(Ether(src=world.eni_mac("a1"), dst=ALL_NODES_MAC) / packet), drop(ignored), xdp="pass")


def daemons():
    """Router solicitations and DHCPv6 are the daemon's."""

    def to_routers(eni, src, message, *, mac=None, dst=ALL_ROUTERS):
        packet = IPv6(src=a(src), dst=dst, hlim=255) / message
        return bytes(Ether(src=mac or world.eni_mac(eni), dst=family.group_mac(dst)) / packet)

    for eni in ("a1", "b1", "b2", "c1", "m1", "m3", "s1", "v1", "v2", "q1", "w1"):
        port, own = world.eni_port(eni), link_local(world.eni_mac(eni))
        option = ICMPv6NDOptSrcLLAddr(lladdr=world.eni_mac(eni))
        vlan = world.link(port)[1]
        for name, src, message in (("", own, ICMPv6ND_RS() / option), ("-unspecified", "::", ICMPv6ND_RS())):
            data = tagged(to_routers(eni, src, message), vlan)
            add(f"R10-router-solicitation{name}-{eni}", port, data, DAEMON, xdp="pass")
    own, option = link_local(world.eni_mac("a1")), ICMPv6NDOptSrcLLAddr(lladdr=world.eni_mac("a1"))
    # RFC 4861 6.1.1.
    for name, src, message in (
        ("checksum", own, ICMPv6ND_RS(cksum=0x1234) / option),
        ("code", own, ICMPv6ND_RS(code=1) / option),
        ("option-of-length-0", own, ICMPv6ND_RS() / Raw(b"\x0e\0" + bytes(6))),
        ("option-beyond-the-end", own, ICMPv6ND_RS() / Raw(b"\x0e\x02" + bytes(6))),
        ("unspecified-with-its-address", "::", ICMPv6ND_RS() / option),
        ("from-a-group", "ff02::1", ICMPv6ND_RS() / option),
    ):
        add(f"R10-router-solicitation-invalid-{name}", "pa", to_routers("a1", src, message), drop("malformed"), xdp="pass")
    short = IPv6(src=own, dst=ALL_ROUTERS)
    short = bytes(IPv6(src=own, dst=ALL_ROUTERS, hlim=255, nh=58) / Raw(checked(short, b"\x85\0\0\0\0\0")))
    data = bytes(Ether(src=world.eni_mac("a1"), dst=family.group_mac(ALL_ROUTERS), type=0x86DD)) + short
    add("R10-router-solicitation-invalid-length-6", "pa", data, drop("malformed"), xdp="pass")
    unknown = "0a:00:00:00:00:99"
    add("R10-router-solicitation-unknown-mac", "pa", to_routers("a1", "::", ICMPv6ND_RS(), mac=unknown), drop("spoofed-mac"), xdp="pass")
    report = to_routers("a1", link_local(world.eni_mac("a1")), ICMPv6MLReport2(), dst="ff02::16")
    add("O17-listener-report", "pa", report, drop("martian-destination"))

    def message(eni, src, kind, *, mac=None, dst="ff02::1:2", dst_mac=None, sport=546, dport=547):
        mac = mac or world.eni_mac(eni)
        body = kind(trid=7) / DHCP6OptClientId(duid=DUID_LL(lladdr=mac))
        packet = IPv6(src=a(src), dst=a(dst), hlim=1) / UDP(sport=sport, dport=dport) / body
        return bytes(Ether(src=mac, dst=dst_mac or family.group_mac(dst)) / packet)

    for eni in ("a1", "b1", "b2", "c1", "m1", "m3", "s1"):
        add(f"R10-solicit-{eni}", world.eni_port(eni), message(eni, link_local(world.eni_mac(eni)), DHCP6_Solicit), DAEMON, xdp="pass")
    for eni in ("v1", "v2", "q1", "w1"):
        port = world.eni_port(eni)
        solicit = tagged(message(eni, link_local(world.eni_mac(eni)), DHCP6_Solicit), world.link(port)[1])
        add(f"T16-R10-solicit-{eni}", port, solicit, DAEMON, xdp="pass")
    own = link_local(world.eni_mac("a1"))
    add("R10-request-from-address", "pa", message("a1", ADDRESS, DHCP6_Request), DAEMON, xdp="pass")
    for name, src, dst in (("unicast", own, link_local(world.port_mac("pa"))), ("unicast-from-address", ADDRESS, "10.0.0.1"), ("unicast-link-router", ADDRESS, link_local(world.port_mac("pa")))):
        renew = message("a1", src, DHCP6_Request, dst=dst, dst_mac=world.port_mac("pa"))
        add(f"R10-request-{name}", "pa", renew, DAEMON, xdp="pass")
    for name, eni, src, dst in (("cut-through", "m3", "198.18.7.20", "198.18.7.1"), ("cut-through-on-link", "l2", "198.51.101.20", world.ON_LINK_ROUTER)):
        renew = message(eni, src, DHCP6_Request, dst=dst, dst_mac=world.port_mac(world.eni_port(eni)))
        add(f"R10-request-{name}", world.eni_port(eni), renew, DAEMON, xdp="pass")
    for name, sport, dport in (("server-port", 547, 547), ("client-port", 546, 546), ("ipv4-ports", 68, 67)):
        add(f"R10-not-dhcp-{name}", "pa", message("a1", own, DHCP6_Solicit, sport=sport, dport=dport), drop("martian-destination"))
    add("R10-unknown-mac", "pa", message("a1", own, DHCP6_Solicit, mac=unknown), drop("spoofed-mac"))
    add("R10-foreign-source", "pa", message("a1", "10.0.0.20", DHCP6_Solicit), drop("spoofed-source"))


def generate():
    uplink()
    ports()
    daemons()
