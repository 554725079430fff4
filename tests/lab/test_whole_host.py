"""Every guest of the host by one plan, reviewed, refused where something has changed, carried out and undone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.lab.schedule import Schedule

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Nwscan

EFFECTIVE, CHANGED, INCONCLUSIVE = 0, 4, 7
WINDOW_S = 2.2
FLOOD = Schedule(foreign=60_000, own=12_000, multicast=6_000, broadcast=6_000, rate_fps=400)


def test_every_guest_by_one_plan(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    plan, before = tmp_path / "plan.json", lab.virsh("nwfilter-list")
    with lab.sending(FLOOD):
        told = nwscan.run("suggest", "--all", "-o", plan, "--force", duration_s=WINDOW_S).stdout
        assert "What this reaches: 2 guests" in told
        assert [one["name"] for one in json.loads(plan.read_text())["plans"]] == ["vm1", "vm2"]
        target = ("--migration-target", lab.uri, "--migration-target", "qemu+unix:///system?socket=/nowhere")
        reach = nwscan.run("apply", plan, "--check", "--json", *target).document
        first, second = (one["defines"] for one in reach["guests"])
        assert len({*first, *second}) == 4  # the guests' uuids begin alike, and their names do not
        here, nowhere = reach["migration_targets"]
        assert set(here["lacking"]) == {*first, *second}
        assert (nowhere["lacking"], nowhere["error"] is not None) == ([], True)
        words: list[str | Path] = ["nwscan", "apply", plan, "--yes", "--confirm-within", "0"]
        done = lab.run(words, env=nwscan.environment(WINDOW_S), timeout_s=300.0)
        assert done.returncode in {EFFECTIVE, INCONCLUSIVE}, done.stderr  # a busy machine loses frames of a capture
    cards_now = nwscan.run("status", "--json").document["cards"]
    assert [(one["guest"], one["drift"]) for one in cards_now] == [("vm1", []), ("vm2", [])]
    refused = nwscan.run("apply", plan, "--yes", code=CHANGED)
    assert "since the plan was made" in refused.stderr
    nwscan.run("rollback", "--all", "--yes")
    assert lab.virsh("nwfilter-list") == before
