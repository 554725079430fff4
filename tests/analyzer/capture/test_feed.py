"""What a feed lends stays as it is for as long as it says."""

from __future__ import annotations

import io

import pytest

from analyzer.capture import feed
from analyzer.capture.feed import Feed, FileOctets

OCTETS = bytes(range(256)) * 8


@pytest.mark.parametrize("windows", [1, 2, 3])
def test_what_is_lent_stays_until_as_many_more_are_lent(windows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "WINDOW_OCTETS", 100)
    file = io.BytesIO(OCTETS)
    source = Feed(FileOctets(file), file, windows)
    lent = []
    while source.require(1):
        begin = source.base + source.at
        lent.append((begin, source.at, source.stop, source.lend()))
        source.at = source.stop - 7 if source.stop - source.at > 7 else source.stop
        for octets in (10, 30, 90):  # a record is asked for part by part: the window may move each time
            source.require(octets)
        for first, at, stop, data in lent[-windows + 1 :] if windows > 1 else []:
            assert data[at:stop].tobytes() == OCTETS[first : first + stop - at]
    assert len(lent) > 10


def test_more_than_a_window_may_hold_is_not_asked_of_the_file() -> None:
    file = io.BytesIO(OCTETS)
    source = Feed(FileOctets(file), file)
    assert not source.require(feed.MAX_WINDOW_OCTETS + 1)
    assert (file.tell(), source.octets_read) == (0, 0)
    assert source.require(1)
