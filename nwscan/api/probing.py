"""Probe: have the filter answer for frames of our own while a window is measured, where nobody else speaks."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from analyzer.host.guests import LibvirtReader
from analyzer.host.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.host.probe import ProbeCounts, ProbeResult
    from analyzer.model.identity import GuestIdentity
    from nwscan.api.measure import Watcher
    from nwscan.config import Settings
    from nwscan.worker.messages import Progress

PROBE_DURATION_S: Final = 3.0
"""The window of a probe unless another is asked for: its frames take milliseconds, the rest is for what else comes."""


class Probing:
    """A watcher that probes each card when the windows begin, and tells ``watcher`` all the same.

    The tables that keep the frames on the bridge are in from entering it to leaving it. Raises HostError where a tap is
    no port of a Linux bridge, or the kernel refuses.
    """

    def __init__(self, cards: Sequence[GuestIdentity], settings: Settings, watcher: Watcher) -> None:
        self._watcher = watcher
        used = known_macs(settings) | {mac for card in cards for mac in card.macs}
        self._probes = [Probe(card.tap or "", card.macs[0], used, _ipv4(card)) for card in cards]
        self._stack = ExitStack()
        self.results: tuple[ProbeResult, ...] = ()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for probe in self._probes:
                stack.enter_context(probe)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def started(self) -> None:
        """Send the frames; each is through the filter, or not, when this returns."""
        for probe in self._probes:
            probe.send()
        self.results = tuple(probe.result() for probe in self._probes)
        self._watcher.started()

    def ended(self) -> None:
        """Pass it on."""
        self._watcher.ended()

    def progress(self, progress: Progress) -> None:
        """Pass it on."""
        self._watcher.progress(progress)


def known_macs(settings: Settings) -> set[int]:
    """Give the addresses of every guest that libvirt knows, running or not."""
    with LibvirtReader(settings.uri) as libvirt:
        return {mac for card in libvirt.cards() for mac in card.identity.macs}


def _ipv4(card: GuestIdentity) -> str | None:
    """Give an IPv4 address of the card that somebody trusted stated: what asks for it passes any filter."""
    stated = (address.value for address in card.addresses if address.trusted)
    return next((value for value in stated if ":" not in value), None)


def probe_document(result: ProbeResult) -> dict[str, Any]:
    """Give what became of a probe as the key ``probe`` of ``nwscan.verdict/1``."""
    from analyzer.model.addresses import format_mac

    return {
        "mac": format_mac(result.mac),
        "foreign": _counts(result.foreign_total),
        "foreign_kinds": {kind: _counts(one) for kind, one in result.foreign.items()},
        "own": _counts(result.own),
        "broadcast": _counts(result.broadcast),
        "obstacle": result.obstacle,
    }


def _counts(counts: ProbeCounts) -> dict[str, int]:
    return {"offered": counts.offered, "delivered": counts.delivered}


def probe_sentence(result: ProbeResult) -> str:
    """Say for people what became of a probe."""
    from analyzer.model.addresses import format_mac

    total = result.foreign_total
    if result.obstacle is not None:
        return f"Probe: {total.offered} frames of foreign unicast were offered; {result.obstacle}."
    passed = [f"{kind} {one.delivered} of {one.offered}" for kind, one in result.foreign.items() if one.delivered]
    which = f" ({', '.join(passed)})" if passed and total.delivered < total.offered else ""
    return (
        f"Probe: of {total.offered} frames to {format_mac(result.mac)}, which is nobody's, {total.delivered} came "
        f"through the filter{which}. They are among those above; none left the bridge, not even to the guest."
    )
