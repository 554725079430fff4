"""Replay: what a filter would have done to the frames of a capture. Changes nothing; a worker reads the frames."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from analyzer.errors import UsageError
from analyzer.host.guests import LibvirtReader
from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from analyzer.report.store import encode
from analyzer.report.store import from_document as report_from
from analyzer.report.store import to_document as report_document
from analyzer.report.talkers import Entry, Hitters
from generator.evaluate.expression import Expression, expression_of
from generator.evaluate.prediction_document import from_document as prediction_from
from generator.evaluate.prediction_document import to_document as prediction_document
from generator.evaluate.program import instantiate
from generator.evaluate.tree_lint import lint_tree
from generator.nwfilter.xml import write_filter
from nwscan import kept
from nwscan.api.filter_tree import filter_tree, require_complete
from nwscan.api.filters import card_reference, card_variables, finding_document, resolved_card
from nwscan.api.inputs import expand, open_files
from nwscan.api.measure import Unwatched, Watcher, guessed, unknown_guest
from nwscan.config import Settings
from nwscan.worker import parent
from nwscan.worker.messages import Candidates, DroppedTalker, Predict, Predicted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analyzer.model.identity import Address, GuestIdentity
    from analyzer.report.findings import UsedMac
    from analyzer.report.report import Report
    from generator.evaluate.prediction import Prediction
    from generator.evaluate.program import Program
    from generator.nwfilter.model import Finding
    from nwscan.api.filter_tree import FilterTree

SCHEMA: Final = "nwscan.replay/1"
_ANY_MAC: Final = "02:00:00:00:00:00"
"""Stands for the MAC that only the file knows, while the tree is checked."""
_REPORT_KEYS: Final = ("tool", "guest", "direction_source", "windows")


@dataclass(frozen=True, slots=True)
class Choice:
    """What to replay: the filter with its tree, the variables known before the file is read, and whose frames."""

    tree: FilterTree
    variables: Mapping[str, tuple[str, ...]]
    identity: GuestIdentity | None
    addresses: tuple[Address, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Replay:
    """What a filter would have done to a capture. ``exported`` is the file of dropped frames and its SHA-256."""

    tree: FilterTree
    program: Program
    prediction: Prediction
    report: Report
    talkers: tuple[DroppedTalker, ...]
    talkers_error: int
    expression: Expression
    findings: tuple[Finding, ...]
    exported: tuple[Path, str] | None = None
    notes: tuple[str, ...] = ()


def choose(
    named: str | None,
    identity: GuestIdentity | None = None,
    *,
    guest: str | None = None,
    parameters: Mapping[str, tuple[str, ...]] | None = None,
    library: Sequence[str] = (),
    settings: Settings | None = None,
) -> Choice:
    """Give what to replay: ``named`` as for ``filter_tree``, or what is applied on ``guest`` now where it is None.

    Parameters come from ``parameters``, then from the guest's filterref, then IP and IPV6 from the identity's
    addresses. Raises UsageError where no filter is named or the guest has none, and as ``filter_tree`` does.
    """
    settings = settings or Settings()
    known: Mapping[str, tuple[str, ...]] = {}
    addresses: tuple[Address, ...] = ()
    if guest is None:
        if named is None:
            raise UsageError("which filter?", hint="name a file or a filter with --filter, or a guest with --guest")
        tree = filter_tree(named, library, uri=settings.uri)
    else:
        with LibvirtReader(settings.uri) as host:
            card = resolved_card(guest, host)
            reference = card_reference(card, host)
            if named is None and reference is None:
                raise UsageError(f"{guest} has no filter now", settings.uri, "name one with --filter")
            tree = filter_tree(named or (reference.filter if reference else ""), library, host)
        identity, addresses = identity or card.identity, card.identity.addresses
        known = card_variables(card, reference)
    stated: dict[str, tuple[str, ...]] = {}
    if identity is not None and identity.macs:
        known = {**known, "MAC": known.get("MAC", (format_mac(identity.macs[0]),))}
        stated = _stated(identity) if guest is None else {}
    given = parameters or {}
    variables = {**stated, **known, **given}
    needed = set(stated) - set(given)
    notes = tuple(f"{name} is taken from --ip: {', '.join(stated[name])}" for name in sorted(needed))
    return Choice(tree, variables, identity, addresses, notes)


def _stated(identity: GuestIdentity) -> dict[str, tuple[str, ...]]:
    """Give IP and IPV6 as the command line states them."""
    values = [address.value for address in identity.addresses if address.trusted]
    lists = {
        "IP": tuple(value for value in values if ":" not in value),
        "IPV6": tuple(value for value in values if ":" in value),
    }
    return {name: found for name, found in lists.items() if found}


def replay(
    paths: Sequence[str],
    choice: Choice,
    *,
    captured_on: str | None = None,
    guess: bool = False,
    export: Path | None = None,
    watcher: Watcher | None = None,
) -> Replay:
    """Say what a filter would have done to the frames of files, one after the other (``-``: standard input).

    ``export`` is where the dropped frames of one file are written, as pcapng. Raises UsageError where the tree is not
    complete, nobody knows whose traffic it is or the files are of different guests, InputError where a file is no
    capture or the kernel would refuse a rule.
    """
    check(choice)
    files = expand(paths)
    if export is not None and len(files) != 1:
        what = f"{len(files)} captures, and the dropped frames of one are written at a time"
        raise UsageError(what, ", ".join(paths), "name one of the files")
    told = watcher or Unwatched()
    found = (
        predicted(file, choice, captured_on=captured_on, guess=guess, export=export, watcher=told) for file in files
    )
    return replayed(reduce(merge_predicted, found), choice, export)


def check(choice: Choice) -> None:
    """Raise UsageError where the filter's tree is not complete."""
    learnt = [address.value for address in choice.addresses]
    require_complete(choice.tree, {"MAC": (_ANY_MAC,), **choice.variables}, learnt)


def predicted(
    path: str,
    choice: Choice,
    *,
    captured_on: str | None = None,
    guess: bool = False,
    export: Path | None = None,
    watcher: Watcher | None = None,
) -> Predicted:
    """Have a worker try the filter on the frames of one file; raises as ``replay`` does."""
    watcher, tree = watcher or Unwatched(), choice.tree
    order = [tree.root, *(each for name, each in tree.library.items() if name != tree.root.name)]
    texts = tuple(write_filter(each) for each in order)
    with ExitStack() as stack, ExitStack() as inputs:
        names, descriptors = open_files([path], inputs)
        request = Predict(names[0], choice.identity, texts, dict(choice.variables), captured_on, export is not None)
        if export is not None:
            descriptors = [
                *descriptors,
                stack.enter_context(kept.new_file(export, () if path == "-" else (Path(path),))),
            ]
        reply = parent.run(request, descriptors, on_handed_over=inputs.close, on_progress=watcher.progress)
        if isinstance(reply, Candidates):
            chosen = guessed(reply.candidates) if guess and path != "-" else None
            if chosen is None:
                raise unknown_guest(reply.candidates, names[0], guess=guess)
            request = msgspec.structs.replace(request, identity=chosen)
            with ExitStack() as again:
                _, first = open_files([path], again)
                handed = [*first, *descriptors[1:]]
                reply = parent.run(request, handed, on_handed_over=again.close, on_progress=watcher.progress)
        if not isinstance(reply, Predicted):
            raise TypeError(reply)
    return reply


def merge_predicted(one: Predicted, two: Predicted) -> Predicted:
    """Give what the filter does to the frames of both. Raises UsageError where they are of different guests."""
    documents = [prediction_from(msgspec.json.decode(each.document)) for each in (one, two)]
    talkers = [_merged_talkers(kind, one, two) for kind in FrameClass]
    used: dict[int, UsedMac] = {}
    for each in (*one.used, *two.used):
        used[each.mac] = used[each.mac].merge(each) if each.mac in used else each
    return Predicted(
        msgspec.json.encode(prediction_document(documents[0].merge(documents[1]))),
        encode(report_from(one.report).merge(report_from(two.report))),
        tuple(sorted(chain(*talkers), key=lambda each: (-each.frames, each.src, each.dst, each.frame_class))),
        one.talkers_error + two.talkers_error,
        used=tuple(sorted(used.values(), key=lambda each: (-each.answered - each.forwarded, each.mac))),
    )


def _merged_talkers(kind: FrameClass, one: Predicted, two: Predicted) -> list[DroppedTalker]:
    tables = [
        Hitters(
            tuple(
                Entry(each.src, each.dst, each.frames, each.octets, 0, 0, each.error)
                for each in reply.talkers
                if each.frame_class == kind
            ),
            reply.talkers_error,
        )
        for reply in (one, two)
    ]
    return [
        DroppedTalker(int(kind), each.first, each.second, each.frames, each.octets, each.error)
        for each in tables[0].merge(tables[1]).entries
    ]


def replayed(reply: Predicted, choice: Choice, export: Path | None = None) -> Replay:
    """Give the replay that a worker's reply tells of; ``export`` is the file that it wrote, if any."""
    tree, report = choice.tree, report_from(reply.report)
    variables = {"MAC": tuple(map(format_mac, report.identity.macs[:1])), **choice.variables}
    program = instantiate(tree.root, tree.library, variables)
    findings = dict.fromkeys((*tree.findings, *lint_tree(tree.root, tree.library, variables)))
    return Replay(
        tree,
        program,
        prediction_from(msgspec.json.decode(reply.document)),
        report,
        reply.talkers,
        reply.talkers_error,
        expression_of(program, report.identity.macs),
        tuple(findings),
        (export, reply.sha256) if export is not None and reply.sha256 is not None else None,
        (*choice.notes, *report.notes),
    )


def to_document(found: Replay) -> dict[str, Any]:
    """Give the document ``nwscan.replay/1``: that of the prediction, whose frames they were, and what the filter is."""
    report = report_document(found.report)
    exported = found.exported
    return {
        **prediction_document(found.prediction),
        "schema": SCHEMA,
        **{key: report[key] for key in _REPORT_KEYS},
        "filters": [{"name": name, "place": place} for name, place in found.tree.places.items()],
        "variables": {name: list(values) for name, values in found.program.variables.items()},
        "dropped_talkers": [
            {
                "src": format_mac(one.src),
                "dst": format_mac(one.dst),
                "class": FrameClass(one.frame_class).key,
                "frames": one.frames,
                "octets": one.octets,
                "error": one.error,
            }
            for one in found.talkers
        ],
        "dropped_talkers_error": found.talkers_error,
        "findings": [finding_document(each) for each in found.findings],
        "commands": found.program.lines("TAP"),
        "tcpdump": found.expression.text,
        "tcpdump_why_none": found.expression.why or None,
        "dropped_file": None if exported is None else {"path": str(exported[0]), "sha256": exported[1]},
        "notes": list(found.notes),
    }
