"""Whatever strikes a change, at whatever step: status says what is there, and rollback restores what was there."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.errors import NwscanError, RollbackIncompleteError
from analyzer.model.addresses import parse_mac
from generator.deploy.hook import HOOKS, hook_name
from generator.deploy.journal import Journal
from generator.deploy.journal_record import State
from generator.deploy.plan import Reinstall
from generator.deploy.transaction import apply, rollback
from tests.lab import faults, layout
from tests.lab.deploy_bench import (
    EXTRA,
    NETWORKS,
    Bench,
    LabBridge,
    LabWriter,
    kill_libvirtd,
    remedy_plan,
    start_libvirtd,
    take_chains_of,
)
from tests.lab.faults import OF_LIBVIRTD, OF_THE_GUEST, OF_US, PLANS, Cell, Fault, OnTop, Phase, Strike, divided
from tests.lab.nwscan_run import wait_for
from tests.lab.paused_guest import MACS, NAME, UUID, paused_guest
from tests.lab.test_bridge_remedy import tap_of
from tests.lab.test_repair import delete_binding, edit_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from generator.deploy.plan import Plan
    from tests.lab.lab import Lab

pytestmark = pytest.mark.slow

GUESTS = ((NAME, UUID), ("vm 9", "9f31c0de-616e-4c61-8b00-000000000009"))
MADE_ANEW = f"making the rules of card {MACS[0]} anew took 0.05 s, in which they did not act"
"""What is written down of it, by its length."""


@pytest.fixture
def lab_with_network(lab: Lab) -> Iterator[Lab]:
    lab.write(f"{layout.ROOT}/network.xml", f"<network><name>lab-bridge</name>{NETWORKS['lab-bridge']}</network>")
    lab.virsh(f"net-create {layout.ROOT}/network.xml")
    yield lab
    lab.virsh("net-destroy lab-bridge")


class Striking:
    """One kind of plan on its guests, struck again and again; each time they are as they were at first."""

    def __init__(self, lab: Lab, folder: Path, kind: str) -> None:
        self.lab = lab
        self.kind = PLANS[kind]
        self.guests = GUESTS[: self.kind.guests]
        self.bench = Bench(lab, folder / "journal")
        self.plans: tuple[Plan, ...] = ()
        self.before, self.bridge = self.bench.texts(), self.look_at_bridge()
        self.rules = self.all_rules()
        self.plans = self.make_plans()
        self.durations = {Phase.APPLYING: self._timed(Phase.APPLYING), Phase.UNDOING: self._timed(Phase.UNDOING)}
        self.check_restored()

    def make_plans(self) -> tuple[Plan, ...]:
        """Give what is applied, one after the other.

        Made anew each time: libvirt gives a card on a network another port whenever it changes.
        """
        if self.kind.on_top is not None and self.plans:
            return self.plans
        if self.kind.is_remedy:
            return (remedy_plan(self.lab, tap_of(self.lab)),)
        plans = tuple(self.bench.plan(name, profile=self.kind.profile) for name, _ in self.guests)
        if self.kind.on_top is not None:
            self.bench.apply(plans[0])
            self._drift()
            is_repair = self.kind.on_top is OnTop.REPAIR
            plans = (*plans, self.bench.repair_plan() if is_repair else self.bench.plan(extra=EXTRA))
            self.rollback()
            self.forget()
        assert [len(plan.steps) for plan in plans[self._first :]] == list(self.kind.parts(Phase.APPLYING))
        return plans

    @property
    def _first(self) -> int:
        """The plan with which applying begins: those before it are there already."""
        return 0 if self.kind.on_top is None else 1

    def _drift(self) -> None:
        """Somebody edits the filter and deletes the binding, where it is to be repaired."""
        if self.kind.on_top is OnTop.REPAIR:
            edit_filter(self.lab)
            delete_binding(self.lab)

    def _timed(self, phase: Phase) -> list[float]:
        if phase is Phase.APPLYING:
            self.prepare(phase)
        with LabWriter(self.lab) as door:
            strike: Any = Strike(door)
            self.act(phase, strike, self.bench.journal)
        assert len(strike.taken) == self.kind.calls(phase)
        return list(strike.taken)

    def prepare(self, phase: Phase, plans: Sequence[Plan] | None = None, journal: Journal | None = None) -> None:
        """Bring the guests to where the phase begins."""
        plans = plans or self.plans
        with LabWriter(self.lab) as door:
            for number, plan in enumerate(plans if phase is Phase.UNDOING else plans[: self._first]):
                apply(plan, door, journal or self.bench.journal)
                if number + 1 == self._first:
                    self._drift()

    def act(self, phase: Phase, door: Any, journal: Journal, plans: Sequence[Plan] | None = None) -> None:  # noqa: ANN401 any door
        if phase is Phase.APPLYING:
            for plan in plans or self.plans[self._first :]:
                apply(plan, door, journal)
        else:
            for _, uuid in self.guests:
                rollback(uuid, door, journal)

    def rollback(self) -> None:
        """Undo all; where libvirt was killed amid renaming chains, do first what the error says."""
        for _, uuid in self.guests:
            try:
                self.bench.rollback(uuid)
            except RollbackIncompleteError as error:
                if "left half made are in its way" not in error.what:
                    raise
                for tap in self.all_rules():
                    take_chains_of(self.lab, tap)
                self.bench.rollback(uuid)

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
        """Let the disk have no page left for the line of the step: the plan is so long that it begins a new one."""
        journal = faults.small_journal(self.lab)
        self.bench.journal, self.bench.folder = journal, journal._folder
        parts = self.kind.parts(cell.phase)
        part, step = divided(parts, cell.step)
        if cell.phase is Phase.APPLYING:
            part += self._first
            plan, pages = faults.padded(self.plans[part], faults.begun(step))
            self.prepare(cell.phase, None, journal)
            with LabWriter(self.lab) as door:
                for done in self.plans[self._first : part]:
                    apply(done, door, journal)
            todo = [plan]
        else:
            # what comes on top is undone first; of several guests, the first
            plans, order, pages, todo = list(self.plans), range(len(parts)), 0, None
            numbers = list(reversed(order)) if self.kind.on_top is not None else list(order)
            for before in numbers[:part]:
                plans[before] = self._long(before, 0, room=2000)
            plans[numbers[part]] = self._long(numbers[part], step)
            self.prepare(cell.phase, plans, journal)
        faults.fill(self.lab, pages)
        with LabWriter(self.lab) as door, pytest.raises(NwscanError, match="No space left"):
            self.act(cell.phase, door, journal, todo)

    def _long(self, number: int, step: int, room: int = 20) -> Plan:
        """Give a plan whose file needs a page more for the line behind that of its ``step``-th undone step."""
        plan = self.plans[number]
        told = MADE_ANEW if any(isinstance(one, Reinstall) for one in plan.steps) else None
        return faults.padded(plan, faults.undone(len(plan.steps), step, told), room)[0]

    def look_at_bridge(self) -> tuple[bool, object, str | None]:
        """Whether anything but the default is at the card's port: flooding, its entry, the hook."""
        if not self.kind.is_remedy:
            return (True, None, None)
        bridge, taps = LabBridge(self.lab), self.lab.virsh(f"domiflist '{NAME}'").split()
        port = bridge.port(tap_of(self.lab)) if any(word.startswith("vnet") for word in taps) else None
        entry = bridge.entry(layout.BRIDGE, parse_mac(MACS[0]))
        return (port is None or port.flood, entry, bridge.hook(hook_name(UUID, MACS[0])))

    def all_rules(self) -> dict[str, tuple[str, ...]]:
        return {tap: rules for name, _ in self.guests for tap, rules in self.bench.rules(name).items()}

    def check(self, cell: Cell) -> None:
        """Status is true while it is half done, and rollback ends it."""
        for name, uuid in self.guests:
            self.check_told(name, uuid)
        faults.make_room(self.lab)
        self.rollback()
        if cell.fault in OF_THE_GUEST:
            self.check_restored_for_the_next_start()
        else:
            self.check_restored()

    def check_told(self, name: str, uuid: str) -> None:
        now, records, status = self.bench.texts(), self.bench.journal.in_force(uuid), self.bench.status(name)
        if (now.inactive.get(name), self.look_at_bridge()) != (self.before.inactive.get(name), self.bridge):
            assert records, "something was changed and the journal does not know"
        if now.filters != self.before.filters:
            assert self.bench.journal.in_force(), "a filter was changed and the journal does not know"
        if records:
            assert status is not None
            assert status.state is records[0].state
            is_whole = status.state in {State.APPLIED, State.CONFIRMED}
            assert is_whole or any("nwscan rollback" in line for line in status.drift)
        if status is not None and status.tap is not None:
            assert (status.live is not None) == (f"filter='{status.live}'" in now.live[name])
            assert status.binding == {one.tap: one.filter for one in now.bindings}.get(status.tap)
            wait_for(partial(self._is_told_of_rules, name), "status tells of the rules that the kernel has")

    def _is_told_of_rules(self, name: str) -> bool:
        """A libvirtd that has just been started builds them anew, at its leisure."""
        status = self.bench.status(name)
        return status is not None and bool(status.rules) == bool(self.bench.rules(name).get(status.tap or ""))

    def check_restored(self) -> None:
        assert self.bench.texts() == self.before
        assert self.look_at_bridge() == self.bridge
        with suppress(AssertionError):
            wait_for(lambda: self.all_rules() == self.rules, "the rules are as before", 10.0)
        assert self.all_rules() == self.rules
        self.check_done()

    def check_restored_for_the_next_start(self) -> None:
        """The guest that was struck itself has what its definition says; all else is as before."""
        now = self.bench.texts()
        assert (now.inactive, now.filters) == (self.before.inactive, self.before.filters)
        assert self.look_at_bridge() == self.bridge
        if NAME in now.live:
            assert [one.filter for one in now.bindings] == [one.filter for one in self.before.bindings]
            assert sorted(map(len, self.all_rules().values())) == sorted(map(len, self.rules.values()))
        else:
            assert not now.bindings
            assert not any(self.all_rules().values())
        self.check_done()

    def check_done(self) -> None:
        assert all(self.bench.rollback(uuid) == () for _, uuid in self.guests)
        assert self.bench.journal.in_force() == ()

    def forget(self) -> None:
        shutil.rmtree(self.bench.folder)


@contextmanager
def guest(lab: Lab, kind: str) -> Iterator[None]:
    with ExitStack() as guests:
        for number, (name, uuid) in enumerate(GUESTS[: PLANS[kind].guests]):
            live, inactive = (
                text and text.replace(MACS[0], MACS[number]) if number else text
                for text in (PLANS[kind].live, PLANS[kind].inactive)
            )
            guests.enter_context(paused_guest(lab, live, inactive, name=name, uuid=uuid))
        yield
    with suppress(FileNotFoundError):  # libvirt runs hooks from there, and looks for it when it starts
        lab.outside(HOOKS).rmdir()
        lab.outside(HOOKS).parent.rmdir()


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


@pytest.mark.parametrize("kind", struck_by(Fault.DISK_FULL))
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
    on_top = sum(kind.on_top is not None for kind in PLANS.values())
    steps = sum(2 * kind.steps for kind in PLANS.values()) + on_top * faults.FIRST_STEPS
    for fault in (*OF_US, *OF_LIBVIRTD, Fault.DISK_FULL):
        at = {(cell.kind, cell.phase, cell.step) for cell in cells if cell.fault is fault}
        # making rules anew is one step of two changes, and nothing of it is undone
        assert len(at) == (steps - 1 if fault in faults.WRITING else steps), fault
        assert {kind for kind, *_ in at} == set(PLANS)
    struck = [cell for kind in PLANS for cell in faults.chosen(kind, *Fault)]
    assert len(struck) >= 100
    with capsys.disabled():
        sys.stdout.write(f"\n{faults.counted(struck)}\n")
