"""The errors of nwscan: what happened, where, and what to do about it.

Every layer raises these, once, with ``from`` where there is a cause; only the command line prints them.
Nothing here may import anything of ours.
"""

from __future__ import annotations

from typing import ClassVar


class NwscanError(Exception):
    """An error a person can act on.

    ``what`` happened, ``where`` it happened (file and offset, tap, guest), and a ``hint`` on what to do. The
    ``exit_code`` of the class is the exit status of the command that ends with it.
    """

    exit_code: ClassVar[int] = 4

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what, where, hint)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.what, f"where: {self.where}" if self.where else "", f"do: {self.hint}" if self.hint else ""]
        return "; ".join(part for part in parts if part)


class UsageError(NwscanError):
    """The request itself cannot be carried out as it was put."""

    exit_code: ClassVar[int] = 2


class InputError(NwscanError):
    """An input cannot be read: not a capture, another link type, a report of an unknown schema."""

    exit_code: ClassVar[int] = 3


class HostError(NwscanError):
    """The host refused: libvirt, the kernel, or a missing permission."""

    exit_code: ClassVar[int] = 4


class RolledBackError(NwscanError):
    """A change was applied, did harm or failed, and was undone completely."""

    exit_code: ClassVar[int] = 5


class RollbackIncompleteError(NwscanError):
    """A change could not be undone completely; ``where`` names the journal that says what is left."""

    exit_code: ClassVar[int] = 6


def error_for(exit_code: int, what: str, where: str, hint: str) -> NwscanError:
    """Give the error of the class that ends with ``exit_code``: how an error crosses a process boundary."""
    kinds = {kind.exit_code: kind for kind in (UsageError, InputError, RolledBackError, RollbackIncompleteError)}
    return kinds.get(exit_code, HostError)(what, where, hint)
