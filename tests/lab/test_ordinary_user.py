"""Root is not needed: a user with CAP_NET_RAW and CAP_NET_ADMIN, whom libvirt lets in, measures and meters."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.lab import layout
from tests.lab.schedule import Schedule
from tests.nwscan.ordinary_user import USER, as_ordinary_user

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence

    from tests.lab.lab import Lab

STATE = "/run/ordinary"
GROUP = 64_055
"""The group that libvirt lets in; its number is Debian's for libvirt, which need not be there."""
SPEAKING = Schedule(foreign=60_000, own=24_000, multicast=6_000, broadcast=3_600, rate_fps=800)


@pytest.fixture(autouse=True)
def _state(lab: Lab) -> None:
    folder = lab.outside(STATE)
    folder.mkdir(exist_ok=True)
    os.chown(folder, USER, USER)


@pytest.fixture
def _socket_of_a_group(lab: Lab) -> Iterator[None]:
    """libvirt's read-write socket as ``unix_sock_group`` and ``unix_sock_rw_perms = "0770"`` make it."""
    socket = lab.outside(layout.LIBVIRT_SOCKET)
    before = socket.stat()
    os.chown(socket, 0, GROUP)
    socket.chmod(0o770)
    yield
    os.chown(socket, before.st_uid, before.st_gid)
    socket.chmod(before.st_mode & 0o777)


def run(
    lab: Lab, *words: str, groups: str | None = None, capabilities: Sequence[str] = ("net_raw", "net_admin")
) -> subprocess.CompletedProcess[str]:
    env = {"NWSCAN_STATE": f"{STATE}/nwscan", "NWSCAN_DURATION": "2.2", "HOME": STATE}
    return lab.run([*as_ordinary_user(groups, capabilities), "nwscan", *words], env=env, timeout_s=120)


def test_doctor_finds_what_measuring_needs(lab: Lab) -> None:
    checks = {check["name"]: check for check in json.loads(run(lab, "doctor", "--json").stdout)["checks"]}
    for name in ("privileges", "measuring worker", "libvirt", "meter", "state folder"):
        assert checks[name]["ok"], checks[name]
    assert checks["classifier"]["found"].startswith("the nft meter counts instead: cannot load")


def test_top_counts_by_ebpf_with_cap_bpf_and_by_the_meter_without(lab: Lab) -> None:
    words = ("top", "--json", "--interval", "1")
    documents = {}
    for capabilities in (("net_admin", "bpf"), ("net_admin",)):
        with lab.sending(SPEAKING):
            done = run(lab, *words, capabilities=capabilities)
        assert done.returncode == 0, done.stderr
        documents[capabilities] = json.loads(done.stdout)
        assert all(
            tap["classes"]["foreign_unicast"]["delivered"]["frames_per_s"] for tap in documents[capabilities]["taps"]
        )
    with_bpf, without = documents.values()
    assert (with_bpf["fallback"], {tap["counted_by"] for tap in with_bpf["taps"]}) == (None, {"classifier"})
    assert without["fallback"] == "cannot load the programs into the kernel: Operation not permitted"
    assert {tap["counted_by"] for tap in without["taps"]} == {"meter"}


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


@pytest.mark.usefixtures("_socket_of_a_group")
def test_who_is_not_in_libvirt_s_group_is_told_so(lab: Lab) -> None:
    done = run(lab, "list")
    assert done.returncode == 4
    assert "Permission denied" in done.stderr
    assert "join the group of libvirt's socket" in done.stderr
    checks = {check["name"]: check for check in json.loads(run(lab, "doctor", "--json").stdout)["checks"]}
    assert not checks["libvirt"]["ok"]
    assert "unix_sock_group" in checks["libvirt"]["hint"]


@pytest.mark.usefixtures("_socket_of_a_group")
def test_who_is_in_libvirt_s_group_applies_and_rolls_back(lab: Lab) -> None:
    with lab.sending(SPEAKING):
        applied = run(lab, "suggest", "--apply", "vm1", "--yes", "--force", groups=str(GROUP))
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "vm1: effective" in applied.stdout
    undone = run(lab, "rollback", "vm1", "--yes", groups=str(GROUP))
    assert undone.returncode == 0, undone.stderr
