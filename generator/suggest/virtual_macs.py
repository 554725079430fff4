"""MACs that several machines share: who takes part in such a group needs frames that are not to its own MAC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.model.addresses import format_mac
from analyzer.model.virtual_macs import virtual_kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.report.talkers import Hitters


_NAMED: Final = 20


def virtual_mac_risks(
    talkers: Hitters, passes: Callable[[int], bool], learnt: tuple[tuple[int, str], ...] = ()
) -> list[str]:
    """Name the virtual MACs that the filter does not let pass: those that foreign unicast went to, most frames first.

    Then those that the bridge has ``learnt``, with their ports.
    """
    frames: dict[int, int] = {}
    for entry in talkers.entries:
        frames[entry.second] = frames.get(entry.second, 0) + entry.frames
    risks = []
    for mac in sorted(frames, key=lambda each: (-frames[each], each)):
        kind = virtual_kind(mac)
        if kind is not None and not passes(mac):
            text = format_mac(mac)
            risks.append(
                f"{frames[mac]} frames went to {text}, a MAC of {kind.name}: "
                f"if the guest takes part, add --also-mac {text}"
            )
    for mac, port in learnt:
        kind = virtual_kind(mac)
        if kind is not None and mac not in frames and not passes(mac):
            text = format_mac(mac)
            risks.append(
                f"{text}, a MAC of {kind.name}, is in use at {port}: if the guest takes part, add --also-mac {text}"
            )
    return risks[:_NAMED]
