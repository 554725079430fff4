"""What to do next: the last thing that a command says, as lines to type."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Final

from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from analyzer.model.identity import Provenance
from nwscan.render.console import headline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from analyzer.model.identity import GuestIdentity
    from analyzer.report.report import Report

_FILTER: Final = "a filter that drops them, tried on these frames"

Step = tuple[str, str]
"""A command line, and what it is for."""


def print_next(out: Console, steps: Sequence[Step]) -> None:
    """Print what to do next; nothing where there is nothing. A command stays on one line, to be copied."""
    if not steps:
        return
    out.print(headline("Next:"))
    width = max(len(command) for command, _ in steps)
    is_narrow = max(len(purpose) for _, purpose in steps) + width + 7 > out.width
    for command, purpose in steps:
        shown = f"  # {purpose}\n  {command}" if is_narrow else f"  {command:{width}}   # {purpose}"
        out.print(shown, soft_wrap=True)


def typed_guest(identity: GuestIdentity) -> str | None:
    """Give the guest as a person types it in a shell: by its uuid where its name does not print."""
    name = identity.name
    return None if name is None else quote(name) if name.isprintable() else identity.uuid


def after_report(report: Report, sources: Sequence[str] = ()) -> tuple[Step, ...]:
    """Give what follows from a report that was made of ``sources``; of a window measured right now without any."""
    if not report.frames_seen:
        return () if sources else (("nwscan list", "is it the right tap, does its guest run, is anything sent to it?"),)
    if not report.class_counts[FrameClass.FOREIGN_UNICAST][0]:
        return ()
    return tuple(_against_foreign(report, sources))


def _against_foreign(report: Report, sources: Sequence[str]) -> Iterator[Step]:
    guest = typed_guest(report.identity)
    if guest is not None:
        yield f"nwscan explain {guest}", "why they come, and what helps: asks the bridge, on its host"
    if guest is not None and not sources:
        yield f"nwscan suggest {guest}", _FILTER
        return
    kept = () if report.frames_file is None else (report.frames_file.path,)
    readable = [name for name in (*sources, *kept) if name != "-" and name.isprintable()]
    if len(sources) <= 1 and readable:
        is_told = report.identity.source in {Provenance.FILE, Provenance.LIBVIRT_XML}
        whose = "" if is_told else f" --mac {format_mac(report.identity.macs[0])}"
        yield f"nwscan suggest --from {quote(readable[0])}{whose}", _FILTER
