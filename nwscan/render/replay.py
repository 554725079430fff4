"""A replay on the terminal: what it would take from the guest first, then classes, rules, talkers, commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from generator.evaluate.fields import Reason, Verdict
from generator.evaluate.prediction import WANTED
from generator.nwfilter.values import ETHERTYPE_NAMES
from nwscan.render.class_names import CLASS_NAMES
from nwscan.render.console import Sentence, console, headline, lines, remark, table
from nwscan.render.text import count, short, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

    from generator.evaluate.prediction import Prediction, RulePrediction
    from nwscan.api.replaying import Replay

_TALKERS_SHOWN: Final = 10


def replay_headline(found: Replay) -> str:
    """Give the sentence that says what the filter would have done."""
    prediction, who = found.prediction, found.report.identity.label
    if not prediction.frames:
        return f"{who}: not one frame to try {prediction.filter} on"
    dropped = prediction.of(FrameClass.FOREIGN_UNICAST, Verdict.DROP).frames
    foreign = sum(prediction.of(FrameClass.FOREIGN_UNICAST, verdict).frames for verdict in Verdict)
    wanted = sum(prediction.of(kind, verdict).frames for kind in WANTED for verdict in Verdict)
    told = f"would have dropped {count(prediction.wanted_dropped.frames)} of {count(wanted)} wanted frames"
    unknown = prediction.unknown.frames
    doubt = f"; what becomes of {count(unknown)} cannot be told" if unknown else ""
    return f"{who}: {prediction.filter} {told} and {count(dropped)} of {count(foreign)} foreign ones{doubt}"


def print_replay(found: Replay, *, show_commands: bool = False) -> None:
    """Print one replay."""
    out, prediction = console(), found.prediction
    out.print(headline(replay_headline(found)))
    if prediction.wanted_samples:
        columns = ("!frame", "class", "!source", "!destination", "type")
        title = "Wanted frames that it drops, the first of them"
        out.print(table(columns, _sample_rows(prediction), title=title))
    out.print(table(("class", ">pass", ">drop", ">unknown"), _class_rows(prediction)))
    for reason in Reason:
        if reason and prediction.reasons[reason]:
            out.print(remark(f"Unknown, {count(prediction.reasons[reason])} frames: {reason.text}."))
    heads = ("rule, and its condition", "!way", ">frames", ">octets", ">wanted")
    out.print(table(heads, _rule_rows(found), title="What decides, by rule"))
    if found.talkers:
        columns = ("!source", "!destination", "class", ">frames", ">octets")
        out.print(table(columns, _talker_rows(found), title="What is dropped, by source and destination"))
    for line in _remarks(found):
        out.print(remark(line))
    if found.expression.text is not None:
        out.print(remark("What it drops, in tcpdump's words:"))
        out.print(Sentence(f"  {found.expression.text}", "", hanging=0))
    if show_commands:
        out.print(headline("It becomes, on the tap TAP:"))
        for line in found.program.lines("TAP"):
            out.print(f"  {visible(line)}", soft_wrap=True)
    out.print()


def _sample_rows(prediction: Prediction) -> Iterator[tuple[str, ...]]:
    for sample in prediction.wanted_samples:
        kind = ETHERTYPE_NAMES.get(sample.ethertype, f"{sample.ethertype:#06x}")
        name = CLASS_NAMES[FrameClass(sample.frame_class)]
        yield str(sample.frame + 1), name, format_mac(sample.src), format_mac(sample.dst), kind


def _class_rows(prediction: Prediction) -> Iterator[tuple[str, ...]]:
    for kind, name in CLASS_NAMES.items():
        cells = (prediction.of(kind, verdict).frames for verdict in (Verdict.ACCEPT, Verdict.DROP, Verdict.UNKNOWN))
        yield name, *map(count, cells)


def _rule_rows(found: Replay) -> Iterator[tuple[str | Text, ...]]:
    """Give the rules that decide any frame, in their order; a drop says how much of it is wanted."""
    for rule in found.prediction.rules:
        frames = sum(cell.frames for cell in rule.decided)
        if frames:
            octets = sum(cell.octets for cell in rule.decided)
            way = "in" if rule.to_guest else "out"
            text = lines(rule.text, f"  {_condition(found, rule)}")
            yield text, way, count(frames), short(octets, "B"), _wanted(found, rule)
    ended = found.prediction.end
    if any(cell.frames for cell in ended):
        frames, octets = sum(cell.frames for cell in ended), sum(cell.octets for cell in ended)
        yield "no rule: passes", "", count(frames), short(octets, "B"), ""


def _condition(found: Replay, rule: RulePrediction) -> str:
    return " ".join(found.program.commands[rule.rule].arguments) or "every frame"


def _wanted(found: Replay, rule: RulePrediction) -> str:
    if found.program.commands[rule.rule].target not in ("DROP", "REJECT"):
        return ""
    return count(sum(rule.decided[kind].frames for kind in WANTED))


def _talker_rows(found: Replay) -> Iterator[tuple[str, ...]]:
    for one in found.talkers[:_TALKERS_SHOWN]:
        more = f" (+{one.error})" if one.error else ""
        name = CLASS_NAMES[FrameClass(one.frame_class)]
        yield format_mac(one.src), format_mac(one.dst), name, count(one.frames) + more, short(one.octets, "B")
    rest = found.talkers[_TALKERS_SHOWN:]
    if rest:
        frames, octets = sum(one.frames for one in rest), sum(one.octets for one in rest)
        yield f"{count(len(rest))} more", "", "", count(frames), short(octets, "B")


def _remarks(found: Replay) -> Iterator[str]:
    report = found.report
    if report.direction_source == "source_mac":
        yield "Direction by source MAC: a frame counts as from the guest when it bears one of its MACs."
    if report.identity.source == "guess":
        yield "Whose traffic this is was guessed: the one MAC that both sends and receives."
    for window in report.windows:
        if window.stopped_early:
            yield f"{window.source} ended early: {window.stopped_early}"
    yield from found.notes
    for each in found.findings:
        yield f"Lint, {each.effect}: {each.where}: {each.what}" if each.where else f"Lint, {each.effect}: {each.what}"
    if found.expression.text is None:
        yield f"What it drops has no tcpdump expression: {found.expression.why}."
    if found.exported is not None:
        yield f"The dropped frames are in {found.exported[0]}."
