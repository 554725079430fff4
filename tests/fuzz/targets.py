"""What is fuzzed, by the name that the command line, the corpus and the tests use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.fuzz.capture_targets import decode_frames, read_packed, read_pcap, read_pcapng
from tests.fuzz.document_targets import read_documents, read_journals
from tests.fuzz.filter_targets import evaluate, read_cards, read_filters

if TYPE_CHECKING:
    from collections.abc import Callable

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "pcap": read_pcap,
    "pcapng": read_pcapng,
    "packed": read_packed,
    "frames": decode_frames,
    "filters": read_filters,
    "cards": read_cards,
    "evaluator": evaluate,
    "documents": read_documents,
    "journals": read_journals,
}
