"""What a case is, and the ways that a packet can go.

A body is a function of (source, destination, TTL): built once with the addresses that are sent, once with those that have to
arrive. Cases hold IP packets only; Ethernet is the runner's.
"""

# The rows of the table that says who passes what.
OWNER = "whose it is"
PROTOCOLS = "protocols and checksums"
FRAGMENTS = "fragments"
ERRORS = "ICMP errors that pass"
ROUTER = "being a router"
EXPIRED = "own time exceeded"
TOO_BIG = "own too big, fragmenting"
CUT_THROUGH = "cut-through"
LINK = "ARP, ND, RA, DHCP, hostile"
TAGS = "priority tags"
BOGONS = "bogon sources"
SIZES = "a few bytes over"
OPTIONS = "address options"
HEADERS = "headers without end"
HOST = "the host and its networks"
OFFLOADS = "GSO, partial checksums"
ON_LINK = "a pool on the uplink's link"

# Fields of a gateway's own messages that the RFCs leave to it, by family. The quoted TTL: RFC 1812 4.3.2.3 lets a router
# quote a packet as it is once the TTL is less.
OPEN = {
    4: ["tos", "identification", "df", "ttl", "quoted_ttl"],
    6: ["traffic_class", "flow_label", "hop_limit", "quoted_ttl"],
}


# What the expectations about a row rest on where the chapter does not say it, for IPv4 and for
# IPv6; `None`: on nothing but our policy.
BASIS = {
    "O1": ("RFC 3022 2.1",) * 2,
    "O3": (None, None),
    "O8": ("RFC 1918 3", "RFC 4193 4.3"),
    "O9": ("RFC 2827 3",) * 2,
    "O10": (None, None),
    "O12": ("RFC 4787 6",) * 2,
    "O13": ("RFC 4787 6",) * 2,
    "O15": ("RFC 1812 5.3.7", "RFC 4291 2.5"),
    "O17": ("RFC 6890 2.2.2", "RFC 6890 2.2.3"),
    "T1": ("RFC 3022 4.1",) * 2,
    "T2": ("RFC 768", "RFC 6935 5"),
    "T3": ("RFC 5508 3",) * 2,
    "T4": ("RFC 3022 2.1",) * 2,
    "T5": ("RFC 1624 3",) * 2,
    "T6": ("RFC 1812 4.2.2.6", "RFC 8200 4"),
    "T7": ("RFC 791 3.2", "RFC 8200 4.5"),
    "T8": ("RFC 1858 3, RFC 3128", "RFC 7112 5"),
    "T9": ("RFC 3022 4.3",) * 2,
    "T11": ("RFC 3022 4.3",) * 2,
    "T12": ("RFC 5508 REQ-4",) * 2,
    "T12a": ("RFC 5508 REQ-5",) * 2,
    "T15": ("RFC 3022 4.1",) * 2,
    "R1": ("RFC 1812 5.3.1", "RFC 8200 3"),
    "R2": ("RFC 1812 5.3.1", "RFC 4443 3.3"),
    "R3": ("RFC 1191 4", "RFC 4443 3.2"),
    "R4": ("RFC 1812 5.2.6",) * 2,
    "R5": ("RFC 1812 5.2.2", "RFC 8200 3"),
    "R5a": ("RFC 7126 4.3, 4.4", "RFC 5095 3"),
    "R5b": ("RFC 1812 5.3.4", "RFC 1812 5.3.4"),
    "R6": ("RFC 894", "RFC 2464 4"),
}

# What large packets are filled with.
PATTERN = bytes(range(250)) * 40


def written(packet):
    """In hexadecimal, with `+N` for the first N bytes of the pattern at the end."""
    packet = bytes(packet)
    at = packet.find(PATTERN[:250])
    if at < 0 or packet[at:] != PATTERN[: len(packet) - at]:
        return packet.hex()
    return f"{packet[:at].hex()}+{len(packet) - at}"


def sent(side, packet, **more):
    """One packet that `side` sends."""
    return {"from": side, "packet": written(packet), **more}


def arrives(side, packet):
    """Exactly this packet comes out at `side`."""
    return {"at": side, "packet": written(packet)}


def in_pieces(side, packet, mtu):
    """This packet comes out in fragments no larger than `mtu`."""
    return {**arrives(side, packet), "mtu": mtu}


class Suite:
    """The cases of one family."""

    def __init__(self, bed, prelude):
        self.bed = bed
        self.cases = []
        self.group = None
        # What the expectations rest on: a clause, our own policy, and whether they are about
        # tenants.
        self.basis = {}
        # Whether cases in cut-through mode stay in the group.
        self.own_group = False
        self.names = set()
        # The packet that an error is about, out of the error.
        self.prelude = prelude

    def chapter(self, group, rfc=None, *, policy=False, tenants=False):
        """What the cases from here on are about, and what their expectations rest on. `policy`: no
        standard asks for it, it is our own choice; `rfc` then says what it is in the spirit of.
        `tenants`: only a gateway of tenants claims to do it, nor does another one have our
        policy."""
        self.group = group
        self.own_group = True
        claims = {"rfc": rfc, "policy": policy, "tenants": tenants or policy}
        self.basis = {key: value for key, value in claims.items() if value}

    def add(self, name, ids, send, expect, otherwise=None, *, before=(), answered=False, cut=False, host=0):
        """`before`: sent first and not judged. `otherwise`: another outcome that is as good.
        `host`: how many packets the gateway's own kernel may get to see."""
        assert name not in self.names, name
        self.names.add(name)
        outcomes = [expect] if otherwise is None else [expect, otherwise]
        sides = {step["from"] for step in send} | {step["at"] for outcome in outcomes for step in outcome}
        case = {"name": f"{name}-v{self.bed.family}", "ids": ids.split(), "group": self.group, **(self.basis or self.basis_of(name))}
        if cut or any(self.bed.guests[side].mode == "cut-through" for side in sides if side in self.bed.guests):
            case["cut_through"] = True
            if not self.own_group:
                case["group"] = CUT_THROUGH
        if host:
            case["host"] = host
        if before:
            case["before"] = list(before)
        case["send"] = list(send)
        case["expect"] = outcomes
        if answered:
            case["answered"] = True
        self.cases.append(case)

    def basis_of(self, name):
        """That of the row that the case is named after."""
        rfc = BASIS[name.split("-")[0]][self.bed.family == 6]
        return {"rfc": rfc} if rfc else {"policy": True}

    # Where packets go. Each gives (sender, addresses sent, receiver, addresses that arrive).

    def way_in(self, to="a", src=None):
        src = src or self.bed.remote
        return "internet", (src, self.bed.guests[to].public), to, (src, self.bed.inside(to))

    def way_out(self, of="a", dst=None):
        dst = dst or self.bed.remote
        return of, (self.bed.inside(of), dst), "internet", (self.bed.guests[of].public, dst)

    def way_across(self, of="a", to="b"):
        guests = self.bed.guests
        return of, (self.bed.inside(of), guests[to].public), to, (guests[of].public, self.bed.inside(to))

    def passes(self, name, ids, body, way, *, ttl=64, before=(), otherwise=None, **more):
        """`body` goes its way, translated, with one hop less; or arrives as `otherwise` makes it."""
        side, addresses, at, got = way
        outcomes = [[arrives(at, made(*got, ttl - 1))] for made in (body, otherwise) if made]
        self.add(name, ids, [sent(side, body(*addresses, ttl), **more)], *outcomes, before=before)

    def vanishes(self, name, ids, body, way, *, ttl=64, before=(), otherwise=None, cut=False, host=0, **more):
        """`body` comes out nowhere, and nothing else does. `cut`: it is about a guest in cut-through mode."""
        side, addresses = way[:2]
        send = [sent(side, body(*addresses, ttl), **more)]
        self.add(name, ids, send, [], otherwise, before=before, cut=cut or "c" in way, host=host)

    def way_private(self, of="a", to="b"):
        """Within the VPC: nothing is translated."""
        addresses = self.bed.guests[of].private, self.bed.guests[to].private
        return of, addresses, to, addresses

    def ways(self):
        """Name and way of each that is translated."""
        return (("in", self.way_in()), ("out", self.way_out()), ("hairpin", self.way_across()))

    def cut_through_ways(self):
        return (("cut-through-in", self.way_in("c")), ("cut-through-out", self.way_out("c")))

    def everywhere(self, name, ids, body, *, asked=None, cut=False, ttl=64):
        """In, out, between two EIPs; `asked`: the question that `body` answers, which goes the other way first (see `error`);
        `cut`: in and out in cut-through mode as well."""
        for direction, row, way in (("in", "O1", self.way_in()), ("out", "O6", self.way_out()), ("hairpin", "O12", self.way_across())):
            before = [self.back(asked, way)] if asked else []
            self.passes(f"{name}-{direction}", f"{row} {ids}", body, way, ttl=ttl, before=before)
        if cut:
            self.passes(f"{name}-cut-through-in", "O2 T14", body, self.way_in("c"), ttl=ttl)
            self.passes(f"{name}-cut-through-out", "O7 T14", body, self.way_out("c"), ttl=ttl)

    def nowhere(self, name, ids, body):
        """Dropped in both directions."""
        self.vanishes(f"{name}-in", f"O1 {ids}", body, self.way_in())
        self.vanishes(f"{name}-out", f"O6 {ids}", body, self.way_out())

    def error(self, name, ids, body, way, *, about=None):
        """An ICMP error on its way. The packet that it is about (to `about`, or to whom the error comes from) goes the other
        way first: a gateway that knows connections has to have seen it."""
        flow = self.prelude(body(*way[1], 64))
        before = [self.back(flow, way, about)] if flow else []
        self.passes(name, ids, body, way, before=before)

    def back(self, body, way, target=None):
        """`body` on the other way round, to whom the way comes from or to `target`."""
        side, addresses, at, _ = way
        source = addresses[1] if at == "internet" else self.bed.inside(at)
        sender = addresses[0] if side == "internet" else self.bed.guests[side].public
        return sent(at, body(source, target or sender, 64))

    def errors(self, name, ids, body, *, cut=False):
        """An ICMP error everywhere."""
        self.error(f"{name}-in", f"T9 {ids}", body, self.way_in())
        self.error(f"{name}-out", f"T10 {ids}", body, self.way_out())
        self.error(f"{name}-hairpin", f"T13 {ids}", body, self.way_across())
        if cut:
            self.error(f"{name}-cut-through-in", "T14", body, self.way_in("c"))
            self.error(f"{name}-cut-through-out", "T14", body, self.way_out("c"))
            self.error(f"{name}-nat-to-cut-through", "T13", body, self.way_across("a", "c"))
            self.error(f"{name}-cut-through-to-nat", "T13", body, self.way_across("c", "a"))

    def answer(self, name, ids, body, way, message, *, ttl=64, otherwise=None, **more):
        """`body` does not go on: its sender gets the gateway's own `message(source, destination, sent packet)`."""
        side, addresses = way[:2]
        packet = body(*addresses, ttl)
        source = self.bed.gateway_of(side) if side in self.bed.guests else self.bed.uplink
        back = {**arrives(side, message(source, addresses[0], packet)), "open": OPEN[self.bed.family]}
        self.add(name, ids, [sent(side, packet, **more)], [back], otherwise, answered=True, cut="c" in way)

    def fragmented(self, name, ids, body, way, mtu, *, otherwise=None):
        """`body` is larger than the way out, and arrives in fragments."""
        side, addresses, at, got = way
        self.add(name, ids, [sent(side, body(*addresses, 64))], [in_pieces(at, body(*got, 63), mtu)], otherwise)

    def sequence(self, name, ids, bodies, way):
        """Several packets, all of which arrive."""
        side, addresses, at, got = way
        self.add(name, ids, [sent(side, body(*addresses, 64)) for body in bodies], [arrives(at, body(*got, 63)) for body in bodies])
