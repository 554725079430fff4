"""A frame described in the words of scapy, without it, where that takes no more than the headers that most frames have.

ARP for IPv4; TCP and UDP over IPv4 and IPv6 without fragments, options of IP and extension headers; VLAN tags before
them. Of any other frame nothing is said here: description.py asks scapy. The tests hold that both say the same.
Why: importing scapy takes longer than measuring a million frames.
"""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from socket import AF_INET6, inet_ntop
from typing import Final

_SERVICES: Final = Path("/etc/services")
_TAG: Final = b"\x81\x00"
_ARP: Final = bytes.fromhex("0806 0001 0800 06 04 00")
_TCP, _UDP = 6, 17
_HEADER_OCTETS: Final = {_TCP: 20, _UDP: 8}
_FLAGS: Final = "FSRPAUEC"
_IN_UDP: Final = frozenset({67, 68, 4754})
"""Ports of what scapy reads on in UDP: DHCP, GRE."""


def describe_briefly(head: bytes) -> str | None:
    """Give what scapy says of a frame that begins with ``head``, None where it has to be asked."""
    at, begin = 12, "Ether / "
    while head[at : at + 2] == _TAG:
        at += 4
        begin += "Dot1Q / "
    kind = head[at : at + 2]
    if head[at : at + len(_ARP)] == _ARP:
        text = _arp(head[at + 2 :])
    elif kind == b"\x08\x00":
        text = _ipv4(head[at + 2 :])
    else:
        text = _ipv6(head[at + 2 :]) if kind == b"\x86\xdd" else None
    return None if text is None else begin + text


def _arp(octets: bytes) -> str | None:
    if len(octets) < 28 or octets[7] not in (1, 2):  # noqa: PLR2004 - RFC 826: request, reply
        return None
    told = IPv4Address(octets[14:18])
    asks = f"who has {IPv4Address(octets[24:28])}" if octets[7] == 1 else f"is at {octets[8:14].hex(':')}"
    return f"ARP {asks} says {told}" + (" / Padding" if octets[28:] else "")


def _ipv4(octets: bytes) -> str | None:
    if len(octets) < 20 or octets[0] != 0x45 or octets[6] & 0x3F or octets[7]:  # noqa: PLR2004 - RFC 791, 3.1
        return None
    length = octets[2] << 8 | octets[3]
    source, destination = IPv4Address(octets[12:16]), IPv4Address(octets[16:20])
    return None if length < 20 else _upper("IP", octets[9], str(source), str(destination), octets[20:], length - 20)  # noqa: PLR2004


def _ipv6(octets: bytes) -> str | None:
    if len(octets) < 40 or octets[0] >> 4 != 6:  # noqa: PLR2004 - RFC 8200, 3
        return None
    source, destination = inet_ntop(AF_INET6, octets[8:24]), inet_ntop(AF_INET6, octets[24:40])
    return _upper("IPv6", octets[6], source, destination, octets[40:], octets[4] << 8 | octets[5])


def _upper(over: str, protocol: int, source: str, destination: str, octets: bytes, length: int) -> str | None:
    """Describe what IP holds, ``length`` octets of ``octets``; scapy calls Padding what is behind them."""
    octets, padding = octets[:length], octets[length:]
    if protocol not in _HEADER_OCTETS or len(octets) < _HEADER_OCTETS[protocol]:
        return None
    ports = octets[0] << 8 | octets[1], octets[2] << 8 | octets[3]
    if protocol == _UDP:
        stated = octets[4] << 8 | octets[5]
        if not _HEADER_OCTETS[_UDP] <= stated <= length or (padding and stated < length) or _IN_UDP & {*ports}:
            return None
        header, flags = _HEADER_OCTETS[_UDP], ""
        octets, padding = octets[:stated], octets[stated:] or padding
    else:
        header = 4 * (octets[12] >> 4)
        if octets[12] & 1 or not _HEADER_OCTETS[_TCP] <= header <= len(octets):
            return None
        flags = " " + "".join(name for bit, name in enumerate(_FLAGS) if octets[13] >> bit & 1)
    names = _names("tcp" if protocol == _TCP else "udp")
    ends = (f"{host}:{names.get(port, port)}" for host, port in zip((source, destination), ports, strict=True))
    text = f"{over} / {'TCP' if protocol == _TCP else 'UDP'} {' > '.join(ends)}{flags.rstrip()}"
    return text + (" / Raw" if octets[header:] else "") + (" / Padding" if padding else "")


@cache
def _names(protocol: str) -> dict[int, str]:
    """Give the names of ports in services(5), the last one of a port; none where there is no such file."""
    try:
        lines = _SERVICES.read_bytes().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        words = line.partition(b"#")[0].split()
        if len(words) > 1 and words[1].endswith(b"/" + protocol.encode()):
            port = words[1].partition(b"/")[0]
            name = "".join(sign if sign.isalnum() and sign.isascii() else "_" for sign in words[0].decode("latin-1"))
            if port.isdigit():
                found[int(port)] = f"n_{name}" if name[0].isdigit() else name
    return found


def load_names() -> None:
    """Read the names of ports, for a process that will be able to open nothing."""
    for protocol in ("tcp", "udp"):
        _names(protocol)
