"""Packets as a guest behind a tap hands them to the device: checksums left open, and many segments
in one."""

import struct

import packets as p
import packets6 as p6
from scapy.all import IP, TCP, UDP, IPv6, Raw
from scapy.utils import checksum

ETHERNET = 14
GSO = {("tcp", 4): 1, ("tcp", 6): 4, ("udp", 4): 5, ("udp", 6): 5}
SEQUENCE = 7000
IDENTIFICATION = 0x5100


def transport(kind, payload, at=0, last=True):
    """The header of the segment that begins `at` bytes behind the first, and its payload."""
    if kind == "udp":
        return UDP(sport=40002, dport=4500) / Raw(payload)
    return TCP(sport=40001, dport=443, seq=SEQUENCE + at, ack=9, flags="PA" if last else "A") / Raw(payload)


def pseudo(addresses, protocol, length):
    """The sum of the pseudo-header, not complemented: what stands in a checksum that is left
    open."""
    data = b"".join(p.ipaddress.ip_address(address).packed for address in addresses) + struct.pack("!IHBB", length, 0, 0, protocol)
    return 0xFFFF & ~checksum(data)


def super_packet(packet, head, kind, addresses, size):
    """The packet with its checksum left open, and the header in front of it."""
    offset, length = {"tcp": (16, 20), "udp": (6, 8)}[kind]
    packet = bytearray(packet)
    protocol = {"tcp": 6, "udp": 17}[kind]
    place = head + offset
    packet[place : place + 2] = struct.pack("!H", pseudo(addresses, protocol, len(packet) - head))
    fields = {"gso_type": GSO[kind, packet[0] >> 4], "header": ETHERNET + head + length, "gso_size": size}
    return bytes(packet), {**fields, "csum_start": ETHERNET + head, "csum_offset": offset}


def cuts(payload, size):
    for at in range(0, len(payload), size):
        yield at, payload[at : at + size], at + size >= len(payload)


def super_packet4(kind, addresses, payload, size):
    source, destination = addresses
    packet = bytes(IP(src=source, dst=destination, ttl=64, id=IDENTIFICATION) / transport(kind, payload))
    return super_packet(packet, 20, kind, addresses, size)


def segments4(kind, addresses, payload, size):
    """As they arrive: each with a number of its own (RFC 6864), the push flag on the last."""
    source, destination = addresses
    for number, (at, data, last) in enumerate(cuts(payload, size)):
        yield bytes(IP(src=source, dst=destination, ttl=63, id=IDENTIFICATION + number) / transport(kind, data, at, last))


def super_packet6(kind, addresses, payload, size):
    source, destination = addresses
    packet = bytes(IPv6(src=source, dst=destination, hlim=64, fl=0x1D2C3) / transport(kind, payload))
    return super_packet(packet, p6.HEADER, kind, addresses, size)


def segments6(kind, addresses, payload, size):
    source, destination = addresses
    for at, data, last in cuts(payload, size):
        yield bytes(IPv6(src=source, dst=destination, hlim=63, fl=0x1D2C3) / transport(kind, data, at, last))
