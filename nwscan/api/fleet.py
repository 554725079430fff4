"""Analyze, report and replay over thousands of inputs, on a Dask cluster: the same results as on one machine.

Each batch of inputs is worked on by what works on them here, so that frames are read by a confined worker there as
well; what travels are names of inputs, and reports. Paths of files must be the same on the workers.
"""

from __future__ import annotations

from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from analyzer.errors import UsageError
from analyzer.report.store import encode, from_document
from nwscan.api import measure, replaying
from nwscan.api.documents import by_card, expand_reports, parts, read_reports
from nwscan.api.inputs import expand
from nwscan.scale import cluster, remote
from nwscan.worker.messages import Predicted, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.model.identity import GuestIdentity
    from analyzer.report.report import Report
    from nwscan.api.measure import Watcher
    from nwscan.api.replaying import Choice, Replay

BATCH_OCTETS: Final = 64 << 20
"""Inputs that belong to one task: small ones share the start of a worker."""
BATCH_FILES: Final = 64
_REMOTE_OCTETS: Final = 4 << 20
"""What an input counts as whose size nobody was asked for."""


def analyze(
    paths: Sequence[str],
    scheduler: str,
    identity: GuestIdentity | None = None,
    *,
    captured_on: str | None = None,
    guess: bool = False,
    watcher: Watcher | None = None,
) -> Report:
    """Measure captures into one report; raises as ``measure.analyze`` and ``cluster.connected`` do."""
    work = partial(_analyze, identity=identity, captured_on=captured_on, guess=guess)
    merged = from_document(_run(expand(paths), scheduler, cluster.Job(work, _merge_reports), watcher))
    return measure.has_ethernet(merged, paths)


def report(paths: Sequence[str], scheduler: str, *, watcher: Watcher | None = None) -> tuple[Report, ...]:
    """Merge reports, one a card; raises as ``documents.read_reports`` and ``by_card`` do."""
    merged = _run(expand_reports(paths), scheduler, cluster.Job(_report, _merge_cards), watcher)
    return tuple(from_document(one) for one in parts(merged, scheduler))


def replay(
    paths: Sequence[str],
    scheduler: str,
    choice: Choice,
    *,
    captured_on: str | None = None,
    guess: bool = False,
    watcher: Watcher | None = None,
) -> Replay:
    """Say what a filter would have done to captures; raises as ``replaying.replay`` does."""
    replaying.check(choice)
    work = partial(_replay, choice=choice, captured_on=captured_on, guess=guess)
    merged = _run(expand(paths), scheduler, cluster.Job(work, _merge_replays), watcher)
    return replaying.replayed(msgspec.json.decode(merged, type=Predicted), choice)


def batches(paths: Sequence[str]) -> list[tuple[str, ...]]:
    """Give the inputs in their order, in groups of up to BATCH_FILES that are together about BATCH_OCTETS."""
    found: list[list[str]] = []
    room = 0
    for path in paths:
        octets = _octets(path)
        if not found or octets > room or len(found[-1]) == BATCH_FILES:
            found.append([])
            room = BATCH_OCTETS
        found[-1].append(path)
        room -= octets
    return [tuple(batch) for batch in found]


def _octets(path: str) -> int:
    try:
        return _REMOTE_OCTETS if remote.is_url(path) else Path(path).stat().st_size
    except OSError:
        return _REMOTE_OCTETS  # it may be there for the workers


def _run(paths: Sequence[str], scheduler: str, job: cluster.Job, watcher: Watcher | None) -> bytes:
    watcher = watcher or measure.Unwatched()
    if "-" in paths:
        raise UsageError("standard input cannot be read on a cluster", "-", "name files or URLs")
    work = batches([path if remote.is_url(path) else str(Path(path).absolute()) for path in paths])
    with cluster.connected(scheduler) as client:
        return cluster.run(client, work, job, lambda done: watcher.progress(Progress(0, (), None, done / len(work))))


def _analyze(paths: tuple[str, ...], *, identity: GuestIdentity | None, captured_on: str | None, guess: bool) -> bytes:
    """One thread: how many of them a machine has room for is the cluster's to say."""
    return encode(measure.analyze(paths, identity, captured_on=captured_on, guess=guess, threads=1, is_part=True))


def _merge_reports(documents: list[bytes]) -> bytes:
    return encode(reduce(lambda one, other: one.merge(other), map(from_document, documents)))


def _report(paths: tuple[str, ...]) -> bytes:
    return _lines(by_card([one.report for one in read_reports(paths)]))


def _merge_cards(documents: list[bytes]) -> bytes:
    reports = [from_document(line) for document in documents for line in parts(document, "a merged report")]
    return _lines(by_card(reports))


def _lines(reports: Sequence[Report]) -> bytes:
    return b"\n".join(map(encode, reports))


def _replay(paths: tuple[str, ...], *, choice: Choice, captured_on: str | None, guess: bool) -> bytes:
    found = (replaying.predicted(path, choice, captured_on=captured_on, guess=guess) for path in paths)
    return msgspec.json.encode(reduce(replaying.merge_predicted, found))


def _merge_replays(documents: list[bytes]) -> bytes:
    read = (msgspec.json.decode(document, type=Predicted) for document in documents)
    return msgspec.json.encode(reduce(replaying.merge_predicted, read))
