"""From a report to its document. Called by store.py alone."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from analyzer.classify.subclasses import is_joined
from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from analyzer.report import document as doc
from analyzer.report.expression import tcpdump_direction, tcpdump_expression
from analyzer.report.rates import Rate, rates_of
from analyzer.report.senders import macs_seen, new_addresses, new_groups, new_vlans, senders_with_roles
from analyzer.report.split import guest_facts, split_subclasses, unrelated
from analyzer.report.times import NS_PER_S, format_time
from analyzer.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.model.identity import Address
    from analyzer.model.window import CaptureWindow
    from analyzer.report.findings import Cause, Sample, Subclass
    from analyzer.report.observed import Answers
    from analyzer.report.report import FramesFile, Report
    from analyzer.report.senders import Role
    from analyzer.report.talkers import Entry
    from analyzer.report.timeline import Timeline

CLASS_KEYS: dict[FrameClass, doc.ClassKey] = {
    FrameClass.UNICAST_TO_GUEST: "unicast_to_guest",
    FrameClass.MULTICAST: "multicast",
    FrameClass.BROADCAST: "broadcast",
    FrameClass.FOREIGN_UNICAST: "foreign_unicast",
    FrameClass.FROM_GUEST: "from_guest",
    FrameClass.UNCLASSIFIED: "unclassified",
}


def write(report: Report) -> doc.ReportDocument:
    """Give the document of ``report``."""
    facts, subclasses = guest_facts(report), split_subclasses(report)
    seen_frames, for_others = report.seen_by_guest[0], unrelated(report, subclasses)
    return doc.ReportDocument(
        schema=doc.SCHEMA,
        tool=doc.Tool("nwscan", VERSION),
        guest=_guest(report),
        direction_source=report.direction_source,
        windows=[_window(window) for window in report.windows],
        classes=doc.Classes(*(doc.Count(*counts) for counts in report.class_counts)),
        seen_by_guest=doc.Count(*report.seen_by_guest),
        foreign_share=doc.Share(*report.foreign_share),
        unrelated=doc.Unrelated(*for_others, for_others[0] / seen_frames if seen_frames else None),
        subclasses=[_subclass(one) for one in subclasses],
        segments=report.segments,
        foreign_talkers=[_talker(entry) for entry in report.talkers.by_size()],
        groups=[_group(entry, is_joined(facts, entry.first)) for entry in report.groups.by_size()],
        senders=[_sender(entry, role) for entry, role in senders_with_roles(report)],
        errors=doc.Errors(report.talkers.error, report.groups.error, report.senders.error, report.observed.asked.error),
        ethertypes=[doc.EthertypePart(*row) for row in report.ethertypes],
        vlans=[doc.VlanPart(*row) for row in report.vlans],
        rates=doc.Rates(*(_rate(rate) for rate in rates_of(report).values())),
        timeline_bin_s=report.timeline.bin_s,
        timeline=list(_timeline_rows(report.timeline)),
        causes=[_cause(one) for one in report.causes],
        samples=[_sample(one) for one in report.samples],
        tcpdump=tcpdump_expression(report),
        tcpdump_direction=tcpdump_direction(report),
        frames_file=None if report.frames_file is None else _frames_part(report.frames_file),
        notes=[_text(note) for note in report.notes],
        observed=_observed(report),
    )


def _text(text: str) -> str:
    """Give ``text`` with what no JSON can hold (octets of a file name that are not UTF-8) as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _optional(text: str | None) -> str | None:
    return None if text is None else _text(text)


def _guest(report: Report) -> doc.GuestPart:
    identity = report.identity
    return doc.GuestPart(
        name=_optional(identity.name),
        uuid=_optional(identity.uuid),
        tap=_optional(identity.tap),
        bridge=_optional(identity.bridge),
        macs=[format_mac(mac) for mac in identity.macs],
        addresses=[_address(address) for address in (*identity.addresses, *new_addresses(report))],
        macs_seen=[_address(address) for address in macs_seen(report)],
        identity_source=identity.source,
        card=identity.card,
        groups=[format_mac(mac) for mac in (*identity.groups, *new_groups(report))],
        vlans=[*identity.vlans, *new_vlans(report)],
    )


def _address(address: Address) -> doc.AddressPart:
    return doc.AddressPart(_text(address.value), address.source, address.trusted)


def _optional_time(ns: int | None) -> str | None:
    return None if ns is None else format_time(ns)


def _observed(report: Report) -> doc.ObservedPart:
    observed = report.observed
    groups, vlans = set(new_groups(report)), set(new_vlans(report))
    addresses = {address.value for address in new_addresses(report)}
    return doc.ObservedPart(
        memberships=[
            doc.MembershipPart(
                format_mac(one.group), _optional_time(one.joined_ns), _optional_time(one.left_ns), one.group in groups
            )
            for one in observed.memberships
        ],
        igmp=_answers(observed.ipv4),
        mld=_answers(observed.ipv6),
        vlans=[doc.VlanUsed(*row, is_new=row[0] in vlans) for row in observed.vlans],
        addresses=[
            doc.AddressSeen(
                one.text, one.frames, format_time(one.first_ns), format_time(one.last_ns), one.text in addresses
            )
            for one in observed.addresses
        ],
        asked=[_asked(entry) for entry in observed.asked.by_size()],
        more_groups=observed.more_groups,
        more_addresses=observed.more_addresses,
    )


def _answers(answers: Answers) -> doc.AnswersPart:
    return doc.AnswersPart(_optional_time(answers.query_ns), _optional_time(answers.answer_ns), answers.is_cut)


def _asked(entry: Entry) -> doc.Asked:
    return doc.Asked(str(IPv4Address(entry.first)), entry.frames, entry.octets, entry.error, *_times(entry))


def _window(window: CaptureWindow) -> doc.WindowPart:
    return doc.WindowPart(
        source=_text(window.source),
        start=None if window.start_ns is None else format_time(window.start_ns),
        end=None if window.end_ns is None else format_time(window.end_ns),
        frames_seen=window.frames_seen,
        frames_lost=window.frames_lost,
        snaplen=window.snaplen,
        stopped_early=_optional(window.stopped_early),
    )


def _subclass(one: Subclass) -> doc.SubclassPart:
    return doc.SubclassPart(CLASS_KEYS[one.kind], _text(one.name), one.is_unrelated, one.frames, one.octets)


def _times(entry: Entry) -> tuple[str, str]:
    return format_time(entry.first_ns), format_time(entry.last_ns)


def _talker(entry: Entry) -> doc.Talker:
    macs = format_mac(entry.first), format_mac(entry.second)
    return doc.Talker(*macs, entry.frames, entry.octets, entry.error, *_times(entry))


def _group(entry: Entry, joined: bool | None) -> doc.Group:  # noqa: FBT001 - a column of the row
    return doc.Group(format_mac(entry.first), joined, entry.frames, entry.octets, entry.error, *_times(entry))


def _sender(entry: Entry, role: Role) -> doc.Sender:
    return doc.Sender(format_mac(entry.first), role, entry.frames, entry.octets, entry.error, *_times(entry))


def _rate(rate: Rate) -> doc.RatePart:
    none = (None,) * 4
    return doc.RatePart(rate.mean_fps, rate.mean_bps, *(rate.percentiles_fps or none), *(rate.percentiles_bps or none))


def _timeline_rows(timeline: Timeline) -> Iterator[doc.TimelineRow]:
    for number, counts in timeline.bins:
        start = format_time(number * timeline.bin_s * NS_PER_S)
        for kind, key in CLASS_KEYS.items():
            if counts[2 * kind]:
                yield doc.TimelineRow(start, key, counts[2 * kind], counts[2 * kind + 1])


def _cause(one: Cause) -> doc.CausePart:
    evidence = [_text(line) for line in one.evidence]
    remedy, risk = _optional(one.remedy), _optional(one.risk)
    return doc.CausePart(_text(one.name), _text(one.sentence), evidence, remedy, risk, one.frames, one.octets)


def _sample(one: Sample) -> doc.SamplePart:
    macs = format_mac(one.src), format_mac(one.dst)
    return doc.SamplePart(format_time(one.ts_ns), CLASS_KEYS[one.kind], *macs, one.octets, _text(one.text))


def _frames_part(file: FramesFile) -> doc.FramesPart:
    return doc.FramesPart(_text(file.path), file.sha256, file.covers)
