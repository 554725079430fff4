"""``top``: all guests of the host, as they are flooded now."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import click

from analyzer.errors import NwscanError, UsageError
from nwscan.cli.options import output_format, settings_of

if TYPE_CHECKING:
    from concurrent.futures import Future

    from rich.live import Live

    from analyzer.report.report import Report
    from nwscan.api.counting import HostCounting, TapRate
    from nwscan.config import Settings
    from nwscan.render.keyboard import Keyboard
    from nwscan.render.top_screen import TopScreen

_LOOK_S: Final = 1.0
"""How often taps that came or went are looked for."""
_SHORT_S: Final = 0.1
"""How often it is seen whether what is waited for is there."""


@click.command(epilog="Example: nwscan top --once")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    metavar="SECONDS",
    help="How often the view changes; rates are over this time [2].",
)
@click.option("--once", is_flag=True, help="Measure one interval, print it and end; also off a terminal.")
@output_format("table", "json", "csv")
@click.pass_context
def top(context: click.Context, interval_s: float, once: bool, shape: str) -> None:
    """Show all guests, most foreign frames first, live: counted in the kernel, nothing is captured.

    What is shown was delivered to the guest; where a filter acts, what was offered to it stands beside it. lost/s are
    frames that the guest did not take from its tap in time. --format json and csv print one snapshot.

    Ctrl-C, SIGTERM and SIGHUP end it as q does, and the terminal is as it was. No program can do that after SIGKILL:
    type reset then. What it counted with goes with the process in any case.
    """
    settings = settings_of(context)
    if once or shape != "table":
        _print_once(settings, interval_s, shape)
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("a live view needs a terminal", "top", "print one snapshot with --once, or --format json")
    _watch(settings, interval_s)


def _print_once(settings: Settings, interval_s: float, shape: str) -> None:
    from nwscan.api import live

    found, count, counted_s = live.snapshot(interval_s, settings)
    document = live.top_document(found, count, counted_s)
    if shape == "json":
        click.echo(json.dumps(document))
    elif shape == "csv":
        from nwscan.render.csv import top_csv

        click.echo(top_csv(document), nl=False)
    else:
        from nwscan.render.top import print_snapshot

        print_snapshot(found, count, interval_s)


def _watch(settings: Settings, interval_s: float) -> None:
    from rich.live import Live

    from nwscan.api.counting import HostCounting
    from nwscan.render.console import console
    from nwscan.render.keyboard import Keyboard
    from nwscan.render.top_screen import TopScreen

    screen = TopScreen(interval_s)
    with (
        HostCounting(settings) as counting,
        ThreadPoolExecutor(1) as listener,
        Keyboard(sys.stdin.fileno()) as keyboard,
        Live(console=console(), screen=True, auto_refresh=False) as shown,
    ):
        _View(screen, counting, listener, settings).run(keyboard, shown)


class _View:
    """The loop: counts, keys, and one look at talkers at a time."""

    def __init__(
        self, screen: TopScreen, counting: HostCounting, listener: ThreadPoolExecutor, settings: Settings
    ) -> None:
        self._screen, self._counting, self._listener, self._settings = screen, counting, listener, settings
        self._last = counting.read()
        self._next_s = time.monotonic() + min(1.0, screen.interval_s)  # the first one soon
        self._listening: tuple[TapRate, Future[Report]] | None = None

    def run(self, keyboard: Keyboard, shown: Live) -> None:
        """Show, hear, count, until somebody has seen enough."""
        while not self._screen.is_done:
            size, plain = shown.console.size, not shown.console.encoding.startswith("utf")
            shown.update(self._screen.renderable(size.width, size.height, plain=plain), refresh=True)
            wait_s = _SHORT_S if self._listening is not None else _LOOK_S
            for key in keyboard.keys(min(wait_s, self._next_s - time.monotonic())):
                self._screen.press(key)
            self._listen()
            self._counting.look()
            if time.monotonic() >= self._next_s:
                self._count()

    def _count(self) -> None:
        from nwscan.api.counting import rates

        now = self._counting.read()
        self._screen.update(rates(self._last, now), now)
        self._last, self._next_s = now, time.monotonic() + self._screen.interval_s

    def _listen(self) -> None:
        """Begin to listen to the guest that was chosen, one at a time; take what came of it."""
        from nwscan.api.live import talkers
        from nwscan.render.top_screen import PEEK_S

        wanted = self._screen.looking_at
        if self._listening is not None and self._listening[1].done():
            (rate, listened), self._listening = self._listening, None
            if rate is wanted:
                self._screen.found = _outcome(listened)
        if wanted is not None and self._screen.found is None and self._listening is None:
            card, screen = wanted.card.identity, self._screen

            def is_wanted() -> bool:
                return screen.looking_at is wanted and not screen.is_done

            self._listening = wanted, self._listener.submit(talkers, card, PEEK_S, self._settings, is_wanted)


def _outcome(listened: Future[Report]) -> Report | NwscanError:
    try:
        return listened.result()
    except NwscanError as error:
        return error
