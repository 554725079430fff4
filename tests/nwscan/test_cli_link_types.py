"""Files whose interfaces are not all of Ethernet, and files that lie about lengths: counted as far as can be known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.capture_octets import epb, idb, pcap_header, pcap_record, shb
from tests.nwscan.command import CAPTURES, MAC, nwscan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nwscan.command import Ended

ETHERNET, SLL2, IEEE_802_11 = 1, 276, 105
OWN, FOREIGN = (bytes.fromhex(f"{mac}02aa000000510800") + bytes(46) for mac in ("525400000001", "525400000002"))
# draft-ietf-opsawg-pcaplinktype; tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html: protocol, reserved, interface index,
# ARPHRD_ type, packet type (to somebody else), length of the address, the sender's address
COOKED = bytes.fromhex("0800 0000 00000002 0001 03 06 525400000001 0000") + bytes(40)
MIXED = (
    shb()
    + idb("<", (2, b"vnet0"), linktype=ETHERNET)
    + idb("<", (2, b"any"), linktype=SLL2)
    + epb(OWN, ticks=1_000_000)
    + epb(COOKED, interface=1, ticks=2_000_000)
    + epb(FOREIGN, ticks=3_000_000)
    + epb(COOKED, interface=1, ticks=4_000_000)
)


def counted(ended: Ended) -> dict[str, tuple[int, int]]:
    classes = ended.document["classes"]
    return {kind: (row["frames"], row["octets"]) for kind, row in classes.items() if row["frames"]}


def unbroken(text: str) -> str:
    """Give a text without blanks and ends of lines: a long path is broken where its line ends."""
    return "".join(text.split())


def test_each_interface_has_its_own_link_type(tmp_path: Path) -> None:
    path = tmp_path / "mixed.pcapng"
    path.write_bytes(MIXED)
    ended = nwscan("analyze", path, "--mac", MAC, "--json")
    assert counted(ended) == {"unicast_to_guest": (1, 60), "foreign_unicast": (1, 60), "unclassified": (2, 120)}
    report = ended.document
    note = f"{path} also has link type {SLL2}: without an Ethernet header such frames are unclassified."
    assert report["notes"] == [note]
    told = {row["text"] for row in report["samples"] if row["class"] == "unclassified"}
    assert told == {f"(not Ethernet: link type {SLL2})"}
    assert [row["dst"] for row in report["foreign_talkers"]] == ["52:54:00:00:00:02"]
    assert unbroken(note) in unbroken(nwscan("analyze", path, "--mac", MAC).stdout)


def test_the_address_in_a_cooked_header_is_nobodys_candidate(tmp_path: Path) -> None:
    path = tmp_path / "mixed.pcapng"
    path.write_bytes(MIXED)
    error = nwscan("analyze", path).error(2)["error"]
    assert f"{MAC} (sent 0, received 1)" in error
    assert "08:00" not in error


def test_a_file_without_any_ethernet_is_refused_by_its_link_types(tmp_path: Path) -> None:
    path = tmp_path / "none.pcapng"
    path.write_bytes(shb() + idb(linktype=SLL2) + idb(linktype=IEEE_802_11) + epb(COOKED))
    fields = nwscan("analyze", path, "--mac", MAC).error(3)
    assert fields["error"] == f"no Ethernet frames in this capture: link type {IEEE_802_11}, {SLL2}"
    path.write_bytes(shb() + b"".join(idb(linktype=100 + i) for i in range(1000)) + epb(OWN))
    assert nwscan("analyze", path, "--mac", MAC).error(3)["error"].endswith("106, 107 and 992 more")


def test_of_several_files_one_without_ethernet_is_left_out_and_named(tmp_path: Path) -> None:
    cooked, ours = tmp_path / "cooked.pcapng", tmp_path / "ours.pcapng"
    cooked.write_bytes(shb() + idb(linktype=SLL2) + epb(COOKED))
    ours.write_bytes(shb() + idb() + epb(OWN))
    ended = nwscan("analyze", tmp_path, "--mac", MAC, "--json")
    assert counted(ended) == {"unicast_to_guest": (1, 60)}
    assert [window["source"] for window in ended.document["windows"]] == [str(ours)]
    assert ended.document["notes"] == [f"{cooked} is left out: it has no Ethernet frames (link type {SLL2})."]
    assert f"{MAC} (sent 0, received 1)" in nwscan("analyze", tmp_path).error(2)["error"]
    ours.write_bytes(cooked.read_bytes())
    assert nwscan("analyze", tmp_path, "--mac", MAC).error(3)["where"] == str(cooked)


def test_the_bundled_folder_can_be_analyzed_as_it_is() -> None:
    ended = nwscan("analyze", CAPTURES, "--mac", MAC, "--json")
    assert f"{CAPTURES}/cooked.pcap is left out: it has no Ethernet frames (link type 113)." in ended.document["notes"]
    assert len(ended.document["windows"]) == len(list(CAPTURES.glob("*.pcap*"))) - 1


def test_a_replay_says_so_of_other_link_types_too(tmp_path: Path) -> None:
    path = tmp_path / "mixed.pcapng"
    path.write_bytes(MIXED)
    (tmp_path / "open.xml").write_text("<filter name='open'/>")
    words = ("replay", path, "--mac", MAC, "--filter", tmp_path / "open.xml")
    note = f"{path} also has link type {SLL2}: without an Ethernet header such frames are unclassified."
    assert nwscan(*words, "--json").document["notes"] == [note]
    assert unbroken(note) in unbroken(nwscan(*words).stdout)


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
@pytest.mark.parametrize("lie", [0, 3, 59, 262_145, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_length_that_cannot_be_true_adds_no_octets(tmp_path: Path, kind: str, lie: int) -> None:
    """What was captured is counted in its place; a true length beyond what was captured counts as it stands."""
    rows = [(OWN, 1500), (FOREIGN, lie), (FOREIGN, 60)]
    if kind == "pcap":
        octets = pcap_header() + b"".join(pcap_record(frame, original=length) for frame, length in rows)
    else:
        octets = shb() + idb() + b"".join(epb(frame, original=length) for frame, length in rows)
    path = tmp_path / "lying"
    path.write_bytes(octets)
    ended = nwscan("analyze", path, "--mac", MAC, "--json")
    assert counted(ended) == {"unicast_to_guest": (1, 1500), "foreign_unicast": (2, 120)}
    assert ended.document["seen_by_guest"] == {"frames": 3, "octets": 1620}
    assert ended.document["foreign_talkers"][0]["octets"] == 120
