"""Frames described by scapy, in a worker of their own: most need it not, and it takes long to import.

A worker that measures files describes what it can by itself (analyzer/classify/brief.py). For the rest it asks its
parent, which has another worker, as confined as itself, describe them; the parent passes octets on and reads none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.classify.description import describe_frame, describe_known
from nwscan.worker.messages import Described, NeedText

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nwscan.worker.child import Link
    from nwscan.worker.messages import Describe


def describe(request: Describe, _descriptors: list[int], _link: Link) -> Described:
    """Describe frames by their first octets."""
    return Described(tuple(describe_frame(head) for head in request.heads))


def describer(link: Link) -> Callable[[Sequence[bytes]], list[str]]:
    """Give what describes frames where scapy was not imported."""

    def describe_frames(heads: Sequence[bytes]) -> list[str]:
        known = {head: describe_known(head) for head in heads}
        asked = tuple(head for head, text in known.items() if text is None)
        texts = dict(zip(asked, link.ask(NeedText(asked), Described)[0].texts, strict=True)) if asked else {}
        return [known[head] or texts[head] for head in heads]

    return describe_frames
