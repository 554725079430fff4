from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from tools import debian_packages

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(debian_packages, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(debian_packages, "POLICY_SAVED", tmp_path / "policy-rc.d.before")
    return tmp_path / "policy-rc.d"


def test_services_are_forbidden_only_meanwhile(policy: Path) -> None:
    with debian_packages.no_service_starts():
        assert policy.stat().st_mode & 0o111
        assert policy.read_text().endswith("exit 101\n")
    assert list(policy.parent.iterdir()) == []


def test_a_policy_of_the_machine_comes_back_unchanged(policy: Path) -> None:
    policy.write_text("#!/bin/sh\nexit 104\n")
    policy.chmod(0o750)

    def fail_meanwhile() -> None:
        with debian_packages.no_service_starts():
            assert "exit 101" in policy.read_text()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_meanwhile()
    assert policy.read_text() == "#!/bin/sh\nexit 104\n"
    assert policy.stat().st_mode & 0o777 == 0o750
    assert list(policy.parent.iterdir()) == [policy]


def test_a_killed_run_is_made_good_by_the_next(policy: Path) -> None:
    policy.write_text("#!/bin/sh\nexit 104\n")
    killed = debian_packages.no_service_starts()
    killed.__enter__()  # and never leaves
    with debian_packages.no_service_starts():
        assert "exit 101" in policy.read_text()
    assert policy.read_text() == "#!/bin/sh\nexit 104\n"
    assert list(policy.parent.iterdir()) == [policy]


def test_nothing_is_installed_when_nobody_agrees(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("YES", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert not debian_packages.agreed(["gcc"])
    assert "gcc" in capsys.readouterr().out
    monkeypatch.setenv("YES", "1")
    assert debian_packages.agreed(["gcc"])
