from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from analyzer.capture import bpf
from analyzer.capture.bpf import accept_all, compile_bpf
from analyzer.errors import HostError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPRESSIONS = [
    "ip",
    "ether proto 0x88b5",
    "tcp port 80 and not host 192.0.2.1",
    "ether dst 52:54:00:00:00:01",
    "greater 100",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("snaplen", [64, 128, 262_144])
def test_the_program_is_that_of_tcpdump(expression: str, snaplen: int) -> None:
    ours = compile_bpf(expression, snaplen)
    command = ["tcpdump", "-ddd", "-y", "EN10MB", "-s", str(snaplen), expression]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[1:]
    theirs = [tuple(map(int, line.split())) for line in printed if line]
    assert [
        (int.from_bytes(i[:2], "little"), i[2], i[3], int.from_bytes(i[4:], "little")) for i in ours.instructions
    ] == theirs


def test_nothing_means_everything() -> None:
    assert compile_bpf("  ", 96) == accept_all(96)
    assert accept_all(0).instructions[0][4:] == (262_144).to_bytes(4, "little")


@pytest.mark.parametrize("expression", ["nonsense here", "tcp port", "host '", "ether host xx", "ip\0", "(" * 1000])
def test_what_is_no_expression_is_a_usage_error(expression: str) -> None:
    with pytest.raises(UsageError, match="not a filter expression"):
        compile_bpf(expression, 96)


@pytest.fixture
def _other_libpcap() -> Iterator[None]:
    bpf._library.cache_clear()
    yield
    bpf._library.cache_clear()


@pytest.mark.usefixtures("_other_libpcap")
def test_a_host_without_libpcap_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf, "_LIBRARIES", ("libnowhere.so.9",))
    with pytest.raises(HostError, match="libpcap is not installed") as refused:
        compile_bpf("arp", 96)
    assert "apt-get install libpcap" in refused.value.hint
    assert compile_bpf("", 96) == accept_all(96)  # for which nobody needs it


@pytest.mark.parametrize(
    ("expression", "tap", "words"), [("arp", None, "libpcap has no memory"), ("vlan 5", "vnet0", "cannot open vnet0")]
)
def test_a_libpcap_that_gives_no_handle(
    monkeypatch: pytest.MonkeyPatch, expression: str, tap: str | None, words: str
) -> None:
    nothing = mock.Mock()
    nothing.pcap_open_dead.return_value = nothing.pcap_create.return_value = None
    monkeypatch.setattr(bpf, "_library", lambda: nothing)
    with pytest.raises(HostError, match=words):
        compile_bpf(expression, 96, tap)


def test_words_of_a_live_interface_need_that_interface() -> None:
    with pytest.raises(HostError, match="cannot open nosuchtap0") as refused:
        compile_bpf("vlan 5", 96, "nosuchtap0")
    assert "leave out vlan" in refused.value.hint
    assert compile_bpf("arp", 96, "nosuchtap0") == compile_bpf("arp", 96)
