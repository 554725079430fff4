"""Whether a guest makes use of foreign unicast: answers and packets sent on, and what only looks like them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from analyzer.classify.decode import decode
from analyzer.model.addresses import parse_mac
from analyzer.model.classes import FrameClass
from analyzer.report import foreign_use
from analyzer.report.findings import SENDERS_KEPT, UsedMac
from analyzer.report.foreign_use import ForeignUse
from tests.lab import frames as lab_frames
from tests.lab.frames import ethernet
from tests.lab.needs import ipv4
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

GUEST, ROUTER, VIRTUAL, OTHER = "52:54:00:00:00:01", "02:00:00:00:00:fe", "00:00:5e:00:01:07", "02:00:00:00:00:50"
TO_GUEST, FOREIGN, SENT = FrameClass.UNICAST_TO_GUEST, FrameClass.FOREIGN_UNICAST, FrameClass.FROM_GUEST
Frame = tuple[bytes, FrameClass]


def udp(dst: str, src: str, ends: tuple[str, str], ports: tuple[int, int]) -> bytes:
    datagram = ports[0].to_bytes(2) + ports[1].to_bytes(2) + (12).to_bytes(2) + bytes(6)
    return ethernet(dst, src, 0x0800, ipv4(*ends, 17, datagram), ())


def udp6(dst: str, src: str, ends: tuple[int, int], ports: tuple[int, int]) -> bytes:
    datagram = ports[0].to_bytes(2) + ports[1].to_bytes(2) + (12).to_bytes(2) + bytes(6)
    head = b"\x60\0\0\0" + len(datagram).to_bytes(2) + b"\x11\x40" + ends[0].to_bytes(16) + ends[1].to_bytes(16)
    return ethernet(dst, src, 0x86DD, head + datagram, ())


def arp(dst: str, src: str, operation: int, sender: str, target: str) -> bytes:
    ends = [lab_frames.ipv4_octets(address) for address in (sender, target)]
    macs = [parse_mac(mac).to_bytes(6) for mac in (src, dst)]
    body = b"\0\x01\x08\0\x06\x04" + operation.to_bytes(2) + macs[0] + ends[0] + macs[1] + ends[1]
    return ethernet(dst, src, 0x0806, body, ())


def used_mac(mac: str, answered: int, forwarded: int, *, both_ways: int = 0) -> UsedMac:
    return UsedMac(parse_mac(mac), answered, forwarded, both_ways, (parse_mac(ROUTER),))


def used(batches: Sequence[Sequence[Frame]]) -> tuple[UsedMac, ...]:
    use = ForeignUse()
    for rows in batches:
        batch = decode(raw_frames([octets for octets, _ in rows]))
        use.add(batch, np.array([kind for _, kind in rows], np.uint8))
    return use.finish()


ASKED = (udp(VIRTUAL, ROUTER, ("198.51.100.9", "192.0.2.7"), (4000, 80)), FOREIGN)
ANSWER = (udp(ROUTER, GUEST, ("192.0.2.7", "198.51.100.9"), (80, 4000)), SENT)
SENT_ON = (udp(OTHER, GUEST, ("198.51.100.9", "192.0.2.7"), (4000, 80)), SENT)
OWN_TOO = (udp(GUEST, OTHER, ("198.51.100.9", "192.0.2.7"), (4000, 80)), TO_GUEST)
OTHER_OWN = (udp(GUEST, ROUTER, ("198.51.100.9", "192.0.2.7"), (4001, 80)), TO_GUEST)
ELSEWHERE = (udp(ROUTER, GUEST, ("192.0.2.7", "198.51.100.9"), (80, 4001)), SENT)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([ASKED, ANSWER, ANSWER], (used_mac(VIRTUAL, 2, 0),)),
        ([ASKED, SENT_ON], (used_mac(VIRTUAL, 0, 1),)),
        ([ASKED, OWN_TOO, ANSWER, ANSWER], (used_mac(VIRTUAL, 2, 0, both_ways=2),)),
        ([OWN_TOO, ASKED, ANSWER], (used_mac(VIRTUAL, 1, 0, both_ways=1),)),
        ([ASKED, ANSWER, OTHER_OWN], (used_mac(VIRTUAL, 1, 0),)),
        ([ANSWER, ASKED], ()),
        ([ASKED, ELSEWHERE], ()),
        ([ASKED], ()),
        ([(ASKED[0], TO_GUEST), ANSWER], ()),
    ],
)
def test_answers_and_packets_sent_on(rows: list[Frame], expected: tuple[UsedMac, ...], *, apart: bool) -> None:
    assert used([[row] for row in rows] if apart else [rows]) == expected


def test_every_kind_of_packet_can_be_answered() -> None:
    ends = (0x20010DB8 << 96 | 9, 0x20010DB8 << 96 | 7)
    six = [
        (udp6(VIRTUAL, ROUTER, ends, (4000, 80)), FOREIGN),
        (udp6(ROUTER, GUEST, (ends[1], ends[0]), (80, 4000)), SENT),
        (udp6(ROUTER, GUEST, (ends[1] ^ (1 << 100), ends[0]), (80, 4000)), SENT),
    ]
    asked = [
        (arp(OTHER, ROUTER, 1, "192.0.2.1", "192.0.2.7"), FOREIGN),
        (arp(ROUTER, GUEST, 2, "192.0.2.7", "192.0.2.1"), SENT),
        (arp(ROUTER, GUEST, 2, "192.0.2.8", "192.0.2.1"), SENT),
    ]
    echo = [
        (ethernet(OTHER, ROUTER, 0x0800, ipv4("192.0.2.1", "192.0.2.9", 1, b"\x08" + bytes(7)), ()), FOREIGN),
        (ethernet(ROUTER, GUEST, 0x0800, ipv4("192.0.2.9", "192.0.2.1", 1, bytes(8)), ()), SENT),
    ]
    assert used([[*six, *asked, *echo]]) == (used_mac(OTHER, 2, 0), used_mac(VIRTUAL, 1, 0))


def test_an_answer_to_a_request_to_all_is_known_from_one_to_another_mac() -> None:
    """A neighbour asks all for an address of the guest, as it may, and nobody's MAC as well."""
    to_all = (arp("ff:ff:ff:ff:ff:ff", ROUTER, 1, "192.0.2.1", "192.0.2.7"), FrameClass.BROADCAST)
    to_nobody = (arp(OTHER, ROUTER, 1, "192.0.2.1", "192.0.2.7"), FOREIGN)
    answer = (arp(ROUTER, GUEST, 2, "192.0.2.7", "192.0.2.1"), SENT)
    assert used([[to_nobody, to_all, answer]]) == (used_mac(OTHER, 1, 0, both_ways=1),)


def test_who_sent_to_the_foreign_mac_is_named_the_first_few() -> None:
    senders = [f"02:00:00:00:01:0{number}" for number in range(5)]
    asked = [
        (udp(VIRTUAL, sender, ("198.51.100.9", "192.0.2.7"), (4000 + number, 80)), FOREIGN)
        for number, sender in enumerate(senders)
    ]
    answers = [(udp(ROUTER, GUEST, ("192.0.2.7", "198.51.100.9"), (80, 4000 + number)), SENT) for number in range(5)]
    (found,) = used([asked, answers])
    assert (found.answered, len(found.senders)) == (5, SENDERS_KEPT)
    assert set(found.senders) <= set(map(parse_mac, senders))
    other = UsedMac(found.mac, 1, 2, 1, (7,))
    assert found.merge(other) == UsedMac(found.mac, 6, 2, 1, found.senders)
    assert other.merge(found).senders == (7, *found.senders[:2])


def test_a_flood_of_flows_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_use, "FLOWS_KEPT", 3)
    flood = [(udp(VIRTUAL, ROUTER, ("198.51.100.9", "192.0.2.7"), (port, 80)), FOREIGN) for port in range(1, 50)]
    answers = [(udp(ROUTER, GUEST, ("192.0.2.7", "198.51.100.9"), (80, port)), SENT) for port in range(1, 50)]
    assert used([flood, answers]) == (used_mac(VIRTUAL, 3, 0),)


def test_frames_without_addresses_are_nobodys_answer() -> None:
    bare = [
        (ethernet(VIRTUAL, ROUTER, 0x88B5, bytes(46), ()), FOREIGN),
        (ethernet(ROUTER, GUEST, 0x88B5, bytes(46), ()), SENT),
    ]
    assert used([bare, bare]) == ()
