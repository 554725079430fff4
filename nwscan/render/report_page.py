"""What a page says of a report, a suggestion and a verdict. How it looks stands in the template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.classify.subclasses import is_joined
from analyzer.model.addresses import format_mac
from analyzer.model.classes import TO_GUEST_CLASSES, FrameClass
from analyzer.report.split import guest_facts, split_subclasses
from analyzer.report.times import format_time
from generator.evaluate.fields import Verdict
from nwscan.render import plots
from nwscan.render.blocks import Block, Cause, Chart, Code, Column, Remarks, Section, Table, Tiles
from nwscan.render.class_names import CLASS_NAMES, subclass_name
from nwscan.render.report import OVERVIEW_COLUMNS, OVERVIEW_TITLE, overview_rows, report_headline, report_remarks
from nwscan.render.spans import pace_of
from nwscan.render.text import count as digits
from nwscan.render.text import percent, short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.report.report import Report
    from analyzer.report.talkers import Hitters
    from generator.evaluate.prediction import Prediction
    from nwscan.api import shown_documents as shown

_ROWS_SHOWN: Final = 20
_TIMES_SHOWN: Final = 30
_NUMBER: Final = ("num", "num", "num", "num")
_TONES: Final = {
    "effective": ("good", "effective"),
    "no_effect": ("bad", "not effective"),
    "harmful": ("bad", "harmful"),
    "inconclusive": ("doubtful", "inconclusive"),
}


_LONG: Final = 10**12


def count(number: int) -> str:
    """Give a count in full, but for one that no column has room for."""
    return digits(number) if number < _LONG else short(number, "").strip()


def report_section(report: Report, name: str) -> Section:
    """Give what a report says of one card."""
    blocks: list[Block] = [_tiles(report), Chart("Frames by class", plots.classes(report), name), _classes(report)]
    if report.timeline.bins:
        blocks += [Chart("Over time", plots.timeline(report), name), _times(report)]
    if report.talkers.entries:
        blocks.append(_talkers(report))
    blocks += _causes(report)
    if report.groups.entries:
        blocks.append(_groups(report))
    if subclasses := split_subclasses(report):
        rows = tuple(
            (CLASS_NAMES[one.kind], subclass_name(one.name), "yes" if one.is_unrelated else "", count(one.frames))
            for one in sorted(subclasses, key=lambda one: (list(CLASS_NAMES).index(one.kind), -one.frames))
        )
        heads = (Column("class"), Column("kind"), Column("for others"), Column("frames", "num"))
        note = "For others: demonstrably, by their content or their address."
        blocks.append(Table("The classes, by kind", heads, rows, note, is_folded=True))
    if lines := tuple(report_remarks(report)):
        blocks.append(Remarks("To know", lines))
    return Section(name, _measured(report), report_headline(report), tuple(blocks))


def suggestion_section(suggestion: shown.Suggestion, prediction: Prediction | None, name: str) -> Section:
    """Give the filter with its evidence, and what it would have done."""
    who, eyebrow = suggestion.guest.label, f"The filter: profile {suggestion.profile}"
    if suggestion.refused:
        lines = tuple(f"{one.reason}. What to do: {one.hint}." for one in suggestion.refusals)
        headline = f"{who}: no filter is suggested"
        return Section(name, eyebrow, headline, (Remarks("Why", lines),), "doubtful", "refused")
    blocks: list[Block] = []
    headline = f"{who}: a filter, with nothing measured to try it on"
    if prediction is not None:
        foreign = prediction.of(FrameClass.FOREIGN_UNICAST, Verdict.DROP).frames
        total = sum(prediction.of(FrameClass.FOREIGN_UNICAST, verdict).frames for verdict in Verdict)
        headline = (
            f"{who}: it would have dropped {count(foreign)} of {count(total)} foreign frames and "
            f"{count(prediction.wanted_dropped.frames)} others"
        )
        blocks.append(_prediction(prediction))
    blocks.append(_evidence(suggestion))
    told = (*(f"Risk: {risk}." for risk in suggestion.risks), *(f"{note}." for note in suggestion.notes))
    if told:
        blocks.append(Remarks("What speaks against it, and what to know", told))
    blocks += [Code(f"Filter {one.name}", tuple(one.xml.splitlines())) for one in suggestion.filters]
    if suggestion.by_hand.install:
        blocks.append(Code("By hand", (*suggestion.by_hand.install, "# and to undo it", *suggestion.by_hand.undo)))
    return Section(name, eyebrow, headline, tuple(blocks))


def verdict_section(verdict: shown.Verdict, name: str) -> Section:
    """Give the proof: before against after, offered against delivered."""
    tone, word = _TONES.get(verdict.verdict, ("doubtful", verdict.verdict))
    heads = (Column("class"), *(Column(title, "num") for title in ("before", "after", "ratio (95 %)")))
    metered = any(row.offered is not None for row in verdict.classes)
    if metered:
        heads = (*heads, Column("offered", "num"), Column("delivered", "num"))
    kinds = {row.kind: row for row in verdict.classes}
    rows = tuple(_compared(name, kinds[kind.key], metered) for kind, name in CLASS_NAMES.items() if kind.key in kinds)
    note = "Rates at the tap. The interval is of the ratio after / before."
    if metered:
        note += " Offered and delivered: frames ahead of the filter and behind it, in one window."
    blocks: list[Block] = [
        Chart("Before and after", plots.comparison(verdict.rows()), name),
        Table("Before and after, in figures", heads, rows, note, is_stacked=True),
    ]
    if verdict.guards:
        guards = tuple(
            (one.name, one.state, one.why, f"{count(one.delivered)} of {count(one.offered)}") for one in verdict.guards
        )
        columns = (Column("traffic"), Column("state"), Column("why"), Column("delivered", "num"))
        blocks.append(Table("What the guest needs", columns, guards, is_stacked=True))
    refused = (f"Before and after are not compared: {reason}." for reason in verdict.not_compared)
    if lines := (*refused, *verdict.remarks):
        blocks.append(Remarks("To know", lines))
    return Section(name, "The proof", f"{verdict.guest.label}: {verdict.why}", tuple(blocks), tone, word)


def overview(reports: Sequence[Report]) -> Table:
    """Give which guests suffer most."""
    heads = (Column("guest"), *(Column(title, "num") for title in OVERVIEW_COLUMNS))
    return Table(OVERVIEW_TITLE, heads, tuple(overview_rows(reports)), is_stacked=True)


def _rate(frames: int, duration_s: float) -> str:
    return short(frames / duration_s, "frames/s") if duration_s else "-"


def _measured(report: Report) -> str:
    starts = [window.start_ns for window in report.windows if window.start_ns is not None]
    ends = [window.end_ns for window in report.windows if window.end_ns is not None]
    windows = f"{count(len(report.windows))} windows, " if len(report.windows) > 1 else ""
    if not starts or not ends:
        return f"{windows}time not known"
    first, last = (format_time(ns)[:19].replace("T", " ") for ns in (min(starts), max(ends)))
    return f"{windows}{first} to {last[11:] if last[:10] == first[:10] else last} UTC"


def _tiles(report: Report) -> Tiles:
    frames, octets = report.class_counts[FrameClass.FOREIGN_UNICAST]
    share, lost, duration_s = report.foreign_share[0], report.frames_lost, report.duration_s
    is_bad = bool(frames)
    return Tiles(
        (
            ("-" if share is None else percent(share), "of the frames that it sees are not its own", is_bad),
            (short(frames / duration_s, "").strip() if duration_s else "-", "foreign frames a second", is_bad),
            (short(octets * 8 / duration_s, "bit/s") if duration_s else "-", "foreign unicast", is_bad),
            (count(report.frames_seen), f"frames seen in {duration_s:.0f} s" if duration_s else "frames seen", False),
            ("not known" if lost is None else count(lost), "frames lost by the kernel", bool(lost)),
        )
    )


def _classes(report: Report) -> Table:
    seen, duration_s = report.seen_by_guest[0], report.duration_s
    rows = []
    for kind, name in CLASS_NAMES.items():
        frames, octets = report.class_counts[kind]
        share = percent(frames / seen) if seen and kind in TO_GUEST_CLASSES else "-"
        rows.append((name, count(frames), share, short(octets, "B"), _rate(frames, duration_s)))
    heads = (Column("class"), *(Column(title, "num") for title in ("frames", "share", "octets", "rate")))
    return Table("The classes, in figures", heads, tuple(rows), "Shares are of what the guest sees.")


def _times(report: Report) -> Table:
    pace = pace_of(report).at_most(_TIMES_SHOWN)
    kinds = [kind for kind in CLASS_NAMES if kind in TO_GUEST_CLASSES]
    rows = tuple(
        (
            f"{format_time(int(start))[:19].replace('T', ' ')}",
            *(short(float(rates[kind]), "").strip() for kind in kinds),
        )
        for start, rates in zip(pace.start_ns, pace.fps, strict=True)
    )
    heads = (Column("from (UTC)"), *(Column(CLASS_NAMES[kind], "num") for kind in kinds))
    return Table("Over time, in figures", heads, rows, "Mean frames a second.", is_stacked=True, is_folded=True)


def _more(table: Hitters) -> str:
    rest = table.by_size()[_ROWS_SHOWN:]
    told = f"and {count(len(rest))} more with {count(sum(entry.frames for entry in rest))} frames. " if rest else ""
    error = f"Beside these, an address had at most {count(table.error)} frames." if table.error else ""
    return f"{told}{error}".strip()


def _talkers(report: Report) -> Table:
    foreign = report.class_counts[FrameClass.FOREIGN_UNICAST][0]
    rows = tuple(
        (
            format_mac(entry.first),
            format_mac(entry.second),
            count(entry.frames),
            _share(entry.frames, foreign),
            short(entry.octets, "B"),
        )
        for entry in report.talkers.by_size()[:_ROWS_SHOWN]
    )
    heads = (
        Column("source", "mono"),
        Column("destination", "mono"),
        *(Column(title, "num") for title in ("frames", "share", "octets")),
    )
    return Table("Who floods whom", heads, rows, _more(report.talkers), is_stacked=True)


def _share(part: int, whole: int) -> str:
    return percent(min(part / whole, 1.0)) if whole else "-"


def _groups(report: Report) -> Table:
    facts = guest_facts(report)
    words = {True: "yes", False: "no", None: "not known"}
    rows = tuple(
        (format_mac(entry.first), words[is_joined(facts, entry.first)], count(entry.frames), short(entry.octets, "B"))
        for entry in report.groups.by_size()[:_ROWS_SHOWN]
    )
    heads = (Column("group", "mono"), Column("joined"), Column("frames", "num"), Column("octets", "num"))
    return Table("Multicast groups", heads, rows, _more(report.groups), is_stacked=True)


def _causes(report: Report) -> Iterator[Cause]:
    foreign = report.class_counts[FrameClass.FOREIGN_UNICAST][0]
    for cause in sorted(report.causes, key=lambda one: -one.frames):
        share = f"{_share(cause.frames, foreign)} of the foreign frames" if cause.frames else ""
        yield Cause(cause.sentence, share, cause.evidence, cause.remedy, cause.risk)


def _prediction(prediction: Prediction) -> Table:
    rows = tuple(
        (name, *(count(prediction.of(kind, one).frames) for one in (Verdict.ACCEPT, Verdict.DROP, Verdict.UNKNOWN)))
        for kind, name in CLASS_NAMES.items()
    )
    heads = (Column("class"), *(Column(title, "num") for title in ("pass", "drop", "not known")))
    return Table("The prediction: what it would have done to exactly these frames", heads, rows)


def _evidence(suggestion: shown.Suggestion) -> Table:
    rows = []
    for each in suggestion.evidence:
        wrong = "-" if each.wrong is None else count(each.wrong)
        if each.wrong_share_below is not None:
            wrong += f" (at most {percent(each.wrong_share_below)})"
        frames = "-" if each.frames is None else count(each.frames)
        rows.append((each.text, frames, "-" if each.octets is None else short(each.octets, "B"), wrong))
    heads = (Column("rule"), *(Column(title, "num") for title in ("frames", "octets", "wrongly dropped")))
    note = "Wrongly dropped: frames that the guest wants, among those that the rule drops; with a one-sided 95 % bound."
    return Table("The rules, with what each rests on", heads, tuple(rows), note, is_stacked=True)


def _compared(name: str, row: shown.ComparedClass, metered: bool) -> tuple[str, ...]:  # noqa: FBT001 - one of two shapes
    rates = ("-" if fps is None else short(fps, "/s") for fps in (row.before_fps, row.after_fps))
    interval = (
        None if row.ratio_interval is None else {"lower": row.ratio_interval.lower, "upper": row.ratio_interval.upper}
    )
    cells = (name, *rates, plots.ratio_words({"ratio": row.ratio, "ratio_interval": interval}))
    if not metered:
        return cells
    return (*cells, *("-" if one is None else count(one.frames) for one in (row.offered, row.delivered)))
