"""The decision rules: which cause brings the frames of one destination to the tap. A table, in the order of asking.

Each rule is a pure function of what was observed; the first one that applies decides. What the values cannot tell is
said as a limit, or is UNKNOWN; nothing is guessed. docs/causes.md is the same table for people.

Sources: IEEE 802.1Q-2022, 8.8 (what is not in the filtering database is flooded), 8.8.3 (ageing); bridge(8) and
ip-link(8) for the flags; net/bridge/br_fdb.c and br_input.c of Linux for what they do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from analyzer.causes.observation import AGE_STEP_S, Destination, Observation, ports_at
from analyzer.model.virtual_macs import virtual_kind

if TYPE_CHECKING:
    from analyzer.causes.observation import Look
    from analyzer.host.bridge import FdbEntry


class CauseName(StrEnum):
    """The causes that are told apart."""

    HUB = "hub"
    LEARNING_OFF = "learning_off"
    AGED_OUT = "aged_out"
    NEVER_LEARNT = "never_learnt"
    FLUSHED = "flushed"
    VIRTUAL_MAC = "virtual_mac"
    MOVED_MAC = "moved_mac"
    BEHIND_GUEST = "behind_guest"
    MIRROR = "mirror"
    UNKNOWN = "unknown"


class Certainty(StrEnum):
    """How far the observation carries the cause."""

    CERTAIN = "certain"
    """Seen."""
    LIKELY = "likely"
    """What was seen fits, and the limit says what else would fit."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One destination's cause: ``port`` is where the destination is or was, ``ports`` are those at fault.

    ``evidence`` are half-sentences, ``limit`` is what cannot be told.
    """

    name: CauseName
    certainty: Certainty
    evidence: tuple[str, ...] = ()
    port: str | None = None
    ports: tuple[str, ...] = ()
    limit: str = ""


Question = Callable[[Destination, Observation], Finding | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: what is asked, when it holds, and whence it is known."""

    ask: Question
    holds: str
    source: str


def _known_elsewhere(look: Look, each: Destination, seen: Observation) -> tuple[FdbEntry, ...]:
    return tuple(entry for entry in look.entries(each.mac) if entry.port != seen.tap)


def _mirror(each: Destination, seen: Observation) -> Finding | None:
    """Ask whether the bridge forwarded the frames to this tap at all."""
    if seen.metered_foreign == 0:
        evidence = f"the meter in the bridge saw none of the {seen.foreign[0]} foreign frames that the tap carried"
        return Finding(CauseName.MIRROR, Certainty.CERTAIN, (evidence,))
    if any(seen.tap in ports_at(look.entries(each.mac)) for look in seen.looks):
        return None
    known = [ports_at(_known_elsewhere(look, each, seen)) for look in seen.looks]
    is_off = all((port := look.port(seen.tap)) is not None and port.flood is False for look in seen.looks)
    if all(known):
        reason = f"at all {len(known)} looks the FDB sent it to {_names(frozenset.union(*known))}, not to {seen.tap}"
    elif is_off:
        reason = f"unknown unicast is not flooded to {seen.tap} (flood off), and no FDB entry leads there"
    else:
        return None
    return _unforwarded(each, seen, reason, is_known=all(known))


def _unforwarded(each: Destination, seen: Observation, reason: str, *, is_known: bool) -> Finding:
    """Hold the FDB's word that these frames go elsewhere against the meter in the bridge."""
    if is_known and any(entry.vlan is not None for look in seen.looks for entry in look.entries(each.mac)):
        limit = "an entry holds for its VLAN only, and the frames' VLANs are not told by destination"
        return Finding(CauseName.UNKNOWN, Certainty.UNKNOWN, (reason,), limit=limit)
    if seen.bypassed is None:
        limit = "without the meter's counts it cannot be told whether the bridge forwarded these frames"
        return Finding(CauseName.MIRROR, Certainty.LIKELY, (reason,), limit=limit)
    if seen.bypassed >= each.frames:
        passed = f"{seen.bypassed} foreign frames on the tap are unknown to the meter in the bridge"
        return Finding(CauseName.MIRROR, Certainty.CERTAIN, (reason, passed))
    limit = "the bridge forwarded these frames, and no look shows why: an entry may have been gone between two looks"
    return Finding(CauseName.UNKNOWN, Certainty.UNKNOWN, (reason,), limit=limit)


def _at_this_tap(each: Destination, seen: Observation) -> Finding | None:
    """Ask whether the FDB leads to this very tap: it moved from here, or something in the guest uses it."""
    here = [entry for look in seen.looks for entry in look.entries(each.mac) if entry.port == seen.tap]
    spoke = seen.tap in seen.ports_of(each.mac)
    if not here and not spoke:
        return None
    owner = seen.owner_of(each.mac)
    elsewhere = sorted(ports_at(entry for look in seen.looks for entry in _known_elsewhere(look, each, seen)))
    facts = [f"the FDB had it at {seen.tap}" + (f" ({here[-1].state})" if here else "")] if here else []
    if spoke:
        facts.append(f"{seen.tap} sent from this address in the window")
    if elsewhere or owner is not None:
        port = owner.tap if owner is not None else elsewhere[0]
        facts.append(
            f"libvirt has it on {owner.label}'s tap {owner.tap}"
            if owner
            else f"the FDB had it at {port} at other looks"
        )
        limit = f"{seen.identity.label} and another machine both send from it" if spoke else ""
        return Finding(CauseName.MOVED_MAC, Certainty.CERTAIN, tuple(facts), port=port, limit=limit)
    limit = "" if spoke else "the guest did not send from it in the window, so the entry may be out of date"
    certainty = Certainty.CERTAIN if spoke else Certainty.LIKELY
    return Finding(CauseName.BEHIND_GUEST, certainty, tuple(facts), port=seen.tap, limit=limit)


def _hub(each: Destination, seen: Observation) -> Finding | None:
    """Ask whether the bridge learns nothing."""
    flat = [look for look in seen.looks if look.bridge.ageing_time_s == 0]
    if not flat:
        return None
    evidence = [f"the ageing time of {seen.bridge.name} was 0 at {len(flat)} of {len(seen.looks)} looks"]
    spoke = seen.ports_of(each.mac)
    if spoke:
        evidence.append(f"it spoke from {_names(spoke)} in the window and was not learnt")
    return Finding(CauseName.HUB, Certainty.CERTAIN, tuple(evidence), port=spoke[0] if len(spoke) == 1 else None)


def _learning_off(each: Destination, seen: Observation) -> Finding | None:
    """Ask for a port that does not learn, where the destination is or may be."""
    if any(_known_elsewhere(look, each, seen) for look in seen.looks):
        return None
    deaf = {port.name for look in seen.looks for port in look.ports if port.learning is False} - {seen.tap}
    spoke, owner = seen.ports_of(each.mac), seen.owner_of(each.mac)
    from_deaf = tuple(port for port in spoke if port in deaf)
    if from_deaf:
        evidence = f"it spoke from {_names(from_deaf)} in the window and was not learnt: learning is off there"
        return Finding(CauseName.LEARNING_OFF, Certainty.CERTAIN, (evidence,), port=from_deaf[0], ports=from_deaf)
    if owner is not None and owner.tap in deaf:
        evidence = f"it is {owner.label}'s card at {owner.tap}, where learning is off"
        return Finding(CauseName.LEARNING_OFF, Certainty.CERTAIN, (evidence,), port=owner.tap, ports=(str(owner.tap),))
    unowned = tuple(sorted(port for port in deaf if seen.guest_at(port) is None))
    if spoke or owner is not None or not unowned or virtual_kind(each.mac):
        return None
    evidence = f"learning is off at {_names(unowned)}, and no look found it in the FDB"
    limit = f"it sent nothing in the window, so whether it is behind {_names(unowned)} cannot be told"
    port = unowned[0] if len(unowned) == 1 else None
    return Finding(CauseName.LEARNING_OFF, Certainty.LIKELY, (evidence,), port=port, ports=unowned, limit=limit)


def _virtual(each: Destination, seen: Observation) -> Finding | None:
    """Ask whether it is of a range that machines share, and nobody speaks from it."""
    kind = virtual_kind(each.mac)
    if kind is None or seen.ports_of(each.mac) or any(look.entries(each.mac) for look in seen.looks[-1:]):
        return None
    evidence = f"it is in the range of {kind.name}, and nobody sent from it in the window"
    return Finding(CauseName.VIRTUAL_MAC, Certainty.CERTAIN, (evidence,))


def _gone(each: Destination, seen: Observation) -> Finding | None:
    """Ask for an entry that was there at one look and not at the next: of age, or before its time."""
    for earlier, later in zip(seen.looks, seen.looks[1:], strict=False):
        entry = next((one for one in _known_elsewhere(earlier, each, seen) if one.state == "dynamic"), None)
        if entry is None or later.entries(each.mac):
            continue
        gap_s = (later.at_ns + later.took_ns - earlier.at_ns) / 1e9
        ageing_s = min(earlier.bridge.ageing_time_s, later.bridge.ageing_time_s)
        seen_at = f"at {seen.at_s(earlier.at_ns):.1f} s the FDB had it at {entry.port}"
        gone_at = f"at {seen.at_s(later.at_ns):.1f} s the entry was gone"
        if entry.age_s is None:
            limit = "this iproute2 tells no ages, so whether it aged out or was deleted cannot be told"
            return Finding(CauseName.UNKNOWN, Certainty.UNKNOWN, (seen_at, gone_at), port=entry.port, limit=limit)
        aged = f", last heard {entry.age_s:.0f} s before"
        if entry.age_s + AGE_STEP_S + gap_s >= ageing_s:
            evidence = (seen_at + aged, f"{gone_at}; the ageing time is {ageing_s:g} s")
            return Finding(CauseName.AGED_OUT, Certainty.CERTAIN, evidence, port=entry.port)
        evidence = (seen_at + aged, f"{gone_at}, long before the ageing time of {ageing_s:g} s")
        return Finding(CauseName.FLUSHED, Certainty.CERTAIN, evidence, port=entry.port)
    return None


def _silent_guest(each: Destination, seen: Observation) -> Finding | None:
    """Ask whether it is a running guest that has spoken before, so that it was learnt, and is not known now."""
    owner = seen.owner_of(each.mac)
    if owner is None or seen.looks[0].entries(each.mac) or seen.ports_of(each.mac):
        return None
    port = seen.looks[0].port(owner.tap or "")
    received = (seen.received or {}).get(owner.tap or "", 0)
    if port is None or not port.learning or not received:
        return None
    evidence = (
        f"it is {owner.label}'s card at {owner.tap}, which learns",
        f"{owner.label} has sent {received} frames since its tap was made, and none in the window",
    )
    limit = "its entry was gone before the first look: aged out, unless somebody deleted it"
    return Finding(CauseName.AGED_OUT, Certainty.LIKELY, evidence, port=owner.tap, limit=limit)


def _never(each: Destination, seen: Observation) -> Finding | None:
    """Ask whether there was no entry when the window began."""
    if seen.looks[0].entries(each.mac):
        return None
    spoke = seen.ports_of(each.mac)
    learnt = next((look for look in seen.looks if look.entries(each.mac)), None)
    if learnt is not None:
        entry = learnt.entries(each.mac)[0]
        evidence = (
            "the FDB did not have it before the window",
            f"it was found at {entry.port} at {seen.at_s(learnt.at_ns):.1f} s",
        )
        limit = "whether it had been learnt and forgotten before the window cannot be told"
        return Finding(CauseName.NEVER_LEARNT, Certainty.CERTAIN, evidence, port=entry.port, limit=limit)
    absent = f"the FDB had it at none of {len(seen.looks)} looks"
    if spoke:
        limit = "it spoke from a port that learns and is not in the FDB: a full or locked FDB, or too short an ageing"
        heard = f"yet it spoke from {_names(spoke)} in the window"
        return Finding(CauseName.UNKNOWN, Certainty.UNKNOWN, (absent, heard), port=spoke[0], limit=limit)
    if seen.speakers is None:
        limit = "nobody listened for it, and an entry that was gone before the first look leaves no trace"
        return Finding(CauseName.NEVER_LEARNT, Certainty.LIKELY, (absent,), limit=limit)
    silent = "it sent nothing through the bridge in the window"
    limit = "an entry that was gone before the first look leaves no trace: it may have spoken, and aged out, before"
    owner = seen.owner_of(each.mac)
    port = owner.tap if owner else None
    return Finding(CauseName.NEVER_LEARNT, Certainty.LIKELY, (absent, silent), port=port, limit=limit)


def _unknown(_: Destination, seen: Observation) -> Finding:
    evidence = (f"{len(seen.looks)} looks at the FDB fit no rule",)
    return Finding(CauseName.UNKNOWN, Certainty.UNKNOWN, evidence)


RULES: Final = (
    Rule(
        _mirror,
        "the FDB sends it elsewhere at every look, or flood is off here, and the meter in the bridge missed the frames",
        "br_forward(): a known address leaves by its port alone; tc mirrors at the device, behind the bridge's hooks",
    ),
    Rule(_at_this_tap, "the FDB leads to this tap, or the guest sent from it", "br_fdb_update(): the last port wins"),
    Rule(_hub, "the bridge's ageing time is 0", "br_fdb_update() returns at once: 'some users want to always flood'"),
    Rule(
        _learning_off,
        "not in the FDB, and it spoke from (or is the card of, or may be behind) a port with learning off",
        "bridge(8), learning; br_handle_frame_finish() calls br_fdb_update() only with BR_LEARNING",
    ),
    Rule(_virtual, "in the range of a virtual MAC, and nobody sends from it", "RFC 9568, 7.3; NLB's unicast mode"),
    Rule(
        _gone,
        "an entry at one look, none at the next: of age (aged out), or before its age (flushed)",
        "IEEE 802.1Q-2022, 8.8.3; br_fdb_cleanup(), br_fdb_flush()",
    ),
    Rule(_silent_guest, "the card of a running guest that has sent before and is silent", "the tap's counters"),
    Rule(_never, "no entry when the window began", "IEEE 802.1Q-2022, 8.8: what is not known is flooded"),
    Rule(_unknown, "anything else", ""),
)
"""Asked in this order. What the bridge did not forward comes first, then what is wrong with the bridge."""


def decide(each: Destination, seen: Observation) -> Finding:
    """Give the finding of the first rule that applies."""
    return next(finding for rule in RULES if (finding := rule.ask(each, seen)) is not None)


def _names(ports: tuple[str, ...] | frozenset[str]) -> str:
    return ", ".join(sorted(ports))
