"""A terminal in a lab, with a command on it: what it shows, and keys for it. tmux is the terminal."""

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from tests.lab.lab import Lab
from tests.lab.nwscan_run import wait_for


class Terminal:
    """Runs a command on a terminal of so many columns and lines; its end is the command's."""

    def __init__(
        self,
        lab: Lab,
        command: Sequence[str],
        *,
        columns: int = 80,
        lines: int = 24,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._lab = lab
        self._name = f"nwscan-{os.getpid()}"
        self._size = ("-x", str(columns), "-y", str(lines))
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in (env or {}).items())
        self._command = f"{settings} {shlex.join(command)}; echo ended with $?; cat"

    def __enter__(self) -> Self:
        self._tmux("-f", "/dev/null", "new-session", "-d", *self._size, self._command)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lab.run(["tmux", "-L", self._name, "kill-server"])
        wait_for(lambda: self._lab.run(["tmux", "-L", self._name, "list-sessions"]).returncode != 0, "tmux has ended")

    def _tmux(self, *words: str) -> str:
        return self._lab.run(
            ["tmux", "-u", "-L", self._name, *words], check=True, env={"TERM": "xterm-256color"}
        ).stdout

    def shown(self, *, colours: bool = False) -> str:
        """What is on the terminal now; with ``colours`` as the escapes that make it."""
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def cursor_is_shown(self) -> bool:
        """Whether there is a cursor to be seen."""
        return self._tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"

    def press(self, *keys: str) -> None:
        """Press keys, by the names that tmux has for them."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Make the window another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def wait_until(self, claim: Callable[[str], bool], what: str) -> str:
        """What is shown as soon as the claim about it holds; AssertionError with it if that is not in time."""
        last = [""]

        def holds() -> bool:
            last[0] = self.shown()
            return claim(last[0])

        try:
            wait_for(holds, what)
        except (AssertionError, subprocess.SubprocessError) as error:
            raise AssertionError(f"{error}\n{last[0]}") from error
        return last[0]
