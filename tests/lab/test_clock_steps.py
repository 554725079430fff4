"""The clock of the host is set, forwards and back, while nwscan measures, judges, waits and counts."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from generator.deploy.journal_record import State
from tests.lab.nwscan_run import wait_for
from tests.lab.schedule import Schedule
from tests.lab.set_clock import NwscanWithItsDay
from tests.lab.test_confirm import FEW, INCONCLUSIVE, card_of, record_of
from tests.lab.test_export import EXPORTER, exporting, got, line_of
from tests.lab.test_main_job_ends import leftovers

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json

HOUR_S = 3600
FLOOD = Schedule(foreign=60_000, own=24_000, multicast=6_000, broadcast=3_600, rate_fps=800)
WINDOW_S = 3.0
NOTE = "The host's clock was set by"


@pytest.fixture
def nwscan(lab: Lab, tmp_path: Path) -> NwscanWithItsDay:
    return NwscanWithItsDay(lab, tmp_path)


def length_s(document: Json) -> float:
    (window,) = document["windows"]
    start, end = (datetime.fromisoformat(window[end][:26] + "+00:00") for end in ("start", "end"))
    return (end - start).total_seconds()


def test_the_clock_is_set_while_it_captures_and_counts(lab: Lab, nwscan: NwscanWithItsDay) -> None:
    began_s = time.monotonic()
    with exporting(lab, nwscan, "--listen", EXPORTER) as exporter, nwscan.start("capture", "vm1", "--json") as capture:
        words = ["nwscan", "top", "--json", "--interval", "3"]
        with lab.popen(words, env=nwscan.environment(1), stdout=-1) as top:
            sent = sum(lab.send(Schedule(foreign=40)).frames.values())
            for seconds in (HOUR_S, -HOUR_S, 0, -10 * HOUR_S):
                nwscan.set_clock(seconds)
                sent += sum(lab.send(Schedule(foreign=40)).frames.values())
                time.sleep(0.3)
            rates = json.loads(top.communicate(timeout=60)[0])
        told = got(lab, f"http://{EXPORTER}/metrics")
        ended = capture.interrupt()
        exporter.terminate()
        assert exporter.wait(30) == 0
    report, elapsed_s = ended.document, time.monotonic() - began_s
    assert (ended.code, report["classes"]["foreign_unicast"]["frames"]) == (0, sent)
    assert 0 < length_s(report) <= elapsed_s
    assert [note for note in report["notes"] if note.startswith(f"{NOTE} -36,000.0 s")] != []
    kept = nwscan.run("report", "--json", next(nwscan.state.glob("reports/**/report.json"))).document
    assert kept["windows"] == report["windows"]
    assert 3 <= rates["interval_s"] <= elapsed_s
    foreign = line_of(told, "nwscan_offered_frames_total", 'domain="vm1"', 'class="foreign_unicast"')
    assert foreign == sent
    assert "nwscan_following_up 1.0" in told


def test_the_clock_is_set_while_verify_measures(lab: Lab, nwscan: NwscanWithItsDay) -> None:
    with lab.sending(FLOOD):
        nwscan.run("capture", "vm1", duration_s=WINDOW_S)
        before = next(nwscan.state.glob("reports/**/report.json"))
        with nwscan.start("verify", "vm1", "--before", before, "--json", duration_s=WINDOW_S) as verify:
            for seconds in (HOUR_S, -HOUR_S):
                nwscan.set_clock(seconds)
                time.sleep(WINDOW_S / 4)
            ended = verify.finish()
    assert (ended.code, ended.document["verdict"]) == (1, "no_effect"), str(ended)
    after = max(nwscan.state.glob("reports/**/report.json"), key=lambda path: path.stat().st_mtime_ns)
    document = json.loads(after.read_text())
    assert length_s(document) == pytest.approx(WINDOW_S)
    assert any(NOTE in note for note in document["notes"])


def test_the_clock_is_set_while_a_change_waits_to_be_confirmed(lab: Lab, nwscan: NwscanWithItsDay) -> None:
    words = ("suggest", "--apply", "vm1", "--yes", "--force", "--confirm-within", "5s")
    with lab.sending(FEW):
        nwscan.run(*words, code=INCONCLUSIVE, duration_s=1.0, timeout_s=180)
    nwscan.set_clock(HOUR_S)
    card = card_of(nwscan)
    assert card is not None
    assert card["pending"]
    assert 0 < card["left_s"] <= 5
    nwscan.set_clock(-HOUR_S)
    wait_for(lambda: record_of(nwscan).state is State.UNDONE, "it goes back at its deadline")
    assert "nobody confirmed it" in (record_of(nwscan).why or "")
    wait_for(lambda: leftovers(lab, nwscan) == [], "the process that waited has ended")
