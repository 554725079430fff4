"""The file of a plan: one guest or several, what may not stand in it, what it reaches, what it rests on."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from analyzer.errors import HostError, InputError
from generator.deploy import transaction
from generator.deploy.blast_radius import BlastRadius, MigrationTarget, missing_there, reach, to_document
from generator.deploy.journal import Journal
from generator.deploy.plan import SIZE_LIMIT, Plan, Reinstall, SetFdbEntry, SetPortFlag, check, diff
from generator.deploy.plan_file import decode_plans, encode_plans, schemas
from generator.deploy.preconditions import filter_precondition, users_precondition
from tests import published
from tests.generator.deploy.file_door import FileDoor, plan_for, read_state, remedy_for, repair_for, write_state
from tests.generator.deploy.hosts import GUEST, HOSTS, MACS, OTHER, STOCK

if TYPE_CHECKING:
    from pathlib import Path

HOST = HOSTS["clean-traffic"]


def both() -> tuple[Plan, ...]:
    return plan_for(HOST, GUEST), remedy_for(HOST, OTHER)


def test_what_is_written_is_read() -> None:
    assert decode_plans(encode_plans(both())) == both()
    assert decode_plans(encode_plans(both()[:1])) == both()[:1]


@pytest.mark.parametrize(
    "document",
    [b"", b"{", b"[]", b'{"schema": "nwscan.plans/2"}', b'{"schema": "nwscan.plans/1", "plans": []}', b"\xff" * 9],
)
def test_what_is_no_plan_is_refused(document: bytes) -> None:
    with pytest.raises(InputError):
        decode_plans(document)


def test_two_plans_of_one_guest_are_refused() -> None:
    with pytest.raises(InputError, match="one guest each"):
        decode_plans(encode_plans((plan_for(HOST, GUEST), remedy_for(HOST, GUEST))))


def changed(plan: Plan, index: int, **values: object) -> Plan:
    step = msgspec.structs.replace(plan.steps[index], **values)
    return msgspec.structs.replace(plan, steps=(*plan.steps[:index], step, *plan.steps[index + 1 :]))


@pytest.mark.parametrize(
    ("index", "values", "complaint"),
    [
        (0, {"bridge": "br0; reboot"}, "not the name of a network interface"),
        (0, {"macs": ("52:54:00:00:00:01 & reboot",)}, "not a MAC"),
        (1, {"mac": "01:00:5e:00:00:01"}, "no address of a machine"),
        (1, {"port": "$(reboot)"}, "not the name of a network interface"),
        (1, {"card": "ff:ff:ff:ff:ff:ff"}, "no address of a machine"),
        (2, {"before": False, "after": True}, "does not turn flooding off"),
    ],
)
def test_a_bridge_step_that_is_not_ours_is_refused(index: int, values: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        check(changed(remedy_for(HOST, GUEST), index, **values))


def test_rules_of_somebody_else_are_not_made_anew() -> None:
    live = HOST.guests[GUEST].live
    assert live is not None
    plan = msgspec.structs.replace(plan_for(HOST, GUEST), steps=(Reinstall(MACS[0], live[MACS[0]]),))
    with pytest.raises(InputError, match="not nwscan's"):
        check(plan)


def test_an_entry_is_never_permanent() -> None:
    text = encode_plans([remedy_for(HOST, GUEST)]).replace(b'"after": "static"', b'"after": "permanent"')
    with pytest.raises(InputError):
        decode_plans(text)


def test_the_diff_of_a_remedy_shows_flags_entries_and_the_whole_hook() -> None:
    shown = diff(remedy_for(HOST, GUEST)).splitlines()
    assert {"-flood on", "+flood off", f"+{MACS[0]} dev vnet01 master static", "+#!/bin/sh"} <= set(shown)


def test_what_a_plan_reaches() -> None:
    filters, remedy = (reach(plan) for plan in both())
    assert (filters.guest, filters.cards, filters.taps, filters.next_start) == ("vm1", (MACS[0],), ("vnet01",), True)
    assert filters.undo == "nwscan rollback vm1"
    assert filters.defines == filters.needs == ("nwscan-6e777363-0-mac", "nwscan-6e777363-0")
    assert (remedy.guest, remedy.ports, remedy.open_taps) == ("vm2", ("vnet99 of br0",), ())
    document = to_document(BlastRadius((filters, remedy), "ebtables", (MigrationTarget("there", ("a",)),)))
    published.check(json.loads(json.dumps(document)))
    assert [one["guest"] for one in document["guests"]] == ["vm1", "vm2"]
    assert document["migration_targets"] == [{"uri": "there", "lacking": ("a",), "differing": (), "error": None}]


@pytest.mark.parametrize("name", ["nwscan.plan/1", "nwscan.plans/1"])
def test_the_schema_is_published_as_it_is_generated(name: str) -> None:
    path = published.FOLDER / f"{name.removeprefix('nwscan.').replace('/', '-')}.json"
    text = json.dumps(schemas()[name], indent=2) + "\n"
    if os.environ.get("NWSCAN_REGENERATE"):
        path.write_text(text)
    assert path.read_text() == text, "write it anew with make docs"


def test_plans_of_every_kind_of_step_are_as_published() -> None:
    plans = (*both(), repair_for(HOST, GUEST))
    published.check(json.loads(encode_plans(plans)))
    for plan in plans:
        published.check(json.loads(encode_plans((plan,))))


def test_what_another_host_lacks() -> None:
    plan = plan_for(HOST, GUEST)
    plan = msgspec.structs.replace(plan, preconditions=(filter_precondition("clean-traffic", STOCK),))
    child, parent = plan.filters
    there = {child: plan.steps[0].after.replace("drop", "accept"), "clean-traffic": STOCK}  # type: ignore[union-attr]
    assert missing_there([plan], there, {"clean-traffic": STOCK}) == ([parent], [child])
    assert missing_there([plan], {}, {}) == ([child, parent, "clean-traffic"], [])


@pytest.mark.parametrize("kind", ["filter", "users"])
def test_what_a_plan_rests_on_is_looked_at_before_anything_is_done(tmp_path: Path, kind: str) -> None:
    path, journal = tmp_path / "host.json", Journal(tmp_path / "journal")
    write_state(path, HOST)
    plan = plan_for(HOST, GUEST)
    held = {
        "filter": filter_precondition("clean-traffic", STOCK),
        "users": users_precondition(plan.filters[0], ()),
    }
    plan = msgspec.structs.replace(plan, preconditions=tuple(held.values()))
    state = read_state(path)
    if kind == "filter":
        state.filters["clean-traffic"] += "\n"
    else:
        state.filters["mine"] = STOCK.replace("no-ip-spoofing", plan.filters[0])
    write_state(path, state)
    with pytest.raises(HostError, match=r"clean-traffic has changed|others refer to"):
        transaction.apply(plan, FileDoor(path), journal)
    assert (read_state(path), journal.records()) == (state, ())
    write_state(path, HOST)
    transaction.apply(plan, FileDoor(path), journal)


def test_a_port_that_is_another_one_now_is_refused(tmp_path: Path) -> None:
    path, journal = tmp_path / "host.json", Journal(tmp_path / "journal")
    plan = remedy_for(HOST, GUEST)
    assert [type(step) for step in plan.steps[1:]] == [SetFdbEntry, SetPortFlag]
    for values in ({"ifindex": 99}, {"bridge": "br1"}, {"flood": False}):
        state = read_state(path) if path.exists() else HOST
        ports = {**HOST.ports, "vnet01": HOST.ports["vnet01"]._replace(**values)}  # type: ignore[arg-type]
        state = msgspec.structs.replace(state, ports=ports)
        write_state(path, state)
        with pytest.raises(HostError):
            transaction.apply(plan, FileDoor(path), journal)
        assert (read_state(path), journal.records()) == (state, ())


def test_a_file_that_is_too_long_for_a_plan_is_not_looked_at() -> None:
    with pytest.raises(InputError, match=f"a plan of {SIZE_LIMIT + 1} octets is above the limit"):
        decode_plans(b" " * (SIZE_LIMIT + 1))


def test_making_rules_anew_changes_no_text() -> None:
    assert diff(repair_for(HOST, GUEST)) == ""
