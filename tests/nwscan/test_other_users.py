"""Another user of the host who owns the folder that root writes to, or reaches the port of the exporter."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from analyzer.errors import HostError
from nwscan import kept
from nwscan.render import metrics, scrapes
from tests.network_namespace import need_root, new_namespace
from tests.nwscan.ordinary_user import USER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PRECIOUS = b"what only root may write"
FLOOD = 300
DEADLINE_S = 30.0


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder of the other user's."""
    need_root()
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o755)
    os.chown(folder, USER, USER)
    (tmp_path / "precious").write_bytes(PRECIOUS)
    return folder


def link(path: Path, target: Path) -> None:
    path.symlink_to(target)
    os.chown(path, USER, USER, follow_symlinks=False)


def test_the_exporter_s_file_goes_through_nothing_that_was_put_there_for_it(theirs: Path, tmp_path: Path) -> None:
    path = theirs / "nwscan.prom"
    names = (f"nwscan.prom.{os.getpid()}.{threading.get_ident()}", "nwscan.prom", ".nwscan.prom")
    for name in names:
        link(theirs / name, tmp_path / "precious")
    metrics.write_file(CollectorRegistry(), path)
    assert (tmp_path / "precious").read_bytes() == PRECIOUS
    assert not path.is_symlink()
    assert sorted(one.name for one in theirs.iterdir()) == sorted(names)
    seen = set()
    for _ in range(3):
        metrics.write_file(CollectorRegistry(), path)
        seen.add(path.stat().st_ino)
    assert len(seen) > 1, "each time it is another file"


def put_link(path: Path, target: Path) -> None:
    link(path, target)


def put_file(path: Path, _: Path) -> None:
    path.write_bytes(b"mine")
    path.chmod(0o666)
    os.chown(path, USER, USER)


@pytest.mark.parametrize("put", [put_link, put_file])
def test_frames_go_into_no_link_and_no_file_of_theirs(
    theirs: Path, tmp_path: Path, put: Callable[[Path, Path], None]
) -> None:
    """A capture's file and each of a ring has a name that can be foreseen."""
    path = theirs / "f.pcapng"
    put(path, tmp_path / "precious")
    with path.open("rb") as theirs_still:
        descriptor = kept.create_private(path, replace=True)
        os.write(descriptor, b"frames")
        os.close(descriptor)
        assert b"frames" not in theirs_still.read()
    assert (tmp_path / "precious").read_bytes() == PRECIOUS
    status = path.lstat()
    assert (status.st_uid, status.st_mode & 0o7777, path.is_symlink()) == (0, 0o600, False)
    assert path.read_bytes() == b"frames"
    assert [one.name for one in theirs.iterdir()] == ["f.pcapng"]


def test_a_link_of_one_s_own_is_followed_and_a_pipe_opened(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large/f").write_bytes(b"before")
    (tmp_path / "f").symlink_to("large/f")
    os.close(kept.create_private(tmp_path / "f", replace=True))
    assert (tmp_path / "f").is_symlink()
    assert (tmp_path / "large/f").read_bytes() == b""
    assert (tmp_path / "large/f").stat().st_mode & 0o777 == 0o600
    os.mkfifo(tmp_path / "pipe")
    os.close(kept.create_private(tmp_path / "pipe", replace=True))
    assert (tmp_path / "pipe").is_fifo()
    with pytest.raises(HostError, match="Is a directory"):
        kept.create_private(tmp_path / "large", replace=True)


def in_child_of_other_user(act: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(USER)
            os.setuid(USER)
            act()
        except BaseException:  # noqa: BLE001 - nothing may come back into pytest from here
            os._exit(70)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def of_root() -> Iterator[Path]:
    """A folder that the other user may look into, and not write."""
    need_root()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_service_writes_the_file_that_was_made_for_it_in_a_folder_of_root(of_root: Path) -> None:
    path = of_root / "f"
    path.write_bytes(b"long before")
    path.chmod(0o666)

    def write() -> None:
        os.write(kept.create_private(path, replace=True), b"new")

    assert in_child_of_other_user(write) == 70
    assert path.read_bytes() == b"long before"
    os.chown(path, USER, USER)
    assert in_child_of_other_user(write) == 0
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)


@pytest.fixture
def port() -> Iterator[int]:
    with new_namespace():
        os.system("ip link set lo up")  # noqa: S605 - fixed
        yield 9879


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE_S) as answer:
        return str(answer.read().decode())


def test_a_flood_of_connections_fills_nothing_and_ends(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrapes, "ANSWER_S", 1.0)
    before, end = threading.active_count(), metrics.serve(CollectorRegistry(), "127.0.0.1", port)
    idle = []
    try:
        for _ in range(FLOOD):
            idle.append(socket.create_connection(("127.0.0.1", port)))
            idle[-1].send(b"GET / HTTP/1.1\r\nX: ")
        most = threading.active_count() - before
        assert most <= 2 * scrapes.CONNECTIONS_MOST + 1  # each has what ends it beside it
        closed_s = time.monotonic() + DEADLINE_S
        while threading.active_count() - before > 1:
            assert time.monotonic() < closed_s, "those who never ask are shut out"
            time.sleep(0.05)
        assert scrape(port) == ""
    finally:
        for one in idle:
            one.close()
        end()
