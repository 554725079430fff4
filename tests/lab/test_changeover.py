"""A guest whose filter is changed while 10,000 frames a second come to it: none of its own is lost, leaks are told."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.lab import layout
from tests.lab.frames import Kind
from tests.lab.nwscan_run import wait_for
from tests.lab.schedule import Schedule
from tests.lab.tap_capture import tcpdump

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json, Nwscan

VM1 = layout.GUESTS["vm1"]
RATE_FPS = 10_000
FLOOD = Schedule(own=500_000, foreign=500_000, rate_fps=RATE_FPS)
EARLIER = f"""\
<filter name='lab-own-only' chain='root'>
  <rule action='accept' direction='in' priority='100'><mac dstmacaddr='{VM1.mac}'/></rule>
  <rule action='drop' direction='in' priority='900'><mac/></rule>
</filter>
"""
"""Drops foreign unicast already: what passes while it is replaced is a leak, every frame of it."""


@contextmanager
def earlier_filter(lab: Lab) -> Iterator[None]:
    cards = {"live": lab.guest("vm1").interface_xml(), "config": lab.guest("vm1").interface_xml(inactive=True)}

    def put(reference: str) -> None:
        for scope, xml in cards.items():
            lab.write(f"{layout.ROOT}/card.xml", xml.replace("</interface>", f"{reference}</interface>"))
            lab.virsh(f"update-device vm1 {layout.ROOT}/card.xml --{scope}")

    lab.write(f"{layout.ROOT}/earlier.xml", EARLIER)
    lab.virsh(f"nwfilter-define {layout.ROOT}/earlier.xml")
    put("<filterref filter='lab-own-only'/>")
    yield
    put("")
    lab.virsh("nwfilter-undefine lab-own-only")


def applied(nwscan: Nwscan, *more: str) -> Json:
    """Put a filter in and give what passed meanwhile."""
    document = nwscan.run("suggest", "vm1", "--apply", "--yes", "--force", "--json", *more).documents[-1]
    assert document["guest"]["name"] == "vm1"
    passed: Json = document["while_applying"]
    foreign = next(row for row in document["classes"] if row["class"] == "foreign_unicast")
    assert (foreign["predicted_share"], foreign["dropped_share"]) in {(1.0, 1.0), (None, 1.0)}
    assert passed["foreign"]["offered"] > 0
    assert passed["own"]["offered"] == passed["own"]["delivered"] > 0
    # they come in turn, so as many of both are in any window; the counters are read one after the other
    assert passed["own"]["offered"] / passed["foreign"]["offered"] == pytest.approx(1.0, abs=0.1)
    return passed


@pytest.mark.slow
def test_no_own_frame_is_lost_and_every_leaked_one_is_told(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    with earlier_filter(lab), tcpdump(lab, lab.guest("vm1").tap, tmp_path / "tap.pcap", "-s", "160") as capture:
        with lab.sending(FLOOD) as sending:
            start_s = time.monotonic()
            leaked = applied(nwscan)["foreign"]["delivered"]
            redefined = applied(nwscan, "--also-mac", "52:54:00:00:0f:01")
            assert redefined["foreign"]["delivered"] == 0
            until_now = capture.frames(FLOOD.run)[Kind.FOREIGN]
            shown = nwscan.run("verify", "vm1").stdout
            nwscan.run("rollback", "vm1", "--yes")
            sent, due = sending.truth.frames, int((time.monotonic() - start_s) * RATE_FPS)
        own = sending.truth.frames[Kind.OWN]
        wait_for(lambda: capture.frames(FLOOD.run)[Kind.OWN] >= own, f"all {own} own frames are in the capture")
    assert until_now == leaked
    # a sender that falls behind catches up: so many frames were on their way, half of them own ones
    assert sum(sent.values()) > due // 2
    assert abs(sent[Kind.OWN] - sent[Kind.FOREIGN]) <= 1
    assert "While it was put in" not in shown


@pytest.mark.slow
def test_what_passed_is_told_in_words(lab: Lab, nwscan: Nwscan) -> None:
    with lab.sending(Schedule(own=50_000, foreign=50_000, rate_fps=1000)):
        shown = nwscan.run("suggest", "vm1", "--apply", "--yes", "--force").stdout
        nwscan.run("rollback", "vm1", "--yes")
        # without a filter foreign frames come, so there are some to predict by
        document = nwscan.run("suggest", "vm1", "--apply", "--yes", "--force", "--json").documents[-1]
        nwscan.run("rollback", "vm1", "--yes")
    (foreign,) = [row for row in document["classes"] if row["class"] == "foreign_unicast"]
    assert (foreign["predicted_share"], foreign["dropped_share"]) == (1.0, 1.0)
    assert "While it was put in (" in shown
    assert "frames of foreign unicast came" in " ".join(shown.split())
