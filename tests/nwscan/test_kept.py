"""What is kept between runs, and which of it may stand for the state before a change."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from analyzer.model.classes import DirectionSource
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.report.report import Report
from analyzer.report.store import encode
from nwscan import kept

if TYPE_CHECKING:
    from pathlib import Path

CARD = GuestIdentity((0x525400000001,), Provenance.LIBVIRT_XML, "vm1", "6e777363-616e-4c61-8b00-000000000001")
REPORT = encode(Report.empty(CARD, DirectionSource.PACKET_TYPE))


def test_the_newest_window_is_the_latest(tmp_path: Path) -> None:
    paths = [kept.save(kept.new_window_folder(tmp_path, CARD), REPORT) for _ in range(3)]
    latest = kept.latest(tmp_path, CARD)
    assert latest is not None
    assert latest.path == paths[-1]


def test_a_window_of_chosen_frames_is_never_the_latest(tmp_path: Path) -> None:
    whole = kept.save(kept.new_window_folder(tmp_path, CARD), REPORT)
    kept.save(kept.new_window_folder(tmp_path, CARD, is_whole=False), REPORT)
    latest = kept.latest(tmp_path, CARD)
    assert latest is not None
    assert latest.path == whole
    assert kept.expire(tmp_path, -1) == 2


def test_what_is_kept_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = kept.save(kept.new_window_folder(tmp_path / "reports", CARD), REPORT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_uuid_that_is_none_makes_no_path(tmp_path: Path) -> None:
    hostile = GuestIdentity((0x525400000001,), Provenance.FILE, "vm1", "../../etc")
    assert kept.card_folder(tmp_path, hostile) == tmp_path / "no-guest" / "52-54-00-00-00-01"
