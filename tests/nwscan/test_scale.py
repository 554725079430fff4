"""Many inputs on a real Dask cluster, and inputs over http: the results are those of one process."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import urllib.parse
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import distributed
import pytest

from analyzer.errors import HostError, InputError, UsageError
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.report.store import encode
from nwscan.api import fleet, measure, replaying
from nwscan.api.documents import by_card, read_reports
from nwscan.scale import cluster, remote
from tests.nwscan.command import AFTER, BEFORE, COOKED, FIRST_SECOND, MAC, nwscan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nwscan.worker.messages import Progress

GUEST = GuestIdentity((int(MAC.replace(":", ""), 16),), Provenance.COMMAND_LINE)
CAPTURES = (BEFORE, AFTER, FIRST_SECOND)


class Watching(measure.Unwatched):
    """Keeps the share that is done, and looks at something each time."""

    def __init__(self, look: Callable[[], object] = lambda: None) -> None:
        self.shares: list[float | None] = []
        self.looks: list[object] = []
        self._look = look

    def progress(self, progress: Progress) -> None:
        self.shares.append(progress.share)
        self.looks.append(self._look())


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as made:
        yield made


@pytest.fixture
def scheduler(own_cluster: distributed.LocalCluster) -> str:
    return str(own_cluster.scheduler_address)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of more captures than are merged at a time."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(20):
        source = CAPTURES[number % len(CAPTURES)]
        shutil.copy(source, folder / f"{number:02}{''.join(source.suffixes)}")
    return folder


@contextmanager
def served(folder: Path, asked: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    """Serve a folder by http; ``asked`` is told each path before it is answered."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked(urllib.parse.unquote(self.path))
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_captures_on_a_cluster_give_the_report_of_one_process(
    own_cluster: distributed.LocalCluster, scheduler: str, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "BATCH_FILES", 1)
    watching = Watching(lambda: len(own_cluster.scheduler.tasks))
    report = fleet.analyze([str(many)], scheduler, GUEST, watcher=watching)
    assert report == measure.analyze([str(many)], GUEST)
    assert watching.shares == pytest.approx([number / 20 for number in range(1, 21)])
    known = max(int(str(look)) for look in watching.looks)
    assert known <= (2 + 1) * (cluster.FAN_IN + 1), "the scheduler knows a few groups, not all there is to do"
    assert not own_cluster.scheduler.tasks


def test_captures_by_http_and_as_a_file_url(many: Path, scheduler: str) -> None:
    with served(many) as url:
        by_http = measure.analyze([f"{url}/"], GUEST)
        on_cluster = fleet.analyze([f"{url}/"], scheduler, GUEST)
        one = measure.analyze([f"{url}/00.pcapng?token=secret"])
    local = measure.analyze([many.as_uri()], GUEST)
    assert by_http == on_cluster
    assert by_http.class_counts == local.class_counts
    assert "secret" not in encode(one).decode()
    assert one.class_counts == measure.analyze([str(BEFORE)]).class_counts


def test_a_lost_worker_costs_a_retry(
    own_cluster: distributed.LocalCluster, scheduler: str, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "BATCH_FILES", 1)
    victims = [own_cluster.workers[0].process.process.pid]
    asked = []

    def kill_in_the_middle(path: str) -> None:
        asked.append(path)
        if len(asked) == 8 and victims:
            os.kill(victims.pop(), signal.SIGKILL)

    with served(many, kill_in_the_middle) as url:
        report = fleet.analyze([f"{url}/"], scheduler, GUEST)
        assert not victims
        assert report == measure.analyze([f"{url}/"], GUEST)


def test_files_without_ethernet_are_left_out_there_as_here(
    scheduler: str, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [str(one) for one in sorted(many.iterdir())[:2]]
    monkeypatch.setattr(fleet, "BATCH_FILES", 1)
    report = fleet.analyze([*few, str(COOKED)], scheduler, GUEST)
    assert report == measure.analyze([*few, str(COOKED)], GUEST)
    assert [note for note in report.notes if str(COOKED) in note]
    monkeypatch.setattr(measure, "_OPEN_AT_ONCE", 1)
    assert measure.analyze([*few, str(COOKED)], GUEST) == report
    for analyze in (measure.analyze, partial(fleet.analyze, scheduler=scheduler)):
        with pytest.raises(InputError, match="no Ethernet frames in any of these captures"):
            analyze([str(COOKED)] * 2, identity=GUEST)


def test_reports_are_merged_by_card(tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "BATCH_FILES", 1)
    paths = []
    for name, capture, mac in (
        ("a", BEFORE, GUEST),
        ("b", AFTER, GUEST),
        ("c", BEFORE, GuestIdentity((2,), GUEST.source)),
    ):
        paths.append(str(tmp_path / f"{name}.json"))
        (tmp_path / f"{name}.json").write_bytes(encode(measure.analyze([str(capture)], mac)))
    merged = fleet.report(paths, scheduler)
    assert merged == by_card([one.report for one in read_reports(paths)])
    assert len(merged) == 2
    with served(tmp_path) as url:
        assert fleet.report([f"{url}/"], scheduler) == merged


def test_a_filter_is_tried_on_many_captures(scheduler: str, many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "BATCH_FILES", 1)
    filters = many.parent / "lab.xml"
    filters.write_text(
        "<filter name='lab' chain='root'><rule action='accept' direction='in'><mac dstmacaddr='$MAC'/></rule>"
        "<rule action='drop' direction='in'><mac/></rule></filter>"
    )
    choice = replaying.choose(str(filters), GUEST, library=[str(filters)])
    few = [str(one) for one in sorted(many.iterdir())[:3]]
    on_cluster = fleet.replay(few, scheduler, choice)
    alone = [replaying.replay([one], choice) for one in few]
    here = replaying.replay(few, choice)
    assert replaying.to_document(on_cluster) == replaying.to_document(here)
    assert here.prediction.frames == sum(one.prediction.frames for one in alone)
    assert here.prediction.wanted_dropped.frames == sum(one.prediction.wanted_dropped.frames for one in alone) > 0


def test_the_command_line(many: Path, tmp_path: Path) -> None:
    few = sorted(many.iterdir())[:2]
    alone = nwscan("analyze", *few, "--mac", MAC, "--json")
    assert nwscan("analyze", *few, "--mac", MAC, "--json", "--scheduler", "local:1").document == alone.document
    (tmp_path / "report.json").write_text(alone.stdout)
    merged = nwscan("report", tmp_path / "report.json", "--json", "--scheduler", "local:1")
    assert merged.document == alone.document


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("analyze", BEFORE, "--scheduler", "nowhere"), 2, "not the address of a scheduler"),
        (("analyze", BEFORE, "--scheduler", "local:0"), 2, "not a number of processes: '0'"),
        (("analyze", "-", "--scheduler", "local:1"), 2, "standard input cannot be read on a cluster"),
        (("report", "x.json", "--scheduler", "local", "--html", "x.html"), 2, "--export, --html and --parquet need"),
        (("analyze", "http://127.0.0.1:9/x.pcap?secret"), 3, "cannot fetch it: Cannot connect"),
        (("analyze", "http://127.0.0.1:9/*.pcap"), 3, "cannot list the folder: Cannot connect"),
        (("analyze", "s3://bucket/x.pcap"), 4, "cannot open URLs of this kind: Install s3fs"),
        (("analyze", "no-such-scheme://x"), 3, "cannot fetch it: Protocol not known"),
        (("report", "http://127.0.0.1:9/x.json"), 3, "cannot fetch it: Cannot connect"),
    ],
)
def test_what_cannot_be_done_is_said(words: tuple[object, ...], code: int, what: str) -> None:
    fields = nwscan(*words).error(code)
    assert fields["error"].startswith(what)
    assert "secret" not in fields["where"]


@pytest.mark.parametrize("name", ["fe80::1.pcapng", "vm1::tap.pcapng"])
def test_a_file_whose_name_has_colons_is_a_file(tmp_path: Path, name: str) -> None:
    shutil.copy(BEFORE, tmp_path / name)
    assert nwscan("analyze", name, "--json", cwd=tmp_path).document["guest"]["name"] == "vm1"


def test_a_scheduler_that_is_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_ANSWERS_WITHIN_S", 0.5)
    with pytest.raises(HostError, match="no Dask scheduler answers"):
        fleet.analyze([str(BEFORE)], "tcp://127.0.0.1:9")
    with (
        distributed.LocalCluster(
            n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
        ) as idle,
        pytest.raises(HostError, match="the scheduler has no workers"),
    ):
        fleet.analyze([str(BEFORE)], str(idle.scheduler_address))


def test_workers_of_another_release_are_refused(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "VERSION", "99")
    with pytest.raises(HostError, match=r"its workers have nwscan \S+, not 99"):
        fleet.analyze([str(BEFORE)], scheduler)


def test_an_input_that_is_no_capture_ends_the_run(scheduler: str, many: Path) -> None:
    (many / "30.pcap").write_bytes(b"no capture")
    with pytest.raises(InputError, match="not a capture") as caught:
        fleet.analyze([str(many)], scheduler, GUEST)
    assert caught.value.where == str(many / "30.pcap")
    with served(many) as url, pytest.raises(InputError, match="nothing to read in this folder"):
        remote.expand(f"{url}/*.nothing", (".pcap",))
    with pytest.raises(UsageError, match="nobody said whose traffic this is"):
        fleet.analyze([str(FIRST_SECOND)], scheduler)
