"""The lab for pytest: one for the whole session, and a check that each test leaves it as it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.lab import Lab, missing
from tests.lab.nwscan_run import Nwscan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.state import LabState

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.lab)


class LabKeeper:
    """Holds the session's lab, and replaces it when a test has left it in a state that cannot be put back."""

    def __init__(self) -> None:
        self._lab: Lab | None = None
        self._clean: LabState | None = None

    def lab(self) -> Lab:
        if self._lab is None:
            self._lab = Lab()
            self._lab.up()
            self._clean = self._lab.state()
        self._lab.settle()  # no neighbour probe of the test before may fall into a count of this one
        return self._lab

    def put_back(self) -> list[str]:
        """Bring the lab back to its first state; gives what was otherwise."""
        if self._lab is None or self._clean is None:
            return []
        try:
            differences = self._clean.differences(self._lab.state())
            if differences:
                self._lab.restore(self._clean)
                if self._clean.differences(self._lab.state()):
                    self.end()
        except Exception:
            self.end()
            raise
        return differences

    def end(self) -> None:
        if self._lab is not None:
            self._lab.down()
            self._lab = None


@pytest.fixture(scope="session")
def lab_keeper() -> Iterator[LabKeeper]:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    keeper = LabKeeper()
    yield keeper
    keeper.end()


@pytest.fixture
def lab(lab_keeper: LabKeeper) -> Iterator[Lab]:
    """The running lab. A test that leaves it otherwise than it was fails, and the lab is put back."""
    yield lab_keeper.lab()
    differences = lab_keeper.put_back()
    if differences:
        pytest.fail("the test left the lab otherwise than it was:\n" + "\n".join(differences))


@pytest.fixture
def scratch_lab(lab_keeper: LabKeeper) -> Iterator[Lab]:
    """The running lab for a test that may leave anything behind; it is put back, or replaced by a new one."""
    yield lab_keeper.lab()
    lab_keeper.put_back()


@pytest.fixture
def nwscan(lab: Lab, tmp_path: Path) -> Nwscan:
    """The real command in the lab, with a state folder that is the test's own."""
    return Nwscan(lab, tmp_path)
