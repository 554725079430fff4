"""``nwscan replay`` on the bundled captures, without libvirt: what a filter would have done to each frame."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from nwscan.cli.main import cli, main

ROOT = Path(__file__).parents[2]
BEFORE = str(ROOT / "captures/before.pcapng")
MAC = "52:54:00:00:00:01"
NAME = "nwscan-00000001-0"
STOCK = Path("/etc/libvirt/nwfilter")
NOWHERE = ("--connect", "qemu+unix:///system?socket=/nonexistent")
Json = dict[str, Any]

CHAIN = f"""<filter name='child' chain='mac-x' priority='-950'>
  <rule action='return' direction='in' priority='100'><mac dstmacaddr='$MAC'/></rule>
  <rule action='return' direction='in' priority='110'><mac dstmacaddr='{MAC}'/></rule>
  <rule action='drop' direction='in' priority='900'><mac/></rule>
</filter>"""


@pytest.fixture
def suggested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder with the filters that ``suggest --xml`` writes for the bundled capture."""
    folder = tmp_path / "filters"
    assert main(["suggest", "--from", BEFORE, "--mac", MAC, "--xml", str(folder)]) == 0
    capsys.readouterr()
    return folder


@pytest.fixture
def stock() -> str:
    if not STOCK.is_dir():
        pytest.skip("libvirt's filters are not installed (libvirt-daemon-config-nwfilter)")
    return str(STOCK)


def replay(capsys: pytest.CaptureFixture[str], *words: object, file: str = BEFORE) -> Json:
    code = main([*NOWHERE, "replay", file, *map(str, words), "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    document: Json = json.loads(said.out)
    return document


def refused(capsys: pytest.CaptureFixture[str], code: int, *words: object, file: str = BEFORE) -> str:
    assert main([*NOWHERE, "replay", file, *map(str, words)]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert said.err.startswith("error: ")
    return said.err


def test_the_mac_filter_drops_all_that_is_foreign_and_nothing_else(
    suggested: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = replay(capsys, "--mac", MAC, "--filter", suggested / f"{NAME}.xml")
    assert found["schema"] == "nwscan.replay/1"
    assert found["wanted_dropped"] == {"frames": 0, "octets": 0, "samples": []}
    verdicts = {kind: (cell["accept"]["frames"], cell["drop"]["frames"]) for kind, cell in found["classes"].items()}
    assert verdicts == {
        "unicast_to_guest": (160, 0),
        "multicast": (60, 0),
        "broadcast": (46, 0),
        "foreign_unicast": (0, 600),
        "from_guest": (120, 0),
        "unclassified": (0, 0),
    }
    assert sum(one["frames"] for one in found["dropped_talkers"]) == 600
    assert {one["class"] for one in found["dropped_talkers"]} == {"foreign_unicast"}
    assert found["dropped_talkers"][0]["frames"] == 567
    assert found["commands"][-1].endswith("-A O-TAP-mac-nwscan -j DROP")
    assert [one["name"] for one in found["filters"]] == [NAME, f"{NAME}-mac"]
    assert found["variables"]["MAC"] == [MAC]
    assert found["guest"]["macs"] == [MAC]
    assert found["direction_source"] == "epb_flags"


def test_a_folder_is_the_tree_of_its_root(suggested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (suggested / "readme.xml").write_text("<domain/>")
    found = replay(capsys, "--mac", MAC, "--filter", f"{suggested}/")
    assert found["filter"] == NAME


def test_the_dropped_frames_are_written_and_are_those_of_tcpdump(
    suggested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "dropped.pcapng"
    found = replay(capsys, "--mac", MAC, "--filter", suggested / f"{NAME}.xml", "--export-dropped", out)
    assert found["dropped_file"]["path"] == str(out)
    assert out.stat().st_mode & 0o777 == 0o600
    assert main(["analyze", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["classes"]["foreign_unicast"]["frames"] == report["windows"][0]["frames_seen"] == 600
    assert report["foreign_talkers"][0]["frames"] == found["dropped_talkers"][0]["frames"]
    if not shutil.which("tcpdump"):
        pytest.skip("tcpdump is missing")
    command = ["tcpdump", "--count", "-r", BEFORE, found["tcpdump"]]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0] == "600"


def test_the_dropped_frames_never_replace_the_capture(
    suggested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = tmp_path / "in.pcapng"
    shutil.copy(BEFORE, capture)
    octets = capture.read_bytes()
    words = ("--mac", MAC, "--filter", suggested / f"{NAME}.xml", "--export-dropped")
    assert "the capture itself" in refused(capsys, 2, *words, capture, file=str(capture))
    assert "no regular file" in refused(capsys, 2, *words, "/dev/null")
    (tmp_path / "cut").write_text("no capture")
    refused(capsys, 3, *words, tmp_path / "new.pcapng", file=str(tmp_path / "cut"))
    assert capture.read_bytes() == octets
    assert not list(tmp_path.glob("*new.pcapng*"))


def test_clean_traffic_names_what_the_guest_would_lose(stock: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = replay(capsys, "--mac", MAC, "--filter", "clean-traffic", "--library", stock, "-p", "IP=192.0.2.20")
    lost = found["wanted_dropped"]
    assert lost["frames"] > 0
    assert lost["samples"]
    assert found["classes"]["foreign_unicast"]["accept"]["frames"] > 500
    assert found["tcpdump"] is None
    assert "qemu-announce-self-rarp" in found["tcpdump_why_none"]
    for kind, cell in found["classes"].items():
        talked = sum(one["frames"] for one in found["dropped_talkers"] if one["class"] == kind)
        assert talked == cell["drop"]["frames"]
    decided = sum(count["frames"] for rule in found["rules"] for count in rule["decided"].values())
    assert decided + sum(count["frames"] for count in found["end"].values()) == found["frames"] == 986


def test_the_wanted_frames_come_first_on_the_terminal(stock: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--mac", MAC, "--ip", "192.0.2.20", "--filter", "clean-traffic", "--library", stock)
    assert main([*NOWHERE, "replay", BEFORE, *words, "--commands"]) == 0
    text = capsys.readouterr().out
    places = [
        text.index(word)
        for word in (
            "of 386 wanted frames",
            "Wanted frames that it drops",
            "foreign unicast",
            "What decides, by rule",
            "What is dropped, by source",
            "IP is taken from --ip",
            "has no tcpdump expression",
            "ebtables --concurrent -t nat -A libvirt-O-TAP",
        )
    ]
    assert places == sorted(places)


def test_a_repeated_parameter_is_a_list(stock: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--mac", MAC, "--filter", f"{stock}/no-ip-spoofing.xml", "-p", "IP=192.0.2.20")
    one = replay(capsys, *words)
    two = replay(capsys, *words, "-p", "IP=192.0.2.21")
    assert two["variables"]["IP"] == ["192.0.2.20", "192.0.2.21"]
    assert len(two["commands"]) == len(one["commands"]) + 1


def test_what_only_the_kernel_knows_is_unknown_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "state.xml"
    path.write_text("<filter name='state'><rule action='drop' direction='in'><tcp dstportstart='22'/></rule></filter>")
    found = replay(capsys, "--mac", MAC, "--filter", path)
    assert found["unknown"]["frames"] == sum(found["unknown"]["reasons"].values())
    assert "rules of iptables" in found["tcpdump_why_none"]
    assert any(finding["effect"] == "misleads" for finding in found["findings"])


def test_whose_frames_they_are_comes_from_the_file_or_is_asked(
    suggested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--filter", suggested / f"{NAME}.xml")
    own = tmp_path / "own.pcapng"
    replay(capsys, "--mac", MAC, *words, "--export-dropped", own)
    assert replay(capsys, *words, file=str(own))["classes"]["foreign_unicast"]["drop"]["frames"] == 600
    anonymous = str(ROOT / "captures/vlan.pcap")
    assert "unicast MACs in the capture" in refused(capsys, 2, *words, file=anonymous)
    assert "no Ethernet frames" in refused(capsys, 3, "--mac", MAC, *words, file=str(ROOT / "captures/cooked.pcap"))


def test_standard_input(suggested: Path) -> None:
    command = ["nwscan", "replay", "-", "--mac", MAC, "--filter", f"{suggested / NAME}.xml", "--json"]
    code = f"import sys; from nwscan.cli.main import main; sys.exit(main({command[1:]!r}))"
    with Path(BEFORE).open("rb") as file:
        done = subprocess.run([sys.executable, "-c", code], stdin=file, capture_output=True, cwd=ROOT, check=True)
    assert json.loads(done.stdout)["frames"] == 986


@pytest.mark.parametrize(
    ("files", "words", "expected"),
    [
        ({}, ("--filter", "./root.xml"), "No such file"),
        ({}, (), "which filter?"),
        ({"root": "<filter name='r'><filterref filter='gone'/></filter>"}, (), "filters that are missing: gone"),
        ({"root": CHAIN.replace("$MAC", "$WHO")}, (), "needs parameters: WHO"),
        ({"root": CHAIN.replace("$MAC", "$IP")}, (), "-p IP="),
        ({"root": "<filter name='r'><filterref filter='r'/></filter>"}, (), "loop: r -> r"),
        (
            {
                "root": "<filter name='r'><filterref filter='s'/></filter>",
                "s": "<filter name='s'><filterref filter='r'/></filter>",
            },
            (),
            "loop: r -> s -> r",
        ),
        ({"root": CHAIN}, ("-p", "IP=a b"), "not a parameter"),
        ({"root": CHAIN}, ("-p", "IP"), "not a parameter"),
        ({"root": CHAIN}, ("--filter", "nosuch", "--library", "."), "there is no filter nosuch"),
    ],
)
def test_what_cannot_be_replayed_as_it_was_put(
    files: dict[str, str],
    words: tuple[str, ...],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        (tmp_path / f"{name}.xml").write_text(text)
    named = ("--filter", "./root.xml") if files and "--filter" not in words else ()
    error = refused(capsys, 3 if "No such" in expected else 2, "--mac", MAC, *named, *words)
    assert expected in error
    assert "  do: " in error


def test_a_name_without_files_is_asked_of_libvirt(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("libvirt")
    assert "cannot reach libvirt" in refused(capsys, 4, "--mac", MAC, "--filter", "clean-traffic")
    assert "cannot reach libvirt" in refused(capsys, 4, "--guest", "vm1")


ENTITIES = "".join(
    f"<!ENTITY {name} '{f'&{before};' * 10}'>" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BOMB = f"<!DOCTYPE a [<!ENTITY a 'aaaaaaaaaa'>{ENTITIES}]>"


@pytest.mark.parametrize(
    "octets",
    [
        f"{BOMB}<filter name='x'><uuid>&i;</uuid></filter>".encode(),
        b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><filter name='x'><uuid>&x;</uuid></filter>",
        b"<filter name='x'>" + b"<a>" * 200 + b"</a>" * 200 + b"</filter>",
        b"<filter name='x'>" + b"<a>" * 100_000,
        b"<filter name='x'>" + b" " * (5 << 20) + b"</filter>",
        b"<filter name='x'><rule action='drop' direction='in'",
        b"<filter name='x'><rule action='explode' direction='sideways'/></filter>",
        b"<domain/>",
        b"\xff\xfe\x00",
        b"",
        b"\0" * 100,
    ],
    ids=["bomb", "outside", "deep", "abyss", "huge", "cut", "words", "other", "latin", "empty", "zeros"],
)
def test_hostile_xml_is_one_clear_error(octets: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.xml"
    path.write_bytes(octets)
    error = refused(capsys, 3, "--mac", MAC, "--filter", path)
    assert str(path) in error
    assert error.count("error:") == 1
    assert "root:" not in error
    assert len(error) < 2000


def test_a_value_that_the_kernel_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.xml"
    path.write_text(CHAIN.replace("$MAC", "$WHO"))
    assert "'zz' is no MAC" in refused(capsys, 3, "--mac", MAC, "--filter", path, "-p", "WHO=zz")


def test_the_example_of_its_help_runs(
    suggested: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = cli.get_command(click.Context(cli), "replay")
    assert command is not None
    (suggested.parent / "captures").symlink_to(ROOT / "captures")
    monkeypatch.chdir(suggested.parent)
    assert main(shlex.split((command.epilog or "").removeprefix("Example: nwscan "))) == 0
    assert "0 of 386 wanted frames and 600 of 600 foreign" in " ".join(capsys.readouterr().out.split())
