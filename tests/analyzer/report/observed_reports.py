"""Reports of frames that tell something of the guest."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from msgspec.structs import replace
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import (
    DHCP6OptIAAddress,
)
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (
    IPv6,
)
from scapy.layers.l2 import Ether

from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.model.addresses import parse_mac
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import Address, GuestIdentity, Provenance
from analyzer.report.builder import ReportBuilder
from analyzer.report.split import split_subclasses
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scapy.packet import Packet

    from analyzer.report.report import Report

GUEST = "52:54:00:00:00:01"
OTHER = "02:aa:00:00:00:0a"
ALL = "ff:ff:ff:ff:ff:ff"
NOBODY = "0.0.0.0"  # noqa: S104 - the source of an ARP probe
IPV4 = Address("192.0.2.101", Provenance.LEASE, trusted=True)
IPV6 = Address("2001:db8::101", Provenance.COMMAND_LINE, trusted=True)


def report_of(
    frames: Sequence[Packet | bytes], *addresses: Address, cuts: Sequence[int] = (), start: int = 0
) -> Report:
    """Give the report of frames, in batches that end at ``cuts``; what bears the guest's MAC is from it."""
    identity = GuestIdentity((parse_mac(GUEST),), Provenance.LIBVIRT_XML, addresses=addresses)
    builder = ReportBuilder(identity, DirectionSource.SOURCE_MAC)
    classifier = Classifier(identity, DirectionSource.SOURCE_MAC)
    edges = [0, *cuts, len(frames)]
    for begin, end in itertools.pairwise(edges):
        raw = raw_frames([bytes(frame) for frame in frames[begin:end]])
        batch = decode(replace(raw, ts_ns=raw.ts_ns + start + begin))
        builder.add(batch, classifier.classify(batch))
    return builder.finish(())


def split(report: Report, kind: FrameClass) -> dict[str, int]:
    return {one.name: one.frames for one in split_subclasses(report) if one.kind is kind}


def dhcp(kind: str | None, *, to: str = ALL, chaddr: str = GUEST, op: int = 2, **fields: str) -> Packet:
    """Give a DHCP message between a server and the client that has ``chaddr``; a plain BOOTP one without a kind."""
    src, dst = (OTHER, to) if op == 2 else (GUEST, ALL)
    ports = (67, 68) if op == 2 else (68, 67)
    bootp = BOOTP(op=op, chaddr=bytes.fromhex(chaddr.replace(":", "")), **fields)
    options = [("router", "192.0.2.1"), *([("message-type", kind)] if kind else []), "end"]
    return (
        Ether(src=src, dst=dst)
        / IP(dst="192.0.2.1")
        / UDP(sport=ports[0], dport=ports[1])
        / bootp
        / DHCP(options=options)
    )


def dhcpv6(message: Packet, *, src: str = OTHER, to: str = GUEST) -> Packet:
    return Ether(src=src, dst=to) / IPv6(src="fe80::a", dst="fe80::1") / UDP(sport=547, dport=546) / message


IA_ADDRESS = DHCP6OptIAAddress(addr="2001:db8::150", preflft=60, validlft=120)
