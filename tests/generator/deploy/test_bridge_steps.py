"""A bridge remedy is done where the bridge is as the plan found it, and undone where its effect is still there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from analyzer.errors import HostError, RollbackIncompleteError
from generator.deploy import bridge_steps, transaction
from generator.deploy.door import EntryLook, PortLook
from generator.deploy.journal import Journal
from generator.deploy.plan import InstallHook, SetFdbEntry, SetPortFlag
from tests.generator.deploy.file_door import FileBridge, FileDoor, read_state, remedy_for, write_state
from tests.generator.deploy.hosts import GUEST, HOSTS, MACS, interface

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from generator.deploy.plan import BridgeStep, Plan
    from tests.generator.deploy.file_door import HostState

MAC, TAP = MACS[0], "vnet01"


class Bench:
    def __init__(self, folder: Path) -> None:
        self.path, self.journal = folder / "host.json", Journal(folder / "journal")
        write_state(self.path, HOSTS["no filter"])
        self.door = FileDoor(self.path)
        self.plan: Plan = remedy_for(self.now, GUEST)

    @property
    def now(self) -> HostState:
        return read_state(self.path)

    def change(self, act: Callable[[HostState], object]) -> None:
        state = self.now
        act(state)
        write_state(self.path, state)

    def step(self, kind: type[BridgeStep]) -> BridgeStep:
        return next(step for step in self.plan.steps if isinstance(step, kind))  # type: ignore[misc]

    def refusal(self, kind: type[BridgeStep]) -> str:
        with pytest.raises(HostError) as refused:
            bridge_steps.require_unchanged(self.plan, self.step(kind), self.door)
        assert refused.value.hint
        return refused.value.what


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_bridge_that_is_as_the_plan_found_it(bench: Bench) -> None:
    for kind in (InstallHook, SetFdbEntry, SetPortFlag):
        bridge_steps.require_unchanged(bench.plan, bench.step(kind), bench.door)
    bench.change(lambda state: state.fdb.clear())  # what was learnt comes and goes
    bridge_steps.require_unchanged(bench.plan, bench.step(SetFdbEntry), bench.door)


def test_a_hook_of_another_version_is_refused(bench: Bench) -> None:
    older = structs.replace(bench.step(InstallHook), sha256="0" * 64)
    with pytest.raises(HostError, match="of another version of nwscan"):
        bridge_steps.require_unchanged(bench.plan, older, bench.door)


def test_a_hook_of_the_same_name_is_never_overwritten(bench: Bench) -> None:
    step = bench.step(InstallHook)
    bridge_steps.do(bench.plan, step, bench.door)
    assert bench.refusal(InstallHook) == "there is a hook of this name already"


@pytest.mark.parametrize(
    ("act", "kind", "what"),
    [
        (lambda state: state.ports.pop(TAP), SetPortFlag, f"{TAP} is not the port of br0 that it was"),
        (
            lambda state: state.ports.update({TAP: PortLook(99, "br0", flood=True)}),
            SetPortFlag,
            f"{TAP} is not the port of br0 that it was",
        ),
        (
            lambda state: state.guests[GUEST].live.update(
                {MAC: interface(MAC, live=True).replace("vnet01", "vnet77")},
            ),
            SetPortFlag,
            f"{TAP} is not the tap of card {MAC} any more",
        ),
        (lambda state: state.guests[GUEST].live.clear(), SetPortFlag, f"{TAP} is not the tap of card {MAC} any more"),
        (
            lambda state: state.ports.update({TAP: state.ports[TAP]._replace(flood=False)}),
            SetPortFlag,
            f"the flooding to {TAP} has been changed since the plan was made",
        ),
        (
            lambda state: state.fdb.update({MAC: EntryLook("vnet99", "dynamic")}),
            SetFdbEntry,
            f"br0 knows {MAC} at vnet99 now",
        ),
        (
            lambda state: state.fdb.update({MAC: EntryLook(TAP, "static")}),
            SetFdbEntry,
            f"somebody changed the entry of {MAC} at {TAP}",
        ),
    ],
)
def test_a_bridge_that_changed_since_is_refused(
    bench: Bench, act: Callable[[HostState], object], kind: type[BridgeStep], what: str
) -> None:
    bench.change(act)
    assert bench.refusal(kind) == what


def test_what_is_gone_with_the_port_needs_no_undoing(bench: Bench) -> None:
    transaction.apply(bench.plan, bench.door, bench.journal)
    bench.change(lambda state: (state.ports.pop(TAP), state.fdb.clear()))
    for kind in (SetFdbEntry, SetPortFlag):
        assert bridge_steps.undo(bench.plan, bench.step(kind), bench.door) == []


def test_an_entry_that_somebody_moved_is_left_alone(bench: Bench) -> None:
    transaction.apply(bench.plan, bench.door, bench.journal)
    bench.change(lambda state: state.fdb.update({MAC: EntryLook("vnet99", "static")}))
    assert bridge_steps.undo(bench.plan, bench.step(SetFdbEntry), bench.door) == [
        f"left the entry of {MAC} alone: somebody made it static at vnet99"
    ]
    assert bench.now.fdb[MAC] == EntryLook("vnet99", "static")


def test_a_port_of_no_card_that_was_made_anew_is_not_the_one_that_was_changed(bench: Bench) -> None:
    step = SetFdbEntry(None, TAP, 7, "br0", "02:00:00:00:00:99", None)
    bridge_steps.do(bench.plan, step, bench.door)
    bench.change(lambda state: state.ports.update({TAP: PortLook(99, "br0", flood=True)}))
    assert bridge_steps.undo(bench.plan, step, bench.door) == []


def test_a_kernel_that_does_not_do_it_is_found_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileBridge, "set_flood", lambda *_, **__: None)
    with pytest.raises(HostError, match=f"the kernel did not change the flooding to {TAP}"):
        bridge_steps.do(bench.plan, bench.step(SetPortFlag), bench.door)


def test_a_kernel_that_does_not_undo_it_leaves_the_rollback_incomplete(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction.apply(bench.plan, bench.door, bench.journal)
    monkeypatch.setattr(FileBridge, "set_flood", lambda *_, **__: None)
    with pytest.raises(RollbackIncompleteError, match="the kernel did not change the flooding"):
        transaction.rollback(GUEST, bench.door, bench.journal)
