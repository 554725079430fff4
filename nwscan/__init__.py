"""Measure what a KVM guest sees that is not its own, filter it, prove that it is gone.

The public API: the verbs of nwscan.api, each loaded when it is first used.
"""

from __future__ import annotations

from typing import Any, Final

from analyzer.version import VERSION

_VERBS: Final = {
    "analyze": "nwscan.api.measure",
    "capture": "nwscan.api.measure",
    "compare": "nwscan.api.reports",
    "load": "nwscan.api.reports",
    "measured": "nwscan.api.reports",
    "rollback": "nwscan.api.change",
    "suggest": "nwscan.api.suggesting",
    "verify": "nwscan.api.prove",
}

__version__ = VERSION

__all__ = ["__version__", *sorted(_VERBS)]  # noqa: PLE0604 the verbs are names of functions


def __getattr__(name: str) -> Any:  # noqa: ANN401 whatever the verb is
    """Import a verb when it is asked for: importing nwscan costs nothing."""
    if name not in _VERBS:
        raise AttributeError(f"module 'nwscan' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_VERBS[name]), name)
