"""Whatever strikes a change, at whatever step: status says what is there, and rollback restores what was there."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.errors import NwscanError
from generator.deploy.journal import Journal, State
from generator.deploy.transaction import apply, rollback
from tests.lab import faults, layout
from tests.lab.deploy_bench import EXTRA, NETWORKS, Bench, LabWriter, kill_libvirtd, start_libvirtd
from tests.lab.faults import OF_LIBVIRTD, OF_THE_GUEST, OF_US, PLANS, Cell, Fault, Phase, Strike
from tests.lab.nwscan_run import wait_for
from tests.lab.paused_guest import NAME, UUID, paused_guest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from generator.deploy.plan import Plan
    from tests.lab.lab import Lab

pytestmark = pytest.mark.slow


@pytest.fixture
def lab_with_network(lab: Lab) -> Iterator[Lab]:
    lab.write(f"{layout.ROOT}/network.xml", f"<network><name>lab-bridge</name>{NETWORKS['lab-bridge']}</network>")
    lab.virsh(f"net-create {layout.ROOT}/network.xml")
    yield lab
    lab.virsh("net-destroy lab-bridge")


class Striking:
    """One kind of plan on its guest, struck again and again; each time the guest is as it was at first."""

    def __init__(self, lab: Lab, folder: Path, kind: str) -> None:
        self.lab = lab
        self.kind = PLANS[kind]
        self.bench = Bench(lab, folder / "journal")
        self.plans: tuple[Plan, ...] = ()
        self.before = self.bench.texts()
        self.rules = self.bench.rules()
        self.plans = self.make_plans()
        self.durations = {Phase.APPLYING: self._timed(Phase.APPLYING), Phase.UNDOING: self._timed(Phase.UNDOING)}
        self.check_restored()

    def make_plans(self) -> tuple[Plan, ...]:
        """Give what is applied, one after the other; the last is the kind's.

        Made anew each time: libvirt gives a card on a network another port whenever it changes.
        """
        first = self.bench.plan(profile=self.kind.profile)
        plans: tuple[Plan, ...] = (first,)
        if self.kind.is_redefinition and self.plans:
            return self.plans
        if self.kind.is_redefinition:
            self.bench.apply(first)
            plans = (first, self.bench.plan(extra=EXTRA))
            self.bench.rollback()
            self.forget()
        assert len(plans[-1].steps) == self.kind.steps
        return plans

    def _timed(self, phase: Phase) -> list[float]:
        if phase is Phase.APPLYING:
            self.prepare(phase)
        with LabWriter(self.lab) as door:
            strike: Any = Strike(door)
            self.act(phase, strike, self.bench.journal)
        return list(strike.taken)

    def prepare(self, phase: Phase, plans: Sequence[Plan] | None = None, journal: Journal | None = None) -> None:
        """Bring the guest to where the phase begins."""
        plans = plans or self.plans
        with LabWriter(self.lab) as door:
            for plan in plans if phase is Phase.UNDOING else plans[:-1]:
                apply(plan, door, journal or self.bench.journal)

    def act(self, phase: Phase, door: Any, journal: Journal, plan: Plan | None = None) -> None:  # noqa: ANN401 any door
        if phase is Phase.APPLYING:
            apply(plan or self.plans[-1], door, journal)
        else:
            rollback(UUID, door, journal)

    def struck(self, cell: Cell) -> None:
        """Let the fault strike."""
        if cell.fault is Fault.DISK_FULL:
            self._on_a_full_disk(cell)
            return
        self.prepare(cell.phase)
        if cell.fault in OF_US:
            code = faults.in_a_child(partial(self._dying, cell))
            assert code == -9, f"{cell}: it ended with {code}"
        else:
            with LabWriter(self.lab) as door, suppress(NwscanError):
                self.act(cell.phase, self._strike(cell, door), self.bench.journal)
        if cell.fault in OF_LIBVIRTD:
            start_libvirtd(self.lab)

    def _dying(self, cell: Cell) -> None:
        if cell.fault is Fault.KILLED_WRITING:
            faults.die_writing(cell.step)
        with LabWriter(self.lab) as door:
            found: Any = door if cell.fault is Fault.KILLED_WRITING else self._strike(cell, door)
            self.act(cell.phase, found, Journal(self.bench.folder))

    def _strike(self, cell: Cell, door: LabWriter) -> Any:  # noqa: ANN401 a door
        acts: dict[Fault, Callable[[], object]] = {
            **dict.fromkeys(OF_US, faults.die),
            **dict.fromkeys(OF_LIBVIRTD, partial(kill_libvirtd, self.lab)),
            Fault.SHUT_DOWN: partial(self.lab.virsh, f"destroy '{NAME}'"),
            Fault.RESTARTED: partial(self.lab.virsh, f"destroy '{NAME}'; start '{NAME}' --paused"),
        }
        return Strike(door, cell.step, cell.fault.split()[-1], acts[cell.fault], self.durations[cell.phase])

    def _on_a_full_disk(self, cell: Cell) -> None:
        journal = faults.small_journal(self.lab)
        self.bench.journal, self.bench.folder = journal, journal._folder
        first_steps = len(self.plans[0].steps)
        if cell.phase is Phase.APPLYING:
            plan, pages = faults.padded(self.plans[-1], faults.begun(cell.step))
            plans = (*self.plans[:-1], plan)
        elif self.kind.is_redefinition and cell.step > 0:
            first, _ = faults.padded(self.plans[0], faults.undone(first_steps, cell.step - 1))
            last, _ = faults.padded(self.plans[1], faults.undone(1, 0), room=2000)
            plans, pages = (first, last), 0
        else:
            plan, _ = faults.padded(self.plans[-1], faults.undone(self.kind.steps, cell.step))
            plans, pages = (*self.plans[:-1], plan), 0
        self.prepare(cell.phase, plans, journal)
        faults.fill(self.lab, pages)
        with LabWriter(self.lab) as door, pytest.raises(NwscanError, match="No space left"):
            self.act(cell.phase, door, journal, plans[-1])

    def check(self, cell: Cell) -> None:
        """Status is true while it is half done, and rollback ends it."""
        self.check_told()
        faults.make_room(self.lab)
        self.bench.rollback()
        if cell.fault in OF_THE_GUEST:
            self.check_restored_for_the_next_start()
        else:
            self.check_restored()

    def check_told(self) -> None:
        now, records, status = self.bench.texts(), self.bench.journal.in_force(UUID), self.bench.status()
        if now.inactive != self.before.inactive or now.filters != self.before.filters:
            assert records, "something was changed and the journal does not know"
        if records:
            assert status is not None
            assert status.state is records[0].state
            is_whole = status.state in {State.APPLIED, State.CONFIRMED}
            assert is_whole or any("nwscan rollback" in line for line in status.drift)
        if status is not None and status.tap is not None:
            assert (status.live is not None) == (f"filter='{status.live}'" in now.live[NAME])
            assert status.binding == {one.tap: one.filter for one in now.bindings}.get(status.tap)
            wait_for(self._is_told_of_rules, "status tells of the rules that the kernel has")

    def _is_told_of_rules(self) -> bool:
        """A libvirtd that has just been started builds them anew, at its leisure."""
        status = self.bench.status()
        return status is not None and bool(status.rules) == bool(self.bench.rules().get(status.tap or ""))

    def check_restored(self) -> None:
        assert self.bench.texts() == self.before
        with suppress(AssertionError):
            wait_for(lambda: self.bench.rules() == self.rules, "the rules are as before", 10.0)
        assert self.bench.rules() == self.rules
        self.check_done()

    def check_restored_for_the_next_start(self) -> None:
        """The guest that was struck itself has what its definition says; all else is as before."""
        now = self.bench.texts()
        assert (now.inactive, now.filters) == (self.before.inactive, self.before.filters)
        if NAME in now.live:
            assert [one.filter for one in now.bindings] == [one.filter for one in self.before.bindings]
            assert sorted(map(len, self.bench.rules().values())) == sorted(map(len, self.rules.values()))
        else:
            assert not now.bindings
            assert not any(self.bench.rules().values())
        self.check_done()

    def check_done(self) -> None:
        assert self.bench.rollback() == ()
        assert self.bench.journal.in_force() == ()

    def forget(self) -> None:
        shutil.rmtree(self.bench.folder)


@contextmanager
def guest(lab: Lab, kind: str) -> Iterator[None]:
    with paused_guest(lab, PLANS[kind].live, PLANS[kind].inactive):
        yield


def strike_all(lab: Lab, folder: Path, kind: str, cells: Sequence[Cell]) -> None:
    """Strike one guest by all that leaves it running; it is as it was each time."""
    with guest(lab, kind):
        striking = Striking(lab, folder, kind)
        for cell in cells:
            strike_once(striking, cell)


def strike_once(striking: Striking, cell: Cell) -> None:
    try:
        striking.plans = striking.make_plans()
        striking.struck(cell)
        striking.check(cell)
    except BaseException as error:
        error.add_note(str(cell))
        raise
    striking.forget()


def struck_by(*those: Fault) -> list[str]:
    return [kind for kind in PLANS if faults.chosen(kind, *those)]


@pytest.mark.parametrize("kind", struck_by(*OF_US))
def test_the_process_is_killed(lab_with_network: Lab, tmp_path: Path, kind: str) -> None:
    strike_all(lab_with_network, tmp_path, kind, faults.chosen(kind, *OF_US))


@pytest.mark.parametrize("kind", PLANS)
def test_the_disk_is_full(lab_with_network: Lab, tmp_path: Path, kind: str) -> None:
    with faults.small_disk(lab_with_network):
        strike_all(lab_with_network, tmp_path, kind, faults.chosen(kind, Fault.DISK_FULL))


@pytest.mark.parametrize("kind", struck_by(*OF_LIBVIRTD))
def test_libvirtd_is_killed(lab_with_network: Lab, tmp_path: Path, kind: str) -> None:
    strike_all(lab_with_network, tmp_path, kind, faults.chosen(kind, *OF_LIBVIRTD))


@pytest.mark.parametrize("kind", struck_by(*OF_THE_GUEST))
def test_the_guest_goes_away(lab_with_network: Lab, tmp_path: Path, kind: str) -> None:
    """Each time it is another guest: one that was shut down has nothing that could be compared octet for octet."""
    for cell in faults.chosen(kind, *OF_THE_GUEST):
        with guest(lab_with_network, kind):
            strike_once(Striking(lab_with_network, tmp_path, kind), cell)


def test_the_guest_is_rebooted(lab: Lab, tmp_path: Path) -> None:
    """A guest with a kernel, reset before each step on the way there and back: it keeps its tap and its filter."""
    guest, bench = lab.guest("vm1"), Bench(lab, tmp_path / "journal")
    boots = guest.console().count("GUEST-READY")
    before, rules, tap = bench.texts(), bench.rules("vm1"), guest.tap
    plan = bench.plan("vm1")
    for step in range(len(plan.steps)):
        with LabWriter(lab) as door:
            apply(plan, _reset_before(lab, door, step), bench.journal)
            assert bench.status("vm1") is not None
            rollback(plan.guest, _reset_before(lab, door, step), bench.journal)
        assert (bench.texts(), bench.rules("vm1")) == (before, rules)
    wait_for(lambda: guest.console().count("GUEST-READY") > boots, "the guest has booted again", 60.0)
    assert guest.tap == tap


def _reset_before(lab: Lab, door: LabWriter, step: int) -> Any:  # noqa: ANN401 a door
    return Strike(door, step, "before", partial(lab.virsh, "reset vm1"))


def test_the_table_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Every step of every kind of plan, on the way there and back, is struck by everything that can strike it."""
    cells = list(faults.table())
    assert len(set(cells)) == len(cells)
    steps = {(cell.kind, cell.phase, cell.step) for cell in cells}
    assert len(steps) == sum(2 * kind.steps for kind in PLANS.values()) + 4
    for fault in (*OF_US, *OF_LIBVIRTD, Fault.DISK_FULL):
        assert {(cell.kind, cell.phase, cell.step) for cell in cells if cell.fault is fault} == steps
    struck = [cell for kind in PLANS for cell in faults.chosen(kind, *Fault)]
    assert len(struck) >= 100
    with capsys.disabled():
        sys.stdout.write(f"\n{faults.counted(struck)}\n")
