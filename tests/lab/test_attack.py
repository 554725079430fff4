"""Two guests with root inside attack at once: the short form of `make attack`, which tests/lab/attack.py describes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.attack import ALL, WINDOW_S, Attack
from tests.lab.layout import GUESTS, HOSTS
from tests.lab.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Nwscan

INCONCLUSIVE = 7
FEW = Schedule(foreign=10, own=30_000, multicast=6_000, broadcast=3_000, rate_fps=300)
"""Wanted traffic, and too few foreign frames for a verdict: what is applied waits for a person."""
FOREIGN = Schedule(foreign=60_000, own=24_000, multicast=6_000, broadcast=3_600, rate_fps=800)
UNDER_ATTACK_S = 3.0


@pytest.fixture
def attack(lab: Lab, nwscan: Nwscan) -> Iterator[Attack]:
    attack = Attack(lab, nwscan)
    yield attack
    attack.close()


def test_what_two_hostile_guests_send_is_counted_to_the_frame(lab: Lab, nwscan: Nwscan, attack: Attack) -> None:
    outcome = attack.measured()
    assert outcome.sent > 8000
    (report,) = (nwscan.state / "reports" / GUESTS["vm1"].uuid).rglob("report.json")
    told = lab.run(["nwscan", "report", report], check=True).stdout
    assert told.replace("\n", "").isprintable()


def test_a_hostile_neighbour_does_not_widen_a_filter(lab: Lab, nwscan: Nwscan, attack: Attack) -> None:
    with nwscan.start("capture", "vm1", "--json") as quiet:
        lab.send(Schedule(foreign=100, own=50, multicast=20, broadcast=20))
        time.sleep(WINDOW_S)
        quiet.interrupt()
    alone, _ = attack.filters_of("vm1", "strict")
    outcome = attack.measured(ALL, ("vm2",), WINDOW_S)
    assert attack.filters_of("vm1", "strict")[0] == alone  # it may have it refused: SECURITY.md
    report = outcome.reports[attack.guests[0].guest.tap]
    assert (report["guest"]["groups"], report["guest"]["macs_seen"]) == ([], [])


def test_a_verdict_is_steered_neither_by_frames_nor_by_silence(lab: Lab, nwscan: Nwscan, attack: Attack) -> None:
    words = ("suggest", "--apply", "vm1", "--yes", "--force", "--confirm-within", "60s")
    with lab.sending(FEW):
        nwscan.run(*words, code=INCONCLUSIVE, duration_s=WINDOW_S)
        with attack.attacking(*GUESTS):
            time.sleep(UNDER_ATTACK_S)
        assert "kept" in nwscan.run("confirm", "vm1").stdout  # the guards have not taken it back
    lab.settle()
    with lab.sending(FOREIGN), attack.attacking(*GUESTS, what=ALL):
        verdict = nwscan.run("verify", "vm1", "--json", duration_s=WINDOW_S).document
    assert (verdict["verdict"], verdict["meter"]["foreign_delivered"]) == ("effective", 0)
    assert verdict["meter"]["foreign_offered"] > FOREIGN.rate_fps / 2
    lab.settle()
    quiet = nwscan.run("verify", "vm1", "--json", code=INCONCLUSIVE, duration_s=WINDOW_S).document
    assert quiet["verdict"] == "inconclusive"
    nwscan.run("rollback", "vm1", "--yes")
    assert lab.host("hosta").ping(GUESTS["vm1"].ipv4, 1) == 1
    assert HOSTS["hosta"].mac in lab.guest("vm1").shell("ip neigh")
