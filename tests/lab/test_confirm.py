"""A change that nobody confirms goes back by itself, whatever became of the command that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from generator.deploy.journal import Journal, State
from tests.lab import layout
from tests.lab.nwscan_run import wait_for
from tests.lab.schedule import Schedule
from tests.lab.test_main_job_ends import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from generator.deploy.journal import JournalRecord
    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json, Nwscan

INCONCLUSIVE, ROLLED_BACK = 7, 5
VM1 = layout.GUESTS["vm1"]
WINDOW_S = 2.2
FEW = Schedule(foreign=10, own=30_000, multicast=6_000, broadcast=3_000, rate_fps=300)
"""Wanted traffic, and too few foreign frames for a verdict: what is applied waits for a person."""


@pytest.fixture
def nothing_left(lab: Lab, nwscan: Nwscan) -> Iterator[None]:
    """The guest is as it was, and neither a process nor a table nor half a window is left."""
    before = lab.guest("vm1").domain_xml(), lab.guest("vm1").domain_xml(inactive=True), lab.virsh("nwfilter-list")
    yield
    wait_for(lambda: leftovers(lab, nwscan) == [], "nothing of nwscan is left")
    after = lab.guest("vm1").domain_xml(), lab.guest("vm1").domain_xml(inactive=True), lab.virsh("nwfilter-list")
    assert after == before


def card_of(nwscan: Nwscan) -> Json | None:
    cards = nwscan.run("status", "--json").document["cards"]
    return cards[0] if cards else None


def record_of(nwscan: Nwscan) -> JournalRecord:
    """The newest change."""
    return Journal(nwscan.state / "journal").records()[-1]


@pytest.mark.usefixtures("nothing_left")
def test_what_nobody_confirms_goes_back(lab: Lab, nwscan: Nwscan) -> None:
    with lab.sending(FEW):
        words = ("suggest", "--apply", VM1.name, "--yes", "--confirm-within", "8s")
        applied = nwscan.run(*words, code=INCONCLUSIVE, duration_s=WINDOW_S)
    assert "To keep it: nwscan confirm vm1" in applied.stdout
    assert applied.stdout.splitlines()[-1] == "To undo it: nwscan rollback vm1"
    card = card_of(nwscan)
    assert card is not None
    assert card["pending"]
    assert 0 < card["left_s"] <= 8
    wait_for(lambda: record_of(nwscan).state is State.UNDONE, "the filter is gone")
    assert card_of(nwscan) is None
    late = nwscan.run("confirm", "vm1", code=ROLLED_BACK)
    assert "the change of vm1 was rolled back: nobody confirmed it: the deadline was 20" in late.stderr
