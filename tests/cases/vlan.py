"""T16: frames with tags."""

import discovery
import family
import packets as p
import world
from case import (
    DAEMON,
    PASS,
    add,
    arp,
    deliver,
    drop,
    frame,
    from_port,
    hairpin,
    inbound,
    length,
    outbound,
    port_drop,
    port_told,
    private,
    reply,
    stacked,
    tagged,
    to_eni,
    uplink_pass,
    uplink_told,
)
from owner import pong

EIP, REMOTE = "203.0.113.10", world.REMOTE
# Priority 5, and not to be dropped first; the VLAN is in the lower twelve bits.
PRIORITY = 5 << 13
V1, V2 = ("v1", "10.0.2.10"), ("v2", "10.0.2.10")
Q1, Q2 = ("q1", "10.0.3.10"), ("q2", "203.0.113.93")


def bodies():
    yield "tcp", p.tcp()
    yield "ping", p.ping()
    yield "error", p.icmp_error(family.pick(3, 1), p.udp())
    yield "later-fragment", p.fragment(p.udp(bytes(64)), 8, 8, more=True)


def ours():
    """A VLAN of an uplink or a port: as without, and tagged again on the way out."""
    for name, body in bodies():
        inbound(f"T16-{name}-uplink-to-port", "203.0.113.90", body, vlan=world.UPLINK_VLAN)
        inbound(f"T16-{name}-uplink-to-untagged", EIP, body, vlan=world.UPLINK_VLAN)
        inbound(f"T16-{name}-untagged-to-port", "203.0.113.91", body)
        outbound(f"T16-{name}-out", *V1, body)
        outbound(f"T16-{name}-other-vlan-out", *V2, body)
        hairpin(f"T16-{name}-vlan-to-vlan", *V1, "203.0.113.91", body)
        hairpin(f"T16-{name}-vlan-to-itself", *V1, "203.0.113.90", body)
        hairpin(f"T16-{name}-untagged-to-vlan", "a1", "10.0.0.10", "203.0.113.90", body)
        hairpin(f"T16-{name}-vlan-to-untagged", *V2, EIP, body)
        private(f"T16-{name}-private-to-vlan", "a1", "10.0.0.10", "10.0.2.10", body)
        private(f"T16-{name}-private-from-vlan", *V1, "10.0.0.20", body)
    port_drop("T16-private-nobody", *V2, "10.0.0.99", p.tcp(), "no-such-eni", known=False)
    uplink_told("T16-ttl-1-uplink", EIP, p.udp(), "ttl-exceeded", ttl=1, vlan=world.UPLINK_VLAN)
    port_told("T16-ttl-1-out", *V1, REMOTE, p.udp(), "ttl-exceeded", ttl=1)
    port_told("T16-ttl-1-other-vlan-out", *V2, REMOTE, p.udp(), "ttl-exceeded", ttl=1)
    pong("T16-ping-gateway", *V1, "10.0.0.1", p.ping(), p.icmp_echo_reply())
    port_drop("T16-unknown-mac", *V1, REMOTE, p.tcp(), "spoofed-mac", known=False, mac="0a:00:00:00:02:99")
    port_drop("T16-spoofed-source", "v1", "10.0.0.10", REMOTE, p.tcp(), "spoofed-source", known=False)


def stacks():
    """A VLAN within another: as without, and both tags again on the way out."""
    vlans = world.UPLINK_VLANS
    for name, body in bodies():
        inbound(f"T16-{name}-uplink-to-stack", "203.0.113.92", body, vlan=vlans)
        inbound(f"T16-{name}-uplink-stack-to-untagged", EIP, body, vlan=vlans)
        inbound(f"T16-{name}-uplink-stack-to-vlan", "203.0.113.90", body, vlan=vlans)
        inbound(f"T16-{name}-vlan-to-stack", "203.0.113.92", body, vlan=world.UPLINK_VLAN)
        inbound(f"T16-{name}-untagged-to-stack", "203.0.113.92", body)
        inbound(f"T16-{name}-to-stack-cut-through", "203.0.113.93", body, vlan=vlans)
        outbound(f"T16-{name}-stack-out", *Q1, body)
        outbound(f"T16-{name}-stack-cut-through-out", *Q2, body)
        hairpin(f"T16-{name}-stack-to-stack", *Q1, "203.0.113.93", body)
        hairpin(f"T16-{name}-stack-to-itself", *Q1, "203.0.113.92", body)
        hairpin(f"T16-{name}-stack-to-vlan", *Q1, "203.0.113.90", body)
        hairpin(f"T16-{name}-vlan-to-stack-hairpin", *V1, "203.0.113.92", body)
        hairpin(f"T16-{name}-stack-to-untagged", *Q2, EIP, body)
        private(f"T16-{name}-private-stack-to-vlan", *Q1, "10.0.2.10", body)
        private(f"T16-{name}-private-vlan-to-stack", *V2, "10.0.3.10", body)
    port_drop("T16-stack-private-nobody", *Q1, "10.0.0.99", p.tcp(), "no-such-eni", known=False)
    uplink_told("T16-ttl-1-uplink-stack", EIP, p.udp(), "ttl-exceeded", ttl=1, vlan=vlans)
    port_told("T16-ttl-1-stack-out", *Q1, REMOTE, p.udp(), "ttl-exceeded", ttl=1)
    port_told("T16-ttl-1-stack-cut-through-out", *Q2, REMOTE, p.udp(), "ttl-exceeded", ttl=1)
    pong("T16-ping-gateway-stack", *Q1, "10.0.0.1", p.ping(), p.icmp_echo_reply())
    port_drop("T16-stack-unknown-mac", *Q1, REMOTE, p.tcp(), "spoofed-mac", known=False, mac="0a:00:00:00:02:99")
    port_drop("T16-stack-spoofed-source", "q1", "10.0.2.11", REMOTE, p.tcp(), "spoofed-source", known=False)
    # Whose MAC and VLAN are right but for the outer one.
    port_drop("T16-stack-of-other-outer", "q2", "10.0.2.10", REMOTE, p.tcp(), "spoofed-source", known=False)
    # Priorities are nobody's business.
    to_eip = tagged(frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, p.tcp()(REMOTE, "203.0.113.99", 64)), PRIORITY | vlans[1])
    add("T16-stack-priorities", world.UPLINK, stacked(to_eip, PRIORITY | vlans[0]), drop("no-association"))


def neighbours():
    """Who has an address, asked and answered in the VLAN."""
    asker, nobody = world.NEXT_HOP_MAC, "00:00:00:00:00:00"
    mac, gateway, (_, own) = world.eni_mac("v1"), world.port_mac("pv20"), V1
    if family.is6():
        asked = discovery.solicitation(asker, world.NEXT_HOP, EIP)
        answer = discovery.advertisement(world.UPLINK_MAC, EIP, world.NEXT_HOP, asker)
        of_eni = discovery.solicitation(mac, own, "10.0.0.1")
        to_eni = discovery.advertisement(gateway, "10.0.0.1", own, mac, router=1)
    else:
        asked = arp(1, asker, world.NEXT_HOP, nobody, EIP)
        answer = arp(2, world.UPLINK_MAC, EIP, asker, world.NEXT_HOP, dst=asker)
        of_eni = arp(1, mac, own, nobody, "10.0.0.1")
        to_eni = arp(2, gateway, "10.0.0.1", mac, own, dst=mac)
    vlan = world.UPLINK_VLAN
    add("T16-R8-uplink", world.UPLINK, tagged(asked, vlan), reply(tagged(answer, vlan)), xdp="pass")
    add("T16-R8-other-vlan-uplink", world.UPLINK, tagged(asked, 101), PASS)
    add("T16-R9-port", "pv20", tagged(of_eni, 20), reply(tagged(to_eni, 20)), xdp="pass")
    # The same MAC and address in the other VLAN are another ENI's, of another VPC.
    add("T16-R9-other-vlan-port", "pv30", tagged(of_eni, 30), reply(tagged(to_eni, 30)), xdp="pass")
    stack = world.UPLINK_VLANS
    add("T16-R8-uplink-stack", world.UPLINK, tagged(asked, stack), reply(tagged(answer, stack)), xdp="pass")
    add("T16-R8-other-outer-uplink", world.UPLINK, tagged(asked, (11, 100)), PASS)
    if family.is6():
        of_eni = discovery.solicitation(mac, Q1[1], "10.0.0.1")
        to_eni = discovery.advertisement(gateway, "10.0.0.1", Q1[1], mac, router=1)
    else:
        of_eni = arp(1, mac, Q1[1], nobody, "10.0.0.1")
        to_eni = arp(2, gateway, "10.0.0.1", mac, Q1[1], dst=mac)
    add("T16-R9-stack-port", "pv20", tagged(of_eni, (10, 20)), reply(tagged(to_eni, (10, 20))), xdp="pass")
    add("T16-R9-other-outer-port", "pv20", tagged(of_eni, (12, 20)), drop("no-port"), xdp="pass")
    # With the priorities that it came with.
    high = tuple(PRIORITY | vlan for vlan in (10, 20))
    add("T16-R9-stack-priorities", "pv20", tagged(of_eni, high), reply(tagged(to_eni, high)), xdp="pass")
    add("T16-R9-foreign-vlan-port", "pv20", tagged(of_eni, 40), drop("no-port"), xdp="pass")
    add("T16-O19-R9-host-vlan-port", "pv20", tagged(of_eni, 50), PASS)
    add("T16-O19-R9-host-untagged-port", "pv20", of_eni, PASS)
    add("T16-R9-priority-tag-on-untagged-port", "pa", tagged(asked_of_untagged(), PRIORITY), reply(told_to_untagged()), xdp="pass")
    add("T16-R8-priority-tag-uplink", world.UPLINK, tagged(asked, PRIORITY), reply(answer), xdp="pass")


def asked_of_untagged():
    if family.is6():
        return discovery.solicitation(world.eni_mac("a1"), "10.0.0.10", "10.0.0.1")
    return arp(1, world.eni_mac("a1"), "10.0.0.10", "00:00:00:00:00:00", "10.0.0.1")


def told_to_untagged():
    mac, port = world.eni_mac("a1"), world.port_mac("pa")
    if family.is6():
        return discovery.advertisement(port, "10.0.0.1", "10.0.0.10", mac, router=1)
    return arp(2, port, "10.0.0.1", mac, "10.0.0.10", dst=mac, src=port)


def left_alone():
    """To the kernel untouched, for it may have an interface for that VLAN."""
    to_eip = p.tcp()(REMOTE, EIP, 64)
    plain = frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, to_eip)
    mine = tagged(plain, world.UPLINK_VLAN)
    uplink_pass("T16-other-vlan-uplink", tagged(plain, 101))
    uplink_pass("T16-vlan-of-other-uplink", frame(world.UPLINK2_MAC, world.NEXT_HOP_MAC, to_eip, vlan=world.UPLINK_VLAN), interface=world.UPLINK2)
    # An outer VLAN that is nobody's, tags that are no pair, and a pair of the wrong kinds.
    uplink_pass("T16-other-outer-uplink", stacked(mine, 11))
    uplink_pass("T16-other-inner-uplink", tagged(plain, (10, 101)))
    uplink_pass("T16-outer-only-uplink", stacked(plain, 10))
    uplink_pass("T16-inner-priority-uplink", tagged(plain, (10, PRIORITY)))
    uplink_pass("T16-two-service-tags-uplink", stacked(stacked(plain, 100), 10))
    uplink_pass("T16-two-customer-tags-uplink", tagged(tagged(plain, 100), 10))
    uplink_pass("T16-three-tags-uplink", stacked(tagged(tagged(plain, 5), 100), 10))
    whole = stacked(mine, 10)
    uplink_pass("T16-to-host-uplink-stack", tagged(frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, p.tcp()(REMOTE, world.HOST, 64)), world.UPLINK_VLANS))
    uplink_pass("T16-to-host-uplink-stack-priorities", tagged(frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, p.tcp()(REMOTE, world.HOST, 64)), (PRIORITY | 10, PRIORITY | 100)))
    uplink_pass("T16-not-our-mac-uplink-stack", frame(world.FOREIGN_MAC, world.NEXT_HOP_MAC, to_eip, vlan=world.UPLINK_VLANS))
    for cut in (16, 18, 20):
        uplink_pass(f"T16-cut-in-stack-uplink-{cut}", whole[:cut])
    uplink_pass("T16-to-host-uplink", tagged(frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, p.tcp()(REMOTE, world.HOST, 64)), world.UPLINK_VLAN))
    uplink_pass("T16-not-our-mac-uplink", frame(world.FOREIGN_MAC, world.NEXT_HOP_MAC, to_eip, vlan=world.UPLINK_VLAN))
    uplink_pass("T16-cut-in-tag-uplink", mine[:16])
    out = from_port("v1", p.tcp()("10.0.2.10", REMOTE, 64))
    bare = out[:12] + out[16:]
    # None of a tenant's frames goes into the host's own routing: what is neither a port's nor the host's is nobody's.
    nobodys = {"expect": drop("no-port"), "xdp": "pass"}
    add("T16-O19-other-vlan-out", "pv20", tagged(bare, 40), **nobodys)
    add("T16-O19-other-outer-out", "pv20", stacked(out, 12), **nobodys)
    add("T16-O19-other-inner-out", "pv20", tagged(bare, (10, 40)), **nobodys)
    add("T16-O19-outer-only-out", "pv20", stacked(bare, 10), **nobodys)
    add("T16-O19-two-customer-tags-out", "pv20", tagged(out, 10), **nobodys)
    add("T16-O19-vlan-4094-out", "pv20", tagged(bare, 4094), **nobodys)
    add("T16-O19-vlan-4095-out", "pv20", tagged(bare, 4095), **nobodys)
    add("T16-O19-to-group-out", "pv20", tagged(b"\xff" * 6 + bare[6:], 40), **nobodys)
    add("T16-O19-tag-in-our-vlan-out", "pv20", tagged(tagged(bare, 5), 20), drop("unsupported-ethertype"))
    add("T16-O19-tag-in-our-stack-out", "pv20", tagged(tagged(bare, 5), (10, 20)), drop("unsupported-ethertype"))
    add("T16-O19-stack-not-our-mac-out", "pv20", from_port("q1", p.tcp()("10.0.3.10", REMOTE, 64), dst=world.FOREIGN_MAC), drop("other-mac"))
    add("T16-O19-not-our-mac-out", "pv20", from_port("v1", p.tcp()("10.0.2.10", REMOTE, 64), dst=world.FOREIGN_MAC), drop("other-mac"))
    untagged = from_port("a1", p.tcp()("10.0.0.10", REMOTE, 64))
    for name, tags in (("tag", 20), ("stack", (10, 20)), ("vlan-4095", 4095)):
        add(f"T16-O19-{name}-on-untagged-port-out", "pa", tagged(untagged, tags), **nobodys)
    add("T16-O19-service-tag-on-untagged-port-out", "pa", stacked(untagged, 20), **nobodys)
    # On the bridge's member, untagged frames are nobody's.
    add("T16-O19-untagged-on-bridged-trunk-out", "pw70", untagged, drop("eni-detached"))
    hosts(bare, untagged)
    priorities(plain, mine, untagged)


def hosts(bare, untagged):
    """O19: what the host itself uses on interfaces with ports, whoever it is from and for."""
    for name, data in (("", bare), ("-to-group", b"\xff" * 6 + bare[6:]), ("-other-mac", bytes(6) + bare[6:]), ("-to-eip", untagged)):
        add(f"T16-O19-host-untagged{name}", "pv20", data, PASS)
        add(f"T16-O19-host-vlan{name}", "pv20", tagged(data, 50), PASS)
        add(f"T16-O19-host-vlan-priorities{name}", "pv20", tagged(data, PRIORITY | 50), PASS)
        add(f"T16-O19-host-stack{name}", "pv20", tagged(data, (10, 50)), PASS)
        add(f"T16-O19-host-stack-priorities{name}", "pv20", tagged(data, (PRIORITY | 10, PRIORITY | 50)), PASS)
        add(f"T16-O19-host-service-vlan{name}", "pv20", stacked(data, 60), PASS)
        # Within a VLAN of the host's there may be any.
        add(f"T16-O19-host-within-service-vlan{name}", "pv20", tagged(data, (60, 7)), PASS)
        add(f"T16-O19-host-within-vlan{name}", "pv20", tagged(tagged(data, 7), 50), PASS)
        # A bridge's member: the other VLANs are the bridge's.
        add(f"T16-O19-bridged-vlan{name}", "pw70", tagged(data, 71), PASS)
        add(f"T16-O19-bridged-service-vlan{name}", "pw70", stacked(data, 70), PASS)
        add(f"T16-O19-bridged-stack{name}", "pw70", tagged(data, (9, 70)), PASS)
    # The ports' own VLANs stay theirs.
    port_drop("T16-O19-bridged-trunk-port", "w1", "10.0.0.62", REMOTE, p.tcp(), "no-eip")
    private("T16-O19-bridged-trunk-private", "w1", "10.0.0.62", "10.0.0.20", p.tcp())
    private("T16-O19-bridged-trunk-private-to", "b1", "10.0.0.20", "10.0.0.62", p.tcp())


def priorities(plain, mine, untagged):
    """A priority tag is no tag (IEEE 802.1Q 6.9.1)."""

    def behind(name, to, data, counted):
        for kind, control in (("", PRIORITY), ("-0", 0), ("-drop-eligible", 0x1000), ("-7", 7 << 13)):
            add(f"T16-priority-tag{kind}-{name}", to, tagged_with(data, control), counted[0], counters=counted[1])

    to_eip, out = p.tcp()(REMOTE, EIP, 64), p.tcp()("10.0.0.10", REMOTE, 64)
    inward = to_eni("a1", p.tcp()(REMOTE, "10.0.0.10", 63)), {EIP: {"in_packets": 1, "in_bytes": length(to_eip)}}
    outward = deliver(world.UPLINK, frame(world.NEXT_HOP_MAC, world.UPLINK_MAC, p.tcp()(EIP, REMOTE, 63))), {EIP: {"out_packets": 1, "out_bytes": length(out)}}
    behind("uplink", world.UPLINK, plain, inward)
    behind("port", "pa", untagged, outward)
    behind("bridged-trunk", "pw70", untagged, (drop("eni-detached"), None))
    behind("uplink-nobodys", world.UPLINK, frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, p.tcp()(REMOTE, "203.0.113.99", 64)), (drop("no-association"), None))
    behind("uplink-host", world.UPLINK, frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, p.tcp()(REMOTE, world.HOST, 64)), (PASS, None))
    behind("host-untagged", "pv20", untagged, (PASS, None))
    behind("port-spoofed", "pa", from_port("a1", p.tcp()("10.0.0.20", REMOTE, 64)), (drop("spoofed-source"), None))
    # In front of a tag of 802.1Q, one of 802.1ad is one, too.
    add("T16-priority-service-tag-uplink", world.UPLINK, stacked(mine, PRIORITY), inward[0], counters=inward[1], xdp="early")
    add("T16-priority-service-tag-alone-uplink", world.UPLINK, stacked(plain, PRIORITY), inward[0], counters=inward[1], xdp="early")
    add("T16-priority-service-tag-alone-port", "pa", stacked(untagged, PRIORITY), outward[0], counters=outward[1], xdp="early")
    # Of more than there is a reason for, what is left is not the host's either: the kernel would take them off, and route.
    for count in (3, 4):
        for name, data in (("uplink", plain), ("own-vlan-uplink", mine)):
            for _ in range(count):
                data = tagged_with(data, PRIORITY)
            if count == 4 or name == "uplink":
                add(f"T16-{count}-priority-tags-{name}", world.UPLINK, data, drop("malformed"), xdp="early")
    within = plain[:12] + b"\x81\0" + world.UPLINK_VLAN.to_bytes(2, "big") + tagged_with(plain, PRIORITY)[12:]
    add("T16-priority-tag-within-own-vlan", world.UPLINK, within, drop("malformed"), xdp="early")
    if family.is6():
        request = p.udp(sport=546, dport=547)(world.link_local(world.eni_mac("a1")), "ff02::1:2", 1)
        group = family.group_mac("ff02::1:2")
    else:
        request, group = p.udp(sport=68, dport=67)("0.0.0.0", "255.255.255.255", 64), "ff:ff:ff:ff:ff:ff"
    add("T16-priority-tag-request", "pa", tagged(from_port("a1", request, dst=group), PRIORITY), DAEMON, xdp="pass")


def tagged_with(data, control):
    """Also with a control information of 0."""
    return data[:12] + b"\x81\0" + control.to_bytes(2, "big") + data[12:]


def generate():
    ours()
    stacks()
    neighbours()
    left_alone()
