"""What traffic tells of the guest's VLANs and addresses, DHCP and DHCPv6 among it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.dhcp6 import (
    DHCP6_Advertise,
    DHCP6_Reply,
    DHCP6OptClientId,
    DHCP6OptIA_NA,
    DHCP6OptIA_TA,
    DHCP6OptIAAddress,
)
from scapy.layers.inet6 import (
    ICMPv6ND_NS,
    IPv6,
)
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from analyzer.report.store import to_document
from tests.analyzer.report.observed_reports import (
    GUEST,
    IA_ADDRESS,
    OTHER,
    dhcp,
    dhcpv6,
    report_of,
)

if TYPE_CHECKING:
    from analyzer.report.report import Report


def test_vlans_and_addresses_of_the_guest() -> None:
    tagged = [Ether(src=GUEST, dst=OTHER) / Dot1Q(vlan=vlan) / Raw(bytes(46)) for vlan in (100, 100, 0)]
    solicitation = IPv6(src="::", dst="ff02::1:ff00:9", hlim=255) / ICMPv6ND_NS(tgt="2001:db8::9")
    probe = Ether(src=GUEST, dst="33:33:ff:00:00:09") / solicitation
    asked = Ether(src=GUEST, dst=OTHER) / IPv6(src="2001:db8::8", dst="2001:db8::1") / ICMPv6ND_NS(tgt="2001:db8::1")
    guest = to_document(report_of([*tagged, probe, asked]))["guest"]
    assert guest["vlans"] == [100]
    assert [row["value"] for row in guest["addresses"]] == ["2001:db8::8", "2001:db8::9"]
    assert {(row["source"], row["trusted"]) for row in guest["addresses"]} == {("traffic", False)}


def addresses(report: Report) -> list[str]:
    rows = to_document(report)["guest"]["addresses"]
    assert {(row["source"], row["trusted"]) for row in rows} <= {("traffic", False)}
    return [row["value"] for row in rows]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (dhcp("ack", yiaddr="192.0.2.150"), ["192.0.2.150"]),
        (dhcp("ack", yiaddr="192.0.2.150", to=GUEST), ["192.0.2.150"]),
        (dhcp(None, yiaddr="192.0.2.150"), ["192.0.2.150"]),
        (bytes(dhcp("offer", yiaddr="192.0.2.150"))[:128], ["192.0.2.150"]),
        (bytes(dhcp("offer", yiaddr="192.0.2.150"))[:70], []),
        (dhcp("offer", yiaddr="192.0.2.150"), []),
        (dhcp("nak", yiaddr="192.0.2.150"), []),
        (dhcp("ack", yiaddr="192.0.2.150", chaddr=OTHER), []),
        (dhcp("ack", yiaddr="0.0.0.0"), []),  # noqa: S104 - what an answer to DHCPINFORM holds
        (dhcp("ack", yiaddr="224.0.0.1"), []),
        (dhcp("request", ciaddr="192.0.2.150", op=1), ["192.0.2.150"]),
        (dhcp("discover", ciaddr="0.0.0.0", op=1), []),  # noqa: S104 - of a client that has none yet
        (dhcp("request", ciaddr="192.0.2.150", op=1, chaddr=OTHER), []),  # of a client behind the guest
    ],
)
def test_addresses_of_dhcp(message: Packet | bytes, expected: list[str]) -> None:
    assert addresses(report_of([message])) == expected


TEMPORARY = DHCP6OptIA_TA(iaid=1, iataopts=[DHCP6OptIAAddress(addr="2001:db8::7", preflft=60, validlft=120)])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (dhcpv6(DHCP6_Reply() / DHCP6OptIA_NA(iaid=1, ianaopts=[IA_ADDRESS])), ["2001:db8::150"]),
        (
            dhcpv6(DHCP6_Reply() / DHCP6OptClientId() / DHCP6OptIA_NA(ianaopts=[IA_ADDRESS]) / TEMPORARY),
            ["2001:db8::7", "2001:db8::150"],
        ),
        (dhcpv6(DHCP6_Advertise() / DHCP6OptIA_NA(iaid=1, ianaopts=[IA_ADDRESS])), []),
        (dhcpv6(DHCP6_Reply() / DHCP6OptIA_NA(ianaopts=[DHCP6OptIAAddress(addr="2001:db8::9", validlft=0)])), []),
        (dhcpv6(DHCP6_Reply() / DHCP6OptIA_NA(ianaopts=[IA_ADDRESS]), to=OTHER), []),
        (dhcpv6(DHCP6_Reply() / DHCP6OptIA_NA(ianaopts=[IA_ADDRESS]), to="33:33:00:00:00:01"), []),
        (bytes(dhcpv6(DHCP6_Reply() / DHCP6OptIA_NA(ianaopts=[IA_ADDRESS])))[:100], []),
    ],
)
def test_addresses_of_dhcpv6(message: Packet | bytes, expected: list[str]) -> None:
    assert addresses(report_of([message])) == expected
