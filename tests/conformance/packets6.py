"""IPv6 packets as functions of (source, destination, hop limit), as `packets.py` has those of IPv4."""

import itertools
import struct

from packets import PAYLOAD, checksum
from scapy.all import GRE, IP, SCTP, TCP, UDP, IPv6, Raw, SCTPChunkData, in6_chksum
from scapy.layers.inet6 import (
    HBHOptUnknown,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    RouterAlert,
)

HEADER = 40
FIELDS = {"tc": 0, "fl": 0x1D2C3}
SOMEBODY = ("2001:db8:1::1", "2001:db8:1::2", 64)


def ip(src, dst, hops, **fields):
    return IPv6(src=src, dst=dst, hlim=hops, **{**FIELDS, **fields})


def of(*layers, **fields):
    """A body out of scapy's layers, extension headers among them."""

    def body(src, dst, hops):
        packet = ip(src, dst, hops, **fields)
        for layer in layers:
            packet = packet / layer.copy()
        return bytes(packet)

    return body


def tcp(payload=PAYLOAD, *, options=(), flags="PA", before=(), **fields):
    return of(*before, TCP(sport=40001, dport=443, seq=7, ack=9, flags=flags, options=list(options)), Raw(payload), **fields)


def udp(payload=PAYLOAD, *, before=(), **fields):
    return of(*before, UDP(sport=40002, dport=4500), Raw(payload), **fields)


def udp_without_checksum(payload=PAYLOAD):
    """RFC 6935: allowed for tunnels, as in IPv4."""
    return edited(udp(payload), HEADER + 6, b"\0\0")


def total(src, dst, protocol, data):
    """The checksum over pseudo-header and data."""
    return in6_chksum(protocol, IPv6(src=src, dst=dst, nh=protocol), data)


def summed(protocol, data, place, *, zero=0, **fields):
    """A transport packet with its checksum at `place`; `zero`: what stands for a checksum of 0."""

    def body(src, dst, hops):
        value = struct.pack("!H", total(src, dst, protocol, data) or zero)
        return bytes(ip(src, dst, hops, nh=protocol, **fields) / Raw(data[:place] + value + data[place + 2 :]))

    return body


def udplite(payload=PAYLOAD):
    return summed(136, struct.pack("!HHHH", 40003, 5004, 0, 0) + payload, 6, zero=0xFFFF)


def dccp(payload=PAYLOAD):
    head = struct.pack("!HHBBHB", 40004, 5005, 6, 0, 0, (4 << 1) | 1) + b"\0" + bytes.fromhex("000000000123")
    return summed(33, head + bytes.fromhex("0000000000000456") + payload, 6)


def icmp(kind, code=0, payload=PAYLOAD, *, rest=b"\xbe\xef\0\x03", before=(), **fields):
    """An ICMPv6 message: type, code, checksum, four bytes, payload."""

    def body(src, dst, hops):
        message = struct.pack("!BBH", kind, code, 0) + rest + payload
        message = message[:2] + struct.pack("!H", total(src, dst, 58, message)) + message[4:]
        if not before:
            return bytes(ip(src, dst, hops, nh=58, **fields) / Raw(message))
        packet = ip(src, dst, hops, **fields)
        for layer in before[:-1]:
            packet = packet / layer.copy()
        last = before[-1].copy()
        last.nh = 58
        return bytes(packet / last / Raw(message))

    return body


def ping(payload=PAYLOAD, **more):
    return icmp(128, payload=payload, rest=b"\0\x77\0\x01", **more)


def icmp_error(kind, quoted, *, size=None, code=0, rest=b"\0\0\x05\0", tail=b"", **more):
    """An ICMPv6 error about `quoted`, built with the addresses that it has for whom the error goes to."""
    return lambda src, dst, hops: icmp(kind, code, quoted(dst, src, 3)[:size] + tail, rest=rest, **more)(src, dst, hops)


def rfc4884(quoted, kind=3):
    """A quote padded to 128 bytes with an MPLS label stack object behind it; the length is in units of 8 bytes."""
    def body(src, dst, hops):
        extension = bytes.fromhex("20000000" "00080101" "00015101")
        extension = extension[:2] + struct.pack("!H", checksum(extension)) + extension[4:]
        data = quoted(dst, src, 3)[:128].ljust(128, b"\0") + extension
        return icmp(kind, payload=data, rest=bytes([128 // 8, 0, 0, 0]))(src, dst, hops)

    return body


def other(protocol, payload=PAYLOAD, **fields):
    """Any protocol whose checksum does not cover the addresses."""
    return lambda src, dst, hops: bytes(ip(src, dst, hops, nh=protocol, **fields) / Raw(payload))


def sctp():
    return of(SCTP(sport=2905, dport=2905, tag=77) / SCTPChunkData(data=b"m3ua"))


def gre():
    return of(GRE(chksum_present=1, key_present=1, key=7) / IP(src="10.9.9.1", dst="10.9.9.2", id=5) / UDP(sport=1, dport=2) / Raw(b"inner"))


def four_in_six():
    return of(IP(src="10.9.9.1", dst="10.9.9.2", id=5) / UDP(sport=1, dport=2) / Raw(b"inner"))


def six_in_six():
    return of(IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=1, dport=2) / Raw(b"inner"))


ESP = other(50, bytes.fromhex("000010010000000a") + PAYLOAD)

# Extension headers.
PADDING = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)])
ALERT = IPv6ExtHdrHopByHop(options=[RouterAlert()])
DESTINATION = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
# An option that whoever does not know it skips (RFC 8200 4.2), in a header of 64 bytes.
LONG = IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1E, optlen=60, optdata=bytes(60))])
# Arrived where it leads to: no segment is left.
ROUTED = IPv6ExtHdrRouting(type=2, segleft=0, addresses=["2001:db8::9"])


# Nobody shall take a fragment of one case for one of another's.
IDENTIFICATIONS = itertools.count(0x5EED)


def fragment(body, offset, size, *, more, identification=None, chain=0):
    """Bytes `offset` to `offset + size` of what follows the header and `chain` bytes of extension headers, as a fragment.

    The first fragment's checksum is the whole packet's. In a later one the same place holds data.
    """

    number = identification or next(IDENTIFICATIONS)

    def piece(src, dst, hops):
        whole = body(src, dst, hops)
        start = HEADER + chain
        # The next-header field that leads to the fragmentable part.
        link = 6 if chain == 0 else HEADER
        source = whole if offset == 0 else body(*SOMEBODY)
        data = source[start + offset : start + offset + size]
        assert offset % 8 == 0 and data
        protocol = whole[link]
        header = bytes(IPv6ExtHdrFragment(nh=protocol, offset=offset // 8, m=int(more), id=number))
        head = bytearray(whole[:start])
        head[link] = 44
        head[4:6] = struct.pack("!H", chain + len(header) + len(data))
        return bytes(head) + header + data

    return piece


def edited(body, place, value):
    """The packet with some bytes replaced."""

    def change(*addresses):
        packet = bytearray(body(*addresses))
        packet[place : place + len(value)] = value
        return bytes(packet)

    return change


def wrong(body, place, error):
    """The same packet with a checksum that is off by `error` (ones' complement) at byte `place`."""

    def spoilt(*addresses):
        packet = bytearray(body(*addresses))
        value = int.from_bytes(packet[place : place + 2], "big") + error
        packet[place : place + 2] = ((value & 0xFFFF) + (value >> 16)).to_bytes(2, "big")
        return bytes(packet)

    return spoilt


def cut(body, size):
    """A whole packet of `size` payload bytes whose transport header ends before or inside the checksum."""

    def short(src, dst, hops):
        head = bytearray(body(src, dst, hops)[:HEADER])
        head[4:6] = struct.pack("!H", size)
        return bytes(head) + body(*SOMEBODY)[HEADER : HEADER + size]

    return short


def with_somebodys_payload(body):
    """The packet's own header, and a transport header whose checksum no translation may touch."""
    return lambda *addresses: body(*addresses)[:HEADER] + body(*SOMEBODY)[HEADER:]


def quoted_protocol(error):
    """What an ICMPv6 error without extension headers is about."""
    if len(error) < HEADER + 8 + HEADER or error[6] != 58 or error[HEADER] >= 128:
        return None
    return error[HEADER + 8 + 6]
