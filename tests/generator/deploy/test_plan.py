"""Plans as documents: what a person reads, what another run may carry out, and what nobody may."""

from __future__ import annotations

import msgspec
import pytest

from analyzer.errors import InputError
from generator.deploy.plan import Attach, DefineFilter, Plan, check, decode, describe, diff, digest, encode
from tests.generator.deploy.file_door import plan_for
from tests.generator.deploy.hosts import GUEST, HOSTS, MACS


def plan() -> Plan:
    return plan_for(HOSTS["clean-traffic"], GUEST)


def with_step(changed: int, **changes: object) -> Plan:
    steps = list(plan().steps)
    steps[changed] = msgspec.structs.replace(steps[changed], **changes)
    return msgspec.structs.replace(plan(), steps=tuple(steps))


def test_a_plan_is_read_back_as_it_was_written() -> None:
    for host in HOSTS.values():
        made = plan_for(host, GUEST)
        assert decode(encode(made)) == made


def test_a_plan_names_its_filters_and_cards() -> None:
    made = plan_for(HOSTS["two cards"], GUEST)
    assert made.filters == ("nwscan-6e777363-0-mac", "nwscan-6e777363-0", "nwscan-6e777363-1-mac", "nwscan-6e777363-1")
    assert made.macs == MACS


def test_each_step_is_one_line() -> None:
    child, parent, live, inactive = plan().steps
    assert describe(child) == "define filter nwscan-6e777363-0-mac"
    assert describe(msgspec.structs.replace(parent, before="<filter/>")) == "redefine filter nwscan-6e777363-0"
    assert describe(live) == "attach to the running card 52:54:00:00:00:01"
    assert describe(inactive) == "attach for the next start 52:54:00:00:00:01"


def test_the_diff_shows_what_changes_and_where() -> None:
    shown = diff(plan())
    assert "--- before/interface/52:54:00:00:00:01/live\n+++ after/interface/52:54:00:00:00:01/live\n" in shown
    assert "-      <filterref filter='clean-traffic'>\n+      <filterref filter='nwscan-6e777363-0'>\n" in shown
    assert "+  <filterref filter='clean-traffic'/>\n" in shown
    assert "192.0.2.101" in shown
    assert all(line.startswith((" ", "+", "-", "@")) for line in shown.splitlines())


def test_what_was_read_has_a_digest() -> None:
    assert digest(None) == "absent"
    assert digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"schema": "nwscan.plan/2"}',
        b'{"schema": "nwscan.plan/1"}',
        b"\xff\xfe",
        b'{"schema": "nwscan.plan/1", "profile": "\xd0"}',
        b"[" * 10**6,
    ],
)
def test_what_is_no_plan_is_refused(document: bytes) -> None:
    with pytest.raises(InputError, match="not a plan"):
        decode(document, "PLAN.json")


def test_an_oversized_plan_is_refused() -> None:
    with pytest.raises(InputError, match="above the limit"):
        decode(b" " * (16 * 1024 * 1024 + 1))


FOREIGN_CHILD = "<filter name='no-ip-spoofing' chain='root'><uuid>6f1a3c5e-0000-4000-8000-000000000002</uuid></filter>"


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (with_step(0, name="clean-traffic"), "filter clean-traffic is not one of nwscan's"),
        (with_step(0, before=FOREIGN_CHILD), "is of no-ip-spoofing"),
        (with_step(0, after=FOREIGN_CHILD), "is of no-ip-spoofing"),
        (with_step(0, uuid="6f1a3c5e-0000-4000-8000-000000000002"), "not of 6f1a3c5e"),
        (with_step(0, after="<filter"), "no well-formed XML"),
        (with_step(0, after="<domain/>"), "no filter"),
        (with_step(2, after="<interface/>"), "changes more of card"),
        (with_step(2, after="<disk/>"), "no interface"),
        (with_step(2, before="<interface", after="<interface"), "no well-formed XML"),
        (with_step(2, after=plan().steps[2].before), "attaches filter clean-traffic"),
        (with_step(3, live=True), "changes one thing twice"),
        (msgspec.structs.replace(plan(), guest="vm1"), "no uuid of a guest"),
    ],
)
def test_what_is_not_ours_to_change_is_refused(made: Plan, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        check(made)
    with pytest.raises(InputError, match=complaint):
        decode(encode(made))


def test_a_plan_may_not_take_a_filter_away() -> None:
    live = plan_for(HOSTS["no filter"], GUEST).steps[2]
    assert isinstance(live, Attach)
    made = Plan("nwscan.plan/1", GUEST, "vm1", "", (msgspec.structs.replace(live, after=live.before),))
    with pytest.raises(InputError, match="attaches no filter"):
        check(made)


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = DefineFilter("clean-traffic", "x", None, "<filter")
    with pytest.raises(InputError, match=r"no uuid of a guest; filter clean-traffic .*; define filter clean-traffic: "):
        check(Plan("nwscan.plan/1", "", "", "", (wrong,)))
