"""A pool on the uplink's link is a LAN like others: whoever has an address of its prefix is reached
there (RFC 1122 3.3.1.1, RFC 4861 5.2)."""

import edges4
import edges6
import packets as p4
import packets6 as p6
from chapters4 import expired as expired4
from chapters6 import expired as expired6
from suite import ON_LINK, arrives, sent


def asking4(bed, mac, source, target):
    """Who has `target`, what that is asked by, and the answer."""
    ask = sent("server", edges4.arp(1, mac, source, target), ethertype="arp", to_mac=edges4.BROADCAST)
    told = arrives("server", edges4.arp(2, bed.uplink_mac, target, source, known=mac))
    return ask, {**told, "ethertype": "arp"}


def asking6(bed, mac, source, target):
    group = edges6.solicited(target)
    ask = edges6.discovery(edges6.SOLICITATION, target, edges6.option(1, mac))(source, group, 255)
    told = edges6.discovery(edges6.ADVERTISEMENT, target, edges6.option(2, bed.uplink_mac), flags=0x60000000)
    return sent("server", ask, to_mac=edges6.multicast_mac(group)), arrives("server", told(target, source, 255))


def generate(suite):
    bed = suite.bed
    v4 = bed.family == 4
    p, asking, expired = (p4, asking4, expired4) if v4 else (p6, asking6, expired6)
    error = p.icmp_error(3, p.udp()) if v4 else p.icmp_error(1, p.udp(), rest=bytes(4))
    server = bed.neighbours["server"]
    guests = bed.guests
    rfc = "RFC 1122 3.3.1.1" if v4 else "RFC 4861 5.2"
    suite.chapter(ON_LINK, rfc, tenants=True)
    bodies = (("udp", p.udp()), ("tcp", p.tcp()), ("ping", p.ping()), ("esp", p.ESP), ("error", error))
    for who, side, address in (("server", "server", server.address), ("router", "internet", bed.next_hop), ("internet", "internet", bed.remote)):
        for guest in ("a", "c"):
            public, inside = guests[guest].public, bed.inside(guest)
            inward = side, (address, public), guest, (address, inside)
            outward = guest, (inside, address), side, (public, address)
            for name, body in bodies:
                suite.passes(f"O18-{name}-{who}-to-{guest}", "O18", body, inward)
                suite.passes(f"O18-{name}-{guest}-to-{who}", "O18", body, outward)
            suite.answer(f"O18-no-hops-left-{guest}-to-{who}", "O18 R2", p.udp(), outward, expired, ttl=1)
            if side == "internet":
                suite.answer(f"O18-no-hops-left-{who}-to-{guest}", "O18 R2", p.udp(), inward, expired, ttl=1)
    suite.passes("O18-hairpin", "O18 O12", p.udp(), suite.way_across())
    # What the table owns is nobody else's, and the gateway's own address is no source from outside.
    suite.chapter(ON_LINK, "RFC 2827 3", tenants=True)
    for name, source in (("an-eip", guests["b"].public), ("its-own-eip", guests["a"].public), ("the-gateway", bed.uplink)):
        suite.vanishes(f"O18-the-server-as-{name}", "O18 O15", p.udp(), ("server", (source, guests["a"].public)))
    suite.chapter(ON_LINK, policy=True, tenants=True)
    for guest in ("a", "c"):
        for name, body in (("udp", p.udp()), ("tcp", p.tcp(b"", flags="S")), ("ping", p.ping())):
            suite.vanishes(f"O18-{name}-{guest}-to-the-host", "O18 O19", body, (guest, (bed.inside(guest), bed.uplink)))
    for name, body in (("udp", p.udp()), ("ping", p.ping())):
        suite.vanishes(f"O18-{name}-to-nobodys", "O18 O3", body, ("server", (server.address, bed.unassociated)))
    suite.chapter(ON_LINK, "RFC 1027 2.1" if v4 else "RFC 4861 7.2.8", tenants=True)
    for name, target, is_ours in (
        ("nat", guests["a"].public, True),
        ("cut-through", guests["c"].public, True),
        ("nobodys", bed.unassociated, False),
        ("the-router", bed.next_hop, False),
        ("a-private", guests["a"].private, False),
    ):
        ask, told = asking(bed, server.mac, server.address, target)
        # A solicitation that is not for an EIP is the host's to look at.
        suite.add(f"O18-who-has-{name}", "O18 R8", [ask], [told] if is_ours else [], host=0 if v4 or is_ours else 1)
