"""Programs of this host that answer questions: ip, bridge, ebtables-save, nft.

No shell, fixed argument lists, the C locale, a time limit. Called by the doors of analyzer/host; never with anything
that was not checked before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from analyzer.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S: Final = 20.0

_SYSTEM_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where distributions put these programs; an ordinary user's PATH often lacks sbin."""

_PACKAGES: Final[Mapping[str, str]] = {
    "ip": "iproute2",
    "bridge": "iproute2",
    "ebtables-save": "ebtables",
    "nft": "nftables",
    "tc": "iproute2",
}


class ProgramFailedError(HostError):
    """The program ran and refused; ``output`` is what it said on standard error."""

    def __init__(self, what: str, where: str, hint: str, output: str) -> None:
        super().__init__(what, where, hint)
        self.output = output


def program_path(name: str) -> str | None:
    """Give the path of the program, None where it is not installed."""
    return shutil.which(name, path=_SYSTEM_PATH)


def run_program(name: str, *arguments: str) -> str:
    """Give what ``name`` with ``arguments`` prints.

    Raises HostError where it is not installed or does not end in time, ProgramFailedError where it fails.
    """
    where = " ".join((name, *arguments))
    path = program_path(name)
    if path is None:
        raise HostError(f"the program {name} is not installed", where, f"install {_PACKAGES.get(name, name)}")
    try:
        done = subprocess.run(  # noqa: S603 - no shell, arguments checked by the caller
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={"PATH": _SYSTEM_PATH, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise HostError(f"{name} did not answer in {_TIMEOUT_S:g} s", where, "see what keeps it waiting") from error
    except OSError as error:
        raise HostError(f"cannot run {name}: {error.strerror}", where, f"see whether {path} can be run") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        needs_root = "not permitted" in said or "ermission denied" in said
        hint = "run as root, or give CAP_NET_ADMIN" if needs_root or os.geteuid() != 0 else f"try it by hand: {where}"
        raise ProgramFailedError(f"{name} failed: {said.splitlines()[0]}", where, hint, said)
    return done.stdout.decode(errors="replace")
