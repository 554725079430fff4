"""Which guards stand on which card: by the profile, by what was lost before, by the filter that was there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from analyzer.model.classes import FrameClass
from analyzer.model.guards import GUARD_CLASS, GuardKind
from generator.deploy.journal_record import JournalRecord
from generator.deploy.plan import Attach, DefineFilter
from nwscan.watch.guarding import _loss_watch
from tests.generator.deploy.file_door import cards, plan_for
from tests.generator.deploy.hosts import GUEST, HOSTS

if TYPE_CHECKING:
    from analyzer.compare.guard_watch import LossWatch
    from generator.deploy.plan import Step


def watch(host: str, profile: str = "mac", *, drops_sent: bool = True) -> LossWatch:
    """What is watched on the card of a host's guest while a change of this profile waits."""
    state = HOSTS[host]
    plan = msgspec.structs.replace(plan_for(state, GUEST), profile=profile)
    if drops_sent:
        plan = msgspec.structs.replace(plan, steps=tuple(map(dropping_sent, plan.steps)))
    card = next(one.identity for one in cards(state) if one.identity.uuid == GUEST)
    assert any(isinstance(step, Attach) and step.live for step in plan.steps)
    return _loss_watch(card, JournalRecord(Path("none"), "", plan, ()), ())


def dropping_sent(step: Step) -> Step:
    """Give the step with a filter that also drops some of what the guest sends."""
    rule = "<rule action='drop' direction='inout' priority='50'><mac protocolid='0x88b5'/></rule>"
    if not isinstance(step, DefineFilter):
        return step
    return msgspec.structs.replace(step, after=step.after.replace("<rule ", f"{rule}<rule ", 1))


def kinds_of(found: LossWatch) -> set[GuardKind]:
    return set(found._kinds)


def test_without_an_older_filter_three_lost_frames_of_any_kind_tell() -> None:
    found = watch("no filter")
    assert kinds_of(found) == set(GuardKind)
    assert found._thinned == frozenset()


def test_what_the_guest_sends_is_not_watched_where_the_filter_drops_nothing_of_it() -> None:
    """The host refuses broken frames by itself: a guest that sends them must not decide on its filter."""
    classes = {GUARD_CLASS[kind] for kind in kinds_of(watch("no filter", drops_sent=False))}
    assert classes == {FrameClass.UNICAST_TO_GUEST, FrameClass.BROADCAST, FrameClass.MULTICAST}


@pytest.mark.parametrize("profile", ["strict", "allow-ipv4"])
def test_what_a_profile_thins_is_not_watched(profile: str) -> None:
    found = watch("no filter", profile)
    classes = {GUARD_CLASS[kind] for kind in kinds_of(found)}
    assert classes == {FrameClass.UNICAST_TO_GUEST, FrameClass.FROM_GUEST}
    assert found._thinned == kinds_of(found)


def test_where_a_profile_drops_by_address_only_a_complete_loss_tells() -> None:
    assert watch("no filter", "ip")._thinned == set(GuardKind)


@pytest.mark.parametrize("host", ["clean-traffic", "only what runs is filtered"])
def test_beside_an_older_filter_nothing_is_watched_before_it_is_known_what_came_through(host: str) -> None:
    assert kinds_of(watch(host)) == set()
