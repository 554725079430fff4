"""A cluster of Dask, somebody's or one of our own for the moment; the only door to dask.distributed.

What runs there is code of ours on workers that have nwscan too; what is handed over are names of inputs and finished
documents, never frames. Whoever can reach a Dask scheduler can run anything on its workers: use tls:// on a network
that others are on (https://distributed.dask.org/en/stable/tls.html).
"""

from __future__ import annotations

import logging
import os
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analyzer.errors import HostError, NwscanError, UsageError
from analyzer.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    Work = Callable[[tuple[str, ...]], bytes]
    Merge = Callable[[list[bytes]], bytes]

LOCAL: Final = "local"
FAN_IN: Final = 16
"""Results that are merged at a time, on the cluster; groups follow the order of the inputs, whoever is done first."""

_GROUPS_AHEAD: Final = 2
"""Groups under way beyond those that keep every thread busy; nothing else is known to the scheduler."""
_ANSWERS_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Job:
    """What is done on the cluster: ``work`` on each batch of inputs, ``merge`` on its results; both are pickled."""

    work: Work
    merge: Merge


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Give a client of the scheduler at ``address``: tcp://HOST:PORT, tls://HOST:PORT, or ``local`` (``local:N``).

    ``local`` starts a worker process a core (N of them), on this machine's loopback alone, and ends them after. Raises
    HostError where no scheduler answers, has no workers, or they have another nwscan; UsageError for no address.
    """
    distributed = _distributed()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is raised, and said once
    if address == LOCAL or address.startswith(f"{LOCAL}:"):
        with _own_cluster(distributed, _processes(address)) as cluster, _client(distributed, cluster) as client:
            yield client
        return
    if not address.startswith(("tcp://", "tls://")):
        raise UsageError("not the address of a scheduler", address, "write tcp://HOST:PORT, tls://HOST:PORT, or local")
    with _client(distributed, address) as client:
        _check_workers(client, address)
        yield client


def run(client: Any, batches: Sequence[tuple[str, ...]], job: Job, done: Callable[[int], object]) -> bytes:  # noqa: ANN401
    """Work on every batch and merge the results as a tree; ``done`` is told how many batches are done.

    The scheduler never knows more than a few groups of FAN_IN batches, however many there are. A worker that is lost
    costs what it had done. Raises what the work raises, HostError where workers die of one batch again and again.
    """
    groups = deque(batches[at : at + FAN_IN] for at in range(0, len(batches), FAN_IN))
    ahead = _GROUPS_AHEAD + sum(client.nthreads().values()) // FAN_IN
    under_way: deque[_Group] = deque()
    results: list[bytes] = []
    finished = 0
    while groups or under_way:
        while groups and len(under_way) < ahead:
            under_way.append(_Group(client, groups.popleft(), job))
        group = under_way.popleft()
        for _ in group.settled():
            finished += 1
            done(finished)
        results.append(group.result())
        if len(results) == FAN_IN:
            results = [job.merge(results)]
    return job.merge(results) if len(results) > 1 else results[0]


class _Group:
    """FAN_IN batches under way, and the merge of what comes of them."""

    def __init__(self, client: Any, batches: Sequence[tuple[str, ...]], job: Job) -> None:  # noqa: ANN401
        self._batches = batches
        self._parts = [client.submit(job.work, batch, pure=False) for batch in batches]
        self._merged = client.submit(job.merge, self._parts, pure=False) if len(batches) > 1 else self._parts[0]

    def settled(self) -> Iterator[None]:
        """Yield for each batch that is done. Raises what one raised."""
        for batch, part in zip(self._batches, self._parts, strict=True):
            _checked(part, batch)
            yield

    def result(self) -> bytes:
        """Wait for the merged result; nothing of the group stays on the cluster after."""
        _checked(self._merged, self._batches[0])
        octets: bytes = self._merged.result()
        return octets


def _checked(future: Any, batch: tuple[str, ...]) -> None:  # noqa: ANN401
    distributed = _distributed()
    try:
        error = future.exception()  # waits
    except distributed.client.FutureCancelledError as cancelled:
        error = cancelled
    if error is None:
        return
    where = batch[0] + (f" and {len(batch) - 1} more" if len(batch) > 1 else "")
    if isinstance(error, NwscanError):
        raise error
    if isinstance(error, distributed.scheduler.KilledWorker):
        hint = "give the workers more memory, or see what ends them; what was done is lost, run it again"
        raise HostError("workers died of this work again and again", where, hint) from error
    raise HostError(f"the cluster failed: {error}", where, "see the scheduler's log") from error


def _processes(address: str) -> int:
    number = address.partition(":")[2]
    if not number:
        return os.cpu_count() or 1
    if not number.isdecimal() or not 0 < int(number) <= 4096:  # noqa: PLR2004 - more are no machine
        raise UsageError(f"not a number of processes: {number!r}", address, "write local:2")
    return int(number)


@contextmanager
def _own_cluster(distributed: ModuleType, processes: int) -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=processes,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # any free port: without one it would be 8787
        worker_dashboard_address=None,
        silence_logs=logging.CRITICAL,
    ) as cluster:
        yield cluster


@contextmanager
def _client(distributed: ModuleType, where: Any) -> Iterator[Any]:  # noqa: ANN401
    try:
        client = distributed.Client(where, set_as_default=False, timeout=_ANSWERS_WITHIN_S)
    except (OSError, TimeoutError, ValueError) as error:
        hint = "start one with: dask scheduler; dask worker tcp://HOST:8786"
        raise HostError("no Dask scheduler answers", str(where), hint) from error
    with client:
        yield client


def _check_workers(client: Any, address: str) -> None:  # noqa: ANN401
    try:
        client.wait_for_workers(1, timeout=_ANSWERS_WITHIN_S)
    except TimeoutError as error:
        raise HostError("the scheduler has no workers", address, f"start some with: dask worker {address}") from error
    hint = f"install nwscan[scale] {VERSION} on every worker, in the environment that dask worker runs in"
    try:
        versions = set(client.run(version).values())
    except ImportError as error:
        raise HostError(f"its workers lack nwscan: {error}", address, hint) from error
    if versions != {VERSION}:
        raise HostError(f"its workers have nwscan {', '.join(sorted(versions))}, not {VERSION}", address, hint)


def version() -> str:
    """Give nwscan's version; asked of every worker."""
    return VERSION


def _distributed() -> ModuleType:
    try:
        import distributed
        import distributed.client
        import distributed.scheduler
    except ImportError as error:
        raise HostError("dask.distributed is missing", hint="pip install 'nwscan[scale]'") from error
    module: Any = distributed
    return module  # type: ignore[no-any-return]
