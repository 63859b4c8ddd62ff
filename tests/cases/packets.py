"""Packets as functions of (source, destination, TTL): built once with the addresses that come, once with those that go.

Whatever scapy has a layer for, scapy builds and sums; the few others are summed here over the whole packet.
"""

import ipaddress
import struct

from scapy.all import GRE, ICMP, IP, SCTP, TCP, UDP, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6PacketTooBig
from scapy.all import ICMPv6TimeExceeded, IPv6, Raw, SCTPChunkData
from scapy.layers.vrrp import VRRP
from scapy.utils import checksum

import family

# Nobody may change these: not the identification or the flow label, not the bits of the traffic class.
IP_FIELDS = {"id": 0x1D2C, "tos": 0}
IPV6_FIELDS = {"fl": 0x91D2C, "tc": 0}
# IPv6's extension headers: hop-by-hop options, routing, fragment, authentication, destination options.
EXTENSIONS = (0, 43, 44, 51, 60)
PAYLOAD = bytes(range(1, 42))  # an odd number of bytes


def ip(src, dst, ttl, **fields):
    """The header: `tos` and `proto` are the names for both families."""
    src, dst = family.address(src), family.address(dst)
    if family.is6():
        names = {"tos": "tc", "proto": "nh"}
        fields = {**IPV6_FIELDS, **{names.get(name, name): value for name, value in fields.items()}}
        return IPv6(src=src, dst=dst, hlim=ttl, **fields)
    fields = {**IP_FIELDS, **fields}
    if "ip_options" in fields:
        fields["options"] = [Raw(fields.pop("ip_options"))]
    return IP(src=src, dst=dst, ttl=ttl, **fields)


def of(layer, **fields):
    """A body out of scapy's layers."""
    return lambda src, dst, ttl: bytes(ip(src, dst, ttl, **fields) / layer)


def tcp(payload=PAYLOAD, *, options=(), flags="PA", **fields):
    return of(TCP(sport=40001, dport=443, seq=7, ack=9, flags=flags, options=list(options)) / Raw(payload), **fields)


def udp(payload=PAYLOAD, *, sport=40002, dport=4500, chksum=None, **fields):
    return of(UDP(sport=sport, dport=dport, chksum=chksum) / Raw(payload), **fields)


def icmp_message(src, dst, ttl, head, data, **fields):
    """An ICMP message of any kind: type and code, four bytes and data."""
    protocol = family.pick(1, 58)
    message = head[:2] + b"\0\0" + head[2:] + data
    total = pseudo(src, dst, protocol, message) if family.is6() else checksum(message)
    message = message[:2] + struct.pack("!H", total) + message[4:]
    return bytes(ip(src, dst, ttl, proto=protocol, **fields) / Raw(message))


def icmp(kind, code=0, payload=PAYLOAD, **fields):
    """An ICMP message: type, code, checksum, four bytes, payload."""
    head = struct.pack("!BBHH", kind, code, 0xBEEF, 3)
    return lambda src, dst, ttl: icmp_message(src, dst, ttl, head, payload, **fields)


def icmp_error(kind, quoted, *, size=None, code=1, rest=b"\0\0\x05\xd4", tail=b"", **fields):
    """An ICMP error about `quoted`, a packet that its receiver had sent: the first `size` bytes of it, then `tail`.

    The quoted packet is built with the addresses that it has for whom the error goes to.
    """

    def body(src, dst, ttl):
        return icmp_message(src, dst, ttl, bytes([kind, code]) + rest, quoted(dst, src, 3)[:size] + tail, **fields)

    return body


def rfc4884(quoted, kind):
    """An error whose quote is padded to 128 bytes and followed by an MPLS label stack object (RFC 4884, RFC 4950). How
    long the quote is stands in words of 32 bits for IPv4, of 64 for IPv6."""

    def body(src, dst, ttl):
        data = quoted(dst, src, 3)[:128].ljust(128, b"\0")
        extension = bytes.fromhex("20000000" "00080101" "00015101")
        extension = extension[:2] + struct.pack("!H", checksum(extension)) + extension[4:]
        rest = family.pick(bytes([0, 128 // 4, 0, 0]), bytes([128 // 8, 0, 0, 0]))
        return icmp_message(src, dst, ttl, bytes([kind, 0]) + rest, data + extension)

    return body


def error(reason, src, dst, packet, mtu):
    """The gateway's own ICMP error about a packet: 576 bytes at most (RFC 1812 4.3.2.3), for IPv6 1280 (RFC 4443 2.4)."""
    src, dst = family.address(src), family.address(dst)
    if family.is6():
        layer = ICMPv6TimeExceeded() if reason == "ttl-exceeded" else ICMPv6PacketTooBig(mtu=mtu)
        return bytes(IPv6(src=src, dst=dst, hlim=64) / layer / Raw(packet[: 1280 - 48]))
    layer = ICMP(type=11, code=0) if reason == "ttl-exceeded" else ICMP(type=3, code=4, nexthopmtu=mtu)
    return bytes(IP(src=src, dst=dst, tos=0xC0, id=0, flags="DF", ttl=64) / layer / Raw(packet[: 576 - 28]))


def echo(request, payload, **fields):
    """An echo request or its reply."""

    def body(src, dst, ttl):
        if family.is6():
            layer = (ICMPv6EchoRequest if request else ICMPv6EchoReply)(id=0x77, seq=1, data=payload)
            return bytes(ip(src, dst, ttl, **fields) / layer)
        return bytes(ip(src, dst, ttl, **fields) / ICMP(type=8 if request else 0, id=0x77, seq=1) / Raw(payload))

    return body


def ping(payload=PAYLOAD, **fields):
    return echo(True, payload, **fields)


def icmp_echo_reply(payload=PAYLOAD, **fields):
    return echo(False, payload, **fields)


def other(protocol, payload=PAYLOAD, **fields):
    """Any protocol whose checksum does not cover the addresses."""
    return lambda src, dst, ttl: bytes(ip(src, dst, ttl, proto=protocol, **fields) / Raw(payload))


def pseudo_header(src, dst, protocol, length):
    packed = b"".join(ipaddress.ip_address(family.address(one)).packed for one in (src, dst))
    return packed + (struct.pack("!IHBB", length, 0, 0, protocol) if family.is6() else struct.pack("!BBH", 0, protocol, length))


def pseudo(src, dst, protocol, data):
    """The checksum over pseudo-header and data."""
    return checksum(pseudo_header(src, dst, protocol, len(data)) + data)


def covered(src, dst, protocol, data, coverage):
    """As `pseudo`, over the first bytes only: the length in the pseudo-header is that of all."""
    return checksum(pseudo_header(src, dst, protocol, len(data)) + data[:coverage])


def udplite(payload=PAYLOAD, *, coverage=0, **fields):
    """RFC 3828. Coverage 0: everything."""

    def body(src, dst, ttl):
        data = struct.pack("!HHHH", 40003, 5004, coverage, 0) + payload
        total = covered(src, dst, 136, data, coverage or len(data))
        data = data[:6] + struct.pack("!H", total or 0xFFFF) + data[8:]
        return bytes(ip(src, dst, ttl, proto=136, **fields) / Raw(data))

    return body


def dccp(payload=PAYLOAD, *, coverage=0, **fields):
    """RFC 4340: a DataAck with 48-bit sequence numbers. Coverage 1: header only."""

    def body(src, dst, ttl):
        head = struct.pack("!HHBBHB", 40004, 5005, 6, coverage, 0, (4 << 1) | 1) + b"\0" + bytes.fromhex("000000000123")
        head += bytes.fromhex("0000000000000456")
        data = head + payload
        total = covered(src, dst, 33, data, len(data) if coverage == 0 else len(head) + 4 * (coverage - 1))
        data = data[:6] + struct.pack("!H", total) + data[8:]
        return bytes(ip(src, dst, ttl, proto=33, **fields) / Raw(data))

    return body


def sctp(**fields):
    return of(SCTP(sport=2905, dport=2905, tag=77) / SCTPChunkData(data=b"m3ua"), **fields)


def gre(**fields):
    inner = IP(src="10.9.9.1", dst="10.9.9.2", id=5) / UDP(sport=1, dport=2) / Raw(b"inner")
    return of(GRE(chksum_present=1, key_present=1, key=7) / inner, **fields)


def ipip(**fields):
    return of(IP(src="10.9.9.1", dst="10.9.9.2", id=5) / UDP(sport=1, dport=2) / Raw(b"inner"), **fields)


def sixinfour(**fields):
    return of(IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=1, dport=2) / Raw(b"inner"), **fields)


def vrrp(**fields):
    return of(VRRP(vrid=7, priority=100, addrlist=["10.0.0.1"]), proto=112, **fields)


ESP = other(50, bytes.fromhex("000010010000000a") + PAYLOAD)
AH = other(51, bytes.fromhex("0604000000001001000000070102030405060708090a0b0c") + PAYLOAD)


def ah():
    """IPv6 finds the transport header behind the authentication header."""
    return behind(tcp(), authentication()) if family.is6() else AH


OSPF = other(89, bytes.fromhex("020100300a000001000000008cd40000") + bytes(32))


# Between whom a payload is that no translation may touch.
SOMEBODY = ("192.0.2.1", "192.0.2.2", 64)


def fragment(body, offset, size, *, more, identification=0x5EED):
    """Bytes `offset` to `offset + size` of the whole packet's payload, as a fragment of it.

    The first fragment's checksum is the whole packet's. In a later one the same place holds data.
    """

    def piece(src, dst, ttl):
        whole = body(src, dst, ttl)
        end, place = cutting_point(whole)
        payload = (whole if offset == 0 else body(*SOMEBODY))[end + offset : end + offset + size]
        assert offset % 8 == 0 and payload
        if family.is6():
            words = struct.pack("!BBHI", whole[place], 0, offset | more, identification)
            head = whole[:place] + bytes([44]) + whole[place + 1 : end]
            return fixed_header(head + words + payload)
        words = struct.pack("!HHH", end + len(payload), identification, offset // 8 | (0x2000 if more else 0))
        return fixed_header(whole[:2] + words + whole[8:end] + payload)

    return piece


def cut_up(packet, mtu):
    """The IPv4 packet in fragments that fit (RFC 791 3.2): as large as they can be, but that the last one carries 8 bytes at least.
    Options that are not to be copied are in the first one only; in their places in the others nothing is done."""
    end = header_end(packet)
    payload, (before,) = packet[end:], struct.unpack("!H", packet[6:8])
    size = (mtu - end) & ~7
    if 0 < len(payload) % size < 8:
        size -= 8
    pieces = []
    for at in range(0, len(payload), size):
        part = payload[at : at + size]
        more = at + size < len(payload) or before & 0x2000
        field = before & 0xC000 | (0x2000 if more else 0) | (before & 0x1FFF) + at // 8
        head = packet[:2] + struct.pack("!H", end + len(part)) + packet[4:6] + struct.pack("!H", field) + packet[8:20]
        ip_options = packet[20:end] if at == 0 else copied_options(packet[20:end])
        pieces.append(fixed_header(head + ip_options + part))
    assert len(pieces) > 1
    return pieces


def copied_options(data):
    """Options as a later fragment has them (RFC 791 3.1: the copied flag)."""
    result, at = b"", 0
    while at < len(data) and data[at] != 0:
        size = 1 if data[at] == 1 else data[at + 1]
        result += data[at : at + size] if data[at] & 0x80 else b"\x01" * size
        at += size
    return result + data[at:]


def cutting_point(packet):
    """Where the part begins that is cut into fragments, and where the protocol number of what begins there is."""
    if not family.is6():
        return header_end(packet), 9
    end, place = 40, 6
    while packet[place] in (0, 43):
        place, end = end, end + (packet[end + 1] + 1) * 8
    return end, place


def with_somebodys_payload(body):
    """The packet's own header, and a transport header whose checksum no translation may touch."""

    def mixed(src, dst, ttl):
        whole = body(src, dst, ttl)
        end = header_end(whole)
        return whole[:end] + body(*SOMEBODY)[end:]

    return mixed


def options(data):
    """IP options as raw bytes; scapy pads them to whole words."""
    return {"ip_options": data}


def header_end(packet):
    """Where the transport header begins."""
    if not family.is6():
        return (packet[0] & 15) * 4
    end, following = 40, packet[6]
    while following in EXTENSIONS:
        size = {44: 8, 51: (packet[end + 1] + 2) * 4}.get(following, (packet[end + 1] + 1) * 8)
        following, end = packet[end], end + size
    return end


def is_authenticated(packet):
    """Whether an authentication header stands in front of what the packet carries."""
    if not family.is6():
        return packet[9] == 51
    end, following, found = 40, packet[6], False
    while following in EXTENSIONS and len(packet) >= end + 8:
        later = following == 44 and packet[end + 2 : end + 4] >= b"\0\x08"
        size = {44: 8, 51: (packet[end + 1] + 2) * 4}.get(following, (packet[end + 1] + 1) * 8)
        found |= following == 51
        following, end = packet[end], end + size
        if later:
            break
    return found


def field(body, addresses, offset, size=2):
    """Bytes of a packet's transport header."""
    packet = body(*addresses, 64)
    place = header_end(packet) + offset
    return packet[place : place + size]


def transport_edited(body, offset, value):
    """The packet with bytes of its transport header replaced."""

    def change(src, dst, ttl):
        packet = body(src, dst, ttl)
        place = header_end(packet) + offset
        return packet[:place] + value + packet[place + len(value) :]

    return change


def wrong(body, field, error):
    """The same packet with a transport checksum that is off by `error` (ones' complement) at byte `field`.

    The expectation is computed from the wrong one: what is right moves, the error stays.
    """

    def spoilt(src, dst, ttl):
        packet = bytearray(body(src, dst, ttl))
        place = header_end(packet) + field
        total = int.from_bytes(packet[place : place + 2], "big") + error
        total = (total & 0xFFFF) + (total >> 16)
        packet[place : place + 2] = total.to_bytes(2, "big")
        return bytes(packet)

    return spoilt


def fixed_header(packet):
    """The packet with a right header checksum, or payload length, whatever else was done to it."""
    if family.is6():
        return packet[:4] + struct.pack("!H", len(packet) - 40) + packet[6:]
    end = header_end(packet)
    packet = bytearray(packet)
    packet[10:12] = b"\0\0"
    packet[10:12] = checksum(bytes(packet[:end])).to_bytes(2, "big")
    return bytes(packet)


def edited(body, place, value, *, fix=True):
    """The packet with bytes of its header replaced."""

    def change(src, dst, ttl):
        packet = bytearray(body(src, dst, ttl))
        packet[place : place + len(value)] = value
        return fixed_header(packet) if fix else bytes(packet)

    return change


def cut(body, size):
    """A whole packet of `size` payload bytes whose transport header ends before or inside the checksum."""

    def short(src, dst, ttl):
        whole = body(src, dst, ttl)
        end = header_end(whole)
        payload = body(*SOMEBODY)[end : end + size]
        if family.is6():
            return fixed_header(whole[:end] + payload)
        return fixed_header(whole[:2] + struct.pack("!H", end + size) + whole[4:end] + payload)

    return short


def extension(number, data=b""):
    """An extension header of options or of routing, padded to whole units of 8 bytes."""
    size = max(8, (2 + len(data) + 7) // 8 * 8)
    return number, lambda following: bytes([following, size // 8 - 1]) + data.ljust(size - 2, b"\0")


def hop_by_hop(data=b"\x05\x02\0\0\x01\0"):
    """With a router alert (RFC 2711)."""
    return extension(0, data)


def destination_options(data=b"\x01\x04\0\0\0\0"):
    return extension(60, data)


def routing(kind=4, left=0, data=bytes(20)):
    return extension(43, bytes([kind, left]) + data)


def authentication(icv=b"\x5a" * 12):
    """RFC 4302: length in words less 2, SPI, sequence number, check value."""
    return 51, lambda following: bytes([following, (12 + len(icv)) // 4 - 2, 0, 0, 0, 0, 0x10, 1, 0, 0, 0, 7]) + icv


def fragment_header(offset=0, more=False):
    return 44, lambda following: struct.pack("!BBHI", following, 0, offset | more, 0x5EED)


def behind(body, *chain, size=None):
    """The packet with extension headers in front of its payload; cut off after `size` bytes of payload."""

    def extended(src, dst, ttl):
        whole = body(src, dst, ttl)
        following, headers = whole[6], b""
        for number, header in reversed(chain):
            headers = header(following) + headers
            following = number
        payload = (headers + whole[40:])[:size]
        return fixed_header(whole[:6] + bytes([following]) + whole[7:40] + payload)

    return extended
