"""Reports as documents of ``nwscan.report/1``, and back.

``from_document(to_document(report)) == report``. What is read may come from anywhere: it is validated, and refused with
the place that is wrong.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from analyzer.errors import InputError, UsageError
from analyzer.model.addresses import format_mac, is_group, parse_mac
from analyzer.model.classes import FrameClass
from analyzer.model.identity import Address, GuestIdentity, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.report import document as doc
from analyzer.report.rates import rates_of
from analyzer.report.report import FramesFile, Report
from analyzer.report.talkers import Entry, Hitters
from analyzer.report.timeline import COUNTS, NS_PER_S, Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.report.report import Tally

SIZE_LIMIT: Final = 64 * 1024 * 1024
"""Octets of a document at the most: a report with every table full is below 4 MiB."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_document(report: Report, version: str = "") -> dict[str, Any]:
    """Give the report as JSON values; ``version`` is that of the tool."""
    built: dict[str, Any] = msgspec.to_builtins(_build(report, version))
    return built


def encode(report: Report, version: str = "") -> bytes:
    """Give the report as one line of JSON."""
    return msgspec.json.encode(_build(report, version))


def from_document(document: bytes | dict[str, Any], where: str = "the report") -> Report:
    """Give the report of a document. Raises InputError where it is none, or one of another schema."""
    if isinstance(document, bytes) and len(document) > SIZE_LIMIT:
        raise InputError(f"a report of {len(document)} octets is above the limit of {SIZE_LIMIT}", where)
    try:
        if isinstance(document, bytes):
            parsed = msgspec.json.decode(document, type=doc.ReportDocument)
        else:
            parsed = msgspec.convert(document, doc.ReportDocument)
        return _read(parsed)
    except (msgspec.MsgspecError, UsageError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"not a report of {doc.SCHEMA}: {error}", where, "name a report that nwscan wrote") from error


def schema() -> dict[str, Any]:
    """Give the JSON Schema of ``nwscan.report/1``."""
    return msgspec.json.schema(doc.ReportDocument)


def format_time(ns: int) -> str:
    """Give nanoseconds since the epoch as RFC 3339, UTC, nine digits."""
    seconds, rest = divmod(ns, NS_PER_S)
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z" if moment.year >= _PLAIN_YEAR else _old(moment, rest)


_PLAIN_YEAR: Final = 1000
"""strftime pads no year below."""


def _old(moment: datetime, rest: int) -> str:
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}.{rest:09d}Z"


def parse_time(text: str) -> int:
    """Give the nanoseconds since the epoch that format_time wrote. Raises ValueError."""
    whole, rest = text.removesuffix("Z").split(".")
    moment = datetime.fromisoformat(f"{whole}+00:00")
    return (moment - _EPOCH) // timedelta(seconds=1) * NS_PER_S + int(rest)


# Writing ------------------------------------------------------------------------------------------------------------


def _build(report: Report, version: str) -> doc.ReportDocument:
    seen, foreign = report.seen_by_guest, report.class_counts[FrameClass.FOREIGN_UNICAST]
    share = report.foreign_share
    return doc.ReportDocument(
        schema="nwscan.report/1",
        tool=doc.Tool("nwscan", version),
        guest=_guest(report),
        direction_source=report.direction_source,
        windows=[_window(window) for window in report.windows],
        classes={kind.key: doc.Count(*report.class_counts[kind]) for kind in FrameClass},  # type: ignore[misc]
        seen_by_guest=doc.Count(*seen),
        foreign_share=doc.Share(*share),
        unrelated=doc.Unrelated(*foreign, share[0]),
        subclasses=[],
        segments=report.segments,
        foreign_talkers=[_talker(entry, report.talkers.error) for entry in report.talkers.by_size()],
        groups=[_group(entry, report.identity.groups) for entry in report.groups.by_size()],
        senders=[_sender(entry) for entry in report.senders.by_size()],
        errors=doc.Errors(report.talkers.error, report.groups.error, report.senders.error),
        ethertypes=[doc.EthertypePart(*row) for row in report.ethertypes],
        vlans=[doc.VlanPart(*row) for row in report.vlans],
        rates={kind.key: rate for kind, rate in rates_of(report).items()},  # type: ignore[misc]
        timeline_bin_s=report.timeline.bin_s,
        timeline=_timeline_rows(report.timeline),
        causes=[],
        samples=[],
        tcpdump=tcpdump_expression(report.identity),
        frames_file=None if report.frames_file is None else _frames_part(report.frames_file),
        notes=list(report.notes),
    )


def tcpdump_expression(identity: GuestIdentity) -> str:
    """Give the tcpdump expression of foreign unicast; on the tap itself with ``-Q out``, for frames to the guest."""
    own = " and ".join(f"not ether dst {mac} and not ether src {mac}" for mac in map(format_mac, identity.macs))
    return f"not ether multicast and {own}" if own else "not ether multicast"


def macs_seen(report: Report) -> tuple[Address, ...]:
    """Give the MACs that the guest was seen to use beyond its own: the identity's, and the sources of what it sent."""
    known = {*report.identity.macs, *(parse_mac(address.value) for address in report.identity.macs_seen)}
    sent = [entry.first for entry in report.senders.by_size() if entry.first not in known and not is_group(entry.first)]
    return (*report.identity.macs_seen, *(Address(format_mac(mac), Provenance.TRAFFIC, trusted=False) for mac in sent))


def _guest(report: Report) -> doc.GuestPart:
    identity = report.identity
    return doc.GuestPart(
        name=identity.name,
        uuid=identity.uuid,
        tap=identity.tap,
        bridge=identity.bridge,
        macs=[format_mac(mac) for mac in identity.macs],
        addresses=[_address(address) for address in identity.addresses],
        macs_seen=[_address(address) for address in macs_seen(report)],
        identity_source=identity.source,
        card=identity.card,
        groups=[format_mac(mac) for mac in identity.groups],
        vlans=list(identity.vlans),
    )


def _address(address: Address) -> doc.AddressPart:
    return doc.AddressPart(address.value, address.source, address.trusted)


def _window(window: CaptureWindow) -> doc.WindowPart:
    return doc.WindowPart(
        source=window.source,
        start=None if window.start_ns is None else format_time(window.start_ns),
        end=None if window.end_ns is None else format_time(window.end_ns),
        frames_seen=window.frames_seen,
        frames_lost=window.frames_lost,
        snaplen=window.snaplen,
        stopped_early=window.stopped_early,
    )


def _talker(entry: Entry, error: int) -> doc.Talker:
    times = format_time(entry.first_ns), format_time(entry.last_ns)
    return doc.Talker(format_mac(entry.first), format_mac(entry.second), entry.frames, entry.octets, error, *times)


def _group(entry: Entry, joined: tuple[int, ...]) -> doc.Group:
    times = format_time(entry.first_ns), format_time(entry.last_ns)
    is_joined = entry.first in joined if joined else None
    return doc.Group(format_mac(entry.first), is_joined, entry.frames, entry.octets, *times)


def _sender(entry: Entry) -> doc.Sender:
    times = format_time(entry.first_ns), format_time(entry.last_ns)
    return doc.Sender(format_mac(entry.first), entry.frames, entry.octets, *times)


def _timeline_rows(timeline: Timeline) -> list[doc.TimelineRow]:
    return [
        doc.TimelineRow(
            format_time(number * timeline.bin_s * NS_PER_S),
            kind.key,  # type: ignore[arg-type]
            counts[2 * kind],
            counts[2 * kind + 1],
        )
        for number, counts in timeline.bins
        for kind in FrameClass
        if counts[2 * kind]
    ]


def _frames_part(file: FramesFile) -> doc.FramesPart:
    return doc.FramesPart(file.path, file.sha256, file.covers)


# Reading ------------------------------------------------------------------------------------------------------------


def _read(parsed: doc.ReportDocument) -> Report:
    senders = tuple(sorted(_entry(row.src, None, row.frames, row.octets, row.first_seen, row.last_seen) for row in parsed.senders))
    groups = tuple(sorted(_entry(row.dst, None, row.frames, row.octets, row.first_seen, row.last_seen) for row in parsed.groups))
    talkers = tuple(
        sorted(_entry(row.src, row.dst, row.frames, row.octets, row.example, row.last_seen) for row in parsed.foreign_talkers)
    )
    missing = [kind.key for kind in FrameClass if kind.key not in parsed.classes]
    if missing:
        raise ValueError(f"classes are missing: {', '.join(missing)}")
    return Report(
        identity=_identity(parsed.guest, {entry.first for entry in senders}),
        direction_source=parsed.direction_source,
        windows=tuple(_read_window(window) for window in parsed.windows),
        class_counts=tuple((parsed.classes[kind.key].frames, parsed.classes[kind.key].octets) for kind in FrameClass),  # type: ignore[index]
        segments=parsed.segments,
        talkers=Hitters(talkers, parsed.errors.foreign_talkers),
        groups=Hitters(groups, parsed.errors.groups),
        senders=Hitters(senders, parsed.errors.senders),
        ethertypes=_tally((row.ethertype, row.frames, row.octets) for row in parsed.ethertypes),
        vlans=_tally((row.vlan, row.frames, row.octets) for row in parsed.vlans),
        timeline=_read_timeline(parsed.timeline_bin_s, parsed.timeline),
        frames_file=None
        if parsed.frames_file is None
        else FramesFile(parsed.frames_file.path, parsed.frames_file.sha256, parsed.frames_file.covers),
        notes=tuple(parsed.notes),
    )


def _tally(rows: Any) -> Tally:  # noqa: ANN401 an iterable of triples
    return tuple(sorted(rows))


def _entry(first: str, second: str | None, frames: int, octets: int, start: str, end: str) -> Entry:
    pair = parse_mac(first), parse_mac(second) if second else 0
    return Entry(*pair, frames, octets, parse_time(start), parse_time(end))


def _identity(guest: doc.GuestPart, sent: set[int]) -> GuestIdentity:
    """Give the identity; MACs that were only seen in the traffic stand in the senders."""
    derived = {mac for mac in sent if format_mac(mac) not in guest.macs}
    seen = [
        address
        for address in guest.macs_seen
        if address.source is not Provenance.TRAFFIC or parse_mac(address.value) not in derived
    ]
    return GuestIdentity(
        macs=tuple(parse_mac(mac) for mac in guest.macs),
        source=guest.identity_source,
        name=guest.name,
        uuid=guest.uuid,
        card=guest.card,
        tap=guest.tap,
        bridge=guest.bridge,
        addresses=_addresses(guest.addresses),
        macs_seen=_addresses(seen),
        groups=tuple(parse_mac(mac) for mac in guest.groups),
        vlans=tuple(guest.vlans),
    )


def _addresses(parts: Sequence[doc.AddressPart]) -> tuple[Address, ...]:
    return tuple(Address(part.value, part.source, part.trusted) for part in parts)


def _read_window(window: doc.WindowPart) -> CaptureWindow:
    return CaptureWindow(
        source=window.source,
        start_ns=None if window.start is None else parse_time(window.start),
        end_ns=None if window.end is None else parse_time(window.end),
        frames_seen=window.frames_seen,
        frames_lost=window.frames_lost,
        snaplen=window.snaplen,
        stopped_early=window.stopped_early,
    )


def _read_timeline(bin_s: int, rows: Sequence[doc.TimelineRow]) -> Timeline:
    if bin_s & (bin_s - 1):
        raise ValueError(f"timeline_bin_s {bin_s} is no power of two")
    bins: dict[int, list[int]] = {}
    for row in rows:
        counts = bins.setdefault(parse_time(row.t) // (bin_s * NS_PER_S), [0] * COUNTS)
        kind = FrameClass[row.kind.upper()]
        counts[2 * kind], counts[2 * kind + 1] = row.frames, row.octets
    return Timeline(bin_s, tuple((number, tuple(bins[number])) for number in sorted(bins)))
