"""Status: what is as intended is silent, and each thing that is not has its sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from analyzer.host.boot_clock import boot_clock
from analyzer.host.rule_listings import Backend, KernelRule
from analyzer.host.rules import KernelRules
from analyzer.model.addresses import parse_mac
from generator.deploy import pending, transaction
from generator.deploy.deadline import deadline_in
from generator.deploy.journal import Journal
from generator.deploy.journal_record import State
from generator.deploy.status import CardStatus, card_statuses
from generator.nwfilter.model import FilterRef
from generator.nwfilter.xml import with_filterref
from tests.generator.deploy.file_door import FileDoor, HostState, bindings, cards, plan_for, read_state, write_state
from tests.generator.deploy.hosts import GUEST, HOSTS, MACS, OTHER, host

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAC, TAP = MACS[0], "vnet01"
PARENT, CHILD = "nwscan-6e777363-0", "nwscan-6e777363-0-mac"
RULE = KernelRule("-j DROP", 0, 0, "libvirt-O-vnet01", "ebtables nat", to_guest=True)


class Bench:
    def __init__(self, folder: Path, name: str) -> None:
        self.path, self.journal = folder / "host.json", Journal(folder / "journal")
        self.door = FileDoor(self.path)
        write_state(self.path, HOSTS[name])

    def apply(self, extra: tuple[int, ...] = ()) -> None:
        transaction.apply(plan_for(read_state(self.path), GUEST, extra), self.door, self.journal)

    def change(self, act: Callable[[HostState], object]) -> None:
        state = read_state(self.path)
        act(state)
        write_state(self.path, state)

    def attach(self, name: str | None, *, live: bool) -> None:
        def act(state: HostState) -> None:
            side = state.guests[GUEST].live if live else state.guests[GUEST].inactive
            assert side is not None
            side[MAC] = with_filterref(side[MAC], FilterRef(name) if name else None)

        self.change(act)

    def statuses(self, rules: dict[str, KernelRules] | None = None, *, texts: bool = True) -> tuple[CardStatus, ...]:
        now = read_state(self.path)
        known = now.filters if texts else None
        return card_statuses(cards(now), self.journal.in_force(), bindings(now), rules or {}, tuple(now.filters), known)

    def status(self, rules: dict[str, KernelRules] | None = None, *, texts: bool = True) -> CardStatus:
        (one,) = (status for status in self.statuses(rules, texts=texts) if status.uuid == GUEST)
        return one

    def drift(self) -> tuple[str, ...]:
        return self.status().drift


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return Bench(tmp_path, getattr(request, "param", "clean-traffic"))


def on(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bench", [name], indirect=True)


def kernel(*rules: KernelRule) -> dict[str, KernelRules]:
    return {TAP: KernelRules(TAP, Backend.EBTABLES if rules else None, present=bool(rules), rules=rules)}


# What is as it should be


@pytest.mark.parametrize("bench", HOSTS, indirect=True)
def test_what_was_applied_is_no_drift(bench: Bench) -> None:
    bench.apply()
    bench.apply((parse_mac("52:54:00:00:00:21"),))
    mine = [status for status in bench.statuses(kernel(RULE)) if status.uuid == GUEST]
    assert [status.drift for status in mine] == [()] * len(mine)
    assert [status.intended for status in mine] == [f"nwscan-6e777363-{number}" for number in range(len(mine))]
    assert {status.state for status in mine} == {State.APPLIED}


def test_the_columns(bench: Bench) -> None:
    bench.apply()
    assert bench.status(kernel(RULE, RULE)) == CardStatus(
        guest="vm1",
        uuid=GUEST,
        mac=MAC,
        tap=TAP,
        intended=PARENT,
        live=PARENT,
        inactive=PARENT,
        binding=PARENT,
        rules=2,
        state=State.APPLIED,
        since=bench.journal.records()[0].created,
    )
    assert bench.status().rules is None


@on("off")
def test_a_guest_that_is_off(bench: Bench) -> None:
    bench.apply()
    status = bench.status()
    assert (status.intended, status.live, status.inactive, status.binding) == (PARENT, None, PARENT, None)
    assert status.drift == ()


def test_a_filter_that_is_not_ours_is_shown_and_not_judged(bench: Bench) -> None:
    status = bench.status()
    assert (status.intended, status.live, status.inactive) == (None, "clean-traffic", "clean-traffic")
    assert (status.state, status.since, status.drift) == (None, None, ())
    assert {one.uuid for one in bench.statuses()} == {GUEST, OTHER}


@on("no filter")
def test_a_card_without_filter_and_change_is_not_listed(bench: Bench) -> None:
    assert {one.uuid for one in bench.statuses()} == {OTHER}
    bench.apply()
    bench.journal.reach(bench.journal.records()[0], State.UNDONE)
    bench.attach(None, live=True)
    bench.attach(None, live=False)
    assert {one.uuid for one in bench.statuses()} == {OTHER}


def test_a_confirmed_change(bench: Bench) -> None:
    bench.apply()
    pending.confirm(bench.journal.records()[0], bench.journal, boot_clock())
    assert (bench.status().state, bench.drift()) == (State.CONFIRMED, ())


# Interrupted


@pytest.mark.parametrize("begun", range(1, 5))
def test_an_interrupted_change_says_how_to_end_it(bench: Bench, begun: int) -> None:
    plan = plan_for(read_state(bench.path), GUEST)
    record = bench.journal.create(plan)
    assert bench.status().state is None
    for number in range(begun):
        record = bench.journal.begin(record, number)
    assert bench.status().state is State.APPLYING
    assert bench.drift() == ("applying was interrupted: nwscan rollback vm1 restores what was there before",)


def test_an_interrupted_way_back_says_how_to_end_it(bench: Bench) -> None:
    bench.apply()
    bench.journal.undo(bench.journal.records()[0], 3)
    assert bench.drift() == ("undoing was interrupted: nwscan rollback vm1 restores what was there before",)


def test_a_way_back_that_a_process_is_at_says_who_knows_what_keeps_it(bench: Bench) -> None:
    """It tries again without end, where somebody else uses the filter: "going on" alone would be half the truth."""
    bench.apply()
    (record,) = bench.journal.records()
    bench.journal.undo(record, 3)
    now = read_state(bench.path)
    waited = [record.path]
    found = card_statuses(
        cards(now), bench.journal.in_force(), bindings(now), {}, tuple(now.filters), waited_for=waited
    )
    (drift,) = next(one.drift for one in found if one.uuid == GUEST)
    assert drift == (
        "undoing is going on: look again in a moment; where it does not end, "
        "nwscan rollback vm1 says what is in its way"
    )


def test_a_change_that_waits_is_told_of_a_guest_that_is_gone(bench: Bench) -> None:
    clock = boot_clock()
    waited = transaction.Confirmation(lambda: deadline_in(60, clock), lambda _: None)
    transaction.apply(plan_for(read_state(bench.path), GUEST), bench.door, bench.journal, waited)
    bench.change(lambda state: state.guests.pop(GUEST))
    now = read_state(bench.path)
    found = card_statuses(cards(now), bench.journal.in_force(), bindings(now), {}, tuple(now.filters), clock=clock)
    (status,) = (one for one in found if one.uuid == GUEST)
    assert status.pending
    assert status.deadline is not None
    assert status.left_s is not None
    assert 0 < status.left_s <= 60


def test_an_interrupted_change_below_a_finished_one_is_told(bench: Bench) -> None:
    bench.apply()
    bench.apply((parse_mac("52:54:00:00:00:21"),))
    bench.journal.undo(bench.journal.records()[0], 3)
    assert bench.drift() == ("undoing was interrupted: nwscan rollback vm1 restores what was there before",)


def test_a_name_is_quoted_for_the_shell(bench: Bench) -> None:
    bench.change(lambda state: setattr(state.guests[GUEST], "name", "vm 1; reboot"))
    bench.journal.begin(bench.journal.create(plan_for(read_state(bench.path), GUEST)), 0)
    assert "nwscan rollback 'vm 1; reboot' restores" in bench.drift()[0]


# Drift, each with its sentence


def test_the_running_card_was_changed(bench: Bench) -> None:
    bench.apply()
    bench.attach("clean-traffic", live=True)
    assert bench.drift() == (f"the running card has filter clean-traffic instead of {PARENT}: somebody changed it",)
    bench.attach(None, live=True)
    assert bench.drift() == (f"the running card has no filter instead of {PARENT}: somebody changed it",)


def test_the_definition_was_changed(bench: Bench) -> None:
    bench.apply()
    bench.attach(None, live=False)
    assert bench.drift() == (f"the next start will use no filter instead of {PARENT}: somebody changed it",)


def test_the_binding_was_deleted(bench: Bench) -> None:
    bench.apply()
    bench.change(lambda state: state.unbound.append(MAC))
    assert bench.drift() == (
        "libvirt has no binding for the running card: the binding was deleted, or libvirt was restarted badly",
    )


def test_the_binding_is_of_another_filter(bench: Bench) -> None:
    bench.apply()
    now = read_state(bench.path)
    bound = [binding._replace(filter="clean-traffic") for binding in bindings(now)]
    (status, _) = card_statuses(cards(now), bench.journal.in_force(), bound, kernel(), tuple(now.filters))
    assert status.drift == ("libvirt's binding for the running card is of filter clean-traffic: somebody made it",)


def test_the_rules_are_gone(bench: Bench) -> None:
    bench.apply()
    status = bench.status(kernel())
    assert status.rules == 0
    assert status.drift == (
        "the kernel has no rules for the tap: the firewall was reloaded, or the rules were deleted",
    )


@pytest.mark.parametrize("name", [PARENT, CHILD])
def test_a_filter_is_gone(bench: Bench, name: str) -> None:
    bench.apply()
    bench.change(lambda state: state.filters.pop(name))
    assert bench.drift() == (f"filter {name} is gone from libvirt",)


def test_a_filter_was_edited(bench: Bench) -> None:
    bench.apply()
    bench.door.define_filter(read_state(bench.path).filters[CHILD].replace("drop", "accept"))
    assert bench.drift() == (f"filter {CHILD} is not as nwscan defined it: somebody edited it",)
    assert bench.status(texts=False).drift == ()


def test_a_filter_of_another_change_is_as_the_newest_defined_it(bench: Bench) -> None:
    bench.apply()
    first = read_state(bench.path).filters[CHILD]
    bench.apply((parse_mac("52:54:00:00:00:21"),))
    assert bench.drift() == ()
    bench.door.define_filter(first)
    assert bench.drift() == (f"filter {CHILD} is not as nwscan defined it: somebody edited it",)


def test_a_filter_of_somebody_else_without_a_binding(bench: Bench) -> None:
    bench.change(lambda state: state.unbound.append(MAC))
    assert bench.drift() == ("libvirt shows filter clean-traffic on the running card and has no binding for it",)


def test_several_things_at_once_are_all_told(bench: Bench) -> None:
    bench.apply()
    bench.change(lambda state: state.filters.pop(CHILD))
    bench.attach(None, live=True)
    bench.attach(None, live=False)
    assert [line.split()[0:2] for line in bench.drift()] == [["filter", CHILD], ["the", "running"], ["the", "next"]]


# Cards and guests that are gone


def test_of_a_guest_that_is_gone_the_change_is_told(bench: Bench) -> None:
    bench.apply()
    bench.change(lambda state: state.guests.pop(GUEST))
    status = bench.status()
    assert (status.guest, status.mac, status.state) == ("vm1", MAC, State.APPLIED)
    assert status.drift == (f"the guest or its card is gone; nwscan rollback {GUEST} removes what is left",)


@on("two cards")
def test_of_a_card_that_is_gone_the_change_is_told(bench: Bench) -> None:
    bench.apply()

    def unplug(state: HostState) -> None:
        for side in (state.guests[GUEST].live, state.guests[GUEST].inactive):
            assert side is not None
            del side[MACS[1]]

    bench.change(unplug)
    here, gone = (status for status in bench.statuses() if status.uuid == GUEST)
    assert (here.mac, here.drift) == (MAC, ())
    assert (gone.mac, gone.drift) == (
        MACS[1],
        (f"the guest or its card is gone; nwscan rollback {GUEST} removes what is left",),
    )


def test_a_card_plugged_in_for_now_has_no_next_start(bench: Bench) -> None:
    bench.change(lambda state: (state.guests[GUEST].inactive or {}).clear())
    bench.apply()
    status = bench.status()
    assert (status.live, status.inactive, status.drift) == (PARENT, None, ())


def test_a_transient_guest_that_is_gone_and_came_back_without_the_filter(bench: Bench) -> None:
    bench.change(lambda state: setattr(state.guests[GUEST], "inactive", None))
    bench.apply()
    bench.change(lambda state: state.guests.update({GUEST: host(persistent=False).guests[GUEST]}))
    assert bench.drift() == (f"the running card has no filter instead of {PARENT}: somebody changed it",)


def test_a_redefinition_whose_attachment_nobody_remembers(bench: Bench) -> None:
    bench.apply()
    first = bench.journal.records()[0]
    bench.apply((parse_mac("52:54:00:00:00:21"),))
    first.path.unlink()
    assert (bench.status().intended, bench.drift()) == (PARENT, ())
    bench.attach(None, live=True)
    bench.attach(None, live=False)
    assert [status.drift for status in bench.statuses() if status.uuid == GUEST] == [
        (f"the guest or its card is gone; nwscan rollback {GUEST} removes what is left",)
    ]


def test_a_card_whose_mac_nobody_knows(bench: Bench) -> None:
    now = read_state(bench.path)
    nameless = [replace(card, identity=replace(card.identity, macs=())) for card in cards(now)]
    assert [status.mac for status in card_statuses(nameless, (), bindings(now), {}, ())] == ["", ""]
