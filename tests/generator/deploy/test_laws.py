"""The law of changes: whatever was applied, redefined and undone, and whatever failed on the way, the last rollback
that succeeds leaves the host as it was.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TypeAlias
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.errors import HostError, NwscanError
from analyzer.host.boot_clock import boot_clock
from analyzer.model.addresses import parse_mac
from generator.deploy import pending, transaction
from generator.deploy.journal import Journal
from tests.generator.deploy.file_door import FileDoor, plan_for, read_state, write_state
from tests.generator.deploy.hosts import GUEST, HOSTS, OTHER

Doing: TypeAlias = tuple[str, str, tuple[int, ...], dict[int, bool]]
EXTRAS: tuple[tuple[int, ...], ...] = ((), (parse_mac("52:54:00:00:00:21"),), (parse_mac("52:54:00:00:00:22"),))


class FailingDoor(FileDoor):
    """Fails some of its calls, by number: before they do anything, or (changes) behind it."""

    failures: dict[int, bool]
    number = 0

    def _fails(self, *, behind: bool) -> None:
        if self.failures.get(self.number) is behind:
            raise HostError("libvirt: a fault of the test", self.uri)

    def _enter(self, call: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - the door's own
        self.number += 1
        self._fails(behind=False)
        return super()._enter(call)

    def _leave(self, state) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - the door's own
        super()._leave(state)
        self._fails(behind=True)


failures = st.dictionaries(st.integers(1, 40), st.booleans(), max_size=4)
doings: st.SearchStrategy[Doing] = st.one_of(
    st.tuples(st.just("apply"), st.sampled_from((GUEST, OTHER)), st.sampled_from(EXTRAS), failures),
    st.tuples(st.just("confirm"), st.sampled_from((GUEST, OTHER)), st.just(()), st.just({})),
    st.tuples(st.just("rollback"), st.sampled_from((GUEST, OTHER)), st.just(()), failures),
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(HOSTS)), st.lists(doings, max_size=8))
def test_the_last_rollback_leaves_the_host_as_it_was(name: str, sequence: list[Doing]) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch("os.fsync"):
        path, journal = Path(folder) / "host.json", Journal(Path(folder) / "journal")
        write_state(path, HOSTS[name])
        for what, guest, extra, failing in sequence:
            before, door = read_state(path), FailingDoor(path)
            door.failures = failing
            try:
                if what == "apply":
                    transaction.apply(plan_for(before, guest, extra), door, journal)
                elif what == "rollback":
                    transaction.rollback(guest, door, journal)
                else:
                    for record in journal.in_force(guest):
                        pending.confirm(record, journal, boot_clock())
            except NwscanError as error:
                if what == "apply" and error.exit_code in {4, 5}:  # noqa: PLR2004, RUF100 - refused, or rolled back
                    assert read_state(path) == before
            known = {record.plan.guest for record in journal.in_force()}
            for uuid, state in HOSTS[name].guests.items():
                assert uuid in known or read_state(path).guests[uuid] == state
        for guest in (GUEST, OTHER):
            transaction.rollback(guest, FileDoor(path), journal)
            assert transaction.rollback(guest, FileDoor(path), journal) == ()
        assert read_state(path) == HOSTS[name]
        assert journal.in_force() == ()
