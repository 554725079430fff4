"""Times in documents: UTC, RFC 3339 with nine digits of the second and Z, from and to nanoseconds since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

NS_PER_S: Final = 1_000_000_000

TIME_PATTERN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$"

_TIME = re.compile(TIME_PATTERN)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LIMIT: Final = 2**63
"""Times are int64 everywhere inside: the years 1677 to 2262."""


def format_time(ns: int) -> str:
    """Give nanoseconds since the epoch as text."""
    second, rest = divmod(ns, NS_PER_S)
    return f"{_second_text(second)}.{rest:09d}Z"


def parse_time(text: str) -> int:
    """Give the nanoseconds since the epoch that ``text`` says. Raises ValueError, also where int64 cannot hold them."""
    ns = parse_second(text) * NS_PER_S + int(text[20:29])
    if not -_LIMIT <= ns < _LIMIT:
        raise ValueError(f"the time {text} is beyond what nanoseconds in 64 bits can say")
    return ns


def parse_second(text: str) -> int:
    """Give the second since the epoch, rounded down, of any year of four digits. Raises ValueError."""
    if not _TIME.fullmatch(text):
        raise ValueError(f"not a time in UTC with nine digits: {text!r}")
    return _second_of(text[:19])


_SECONDS: Final = 1024
"""Seconds whose texts are remembered: the tables of a report tell the same ones again and again."""


@lru_cache(_SECONDS)
def _second_text(second: int) -> str:
    return f"{_EPOCH + timedelta(seconds=second):%Y-%m-%dT%H:%M:%S}"


@lru_cache(_SECONDS)
def _second_of(text: str) -> int:
    return (datetime.fromisoformat(f"{text}+00:00") - _EPOCH) // timedelta(seconds=1)
