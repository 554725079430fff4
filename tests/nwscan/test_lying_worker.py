"""A worker that a frame has taken over: what it may have its parent do is bounded."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from analyzer.errors import HostError
from nwscan.worker import parent
from nwscan.worker.messages import Analyze, Describe, Described, NeedText

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nwscan.worker.messages import Reply, Request

ENOUGH = 200


class Workers:
    """Stand-ins for processes: each that is begun goes by ``lies``, or answers what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, describers_lie: bool) -> None:
        self._describers_lie = describers_lie
        self.begun = 0
        monkeypatch.setattr(parent, "measuring_worker", self._worker)

    @contextmanager
    def _worker(self) -> Iterator[SimpleNamespace]:
        self.begun += 1
        assert self.begun < ENOUGH, "it never ends"
        asked: list[Request] = []

        def reply() -> Reply:
            if isinstance(asked[0], Describe) and not self._describers_lie:
                return Described(("a frame",))
            return NeedText((b"once more",))

        def ask(request: Request, _: object) -> None:
            asked.append(request)

        process = SimpleNamespace(pid=1)
        yield SimpleNamespace(ask=ask, next_reply=reply, send=lambda _: None, stop=lambda: None, process=process)


def test_one_that_asks_for_descriptions_without_an_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(monkeypatch, describers_lie=False)
    with pytest.raises(HostError, match="asked for more descriptions of frames than there can be"):
        parent.run(Analyze(("x",)), ())
    assert workers.begun == 18, "itself, one for its file, and those beyond"


def test_one_that_is_to_describe_and_asks_itself_begins_no_further_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each would begin another, and all would be there at once."""
    workers = Workers(monkeypatch, describers_lie=True)
    with pytest.raises(HostError, match="asked for more"):
        parent.run(Analyze(("x",)), ())
    assert workers.begun == 2
