"""MACs that several machines share: who takes part in such a group needs frames that are not to its own MAC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from analyzer.model.addresses import format_mac
from analyzer.model.virtual_macs import virtual_kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.report.talkers import Hitters


_NAMED: Final = 20


class SharedMac(NamedTuple):
    """A virtual MAC that the filter would not let pass, and what was seen of it."""

    mac: int
    seen: str


def shared_macs(
    talkers: Hitters, passes: Callable[[int], bool], learnt: tuple[tuple[int, str], ...] = ()
) -> tuple[SharedMac, ...]:
    """Give the virtual MACs that the filter does not let pass: those that foreign unicast went to, most frames first.

    Then those that the bridge has ``learnt``, with their ports.
    """
    frames: dict[int, int] = {}
    for entry in talkers.entries:
        frames[entry.second] = frames.get(entry.second, 0) + entry.frames
    found = []
    for mac in sorted(frames, key=lambda each: (-frames[each], each)):
        kind = virtual_kind(mac)
        if kind is not None and not passes(mac):
            found.append(SharedMac(mac, f"{frames[mac]} frames went to {format_mac(mac)}, a MAC of {kind.name}"))
    for mac, port in learnt:
        kind = virtual_kind(mac)
        if kind is not None and mac not in frames and not passes(mac):
            found.append(SharedMac(mac, f"{format_mac(mac)}, a MAC of {kind.name}, is in use at {port}"))
    return tuple(found[:_NAMED])
