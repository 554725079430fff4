"""What a feed lends stays as it is for as long as it says."""

from __future__ import annotations

import io
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from analyzer.capture import feed
from analyzer.capture.feed import FileOctets, Stream

if TYPE_CHECKING:
    from analyzer.model.frames import U8

OCTETS = bytes(range(256)) * 8


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_what_is_lent_stays_until_its_thread_asks_for_more(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "WINDOW_OCTETS", 100)
    file = io.BytesIO(OCTETS)
    source = Stream(FileOctets(file), file)
    order = random.Random(5)  # noqa: S311 - which thread asks next
    lent: dict[int, tuple[int, int, int, U8]] = {}
    times = 0
    with ExitStack() as stack:
        pools = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(threads)]
        while (asking := order.randrange(threads)) >= 0 and pools[asking].submit(source.require, 1).result():
            for octets in (10, 30, 90):  # a record is asked for part by part: the window may move each time
                pools[asking].submit(source.require, octets).result()
            begin = source.base + source.at
            lent[asking] = begin, source.at, source.stop, pools[asking].submit(source.lend).result()
            source.at = min(source.at + order.randrange(1, 60), source.stop)  # several batches of one window, too
            times += 1
            for first, at, stop, data in lent.values():
                assert data[at:stop].tobytes() == OCTETS[first : first + stop - at]
    assert times > 30


def test_more_than_a_window_may_hold_is_not_asked_of_the_file() -> None:
    file = io.BytesIO(OCTETS)
    source = Stream(FileOctets(file), file)
    assert not source.require(feed.MAX_WINDOW_OCTETS + 1)
    assert (file.tell(), source.octets_read) == (0, 0)
    assert source.require(1)
