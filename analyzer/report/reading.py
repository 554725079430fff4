"""From a document, validated by its shape, to the report. Called by store.py alone.

What can be derived (shares, rates, sums) is not read: a document that lies there cannot lie to us. Tables come out in
bounded size, whatever the document holds. Raises ValueError where the document contradicts itself.
"""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Final

from analyzer.model.addresses import parse_mac
from analyzer.model.classes import FrameClass
from analyzer.model.identity import Address, GuestIdentity
from analyzer.model.window import CaptureWindow
from analyzer.report.findings import Cause, Sample, Subclass, merge_causes, merge_samples
from analyzer.report.observed import Answers, Membership, Observed, SeenAddress
from analyzer.report.report import ClassCounts, FramesFile, Report, merge_tallies, windows_in_order
from analyzer.report.split import join_subclasses
from analyzer.report.talkers import MERGED, Entry, Hitters
from analyzer.report.timeline import COUNTS, Timeline
from analyzer.report.times import parse_second, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analyzer.report import document as doc


def read(parsed: doc.ReportDocument) -> Report:
    """Give the report of a document."""
    windows = windows_in_order(tuple(_window(window) for window in parsed.windows))
    counts = _class_counts(parsed.classes)
    counted, seen = sum(frames for frames, _ in counts), sum(window.frames_seen for window in windows)
    if counted != seen:
        raise ValueError(f"the classes add up to {counted} frames, the windows to {seen}")
    return Report(
        identity=_identity(parsed.guest, parsed.observed, {row.src for row in parsed.senders if row.role == "new"}),
        direction_source=parsed.direction_source,
        windows=windows,
        class_counts=counts,
        segments=parsed.segments,
        talkers=_hitters((_talker(row) for row in parsed.foreign_talkers), parsed.errors.foreign_talkers),
        groups=_hitters((_entry(row.dst, row) for row in parsed.groups), parsed.errors.groups),
        senders=_hitters((_entry(row.src, row) for row in parsed.senders), parsed.errors.senders),
        ethertypes=merge_tallies((row.ethertype, row.frames, row.octets) for row in parsed.ethertypes),
        vlans=merge_tallies((row.vlan, row.frames, row.octets) for row in parsed.vlans),
        timeline=_timeline(parsed.timeline_bin_s, parsed.timeline),
        subclasses=join_subclasses(_subclass(row) for row in parsed.subclasses),
        causes=merge_causes(_cause(row) for row in parsed.causes),
        samples=merge_samples(_sample(row) for row in parsed.samples),
        observed=_observed(parsed.observed, parsed.errors.asked),
        frames_file=_frames_file(parsed.frames_file) if len(windows) == 1 else None,
        notes=tuple(sorted(set(parsed.notes))),
    )


def _class_counts(classes: doc.Classes) -> ClassCounts:
    rows = (getattr(classes, kind.key) for kind in FrameClass)
    return tuple((row.frames, row.octets) for row in rows)


def _identity(guest: doc.GuestPart, observed: doc.ObservedPart, new: set[str]) -> GuestIdentity:
    """Give the identity; what only the traffic tells stands in the senders (``new``) and in ``observed``."""
    addresses = {row.value for row in observed.addresses if row.is_new}
    groups = {row.group for row in observed.memberships if row.is_new}
    vlans = {row.vlan for row in observed.vlans if row.is_new}
    return GuestIdentity(
        macs=tuple(parse_mac(mac) for mac in guest.macs),
        source=guest.identity_source,
        name=guest.name,
        uuid=guest.uuid,
        card=guest.card,
        tap=guest.tap,
        bridge=guest.bridge,
        addresses=tuple(_ip(address) for address in _addresses(guest.addresses) if address.value not in addresses),
        macs_seen=tuple(address for address in _addresses(guest.macs_seen) if address.value not in new),
        groups=tuple(parse_mac(mac) for mac in guest.groups if mac not in groups),
        vlans=tuple(vlan for vlan in guest.vlans if vlan not in vlans),
    )


def _observed(part: doc.ObservedPart, error: int) -> Observed:
    memberships = (Membership(parse_mac(row.group), _time(row.joined), _time(row.left)) for row in part.memberships)
    given = Observed(
        memberships=tuple(memberships),
        ipv4=_answers(part.igmp),
        ipv6=_answers(part.mld),
        vlans=tuple((row.vlan, row.frames, row.octets) for row in part.vlans),
        addresses=tuple(_seen(row) for row in part.addresses),
        asked=_hitters((_asked(row) for row in part.asked), error),
        more_groups=part.more_groups,
        more_addresses=part.more_addresses,
    )
    return given.merge(Observed())


def _time(text: str | None) -> int | None:
    return None if text is None else parse_time(text)


def _answers(part: doc.AnswersPart) -> Answers:
    return Answers(_time(part.query), _time(part.answer), part.is_cut)


def _seen(row: doc.AddressSeen) -> SeenAddress:
    address, first_ns, last_ns = ip_address(row.value), parse_time(row.first_seen), parse_time(row.last_seen)
    if last_ns < first_ns:
        raise ValueError("an address is last seen before it is first seen")
    return SeenAddress(address.version, int(address), row.frames, first_ns, last_ns)


def _asked(row: doc.Asked) -> Entry:
    times = parse_time(row.first_seen), parse_time(row.last_seen)
    return _checked(Entry(int(IPv4Address(row.address)), 0, row.frames, row.octets, *times, row.error))


def _addresses(parts: Sequence[doc.AddressPart]) -> tuple[Address, ...]:
    return tuple(Address(part.value, part.source, part.trusted) for part in parts)


def _ip(address: Address) -> Address:
    """Give the address. Raises ValueError where it is none: a rule may be made of it."""
    ip_address(address.value)
    if not address.value.isprintable():  # a zone, as in fe80::1%eth0, may hold anything
        raise ValueError(f"not an IP address: {address.value!r}")
    return address


def _window(window: doc.WindowPart) -> CaptureWindow:
    start_ns = None if window.start is None else parse_time(window.start)
    end_ns = None if window.end is None else parse_time(window.end)
    if start_ns is not None and end_ns is not None and end_ns < start_ns:
        raise ValueError(f"the window of {window.source!r} ends before it begins")
    return CaptureWindow(
        source=window.source,
        start_ns=start_ns,
        end_ns=end_ns,
        frames_seen=window.frames_seen,
        frames_lost=window.frames_lost,
        snaplen=window.snaplen,
        stopped_early=window.stopped_early,
    )


def _hitters(entries: Iterable[Entry], error: int) -> Hitters:
    """Give the table, in bounded size. Raises ValueError where an address stands in it twice."""
    ordered = tuple(sorted(entries))
    if len({(entry.first, entry.second) for entry in ordered}) < len(ordered):
        raise ValueError("an address stands twice in one table")
    return Hitters(ordered, error).largest(MERGED)


def _talker(row: doc.Talker) -> Entry:
    return _checked(
        Entry(
            parse_mac(row.src),
            parse_mac(row.dst),
            row.frames,
            row.octets,
            parse_time(row.example),
            parse_time(row.last_seen),
            row.error,
        )
    )


def _entry(mac: str, row: doc.Group | doc.Sender) -> Entry:
    times = parse_time(row.first_seen), parse_time(row.last_seen)
    return _checked(Entry(parse_mac(mac), 0, row.frames, row.octets, *times, row.error))


def _checked(entry: Entry) -> Entry:
    if entry.last_ns < entry.first_ns:
        raise ValueError("an address is last seen before it is first seen")
    return entry


_WIDEST_BIN_S: Final = 2**33
_EARLIEST_S: Final = parse_second("1000-01-01T00:00:00.000000000Z")
"""Far beyond what 64 bits of nanoseconds need; so bounded, bins that merging widens begin in a year that has a name."""


def _timeline(bin_s: int, rows: Sequence[doc.TimelineRow]) -> Timeline:
    if bin_s & (bin_s - 1) or bin_s > _WIDEST_BIN_S:
        raise ValueError(f"timeline_bin_s {bin_s} is no power of two up to 2^33")
    if any(parse_second(row.t) < _EARLIEST_S for row in rows):
        raise ValueError("a bin of the timeline begins before the year 1000")
    bins: dict[int, list[int]] = {}
    if any(row.octets and not row.frames for row in rows):
        raise ValueError("a bin of the timeline has octets of no frame")
    for row in rows:
        if not row.frames:
            continue  # as it is not there
        counts = bins.setdefault(parse_second(row.t) // bin_s, [0] * COUNTS)
        kind = FrameClass[row.kind.upper()]
        counts[2 * kind], counts[2 * kind + 1] = row.frames, row.octets
    given = Timeline(bin_s, tuple((number, tuple(bins[number])) for number in sorted(bins)))
    return given.merge(Timeline())


def _subclass(row: doc.SubclassPart) -> Subclass:
    return Subclass(FrameClass[row.kind.upper()], row.name, row.unrelated, row.frames, row.octets)


def _cause(row: doc.CausePart) -> Cause:
    return Cause(row.name, row.sentence, tuple(row.evidence), row.remedy, row.risk, row.frames, row.octets)


def _sample(row: doc.SamplePart) -> Sample:
    kind = FrameClass[row.kind.upper()]
    return Sample(parse_time(row.t), kind, parse_mac(row.src), parse_mac(row.dst), row.octets, row.text)


def _frames_file(part: doc.FramesPart | None) -> FramesFile | None:
    return None if part is None else FramesFile(part.path, part.sha256, part.covers)
