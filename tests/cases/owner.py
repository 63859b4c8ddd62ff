"""O: whose packet it is."""

import family
import packets as p
import world
from case import (
    add,
    drop,
    frame,
    from_port,
    hairpin,
    inbound,
    outbound,
    port_drop,
    private,
    raw_case,
    port_told,
    reply,
    to_neighbour,
    uplink_drop,
    uplink_pass,
)

TCP, UDP, PING = p.tcp(), p.udp(), p.ping()
NOT_ASSOCIATED = "203.0.113.60"
NO_EIP_AT_ALL = "203.0.113.99"
SPECIAL_SOURCES = ("0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.0.1", "169.254.255.254", "224.0.0.5", "239.255.255.250", "240.0.0.1", "255.255.255.255")
# What begins with 80 zero bits, the edges of fe80::/10, multicast.
SPECIAL_SOURCES6 = ("::", "::1", "::c000:24d", "::ffff:c000:24d", "fe80::1", "febf:ffff::1", "ff02::5", "ff0e::1", "ffff::1")
SPECIAL_DESTINATIONS = (
    "0.0.0.0",
    "0.255.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "224.0.0.1",
    "224.0.0.251",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.254",
    "255.255.255.255",
)
SPECIAL_DESTINATIONS6 = ("::", "::1", "::c000:24d", "::ffff:c000:24d", "fe80::1234", "febf:ffff::1", "ff01::1", "ff02::fb", "ff05::2", "ff0e::1")


def to_uplink(packet, **macs):
    return frame(macs.get("dst", world.UPLINK_MAC), macs.get("src", world.NEXT_HOP_MAC), packet)


def uplink():
    for eip in ("203.0.113.10", "203.0.113.11", "203.0.113.12", "203.0.113.30", "203.0.113.32", "198.18.7.10"):
        inbound(f"O1-nat-{eip}", eip, TCP)
    inbound("O1-second-uplink", "203.0.113.10", UDP, uplink=world.UPLINK2)
    inbound("O1-second-cidr", "203.0.113.80", UDP)
    inbound("O1-from-private-elsewhere", "203.0.113.10", TCP, src="192.168.7.7")
    inbound("O1-from-other-10-net", "203.0.113.10", TCP, src="10.1.0.1")
    for eip in ("203.0.113.20", "198.18.7.20"):
        inbound(f"O2-cut-through-{eip}", eip, TCP)
        inbound(f"O2-cut-through-ping-{eip}", eip, PING)
    uplink_pass("O1-interface-without-a-record", frame(world.UPLINK3_MAC, world.NEXT_HOP_MAC, TCP(world.REMOTE, "203.0.113.10", 64)), interface=world.UPLINK3)
    for dst in (NOT_ASSOCIATED, NO_EIP_AT_ALL, "198.18.7.1", "203.0.113.0", "203.0.113.255", "198.18.7.99"):
        uplink_drop(f"O3-{dst}", dst, TCP, "no-association")
        uplink_drop(f"O3-ping-{dst}", dst, PING, "no-association")
    for dst in (world.HOST, world.HOST_IN_POOL, "192.0.2.200", "198.18.8.1", "198.18.6.255", "203.0.112.1", "10.0.0.10"):
        uplink_pass(f"O4-{dst}", to_uplink(TCP(world.REMOTE, dst, 64)))
    uplink_pass("O4-ttl-1", to_uplink(UDP(world.REMOTE, world.HOST, 1)))
    if not family.is6():
        uplink_pass("O4-wrong-header-checksum", to_uplink(p.edited(TCP, 10, b"\xbe\xef", fix=False)(world.REMOTE, world.HOST, 64)))
        uplink_pass("O4-source-route", to_uplink(p.tcp(**p.options(b"\x83\x07\x04\xc0\0\2\1"))(world.REMOTE, world.HOST, 64)))
    uplink_pass("O4-spoofed-eip-source", to_uplink(TCP("203.0.113.10", world.HOST, 64)))
    uplink_drop("O5-detached", "203.0.113.50", TCP, "eni-detached")
    uplink_drop("O5-stranded", "203.0.113.40", TCP, "eni-stranded")
    for src in family.pick(SPECIAL_SOURCES, SPECIAL_SOURCES6):
        uplink_drop(f"O15-from-{src}", "203.0.113.10", UDP, "martian", src=src)
    uplink_drop("O15-cut-through", "203.0.113.20", UDP, "martian", src="127.0.0.1")
    uplink_drop("O15-eip-to-other-eip", "203.0.113.30", UDP, "martian", src="203.0.113.10")
    uplink_drop("O15-eip-to-itself", "203.0.113.10", UDP, "martian", src="203.0.113.10")
    uplink_drop("O15-eip-to-cut-through", "203.0.113.20", UDP, "martian", src="198.18.7.10")
    uplink_drop("O15-cut-through-eip-to-nat", "203.0.113.10", UDP, "martian", src="203.0.113.20")
    uplink_drop("O15-private-of-vpc", "203.0.113.10", UDP, "martian", src="10.0.0.20")
    uplink_drop("O15-private-of-vpc-unused", "203.0.113.30", UDP, "martian", src="10.0.77.7")
    uplink_drop("O15-private-of-second-cidr", "203.0.113.10", UDP, "martian", src="172.20.1.1")
    uplink_drop("O15-private-of-vpc-cut-through", "203.0.113.20", UDP, "martian", src="10.0.0.20")
    uplink_drop("O15-stranded-eip", "203.0.113.10", UDP, "martian", src="203.0.113.40")
    inbound("O15-private-of-other-vpc", "203.0.113.30", UDP, src="172.20.1.1")
    inbound("O15-detached-eip", "203.0.113.10", UDP, src="203.0.113.50")
    uplink_pass("O15-multicast", to_uplink(UDP(world.REMOTE, "224.0.0.5", 1), dst=family.group_mac("224.0.0.5")))
    if not family.is6():
        uplink_pass("O15-broadcast", to_uplink(UDP(world.REMOTE, "255.255.255.255", 64), dst="ff:ff:ff:ff:ff:ff"))
    uplink_pass("O15-multicast-to-our-mac", to_uplink(UDP(world.REMOTE, "239.1.2.3", 64)))


# Private addresses (RFC 1918, RFC 6598; RFC 4193), and what is next to them.
PRIVATE_SOURCES = ("10.1.0.1", "172.16.0.1", "172.31.255.254", "192.168.7.7", "100.64.0.1", "100.127.255.254")
PRIVATE_SOURCES6 = ("fc00::1", "fd12:3456:789a::1", "fdff:ffff::1")
GLOBAL_SOURCES = ("9.255.255.254", "11.0.0.1", "172.15.255.254", "172.32.0.1", "192.167.255.254", "192.169.0.1", "100.63.255.254", "100.128.0.1", "169.253.255.254", "169.255.0.1")
GLOBAL_SOURCES6 = ("fbff:ffff::1", "fe00::1", "fec0::1")


def bogons():
    """O15: sources that cannot come from the Internet, and those that can."""
    nat, cut, on_link, on_link_cut = "203.0.113.10", "203.0.113.20", "198.51.101.10", "198.51.101.20"
    for name, src in (
        ("hosts-own", world.HOST),
        ("hosts-own-in-pool", world.HOST_IN_POOL),
        ("hosts-own-on-link", world.HOST_ON_LINK),
        # Of a pool that is routed here.
        ("pool-gateway", "198.18.7.1"),
        ("pool-nobodys", NO_EIP_AT_ALL),
        ("pool-unassociated", NOT_ASSOCIATED),
        ("pool-network", "203.0.113.0"),
        ("eip-on-link", "198.51.101.10"),
        ("cut-through-eip-on-link", "198.51.101.20"),
    ):
        for mode, eip in (("nat", nat), ("cut-through", cut)):
            uplink_drop(f"O15-{name}-to-{mode}", eip, UDP, "martian", src=src)
    uplink_drop("O15-pool-nobodys-to-on-link", on_link_cut, UDP, "martian", src=NO_EIP_AT_ALL)
    for name, src in (
        ("next-hop", world.NEXT_HOP),
        ("reserved", world.RESERVED),
        ("on-link-router", world.ON_LINK_ROUTER),
        ("on-link-neighbour", world.NEIGHBOUR),
        ("on-link-unassociated", "198.51.101.60"),
        ("detached-eip-elsewhere", "203.0.113.50"),
        ("beside-the-pools", "198.51.100.77"),
    ):
        for mode, eip in (("nat", nat), ("cut-through", cut), ("on-link", on_link), ("on-link-cut-through", on_link_cut)):
            inbound(f"O15-O18-{name}-to-{mode}", eip, UDP, src=src)
    private_sources(nat, cut)


def private_sources(nat, cut):
    """The second uplink drops them."""
    both = {"uplink": world.UPLINK2}
    for src in family.pick(PRIVATE_SOURCES, PRIVATE_SOURCES6):
        inbound(f"O15-private-{src}", nat, UDP, src=src)
        inbound(f"O15-private-{src}-cut-through", cut, UDP, src=src)
        uplink_drop(f"O15-private-dropped-{src}", nat, UDP, "martian", src=src, **both)
        uplink_drop(f"O15-private-dropped-{src}-cut-through", cut, UDP, "martian", src=src, **both)
        uplink_drop(f"O15-private-dropped-ping-{src}", nat, PING, "martian", src=src, **both)
    for src in family.pick(GLOBAL_SOURCES, GLOBAL_SOURCES6):
        inbound(f"O15-global-{src}", nat, UDP, src=src)
        inbound(f"O15-global-passes-{src}", nat, UDP, src=src, **both)
    # A router on the way may have a private address (RFC 1812 4.3.2.4): it tells of a packet that the EIP sent.
    router, late = family.pick("192.168.7.7", "fd12:3456:789a::1"), family.pick(11, 3)

    def sent(src, dst, ttl):
        return UDP(src, world.REMOTE, ttl)

    about = p.icmp_error(late, sent)
    others = p.icmp_error(late, lambda src, dst, ttl: UDP("192.0.2.200", world.REMOTE, ttl))
    for name, eip in (("", nat), ("-cut-through", cut)):
        inbound(f"O15-private-error{name}", eip, about, src=router, **both)
        uplink_drop(f"O15-private-error-about-others{name}", eip, others, "martian", src=router, **both)
        uplink_drop(f"O15-private-error-about-nothing{name}", eip, p.icmp_error(late, sent, size=0), "martian", src=router, **both)
        # Of a later fragment nobody knows what it is about.
        uplink_drop(f"O15-private-later-fragment{name}", eip, p.fragment(p.icmp_error(late, p.udp(bytes(256))), 64, 64, more=False), "martian", src=router, **both)
    # Whatever it is about, it is not from who cannot be there.
    uplink_drop("O15-error-of-hosts-own", nat, about, "martian", src=world.HOST)
    uplink_drop("O15-error-of-vpcs-own", nat, about, "martian", src="10.0.0.20")


def on_link():
    """O18: a pool that is the network of the uplink's link, where others hold addresses, too."""
    nat, cut = ("l1", "10.0.0.60"), ("l2", "198.51.101.20")
    for name, body in (("tcp", TCP), ("udp", UDP), ("ping", PING), ("other", p.other(253)), ("error", p.icmp_error(family.pick(3, 1), UDP))):
        inbound(f"O18-{name}-in", "198.51.101.10", body, src=world.NEIGHBOUR)
        inbound(f"O18-{name}-cut-through-in", "198.51.101.20", body, src=world.NEIGHBOUR)
        inbound(f"O18-{name}-of-other-pool-in", "203.0.113.10", body, src=world.NEIGHBOUR)
        to_neighbour(f"O18-{name}-out", *nat, body)
        to_neighbour(f"O18-{name}-cut-through-out", *cut, body)
        to_neighbour(f"O18-{name}-of-other-pool-out", "a1", "10.0.0.10", body)
    for name, dst in (("router", world.ON_LINK_ROUTER), ("next-hop", world.NEXT_HOP), ("network", "198.51.101.0")):
        to_neighbour(f"O18-{name}-out", *nat, UDP, dst=dst)
        to_neighbour(f"O18-{name}-cut-through-out", *cut, UDP, dst=dst)
    for ttl in (255, 2):
        to_neighbour(f"R1-O18-ttl-{ttl}", *nat, UDP, ttl=ttl)
    to_neighbour("R6-O18-padding", *nat, p.udp(b"x"), padding=b"\xff" * 17)
    to_neighbour("O18-vlan-out", "v1", "10.0.2.10", UDP)
    to_neighbour("O18-stack-out", "q1", "10.0.3.10", UDP)
    port_told("R2-O18-ttl-1", *nat, world.NEIGHBOUR, UDP, "ttl-exceeded", ttl=1)
    port_told("R2-O18-ttl-1-cut-through", *cut, world.NEIGHBOUR, UDP, "ttl-exceeded", ttl=1)
    port_told("R2-O18-ttl-1-cut-through-out", *cut, world.REMOTE, UDP, "ttl-exceeded", ttl=1)
    hairpin("O12-O18-nat-to-cut-through", *nat, "198.51.101.20", UDP)
    hairpin("O12-O18-from-other-pool", "a1", "10.0.0.10", "198.51.101.10", UDP)
    hairpin("O13-O18", *nat, "198.51.101.10", UDP)
    outbound("O6-O18", *nat, TCP)
    outbound("O7-O18", *cut, TCP)
    for dst in (world.NEIGHBOUR, world.ON_LINK_ROUTER, "198.51.101.60", "198.51.101.255"):
        uplink_drop(f"O3-O20-on-link-{dst}", dst, TCP, "no-association")
        uplink_drop(f"O3-O20-on-link-ttl-1-{dst}", dst, TCP, "no-association", ttl=1)
    uplink_drop("O3-O20-reserved", world.RESERVED, TCP, "no-association")
    uplink_pass("O4-on-link-host", to_uplink(TCP(world.NEIGHBOUR, world.HOST_ON_LINK, 64)))
    unassociated = {"198.51.101.60": {"in_dropped": 1}}
    port_drop("O18-unassociated", *nat, "198.51.101.60", TCP, "no-association", also=unassociated)
    port_drop("O12-reserved", "a1", "10.0.0.10", world.RESERVED, TCP, "no-association")
    port_drop("O8-O18-no-eip", "b1", "10.0.0.20", world.NEIGHBOUR, TCP, "no-eip")
    # The host itself: its answer would come out of the uplink, from an address that cannot be there.
    for name, host in (("", world.HOST), ("-in-pool", world.HOST_IN_POOL), ("-on-link", world.HOST_ON_LINK)):
        for eni, src in (("a1", "10.0.0.10"), ("b2", "203.0.113.20"), nat, cut):
            for kind, body in (("tcp", TCP), ("ping", PING), ("ttl-1", UDP)):
                ttl = 1 if kind == "ttl-1" else 64
                port_drop(f"O19-host{name}-{kind}-{eni}", eni, src, host, body, "gateway-service", ttl=ttl)
    port_drop("O19-host-no-eip", "b1", "10.0.0.20", world.HOST, TCP, "no-eip")


def link_local():
    host, remote = world.HOST, world.NEXT_HOP
    uplink_pass("O16-ssh", to_uplink(p.tcp(b"", flags="S")(remote, host, 64)))
    uplink_pass("O16-bgp", to_uplink(p.of(p.TCP(sport=40000, dport=179))(remote, host, 1)))
    uplink_pass("O16-ospf", to_uplink(p.OSPF(remote, "224.0.0.5", 1), dst=family.group_mac("224.0.0.5")))
    uplink_pass("O16-ping-host", to_uplink(PING(remote, host, 64)))
    if family.is6():
        router = world.link_local(world.NEXT_HOP_MAC)
        uplink_pass("O16-link-local-to-link-local", to_uplink(UDP(router, world.link_local(world.UPLINK_MAC), 1)))
        uplink_pass("O16-link-local-to-group", to_uplink(UDP(router, "ff02::5", 1), dst=family.group_mac("ff02::5")))
        return
    lldp = bytes.fromhex("0180c200000e") + bytes.fromhex("0200000000fe") + bytes.fromhex("88cc02070402000000ffff0000")
    uplink_pass("O16-lldp", lldp)
    v6 = bytes.fromhex("02000000ff010200000000fe86dd") + bytes(p.IPv6(src="2001:db8::1", dst="2001:db8::2"))
    uplink_pass("O16-ipv6", v6)
    tagged = bytes.fromhex("02000000ff010200000000fe81000065") + to_uplink(TCP(remote, "203.0.113.10", 64))[12:]
    uplink_pass("T16-foreign-vlan", tagged)
    uplink_pass("T16-qinq", tagged.replace(bytes.fromhex("81000065"), bytes.fromhex("88a800648100000a"), 1))
    uplink_pass("O16-length-not-ethertype", bytes.fromhex("02000000ff010200000000fe0010") + bytes(16))
    uplink_pass("O16-bare-header", bytes.fromhex("02000000ff010200000000fe1234"))


def ports():
    outbound("O6-nat", "a1", "10.0.0.10", TCP)
    outbound("O6-second-address", "a2", "10.0.0.12", TCP)
    outbound("O6-many", "m1", "10.0.1.10", TCP)
    outbound("O6-second-cidr", "j1", "172.20.3.30", UDP)
    outbound("O6-second-cidr-next-to-it", "a1", "10.0.0.10", UDP, dst="172.20.4.1")
    outbound("O6-private-elsewhere", "a1", "10.0.0.10", TCP, dst="192.168.7.7")
    outbound("O6-other-10-net", "c1", "10.0.0.10", TCP, dst="10.1.0.1")
    outbound("O6-other-vpcs-cidr", "c1", "10.0.0.10", TCP, dst="172.20.0.9")
    outbound("O7-cut-through", "b2", "203.0.113.20", TCP)
    outbound("O7-cut-through-many", "m3", "198.18.7.20", TCP)
    outbound("O6-beside-the-pools", "a1", "10.0.0.10", TCP, dst="203.0.112.1")
    stray = frame(world.FOREIGN_MAC, world.eni_mac("a1"), TCP("10.0.0.10", world.REMOTE, 64))
    raw_case("O5-port-without-a-record", world.STRAY_PORT, stray, drop("eni-detached"))
    port_drop("O8-no-eip", "b1", "10.0.0.20", world.REMOTE, TCP, "no-eip")
    port_drop("O8-no-eip-ping", "b1", "10.0.0.20", world.REMOTE, PING, "no-eip")
    port_drop("O8-many", "m2", "10.0.1.11", world.REMOTE, TCP, "no-eip")
    port_drop("O8-no-eip-to-eip", "b1", "10.0.0.20", "203.0.113.10", TCP, "no-eip")
    port_drop("O8-no-eip-private-elsewhere", "b1", "10.0.0.20", "192.168.7.7", TCP, "no-eip")


def spoofing():
    def source(name, eni, src, dst=world.REMOTE, **more):
        port_drop(f"O9-{name}", eni, src, dst, TCP, "spoofed-source", known=False, **more)

    def mac(name, port, address, src="10.0.0.10"):
        port_drop(f"O9-{name}", "a1", src, world.REMOTE, TCP, "spoofed-mac", known=False, port=port, mac=address)

    source("nobodys-address", "a1", "10.0.0.99")
    source("other-instance", "a1", "10.0.0.20")
    source("other-instance-private", "a1", "10.0.0.20", "10.0.0.11")
    source("internet-address", "a1", world.REMOTE, "192.0.2.1")
    source("own-eip", "a1", "203.0.113.10")
    source("others-cut-through", "a1", "203.0.113.20")
    source("gateway", "a1", "10.0.0.1")
    source("all-zeros", "a1", "0.0.0.0")
    source("loopback", "a1", "127.0.0.1")
    if family.is6():
        source("link-local", "a1", world.link_local(world.eni_mac("a1")))
        source("link-local-private", "a1", world.link_local(world.eni_mac("a1")), "10.0.0.20")
        source("mapped", "a1", "::ffff:a00:a")
    source("multicast", "a1", "224.0.0.1")
    source("host", "a1", world.HOST)
    source("detached-eni", "a1", "10.0.0.50")
    source("other-vpcs-address", "a1", "10.0.0.31")
    source("many-neighbour", "m1", "10.0.1.11")
    source("many-neighbours-cut-through", "m1", "198.18.7.20")
    source("antispoof-eni", "c1", "10.0.0.31")
    source("antispoof-eni-many", "m4", "10.0.1.10")
    outbound("O9-same-instance", "a1", "10.0.0.11", TCP)
    outbound("O9-same-instance-back", "a2", "10.0.0.10", TCP)
    outbound("O9-same-instance-narrow-neighbour", "c2", "10.0.0.10", TCP)
    outbound("O9-same-instance-cut-through", "b1", "203.0.113.20", TCP)
    outbound("O9-antispoof-eni-own", "c1", "10.0.0.10", TCP)
    private("O9-same-instance-private", "a1", "10.0.0.11", "10.0.0.20", TCP)
    port_drop("O9-same-instance-many", "m1", "10.0.1.13", world.REMOTE, TCP, "no-eip")
    mac("unknown-mac", "pa", "0a:00:00:00:00:99")
    mac("mac-of-other-port", "pa", world.eni_mac("a2"))
    mac("mac-of-other-port-own-address", "pa", world.eni_mac("a2"), "10.0.0.11")
    mac("ports-own-mac", "pa", world.port_mac("pa"))
    mac("zero-mac", "pa", "00:00:00:00:00:00")
    mac("broadcast-mac", "pa", "ff:ff:ff:ff:ff:ff")
    mac("unknown-mac-many", "pm", "0a:00:00:00:01:99", "10.0.1.10")
    mac("zero-mac-many", "pm", "00:00:00:00:00:00", "10.0.1.10")
    mac("mac-of-single-port-many", "pm", world.eni_mac("a1"), "10.0.0.10")


def private_networking():
    off = "private-network-off"
    port_drop("O10-old-address-out", "b2", "10.0.0.21", world.REMOTE, TCP, off)
    port_drop("O10-old-address-private", "b2", "10.0.0.21", "10.0.0.10", TCP, off)
    port_drop("O10-old-address-gateway", "b2", "10.0.0.21", "10.0.0.1", PING, off)
    port_drop("O10-old-address-many", "m3", "10.0.1.12", world.REMOTE, TCP, off)
    port_drop("O10-through-primary", "b1", "10.0.0.21", "10.0.0.10", TCP, off)
    port_drop("O10-to-old-address", "a1", "10.0.0.10", "10.0.0.21", TCP, off, known=False)
    port_drop("O10-to-old-address-no-eip", "b1", "10.0.0.20", "10.0.0.21", TCP, off)
    port_drop("O10-eip-to-private", "b2", "203.0.113.20", "10.0.0.10", TCP, off)
    port_drop("O10-eip-to-private-nobody", "b2", "203.0.113.20", "10.0.0.99", TCP, off)
    port_drop("O10-eip-to-vpc-gateway", "b2", "203.0.113.20", "10.0.0.1", PING, off)
    port_drop("O10-eip-to-second-cidr", "b2", "203.0.113.20", "172.20.0.9", TCP, off)
    private("O11-nat-to-nat", "a1", "10.0.0.10", "10.0.0.11", TCP)
    private("O11-no-eip-to-nat", "b1", "10.0.0.20", "10.0.0.10", PING)
    private("O11-across-cidrs", "a1", "10.0.0.10", "172.20.3.30", UDP)
    private("O11-across-cidrs-back", "j1", "172.20.3.30", "10.0.0.10", UDP)
    private("O11-to-itself", "a1", "10.0.0.10", "10.0.0.10", TCP)
    private("O11-to-many", "a1", "10.0.0.10", "10.0.1.11", TCP)
    private("O11-from-many", "m2", "10.0.1.11", "10.0.0.10", TCP)
    private("O11-inside-many", "m1", "10.0.1.10", "10.0.1.11", TCP)
    for ttl in (0, 1, 2, 255):
        private(f"O11-ttl-{ttl}", "a1", "10.0.0.10", "10.0.0.20", UDP, ttl=ttl)
    # Private traffic is no EIP's: nothing of it is counted there.
    port_drop("O11-nobody", "a1", "10.0.0.10", "10.0.0.99", TCP, "no-such-eni", known=False)
    port_drop("O11-nobody-no-eip", "b1", "10.0.0.20", "10.0.0.99", TCP, "no-such-eni")
    port_drop("O11-network-address", "a1", "10.0.0.10", "10.0.0.0", TCP, "no-such-eni", known=False)
    port_drop("O11-broadcast-address", "a1", "10.0.0.10", "10.0.255.255", UDP, "no-such-eni", known=False)
    port_drop("O11-second-cidr-nobody", "a1", "10.0.0.10", "172.20.3.31", TCP, "no-such-eni", known=False)
    port_drop("O11-detached", "a1", "10.0.0.10", "10.0.0.50", TCP, "eni-detached", known=False)
    port_drop("O11-stranded", "a1", "10.0.0.10", "10.0.0.40", TCP, "eni-stranded", known=False)
    port_drop("O5-from-stranded", "s1", "10.0.0.40", world.REMOTE, TCP, "eni-stranded")
    port_drop("O5-from-stranded-private", "s1", "10.0.0.40", "10.0.0.10", TCP, "eni-stranded")


def pong(name, eni, src, gateway, body, answer, **more):
    port = world.eni_port(eni)
    data = from_port(eni, body(src, gateway, more.pop("ttl", 64)))
    back = frame(world.eni_mac(eni), world.port_mac(port), answer(gateway, src, 64), vlan=world.link(port)[1])
    add(name, port, data, reply(back), xdp="pass", **more)


def gateways():
    for name, payload in (("", p.PAYLOAD), ("-empty", b""), ("-long", bytes(1000))):
        echo = p.ping(payload)
        pong(f"O11-ping-gateway{name}", "a1", "10.0.0.10", "10.0.0.1", echo, p.icmp_echo_reply(payload))
    answer = p.icmp_echo_reply()
    pong("O11-ping-gateway-no-eip", "b1", "10.0.0.20", "10.0.0.1", PING, answer)
    pong("O11-ping-gateway-second-cidr", "a1", "10.0.0.10", "172.20.0.1", PING, answer)
    pong("O11-ping-gateway-vpc-2", "c1", "10.0.0.10", "10.0.0.1", PING, answer)
    pong("O11-ping-gateway-many", "m2", "10.0.1.11", "10.0.0.1", PING, answer)
    pong("O11-ping-gateway-ttl-1", "a1", "10.0.0.10", "10.0.0.1", PING, answer, ttl=1)
    pong("O11-ping-pool-gateway", "m3", "198.18.7.20", "198.18.7.1", PING, answer)
    pong("O11-ping-pool-gateway-nat", "m1", "10.0.1.10", "198.18.7.1", PING, answer)
    whole, parts = p.ping(bytes(200)), p.icmp_echo_reply(bytes(200))
    for name, offset, size, more in (("first", 0, 64, True), ("later", 64, 64, True), ("last", 128, 80, False)):
        question = p.fragment(whole, offset, size, more=more)
        pong(f"O11-ping-gateway-{name}-fragment", "a1", "10.0.0.10", "10.0.0.1", question, p.fragment(parts, offset, size, more=more))
    if family.is6():
        chain = (p.hop_by_hop(), p.destination_options())
        pong("O11-ping-gateway-extension-headers", "a1", "10.0.0.10", "10.0.0.1", p.behind(PING, *chain), p.behind(answer, *chain))
        link_routers(answer)
    else:
        pong("O11-ping-gateway-ihl-7", "a1", "10.0.0.10", "10.0.0.1", p.ping(ip_options=b"\x01" * 8), p.icmp_echo_reply(ip_options=b"\x01" * 8))
    wrong, still = (p.transport_edited(body, 2, value) for body, value in ((PING, b"\x12\x34"), (answer, family.pick(b"\x1a\x34", b"\x11\x34"))))
    pong("T5-ping-gateway-wrong", "a1", "10.0.0.10", "10.0.0.1", wrong, still)
    port_drop("O11-pool-gateway-tcp", "m3", "198.18.7.20", "198.18.7.1", TCP, "gateway-service")
    port_drop("O8-pool-gateway-no-eip", "m2", "10.0.1.11", "198.18.7.1", PING, "no-eip")
    for name, body in (("tcp", TCP), ("udp", UDP), ("dns", p.udp(dport=53)), ("echo-reply", p.icmp_echo_reply()), ("other-icmp", p.icmp(family.pick(13, 139))), ("gre", p.gre())):
        port_drop(f"O11-gateway-{name}", "a1", "10.0.0.10", "10.0.0.1", body, "gateway-service")
    port_drop("O11-gateway-tcp-no-eip", "b1", "10.0.0.20", "10.0.0.1", TCP, "gateway-service")


def link_routers(answer):
    """IPv6: the gateway's link-local address on a port, and nobody else's."""
    for eni, src in (("a1", "10.0.0.10"), ("b1", "10.0.0.20"), ("b2", "203.0.113.20"), ("m2", "10.0.1.11")):
        port, own = world.eni_port(eni), world.link_local(world.eni_mac(eni))
        router = world.link_local(world.port_mac(port))
        pong(f"O11-ping-link-router-{eni}", eni, own, router, PING, answer)
        pong(f"O11-ping-link-router-from-address-{eni}", eni, src, router, PING, answer)
        port_drop(f"O11-link-router-tcp-{eni}", eni, own, router, TCP, "gateway-service")
    own, other = world.link_local(world.eni_mac("a1")), world.link_local(world.port_mac("pb"))
    port_drop("O17-link-router-of-other-port", "a1", own, other, PING, "martian-destination")
    port_drop("O17-link-router-of-other-port-from-address", "a1", "10.0.0.10", other, PING, "martian-destination")
    port_drop("O17-link-local-neighbour", "m1", world.link_local(world.eni_mac("m1")), world.link_local(world.eni_mac("m2")), UDP, "martian-destination")
    port_drop("O17-link-local-to-group", "a1", own, "ff02::fb", UDP, "martian-destination")
    port_drop("O17-unspecified-to-group", "a1", "::", "ff02::16", p.icmp(143), "spoofed-source")
    port_drop("O10-link-local-to-vpc", "b2", world.link_local(world.eni_mac("b2")), "10.0.0.10", UDP, "spoofed-source")


def hairpins():
    def refused(name, eni, src, dst, reason):
        public = world.ADDRESSES[world.PORTS[world.eni_port(eni)], src][2]
        also = {dst: {"in_dropped": 1}} if dst in world.EIPS else {}
        also[public] = {**also.get(public, {}), "out_dropped": 1}
        port_drop(f"O12-{name}", eni, src, dst, TCP, reason, also=also)

    hairpin("O12-nat-to-nat", "a1", "10.0.0.10", "203.0.113.11", TCP)
    hairpin("O12-nat-to-nat-same-private-address", "a1", "10.0.0.10", "203.0.113.30", TCP)
    hairpin("O12-nat-to-cut-through", "a1", "10.0.0.10", "203.0.113.20", UDP)
    hairpin("O12-cut-through-to-nat", "b2", "203.0.113.20", "203.0.113.10", UDP)
    hairpin("O12-cut-through-to-cut-through", "b2", "203.0.113.20", "198.18.7.20", UDP)
    hairpin("O12-other-pool", "a1", "10.0.0.10", "198.18.7.10", PING)
    hairpin("O12-inside-many", "m1", "10.0.1.10", "198.18.7.20", UDP)
    hairpin("O13-nat", "a1", "10.0.0.10", "203.0.113.10", TCP)
    hairpin("O13-nat-ping", "c1", "10.0.0.10", "203.0.113.30", PING)
    hairpin("O13-cut-through", "b2", "203.0.113.20", "203.0.113.20", TCP)
    hairpin("O13-second-address", "a2", "10.0.0.11", "203.0.113.12", TCP)
    refused("unassociated", "a1", "10.0.0.10", NOT_ASSOCIATED, "no-association")
    refused("nobodys", "a1", "10.0.0.10", NO_EIP_AT_ALL, "no-association")
    refused("nobodys-from-cut-through", "b2", "203.0.113.20", NO_EIP_AT_ALL, "no-association")
    refused("detached", "a1", "10.0.0.10", "203.0.113.50", "eni-detached")
    refused("stranded", "a1", "10.0.0.10", "203.0.113.40", "eni-stranded")


def servers():
    """What only the gateway may say to guests of a VPC, and who else may say it."""
    sender, guest, own_vpc, other_vpc = ("a1", "10.0.0.10"), "10.0.0.20", "203.0.113.11", "203.0.113.30"
    rogue = "rogue-server"
    server, client = family.pick((67, 68), (547, 546))
    answers = [("dhcp", p.udp(sport=server, dport=client)), ("dhcp-no-checksum", p.udp(sport=server, dport=client, chksum=0))]
    big = p.udp(bytes(256), sport=server, dport=client)
    answers += [("dhcp-first-fragment", p.fragment(big, 0, 64, more=True)), ("dhcp-first-8-bytes", p.fragment(big, 0, 8, more=True))]
    if family.is6():
        chain = (p.hop_by_hop(), p.routing(), p.destination_options())
        answers += [
            ("dhcp-behind-headers", p.behind(p.udp(sport=server, dport=client), *chain)),
            ("dhcp-atomic-fragment", p.behind(p.udp(sport=server, dport=client), p.fragment_header())),
            ("dhcp-first-fragment-behind-headers", p.fragment(p.behind(big, *chain), 0, 64, more=True)),
        ]
        for kind in range(133, 138):
            answers.append((f"icmp-{kind}", p.icmp(kind)))
            answers.append((f"icmp-{kind}-behind-headers", p.behind(p.icmp(kind), *chain)))
            answers.append((f"icmp-{kind}-first-fragment", p.fragment(p.icmp(kind, payload=bytes(64)), 0, 32, more=True)))
            answers.append((f"icmp-{kind}-first-8-bytes", p.fragment(p.icmp(kind, payload=bytes(64)), 0, 8, more=True)))
            answers.append((f"icmp-{kind}-atomic-fragment", p.behind(p.icmp(kind), p.fragment_header())))
    for name, body in answers:
        for ttl in (64, 255) if family.is6() else (64,):
            # As a link's own message, it is one of neighbour discovery: see R9.
            if ttl == 255 and name.startswith("icmp") and "-" not in name[5:]:
                continue
            port_drop(f"O11-rogue-{name}-{ttl}", *sender, guest, body, rogue, ttl=ttl, known=False)
            port_drop(f"O11-rogue-{name}-{ttl}-no-eip", "b1", guest, "10.0.0.10", body, rogue, ttl=ttl)
            # By way of their EIPs it is the same VPC.
            also = {"203.0.113.10": {"out_dropped": 1}, own_vpc: {"in_dropped": 1}}
            port_drop(f"O12-rogue-{name}-{ttl}", *sender, own_vpc, body, rogue, ttl=ttl, also=also)
        if name.startswith("dhcp"):
            # Others are somebody on the Internet to each other.
            hairpin(f"O12-{name}-to-other-vpc", *sender, other_vpc, body)
            inbound(f"O1-{name}-from-the-internet", "203.0.113.10", body)
            outbound(f"O6-{name}-to-the-internet", *sender, body)
    tiny = [("udp-4-bytes", p.fragment(big, 0, 4, more=True)), ("udp-1-byte", p.fragment(big, 0, 1, more=True)), ("tcp-4-bytes", p.fragment(TCP, 0, 4, more=True))]
    if family.is6():
        tiny += [(f"icmp-{kind}-4-bytes", p.fragment(p.icmp(kind), 0, 4, more=True)) for kind in (134, 136)]
        tiny.append(("udp-4-bytes-behind-headers", p.fragment(p.behind(big, p.hop_by_hop(), p.destination_options()), 0, 12, more=True)))
    for name, body in tiny:
        port_drop(f"T8-private-first-{name}", *sender, guest, body, "tiny-fragment", known=False)
    # What a client sends is for whoever it is sent to.
    request = p.udp(sport=client, dport=server)
    private("O11-dhcp-request-to-guest", *sender, guest, request, xdp="pass")
    if family.is6():
        private("O11-ping-behind-headers", *sender, guest, p.behind(PING, p.hop_by_hop()))
        private("O11-listener-query-to-guest", *sender, guest, p.icmp(130))


def clients():
    """DHCP to somebody on the Internet, who may run a server there."""
    request = p.udp(sport=family.pick(68, 546), dport=family.pick(67, 547))
    nat, cut = ("a1", "10.0.0.10"), ("b2", "203.0.113.20")
    for ttl in (255, 64, 2):
        outbound(f"O6-dhcp-request-ttl-{ttl}", *nat, request, ttl=ttl, xdp="early")
        outbound(f"O7-T14-dhcp-request-ttl-{ttl}", *cut, request, ttl=ttl, xdp="early")
    outbound("O7-T14-dhcp-request-on-link", "l2", "198.51.101.20", request, xdp="early")
    to_neighbour("O18-dhcp-request", "l1", "10.0.0.60", request, xdp="early")
    hairpin("O12-dhcp-request", *nat, "203.0.113.30", request, xdp="early")
    hairpin("O12-dhcp-request-same-vpc", *nat, "203.0.113.11", request, xdp="early")
    inbound("O1-dhcp-request", "203.0.113.10", request)
    inbound("O2-dhcp-request", "203.0.113.20", request)
    port_drop("O8-dhcp-request", "b1", "10.0.0.20", world.REMOTE, request, "no-eip", xdp="early")
    port_drop("O12-dhcp-request-nobodys", *cut, "203.0.113.1", request, "no-association", xdp="early")
    port_drop("O19-dhcp-request-host", *nat, world.HOST, request, "gateway-service", xdp="early")


def overlapping():
    outbound("O14-vpc-1", "a1", "10.0.0.10", TCP)
    outbound("O14-vpc-2", "c1", "10.0.0.10", TCP)
    outbound("O14-vpc-2-has-an-eip", "d1", "10.0.0.20", TCP)
    port_drop("O14-vpc-1-has-none", "b1", "10.0.0.20", world.REMOTE, TCP, "no-eip")
    inbound("O14-in-vpc-1", "203.0.113.10", TCP)
    inbound("O14-in-vpc-2", "203.0.113.30", TCP)
    private("O14-private-vpc-1", "a1", "10.0.0.10", "10.0.0.20", TCP)
    private("O14-private-vpc-2", "c1", "10.0.0.10", "10.0.0.20", TCP)
    port_drop("O14-not-in-vpc-2", "c1", "10.0.0.10", "10.0.0.11", TCP, "no-such-eni", known=False)
    port_drop("O14-not-in-vpc-1", "a1", "10.0.0.10", "10.0.0.31", TCP, "no-such-eni", known=False)


def martian_destinations():
    for dst in family.pick(SPECIAL_DESTINATIONS, SPECIAL_DESTINATIONS6):
        port_drop(f"O17-to-{dst}", "a1", "10.0.0.10", dst, UDP, "martian-destination")
    nowhere, group = family.pick(("169.254.169.254", "224.0.0.251"), ("fe80::a9fe:a9fe", "ff02::fb"))
    port_drop("O17-cut-through", "b2", "203.0.113.20", nowhere, UDP, "martian-destination")
    port_drop("O17-no-eip", "b1", "10.0.0.20", nowhere, UDP, "martian-destination")
    group_mac, some_group = family.group_mac(group), family.group_mac("224.0.0.5")
    counters = {"203.0.113.10": {"out_dropped": 1}}

    def grouped(name, dst, mac):
        data = from_port("a1", UDP("10.0.0.10", dst, 64), dst=mac)
        raw_case(f"O17-{name}", "pa", data, drop("martian-destination"), counters=counters)

    grouped("multicast-group-mac", group, group_mac)
    if not family.is6():
        grouped("broadcast-mac", "255.255.255.255", "ff:ff:ff:ff:ff:ff")
    grouped("unicast-to-broadcast-mac", world.REMOTE, "ff:ff:ff:ff:ff:ff")
    grouped("private-to-multicast-mac", "10.0.0.20", some_group)
    mdns = from_port("b1", UDP("10.0.0.99", group, 255), dst=group_mac)
    raw_case("O17-spoofed-first", "pc", mdns, drop("spoofed-source"))


def generate():
    uplink()
    bogons()
    on_link()
    link_local()
    ports()
    servers()
    clients()
    spoofing()
    private_networking()
    gateways()
    hairpins()
    overlapping()
    martian_destinations()
