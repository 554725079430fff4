"""The interpreted twins of all that reads octets, in place of the compiled forms for as long as a block lasts."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final
from unittest import mock

from tests.interpreted import load_interpreted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_PLACES: Final = (
    ("analyzer.capture.pcap.pcap_walk", "analyzer.capture.pcap_walk", None),
    ("analyzer.capture.pcapng.pcapng_walk", "analyzer.capture.pcapng_walk", None),
    ("analyzer.pipeline.decode", "analyzer.classify.decode", "decode"),
    ("analyzer.pipeline.Classifier", "analyzer.classify.classifier", "Classifier"),
    ("analyzer.classify.network.NetworkWalk", "analyzer.classify.network_walk", "NetworkWalk"),
    ("analyzer.report.first_look.choose_rows", "analyzer.classify.deep_rows", "choose_rows"),
    ("analyzer.report.observing.FramesAside", "analyzer.report.aside", "FramesAside"),
    ("analyzer.report.observing.walk_memberships", "analyzer.classify.membership_walk", "walk_memberships"),
    ("analyzer.report.observing.walk_leases", "analyzer.classify.lease_walk", "walk_leases"),
    ("analyzer.report.first_look.tables", "analyzer.report.tables", None),
    ("analyzer.report.hitter_table.tables", "analyzer.report.tables", None),
)
"""Where a compiled module or what it holds is used, the module, and what of it (None: the module itself)."""

_ENGINE: Final = "generator.evaluate.engine"


def twins() -> tuple[ModuleType, ...]:
    """Give the interpreted twins, the evaluator's among them, which is handed to who uses it."""
    return tuple(load_interpreted(name) for name in sorted({name for _, name, _ in _PLACES} | {_ENGINE}))


@contextmanager
def interpreted() -> Iterator[None]:
    """Have the twins stand where the compiled forms are used."""
    with ExitStack() as stack:
        for place, name, attribute in _PLACES:
            module = load_interpreted(name)
            stack.enter_context(mock.patch(place, module if attribute is None else getattr(module, attribute)))
        yield
