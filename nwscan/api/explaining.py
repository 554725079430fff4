"""Explain: measure a window, look at the bridge around it, hear who speaks, and say why foreign unicast is there.

Changes nothing but for the tables of the meter and of the speakers, which are gone when the window ends.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from analyzer.causes.explanation import Explanation, report_causes
from analyzer.causes.explanation import explain as explain_observation
from analyzer.causes.observation import Look, Observation
from analyzer.errors import HostError
from analyzer.host import bridge as bridges
from analyzer.host.guests import LibvirtReader
from analyzer.host.meter import Meter
from analyzer.host.speakers import Speakers
from analyzer.model.classes import FrameClass
from analyzer.report.store import encode
from nwscan import kept
from nwscan.api.bridge_looks import LookingWatcher
from nwscan.api.measure import CaptureOptions, Unwatched, Watcher
from nwscan.api.prove import capture_metered
from nwscan.config import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.host.guests import GuestCard
    from analyzer.host.meter import MeterReading
    from analyzer.model.identity import GuestIdentity


def explain(
    target: str,
    options: CaptureOptions | None = None,
    *,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> tuple[tuple[kept.KeptReport, Explanation], ...]:
    """Measure each card of ``target`` and give its kept report and why foreign unicast reaches its tap.

    The causes stand in the kept report, too. Raises HostError where libvirt or a tap refuses, or where a tap is on no
    Linux bridge.
    """
    settings = settings or Settings()
    with LibvirtReader(settings.uri) as libvirt:
        chosen, everybody = libvirt.resolve(target), libvirt.cards()
    names = [_bridge_of(card.identity) for card in chosen]
    identities = [replace(card.identity, bridge=name) for card, name in zip(chosen, names, strict=True)]
    looking = LookingWatcher(list(dict.fromkeys(names)), watcher or Unwatched())
    looking.look()
    ports = [port.name for looks in looking.looks.values() for port in looks[0].ports]
    with ExitStack() as stack:
        speakers = None
        with suppress(HostError):
            speakers = stack.enter_context(Speakers(ports))
        # a second meter: the one of the capture is read within the window, and a frame that it missed is no mirror's
        meter = stack.enter_context(Meter({identity.tap or "": identity.macs for identity in identities}))
        reports = capture_metered(identities, options, settings=settings, watcher=looking)
        readings = meter.read()
        looking.look()
        heard = speakers.heard() if speakers is not None else None
    pairs = None if heard is None or heard.is_full else heard.pairs
    explained = []
    for card, identity, name, report in zip(chosen, identities, names, reports, strict=True):
        reading = readings[identity.tap or ""]
        observation = _observation(card, identity, report, tuple(looking.looks[name]), pairs, everybody, reading)
        explanation = explain_observation(observation)
        explained.append((_keep(report, explanation), explanation))
    return tuple(explained)


def _bridge_of(identity: GuestIdentity) -> str:
    name = bridges.bridge_of(identity.tap or "")
    if name is None:
        raise HostError(
            f"{identity.tap} is on no Linux bridge",
            f"guest {identity.label}",
            "only what a Linux bridge floods can be explained; see nwscan capture for what reaches the tap",
        )
    return name


def _observation(
    card: GuestCard,
    identity: GuestIdentity,
    report: kept.KeptReport,
    looks: tuple[Look, ...],
    speakers: frozenset[tuple[int, str]] | None,
    everybody: Sequence[GuestCard],
    meter: MeterReading,
) -> Observation:
    ports = {port.name for port in looks[-1].ports}
    received: dict[str, int] = {}
    with suppress(HostError):
        received = bridges.received_frames(looks[-1].bridge.name)
    foreign = FrameClass.FOREIGN_UNICAST
    return Observation(
        identity=identity,
        report=report.report,
        looks=looks,
        speakers=None if speakers is None else frozenset(pair for pair in speakers if pair[1] in ports),
        cards=tuple(one.identity for one in everybody if one.identity.tap in ports),
        received=received,
        metered_foreign=int(meter.delivered[foreign, 0]),
        offered_foreign=int(meter.offered[foreign, 0]),
        network=card.network,
    )


def _keep(report: kept.KeptReport, explanation: Explanation) -> kept.KeptReport:
    """Write the causes into the kept report."""
    if not explanation.causes:
        return report
    told = replace(report.report, causes=report_causes(explanation))
    kept.write_private(report.path, encode(told))
    return kept.KeptReport(report.path, told)
