"""The sample captures: made again octet for octet, and counted by tshark as their manifest says."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzer.capture.source import open_capture
from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.model.addresses import parse_mac
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.frames import FrameFlag
from analyzer.model.identity import GuestIdentity, Provenance

CAPTURES = Path(__file__).parents[2] / "captures"
MANIFEST: list[dict[str, Any]] = tomllib.loads((CAPTURES / "MANIFEST.toml").read_text())["capture"]
ETHERNET = [entry for entry in MANIFEST if entry["linktype"] == 1]
FIELDS = ("eth.dst", "eth.src", "frame.len", "frame.packet_flags_direction", "frame.packet_flags_reception_type")


def content(path: Path) -> bytes:
    """Give the octets of a file; of a compressed one what it holds, since compressors differ."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def tshark_rows(path: Path) -> list[list[str]]:
    tshark = shutil.which("tshark")
    if tshark is None:
        assert os.environ.get("CI") != "true", "tshark is needed in CI"
        pytest.skip("tshark is not installed")
    fields = [word for name in FIELDS for word in ("-e", name)]
    done = subprocess.run(
        [tshark, "-n", "-r", str(path), "-T", "fields", "-E", "occurrence=f", *fields],
        check=False,  # it ends with 2 on a cut file, after all the frames that are there
        capture_output=True,
        text=True,
    )
    return [line.split("\t") for line in done.stdout.splitlines()]


def class_by_rule(dst: str, src: str, mac: str) -> str:
    """Apply the order of classes, with the direction taken from the source MAC."""
    if not dst:
        return "unclassified"
    if src == mac:
        return "from_guest"
    if dst == "ff:ff:ff:ff:ff:ff":
        return "broadcast"
    if int(dst[:2], 16) & 1:
        return "multicast"
    return "unicast_to_guest" if dst == mac else "foreign_unicast"


def test_made_again_the_captures_are_the_same(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(CAPTURES / "make_captures.py"), str(tmp_path)], check=True, capture_output=True)

    made = {path.name: content(path) for path in tmp_path.iterdir()}
    assert made == {name: content(CAPTURES / name) for name in made}


def test_the_manifest_names_every_capture() -> None:
    kept = {path.name for path in CAPTURES.iterdir() if ".pcap" in path.name}

    assert kept == {entry["file"] for entry in MANIFEST}


def test_the_captures_stay_small() -> None:
    assert sum(path.stat().st_size for path in CAPTURES.glob("*.pcap*")) < 300 * 1024


@pytest.mark.parametrize("entry", ETHERNET, ids=lambda entry: entry["file"])
def test_tshark_counts_what_the_manifest_says(entry: dict[str, Any]) -> None:
    frames: Counter[str] = Counter()
    octets: Counter[str] = Counter()
    for dst, src, length, *_ in tshark_rows(CAPTURES / entry["file"]):
        name = class_by_rule(dst, src, entry["mac"])
        frames[name] += 1
        octets[name] += int(length)

    assert {name: (frames[name], octets[name]) for name in entry["classes"]} == {
        name: (row["frames"], row["octets"]) for name, row in entry["classes"].items()
    }
    assert frames.total() == entry["frames"]


@pytest.mark.parametrize("name", ["before.pcapng", "after.pcapng"])
def test_flags_tell_direction_and_reception_as_the_addresses_do(name: str) -> None:
    reception = {"unicast_to_guest": "1", "multicast": "2", "broadcast": "3", "foreign_unicast": "4", "from_guest": "0"}
    mac = MANIFEST[0]["mac"]
    for dst, src, _, direction, kind in tshark_rows(CAPTURES / name):
        expected = class_by_rule(dst, src, mac)
        assert (int(direction, 0), kind) == (1 if expected == "from_guest" else 2, reception[expected])


@pytest.mark.parametrize(
    ("entry", "rule"),
    [(entry, DirectionSource.SOURCE_MAC) for entry in ETHERNET]
    + [(entry, DirectionSource.EPB_FLAGS) for entry in ETHERNET if entry["file"].endswith(".pcapng")],
    ids=lambda value: value if isinstance(value, str) else value["file"],
)
def test_nwscan_counts_what_the_manifest_says(entry: dict[str, Any], rule: DirectionSource) -> None:
    counted = np.zeros((len(FrameClass), 2), np.int64)
    classifier = Classifier(GuestIdentity((parse_mac(entry["mac"]),), Provenance.COMMAND_LINE), rule)
    with (CAPTURES / entry["file"]).open("rb") as file:
        source = open_capture(file, entry["file"])
        for raw in source.batches():
            batch = decode(raw)
            classes = classifier.classify(batch)
            counted[:, 0] += np.bincount(classes, minlength=6)
            np.add.at(counted[:, 1], classes, batch.octets)
        window = source.window()

    assert {kind.key: tuple(counted[kind]) for kind in FrameClass} == {
        name: (row["frames"], row["octets"]) for name, row in entry["classes"].items()
    }
    assert (window.stopped_early is None) == ("cut_at_octet" not in entry)


@pytest.mark.parametrize("name", ["before.pcapng", "after.pcapng"])
def test_the_flood_captures_say_whose_they_are(name: str) -> None:
    with (CAPTURES / name).open("rb") as file:
        source = open_capture(file, name)
        list(source.batches())

    assert source.has_direction
    assert source.identity is not None
    assert (source.identity.name, source.identity.tap) == ("vm1", "vnet0")
    assert source.identity.macs == (parse_mac(MANIFEST[0]["mac"]),)


def test_a_cooked_capture_has_no_link_layer_to_classify() -> None:
    with (CAPTURES / "cooked.pcap").open("rb") as file:
        source = open_capture(file, "cooked.pcap")
        flags = np.concatenate([decode(raw).flags for raw in source.batches()])

    assert len(flags) == 4
    assert (flags & FrameFlag.NOT_ETHERNET != 0).all()


def test_the_scene_holds_every_kind_of_wanted_traffic() -> None:
    seen = {row[0] for row in tshark_rows(CAPTURES / "after.pcapng")}

    assert {"ff:ff:ff:ff:ff:ff", "52:54:00:00:00:01", "33:33:ff:00:00:20", "09:00:2b:00:00:05"} <= seen
    assert {"01:1b:19:00:00:00", "01:80:c2:00:00:00", "01:00:5e:00:00:fb"} <= seen
