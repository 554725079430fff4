"""Faults that strike while a plan is carried out or undone, and the table of all of them: kind of plan x step x fault.

Each strikes a real libvirtd and real guests, paused before their first instruction. What must hold afterwards is held
by test_faults.py.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from generator.deploy import journal as journal_module
from generator.deploy.journal import Journal
from generator.deploy.journal_record import Event, Header, State
from tests.lab import layout
from tests.lab.deploy_bench import ADDRESSED, MUTATING, QUICK, on_network
from tests.lab.paused_guest import MACS, cards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from generator.deploy.plan import Plan
    from tests.lab.lab import Lab

FIRST_STEPS: Final = 4
"""Of the change that another one comes on top of."""
PAGE_OCTETS: Final = 4096
SMALL_DISK: Final = f"{layout.ROOT}/small"
_STAMP: Final = "2026-01-01T00:00:00.000000+00:00"


class Phase(StrEnum):
    """What is being done when it strikes."""

    APPLYING = "applying"
    UNDOING = "undoing"


class Fault(StrEnum):
    """What happens, and when: before libvirt is asked for a step, while it is at it, after it has done it."""

    KILLED_WRITING = "killed as it writes the step down"
    KILLED_BEFORE = "killed before"
    KILLED_DURING = "killed during"
    KILLED_AFTER = "killed after"
    LIBVIRTD_BEFORE = "libvirtd killed before"
    LIBVIRTD_DURING = "libvirtd killed during"
    LIBVIRTD_AFTER = "libvirtd killed after"
    DISK_FULL = "disk full as it writes the step down"
    SHUT_DOWN = "guest shut down before"
    RESTARTED = "guest started anew before"


OF_US: Final = (Fault.KILLED_WRITING, Fault.KILLED_BEFORE, Fault.KILLED_DURING, Fault.KILLED_AFTER)
OF_LIBVIRTD: Final = (Fault.LIBVIRTD_BEFORE, Fault.LIBVIRTD_DURING, Fault.LIBVIRTD_AFTER)
OF_THE_GUEST: Final = (Fault.SHUT_DOWN, Fault.RESTARTED)
WRITING: Final = (Fault.KILLED_WRITING, Fault.DISK_FULL)
"""These strike as a step is written down, the others as something is changed."""


def divided(parts: Sequence[int], step: int) -> tuple[int, int]:
    """Give in which of the parts a step is, and the how-manieth there."""
    for number, size in enumerate(parts):
        if step < size:
            return number, step
        step -= size
    raise IndexError(step)


class OnTop(StrEnum):
    """What comes on top of an earlier change."""

    REDEFINITION = "redefinition"
    REPAIR = "repair"


@dataclass(frozen=True)
class PlanKind:
    """A guest's cards, running and for the next start, and what is planned for it."""

    live: str | None
    inactive: str | None
    steps: int
    profile: str = "mac"
    on_top: OnTop | None = None
    """The plan comes on top of one that was applied before, and is undone with it."""
    is_remedy: bool = False
    """It changes the bridge, not libvirt."""
    guests: int = 1
    """Each is a plan of its own, of as many of the steps as the others."""

    def parts(self, phase: Phase) -> tuple[int, ...]:
        """Give how many steps each change has that is applied or undone, in this order; each writes a line a step."""
        if self.on_top is not None and phase is Phase.UNDOING:
            return (self.steps - (self.on_top is OnTop.REPAIR), FIRST_STEPS)  # what made rules anew is left as it is
        return (self.steps // self.guests,) * self.guests

    def calls(self, phase: Phase) -> int:
        """Give how often something is changed: making rules anew is one step of two changes."""
        return sum(self.parts(phase)) + (self.on_top is OnTop.REPAIR and phase is Phase.APPLYING)

    def moments(self, phase: Phase, fault: Fault) -> int:
        """Give at how many steps a fault can strike: lines that are written, or changes."""
        return sum(self.parts(phase)) if fault in WRITING else self.calls(phase)


PLANS: Final = {
    "a filter on a bare card": PlanKind(cards(), cards(), 4),
    "beside an earlier filter": PlanKind(cards(reference=QUICK), cards(reference=QUICK), 4),
    "a redefinition": PlanKind(cards(), cards(), 1, on_top=OnTop.REDEFINITION),
    "several filters": PlanKind(cards(reference=ADDRESSED), cards(reference=ADDRESSED), 5, profile="ip"),
    "several cards": PlanKind(cards(MACS), cards(MACS), 8),
    "a guest that is off": PlanKind(None, cards(), 3),
    "a transient guest": PlanKind(cards(), None, 3),
    "a card on a network": PlanKind(on_network("lab-bridge"), on_network("lab-bridge"), 4),
    "a repair": PlanKind(cards(), cards(), 2, on_top=OnTop.REPAIR),
    "a bridge remedy": PlanKind(cards(), cards(), 3, is_remedy=True),
    "several guests": PlanKind(cards(), cards(), 8, guests=2),
}


@dataclass(frozen=True)
class Cell:
    """One fault of the table; ``step`` counts, from 0, what is changed or what is written down before it, in order."""

    kind: str
    phase: Phase
    step: int
    fault: Fault

    def __str__(self) -> str:
        return f"{self.kind}, {self.phase}, step {self.step + 1}: {self.fault}"


_QUICK: Final = frozenset({"a filter on a bare card", "a guest that is off"})
_ALL_KINDS: Final = frozenset({Fault.KILLED_DURING, Fault.DISK_FULL})
_MORE: Final = {
    "a repair": {Fault.LIBVIRTD_DURING},
    "a transient guest": {Fault.LIBVIRTD_DURING},
    "a bridge remedy": {Fault.LIBVIRTD_DURING, *OF_THE_GUEST},
}
_LESS: Final = {"several guests": {Fault.DISK_FULL}}


def is_chosen(cell: Cell) -> bool:
    """Say whether a fault strikes in this run: NWSCAN_FAULTS=all asks for the whole table.

    Else plans of many steps are spared what takes long, and what resembles another plan's faults.
    """
    if os.environ.get("NWSCAN_FAULTS") == "all" or cell.kind in _QUICK:
        return True
    return cell.fault in (_ALL_KINDS | _MORE.get(cell.kind, set())) - _LESS.get(cell.kind, set())


def chosen(kind: str, *those: Fault) -> list[Cell]:
    """Give the faults of a kind that strike a kind of plan in this run."""
    return [cell for cell in table() if cell.kind == kind and cell.fault in those and is_chosen(cell)]


def table() -> Iterator[Cell]:
    """Give every fault that there can be."""
    for name, kind in PLANS.items():
        for phase in Phase:
            for fault in Fault:
                if fault not in OF_THE_GUEST or can_happen(fault, kind):
                    yield from (Cell(name, phase, step, fault) for step in range(kind.moments(phase, fault)))


def can_happen(fault: Fault, kind: PlanKind) -> bool:
    """Say whether there is a guest that this can happen to."""
    return kind.live is not None and (fault is Fault.SHUT_DOWN or kind.inactive is not None)


def counted(cells: Sequence[Cell]) -> str:
    """Give the table as people read it: how many faults of each kind strike which plans."""
    counts = Counter((cell.kind, cell.fault) for cell in cells)
    lines = [f"{len(cells)} faults of {len(list(table()))} are injected:"]
    for fault in Fault:
        of_plans = ", ".join(f"{kind} {counts[kind, fault]}" for kind in PLANS if counts[kind, fault])
        total = sum(number for (_, one), number in counts.items() if one is fault)
        lines.append(f"  {total:4} {fault}: {of_plans}")
    return "\n".join(lines)


@dataclass
class Strike:
    """A door at which ``act`` happens before, during or after the change ``number``; None: it just takes the time."""

    door: Any
    number: int | None = None
    moment: str = "before"
    act: Callable[[], object] = field(default=lambda: None)
    durations: Sequence[float] = ()
    taken: list[float] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the door has
        found = getattr(self.door, name)
        if name == "bridge":
            return Strike(found, self.number, self.moment, self.act, self.durations, self.taken)
        if name not in MUTATING:
            return found

        def call(*arguments: object, **options: object) -> object:
            is_struck = len(self.taken) == self.number
            if is_struck and self.moment == "before":
                self.act()
            timer = None
            if is_struck and self.moment == "during":
                timer = threading.Timer(self.durations[len(self.taken)] / 2, self.act)
                timer.start()
            start = time.monotonic()
            try:
                return found(*arguments, **options)
            finally:
                self.taken.append(time.monotonic() - start)
                if timer is not None:
                    timer.join()
                if is_struck and self.moment == "after":
                    self.act()

        return call


def die() -> None:
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_writing(number: int) -> None:
    """Let this process die when half of the event of the step ``number`` (in order) is on the disk."""
    write, seen = journal_module._write_all, [0]

    def dying(descriptor: int, octets: bytes) -> None:
        if b'"event":"begin"' in octets or b'"event":"undo"' in octets:
            if seen[0] == number:
                os.write(descriptor, octets[: len(octets) // 2])
                die()
            seen[0] += 1
        write(descriptor, octets)

    journal_module._write_all = dying


def in_a_child(act: Callable[[], object]) -> int:
    """Do something in a process of its own and give how it ended: minus the signal, or its exit code.

    It is forked from a process that has one thread: a fork of pytest's own would inherit whatever lock of libvirt's or
    GLib's another thread happens to hold. What it raises is told on stderr, which pytest shows where a test fails.
    """
    child = _SERVER.Process(target=act)
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


_SERVER: Final = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.lab.test_faults"])


# A disk that is really full -----------------------------------------------------------------------------------------


@contextmanager
def small_disk(lab: Lab) -> Iterator[None]:
    """A disk of 256 KiB at SMALL_DISK in the lab."""
    lab.run(["sh", "-ec", f"mkdir -p {SMALL_DISK}; mount -t tmpfs -o size=256k tmpfs {SMALL_DISK}"], check=True)
    try:
        yield
    finally:
        lab.run(["umount", SMALL_DISK], check=True)


def padded(plan: Plan, before: Sequence[Event], room: int = 20) -> tuple[Plan, int]:
    """Give the plan with so much evidence that the event behind ``before`` needs a page more after ``room`` octets.

    Gives the pages that the file needs until then as well.
    """

    def size(one: Plan) -> int:
        lines = (Header("nwscan.journal/1", _STAMP, one), *before)
        return sum(len(msgspec.json.encode(line)) + 1 for line in lines)

    longer = msgspec.structs.replace(plan, evidence=(*plan.evidence, ""))
    pad = -(size(longer) + room) % PAGE_OCTETS
    longer = msgspec.structs.replace(plan, evidence=(*plan.evidence, "x" * pad))
    assert (size(longer) + room) % PAGE_OCTETS == 0
    return longer, (size(longer) + room) // PAGE_OCTETS


def begun(steps: int) -> list[Event]:
    """Give the events of ``steps`` steps as the journal writes them."""
    return [Event(_STAMP, "begin", step=number) for number in range(steps)]


def undone(steps: int, count: int, told: str | None = None) -> list[Event]:
    """Give the events of a change of ``steps`` steps, applied, of which the last ``count`` are undone.

    ``told`` is what was worth telling of how it was applied.
    """
    last = [Event(_STAMP, "undo", step=number) for number in reversed(range(steps))]
    return [*begun(steps), Event(_STAMP, "state", state=State.APPLIED, why=told), *last[:count]]


def fill(lab: Lab, pages: int) -> None:
    """Leave so many pages free on the small disk."""
    disk = lab.outside(SMALL_DISK)
    room = os.statvfs(disk)
    with (disk / "fill").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, (room.f_bavail - pages) * room.f_frsize)
    assert os.statvfs(disk).f_bavail == pages


def make_room(lab: Lab) -> None:
    """Take away what fills the small disk."""
    (lab.outside(SMALL_DISK) / "fill").unlink(missing_ok=True)


def small_journal(lab: Lab) -> Journal:
    """Give a journal on the small disk."""
    return Journal(lab.outside(SMALL_DISK) / "journal")
