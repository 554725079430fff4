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

from analyzer.errors import InputError, UsageError
from analyzer.host.interface_names import checked_interface_name
from analyzer.model.addresses import format_mac, is_group, parse_mac
from generator.deploy.hook import hook_name, hook_text
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


class Reinstall(msgspec.Struct, frozen=True, tag="reinstall", tag_field="kind"):
    """Make the rules of a running card anew: its filterref is taken away and put back, which alone makes libvirt do it.

    ``before`` is the live ``<interface>`` element, which is the same behind it.
    """

    mac: str
    before: str


class SetPortFlag(msgspec.Struct, frozen=True, tag="port_flag", tag_field="kind"):
    """Stop a bridge from flooding unknown unicast to a guest's tap (bridge(8), ``flood``).

    ``card`` is the MAC of the card whose tap ``port`` is; ``ifindex`` tells this tap from a later one of its name.
    """

    card: str
    port: str
    ifindex: int
    bridge: str
    before: bool
    after: bool


class SetFdbEntry(msgspec.Struct, frozen=True, tag="fdb_entry", tag_field="kind"):
    """Make the entry of one address in a bridge's FDB static, at the port where it is.

    Never ``permanent``: that means an address of the host itself, and cuts off the machine that has it. ``card`` is as
    for SetPortFlag, None where the port is not the guest's own. ``before`` None: the address was not known.
    """

    card: str | None
    port: str
    ifindex: int
    bridge: str
    mac: str
    before: Literal["dynamic", "static"] | None
    after: Literal["static"] = "static"


class InstallHook(msgspec.Struct, frozen=True, tag="hook", tag_field="kind"):
    """Put a script of ours among libvirt's hooks, which does the remedy again at each start of the guest.

    ``sha256`` is of its text, which hook.py makes of the other fields: no plan carries a script.
    """

    card: str
    bridge: str
    macs: tuple[str, ...]
    sha256: str


BridgeStep = SetPortFlag | SetFdbEntry | InstallHook
Step = DefineFilter | Attach | Reinstall | SetPortFlag | SetFdbEntry | InstallHook


class Precondition(msgspec.Struct, frozen=True):
    """Something that the plan was made from and does not change: a filter's XML, or who refers to one of ours.

    ``sha256`` is of what was read (``digest``); whoever applies the plan reads it again.
    """

    kind: Literal["filter", "users"]
    name: str
    sha256: str


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
    preconditions: tuple[Precondition, ...] = ()
    users: dict[str, tuple[str, ...]] = {}
    """Who refers to each filter that is defined, besides the cards of the plan and its own filters."""

    @property
    def filters(self) -> tuple[str, ...]:
        """Names of the filters that are defined, children first."""
        return tuple(step.name for step in self.steps if isinstance(step, DefineFilter))

    @property
    def macs(self) -> tuple[str, ...]:
        """The cards whose filter is changed or made anew, each once."""
        return tuple(dict.fromkeys(step.mac for step in self.steps if isinstance(step, Attach | Reinstall)))

    @property
    def bridge_cards(self) -> tuple[str, ...]:
        """The cards that a bridge remedy is for, each once."""
        cards = (step.card for step in self.steps if isinstance(step, SetPortFlag | SetFdbEntry | InstallHook))
        return tuple(dict.fromkeys(card for card in cards if card is not None))


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
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
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
    targets = [_target(step) for step in plan.steps]
    if len(set(targets)) < len(targets):
        yield "it changes one thing twice"
    for step in plan.steps:
        try:
            yield from _wrong_step(step)
        except (InputError, UsageError) as error:
            yield f"{describe(step)}: {error.what}"


def _target(step: Step) -> tuple[object, ...]:
    """Give what a step changes."""
    match step:
        case DefineFilter():
            return ("filter", step.name)
        case Attach():
            return ("card", step.mac, step.live)
        case Reinstall():
            return ("rules", step.mac)
        case SetPortFlag():
            return ("port", step.port)
        case SetFdbEntry():
            return ("entry", step.bridge, step.mac)
    return ("hook", step.card)


def _wrong_step(step: Step) -> Iterator[str]:
    match step:
        case DefineFilter():
            yield from _wrong_filter(step)
        case Attach():
            yield from _wrong_attachment(step)
        case Reinstall():
            ref = read_filterref(step.before)
            if ref is None or not ref.filter.startswith(OUR_PREFIX):
                yield f"it makes rules anew on card {step.mac} that are not nwscan's"
        case _:
            yield from _wrong_on_bridge(step)


def _wrong_on_bridge(step: BridgeStep) -> Iterator[str]:
    """Names and addresses go to programs: each is one; flooding is only turned off, an entry of a unicast address."""
    names = [step.bridge] if isinstance(step, InstallHook) else [step.bridge, step.port]
    for name in names:
        checked_interface_name(name)
    own = step.macs if isinstance(step, InstallHook) else (step.mac,) if isinstance(step, SetFdbEntry) else ()
    for text in (*own, *((step.card,) if step.card is not None else ())):
        if is_group(parse_mac(text)) or format_mac(parse_mac(text)) != text:
            yield f"{text} is no address of a machine"
    if isinstance(step, SetPortFlag) and (step.before, step.after) != (True, False):
        yield f"it does not turn flooding off at {step.port}"


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
    match step:
        case DefineFilter():
            return f"{'define' if step.before is None else 'redefine'} filter {step.name}"
        case Attach():
            return f"{'attach to the running card' if step.live else 'attach for the next start'} {step.mac}"
        case Reinstall():
            return f"make the rules of the running card {step.mac} anew"
        case SetPortFlag():
            return f"stop {step.bridge} from flooding unknown unicast to {step.port}"
        case SetFdbEntry():
            return f"make the entry of {step.mac} at {step.port} of {step.bridge} static"
    return f"install the libvirt hook that does it again when the card {step.card} starts"


def diff(plan: Plan) -> str:
    """Give what changes as one unified diff, what was there before against what will be."""
    return "".join(line for step in plan.steps for line in _step_diff(plan, step))


def _step_diff(plan: Plan, step: Step) -> Iterator[str]:
    match step:
        case DefineFilter():
            what, texts = f"nwfilter/{step.name}", (step.before or "", step.after)
        case Attach():
            what, texts = f"interface/{step.mac}/{'live' if step.live else 'inactive'}", (step.before, step.after)
        case Reinstall():
            return  # the same behind it
        case SetPortFlag():
            what, texts = f"bridge/{step.bridge}/port/{step.port}", (_flood(step.before), _flood(step.after))
        case SetFdbEntry():
            entries = (_entry(step, step.before), _entry(step, step.after))
            what, texts = f"bridge/{step.bridge}/fdb/{step.mac}", entries
        case InstallHook():  # pragma: no branch - there is no other step
            text = hook_text(plan.guest, step.card, step.bridge, step.macs)
            what, texts = f"hook/{hook_name(plan.guest, step.card)}", ("", text)
    before, after = texts
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"before/{what}", f"after/{what}", lineterm="", n=2
    )
    for line in lines:
        yield line + "\n"


def _flood(is_on: bool) -> str:  # noqa: FBT001 the value itself
    return f"flood {'on' if is_on else 'off'}"


def _entry(step: SetFdbEntry, state: str | None) -> str:
    return "" if state is None else f"{step.mac} dev {step.port} master {state}"
