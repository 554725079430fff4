"""From a remedy to steps: the same commands, what would have been kept away, and what stands against it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from analyzer.causes.explanation import explain
from analyzer.causes.remedies import flood_off_for
from analyzer.host.bridge_words import entry_words, flood_words, typed_words
from analyzer.model.addresses import format_mac, parse_mac
from generator.deploy.door import EntryLook, PortLook
from generator.deploy.hook import hook_name, hook_text
from generator.deploy.plan import InstallHook, SetFdbEntry, SetPortFlag
from generator.deploy.remedy_plan import obstacles, remedy_steps
from generator.suggest.alternatives import removal
from tests.analyzer.test_causes import (
    BRIDGE,
    HOST,
    OTHER_TAP,
    OWN,
    PORTS,
    TAP,
    UPLINK,
    entry,
    look,
    observe,
    remedy,
    the_cause,
)
from tests.generator.deploy.file_door import FileDoor, write_state
from tests.generator.deploy.hosts import HOSTS

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.causes.observation import Observation
    from generator.deploy.door import BridgeDoor

NESTED = parse_mac("52:54:00:00:00:21")


@pytest.fixture
def door(tmp_path: Path) -> BridgeDoor:
    ports = {name: PortLook(3 + number, "br0", flood=True) for number, name in enumerate((TAP, UPLINK, OTHER_TAP))}
    host = HOSTS["no filter"]
    fdb = {format_mac(OWN): EntryLook(TAP, "dynamic")}
    write_state(tmp_path / "host.json", type(host)(host.filters, host.guests, ports=ports, fdb=fdb))
    return FileDoor(tmp_path / "host.json").bridge


def seen_of(**bridge: object) -> Observation:
    changed = replace(BRIDGE, **bridge)  # type: ignore[arg-type]
    return observe(look(-0.5, bridge=changed), look(10.5, entry(OWN, TAP), bridge=changed))


def test_the_steps_run_the_commands_that_are_shown(door: BridgeDoor) -> None:
    seen = seen_of()
    steps = remedy_steps(flood_off_for(seen), seen, door)
    words = []
    for step in steps:
        if isinstance(step, SetFdbEntry):
            words.append(entry_words(parse_mac(step.mac), step.port, step.after))
        elif isinstance(step, SetPortFlag):
            words.append(flood_words(step.port, is_on=step.after))
    assert tuple(map(typed_words, words)) == flood_off_for(seen).commands
    assert [type(step) for step in steps] == [SetFdbEntry, SetPortFlag]
    assert steps[0] == SetFdbEntry(format_mac(OWN), TAP, 3, "br0", format_mac(OWN), "dynamic")


def test_further_macs_of_the_guest_get_an_entry_and_stand_in_the_hook(door: BridgeDoor) -> None:
    seen = seen_of()
    hook, own, nested, flag = remedy_steps(flood_off_for(seen), seen, door, also_macs=(NESTED, OWN), with_hook=True)
    assert isinstance(hook, InstallHook)
    assert hook.macs == (format_mac(OWN), format_mac(NESTED))
    assert isinstance(own, SetFdbEntry)
    assert isinstance(nested, SetFdbEntry)
    assert (nested.mac, nested.before, nested.port) == (format_mac(NESTED), None, TAP)
    assert isinstance(flag, SetPortFlag)


def test_a_silent_destination_gets_its_entry_at_its_own_port(door: BridgeDoor) -> None:
    seen = observe(look(-0.5, entry(age_s=298)), look(10.5))
    static = remedy(the_cause(seen), "static_entry")
    (step,) = remedy_steps(static, seen, door)
    assert step == SetFdbEntry(None, UPLINK, 4, "br0", format_mac(HOST), None)
    told = removal(static, explain(seen))
    assert told is not None
    assert (told.frames_at_least, told.frames_at_most) == (200, 200)


@pytest.mark.parametrize(("metered", "frames"), [(0, 0), (200, 200)])
def test_what_the_bridge_does_not_flood_stays(metered: int, frames: int) -> None:
    """What the meter has not seen was mirrored to the tap, past the bridge."""
    seen = observe(metered_foreign=metered)
    told = removal(flood_off_for(seen), explain(seen))
    assert told is not None
    assert (told.frames_at_least, told.frames_at_most) == (frames, frames)


def reasons(seen: Observation, *, with_hook: bool = False, version: str = "9.0.0") -> list[str]:
    found = obstacles(flood_off_for(seen), seen, with_hook=with_hook, libvirt_version=version)
    return [one.reason for one in found]


def test_it_is_refused_where_it_would_hurt() -> None:
    assert reasons(seen_of()) == []
    assert "filters VLANs" in reasons(seen_of(vlan_filtering=True))[0]
    deaf = tuple(replace(port, flood=False) if port.name == TAP else port for port in PORTS)
    assert "does not flood" in reasons(observe(look(-0.5), look(10.5, ports=deaf)))[0]
    assert "permanent" in reasons(observe(look(-0.5), look(10.5, entry(OWN, TAP, state="permanent"))))[0]
    assert f"at {OTHER_TAP}, not at {TAP}" in reasons(observe(look(-0.5), look(10.5, entry(OWN, OTHER_TAP))))[0]
    kept = replace(entry(OWN, TAP), extern_learn=True)
    assert "control plane" in reasons(observe(look(-0.5), look(10.5, kept)))[0]
    assert "no hooks from a folder" in reasons(seen_of(), with_hook=True, version="6.4.0")[0]
    assert reasons(seen_of(), with_hook=True, version="6.5.0") == []


def test_a_hook_is_of_a_guests_own_tap_only() -> None:
    seen = observe(look(-0.5, entry(age_s=298)), look(10.5))
    static = remedy(the_cause(seen), "static_entry")
    (found,) = obstacles(static, seen, with_hook=True, libvirt_version="9.0.0")
    assert found.reason == "a hook does what is of a guest's own tap"
    assert static.migration in found.hint


def test_what_is_done_already_is_not_planned_again(door: BridgeDoor) -> None:
    seen = seen_of()
    first = remedy_steps(flood_off_for(seen), seen, door, with_hook=True)
    hook = next(step for step in first if isinstance(step, InstallHook))
    uuid = seen.identity.uuid or ""
    door.write_hook(hook_name(uuid, hook.card), hook_text(uuid, hook.card, hook.bridge, hook.macs))
    door.set_entry(OWN, TAP, "static")
    door.set_flood(TAP, is_on=False)
    assert remedy_steps(flood_off_for(seen), seen, door, with_hook=True) == ()


def test_an_entry_for_a_port_that_is_gone_is_left_out(tmp_path: Path) -> None:
    host = HOSTS["no filter"]
    write_state(tmp_path / "host.json", type(host)(host.filters, host.guests))
    seen = seen_of()
    assert remedy_steps(flood_off_for(seen), seen, FileDoor(tmp_path / "host.json").bridge) == ()
