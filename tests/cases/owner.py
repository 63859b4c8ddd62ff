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
    reply,
    uplink_drop,
    uplink_pass,
)

TCP, UDP, PING = p.tcp(), p.udp(), p.ping()
NOT_ASSOCIATED = "203.0.113.60"
NO_EIP_AT_ALL = "203.0.113.99"
SPECIAL_SOURCES = ("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.5", "239.255.255.250", "240.0.0.1", "255.255.255.255")
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
    inbound("O15-unassociated-eip", "203.0.113.10", UDP, src=NOT_ASSOCIATED)
    uplink_pass("O15-multicast", to_uplink(UDP(world.REMOTE, "224.0.0.5", 1), dst=family.group_mac("224.0.0.5")))
    if not family.is6():
        uplink_pass("O15-broadcast", to_uplink(UDP(world.REMOTE, "255.255.255.255", 64), dst="ff:ff:ff:ff:ff:ff"))
    uplink_pass("O15-multicast-to-our-mac", to_uplink(UDP(world.REMOTE, "239.1.2.3", 64)))


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
    outbound("O6-host", "a1", "10.0.0.10", TCP, dst=world.HOST)
    outbound("O6-host-in-pool", "a1", "10.0.0.10", TCP, dst=world.HOST_IN_POOL)
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
    link_local()
    ports()
    spoofing()
    private_networking()
    gateways()
    hairpins()
    overlapping()
    martian_destinations()
