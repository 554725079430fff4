from __future__ import annotations

import pytest

from analyzer.report.times import format_time, parse_second, parse_time


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1_767_225_600_000_000_001, "2026-01-01T00:00:00.000000001Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807Z"),
        (-(2**63), "1677-09-21T00:12:43.145224192Z"),
    ],
)
def test_times_keep_each_nanosecond(ns: int, text: str) -> None:
    assert format_time(ns) == text
    assert parse_time(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.000000000",
        "2026-01-01T00:00:00.000000000+00:00",
        "2026-02-30T00:00:00.000000000Z",
        "2026-01-01T24:00:01.000000000Z",
        "\u0662026-01-01T00:00:00.000000000Z",
        "2262-04-11T23:47:16.854775808Z",
        "0001-01-01T00:00:00.000000000Z",
    ],
)
def test_what_is_no_time_or_beyond_64_bits_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|day|hour"):
        parse_time(text)


def test_a_second_may_lie_beyond_what_nanoseconds_can_say() -> None:
    assert parse_second("1677-09-21T00:12:43.000000000Z") == -9_223_372_037
    with pytest.raises(ValueError, match="not a time"):
        parse_second("now")
