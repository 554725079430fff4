"""Undoing a change on a host where much has happened meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from analyzer.errors import RollbackIncompleteError
from generator.nwfilter.xml import read_filterref, with_filterref
from tests.generator.deploy.bench import (
    CHILD,
    EXTRA,
    MAC,
    PARENT,
    Bench,
    off,
    rolled_back,
    transient,
    two_cards,
    unfiltered,
)
from tests.generator.deploy.file_door import FileDoor
from tests.generator.deploy.hosts import GUEST, MACS, PARAMETERS, host

if TYPE_CHECKING:
    from pathlib import Path

    from tests.generator.deploy.file_door import HostState


@two_cards
def test_every_step_is_undone_even_when_one_fails(bench: Bench) -> None:
    bench.apply()
    bench.refuse(f"update_interface {MACS[1]}")
    with pytest.raises(RollbackIncompleteError):
        bench.rollback()
    first, second = (bench.door.interface_xml(GUEST, mac, live=True) for mac in MACS)
    assert first == (bench.before.guests[GUEST].live or {})[MAC]
    assert "nwscan" in (second or "")


# What became of the guest meanwhile


def test_a_card_that_somebody_changed_is_left_alone(bench: Bench) -> None:
    bench.apply()
    bench.attach(None, live=True)
    lines = rolled_back(bench.rollback())
    assert f"left card {MAC} of vm1, running alone: its filter was changed by somebody else" in lines
    assert "filterref" not in (bench.door.interface_xml(GUEST, MAC, live=True) or "")
    assert bench.now.filters == bench.before.filters
    assert bench.rollback() == ()


def test_a_filter_that_somebody_edited_is_still_ours_to_remove(bench: Bench) -> None:
    bench.apply()
    text = bench.now.filters[CHILD]
    bench.door.define_filter(text.replace("drop", "accept"))
    bench.rollback()
    assert bench.now == bench.before


def test_a_filter_that_is_somebody_elses_now_is_left_alone(bench: Bench) -> None:
    bench.apply()
    theirs = f"<filter name='{CHILD}' chain='root'><uuid>6f1a3c5e-0000-4000-8000-0000000000ff</uuid></filter>"

    def act(state: HostState) -> None:
        state.filters[CHILD] = theirs

    bench.change(act)
    assert f"left filter {CHILD} alone: it is no longer ours" in rolled_back(bench.rollback())
    assert bench.now.filters == bench.before.filters | {CHILD: theirs}


def test_a_filter_that_others_use_stays_until_they_do_not(bench: Bench) -> None:
    """A clone's definition: libvirt would remove the filter, and the clone would not start."""
    bench.apply()
    clone = "52:54:00:00:00:77"

    def add(state: HostState) -> None:
        state.guests["clone"] = msgspec.structs.replace(
            state.guests[GUEST], name="clone", live=None, inactive={clone: (state.guests[GUEST].inactive or {})[MAC]}
        )

    bench.change(add)
    with pytest.raises(RollbackIncompleteError, match=rf"{PARENT} is still used by guest clone \(next start\)"):
        bench.rollback()
    assert bench.now.guests[GUEST] == bench.before.guests[GUEST]
    assert PARENT in bench.now.filters
    bench.change(lambda state: state.guests.pop("clone"))
    bench.rollback()
    assert bench.now == bench.before


@pytest.mark.parametrize("name", ["clean-traffic", "only what runs is filtered", "only the next start is filtered"])
def test_a_guest_restarted_meanwhile_is_what_it_would_have_been(tmp_path: Path, name: str) -> None:
    bench = Bench(tmp_path, name)
    bench.apply()

    def restart(state: HostState) -> None:
        guest = state.guests[GUEST]
        kept = (guest.inactive or {})[MAC]
        guest.live = {MAC: with_filterref((guest.live or {})[MAC], read_filterref(kept))}

    bench.change(restart)
    bench.rollback()
    after, before = bench.now.guests[GUEST], bench.before.guests[GUEST]
    assert after.inactive == before.inactive
    running = read_filterref((after.live or {})[MAC])
    assert running in {read_filterref((side or {})[MAC]) for side in (before.live, before.inactive)}
    assert bench.now.filters == bench.before.filters


def test_a_guest_stopped_meanwhile_is_restored_for_its_next_start(bench: Bench) -> None:
    bench.apply()
    bench.change(lambda state: setattr(state.guests[GUEST], "live", None))
    bench.rollback()
    assert bench.now.guests[GUEST].inactive == bench.before.guests[GUEST].inactive
    assert bench.now.filters == bench.before.filters


@off
def test_a_guest_started_meanwhile_is_restored_on_both_sides(bench: Bench) -> None:
    bench.apply()

    def start(state: HostState) -> None:
        started = host(inactive=PARAMETERS).guests[GUEST]
        ref = read_filterref((state.guests[GUEST].inactive or {})[MAC])
        state.guests[GUEST].live = {MAC: with_filterref((started.live or {})[MAC], ref)}

    bench.change(start)
    lines = rolled_back(bench.rollback())
    assert f"restored card {MAC} of vm1, running" in lines
    ref = read_filterref((bench.now.guests[GUEST].live or {})[MAC])
    assert ref is not None
    assert (ref.filter, ref.parameters) == ("clean-traffic", PARAMETERS)
    assert bench.now.filters == bench.before.filters


@transient
def test_a_guest_defined_meanwhile_is_restored_on_both_sides(bench: Bench) -> None:
    bench.apply()
    bench.change(lambda state: setattr(state.guests[GUEST], "inactive", dict(state.guests[GUEST].live or {})))
    bench.rollback()
    assert bench.now.guests[GUEST].live == bench.before.guests[GUEST].live
    assert bench.now.guests[GUEST].inactive == bench.before.guests[GUEST].live
    assert bench.now.filters == bench.before.filters


def test_of_a_guest_that_is_gone_the_filters_are_removed(bench: Bench) -> None:
    bench.apply()
    bench.change(lambda state: state.guests.pop(GUEST))
    assert rolled_back(bench.rollback()) == [f"removed filter {PARENT}", f"removed filter {CHILD}"]
    assert bench.now.filters == bench.before.filters
    assert bench.rollback() == ()


def test_a_card_that_is_gone_keeps_nothing(bench: Bench) -> None:
    bench.apply()

    def unplug(state: HostState) -> None:
        (state.guests[GUEST].live or {}).clear()

    bench.change(unplug)
    bench.rollback()
    assert bench.now.guests[GUEST].inactive == bench.before.guests[GUEST].inactive
    assert bench.now.filters == bench.before.filters


# What libvirt says it did is not believed


class Lying(FileDoor):
    """A libvirt that makes something else of every filter that it is given."""

    def define_filter(self, xml: str) -> None:
        super().define_filter(xml.replace("drop", "accept"))


class Deaf(FileDoor):
    """A libvirt that takes a change of a card and does nothing."""

    def update_interface(self, guest: str, xml: str, *, live: bool) -> None:
        pass


def test_a_filter_that_does_not_come_back_as_it_was_is_told_of(bench: Bench) -> None:
    bench.apply()
    bench.apply(bench.plan(EXTRA))  # the second change redefines the child, so that undoing it defines it again
    bench.door = Lying(bench.path)
    with pytest.raises(RollbackIncompleteError, match=f"libvirt made something else of filter {CHILD}"):
        bench.rollback()
    bench.door = FileDoor(bench.path)
    bench.rollback()
    assert bench.now == bench.before


def test_a_card_that_does_not_show_what_was_restored_is_told_of(bench: Bench) -> None:
    bench.apply()
    bench.door = Deaf(bench.path)
    with pytest.raises(RollbackIncompleteError, match=f"libvirt took the change of card {MAC} and does not show it"):
        bench.rollback()
    bench.door = FileDoor(bench.path)
    bench.rollback()
    assert bench.now == bench.before


@unfiltered
def test_chains_that_are_in_libvirts_way_are_told_of(bench: Bench) -> None:
    bench.apply()
    for live in (True, False):
        bench.attach(None, live=live)
    bench.change(lambda state: state.stray.append(MAC))
    bench.refuse(f"update_interface {MAC} True")
    with pytest.raises(
        RollbackIncompleteError, match=r"refused: .*half made are in its way.*ebtables -t nat -F, -D, -X"
    ):
        bench.rollback()
    bench.refuse()
    assert f"removed rules that libvirt had left on card {MAC} of vm1, running" in rolled_back(bench.rollback())
    assert bench.now == bench.before


@unfiltered
def test_rules_that_stay_whatever_libvirt_does_are_told_of(bench: Bench) -> None:
    bench.apply()
    for live in (True, False):
        bench.attach(None, live=live)
    bench.change(lambda state: state.stray.append(MAC))
    bench.door = Deaf(bench.path)
    with pytest.raises(RollbackIncompleteError, match="the kernel still has rules of a filter on card"):
        bench.rollback()
    assert bench.journal.in_force() != ()
    assert bench.now.filters == bench.before.filters
    bench.door = FileDoor(bench.path)  # the next try needs our filter again, which the first has removed
    assert f"removed rules that libvirt had left on card {MAC} of vm1, running" in rolled_back(bench.rollback())
    assert bench.now == bench.before
