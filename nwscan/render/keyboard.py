"""Keys of the terminal, one at a time and without echo; and the news of a new size, or that it is time to end."""

from __future__ import annotations

import os
import re
import select
import signal
import termios
import tty
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

QUIT: Final = "quit"
"""What is read when the terminal is gone, or the process was asked to end."""

_NAMED: Final = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down", "\x1b[5~": "page up", "\x1b[6~": "page down",
    "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home", "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end",
    "\r": "enter", "\n": "enter", "\x1b": "escape", "\x7f": "escape", "\x08": "escape", "\x04": QUIT,
}  # fmt: skip
_KEY: Final = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.)?|.", re.DOTALL)
"""A control sequence (ECMA-48, 5.4), a key of the application keypad, or one character."""
_READ_OCTETS: Final = 1024


def parse_keys(octets: bytes) -> list[str]:
    """Give the keys that a terminal sent: names of the known ones, printing characters; nothing for the others."""
    found = []
    for match in _KEY.finditer(octets.decode("utf-8", errors="replace")):
        text = match.group()
        name = _NAMED.get(text, text if len(text) == 1 and text.isprintable() else "")
        if name:
            found.append(name)
    return found


class Keyboard:
    """The terminal behind ``descriptor``, read key by key from entering it to leaving it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_ending = False
        self._before: list[Any] = []
        self._handlers: dict[int, Any] = {}
        self._news, self._tell = -1, -1

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._descriptor)
        self._news, self._tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._hear)
        tty.setcbreak(self._descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._news)
        os.close(self._tell)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self._is_ending = self._is_ending or number != signal.SIGWINCH
        os.write(self._tell, b"!")

    def keys(self, timeout_s: float) -> list[str]:
        """Wait for keys, a new size or the time to be over, and give the keys."""
        ready, _, _ = select.select([self._descriptor, self._news], [], [], max(0.0, timeout_s))
        if self._news in ready:
            os.read(self._news, _READ_OCTETS)
        found = []
        if self._descriptor in ready:
            try:
                octets = os.read(self._descriptor, _READ_OCTETS)
            except OSError:  # the terminal was hung up
                octets = b""
            found = parse_keys(octets) if octets else [QUIT]
        return [*found, QUIT] if self._is_ending else found
