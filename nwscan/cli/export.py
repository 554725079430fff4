"""``export``: the counts and facts of the host for Prometheus."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from analyzer.errors import HostError, UsageError
from nwscan.cli.options import check_output, settings_of
from nwscan.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from analyzer.errors import NwscanError
    from nwscan.api.counting import HostCounting
    from nwscan.config import Settings

DEFAULT_LISTEN: Final = "127.0.0.1:9879"
_LOOK_S: Final = 1.0
_PORTS: Final = 65535


@click.command(epilog="Example: nwscan export --listen 127.0.0.1:9879")
@click.option(
    "--listen", metavar="ADDR:PORT", help=f"Answer Prometheus here [{DEFAULT_LISTEN}, unless there is --textfile]."
)
@click.option(
    "--textfile",
    type=click.Path(path_type=Path),
    metavar="FILE.prom",
    help="Write a file for the node exporter, too; it is removed at the end.",
)
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.2, 3600),
    default=15.0,
    metavar="SECONDS",
    help="How often the file is written [15].",
)
@click.option("--alerts", is_flag=True, help="Print alert rules for Prometheus and end.")
@click.option("--dashboard", is_flag=True, help="Print a dashboard for Grafana and end.")
@click.pass_context
def export(
    context: click.Context, listen: str | None, textfile: Path | None, interval_s: float, alerts: bool, dashboard: bool
) -> None:
    """Count on all taps of the host for Prometheus until interrupted: offered, delivered, rule hits, drift, verdicts.

    The kernel counts, and nothing is captured. Counts go with the process: a scraper sees them begin at 0 again.
    """
    if alerts or dashboard:
        if alerts and dashboard:
            raise UsageError("two documents on one output", "--alerts --dashboard", "ask for one of them")
        _print_shipped("alerts.yml" if alerts else "grafana.json")
        return
    check_output(textfile)
    if textfile is not None and textfile.exists() and not textfile.is_file():
        raise UsageError("not a file: it would be replaced", f"--textfile {textfile}", "name a file, new or of before")
    if listen is None and textfile is None:
        listen = DEFAULT_LISTEN
    place = None if listen is None else parse_listen(listen)
    _run(settings_of(context), place, textfile, interval_s)


def parse_listen(text: str) -> tuple[str, int]:
    """Give address and port of ``ADDR:PORT``; an IPv6 address may stand in brackets. Raises UsageError."""
    address, colon, port = text.rpartition(":")
    address = address.removeprefix("[").removesuffix("]")
    if not colon or not address or not (port.isascii() and port.isdigit()) or not 0 < int(port) <= _PORTS:
        raise UsageError(f"not an address and port: {text!r}", "--listen", f"write it as {DEFAULT_LISTEN}")
    return address, int(port)


def _print_shipped(name: str) -> None:
    from importlib.resources import files

    click.echo(files("nwscan").joinpath("dashboards", name).read_text(encoding="utf-8"), nl=False)


def _run(settings: Settings, place: tuple[str, int] | None, textfile: Path | None, interval_s: float) -> None:
    try:
        from nwscan.render import metrics
    except ImportError as error:
        raise UsageError(
            "the Python module prometheus_client is not there", str(error), "pip install 'nwscan[export]'"
        ) from error
    from nwscan.api.counting import HostCounting
    from nwscan.api.facts import FactsWatch

    end = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        end.set()

    with ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, stop))
        counting = stack.enter_context(HostCounting(settings))
        facts = stack.enter_context(FactsWatch(counting.cards, settings))
        registry = metrics.registry_of(metrics.HostCollector(counting.read, facts.current))
        if place is not None:
            stack.callback(metrics.serve(registry, *place))
            click.echo(f"listening on http://{_shown(place)}/metrics", err=True)
        writes = None
        if textfile is not None:
            stack.callback(textfile.unlink, missing_ok=True)
            writes = partial(metrics.write_file, registry, textfile)
            writes()
        _follow(counting, end, writes, interval_s)


def _follow(counting: HostCounting, end: threading.Event, write: Callable[[], None] | None, interval_s: float) -> None:
    """Follow the host's taps, and write the file, until the end. What fails and what works again is told once."""
    libvirt, file = _Trouble("taps are not followed: "), _Trouble("the file is that of before: ")
    next_s = time.monotonic() + interval_s
    while not end.wait(min(_LOOK_S, interval_s)):
        counting.look()
        libvirt.now(counting.trouble)
        if write is not None and time.monotonic() >= next_s:
            next_s = time.monotonic() + interval_s
            try:
                write()
            except HostError as error:
                file.now(error)
            else:
                file.now(None)


class _Trouble:
    """Tells on standard error that something has begun to fail, and that it works again."""

    def __init__(self, words: str) -> None:
        self._words, self._is_there = words, False

    def now(self, error: NwscanError | None) -> None:
        """Say what is so now."""
        if error is not None and not self._is_there:
            told = "; ".join(visible(text) for text in (error.what, error.where, error.hint) if text)
            click.echo(f"{self._words}{told}", err=True)
        elif error is None and self._is_there:
            click.echo(f"{self._words}no more", err=True)
        self._is_there = error is not None


def _shown(place: tuple[str, int]) -> str:
    address, port = place
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
