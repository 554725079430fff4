"""When no filter is suggested: the reason, what to do, and whether a person may overrule it.

Each check looks at one thing and gives its refusal or None; all are asked, so that a person sees every reason at once.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from analyzer.host.domain_xml import KEEP_URI
from analyzer.host.guests import GuestCard
from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from analyzer.model.identity import Provenance
from generator.nwfilter.model import FilterRef
from generator.suggest.case import Case, Refusal, RefusalKind
from generator.suggest.evidence import meant_drops, wrong_drops
from generator.suggest.profiles import PARTS, Lack, filter_uuid, previous_filter, untrusted_addresses
from generator.suggest.rules import GROUP_MASK_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.report.report import Report

__all__ = ["Case", "Refusal", "RefusalKind", "lost_share", "refusals"]

WINDOW_AT_LEAST_S: Final = 2.0
LOST_AT_MOST: Final = 0.001
"""Share of the frames that the kernel may have dropped before we saw them."""

FILTERED_TYPES: Final = ("bridge", "network", "ethernet")
"""Interface types on which libvirt keeps a filterref (facts tried on libvirt 9: direct, user and the rest lose it)."""

UNFILTERED_VIRTUALPORTS: Final = ("openvswitch", "midonet")
"""Switches that do not run the bridge's netfilter hooks: rules are made and never asked."""

_NAMED: Final = 10
_LEARNT: Final = "IP"
_DROPS_ALL_ELSE: Final = "allow-ipv4"
"""The profile that lets nothing but IPv4 and ARP pass."""


def refusals(case: Case) -> tuple[Refusal, ...]:
    """Give every reason that stands against the filter, those about the measurement first."""
    found = (check(case) for check in _CHECKS)
    return tuple(refusal for refusal in found if refusal is not None)


def lost_share(report: Report) -> float | None:
    """Give the share of frames lost in the windows where it is known, None where it is known in none."""
    known = [(window.frames_lost, window.frames_seen) for window in report.windows if window.frames_lost is not None]
    if not known:
        return None
    lost, seen = (sum(column) for column in zip(*known, strict=True))
    return lost / (lost + seen) if lost else 0.0


def _window(case: Case) -> Refusal | None:
    report = case.report
    if not report.frames_seen:
        reason, hint = "no frame was seen", "measure while the guest is up and has traffic"
        return Refusal(reason, hint, can_force=False, kind=RefusalKind.NOTHING_SEEN)
    if report.duration_s < WINDOW_AT_LEAST_S:
        reason = f"{report.duration_s:.1f} s were measured, which shows too little of what the guest needs"
        hint = "measure for a minute or more: -a duration:60"
        return Refusal(reason, hint, can_force=True, kind=RefusalKind.WINDOW_TOO_SHORT)
    return None


def _lost(case: Case) -> Refusal | None:
    share = lost_share(case.report)
    if share is None or share <= LOST_AT_MOST:
        return None
    reason = f"{100 * share:.2f} % of the frames were lost while measuring, more than {100 * LOST_AT_MOST:.2f} %"
    hint = "measure again when the host is less busy, or with a smaller snaplen"
    return Refusal(reason, hint, can_force=True, kind=RefusalKind.FRAMES_LOST)


def _unseen(case: Case) -> Refusal | None:
    """Refuse where the guest's own frames were counted and not looked at: what it sends and needs is not known."""
    if not case.report.has_unseen:
        return None
    reason = "the guest's own frames were counted and not looked at: nobody knows what it sends, and what it needs"
    hint = "measure without --unrelated"
    return Refusal(reason, hint, can_force=True, kind=RefusalKind.OWN_NOT_LOOKED_AT)


def _guessed(case: Case) -> Refusal | None:
    if Provenance.GUESS not in (case.identity.source, case.report.identity.source):
        return None
    reason = f"that {format_mac(case.identity.macs[0])} is the guest's MAC was guessed from traffic"
    hint = "say whose traffic it is, with --mac or --guest"
    return Refusal(reason, hint, can_force=False, kind=RefusalKind.IDENTITY_GUESSED)


def _whose(case: Case) -> Refusal | None:
    measured, card = case.report.identity.macs, case.identity.macs[0]
    if card not in measured:
        reason = f"the report is of {_macs(measured)}, the card is {format_mac(card)}"
        return Refusal(reason, "measure this card", can_force=False, kind=RefusalKind.OTHER_CARD)
    further = tuple(mac for mac in measured if not case.filter_set.passes(mac))
    if not further:
        return None
    reason = f"the report counts what goes to {_macs(further)} as the guest's own, and the filter would drop it"
    hint = _also(further)
    return Refusal(reason, hint, can_force=False, kind=RefusalKind.OWN_MACS_DIFFER)


def _card_type(case: Case) -> Refusal | None:
    card = case.target
    if not isinstance(card, GuestCard):
        return None
    reason = None
    if card.interface_type not in FILTERED_TYPES:
        reason = f"the card is of type {card.interface_type}, where libvirt silently ignores filters"
    elif card.virtualport in UNFILTERED_VIRTUALPORTS:
        reason = f"the card is a port of {card.virtualport}, which frames pass without meeting libvirt's rules"
    elif (card.identity.tap or "").startswith("macvtap"):
        reason = "the card's network makes it a macvtap, for which libvirt installs no rules"
    if reason is None:
        return None
    hint = f"filters act on cards of type {', '.join(FILTERED_TYPES)} on a Linux bridge"
    return Refusal(reason, hint, can_force=False, kind=RefusalKind.CARD_TYPE)


def _configurations(case: Case) -> Refusal | None:
    card = case.target
    if not isinstance(card, GuestCard) or card.live_xml is None or card.inactive_xml is None:
        return None
    kept = FilterRef(*card.inactive_filterref) if card.inactive_filterref else None
    live, inactive = (previous_filter(case.identity, ref, case.library) for ref in (case.existing, kept))
    if live == inactive and (case.existing is None or kept is None or case.existing.parameters == kept.parameters):
        return None
    reason = f"the card has {_filter(case.existing)} now and {_filter(kept)} after the guest's next start"
    hint = "make both the same first (virsh edit, or restart the guest): one filter of ours is for both"
    return Refusal(reason, hint, can_force=True, kind=RefusalKind.CONFIGURATIONS_DIFFER)


def _wanted(case: Case) -> Refusal | None:
    if case.prediction is None:
        return None
    wrong = wrong_drops(case.filter_set, case.prediction, case.basis)
    if not wrong:
        return None
    named = ", ".join(f"{counts.frames} of {kind.key}" for kind, counts in wrong.items())
    reason = f"the filter would drop frames that the guest needs: {named}"
    hint = "see which with nwscan replay; the measured MACs and those of the filter must be the same"
    if case.filter_set.profile == _DROPS_ALL_ELSE:
        hint = "this profile lets nothing but IPv4 and ARP pass, as written in 2015; take --profile ip instead"
        return Refusal(reason, hint, can_force=True, kind=RefusalKind.DROPS_WANTED)
    return Refusal(reason, hint, can_force=False, kind=RefusalKind.DROPS_WANTED)


def _untried(case: Case) -> Refusal | None:
    profile = case.filter_set.profile
    if profile == "mac" or case.prediction is not None or not case.report.frames_seen:
        return None
    reason = f"no frames were kept, and the profile {profile} is judged by trying it on frames"
    hint = "measure again and keep the frames, or take --profile mac, for which the counts are enough"
    return Refusal(reason, hint, can_force=False, kind=RefusalKind.NO_FRAMES)


def _no_addresses(case: Case) -> Refusal | None:
    if Lack.ADDRESSES not in case.filter_set.lacks:
        return None
    further = untrusted_addresses(
        (*case.identity.addresses, *case.report.identity.addresses), (), profile=case.filter_set.profile
    )
    seen = f"; traffic tells of {', '.join(further[:_NAMED])}, which nobody vouches for" if further else ""
    reason = f"no IPv4 address of the guest is known that can be trusted{seen}"
    hint = "state every address that the guest uses: " + " ".join(
        f"--ip {each}" for each in further[:_NAMED] or ("ADDRESS",)
    )
    return Refusal(reason, hint, can_force=False, kind=RefusalKind.NO_ADDRESSES)


def _groups_unknown(case: Case) -> Refusal | None:
    if Lack.GROUPS not in case.filter_set.lacks:
        return None
    reason = "which multicast groups the guest has joined is not known, so none is filtered"
    hint = "name those it needs (--keep mdns, --keep 239.1.2.3), or let all pass: --keep multicast"
    return Refusal(reason, hint, can_force=True, kind=RefusalKind.GROUPS_UNKNOWN)


def _further_addresses(case: Case) -> Refusal | None:
    known = case.filter_set.addresses
    if not known or case.filter_set.profile == "mac":
        return None
    versions = {":" in address for address in known}
    told = untrusted_addresses(
        (*case.identity.addresses, *case.report.identity.addresses), known, profile=case.filter_set.profile
    )
    further = [address for address in told if (":" in address) in versions]
    if not further:
        return None
    reason = f"the guest seems to use {', '.join(further[:_NAMED])} too: what goes there would be dropped"
    hint = "where they are the guest's: " + " ".join(f"--ip {each}" for each in further[:_NAMED])
    return Refusal(reason, hint, can_force=True, kind=RefusalKind.FURTHER_ADDRESSES)


def _other_addresses(case: Case) -> Refusal | None:
    """Doubt what goes to the guest's own MAC and another address: mostly it is an address that nobody stated."""
    if case.prediction is None or not case.filter_set.addresses:
        return None
    dropped = meant_drops(case.filter_set, case.prediction, FrameClass.UNICAST_TO_GUEST)
    if not dropped.frames:
        return None
    known = ", ".join(case.filter_set.addresses[:_NAMED])
    reason = f"{dropped.frames} frames to the guest's own MAC would be dropped, since their address is none of {known}"
    hint = "state every address that the guest uses or forwards to with --ip; where it has no use for them, --force"
    return Refusal(reason, hint, can_force=True, kind=RefusalKind.OTHER_ADDRESSES)


def _senders(case: Case) -> Refusal | None:
    """Refuse where the guest sends from further MACs: in the window, or before it, as the bridge has learnt."""
    sent = {
        entry.first: f"{format_mac(entry.first)} ({entry.frames} frames)" for entry in case.report.senders.by_size()
    }
    sent |= {mac: f"{format_mac(mac)} (learnt by the bridge)" for mac in case.behind if mac not in sent}
    further = [mac for mac in sent if not case.filter_set.passes(mac)]
    if not further:
        return None
    named = ", ".join(sent[mac] for mac in further[:_NAMED])
    more = f" and {len(further) - _NAMED} more" if len(further) > _NAMED else ""
    reason = f"the guest also sends from {named}{more}: answers to them would be dropped"
    hint = f"where they are the guest's (macvlan, bridge or guests inside it): {_also(further)}"
    return Refusal(reason, hint, can_force=True, kind=RefusalKind.FURTHER_MACS)


def _uses_foreign(case: Case) -> Refusal | None:
    """Refuse where frames to other MACs are of use to the guest: a virtual address, a router, a bridge inside it."""
    used = [each for each in case.used if not case.filter_set.passes(each.mac)]
    if not used:
        return None
    counts = (("answers", sum(each.answered for each in used)), ("sends on", sum(each.forwarded for each in used)))
    does = " and ".join(f"{verb} {count}" for verb, count in counts if count)
    macs = [each.mac for each in used]
    reason = f"the guest {does} frames that went to {_macs(macs)}, which the filter would drop"
    hint = f"where it needs them (a virtual address, a cluster, guests inside it): {_also(macs)}"
    both_ways = sum(each.both_ways for each in used)
    if both_ways:
        senders = _macs(list(dict.fromkeys(sender for each in used for sender in each.senders)))
        reason += f"; {both_ways} of these may be for the same packets to its own MAC or to all, which came as well"
        hint = (
            f"a neighbour can bring this about, by sending both: they came from {senders} (which can be forged). "
            f"Look inside the guest whether it has {_macs(macs)}: ip link, or virsh domifaddr --source agent. "
            f"{hint[0].upper()}{hint[1:]}; where it has not: --force"
        )
    return Refusal(reason, hint, can_force=True, kind=RefusalKind.USES_FOREIGN)


def _marked(case: Case) -> Refusal | None:
    """Refuse where whoever runs the guest has marked it: that is taken back, not overruled."""
    card = case.target
    if not isinstance(card, GuestCard) or card.keep is None:
        return None
    why = f": {card.keep}" if card.keep else ""
    reason = f"the guest is marked to keep its foreign unicast{why}"
    guest = shlex.quote(card.identity.uuid or card.identity.name or "GUEST")
    hint = f"where that no longer holds, take the mark back: virsh metadata {guest} --uri {KEEP_URI} --remove --config"
    hint += " --live" if card.running else ""
    return Refusal(reason, hint, can_force=False, kind=RefusalKind.MARKED_KEEP)


def _tree(case: Case) -> Refusal | None:
    """Look at what the filter that stays needs."""
    if case.tree is None:
        return None
    name = case.filter_set.previous
    if case.tree.absent:
        reason = f"the card's filter {name} refers to what is not known: {', '.join(case.tree.absent)}"
        hint = "read the filters of the host too (virsh nwfilter-list), and define what is missing"
        return Refusal(reason, hint, can_force=False, kind=RefusalKind.FILTER_INCOMPLETE)
    lacking = case.tree.lacking
    if not lacking or case.filter_set.attached:
        return None
    if any(one.partition("[")[0] != _LEARNT for one in lacking):
        reason = f"the card's filter {name} lacks the parameters {', '.join(lacking)}: it cannot be attached again"
        hint = "give them as parameters of the interface's filterref"
        return Refusal(reason, hint, can_force=False, kind=RefusalKind.FILTER_INCOMPLETE)
    reason = (
        f"the card's filter {name} learns the guest's IP; to attach anything starts that anew, and until it is done "
    )
    reason += "the guest is cut off in part"
    hint = "state the address first: <parameter name='IP' value='...'/> in the interface's filterref, once for each"
    return Refusal(reason, hint, can_force=True, kind=RefusalKind.LEARNS_IP)


def _loop(case: Case) -> Refusal | None:
    own = {each.name for each in case.filter_set.filters}
    below = [name for name in case.tree.names if name in own] if case.tree else []
    if not below:
        return None
    reason = f"the card's filter {case.filter_set.previous} refers to {', '.join(below)}, which is to refer to it"
    hint = "let the interface refer to the filter of nwscan itself"
    return Refusal(reason, hint, can_force=False, kind=RefusalKind.LOOP)


def _name_taken(case: Case) -> Refusal | None:
    uuids = {filter_uuid(case.identity, part) for part in ("root", *PARTS)}
    known = [case.library.get(each.name) for each in case.filter_set.filters]
    taken = [found.name for found in known if found is not None and (found.uuid or "").lower() not in uuids]
    if not taken:
        return None
    reason = f"the host has a filter {', '.join(taken)} that is not this card's"
    hint = f"see what it is (virsh nwfilter-dumpxml {taken[0]}) and, where nobody uses it, undefine it"
    return Refusal(reason, hint, can_force=False, kind=RefusalKind.NAME_TAKEN)


def _parameter_taken(case: Case) -> Refusal | None:
    given = case.filter_set.reference.variables
    stated = {address for address in case.filter_set.addresses if ":" not in address}
    if case.filter_set.profile == _DROPS_ALL_ELSE and set(given.get(_LEARNT, stated)) != stated:
        reason = "the interface's parameters IP name other addresses than the filter would let pass"
        hint = "name all addresses there: <parameter name='IP' value='...'/>, once for each"
        return Refusal(reason, hint, can_force=False, kind=RefusalKind.PARAMETER_TAKEN)
    if GROUP_MASK_NAME not in given:
        return None
    reason = f"the interface has a parameter {GROUP_MASK_NAME}, which would override that of the filter"
    hint = "take it out of the interface's filterref"
    return Refusal(reason, hint, can_force=False, kind=RefusalKind.PARAMETER_TAKEN)


def _macs(macs: tuple[int, ...] | list[int]) -> str:
    return ", ".join(format_mac(mac) for mac in macs[:_NAMED]) + (" ..." if len(macs) > _NAMED else "")


def _also(macs: tuple[int, ...] | list[int]) -> str:
    return "let it pass with " + " ".join(f"--also-mac {format_mac(mac)}" for mac in macs[:_NAMED])


def _filter(ref: FilterRef | None) -> str:
    if ref is None:
        return "no filter"
    parameters = ", ".join(f"{name}={value}" for name, value in ref.parameters)
    return f"the filter {ref.filter}" + (f" ({parameters})" if parameters else "")


_CHECKS: Final[tuple[Callable[[Case], Refusal | None], ...]] = (
    _window,
    _lost,
    _unseen,
    _guessed,
    _whose,
    _card_type,
    _marked,
    _configurations,
    _untried,
    _no_addresses,
    _groups_unknown,
    _further_addresses,
    _wanted,
    _other_addresses,
    _senders,
    _uses_foreign,
    _tree,
    _loop,
    _name_taken,
    _parameter_taken,
)
