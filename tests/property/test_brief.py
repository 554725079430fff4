"""What is said of a frame without scapy is what scapy says of it."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.classify.brief import describe_briefly
from analyzer.classify.description import HEAD_OCTETS, describe_known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MACS = bytes.fromhex("52540000000102aa00000007")
ADDRESSES = bytes.fromhex("0a000001c0000202"), bytes.fromhex("fe80" + "00" * 13 + "01" + "ff02" + "00" * 13 + "fb")
PORTS = st.sampled_from([0, 22, 53, 67, 68, 80, 443, 546, 4754, 4789, 5353, 8080, 49152, 65535])


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Frames of which most can be described briefly; some octets of theirs are changed, or cut off."""
    tags = b"".join(draw(st.lists(st.sampled_from([b"\x81\0\0\x07", b"\x88\xa8\0\x01"]), max_size=2)))
    kind = draw(st.sampled_from(["arp", "ipv4", "ipv6"]))
    if kind == "arp":
        operation = draw(st.integers(0, 3))
        octets = (
            bytes.fromhex("0806000108000604") + operation.to_bytes(2, "big") + MACS[6:] + draw(st.binary(max_size=60))
        )
    else:
        octets = packet(draw, kind)
    head = bytearray(MACS + tags + octets + draw(st.binary(max_size=6)))
    for at, value in draw(st.lists(st.tuples(st.integers(12, 70), st.integers(0, 255)), max_size=2)):
        if at < len(head):
            head[at] = value
    return bytes(head[: draw(st.integers(0, 140))]) if draw(st.booleans()) else bytes(head)


def packet(draw: st.DrawFn, kind: str) -> bytes:
    protocol, payload = draw(st.sampled_from([6, 17])), draw(st.binary(max_size=40))
    ports = draw(PORTS).to_bytes(2, "big") + draw(PORTS).to_bytes(2, "big")
    if protocol == 17:
        upper = ports + draw(st.integers(8, 8 + len(payload))).to_bytes(2, "big") + b"\0\0" + payload
    else:
        words = draw(st.integers(5, 7))
        flags = draw(st.integers(0, 511))
        upper = (
            ports + bytes(8) + (words << 12 | flags).to_bytes(2, "big") + bytes(6) + bytes(4 * (words - 5)) + payload
        )
    if kind == "ipv6":
        return b"\x86\xdd\x60\0\0\0" + len(upper).to_bytes(2, "big") + bytes([protocol, 1]) + ADDRESSES[1] + upper
    length = (20 + len(upper)).to_bytes(2, "big")
    return b"\x08\0\x45\0" + length + b"\0\0\x40\0\x40" + bytes([protocol, 0, 0]) + ADDRESSES[0] + upper


SAYING: Final = """
import sys
from analyzer.classify.description import describe_by_scapy
for line in sys.stdin:
    print(ascii(describe_by_scapy(bytes.fromhex(line))), flush=True)
"""


@pytest.fixture(scope="module")
def scapy_says() -> Iterator[Callable[[bytes], str]]:
    """What scapy says where nothing but nwscan has loaded any of its layers: other tests load more of them."""
    with subprocess.Popen(
        [sys.executable, "-c", SAYING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        words, answers = child.stdin, child.stdout

        def ask(frame: bytes) -> str:
            words.write(frame.hex() + "\n")
            words.flush()
            return str(ast.literal_eval(answers.readline()))

        yield ask
        words.close()


@settings(deadline=None)  # scapy is imported by the first example
@given(frame=frames())
def test_what_is_said_without_scapy_is_what_scapy_says(scapy_says: Callable[[bytes], str], frame: bytes) -> None:
    known = describe_known(frame)
    if frame and known is not None:
        assert known == scapy_says(frame)


def test_most_frames_need_no_scapy(scapy_says: Callable[[bytes], str]) -> None:
    arp = "ffffffffffff 02aa00000007 0806 0001 0800 06 04 0001 02aa00000007 c0000201 000000000000 c0000202"
    text = describe_briefly(bytes.fromhex(arp))
    assert text == "Ether / ARP who has 192.0.2.2 says 192.0.2.1"
    tcp = MACS + bytes.fromhex(
        "8100 0007 0800 45000028 00004000 4006 0000 c0000201 c0000202 c000 0016" + "00" * 8 + "5012" + "00" * 6
    )
    assert describe_known(tcp[:HEAD_OCTETS]) == scapy_says(tcp)
    assert describe_briefly(tcp) is not None


def test_what_is_not_known_is_left_to_scapy() -> None:
    echo = MACS + bytes.fromhex("0800 4500001c 00004000 4001 0000 c0000201 c0000202 0800 f7ff 0000 0000")
    assert describe_known(echo) is None
    assert describe_known(b"") == "(nothing of it was captured)"
