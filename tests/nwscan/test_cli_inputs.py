"""Whose traffic, and from where: what analyze takes, and that the way in makes no difference to the counts."""

from __future__ import annotations

import gzip
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tests.capture_octets import pcap_header, pcap_record
from tests.nwscan.command import AFTER, BEFORE, CAPTURES, CUT, FIRST_SECOND, MAC, VLAN, nwscan, typed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nwscan.command import Ended

USAGE = 2
MANIFEST = {
    each["file"]: each for each in tomllib.loads((CAPTURES / "MANIFEST.toml").read_text(encoding="utf-8"))["capture"]
}
OTHER = "02:aa:00:00:00:51"


def classes(ended: Ended) -> dict[str, Any]:
    assert (ended.code, ended.stderr) == (0, ""), str(ended)
    found: dict[str, Any] = ended.document["classes"]
    return found


def known(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = MANIFEST[path.name]["classes"]
    return found


def added(*counts: dict[str, Any]) -> dict[str, Any]:
    return {kind: {key: sum(each[kind][key] for each in counts) for key in ("frames", "octets")} for kind in counts[0]}


def capture_of(path: Path, *pairs: tuple[str, str]) -> Path:
    """Write a capture of frames, each from a source to a destination."""
    macs = (bytes.fromhex((to + sender).replace(":", "")) for sender, to in pairs)
    path.write_bytes(pcap_header() + b"".join(pcap_record(mac + b"\x88\xb5" + bytes(46)) for mac in macs))
    return path


@pytest.mark.parametrize("path", [BEFORE, AFTER, VLAN, CUT, FIRST_SECOND], ids=lambda path: path.name)
def test_a_file_by_its_name_and_through_a_pipe(path: Path) -> None:
    assert classes(nwscan("analyze", path, "--mac", MAC, "--json")) == known(path)
    with path.open("rb") as file:
        feeding = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        done = subprocess.run(
            typed("analyze", "-", "--mac", MAC, "--json"), stdin=feeding.stdout, capture_output=True, check=False
        )
        assert feeding.stdout is not None
        feeding.stdout.close()
        assert feeding.wait() == 0
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == nwscan("analyze", "-", "--mac", MAC, "--json", stdin=path.read_bytes()).stdout


def test_compressed_files(tmp_path: Path) -> None:
    zipped = tmp_path / "before.gz"  # told by its first octets, whatever its name
    zipped.write_bytes(gzip.compress(BEFORE.read_bytes()))
    assert classes(nwscan("analyze", zipped, "--json")) == known(BEFORE)


def test_several_files_and_folders(tmp_path: Path) -> None:
    both = added(known(BEFORE), known(AFTER))
    assert classes(nwscan("analyze", BEFORE, AFTER, "--json")) == both
    (tmp_path / "one").mkdir()
    for name, path in (("one/b.pcapng", BEFORE), ("one/a.pcapng", AFTER), ("one/notes.txt", VLAN)):
        (tmp_path / name).write_bytes(path.read_bytes())
    assert classes(nwscan("analyze", tmp_path / "one", "--json")) == both
    three = nwscan("analyze", tmp_path / "one", VLAN, "--mac", MAC, "--json")
    assert classes(three) == added(both, known(VLAN))
    sources = [window["source"] for window in three.document["windows"]]
    assert sorted(sources) == sorted([str(tmp_path / "one/a.pcapng"), str(tmp_path / "one/b.pcapng"), str(VLAN)])


def test_nobody_said_whose_traffic_it_is() -> None:
    for command in (("analyze",), ("suggest", "--from")):
        fields = nwscan(*command, FIRST_SECOND).error(USAGE)
        assert fields["error"].startswith("nobody said whose traffic this is; unicast MACs in the capture: ")
        assert "52:54:00:00:00:01 (sent 6, received 8)" in fields["error"]
        assert fields["where"] == str(FIRST_SECOND)
        assert "--mac" in fields["do"]


def test_candidates_of_a_flood_of_macs_are_few(tmp_path: Path) -> None:
    flood = capture_of(
        tmp_path / "flood.pcap", *((f"02:00:00:00:{i // 256:02x}:{i % 256:02x}", MAC) for i in range(999))
    )
    error = nwscan("analyze", flood).error(USAGE)["error"]
    assert f"{MAC} (sent 0, received 999)" in error
    assert error.endswith("and 990 more")


def test_a_guess_where_there_is_one_answer(tmp_path: Path) -> None:
    path = capture_of(tmp_path / "one.pcap", (MAC, OTHER), ("02:aa:00:00:00:52", MAC), ("02:aa:00:00:00:52", OTHER))
    guessed = nwscan("analyze", path, "--guess", "--json")
    assert guessed.document["guest"]["identity_source"] == "guess"
    assert guessed.document["guest"]["macs"] == [MAC]
    assert {kind: count["frames"] for kind, count in classes(guessed).items() if count["frames"]} == {
        "unicast_to_guest": 1,
        "foreign_unicast": 1,
        "from_guest": 1,
    }
    assert "Whose traffic this is was guessed" in nwscan("analyze", path, "--guess").stdout


def test_a_guess_where_there_is_none(tmp_path: Path) -> None:
    nobody = capture_of(tmp_path / "nobody.pcap", (OTHER, MAC))
    several = capture_of(tmp_path / "several.pcap", (OTHER, MAC), (MAC, OTHER))
    for path in (nobody, several):
        fields = nwscan("analyze", path, "--guess").error(USAGE)
        assert fields["error"].startswith("no MAC, or more than one, both sends and receives; unicast MACs")
        assert MAC in fields["error"]
        assert "--mac" in fields["do"]


def test_a_stated_mac_is_worth_more_than_what_a_file_says() -> None:
    report = nwscan("analyze", BEFORE, "--mac", OTHER, "--json").document
    assert report["guest"]["macs"] == [OTHER]
    assert report["guest"]["identity_source"] == "command_line"
    assert nwscan("analyze", BEFORE, "--json").document["guest"]["macs"] == [MAC]


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    name = bytes(tmp_path) + b"/caf\xe9.pcap"
    with open(name, "wb") as file:  # noqa: PTH123 - a name of octets
        file.write(VLAN.read_bytes())
    ended = nwscan("analyze", name, "--mac", MAC, "--json")
    assert classes(ended) == known(VLAN)
    assert ended.document["windows"][0]["source"].endswith("/caf\\xe9.pcap")
