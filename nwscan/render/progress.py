"""Progress on stderr: rate and loss while it runs, nothing in a pipe."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from analyzer.model.classes import FrameClass
from nwscan.render.console import console
from nwscan.render.text import count, short, shortened, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nwscan.worker.messages import Progress as Told


_LABEL_MOST: Final = 12
"""Columns of a name: with it all figures stand on a line of 80, and the bar has what is left."""
_COUNTED_MOST: Final = 100_000


def _many(number: int) -> str:
    """Give a count, from a hundred thousand on in as few characters as a rate."""
    return count(number) if number < _COUNTED_MOST else short(number, "").strip()


class _Bar:
    """Shows what the worker tells on one line."""

    def __init__(self, bar: Progress, label: str, total_s: float | None, announcement: str = "") -> None:
        self._bar = bar
        self._total_s = total_s
        self._announcement = announcement
        self._task = bar.add_task(shortened(visible(label), _LABEL_MOST), total=total_s or 1.0, told="starting")
        self._since_s = time.monotonic()

    def started(self) -> None:
        """Begin to count the time; where no bar is shown, say so: who sends traffic for it can wait for that line."""
        if self._announcement:
            self._bar.console.print(self._announcement, soft_wrap=True)
        self._since_s = time.monotonic()
        self._bar.reset(self._task, told="listening")

    def ended(self) -> None:
        """Say that the reports are being made."""
        self._bar.update(self._task, told="counting up")

    def progress(self, progress: Told) -> None:
        """Show frames, rate, foreign frames and loss."""
        elapsed_s = max(time.monotonic() - self._since_s, 1e-3)
        told = f"{_many(progress.frames)} frames ({short(progress.frames / elapsed_s, '/s')})"
        if progress.classes:
            told += f", {_many(progress.classes[FrameClass.FOREIGN_UNICAST])} foreign"
        if progress.lost:
            told += f", {_many(progress.lost)} lost"
        done = elapsed_s if self._total_s else progress.share
        self._bar.update(self._task, completed=done, told=told)


@contextmanager
def _shown(label: str, total_s: float | None, announcement: str = "") -> Iterator[_Bar]:
    out = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[told]}"), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        yield _Bar(bar, label, total_s, "" if out.is_terminal else announcement)


@contextmanager
def capture_progress(taps: str, duration_s: float | None) -> Iterator[_Bar]:
    """Show how a capture goes; where stderr is no terminal, a plain line as soon as every tap is open and counting."""
    until = "until interrupted" if duration_s is None else f"for {duration_s:g} s"
    with _shown(taps, duration_s, f"capturing on {visible(taps)} {until}") as bar:
        yield bar


@contextmanager
def file_progress(names: str) -> Iterator[_Bar]:
    """Show how the reading of files goes."""
    with _shown(names, None) as bar:
        yield bar
