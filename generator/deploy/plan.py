"""What is to be changed on one guest, step by step, each with what was there before.

Values only. A plan is a document (``nwscan.plan/1``) that a person can read and another run can apply: it holds the
full text of what was read, so that whoever applies it can tell whether the host has changed since, and how to go back.
"""

from __future__ import annotations

import difflib
import hashlib
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

import msgspec

from analyzer.errors import InputError
from generator.nwfilter.xml import read_filter, read_filterref, with_filterref

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: Final = "nwscan.plan/1"
SIZE_LIMIT: Final = 16 * 1024 * 1024

OUR_PREFIX: Final = "nwscan-"
"""How the names of our filters begin; no other filter is ever changed."""


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
        plan = msgspec.json.decode(document, type=Plan)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError(
            f"not a plan of {SCHEMA}: {error}", where, "name a plan that nwscan suggest -o wrote"
        ) from error
    check(plan, where)
    return plan


def check(plan: Plan, where: str = "the plan") -> None:
    """Raise InputError where a plan would change what is not ours: it may come from a file that anybody edited.

    Filters have our prefix and keep their uuid; of a card nothing but its filterref changes, and to one of ours.
    """
    wrong = list(_wrong(plan))
    if wrong:
        raise InputError(
            f"the plan does more than a plan of nwscan may: {'; '.join(wrong)}", where, "make it anew: nwscan suggest"
        )


def _wrong(plan: Plan) -> Iterator[str]:
    try:
        UUID(plan.guest)
    except ValueError:
        yield f"{plan.guest!r} is no uuid of a guest"
    targets = [step.name if isinstance(step, DefineFilter) else (step.mac, step.live) for step in plan.steps]
    if len(set(targets)) < len(targets):
        yield "it changes one thing twice"
    for step in plan.steps:
        try:
            yield from _wrong_filter(step) if isinstance(step, DefineFilter) else _wrong_attachment(step)
        except InputError as error:
            yield f"{describe(step)}: {error.what}"


def _wrong_filter(step: DefineFilter) -> Iterator[str]:
    if not step.name.startswith(OUR_PREFIX):
        yield f"filter {step.name} is not one of nwscan's"
    for text in (step.before, step.after):
        found = read_filter(text).filter if text is not None else None
        if found is not None and (found.name, found.uuid) != (step.name, step.uuid):
            yield f"the XML of filter {step.name} is of {found.name} with uuid {found.uuid}, not of {step.uuid}"


def _wrong_attachment(step: Attach) -> Iterator[str]:
    if with_filterref(step.before, None) != with_filterref(step.after, None):
        yield f"it changes more of card {step.mac} than its filter"
    ref = read_filterref(step.after)
    if ref is None or not ref.filter.startswith(OUR_PREFIX):
        yield f"it attaches {f'filter {ref.filter}' if ref else 'no filter'} to card {step.mac}"


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
