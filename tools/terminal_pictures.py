"""Make the pictures of the tables of the terminal: each command typed on a terminal of 80 and of 120 columns in a lab.

What is drawn is what the terminal held, colours included, as SVG by rich; no font is fetched.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.lab.lab import Lab
from tests.lab.schedule import Schedule
from tests.lab.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WIDTHS: Final = (80, 120)
LINES: Final = 200
"""More than any command prints; only what it prints is drawn."""
TOP_LINES: Final = 18
TRAFFIC: Final = Schedule(foreign=90_000, own=30_000, multicast=7_500, broadcast=4_500, rate_fps=300)
"""For minutes; few frames a second, so that none is lost on a busy machine."""
ENVIRONMENT: Final = {"NWSCAN_STATE": "/run/nwscan", "NWSCAN_DURATION": "5"}
"""Where a lab keeps what it keeps, and seconds a window."""
ENDED: Final = "ended with "

SVG: Final = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
line-height: {line_height}px; white-space: pre; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""rich's own format without the fonts that it would fetch."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture: its name, the line that is typed, and the line before which it ends where not all is drawn."""

    name: str
    line: str
    until: str = ""


FILES: Final = (
    Shot("analyze", "nwscan analyze captures/before.pcapng"),
    Shot("suggest", "nwscan suggest --from captures/before.pcapng", until="<filter "),
    Shot("replay", "nwscan replay captures/before.pcapng --filter filters/nwscan-00000001-0.xml"),
)
BEFORE: Final = (
    Shot("list", "nwscan list"),
    Shot("capture", "nwscan capture vnet0"),
    Shot("report", "nwscan report before.json after.json vm2.json"),
    Shot("explain", "nwscan explain vm1"),
    Shot("filters", "nwscan filters"),
    Shot("filter", "nwscan filters no-mac-spoofing --guest vm1"),
)
AFTER: Final = (
    Shot("verify", "nwscan verify vm1"),
    Shot("status", "nwscan status"),
)


def svg_of(title: str, ansi: str, columns: int) -> str:
    """Give what a terminal of so many columns held, with its colours, as a picture under a title."""
    with open("/dev/null", "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - a device
        out = Console(record=True, width=columns, file=nowhere, color_system="truecolor", force_terminal=True)
        out.print(Text.from_ansi(f"{ansi}\n"), no_wrap=True, overflow="ignore", crop=False)
    return out.export_svg(title=title, theme=MONOKAI, code_format=SVG, unique_id="t")


def make(folder: Path, captures: Path) -> Iterator[Path]:
    """Write every picture into ``folder``, each command being typed in one lab; gives them as they are there."""
    with Lab() as lab:
        typist = _Typist(lab, folder)
        lab.run(["mkdir", typist.place], check=True)
        lab.run(["ln", "-s", captures, f"{typist.place}/captures"], check=True)
        with lab.sending(TRAFFIC):
            typist.prepare("nwscan suggest --from captures/before.pcapng --xml filters")
            typist.prepare("nwscan analyze captures/before.pcapng -o before.json")
            typist.prepare("nwscan analyze captures/after.pcapng -o after.json")
            typist.prepare("nwscan capture vm2 -o vm2.json")
            for shot in (*FILES, *BEFORE):
                yield from typist.draw(shot)
            typist.prepare("nwscan suggest --apply vm1 --yes --force")
            for shot in AFTER:
                yield from typist.draw(shot)
            yield from typist.draw_top()
            typist.prepare("nwscan rollback vm1 --yes")


class _Typist:
    """Types in a folder of a lab, and draws what the terminal shows."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab, self._folder = lab, folder
        self.place = "/run/pictures"

    def prepare(self, line: str) -> None:
        """Type a line that is not drawn."""
        self._lab.run(["sh", "-c", f"cd {self.place} && {line}"], env=ENVIRONMENT, check=True, timeout_s=120)

    def draw(self, shot: Shot) -> Iterator[Path]:
        """Draw what a command prints, in each width."""
        for columns in WIDTHS:
            with self._terminal(shot.line, columns, LINES) as terminal:
                terminal.wait_until(lambda now: ENDED in now, f"{shot.line} has ended")
                held = terminal.shown(colours=True)
            printed = held.partition(ENDED)[0].splitlines()
            while printed and not Text.from_ansi(printed[-1]).plain.strip():
                printed.pop()
            cut = [place for place, text in enumerate(printed) if shot.until and shot.until in text]
            kept = [*printed[: cut[0]], "..."] if cut else printed
            yield self._write(shot.name, shot.line, "\n".join([f"\x1b[2m$\x1b[0m {shot.line}", *kept]), columns)

    def draw_top(self) -> Iterator[Path]:
        """Draw the live view, in each width."""
        line = "nwscan top"
        for columns in WIDTHS:
            with self._terminal(line, columns, TOP_LINES) as terminal:
                terminal.wait_until(lambda now: "vm1" in now and "over 2 s" in now, "the view has rates")
                yield self._write("top", line, terminal.shown(colours=True).rstrip(), columns)
                terminal.press("q")
                terminal.wait_until(lambda now: ENDED in now, "the view has ended")

    def _terminal(self, line: str, columns: int, lines: int) -> Terminal:
        command = ["sh", "-c", f"cd {shlex.quote(self.place)} && exec {line}"]
        return Terminal(self._lab, command, columns=columns, lines=lines, env=ENVIRONMENT)

    def _write(self, name: str, title: str, ansi: str, columns: int) -> Path:
        path = self._folder / f"{name}-{columns}.svg"
        path.write_text(svg_of(title, ansi, columns), encoding="utf-8")
        return path
