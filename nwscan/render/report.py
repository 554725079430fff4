"""A report on the terminal: the headline, the classes, who floods, what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from analyzer.report.senders import new_addresses, new_groups, new_vlans
from analyzer.report.split import split_subclasses
from analyzer.report.store import macs_seen
from nwscan.render.class_names import CLASS_NAMES, subclass_name
from nwscan.render.console import console, headline, remark, table
from nwscan.render.next_steps import after_report, print_next
from nwscan.render.text import count, percent, short, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.table import Table

    from analyzer.report.findings import Subclass
    from analyzer.report.report import Report

_TALKERS_SHOWN: Final = 5


def report_headline(report: Report) -> str:
    """Give the sentence that says it all; "0 frames" and "not measured" never look alike."""
    who, duration_s = report.identity.label, report.duration_s
    over = f" in {duration_s:.1f} s" if duration_s else ""
    foreign_frames, foreign_octets = report.class_counts[FrameClass.FOREIGN_UNICAST]
    share = report.foreign_share[0]
    if not report.frames_seen:
        return f"{who}: not one frame was seen{over}"
    if share is None:
        return f"{who}: nothing came to the guest{over}; it sent {count(report.frames_seen)} frames"
    if not foreign_frames:
        return f"{who} sees no foreign unicast: 0 of {count(report.seen_by_guest[0])} frames{over}"
    rate = ""
    if duration_s:
        frames, bits = foreign_frames / duration_s, foreign_octets * 8 / duration_s
        rate = f": {short(frames, 'frames/s')}, {short(bits, 'bit/s')}"
    return f"{who} sees {percent(share)} traffic that is not its own{rate}"


OVERVIEW_TITLE: Final = "Guests, the one with most foreign frames a second first"
OVERVIEW_COLUMNS: Final = ("foreign share", "foreign rate", "frames seen", "lost")
"""What stands behind the guest's name."""


def by_suffering(reports: Iterable[Report]) -> list[Report]:
    """Give the reports, the one with most foreign frames a second first."""
    return sorted(reports, key=_foreign_fps, reverse=True)


def _foreign_fps(report: Report) -> float:
    return report.class_counts[FrameClass.FOREIGN_UNICAST][0] / (report.duration_s or 1.0)


def overview_rows(reports: Iterable[Report]) -> Iterator[tuple[str, ...]]:
    """Give a row a card, who suffers most being first."""
    for report in by_suffering(reports):
        yield (
            report.identity.label,
            percent(report.foreign_share[0]),
            short(_foreign_fps(report), "frames/s") if report.duration_s else "-",
            count(report.frames_seen),
            "not known" if report.frames_lost is None else count(report.frames_lost),
        )


def print_overview(reports: Sequence[Report]) -> None:
    """Print which guests suffer most."""
    out = console()
    columns = ("guest", *(f">{title}" for title in OVERVIEW_COLUMNS))
    out.print(table(columns, overview_rows(reports), title=OVERVIEW_TITLE))


def print_report(report: Report, *, sources: Sequence[str] = (), stderr: bool = False) -> None:
    """Print one report; ``sources`` are the files that it was made of, none where it was measured right now."""
    out = console(stderr=stderr)
    out.print(headline(report_headline(report)))
    out.print(table(("class", ">frames", ">share", ">octets", ">rate"), _class_rows(report)))
    talkers = talker_table(report)
    if talkers is not None:
        out.print(talkers)
    subclasses = split_subclasses(report)
    if subclasses:
        columns = ("class", "!kind", "!for others", ">frames", ">octets")
        out.print(table(columns, _subclass_rows(subclasses), title="The classes, by kind"))
    if report.samples:
        out.print(table(("class", "one of its frames"), _sample_rows(report), title="Samples"))
    for line in report_remarks(report):
        out.print(remark(line))
    if report.frames_file is not None:
        out.print(remark(f"Frames kept ({percent(report.frames_file.covers)} of the window):"))
        out.print(f"  {visible(report.frames_file.path)}", style="dim", soft_wrap=True)
    out.print()
    steps = after_report(report, sources)
    print_next(out, steps)
    if steps:
        out.print()


def _class_rows(report: Report) -> Iterator[tuple[str, ...]]:
    seen, duration_s = report.seen_by_guest[0], report.duration_s
    for kind, name in CLASS_NAMES.items():
        frames, octets = report.class_counts[kind]
        is_seen = kind not in {FrameClass.FROM_GUEST, FrameClass.UNCLASSIFIED}
        share = percent(frames / seen) if seen and is_seen else "-"
        rate = short(frames / duration_s, "frames/s") if duration_s else "-"
        yield name, count(frames), share, short(octets, "B"), rate
    rate = short(report.frames_seen / duration_s, "frames/s") if duration_s else "-"
    yield "all", count(report.frames_seen), "", short(sum(octets for _, octets in report.class_counts), "B"), rate


def _subclass_rows(subclasses: tuple[Subclass, ...]) -> Iterator[tuple[str, ...]]:
    """Give what more can be said of each class; nothing of a class of which it is nothing new."""
    for kind, name in CLASS_NAMES.items():
        rows = [one for one in subclasses if one.kind is kind]
        for one in sorted(rows, key=lambda row: (-row.frames, row.name)):
            words = subclass_name(one.name)
            yield name, words, "yes" if one.is_unrelated else "", count(one.frames), short(one.octets, "B")


def _sample_rows(report: Report) -> Iterator[tuple[str, ...]]:
    """Give one sample a class: the earliest."""
    earliest = {one.kind: one for one in reversed(report.samples)}
    for kind, name in CLASS_NAMES.items():
        if kind in earliest:
            yield name, _short_sample(earliest[kind].text)


def _short_sample(text: str) -> str:
    """Give a dissected frame without what each has: scapy's name of Ethernet, and of octets that are not dissected."""
    layers = text.removeprefix("Ether / ")
    for unread in (" / Raw", " / Padding"):
        layers = layers.removesuffix(unread)
    return layers


def talker_table(report: Report, most: int = _TALKERS_SHOWN) -> Table | None:
    """Give who sends foreign unicast to whom, the ``most`` busiest pairs; None where nobody does."""
    if not report.talkers.entries:
        return None
    title = "Foreign unicast, by source and destination"
    return table(("!source", "!destination", ">frames", ">octets"), _talker_rows(report, most), title=title)


def _talker_rows(report: Report, most: int) -> Iterator[tuple[str, ...]]:
    more = f" (+{report.talkers.error})" if report.talkers.error else ""
    entries = report.talkers.by_size()
    for entry in entries[:most]:
        yield format_mac(entry.first), format_mac(entry.second), count(entry.frames) + more, short(entry.octets, "B")
    rest = entries[most:]
    if rest:
        frames, octets = sum(entry.frames for entry in rest), sum(entry.octets for entry in rest)
        yield f"{count(len(rest))} more", "", count(frames), short(octets, "B")


def report_remarks(report: Report) -> Iterator[str]:
    """Give what there is to know about a report, a sentence each."""
    lost = report.frames_lost
    if lost:
        yield f"The kernel dropped {count(lost)} frames: these counts are too low. Capture fewer taps at once."
    for window in report.windows:
        if lost and len(report.windows) > 1:
            told = "an unknown number" if window.frames_lost is None else count(window.frames_lost)
            yield f"{window.source}: {told} of them, beside {count(window.frames_seen)} frames seen."
        if window.stopped_early:
            yield f"{window.source} ended early: {window.stopped_early}"
    if report.direction_source == "source_mac":
        yield "Direction by source MAC: a frame counts as from the guest when it bears one of its MACs."
    seen = [address.value for address in macs_seen(report)]
    if seen:
        shown = _listed(seen)
        yield f"The guest also sends from {shown}: seen in traffic, not trusted; --also-mac counts one as its own."
    yield from _observed_remarks(report)
    if report.identity.source == "guess" and report.direction_source != "packet_type":  # a tap's note says how
        yield "Whose traffic this is was guessed: the one MAC that both sends and receives."
    yield from report.notes


def _observed_remarks(report: Report) -> Iterator[str]:
    """Give what the guest's traffic tells of it."""
    facts = {
        "It names as its own": [address.value for address in new_addresses(report)],
        "It has joined": [format_mac(group) for group in new_groups(report)],
        "It uses VLAN": [str(vlan) for vlan in new_vlans(report)],
    }
    told = [f"{words} {_listed(values)}." for words, values in facts.items() if values]
    if told:
        yield " ".join([*told, "Seen in traffic, not trusted."])


def _listed(values: list[str]) -> str:
    more = f" and {len(values) - _TALKERS_SHOWN} more" if len(values) > _TALKERS_SHOWN else ""
    return ", ".join(values[:_TALKERS_SHOWN]) + more
