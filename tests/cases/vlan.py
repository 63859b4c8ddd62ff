"""T16: frames with a tag."""

import discovery
import family
import packets as p
import world
from case import PASS, add, arp, drop, frame, from_port, hairpin, inbound, outbound, port_drop, port_told, private, reply, tagged, uplink_pass, uplink_told
from owner import pong

EIP, REMOTE = "203.0.113.10", world.REMOTE
# Priority 5, and not to be dropped first; the VLAN is in the lower twelve bits.
PRIORITY = 5 << 13
V1, V2 = ("v1", "10.0.2.10"), ("v2", "10.0.2.10")


def qinq(data, outer=10):
    return data[:12] + b"\x88\xa8" + outer.to_bytes(2, "big") + data[12:]


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
    add("T16-R9-foreign-vlan-port", "pv20", tagged(of_eni, 40), PASS)


def left_alone():
    """To the kernel untouched, for it may have an interface for that VLAN."""
    to_eip = p.tcp()(REMOTE, EIP, 64)
    plain = frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, to_eip)
    mine = tagged(plain, world.UPLINK_VLAN)
    uplink_pass("T16-other-vlan-uplink", tagged(plain, 101))
    uplink_pass("T16-vlan-of-other-uplink", frame(world.UPLINK2_MAC, world.NEXT_HOP_MAC, to_eip, vlan=world.UPLINK_VLAN), interface=world.UPLINK2)
    uplink_pass("T16-priority-tag-uplink", tagged(plain, PRIORITY))
    uplink_pass("T16-qinq-uplink", qinq(mine))
    uplink_pass("T16-to-host-uplink", tagged(frame(world.UPLINK_MAC, world.NEXT_HOP_MAC, p.tcp()(REMOTE, world.HOST, 64)), world.UPLINK_VLAN))
    uplink_pass("T16-not-our-mac-uplink", frame(world.FOREIGN_MAC, world.NEXT_HOP_MAC, to_eip, vlan=world.UPLINK_VLAN))
    uplink_pass("T16-cut-in-tag-uplink", mine[:16])
    out = from_port("v1", p.tcp()("10.0.2.10", REMOTE, 64))
    bare = out[:12] + out[16:]
    add("T16-other-vlan-out", "pv20", tagged(bare, 40), PASS)
    add("T16-qinq-out", "pv20", qinq(out), PASS)
    add("T16-not-our-mac-out", "pv20", from_port("v1", p.tcp()("10.0.2.10", REMOTE, 64), dst=world.FOREIGN_MAC), PASS)
    # None of a tenant's frames goes into the host's own routing.
    add("T16-untagged-out", "pv20", bare, drop("eni-detached"))
    add("T16-priority-tag-out", "pv20", tagged(bare, PRIORITY), drop("unsupported-ethertype"), xdp="pass")
    untagged = from_port("a1", p.tcp()("10.0.0.10", REMOTE, 64))
    add("T16-tag-on-untagged-port-out", "pa", tagged(untagged, 20), PASS)
    add("T16-priority-tag-on-untagged-port-out", "pa", tagged(untagged, PRIORITY), drop("unsupported-ethertype"), xdp="pass")


def generate():
    ours()
    neighbours()
    left_alone()
