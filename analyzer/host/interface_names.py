"""Names of network interfaces: what may be put into a command or a rule.

The kernel allows nearly anything in 15 octets; a name with quotes, blanks or a trailing ``*`` would mean something
else in a rule. Everything in analyzer/host that hands a name on calls this first.
"""

from __future__ import annotations

import re
from typing import Final

from analyzer.errors import UsageError

NAME_OCTETS: Final = 15
"""IFNAMSIZ of <linux/if.h> less its final NUL."""

_NAME = re.compile(rf"[A-Za-z0-9_@+=.][A-Za-z0-9_@+=.-]{{0,{NAME_OCTETS - 1}}}")


def checked_interface_name(name: str) -> str:
    """Give ``name`` back if it is an interface name that can stand in a command or a rule.

    Raises UsageError for anything else: too long, empty, ``.`` and ``..``, a leading dash, blanks, quotes, ``/``,
    ``:``, ``*``.
    """
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise UsageError(
            f"not the name of a network interface: {name!r}",
            hint=f"a name has 1 to {NAME_OCTETS} letters, digits and _ . - + @ =",
        )
    return name
