"""Counts and facts of a host as Prometheus metrics: over HTTP, or in a file for the node exporter.

The only door to prometheus_client. Labels are those of the libvirt exporters (``domain``, ``source_bridge``,
``target_device``); none of them has more values than the host has cards, filters, classes or verdicts. What a guest's
owner chooses is escaped here, and once more by the format.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from analyzer.compare import Verdict
from analyzer.errors import HostError, NwscanError
from analyzer.model.addresses import format_mac
from analyzer.model.classes import TO_GUEST_CLASSES, FrameClass
from analyzer.version import VERSION
from nwscan.kept import partial_of
from nwscan.render import scrapes
from nwscan.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from nwscan.api.counting import CountedCard, HostCount, TapCount
    from nwscan.api.facts import HostFacts

    Family = CounterMetricFamily | GaugeMetricFamily

_CARD: Final = ("domain", "source_bridge", "target_device")
_COUNTED: Final = (*_CARD, "direction", "class")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name (a counter's without ``_total``), what it is, its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = _CARD
    is_counter: bool = False

    @property
    def sample(self) -> str:
        """Give the name under which Prometheus knows it."""
        return f"{self.name}_total" if self.is_counter else self.name

    def family(self) -> Family:
        """Give it without samples."""
        kind = CounterMetricFamily if self.is_counter else GaugeMetricFamily
        return kind(self.name, self.help, labels=self.labels)


OFFERED_FRAMES = Metric("nwscan_offered_frames", "Frames ahead of the card's filter.", _COUNTED, is_counter=True)
OFFERED_BYTES = Metric("nwscan_offered_bytes", "Octets of these frames, without FCS.", _COUNTED, is_counter=True)
DELIVERED_FRAMES = Metric("nwscan_delivered_frames", "Frames behind the card's filter.", _COUNTED, is_counter=True)
DELIVERED_BYTES = Metric("nwscan_delivered_bytes", "Octets of these frames, without FCS.", _COUNTED, is_counter=True)
TAP_DROPPED = Metric(
    "nwscan_tap_dropped_frames", "Delivered frames that the guest did not take from its tap in time.", is_counter=True
)
CARD_INFO = Metric(
    "nwscan_card_info", "A card that is counted, the filter that libvirt names for it, and what counts it.",
    (*_CARD, "uuid", "mac_address", "filter", "counted_by"),
)  # fmt: skip
UNCOUNTED = Metric("nwscan_uncounted_cards", "Cards with a tap on no Linux bridge: not counted.", ())
COUNTING_UP = Metric("nwscan_counting_up", "Whether the kernel's counters could be read.", ())
FALLBACK = Metric(
    "nwscan_counting_fallback", "1 while the meter counts taps that the classifier should, which costs more; why.",
    ("reason",),
)  # fmt: skip
FOLLOWING_UP = Metric("nwscan_following_up", "Whether new taps are found; 0 while libvirt does not answer.", ())
RULE_HITS = Metric(
    "nwscan_rule_hits", "Packets that matched the kernel's rules for the tap, by what the rule does.",
    (*_CARD, "direction", "action"), is_counter=True,
)  # fmt: skip
DRIFT = Metric(
    "nwscan_filter_drift", "How many things about the card's filter are not as nwscan left them.",
    ("domain", "target_device"),
)  # fmt: skip
WINDOW_FRAMES = Metric("nwscan_capture_frames", "Frames seen in the card's last kept capture.")
WINDOW_LOST = Metric("nwscan_capture_lost_frames", "Frames that the kernel dropped during that capture.")
WINDOW_END = Metric("nwscan_capture_end_timestamp_seconds", "When that capture ended.")
VERDICT = Metric("nwscan_verification_verdict", "1 for the last verdict on the card's filter.", (*_CARD, "verdict"))
VERDICT_TIME = Metric("nwscan_verification_timestamp_seconds", "When that verdict was reached.")
FACTS_UP = Metric("nwscan_facts_up", "Whether rules, drift, captures and verdicts could be found out.", ())
FACTS_TIME = Metric("nwscan_facts_timestamp_seconds", "When they were found out last.", ())
BUILD_INFO = Metric("nwscan_build_info", "The version of nwscan.", ("version",))

METRICS: Final = (
    OFFERED_FRAMES, OFFERED_BYTES, DELIVERED_FRAMES, DELIVERED_BYTES, TAP_DROPPED, CARD_INFO, UNCOUNTED, COUNTING_UP,
    FALLBACK, FOLLOWING_UP, RULE_HITS, DRIFT, WINDOW_FRAMES, WINDOW_LOST, WINDOW_END, VERDICT, VERDICT_TIME, FACTS_UP,
    FACTS_TIME, BUILD_INFO,
)  # fmt: skip

_SIDES: Final = (
    ("offered", OFFERED_FRAMES, OFFERED_BYTES),
    ("delivered", DELIVERED_FRAMES, DELIVERED_BYTES),
)
_CLASSES: Final = (*(("in", kind) for kind in TO_GUEST_CLASSES), ("out", FrameClass.FROM_GUEST))


class HostCollector(Collector):
    """Gives the metrics of a host when they are asked for: ``read`` the counts, ``facts`` what was found out last."""

    def __init__(self, read: Callable[[], HostCount], facts: Callable[[], HostFacts]) -> None:
        self._read, self._facts = read, facts

    def collect(self) -> Iterator[Family]:
        """Give all families; without counts where they cannot be read."""
        yield _of(BUILD_INFO, [((VERSION,), 1)])
        try:
            count = self._read()
        except NwscanError:
            yield _of(COUNTING_UP, [((), 0)])
        else:
            yield _of(COUNTING_UP, [((), 1)])
            yield from _counts(count)
        yield from _found(self._facts())


def _of(metric: Metric, samples: Iterable[tuple[Sequence[str], float]]) -> Family:
    family = metric.family()
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _card(card: CountedCard) -> tuple[str, str, str]:
    identity = card.identity
    return visible(identity.label), visible(identity.bridge or ""), visible(identity.tap or "")


def _counts(count: HostCount) -> Iterator[Family]:
    labels = [_card(tap.card) for tap in count.taps]
    for side, frames, octets in _SIDES:
        for column, metric in enumerate((frames, octets)):
            family = metric.family()
            for card, tap in zip(labels, count.taps, strict=True):
                values = getattr(tap.reading, side)[:, column].tolist()
                for direction, kind in _CLASSES:
                    family.add_metric((*card, direction, kind.key), values[kind])
            yield family
    yield _of(TAP_DROPPED, [(card, tap.dropped) for card, tap in zip(labels, count.taps, strict=True)])
    yield _of(CARD_INFO, [((*card, *_named(tap)), 1) for card, tap in zip(labels, count.taps, strict=True)])
    yield _of(UNCOUNTED, [((), len(count.uncounted))])
    yield _of(FALLBACK, [] if count.fallback is None else [((visible(count.fallback),), 1)])
    yield _of(FOLLOWING_UP, [((), float(count.trouble is None))])


def _named(tap: TapCount) -> tuple[str, str, str, str]:
    identity = tap.card.identity
    mac = format_mac(identity.macs[0]) if identity.macs else ""
    return identity.uuid or "", mac, visible(tap.card.filter or ""), str(tap.counted_by)


def _found(facts: HostFacts) -> Iterator[Family]:
    cards = [(_card(one.card), one) for one in facts.cards]
    yield _of(FACTS_UP, [((), float(facts.error is None and facts.at_s > 0))])
    yield _of(FACTS_TIME, [((), facts.at_s)] if facts.at_s else [])
    yield _of(RULE_HITS, [((*card, *kind), hits) for card, one in cards for kind, hits in one.rule_hits.items()])
    yield _of(DRIFT, [((visible(guest), tap), number) for (guest, tap), number in facts.drift.items()])
    windows = [(card, one.window) for card, one in cards if one.window is not None]
    yield _of(WINDOW_FRAMES, [(card, window.frames_seen) for card, window in windows])
    yield _of(WINDOW_LOST, [(card, window.frames_lost) for card, window in windows if window.frames_lost is not None])
    yield _of(WINDOW_END, [(card, window.end_ns / 1e9) for card, window in windows if window.end_ns is not None])
    verdicts = [(card, one.verdict) for card, one in cards if one.verdict is not None]
    yield _of(
        VERDICT,
        [((*card, str(each)), float(known.verdict == each)) for card, known in verdicts for each in Verdict],
    )
    yield _of(VERDICT_TIME, [(card, known.at_ns / 1e9) for card, known in verdicts])


def registry_of(collector: Collector) -> CollectorRegistry:
    """Give a registry with the collector and what the process itself costs."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    return registry


def serve(registry: CollectorRegistry, address: str, port: int) -> Callable[[], None]:
    """Answer scrapes in threads of their own; gives what ends that. Raises HostError where it cannot listen there."""
    return scrapes.serve(make_wsgi_app(registry), address, port)


def write_file(registry: CollectorRegistry, path: Path) -> None:
    """Write the metrics to a file, which is replaced in one step. Raises HostError where that cannot be.

    Its folder may be another user's, who must not choose what is written to: the file is a new one each time, under a
    name that nobody can foresee.
    """
    partial = partial_of(path)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(generate_latest(registry))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        hint = "name a file in the folder that the node exporter reads"
        raise HostError(f"cannot write: {error.strerror}", str(path), hint) from error


def reference() -> str:
    """Give the table of all metrics for the documents."""
    rows = [
        f"| `{one.sample}` | {'counter' if one.is_counter else 'gauge'} | {', '.join(one.labels) or '-'} | {one.help} |"
        for one in METRICS
    ]
    return "\n".join(("| metric | type | labels | what it is |", "|---|---|---|---|", *rows)) + "\n"
