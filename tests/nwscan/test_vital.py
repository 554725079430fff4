"""What reached a guest before a change, by kind: the worker counts as the kernel's meter does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from analyzer.model.classes import FrameClass
from analyzer.model.guards import GUARD_CLASS, GuardKind
from analyzer.model.identity import GuestIdentity, Provenance
from nwscan import kept
from nwscan.watch.before import VitalBefore
from nwscan.worker import parent
from nwscan.worker.messages import CountVital, VitalCounts
from tests.lab.bridge_bench import GUEST_MAC
from tests.lab.nwscan_run import wait_for
from tests.vital_frames import EXPECTED, FRAMES, OTHERS, SENT, repeated

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CARD = GuestIdentity((GUEST_MAC,), Provenance.COMMAND_LINE)


def capture(path: Path, frames: Iterable[bytes]) -> Path:
    wrpcap(str(path), [Ether(frame) for frame in frames])
    return path


def test_each_kind_to_the_guest_is_counted(tmp_path: Path) -> None:
    path = capture(tmp_path / "all.pcap", [*repeated(FRAMES), *repeated(SENT), *map(bytes, OTHERS)])
    with path.open("rb") as file:
        reply = parent.run(CountVital(path.name, CARD), [file.fileno()])
    assert isinstance(reply, VitalCounts)
    to_guest = {kind: times for kind, times in EXPECTED.items() if GUARD_CLASS[kind] is not FrameClass.FROM_GUEST}
    assert {GuardKind(kind): times for kind, times in reply.counts} == to_guest


def test_what_came_through_before_is_watched(tmp_path: Path) -> None:
    capture(tmp_path / kept.FRAMES_NAME, map(bytes, (FRAMES[GuardKind.ARP_UNICAST], FRAMES[GuardKind.ARP_BROADCAST])))
    window = kept.KeptReport(tmp_path / kept.REPORT_NAME, None)  # type: ignore[arg-type]
    for profile, kinds in (
        ("mac", (GuardKind.OWN_UNICAST, GuardKind.ARP_UNICAST, GuardKind.ARP_BROADCAST)),
        ("strict", (GuardKind.OWN_UNICAST, GuardKind.ARP_UNICAST)),
    ):
        before = VitalBefore(CARD, [window], profile)
        assert wait_until_known(before) == kinds
        assert before.taken() is None


def wait_until_known(before: VitalBefore) -> tuple[GuardKind, ...]:
    found: list[tuple[GuardKind, ...]] = []

    def is_known() -> bool:
        found.extend(one for one in [before.taken()] if one is not None)
        return bool(found)

    wait_for(is_known, "what came before is known")
    return found[0]
