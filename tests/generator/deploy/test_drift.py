"""Each cause of drift has its sentence, from what was seen: migrations, restarts, deleted rules, nobody who waits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from generator.deploy import transaction
from generator.deploy.door import EntryLook, PortLook
from generator.deploy.drift import DriftCause, bridge_drift, card_drift, overdue
from generator.deploy.journal import Journal
from generator.deploy.plan import SetFdbEntry
from generator.deploy.repair import repair_steps
from generator.deploy.status import CardStatus, card_statuses, changes_of
from tests.generator.deploy.file_door import (
    FileDoor,
    bindings,
    bridge_looks,
    cards,
    plan_for,
    read_state,
    remedy_for,
    write_state,
)
from tests.generator.deploy.hosts import GUEST, HOSTS

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.host.guests import GuestCard
    from generator.deploy.drift import BridgeLooks, Drift
    from generator.deploy.journal_record import JournalRecord

TAP, PARENT = "vnet01", "nwscan-6e777363-0"


class Applied:
    """A guest with our filter and, where it is asked for, a bridge remedy: the values that drift is told from."""

    def __init__(self, folder: Path, *, remedy: bool = False) -> None:
        self.path, self.journal = folder / "host.json", Journal(folder / "journal")
        write_state(self.path, HOSTS["no filter"])
        for make in (plan_for, remedy_for) if remedy else (plan_for,):
            transaction.apply(make(read_state(self.path), GUEST), FileDoor(self.path), self.journal)

    @property
    def card(self) -> GuestCard:
        return next(card for card in cards(read_state(self.path)) if card.identity.uuid == GUEST)

    @property
    def about(self) -> tuple[JournalRecord, ...]:
        return changes_of(self.card, self.journal.in_force())

    @property
    def looks(self) -> BridgeLooks:
        return bridge_looks(read_state(self.path))

    def status(self, **changed: object) -> CardStatus:
        now = read_state(self.path)
        all_of_them = card_statuses(
            cards(now), self.journal.in_force(), bindings(now), {}, tuple(now.filters), now.filters, self.looks
        )
        return replace(next(one for one in all_of_them if one.uuid == GUEST), **changed)  # type: ignore[arg-type]

    def drift(self, *, no_rules_anywhere: bool = True, migrated: str | None = None, **changed: object) -> list[Drift]:
        card = replace(self.card, migrated=migrated)  # type: ignore[arg-type]
        return list(card_drift(self.status(**changed), card, self.about, no_rules_anywhere=no_rules_anywhere))


@pytest.fixture
def applied(tmp_path: Path) -> Applied:
    return Applied(tmp_path)


@pytest.fixture
def remedied(tmp_path: Path) -> Applied:
    return Applied(tmp_path, remedy=True)


def test_nothing_is_said_where_nothing_drifted(applied: Applied) -> None:
    assert applied.drift() == []


def test_a_guest_that_went_to_another_host_needs_its_filters_there(applied: Applied) -> None:
    (drift,) = applied.drift(migrated="away")
    assert (drift.cause, drift.can_repair) == (DriftCause.MIGRATED, False)
    assert drift.sentence == "the guest was migrated to another host; there it needs the same filters"


def test_a_guest_that_came_from_another_host_has_the_filter_of_that_host(applied: Applied) -> None:
    (drift,) = applied.drift(migrated="here", live=None)
    assert (drift.cause, drift.can_repair) == (DriftCause.MIGRATED, True)
    assert drift.sentence == (
        f"the running card has no filter instead of {PARENT}: the guest was migrated to this host since"
    )


def test_a_tap_of_another_name_is_a_guest_that_was_started_anew(applied: Applied) -> None:
    (drift,) = applied.drift(live="other", tap="vnet9")
    assert drift.cause is DriftCause.GUEST_RESTARTED
    assert drift.sentence == (
        f"the running card has filter other instead of {PARENT}: the guest was started anew since ({TAP} is vnet9 now),"
        " from XML without it"
    )


@pytest.mark.parametrize(
    ("nowhere", "cause", "words"),
    [
        (True, DriftCause.FIREWALL_RELOADED, "the firewall was reloaded, or the rules were deleted"),
        (False, DriftCause.RULES_DELETED, "while other taps have theirs: somebody deleted them"),
    ],
)
def test_rules_that_are_gone_here_and_not_elsewhere_were_deleted(
    applied: Applied,
    nowhere: bool,  # noqa: FBT001 - pytest gives it
    cause: DriftCause,
    words: str,
) -> None:
    (drift,) = applied.drift(rules=0, no_rules_anywhere=nowhere)
    assert drift.cause is cause
    assert words in drift.sentence


def test_a_binding_of_another_filter_is_somebody_elses(applied: Applied) -> None:
    (drift,) = applied.drift(binding="other")
    assert (drift.cause, "is of filter other" in drift.sentence) == (DriftCause.BINDING_CHANGED, True)


@pytest.mark.parametrize(
    ("left_s", "words"),
    [
        (None, "before the host was started anew, and nothing undoes it by itself: nwscan rollback vm1"),
        (-1.0, "the process that would undo it is gone: nwscan rollback vm1"),
        (5.0, "at the deadline is gone: nwscan confirm vm1, or nwscan rollback vm1"),
    ],
)
def test_a_change_that_nobody_waits_for_says_what_to_do(applied: Applied, left_s: float | None, words: str) -> None:
    waiting = applied.status(pending=True, left_s=left_s)
    (drift,) = overdue(waiting, applied.about, ())
    assert (drift.cause, drift.can_repair) == (DriftCause.NOBODY_WAITS, False)
    assert drift.sentence.endswith(words)
    found = list(overdue(waiting, applied.about, [applied.about[0].path]))
    assert found == ([] if left_s is not None else [drift])


def test_a_card_that_was_moved_to_another_bridge_is_told_of_and_not_repaired(remedied: Applied) -> None:
    looks = replace(remedied.looks, ports={TAP: PortLook(7, "br1", flood=True)}, entries={})
    drifts = list(bridge_drift(remedied.status(), remedied.about, looks))
    assert [(one.cause, one.can_repair) for one in drifts] == [
        (DriftCause.PORT_CHANGED, True),
        (DriftCause.CARD_CHANGED, False),
    ]
    assert drifts[1].sentence == f"{TAP} is not on br0 any more: the card was moved"
    status = remedied.status(findings=tuple(drifts))
    assert repair_steps(status, remedied.card, remedied.about, read_state(remedied.path).filters, looks) == ()


def test_a_tap_that_is_on_no_bridge_is_told_of_once(remedied: Applied) -> None:
    looks = replace(remedied.looks, ports={}, entries={})
    (drift,) = bridge_drift(remedied.status(), remedied.about, looks)
    assert drift.cause is DriftCause.CARD_CHANGED


def test_a_guest_that_is_off_has_no_port_to_tell_of(remedied: Applied) -> None:
    assert list(bridge_drift(remedied.status(tap=None), remedied.about, remedied.looks)) == []


def test_an_entry_of_no_card_that_is_gone_is_told_of(applied: Applied) -> None:
    """The remedy for a silent destination: an entry at the port of another machine."""
    step = SetFdbEntry(None, TAP, 7, "br0", "02:00:00:00:00:99", None)
    record = replace(applied.about[0], plan=structs.replace(applied.about[0].plan, steps=(step,)))
    (drift,) = bridge_drift(applied.status(), [record], applied.looks)
    assert drift.cause is DriftCause.PORT_CHANGED
    assert drift.sentence == (
        f"br0 has no static entry of 02:00:00:00:00:99 at {TAP} any more: "
        "the port was made anew, or somebody changed it"
    )
    there = replace(applied.looks, entries={("br0", 0x020000000099): EntryLook(TAP, "static")})
    assert list(bridge_drift(applied.status(), [record], there)) == []


def test_a_remedy_alone_is_repaired_without_touching_filters(tmp_path: Path) -> None:
    """A card whose only change is a bridge remedy: no filter is intended, and none is put on."""
    applied = Applied(tmp_path)
    transaction.rollback(GUEST, FileDoor(applied.path), applied.journal)
    transaction.apply(remedy_for(read_state(applied.path), GUEST), FileDoor(applied.path), applied.journal)
    state = read_state(applied.path)
    state.ports[TAP] = state.ports[TAP]._replace(flood=True)
    write_state(applied.path, state)
    status = applied.status()
    assert (status.intended, [one.cause for one in status.findings]) == (None, [DriftCause.PORT_CHANGED])
    steps = repair_steps(status, applied.card, applied.about, state.filters, applied.looks)
    assert [type(step).__name__ for step in steps] == ["SetPortFlag"]
    assert repair_steps(status, applied.card, applied.about, state.filters, None) == ()


def test_a_guest_that_is_off_is_repaired_for_its_next_start(applied: Applied) -> None:
    off = replace(applied.card, running=False, live_xml=None)
    (drift,) = card_drift(applied.status(inactive=None), off, applied.about, no_rules_anywhere=True)
    assert "the next start will use no filter" in drift.sentence
    status = applied.status(inactive=None, tap=None, findings=(drift,))
    steps = repair_steps(status, off, applied.about, read_state(applied.path).filters, None)
    assert [(type(step).__name__, step.live) for step in steps] == [("Attach", False)]  # type: ignore[union-attr]
