"""The view of ``top`` as values: what it shows of any counts, for any keys, on a terminal of any size."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from analyzer.errors import HostError
from analyzer.host.meter import MeterReading
from analyzer.model.classes import FrameClass
from analyzer.model.identity import GuestIdentity, Provenance
from nwscan.api.counting import CountedCard, HostCount, TapCount, TapRate, rates
from nwscan.api.live import top_document
from nwscan.api.tap_counters import CountedBy
from nwscan.render.csv import top_csv
from nwscan.render.keyboard import QUIT, parse_keys
from nwscan.render.text import visible
from nwscan.render.top import LOOKS, SORT_KEYS, bar, sorted_rates
from nwscan.render.top_screen import TopScreen
from tests.nwscan.command import nwscan

FOREIGN = FrameClass.FOREIGN_UNICAST
KEYS = st.sampled_from(
    [*"fobmutlnrp xqZ", "up", "down", "page up", "page down", "home", "end", "enter", "escape", QUIT]
)
COUNTS = st.lists(st.integers(0, 2**40), min_size=6, max_size=6)
HOSTILE = "vm\x1b[2J\n\u202e[red]"


def card(number: int, name: str | None = None, filter_name: str | None = None) -> CountedCard:
    mac = 0x525400000000 + number
    return CountedCard(
        GuestIdentity(
            (mac,), Provenance.LIBVIRT_XML, name=name or f"vm{number}", uuid=f"uuid{number}", tap=f"vnet{number}"
        ),
        filter_name,
    )


def rate(number: int, delivered: list[int], *, name: str | None = None, foreign_offered: int = 0) -> TapRate:
    values = np.array([[count, count * 100] for count in delivered], np.float64)
    offered = values.copy()
    offered[FOREIGN, 0] += foreign_offered
    return TapRate(card(number, name), offered, values, 0.0, CountedBy.METER)


def count_of(uncounted: tuple[CountedCard, ...] = (), trouble: HostError | None = None) -> HostCount:
    return HostCount(1.0, (), uncounted, trouble)


def drawn(screen: TopScreen, columns: int, lines: int, *, plain: bool = False) -> list[str]:
    console = Console(
        width=columns, height=lines, file=io.StringIO(), markup=False, highlight=False, emoji=False, color_system=None
    )
    with console.capture() as captured:
        console.print(screen.renderable(columns, lines, plain=plain))
    return captured.get().rstrip("\n").split("\n")


def screen_of(*rows: TapRate, **told: HostError) -> TopScreen:
    screen = TopScreen(2.0)
    screen.update(rows, count_of(**told))
    return screen


@given(COUNTS, st.integers(1, 60))
def test_a_bar_fills_its_columns_and_never_hides_what_is_foreign(counts: list[int], columns: int) -> None:
    shown = bar(rate(1, counts), columns, plain=True).plain
    seen = sum(counts[look.kind] for look in LOOKS)
    assert len(shown) == (columns if seen else 0)
    assert ("#" in shown) == (counts[FOREIGN] > 0)
    assert all((look.plain in shown) <= (counts[look.kind] > 0) for look in LOOKS)


@settings(deadline=None)
@given(st.lists(COUNTS, max_size=40), st.lists(KEYS, max_size=12), st.integers(80, 200), st.integers(10, 60))
def test_whatever_keys_come_the_view_fits_its_terminal(
    counts: list[list[int]], keys: list[str], columns: int, lines: int
) -> None:
    screen = screen_of(*(rate(number, each) for number, each in enumerate(counts)))
    for key in keys:
        screen.press(key)
    shown = drawn(screen, columns, lines)
    assert len(shown) <= lines
    assert all(len(line.rstrip()) <= columns for line in shown)
    assert screen.is_done == any(key in {"q", QUIT} for key in keys)


@given(st.binary(max_size=64))
def test_any_octets_of_a_terminal_are_keys_or_nothing(octets: bytes) -> None:
    assert all(key.isprintable() for key in parse_keys(octets))


def test_keys_are_told_apart() -> None:
    sent = b"f\x1b[A\x1b[B\x1bOA\x1b[5~\x1b[6~\r\x1b[1;5C\xc3\xa9"
    assert parse_keys(sent) == ["f", "up", "down", "up", "page up", "page down", "enter", "\xe9"]
    assert parse_keys(b"\x1b") == ["escape"]
    assert parse_keys(b"\x04") == [QUIT]


def order(screen: TopScreen) -> list[str]:
    return [line.split()[-6 if line.startswith(">") else 0] for line in drawn(screen, 100, 40)[3:6]]


def test_rows_are_sorted_by_each_key_and_the_other_way_round() -> None:
    low, high, middle = rate(1, [1, 2, 3, 4, 0, 0]), rate(2, [9, 9, 9, 9, 0, 0]), rate(3, [5, 5, 5, 5, 0, 0])
    screen = screen_of(low, high, middle)
    for key in "fobmut":
        screen.press(key)
        assert order(screen) == ["vm2", "vm3", "vm1"], key
    screen.press("r")
    assert order(screen) == ["vm1", "vm3", "vm2"]
    screen.press("r")
    screen.press("n")
    assert order(screen) == ["vm1", "vm2", "vm3"]
    assert sorted_rates([middle, high], SORT_KEYS[0]) == [high, middle]


def test_a_paused_view_stands_still_and_goes_on_with_what_is_then() -> None:
    screen = screen_of(rate(1, [0, 0, 0, 500, 0, 0]))
    screen.press("p")
    screen.update([rate(1, [0, 0, 0, 900, 0, 0])], count_of())
    assert "PAUSED" in drawn(screen, 80, 24)[1]
    assert "500" in drawn(screen, 80, 24)[3]
    screen.press("p")
    screen.update([rate(1, [0, 0, 0, 900, 0, 0])], count_of())
    assert "900" in drawn(screen, 80, 24)[3]


def test_the_chosen_guest_stays_chosen_where_the_order_changes() -> None:
    screen = screen_of(*(rate(number, [0, 0, 0, 1000 - number, 0, 0]) for number in range(200)))
    for _ in range(150):
        screen.press("down")
    assert any(line.startswith("> vm150 ") for line in drawn(screen, 80, 24))
    screen.press("r")
    screen.update([rate(number, [0, 0, 0, number, 0, 0]) for number in range(200)], count_of())
    shown = drawn(screen, 80, 24)
    assert any(line.startswith("> vm150 ") for line in shown)
    assert "and 183 more" in shown
    screen.press("enter")
    assert screen.looking_at is not None
    assert screen.looking_at.card == card(150)
    assert "vm150 on vnet150: listening" in drawn(screen, 80, 24)[0]
    screen.found = HostError("cannot capture", "vnet150", "run as root")
    assert drawn(screen, 80, 24)[:3] == ["vm150 on vnet150: cannot capture", "vnet150", "run as root"]
    screen.press("escape")
    assert screen.looking_at is None


def test_offered_stands_beside_where_a_filter_acts_and_only_there() -> None:
    open_row = rate(1, [0, 0, 0, 300, 0, 0])
    filtered = rate(2, [0, 0, 0, 0, 0, 0], foreign_offered=777)
    head, _, _, first, second, *_ = drawn(screen_of(open_row, filtered), 80, 24)
    assert head == "2 guests on 2 taps see 300 foreign frames/s of 1.1 k offered"
    assert first.split()[:3] == ["vm1", "vnet1", "300"]
    assert first.count("300") == 2  # foreign, and all; not offered
    assert second.split()[:4] == ["vm2", "vnet2", "0", "777"]


def test_what_is_not_counted_is_no_nought_and_trouble_is_told() -> None:
    screen = TopScreen(2.0)
    screen.update([], count_of((card(7, "aside"),), HostError("libvirt is away")))
    shown = drawn(screen, 80, 24)
    assert "libvirt is away" in shown[1]
    assert shown[3].split() == ["aside", "vnet7", "-", "-", "not", "counted", "-", "-"]


def test_names_of_guests_are_escaped_everywhere() -> None:
    screen = screen_of(rate(1, [0, 0, 0, 5, 0, 0], name=HOSTILE))
    for key in ("down", "enter", "escape"):
        for line in drawn(screen, 200, 24):
            assert line.isprintable()
        screen.press(key)
    assert any(visible(HOSTILE) in line for line in drawn(screen, 200, 24))
    document = top_document((rate(1, [0, 0, 0, 5, 0, 0], name="=1+1"),), count_of((card(2),)), 2.0)
    lines = top_csv(document).splitlines()
    assert lines[1].startswith("'=1+1,vnet1,52:54:00:00:00:01,,,unicast_to_guest,0.0,")
    assert lines[-1] == "vm2,vnet2,52:54:00:00:00:02,,,,,,,,,"


def test_documents_obey_the_published_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    path = Path(__file__).parents[2] / "nwscan/schemas/top-1.json"
    checker = jsonschema.Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))
    rows = rate(1, [1, 2, 3, 4, 5, 0]), rate(2, [0] * 6, foreign_offered=7)
    document = top_document(rows, count_of((card(3),), HostError("libvirt is away")), 2.0)
    assert list(checker.iter_errors(document)) == []
    assert document["taps"][2]["classes"] is None
    document["taps"][0]["classes"]["foreign_unicast"]["offered"] = None
    assert len(list(checker.iter_errors(document))) == 1


def test_a_tap_without_two_counts_has_no_rate() -> None:
    def tap(number: int, frames: int) -> TapCount:
        counts = np.full((6, 2), frames, np.int64)
        return TapCount(card(number), MeterReading(counts, counts), frames, CountedBy.CLASSIFIER)

    before, after = HostCount(10.0, (tap(1, 5),), ()), HostCount(12.0, (tap(1, 9), tap(2, 50)), ())
    (found,) = rates(before, after)
    assert found.card == card(1)
    assert found.delivered.tolist() == [[2.0, 2.0]] * 6
    assert found.dropped_fps == 2.0


def test_off_a_terminal_it_says_how_to_get_a_snapshot() -> None:
    said = nwscan("top").error(2)
    assert "--once" in said["do"]


@pytest.mark.skipif(os.geteuid() != 0, reason="without permission the error is another one")
def test_without_libvirt_it_says_so() -> None:
    assert "libvirt" in nwscan("top", "--once").error(4)["error"]
