"""What fuzzing starts from: captures that nobody on this project wrote, our samples, and the kept corpus."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import zstandard
from scapy.layers.dhcp6 import DHCP6_Reply, DHCP6OptIA_NA, DHCP6OptIA_TA, DHCP6OptIAAddress
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from analyzer.capture.source import open_capture
from analyzer.errors import InputError
from tests.capture_octets import frames_of
from tests.fuzz import document_seeds
from tests.shared_data import capture_files

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS: Final = Path(__file__).parent / "corpus"
MAX_OCTETS: Final = 8192
"""Of an input: larger ones find nothing more and take longer."""

_SAMPLES: Final = Path(__file__).parents[2] / "captures"
_FRAMES_AT_ONCE: Final = 4
_FRAMES_OF_A_FILE: Final = 40
GUEST_MAC: Final = bytes.fromhex("525400000001")
"""Of the guest whose frames the targets decode."""
_DHCP_COOKIE: Final = b"\x63\x82\x53\x63"
_COOKIE_AT, _CHADDR_AT = 236, 28  # RFC 2131, figure 1


def kept(target: str) -> dict[str, bytes]:
    """Give the kept inputs of a target by name: each once did what no other had done, or broke a promise."""
    path = CORPUS / f"{target}.zip"
    if not path.exists():
        return {}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in sorted(archive.namelist())}


def keep(target: str, inputs: list[bytes]) -> int:
    """Write the kept inputs of a target anew, the same octets for the same inputs; give how many there are."""
    CORPUS.mkdir(exist_ok=True)
    ordered = sorted(set(inputs), key=lambda octets: (len(octets), octets))
    with zipfile.ZipFile(CORPUS / f"{target}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number, octets in enumerate(ordered):
            archive.writestr(zipfile.ZipInfo(f"{number:05d}"), octets, zipfile.ZIP_DEFLATED, 9)
    return len(ordered)


def seeds(target: str) -> Iterator[bytes]:
    """Yield what fuzzing of a target starts from."""
    yield from kept(target).values()
    of_documents = {
        "filters": document_seeds.filters,
        "cards": document_seeds.cards,
        "documents": document_seeds.documents,
        "journals": document_seeds.journals,
    }
    if target in of_documents:
        yield from of_documents[target]()
    elif target == "evaluator":
        yield from document_seeds.trees(
            [octets for path in sorted(_SAMPLES.glob("*.pcap*")) for octets in _frames(path)]
        )
    else:
        yield from _captures(target)


def _captures(target: str) -> Iterator[bytes]:
    if target == "frames":
        yield from (_input(direction, [_dhcpv6_reply()]) for direction in range(3))
    for path in (*capture_files(), *sorted(_SAMPLES.glob("*.pcap*"))):
        octets = path.read_bytes()
        if target == "frames":
            yield from _frames(path)
        elif target == "packed":
            yield gzip.compress(octets[:2000], mtime=0)
            yield zstandard.compress(octets[:2000])
        elif octets[:4] == b"\x0a\x0d\x0d\x0a" if target == "pcapng" else octets[:4] != b"\x0a\x0d\x0d\x0a":
            yield octets[:MAX_OCTETS]


def _frames(path: Path) -> Iterator[bytes]:
    """Yield frames of a capture as the decoder's target takes them: targets.frames_of."""
    try:
        with path.open("rb") as file:
            source = open_capture(file, path.name)
            frames = [one.octets for raw in source.batches() for one in frames_of(raw)[:_FRAMES_OF_A_FILE]]
    except InputError:
        return
    for start in range(0, min(len(frames), _FRAMES_OF_A_FILE), _FRAMES_AT_ONCE):
        yield _input(start % 3, frames[start : start + _FRAMES_AT_ONCE])
    leases = [lease for lease in map(_lease_of_the_guest, frames) if lease is not None]
    for direction in range(3):
        for start in range(0, len(leases), _FRAMES_AT_ONCE):
            yield _input(direction, leases[start : start + _FRAMES_AT_ONCE])


def _input(direction: int, frames: list[bytes]) -> bytes:
    """Give an input of the decoder's target."""
    some = [frame[:1600] for frame in frames]
    return bytes([direction, 0x81, 0, 0, 5]) + b"".join(len(one).to_bytes(2) + one for one in some)


def _lease_of_the_guest(frame: bytes) -> bytes | None:
    """Give a frame of DHCP with the client's MAC replaced by the guest's; None for any other frame.

    Addresses are looked for in leases of the guest only, and no mutation guesses its MAC in two places.
    """
    cookie = frame.find(_DHCP_COOKIE)
    if cookie < _COOKIE_AT:
        return None
    return frame.replace(frame[cookie - _COOKIE_AT + _CHADDR_AT :][:6], GUEST_MAC)


def _dhcpv6_reply() -> bytes:
    """Give a DHCPv6 reply with two addresses for the guest; none of the captures has one."""
    addresses = [DHCP6OptIAAddress(addr=f"2001:db8::{number}", preflft=60, validlft=120) for number in (1, 2)]
    options = DHCP6OptIA_NA(iaid=1, ianaopts=addresses[:1]) / DHCP6OptIA_TA(iaid=1, iataopts=addresses[1:])
    packet = IPv6(src="fe80::2", dst="fe80::1") / UDP(sport=547, dport=546) / DHCP6_Reply() / options
    return bytes(Ether(dst=GUEST_MAC.hex(":"), src="02:00:00:00:00:02") / packet)
