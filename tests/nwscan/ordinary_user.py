"""An ordinary user with CAP_NET_RAW and CAP_NET_ADMIN, for commands that need no more."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
USER = 65534
"""nobody: libvirt's library wants a user that has a name."""
_CAPABILITIES = ("net_raw", "net_admin")
_OPEN_UP = """
number=3
for folder in "$@"; do
    [ "$folder" = -- ] && break
    eval "exec $number<\\"\\$folder\\""
    number=$((number + 1))
done
number=3
while [ "$1" != -- ]; do
    mount -t tmpfs -o mode=755 none "$1"
    mkdir -p "$2"
    mount --no-canonicalize --bind "/proc/self/fd/$((number + 1))" "$2"
    number=$((number + 2))
    shift 2
done
shift
exec "$@"
"""
"""Mount a folder that others cannot enter anew, empty but for one that they need."""


def as_ordinary_user(groups: str | None = None, capabilities: Sequence[str] = _CAPABILITIES) -> tuple[str, ...]:
    """Give what stands before a command, so that such a user runs it, or one with other capabilities.

    Where the interpreter lies in a folder that only root may enter, a mount namespace opens it.
    """
    hidden = [word for folder in {Path(sys.base_prefix)} for word in _hidden(folder)]
    opened = ("unshare", "--mount", "--propagation", "private", "sh", "-ec", _OPEN_UP, "sh", *hidden, "--")
    given = ",".join(("-all", *(f"+{name}" for name in capabilities)))
    joined = ("--clear-groups",) if groups is None else ("--groups", groups)
    return (
        *(opened if hidden else ()),
        *("setpriv", "--reuid", str(USER), "--regid", str(USER), *joined),
        *("--inh-caps", given, "--ambient-caps", given, "--bounding-set", given),
    )


def _hidden(folder: Path) -> list[str]:
    """The outermost folder on the way to ``folder`` that others cannot enter, and ``folder``; empty without one."""
    way = [*reversed(folder.parents), folder]
    return next(([str(one), str(folder)] for one in way if not one.stat().st_mode & 1), [])
