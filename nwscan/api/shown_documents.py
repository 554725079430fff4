"""As much of the documents of ``suggest --json`` and ``verify --json`` as a page shows, validated.

They may have been edited by anybody: what is not of the shape is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from analyzer.report.document import COUNT_LIMIT, ClassKey

VERDICT_SCHEMA: Final = "nwscan.verdict/1"
SUGGESTION_SCHEMA: Final = "nwscan.suggestion/1"

Natural = Annotated[int, msgspec.Meta(ge=0, le=COUNT_LIMIT)]
Rational = Annotated[float, msgspec.Meta(ge=0, le=1e18)]


class Part(msgspec.Struct, frozen=True):
    """A part of a document; other keys are passed over."""


class Guest(Part, frozen=True):
    """Whose card."""

    name: str | None = None
    uuid: str | None = None
    tap: str | None = None
    macs: list[str] = []

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name or self.tap or next(iter(self.macs), "a guest")


class Counted(Part, frozen=True):
    """Frames and octets."""

    frames: Natural
    octets: Natural


class Bounds(Part, frozen=True):
    """An interval; null: no such end."""

    lower: Rational | None
    upper: Rational | None


class ComparedClass(Part, frozen=True, rename={"kind": "class"}):
    """One class, before and after."""

    kind: ClassKey
    before_fps: Rational | None
    after_fps: Rational | None
    ratio: Rational | None
    ratio_interval: Bounds | None
    offered: Counted | None
    delivered: Counted | None


class Guarded(Part, frozen=True):
    """Traffic that the guest needs, judged."""

    name: str
    state: str
    why: str
    offered: Natural
    delivered: Natural


class Verdict(Part, frozen=True):
    """A judgement."""

    verdict: str
    why: str
    classes: list[ComparedClass]
    guards: list[Guarded] = []
    not_compared: list[str] = []
    remarks: list[str] = []
    consistent_with_effect: bool | None = None
    guest: Guest = Guest()

    def rows(self) -> list[dict[str, Any]]:
        """Give the classes as JSON values."""
        built: list[dict[str, Any]] = msgspec.to_builtins(self.classes)
        return built


class Refused(Part, frozen=True):
    """Why there is no filter."""

    reason: str
    hint: str


class NamedFilter(Part, frozen=True):
    """A filter."""

    name: str
    xml: str


class Evidence(Part, frozen=True):
    """A rule and what it rests on."""

    text: str
    frames: Natural | None
    octets: Natural | None
    wrong: Natural | None
    wrong_share_below: Rational | None


class ByHand(Part, frozen=True):
    """What somebody without nwscan types."""

    install: list[str] = []
    undo: list[str] = []


class Suggestion(Part, frozen=True):
    """A filter that is suggested, or why none is."""

    profile: str
    refused: bool
    refusals: list[Refused]
    filters: list[NamedFilter]
    evidence: list[Evidence]
    risks: list[str]
    notes: list[str]
    by_hand: ByHand = ByHand()
    guest: Guest = Guest()
    prediction: Any = None
