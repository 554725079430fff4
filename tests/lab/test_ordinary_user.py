"""Root is not needed: a user with CAP_NET_RAW and CAP_NET_ADMIN, whom libvirt lets in, measures and meters."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.lab.schedule import Schedule
from tests.nwscan.ordinary_user import USER, as_ordinary_user

if TYPE_CHECKING:
    import subprocess

    from tests.lab.lab import Lab

STATE = "/run/ordinary"
SPEAKING = Schedule(foreign=60_000, own=24_000, multicast=6_000, broadcast=3_600, rate_fps=800)


@pytest.fixture(autouse=True)
def _state(lab: Lab) -> None:
    folder = lab.outside(STATE)
    folder.mkdir(exist_ok=True)
    os.chown(folder, USER, USER)


def run(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    env = {"NWSCAN_STATE": f"{STATE}/nwscan", "NWSCAN_DURATION": "2", "HOME": STATE}
    return lab.run([*as_ordinary_user(), "nwscan", *words], env=env, timeout_s=120)


def test_doctor_finds_what_measuring_needs(lab: Lab) -> None:
    checks = {check["name"]: check for check in json.loads(run(lab, "doctor", "--json").stdout)["checks"]}
    for name in ("privileges", "measuring worker", "libvirt", "meter", "state folder"):
        assert checks[name]["ok"], checks[name]


def test_capture_and_the_meter_that_suggest_asks(lab: Lab) -> None:
    with lab.sending(SPEAKING):
        suggested = run(lab, "suggest", "vm1", "--json")
        assert suggested.returncode in (0, 1), suggested.stderr  # 1: two seconds are too short to suggest by
        captured = run(lab, "capture", "vm1", "--json")
        assert captured.returncode == 0, captured.stderr
    report = json.loads(captured.stdout)
    assert report["guest"]["name"] == "vm1"
    assert report["classes"]["foreign_unicast"]["frames"] > 0
    files = [path for path in lab.outside(STATE).rglob("*") if path.is_file()]
    assert {"report.json", "frames.pcapng", "meter.json"} <= {file.name for file in files}
    assert {(file.stat().st_uid, file.stat().st_mode & 0o777) for file in files} == {(USER, 0o600)}
