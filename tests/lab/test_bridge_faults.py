"""Killed with SIGKILL at any point of a bridge remedy, on a real bridge: it is told, and undone to the very flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analyzer.host.guests import LibvirtReader
from generator.deploy.hook import HOOKS, hook_name
from generator.deploy.journal import Journal
from generator.deploy.libvirt_writer import LibvirtWriter
from generator.deploy.status import card_statuses
from generator.deploy.transaction import apply, rollback
from nwscan.api.host_reading import bridge_looks
from tests.generator.deploy.killing import killed_at
from tests.lab.deploy_bench import LabBridge, remedy_plan
from tests.lab.paused_guest import MACS, UUID, cards, paused_guest
from tests.lab.test_bridge_remedy import bridge_of, tap_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from generator.deploy.plan import Plan
    from generator.deploy.status import CardStatus
    from tests.generator.deploy.killing import Killer
    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json

MAC = MACS[0]


class Bench:
    """The lab's libvirt and bridge, and a journal of the test's own."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder

    def door(self, killer: Killer | None = None) -> LibvirtWriter:
        return LibvirtWriter(self.lab.outside_uri, LabBridge(self.lab, killer))

    def plan(self) -> Plan:
        return remedy_plan(self.lab, tap_of(self.lab))

    def look(self) -> tuple[Json, list[str], str | None]:
        """The port, the card's entry (others age meanwhile), the hook."""
        port, entries = bridge_of(self.lab, tap_of(self.lab))
        mine = [line for line in entries if line.startswith(MAC)]
        return port, mine, LabBridge(self.lab).hook(hook_name(UUID, MAC))

    def rollback(self) -> None:
        with self.door() as door:
            rollback(UUID, door, Journal(self.folder))

    def status(self) -> CardStatus | None:
        with LibvirtReader(self.lab.outside_uri) as reader:
            found, bindings, names = reader.cards(), reader.bindings(), reader.filter_names()
        records = Journal(self.folder).in_force(UUID)
        looks = bridge_looks(records, [card.identity.tap for card in found], LabBridge(self.lab))
        told = card_statuses(found, records, bindings, {}, names, None, looks)
        return next((one for one in told if one.uuid == UUID), None)

    def killed(self, target: int, act: Callable[[LibvirtWriter, Journal], object]) -> bool:
        def run(killer: Killer) -> None:
            with self.door(killer) as door:
                act(door, Journal(self.folder))

        return killed_at(target, run)

    def check_told(self, before: object) -> None:
        """What is otherwise than before stands in the journal and in the status."""
        status, is_changed = self.status(), self.look() != before
        records = Journal(self.folder).in_force(UUID)
        assert records or not is_changed
        if records:
            assert status is not None
            assert status.state is records[0].state
            assert not status.drift or any("nwscan rollback" in line for line in status.drift)


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_killed_while_a_remedy_is_applied_and_undone(lab: Lab, tmp_path: Path, known: bool) -> None:  # noqa: FBT001
    bench = Bench(lab, tmp_path / "journal")
    with paused_guest(lab, cards(), cards()):
        if known:
            own = ["bridge", "fdb", "replace", MAC, "dev", tap_of(lab), "master", "dynamic"]
            lab.run(own, check=True)
        before, plan, target = bench.look(), bench.plan(), 0
        while bench.killed(target, lambda door, journal: apply(plan, door, journal)):
            bench.check_told(before)
            bench.rollback()
            assert bench.look() == before
            target += 1
        assert target == 3 + 3 + 5 * len(plan.steps)
        assert bench.look() != before
        target = 0
        while bench.killed(target, lambda door, journal: rollback(UUID, door, journal)):
            bench.check_told(before)
            bench.rollback()
            assert bench.look() == before
            with bench.door() as door:
                apply(plan, door, Journal(bench.folder))
            target += 1
        assert target == 3 + 5 * len(plan.steps)
        assert bench.look() == before
        lab.outside(HOOKS).rmdir()
        lab.outside(HOOKS).parent.rmdir()
