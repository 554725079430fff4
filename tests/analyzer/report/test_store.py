from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analyzer.errors import InputError
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import Address, GuestIdentity, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.report.builder import ReportBuilder
from analyzer.report.report import FramesFile, Report
from analyzer.report.store import SIZE_LIMIT, encode, from_document, schema, to_document
from analyzer.version import VERSION
from tests.frame_batches import GUEST, Row, frame_batch

PUBLISHED = Path(__file__).parents[3] / "nwscan/schemas/report-1.json"
S = 1_000_000_000
START_NS = 1_767_225_600 * S
IDENTITY = GuestIdentity(
    (GUEST,),
    Provenance.LIBVIRT_XML,
    name="vm1",
    addresses=(Address("192.0.2.1", Provenance.LEASE, trusted=True),),
    groups=(0x01005E0000FB,),
)
ROWS = (
    Row(dst=0x020000000004, src=0x020000000003, ts_ns=START_NS + 1, octets=100),
    Row(kind=FrameClass.MULTICAST, dst=0x01005E0000FB, ts_ns=START_NS + S),
    Row(kind=FrameClass.MULTICAST, dst=0x01005E0000FC, ts_ns=START_NS + S),
    Row(kind=FrameClass.FROM_GUEST, src=0x020000000008, ts_ns=START_NS + S),
)
WINDOW = CaptureWindow("vnet0", START_NS, START_NS + 2 * S, len(ROWS), 0, 128)

KEYS = {
    "schema",
    "tool",
    "guest",
    "direction_source",
    "windows",
    "classes",
    "seen_by_guest",
    "foreign_share",
    "unrelated",
    "subclasses",
    "segments",
    "foreign_talkers",
    "groups",
    "ethertypes",
    "vlans",
    "rates",
    "timeline_bin_s",
    "timeline",
    "causes",
    "samples",
    "tcpdump",
    "frames_file",
    "notes",
}
"""The keys of the document that were agreed first; others rely on each."""


def report_of(rows: tuple[Row, ...] = ROWS, window: CaptureWindow = WINDOW) -> Report:
    builder = ReportBuilder(IDENTITY, DirectionSource.PACKET_TYPE)
    builder.add(*frame_batch(rows))
    return builder.finish((window,), FramesFile("frames.pcapng", "0" * 64, 0.5), ("a note",))


@pytest.fixture
def document() -> dict[str, Any]:
    return to_document(report_of())


def test_the_agreed_keys_are_there(document: dict[str, Any]) -> None:
    assert set(document) >= KEYS
    assert document["schema"] == "nwscan.report/1"
    assert set(document["guest"]) >= {
        "name",
        "uuid",
        "tap",
        "bridge",
        "macs",
        "addresses",
        "macs_seen",
        "identity_source",
    }
    assert set(document["windows"][0]) >= {"source", "start", "end", "frames_seen", "frames_lost", "snaplen"}
    assert set(document["foreign_talkers"][0]) >= {"src", "dst", "frames", "octets", "error", "example"}
    assert set(document["groups"][0]) >= {"dst", "joined", "frames", "octets"}
    assert set(document["timeline"][0]) == {"t", "class", "frames", "octets"}
    assert set(document["frames_file"]) == {"path", "sha256", "covers"}


def test_the_figures(document: dict[str, Any]) -> None:
    assert document["classes"]["foreign_unicast"] == {"frames": 1, "octets": 100}
    assert document["seen_by_guest"] == {"frames": 3, "octets": 228}
    assert document["foreign_share"] == {"frames": 1 / 3, "octets": 100 / 228}
    assert document["unrelated"] == {"frames": 1, "octets": 100, "share": 1 / 3}
    assert document["windows"][0]["end"] == "2026-01-01T00:00:02.000000000Z"
    assert document["foreign_talkers"][0]["example"] == "2026-01-01T00:00:00.000000001Z"
    assert document["timeline"][0] == {
        "t": "2026-01-01T00:00:00.000000000Z",
        "class": "foreign_unicast",
        "frames": 1,
        "octets": 100,
    }
    assert [row["joined"] for row in document["groups"]] == [True, False]
    assert document["guest"]["macs_seen"] == [{"value": "02:00:00:00:00:08", "source": "traffic", "trusted": False}]
    assert document["rates"]["foreign_unicast"]["mean_fps"] == 0.5


def test_unknown_is_null() -> None:
    identity = GuestIdentity((GUEST,), Provenance.COMMAND_LINE)
    builder = ReportBuilder(identity, DirectionSource.SOURCE_MAC)
    builder.add(*frame_batch([Row(kind=FrameClass.MULTICAST, dst=0x01005E000001)]))
    document = to_document(builder.finish((CaptureWindow("file", None, None, 1, None, 0),)))
    assert {key: document["guest"][key] for key in ("name", "uuid", "tap", "bridge")} == dict.fromkeys(
        ("name", "uuid", "tap", "bridge")
    )
    assert document["windows"][0] | {"start": None, "end": None, "frames_lost": None} == document["windows"][0]
    assert document["groups"][0]["joined"] is None
    assert document["frames_file"] is None
    assert document["rates"]["multicast"]["mean_fps"] is None
    empty = to_document(Report.empty(identity, DirectionSource.SOURCE_MAC))
    assert empty["foreign_share"] == {"frames": None, "octets": None}
    assert empty["unrelated"]["share"] is None


def test_a_document_tells_the_version_and_one_that_does_not_is_read(document: dict[str, Any]) -> None:
    assert document["tool"] == {"name": "nwscan", "version": VERSION}
    unknown = {**document, "tool": {"name": "nwscan", "version": None}}
    assert from_document(unknown) == report_of()


def test_encoding_is_one_line_of_the_document(document: dict[str, Any]) -> None:
    octets = encode(report_of())
    assert b"\n" not in octets
    assert json.loads(octets) == document


def test_names_that_are_not_unicode_are_escaped() -> None:
    window = replace(WINDOW, source=os.fsdecode(b"capture-\xff.pcap"))
    assert json.loads(encode(report_of(window=window)))["windows"][0]["source"] == "capture-\\udcff.pcap"


def test_keys_of_later_versions_are_passed_over(document: dict[str, Any]) -> None:
    document["later"] = {"more": 1}
    assert from_document(document) == report_of()


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(document))
    at: Any = copy
    *parents, last = path.split(".")
    for key in parents:
        at = at[int(key) if key.isdigit() else key]
    at[last] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("schema", "nwscan.report/2", "schema"),
        ("schema", "nwscan.plan/1", "schema"),
        ("guest.macs", [], "length >= 1"),
        ("guest.macs", ["52:54:00:00:00:01:02"], "guest.macs"),
        ("guest.identity_source", "hearsay", "identity_source"),
        ("classes.multicast.frames", -1, "classes.multicast"),
        ("classes.multicast.frames", 2**63, "classes.multicast"),
        ("classes.multicast.frames", 1.5, "classes.multicast"),
        ("classes.multicast.frames", 3, "add up to 5 frames, the windows to 4"),
        ("windows.0.start", "2026-01-01T00:00:00Z", "windows"),
        ("windows.0.start", "2026-13-01T00:00:00.000000000Z", "month"),
        ("windows.0.start", "9999-01-01T00:00:00.000000000Z", "64 bits"),
        ("windows.0.start", "2027-01-01T00:00:00.000000000Z", "ends before it begins"),
        ("timeline.0.t", "yesterday", "timeline"),
        ("timeline_bin_s", 3, "power of two"),
        ("timeline_bin_s", 2**40, "timeline_bin_s"),
        ("timeline.0.class", "unicorn", "timeline"),
        ("timeline.0.frames", 0, "octets of no frame"),
        ("groups.1.dst", "01:00:5e:00:00:fb", "stands twice"),
        ("groups.0.last_seen", "1999-01-01T00:00:00.000000000Z", "before it is first seen"),
        ("frames_file.sha256", "../..", "sha256"),
        ("notes", [1], "notes"),
    ],
)
def test_a_document_that_is_wrong_is_refused_and_the_place_named(
    document: dict[str, Any], path: str, value: object, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        from_document(changed(document, path, value), "report.json")
    assert said in caught.value.what
    assert caught.value.where == "report.json"
    assert caught.value.hint


@pytest.mark.parametrize(
    "octets",
    [b"", b"null", b"[]", b"{}", b"\x00\xff", b"[" * 100_000, b'{"a":' * 100_000, b'{"schema":"nwscan.report/1"}'],
)
def test_garbage_is_refused(octets: bytes) -> None:
    with pytest.raises(InputError, match=r"not a report of nwscan\.report/1"):
        from_document(octets)


def test_a_document_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(InputError, match="above the limit"):
        from_document(b" " * (SIZE_LIMIT + 1))


def test_derived_figures_are_not_believed(document: dict[str, Any]) -> None:
    document["foreign_share"] = {"frames": 0.0, "octets": 0.0}
    document["seen_by_guest"] = {"frames": 9, "octets": 9}
    assert to_document(from_document(document)) == to_document(report_of())


def test_the_schema_is_published_as_it_is() -> None:
    text = json.dumps(schema(), indent=2) + "\n"
    if os.environ.get("NWSCAN_REGENERATE"):
        PUBLISHED.parent.mkdir(exist_ok=True)
        PUBLISHED.write_text(text, encoding="utf-8")
    assert PUBLISHED.read_text(encoding="utf-8") == text, "read the change, then run with NWSCAN_REGENERATE=1"


def test_documents_obey_the_published_schema(document: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    checker = jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))
    checker.check_schema(checker.schema)
    checker.validate(document)
    assert not checker.is_valid(changed(document, "groups.0.joined", "yes"))
    assert msgspec.json.decode(encode(report_of())) == document
