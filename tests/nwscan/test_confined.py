"""The measuring worker has no privilege and no way back, and nobody else has what it reads."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.network_namespace import frame, need_root, send, veth_pair
from tests.nwscan.command import BEFORE, MAC, NO_LIBVIRT, typed
from tests.nwscan.confined import (
    PROGRAM,
    descriptors,
    free_threads,
    is_worker,
    mapped,
    packet_sockets,
    processes_of,
)
from tests.nwscan.ordinary_user import USER, as_ordinary_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0


def wait_for(claim: Callable[[], bool], what: str, state: Path) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not claim():
        assert time.monotonic() < end_s, f"not within {DEADLINE_S:.0f} s: {what}: {said(state)}"
        time.sleep(0.02)


@contextmanager
def running(*words: object, state: Path, prefix: tuple[str, ...] = (), stdin: int | None = None) -> Iterator[int]:
    """Have a command run beside the with block; gives its PID. It is killed in the end."""
    environment = os.environ | {"NWSCAN_STATE": str(state), "NWSCAN_CONNECT": NO_LIBVIRT}
    with (state.parent / "said").open("wb") as said:
        process = subprocess.Popen(
            [*prefix, *typed(*words)], cwd=ROOT, env=environment, stdin=stdin, stdout=said, stderr=said
        )
        try:
            yield process.pid
        finally:
            process.kill()
            process.wait()


def said(state: Path) -> str:
    return (state.parent / "said").read_text()


def worker_of(pid: int, state: Path) -> int:
    """Wait until the command has a confined worker, which has something to read, and give its PID."""

    def workers() -> list[int]:
        return [one for one in processes_of(pid)[1:] if is_worker(one)]

    found: list[int] = []

    def is_alone_and_confined() -> bool:
        """The worker that describes frames is there for a moment beside it."""
        with suppress(FileNotFoundError, ProcessLookupError):
            found[:] = workers()
            return len(found) == 1 and free_threads(found[0]) == []
        return False

    wait_for(is_alone_and_confined, "a confined worker", state)
    return found[0]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@contextmanager
def confined(prefix: tuple[str, ...] = (), *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "confined\n", process.stdout.read()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_there_is_no_way_back_for_a_worker_of_root() -> None:
    need_root()
    with confined() as process:
        assert free_threads(process.pid) == []
        assert process.communicate("try\n", DEADLINE_S)[0] == "done\n"
    assert not Path("/tmp/nwscan-escaped").exists()  # noqa: S108 - nobody makes it


def test_there_is_no_way_back_for_a_worker_of_an_ordinary_user() -> None:
    need_root()
    with confined(as_ordinary_user()) as process:
        assert free_threads(process.pid, as_root=False) == []
        assert process.communicate("try\n", DEADLINE_S)[0] == "done\n"


@pytest.mark.parametrize("user", ["root", "ordinary"])
def test_there_is_no_way_back_for_the_thread_that_helps(user: str) -> None:
    need_root()
    with confined(() if user == "root" else as_ordinary_user(), "helper") as process:
        assert len(list(Path(f"/proc/{process.pid}/task").iterdir())) == 2
        assert free_threads(process.pid, as_root=user == "root") == []
        assert process.communicate("try\n", DEADLINE_S)[0] == "done\n"


def test_on_live_capture_the_worker_alone_has_the_ring(state: Path) -> None:
    with (
        veth_pair(),
        running("capture", "tap0", "--mac", MAC, "--json", "-a", "duration:600", state=state) as parent,
    ):
        worker = worker_of(parent, state)
        wait_for(lambda: bool(mapped(worker) & packet_sockets(parent)), "a ring is mapped", state)
        wait_for(lambda: "capturing on" in said(state), "it captures", state)
        send("guest0", [frame(number) for number in range(200)])
        rings = packet_sockets(parent)
        assert len(rings) == 1
        assert rings <= mapped(worker)
        assert rings <= set(descriptors(worker).values())
        kept = [name for name in descriptors(worker).values() if name.endswith("frames.pcapng")]
        assert len(kept) == 1
        for other in set(processes_of(parent)) - {worker}:
            assert not mapped(other) & rings
            assert not set(descriptors(other).values()) & {*rings, *kept}
        assert free_threads(worker) == []


FILE_COMMANDS = {
    "analyze": ("analyze", "PIPE", "--mac", MAC, "--json"),
    "analyze, with another file": ("analyze", BEFORE, "PIPE", "--mac", MAC, "--json"),
    "replay": ("replay", "PIPE", "--mac", MAC, "--filter", "FILTER", "--json"),
    "replay, what is dropped written": (
        "replay", "PIPE", "--mac", MAC, "--filter", "FILTER", "--export-dropped", "DROPPED",
    ),
    "suggest": ("suggest", "--from", "PIPE", "--mac", MAC, "--json"),
}  # fmt: skip


@pytest.mark.parametrize("command", FILE_COMMANDS)
def test_on_a_file_the_worker_alone_has_it_open(state: Path, tmp_path: Path, command: str) -> None:
    need_root()
    places = {name: tmp_path / name.lower() for name in ("PIPE", "FILTER", "DROPPED")}
    places["FILTER"] = tmp_path / "all.xml"
    places["FILTER"].write_text("<filter name='all'><rule action='drop' direction='inout'/></filter>")
    pipe = places["PIPE"]
    os.mkfifo(pipe)
    words = [places.get(str(word), word) for word in FILE_COMMANDS[command]]
    with (
        running(*words, state=state) as parent,
        pipe.open("wb") as feed,
    ):
        feed.write(BEFORE.read_bytes()[:5000])  # and no more: the worker waits
        feed.flush()
        worker = worker_of(parent, state)
        wait_for(lambda: str(pipe) not in descriptors(parent).values(), "the parent has let go of it", state)
        assert str(pipe) in descriptors(worker).values()
        assert len([name for name in descriptors(worker).values() if name.startswith("socket:")]) == 1
        for other in set(processes_of(parent)) - {worker}:
            assert not {str(pipe), str(BEFORE)} & {*descriptors(other).values(), *mapped(other)}
        assert free_threads(worker) == []


def test_what_a_worker_is_confined_in_does_not_change_its_report(state: Path) -> None:
    """Descriptions of frames come from a library that is imported late: it must be there by then."""
    done = subprocess.run(
        typed("analyze", BEFORE, "--json"), cwd=ROOT, env=os.environ | {"NWSCAN_STATE": str(state)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Ether / " in done.stdout
    assert "cannot read" not in done.stdout


class _Owned:
    """Unpickling it makes a file in the folder that one is in."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("open('owned', 'w')",)


def test_a_worker_takes_nothing_from_the_home_folder_and_leaves_nothing_there(tmp_path: Path) -> None:
    """Under sudo it may be another user's, who wrote what a library of the worker unpickles."""
    cache = tmp_path / ".cache" / "scapy"
    cache.mkdir(parents=True)
    for name in ("ethertypes", "services", "manufdb", "bluetoothids"):
        (cache / f"{name}.pickle").write_bytes(pickle.dumps({"content": _Owned(), "ts": 1e11}))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    bare = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    words = [*typed("analyze", BEFORE, "--mac", MAC, "--json")]
    bare |= {"HOME": str(tmp_path), "NWSCAN_STATE": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=bare, capture_output=True, text=True, check=True)
    assert "Ether / " in done.stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of the ordinary user's own."""
    need_root()
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, USER, USER)
        yield Path(folder)


def test_a_command_of_root_takes_nothing_from_the_home_folder_that_sudo_keeps(home: Path, tmp_path: Path) -> None:
    """matplotlib keeps its list of fonts there, and reads the fonts that it names."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL"))}
    bare |= {"HOME": str(home), "NWSCAN_STATE": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from nwscan.entry import run; run()"]
    report, page = tmp_path / "report.json", tmp_path / "page.html"
    for words in (("analyze", BEFORE, "--mac", MAC, "-o", report), ("report", report, "--html", page)):
        subprocess.run([*command, *map(str, words)], cwd=tmp_path, env=bare, capture_output=True, check=True)
    assert page.stat().st_size > 10_000
    assert list(home.rglob("*")) == []


def test_an_ordinary_user_with_two_capabilities_captures(home: Path) -> None:
    state = home / "state"
    words = ("capture", "tap0", "vlan or not vlan", "--mac", MAC, "--json", "-c", "20", "-w", home / "w.pcapng")
    with veth_pair(), running(*words, state=state, prefix=as_ordinary_user()) as parent:
        wait_for(lambda: "capturing on" in said(state), "it captures", state)
        worker = next(one for one in processes_of(parent)[1:] if is_worker(one))
        wait_for(lambda: free_threads(worker, as_root=False) == [], "the worker is confined", state)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
            wire.bind(("guest0", 0))
            for number in range(20):
                wire.send(frame(number))
        wait_for(lambda: '"frames_seen":20' in said(state).replace(" ", ""), "its report", state)
    assert "\nerror" not in said(state)
    files = [home / "w.pcapng", *(path for path in state.rglob("*") if path.is_file())]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert {file.stat().st_uid for file in files} == {USER}
    assert {path.stat().st_mode & 0o777 for path in (state, *state.rglob("*")) if path.is_dir()} == {0o700}
