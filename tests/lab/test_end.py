"""However the lab ends, nothing of it is left: no process, no namespace, no mount, no file."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.guest_image import PROJECT
from tests.lab.lab import Lab, missing

if TYPE_CHECKING:
    from collections.abc import Callable

NAMESPACES = ("pid", "mnt", "net", "ipc")
HOLDER = """\
import sys, time
from tests.lab.lab import Lab
with Lab() as lab:
    print(lab.init_pid, flush=True)
    word = sys.stdin.readline().strip()
    if word == "fail":
        raise RuntimeError("on purpose")
    if word == "wait":
        time.sleep(60)
"""


@pytest.fixture(autouse=True)
def machine() -> None:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)


def namespaces_of(process: Path) -> set[str]:
    found = set()
    for kind in NAMESPACES:
        try:
            found.add(str((process / "ns" / kind).readlink()))
        except OSError:
            return set()
    return found


def lab_namespaces(init_pid: int) -> set[str]:
    """The namespaces of all processes that live in the lab, hosts' networks included."""
    init = Path(f"/proc/{init_pid}")
    hosts = {f"net:[{path.stat().st_ino}]" for path in (init / "root/run/netns").iterdir()}
    return (namespaces_of(init) | hosts) - namespaces_of(Path("/proc/self"))


def processes_in(namespaces: set[str]) -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if namespaces_of(path) & namespaces]


def mounts() -> set[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {line.split()[4] for line in lines if "/run/netns/" not in line}


def files() -> set[str]:
    """What libvirt and the lab could leave on this machine's own file system."""
    roots = ("/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt", "/run/libvirt", "/run/lab")
    return {str(path) for root in roots for path in Path(root).rglob("*")} | {str(p) for p in Path("/run").glob("*")}


def hold_a_lab() -> tuple[subprocess.Popen[str], int]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert holder.stdout is not None
    return holder, int(holder.stdout.readline())


def tell(holder: subprocess.Popen[str], word: str) -> None:
    assert holder.stdin is not None
    holder.stdin.write(f"{word}\n")
    holder.stdin.flush()


def kill_with(number: signal.Signals) -> Callable[[subprocess.Popen[str]], None]:
    def end(holder: subprocess.Popen[str]) -> None:
        tell(holder, "wait")
        holder.send_signal(number)

    return end


ENDS: dict[str, tuple[Callable[[subprocess.Popen[str]], None], int]] = {
    "success": (lambda holder: tell(holder, "done"), 0),
    "failure": (lambda holder: tell(holder, "fail"), 1),
    "ctrl-c": (kill_with(signal.SIGINT), -signal.SIGINT),
    "sigterm": (kill_with(signal.SIGTERM), -signal.SIGTERM),
    "sigkill": (kill_with(signal.SIGKILL), -signal.SIGKILL),
}


@pytest.mark.parametrize("way", ENDS)
def test_nothing_is_left(way: str) -> None:
    mounts_before, files_before = mounts(), files()
    holder, init_pid = hold_a_lab()
    namespaces = lab_namespaces(init_pid)
    assert len(namespaces) == len(NAMESPACES) + 2
    assert len(processes_in(namespaces)) >= 4  # init, libvirtd, two guests
    assert mounts() == mounts_before
    assert files() == files_before

    end, code = ENDS[way]
    end(holder)
    assert holder.wait(timeout=60) == code
    deadline = time.monotonic() + 10
    while processes_in(namespaces) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_in(namespaces) == []
    assert mounts() == mounts_before
    assert files() == files_before
    for stream in (holder.stdin, holder.stdout):
        assert stream is not None
        stream.close()


def test_a_command_in_the_lab_ends_with_it_and_is_reached_by_signals() -> None:
    lab = Lab()
    lab.up(guests=())
    with lab.popen(["sleep", "60"]) as first, lab.popen(["sleep", "60"], host="hosta") as second:
        first.terminate()
        assert first.wait(timeout=10) == -signal.SIGTERM
        assert lab.run(["sh", "-c", "exit 7"]).returncode == 7
        killed = lab.popen(["sh", "-c", "echo $$; exec sleep 61"], stdout=subprocess.PIPE)
        assert killed.stdout is not None
        inner = lab.outside(f"/proc/{killed.stdout.readline().strip()}")
        assert inner.exists()
        killed.kill()
        killed.communicate(timeout=10)
        deadline = time.monotonic() + 10
        while inner.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not inner.exists()
        lab.down()
        assert second.wait(timeout=10) == -signal.SIGKILL


def test_a_lab_that_cannot_come_up_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.lab.lab.domain_xml", lambda _: "<domain/>")
    lab = Lab()
    with pytest.raises(Exception, match="domain"):
        lab.up()
    assert lab.init_pid == 0


def test_two_labs_side_by_side() -> None:
    with Lab() as one, Lab() as other:
        one.guest("vm1").shell("ip addr add 192.0.2.77/24 dev eth0")
        assert one.host("hosta").ping("192.0.2.77", count=1) == 1
        assert other.host("hosta").ping("192.0.2.77", count=1, deadline_s=1) == 0
        one.virsh("nwfilter-undefine allow-arp")
        assert "allow-arp" in other.virsh("nwfilter-list")
        one.down()
        assert other.host("hosta").ping(other.guest("vm1").address.ipv4, count=1) == 1


def test_the_lab_sees_its_own_libvirt_only(lab: Lab) -> None:
    inside = lab.run(["virsh", "-c", "qemu:///system", "list", "--name"], check=True).stdout.split()
    assert sorted(inside) == ["vm1", "vm2"]
    assert lab.run(["cat", "/proc/self/comm"], check=True).stdout == "cat\n"
    assert lab.run(["id", "-un"], user="nobody", check=True).stdout == "nobody\n"
    assert str(Path("/proc/self/ns/net").readlink()) != lab.run(["readlink", "/proc/self/ns/net"]).stdout.strip()
