"""What is to be changed on one guest, step by step, each with what was there before.

Values only. A plan is a document (``nwscan.plan/1``) that a person can read and another run can apply: it holds the
full text of what was read, so that whoever applies it can tell whether the host has changed since, and how to go back.
"""

from __future__ import annotations

import difflib
import hashlib
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from analyzer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: Final = "nwscan.plan/1"
SIZE_LIMIT: Final = 16 * 1024 * 1024


class DefineFilter(msgspec.Struct, frozen=True, tag="define_filter", tag_field="kind"):
    """Define one of our filters. ``before`` is its XML as libvirt printed it, None where there was none."""

    name: str
    uuid: str
    before: str | None
    after: str


class Attach(msgspec.Struct, frozen=True, tag="attach", tag_field="kind"):
    """Change the filterref of one card, of the running guest (``live``) or of its next start.

    ``before`` and ``after`` are the whole ``<interface>`` element: only its filterref differs.
    """

    mac: str
    live: bool
    before: str
    after: str


Step = DefineFilter | Attach


class Plan(msgspec.Struct, frozen=True):
    """The steps for one guest, in order; several cards of it are one plan."""

    schema: Literal["nwscan.plan/1"]
    guest: str
    """The guest's uuid."""
    name: str
    uri: str
    steps: tuple[Step, ...]
    profile: str = ""
    evidence: tuple[str, ...] = ()

    @property
    def filters(self) -> tuple[str, ...]:
        """Names of the filters that are defined, children first."""
        return tuple(step.name for step in self.steps if isinstance(step, DefineFilter))

    @property
    def macs(self) -> tuple[str, ...]:
        """The cards that are attached, each once."""
        return tuple(dict.fromkeys(step.mac for step in self.steps if isinstance(step, Attach)))


def digest(text: str | None) -> str:
    """Give the SHA-256 of what was read, ``absent`` where there was nothing."""
    return "absent" if text is None else hashlib.sha256(text.encode()).hexdigest()


def encode(plan: Plan) -> bytes:
    """Give the plan as JSON, indented for people."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n"


def decode(document: bytes, where: str = "the plan") -> Plan:
    """Give the plan of a document. Raises InputError where it is none or of another schema."""
    if len(document) > SIZE_LIMIT:
        raise InputError(f"a plan of {len(document)} octets is above the limit of {SIZE_LIMIT}", where)
    try:
        return msgspec.json.decode(document, type=Plan)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError(
            f"not a plan of {SCHEMA}: {error}", where, "name a plan that nwscan suggest -o wrote"
        ) from error


def describe(step: Step) -> str:
    """Give one line that says what a step does."""
    if isinstance(step, DefineFilter):
        return f"{'define' if step.before is None else 'redefine'} filter {step.name}"
    return f"{'attach to the running card' if step.live else 'attach for the next start'} {step.mac}"


def diff(plan: Plan) -> str:
    """Give what changes as one unified diff, what was there before against what will be."""
    return "".join(line for step in plan.steps for line in _step_diff(step))


def _step_diff(step: Step) -> Iterator[str]:
    if isinstance(step, DefineFilter):
        what = f"nwfilter/{step.name}"
    else:
        what = f"interface/{step.mac}/{'live' if step.live else 'inactive'}"
    before = (step.before or "").splitlines()
    for line in difflib.unified_diff(
        before, step.after.splitlines(), f"before/{what}", f"after/{what}", lineterm="", n=2
    ):
        yield line + "\n"
