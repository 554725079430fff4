"""A host without /proc, without services(5), a process that can import nothing more: something is said all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analyzer.classify import brief
from analyzer.errors import HostError, InputError, NwscanError, RollbackIncompleteError, UsageError, error_for
from analyzer.host import boot_clock
from analyzer.host.rule_listings import KernelRule, action_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TCP = bytes.fromhex("525400000001 020000000001 0800 4500002800000000400600000a0000010a000002 00160050") + bytes(8)
TCP += bytes.fromhex("5002") + bytes(6)
"""From port 22 to port 80, SYN."""


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "services"
    monkeypatch.setattr(brief, "_SERVICES", path)
    brief._names.cache_clear()
    yield path
    brief._names.cache_clear()


def test_ports_have_their_numbers_where_no_names_are_installed(services: Path) -> None:
    assert not services.exists()
    assert brief.describe_briefly(TCP) == "Ether / IP / TCP 10.0.0.1:22 > 10.0.0.2:80 S"


def test_names_of_ports_are_those_of_the_file_as_scapy_takes_them(services: Path) -> None:
    services.write_text(
        "ssh 22/tcp # secure\nodd-name 80/tcp\nwrong eighty/tcp\n3com 80/tcp\nudp-only 22/udp\nlonely\n"
    )
    brief.load_names()
    services.unlink()  # a confined process opens nothing: what was read stays
    assert brief.describe_briefly(TCP) == "Ether / IP / TCP 10.0.0.1:ssh > 10.0.0.2:n_3com S"
    assert brief._names("udp") == {22: "udp_only"}


def test_without_proc_every_boot_is_taken_for_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(boot_clock, "_BOOT_ID", tmp_path / "absent")
    assert boot_clock.boot_clock() == boot_clock.BootClock("unknown")


@pytest.mark.parametrize("kind", [UsageError, InputError, RollbackIncompleteError, HostError])
def test_an_error_crosses_a_process_boundary_as_it_is(kind: type[NwscanError]) -> None:
    error = kind("what", "where", "hint")
    again = error_for(error.exit_code, error.what, error.where, error.hint)
    assert (type(again), again.what, again.where, again.hint) == (kind, "what", "where", "hint")
    assert type(error_for(99, "what", "where", "hint")) is HostError


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("-d 52:54:00:00:00:01 -j RETURN", "return"),
        ("counter packets 1 bytes 2 drop", "drop"),
        ("-p tcp -j REJECT", "drop"),
        ("-j I-vnet0-mac", "continue"),
        ("accept comment drop accept", "accept"),
    ],
)
def test_what_a_rule_of_the_kernel_does(text: str, action: str) -> None:
    assert action_of(KernelRule(text, 0, 0, "chain", "table", to_guest=True)) == action
