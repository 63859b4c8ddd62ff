"""Packets as functions of (source, destination, TTL): built once with the addresses that come, once with those that go.

Whatever scapy has a layer for, scapy builds and sums; the few others are summed here over the whole packet.
"""

import struct

from scapy.all import GRE, ICMP, IP, SCTP, TCP, UDP, IPv6, Raw, SCTPChunkData, inet_aton
from scapy.layers.vrrp import VRRP
from scapy.utils import checksum

# Nobody may change these: not the identification, not the bits of the traffic class.
IP_FIELDS = {"id": 0x1D2C, "tos": 0}
PAYLOAD = bytes(range(1, 42))  # an odd number of bytes


def ip(src, dst, ttl, **fields):
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


def icmp(kind, code=0, payload=PAYLOAD, **fields):
    """An ICMP message: type, code, checksum, four bytes, payload."""

    def body(src, dst, ttl):
        message = struct.pack("!BBHHH", kind, code, 0, 0xBEEF, 3) + payload
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        return bytes(ip(src, dst, ttl, proto=1, **fields) / Raw(message))

    return body


def icmp_error(kind, quoted, *, size=None, code=1, rest=b"\0\0\x05\xd4", tail=b"", **fields):
    """An ICMP error about `quoted`, a packet that its receiver had sent: the first `size` bytes of it, then `tail`.

    The quoted packet is built with the addresses that it has for whom the error goes to.
    """

    def body(src, dst, ttl):
        message = struct.pack("!BBH", kind, code, 0) + rest + quoted(dst, src, 3)[:size] + tail
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        return bytes(ip(src, dst, ttl, proto=1, **fields) / Raw(message))

    return body


def rfc4884(quoted, kind=11):
    """An error whose quote is padded to 128 bytes and followed by an MPLS label stack object (RFC 4884, RFC 4950)."""

    def body(src, dst, ttl):
        data = quoted(dst, src, 3)[:128].ljust(128, b"\0")
        extension = bytes.fromhex("20000000" "00080101" "00015101")
        extension = extension[:2] + struct.pack("!H", checksum(extension)) + extension[4:]
        message = struct.pack("!BBHBBH", kind, 0, 0, 0, 128 // 4, 0) + data + extension
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        return bytes(ip(src, dst, ttl, proto=1) / Raw(message))

    return body


def ping(payload=PAYLOAD, **fields):
    return of(ICMP(type=8, id=0x77, seq=1) / Raw(payload), **fields)


def icmp_echo_reply(payload=PAYLOAD, **fields):
    return of(ICMP(type=0, id=0x77, seq=1) / Raw(payload), **fields)


def other(protocol, payload=PAYLOAD, **fields):
    """Any protocol whose checksum does not cover the addresses."""
    return lambda src, dst, ttl: bytes(ip(src, dst, ttl, proto=protocol, **fields) / Raw(payload))


def pseudo(src, dst, protocol, data):
    """The checksum over pseudo-header and data."""
    header = inet_aton(src) + inet_aton(dst) + struct.pack("!BBH", 0, protocol, len(data))
    return checksum(header + data)


def covered(src, dst, protocol, data, coverage):
    """As `pseudo`, over the first bytes only: the length in the pseudo-header is that of all."""
    header = inet_aton(src) + inet_aton(dst) + struct.pack("!BBH", 0, protocol, len(data))
    return checksum(header + data[:coverage])


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
OSPF = other(89, bytes.fromhex("020100300a000001000000008cd40000") + bytes(32))


# Between whom a payload is that no translation may touch.
SOMEBODY = ("192.0.2.1", "192.0.2.2", 64)


def fragment(body, offset, size, *, more, identification=0x5EED):
    """Bytes `offset` to `offset + size` of the whole packet's payload, as a fragment of it.

    The first fragment's checksum is the whole packet's. In a later one the same place holds data.
    """

    def piece(src, dst, ttl):
        whole = body(src, dst, ttl)
        end = header_end(whole)
        payload = (whole if offset == 0 else body(*SOMEBODY))[end + offset : end + offset + size]
        assert offset % 8 == 0 and payload
        words = struct.pack("!HHH", end + len(payload), identification, offset // 8 | (0x2000 if more else 0))
        return fixed_header(whole[:2] + words + whole[8:end] + payload)

    return piece


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
    return (packet[0] & 15) * 4


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
    """The packet with a right header checksum, whatever else was done to it."""
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
        return fixed_header(whole[:2] + struct.pack("!H", end + size) + whole[4:end] + payload)

    return short
