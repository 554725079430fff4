"""The tcpdump expression that shows the foreign unicast of a report, for the sceptic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from analyzer.model.addresses import format_mac
from analyzer.model.classes import DirectionSource

if TYPE_CHECKING:
    from analyzer.report.report import Report


def tcpdump_expression(report: Report) -> str:
    """Give the expression; with ``tcpdump_direction`` it shows the foreign frames of the report and no others.

    A live tap tells the direction itself (tcpdump -Q out). tcpdump knows none in a file: there, what bears one of the
    guest's MACs as its source is left out.
    """
    macs = [format_mac(mac) for mac in report.identity.macs]
    terms = [f"not ether dst {mac}" for mac in macs]
    if tcpdump_direction(report) is None:
        terms += [f"not ether src {mac}" for mac in macs]
    return " and ".join(["not ether multicast", *terms])


def tcpdump_direction(report: Report) -> Literal["out"] | None:
    """Give what the expression needs for -Q: ``out`` on a tap is what goes to the guest; None for files."""
    return "out" if report.direction_source is DirectionSource.PACKET_TYPE else None
