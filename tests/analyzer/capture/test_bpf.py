from __future__ import annotations

import subprocess

import pytest

from analyzer.capture.bpf import accept_all, compile_bpf
from analyzer.errors import UsageError

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
