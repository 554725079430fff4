"""How both doors to libvirt, the one that reads and the one that writes, get their connection.

libvirt-python is imported when a door is opened, not before: everything that works on files works without it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from analyzer.errors import HostError
from analyzer.host.question import answer_within

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

NEEDS_LIBVIRT_PYTHON: Final = (
    "install libvirt-dev, pkg-config and gcc, then: pip install 'nwscan[libvirt]' (work on files needs no libvirt)"
)
CONNECT_S: Final = 30.0
"""How long libvirt may take to let somebody in. Without a limit one that hangs would keep us for good."""
HANGS: Final = "see what keeps libvirtd (or virtqemud) from answering, or restart it: its guests run on"
_KEPT_OUT: Final = ("permission denied", "access denied", "authentication", "authorization")
"""What libvirt and polkit say of a user that may not."""


def load_libvirt() -> ModuleType:
    """Give the libvirt module, kept from writing to standard error. Raises HostError where it is not installed."""
    try:
        import libvirt  # noqa: PLC0415 - late: see the module's docstring
    except ImportError as error:
        raise HostError("the Python module libvirt is not there", str(error), NEEDS_LIBVIRT_PYTHON) from error
    libvirt.registerErrorHandler(_ignore_error, None)
    return libvirt  # type: ignore[no-any-return]


def _ignore_error(_context: object, _error: object) -> None:
    """Keep libvirt's chatter off standard error: every error also comes as an exception."""


def connect(libvirt: Any, opening: Callable[[str], Any], uri: str) -> Any:  # noqa: ANN401 - libvirt-python has no types
    """Give the connection that ``opening``, one of libvirt's functions, makes; Ctrl-C ends the wait for it.

    Raises HostError, with libvirt's own words, where nobody answers, or lets this user not in (the socket's group,
    polkit), and where there is no answer within CONNECT_S.
    """
    try:
        return answer_within(CONNECT_S, "libvirt", partial(opening, uri))
    except TimeoutError as error:
        raise HostError(f"cannot reach libvirt: no answer within {CONNECT_S:.0f} s", uri, HANGS) from error
    except libvirt.libvirtError as error:
        told = str(error.get_error_message())
        hint = "see whether libvirtd (or virtqemud) runs, and name another one with --connect"
        if any(word in told.lower() for word in _KEPT_OUT):
            hint = "join the group of libvirt's socket (unix_sock_group; libvirt on Debian), or ask for a polkit rule"
        raise HostError(f"cannot reach libvirt: {told}", uri, hint) from error
