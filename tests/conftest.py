"""What all tests share: where everything has to run, a test that skips fails the run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.measuring import processes

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


def requires_all() -> bool:
    """Say whether this run may skip nothing: in CI, and wherever NWSCAN_REQUIRE_ALL=1 asks for it."""
    return os.environ.get("CI") == "true" or os.environ.get("NWSCAN_REQUIRE_ALL") == "1"


class SkipsFail:
    """Collects what was skipped, and turns it into a failed run."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._collect(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._collect(report)

    def _collect(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.reasons[report.nodeid] = text.removeprefix("Skipped: ")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.reasons and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.reasons:
            terminalreporter.section("skipped where nothing may skip", red=True)
            for name, reason in sorted(self.reasons.items()):
                terminalreporter.line(f"FAILED {name}: skipped: {reason}", red=True)


@pytest.fixture(autouse=True, scope="session")
def host_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give this run a host lock of its own: two runs beside each other do not stand for two nwscan on one host."""
    from generator.deploy import journal  # noqa: PLC0415 - plugins come first

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "HOST_LOCK", tmp_path_factory.mktemp("host") / "run" / "lock")
        yield


settings.register_profile("anywhere", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("the same each time", settings.get_profile("anywhere"), derandomize=True)


def measures_processes() -> bool:
    """Say whether coverage is to be that of the processes too which tests start: `make coverage` asks for it."""
    return os.environ.get("NWSCAN_MEASURE_PROCESSES") == "1"


@pytest.hookimpl(wrapper=True, trylast=True)  # inside of pytest-cov's, which combines what it finds
def pytest_runtestloop() -> Generator[None, object, object]:
    if not measures_processes():
        return (yield)
    processes.ask()
    try:
        return (yield)
    finally:  # what was found until somebody ended the run is worth having
        processes.collect()


def pytest_configure(config: pytest.Config) -> None:
    # No test times anything. Where everything has to run, a change is judged by the examples of the run before it.
    settings.load_profile("the same each time" if requires_all() else "anywhere")
    if requires_all():
        config.pluginmanager.register(SkipsFail(), "skips-fail")
