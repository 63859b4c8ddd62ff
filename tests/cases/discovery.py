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
    Raw,
)
from scapy.layers.dhcp6 import DHCP6_Request, DHCP6_Solicit, DHCP6OptClientId, DUID_LL

import family
import packets as p
import world
from case import PASS, add, drop, reply

EIP, CUT, ADDRESS = "203.0.113.10", "203.0.113.20", "10.0.0.10"
ALL_NODES, ALL_ROUTERS, ALL_NODES_MAC = "ff02::1", "ff02::2", "33:33:00:00:00:01"
a, link_local = family.address, world.link_local


def group_of(target):
    """The solicited-node group (RFC 4291 2.7.1)."""
    low = "".join(f"{byte:02x}" for byte in p.ipaddress.ip_address(target).packed[13:])
    return f"ff02::1:ff{low[:2]}:{low[2:]}"


def solicitation(mac, src, target, *, dst=None, dst_mac=None, option=True, hlim=255, tail=b"", padding=b"", code=0):
    """A neighbour solicitation as a host sends it."""
    src, target = a(src), a(target)
    dst = dst or group_of(target)
    message = ICMPv6ND_NS(tgt=target, code=code)
    if option:
        message /= ICMPv6NDOptSrcLLAddr(lladdr=mac)
    packet = IPv6(src=src, dst=dst, hlim=hlim) / message
    if tail:
        packet /= Raw(tail)
    return bytes(Ether(src=mac, dst=dst_mac or family.group_mac(dst)) / packet) + padding


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
    others = (
        ("router-solicitation", ICMPv6ND_RS()),
        ("router-advertisement", ICMPv6ND_RA()),
        ("advertisement", ICMPv6ND_NA(tgt=a(EIP)) / ICMPv6NDOptDstLLAddr(lladdr=asker)),
        ("redirect", ICMPv6ND_Redirect(tgt=a(address), dst=a(EIP))),
    )
    for name, message in others:
        packet = IPv6(src=link_local(asker), dst=ALL_NODES, hlim=255) / message
        add(f"R8-{name}", world.UPLINK, bytes(Ether(src=asker, dst=ALL_NODES_MAC) / packet), PASS)


def ports():
    def ask(name, eni, src, target, *, router=0, mac=None, **fields):
        port, mac = world.eni_port(eni), mac or world.eni_mac(eni)
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
    refuse("hop-limit-254", "a1", ADDRESS, "10.0.0.1", "malformed", hlim=254)
    whole = solicitation(world.eni_mac("a1"), ADDRESS, "10.0.0.1")
    for size in (58, 77, 85):
        add(f"R9-cut-{size}", "pa", whole[:size], drop("malformed"), xdp="pass")
    foreign = solicitation(world.eni_mac("m1"), "10.0.1.10", "10.0.1.11", dst_mac=world.eni_mac("m2"))
    add("R9-not-our-mac", "pm", foreign, PASS, xdp="pass")
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

    for eni in ("a1", "b1", "b2", "c1", "m1", "m3", "s1"):
        port, own = world.eni_port(eni), link_local(world.eni_mac(eni))
        option = ICMPv6NDOptSrcLLAddr(lladdr=world.eni_mac(eni))
        add(f"R10-router-solicitation-{eni}", port, to_routers(eni, own, ICMPv6ND_RS() / option), PASS, xdp="pass")
        add(f"R10-router-solicitation-unspecified-{eni}", port, to_routers(eni, "::", ICMPv6ND_RS()), PASS, xdp="pass")
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
        add(f"R10-solicit-{eni}", world.eni_port(eni), message(eni, link_local(world.eni_mac(eni)), DHCP6_Solicit), PASS)
    own = link_local(world.eni_mac("a1"))
    add("R10-request-from-address", "pa", message("a1", ADDRESS, DHCP6_Request), PASS)
    renew = message("a1", own, DHCP6_Request, dst=link_local(world.port_mac("pa")), dst_mac=world.port_mac("pa"))
    add("R10-request-unicast", "pa", renew, PASS)
    for name, sport, dport in (("server-port", 547, 547), ("client-port", 546, 546), ("ipv4-ports", 68, 67)):
        add(f"R10-not-dhcp-{name}", "pa", message("a1", own, DHCP6_Solicit, sport=sport, dport=dport), drop("martian-destination"))
    add("R10-unknown-mac", "pa", message("a1", own, DHCP6_Solicit, mac=unknown), drop("spoofed-mac"))
    add("R10-foreign-source", "pa", message("a1", "10.0.0.20", DHCP6_Solicit), drop("spoofed-source"))


def generate():
    uplink()
    ports()
    daemons()
