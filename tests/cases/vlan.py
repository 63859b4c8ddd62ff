"""T16: frames with tags."""

import discovery
import family
import packets as p
import world
from case import PASS, add, arp, drop, frame, from_port, hairpin, inbound, outbound, port_drop, port_told, private, reply, stacked, tagged, uplink_pass, uplink_told
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
        to_eni = discovery.advertisement(gateway, "10.0.0.1", own, mac)
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
        to_eni = discovery.advertisement(gateway, "10.0.0.1", Q1[1], mac)
    else:
        of_eni = arp(1, mac, Q1[1], nobody, "10.0.0.1")
        to_eni = arp(2, gateway, "10.0.0.1", mac, Q1[1], dst=mac)
    add("T16-R9-stack-port", "pv20", tagged(of_eni, (10, 20)), reply(tagged(to_eni, (10, 20))), xdp="pass")
    add("T16-R9-other-outer-port", "pv20", tagged(of_eni, (12, 20)), PASS)
    # With the priorities that it came with.
    high = tuple(PRIORITY | vlan for vlan in (10, 20))
    add("T16-R9-stack-priorities", "pv20", tagged(of_eni, high), reply(tagged(to_eni, high)), xdp="pass")
    add("T16-R9-foreign-vlan-port", "pv20", tagged(of_eni, 40), PASS)


def left_alone():
    """To the kernel untouched, for it may have an interface for that VLAN."""
    to_eip = p.tcp()(REMOTE, EIP, 64)
    plain = frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, to_eip)
    mine = tagged(plain, world.UPLINK_VLAN)
    uplink_pass("T16-other-vlan-uplink", tagged(plain, 101))
    uplink_pass("T16-vlan-of-other-uplink", frame(world.UPLINK2_MAC, world.NEXT_HOP_MAC, to_eip, vlan=world.UPLINK_VLAN), interface=world.UPLINK2)
    uplink_pass("T16-priority-tag-uplink", tagged(plain, PRIORITY))
    # An outer VLAN that is nobody's, tags that are no pair, and a pair of the wrong kinds.
    uplink_pass("T16-other-outer-uplink", stacked(mine, 11))
    uplink_pass("T16-other-inner-uplink", tagged(plain, (10, 101)))
    uplink_pass("T16-outer-only-uplink", stacked(plain, 10))
    uplink_pass("T16-outer-priority-uplink", stacked(mine, PRIORITY))
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
    add("T16-other-vlan-out", "pv20", tagged(bare, 40), PASS)
    add("T16-other-outer-out", "pv20", stacked(out, 12), PASS)
    add("T16-other-inner-out", "pv20", tagged(bare, (10, 40)), PASS)
    add("T16-outer-only-out", "pv20", stacked(bare, 10), PASS)
    add("T16-two-customer-tags-out", "pv20", tagged(out, 10), PASS)
    add("T16-stack-not-our-mac-out", "pv20", from_port("q1", p.tcp()("10.0.3.10", REMOTE, 64), dst=world.FOREIGN_MAC), PASS)
    add("T16-not-our-mac-out", "pv20", from_port("v1", p.tcp()("10.0.2.10", REMOTE, 64), dst=world.FOREIGN_MAC), PASS)
    # None of a tenant's frames goes into the host's own routing.
    add("T16-untagged-out", "pv20", bare, drop("eni-detached"))
    add("T16-priority-tag-out", "pv20", tagged(bare, PRIORITY), drop("unsupported-ethertype"), xdp="pass")
    untagged = from_port("a1", p.tcp()("10.0.0.10", REMOTE, 64))
    add("T16-tag-on-untagged-port-out", "pa", tagged(untagged, 20), PASS)
    add("T16-priority-tag-on-untagged-port-out", "pa", tagged(untagged, PRIORITY), drop("unsupported-ethertype"), xdp="pass")


def generate():
    ours()
    stacks()
    neighbours()
    left_alone()
