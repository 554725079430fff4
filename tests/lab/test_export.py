"""`export` in the lab: the real Prometheus of Debian scrapes it, and has exactly what was sent."""

import contextlib
import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from nwscan.render.text import visible
from tests.lab import layout
from tests.lab.frames import Kind
from tests.lab.kernel_calls import call_in_network
from tests.lab.lab import Lab
from tests.lab.nwscan_run import Nwscan, wait_for
from tests.lab.paused_guest import cards, paused_guest
from tests.lab.schedule import Schedule

HOSTILE = "vm\u202e8 {a=b}"
EXPORTER, PROMETHEUS = "127.0.0.1:9879", "127.0.0.1:9090"
CONFIG = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: nwscan
    static_configs: [{{targets: ["{exporter}"]}}]
"""
needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")


def got(lab: Lab, url: str) -> str:
    """What is answered inside the lab; nothing where nobody answers."""

    def ask() -> str:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - ours
            return str(answer.read().decode())
        return ""

    return call_in_network(lab.network, ask)


@contextlib.contextmanager
def exporting(lab: Lab, nwscan: Nwscan, *words: str) -> Iterator["subprocess.Popen[str]"]:
    process = lab.popen(["nwscan", "export", *words], env=nwscan.environment(1), stderr=subprocess.PIPE)
    try:
        wait_for(lambda: "nwscan_facts_up 1.0" in got(lab, f"http://{EXPORTER}/metrics"), "the exporter answers")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


@contextlib.contextmanager
def prometheus(lab: Lab, folder: Path) -> Iterator[None]:
    folder.mkdir()
    rules = nwscan_rules(lab, folder)
    (folder / "prometheus.yml").write_text(CONFIG.format(rules=rules, exporter=EXPORTER))
    command = [
        "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={PROMETHEUS}", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = lab.popen(command, stdout=log, stderr=log)
    try:
        wait_for(lambda: "is Ready" in got(lab, f"http://{PROMETHEUS}/-/ready"), "Prometheus is ready")
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def nwscan_rules(lab: Lab, folder: Path) -> Path:
    path = folder / "nwscan.yml"
    path.write_text(lab.run(["nwscan", "export", "--alerts"], check=True).stdout)
    return path


def query(lab: Lab, expression: str) -> dict[tuple[str, str], float]:
    """What Prometheus knows of an expression, by guest and class (or action, or verdict)."""
    answer = got(lab, f"http://{PROMETHEUS}/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
    if not answer:
        return {}
    found = {}
    for one in json.loads(answer)["data"]["result"]:
        labels = one["metric"]
        detail = next((labels[name] for name in ("class", "action", "verdict") if name in labels), "")
        found[labels.get("domain", ""), detail] = float(one["value"][1])
    return found


@needs_prometheus
def test_prometheus_has_exactly_what_was_sent(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    textfile = tmp_path / "nwscan.prom"
    words = ("--listen", EXPORTER, "--textfile", str(textfile), "--interval", "0.5")
    with exporting(lab, nwscan, *words) as exporter, prometheus(lab, tmp_path / "prometheus"):
        wait_for(lambda: query(lab, "nwscan_counting_up") != {}, "Prometheus has scraped once")
        truth = lab.send(Schedule(foreign=600, own=300, multicast=80, broadcast=40))
        to_vm1 = {
            ("vm1", "unicast_to_guest"): truth.frames[Kind.OWN],
            ("vm1", "multicast"): truth.frames[Kind.MULTICAST],
            ("vm1", "broadcast"): truth.frames[Kind.BROADCAST],
            ("vm1", "foreign_unicast"): truth.frames[Kind.FOREIGN],
        }
        for side in ("offered", "delivered"):
            expression = f'nwscan_{side}_frames_total{{domain="vm1",direction="in",source_bridge="{layout.BRIDGE}"}}'
            wait_for(partial(has, lab, expression, to_vm1), f"Prometheus has what was {side}")
        rules = json.loads(got(lab, f"http://{PROMETHEUS}/api/v1/rules"))["data"]["groups"][0]["rules"]
        assert len(rules) == 8
        wait_for(lambda: all_rules_are_healthy(lab), "every rule was evaluated")
        wait_for(lambda: f'"{layout.GUESTS["vm1"].mac}"' in textfile.read_text(), "the file is there")
        checked = lab.run(["promtool", "check", "metrics"], stdin=textfile.read_text())
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
        exporter.terminate()
        assert exporter.wait(timeout=30) == 0
        assert not textfile.exists()
    assert "nwscan-" not in lab.run(["nft", "list", "tables"], check=True).stdout


def has(lab: Lab, expression: str, values: Mapping[tuple[str, str], float]) -> bool:
    return query(lab, expression) == values


def all_rules_are_healthy(lab: Lab) -> bool:
    groups = json.loads(got(lab, f"http://{PROMETHEUS}/api/v1/rules"))["data"]["groups"]
    return {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}


def line_of(text: str, name: str, *labels: str) -> float:
    found = [line for line in text.splitlines() if line.startswith(f"{name}{{") and all(one in line for one in labels)]
    assert len(found) == 1, found
    return float(found[0].rsplit(" ", 1)[1])


def test_guests_come_and_go_while_it_counts(lab: Lab, nwscan: Nwscan) -> None:
    def told() -> str:
        return got(lab, f"http://{EXPORTER}/metrics")

    series = f'domain="{visible(HOSTILE)}"'.replace("\\", "\\\\")
    with exporting(lab, nwscan, "--listen", EXPORTER):
        assert series not in told()
        with paused_guest(lab, cards(), None, name=HOSTILE):
            wait_for(lambda: series in told(), "the guest that came is counted")
            lab.settle()
            assert line_of(told(), "nwscan_offered_frames_total", 'domain="vm1"', 'class="broadcast"') >= 0
        wait_for(lambda: series not in told(), "the guest that went is told no more")
        assert "nwscan_following_up 1.0" in told()
        lab.run(["ip", "link", "add", "aside0", "type", "veth", "peer", "name", "aside1"], check=True)
        lab.run(["ip", "link", "del", "aside0"], check=True)
        wait_for(lambda: "nwscan_uncounted_cards 0.0" in told(), "other interfaces are no cards")


def test_a_filter_its_hits_its_verdict_and_its_drift_are_told(scratch_lab: Lab, tmp_path: Path) -> None:
    lab, nwscan = scratch_lab, Nwscan(scratch_lab, tmp_path)
    with lab.sending(Schedule(foreign=60_000, own=20_000, rate_fps=300)):
        words = ["nwscan", "suggest", "vm1", "--apply", "--yes", "--force", "--confirm-within", "0"]
        applied = lab.run(words, env=nwscan.environment(3.0))
        assert applied.returncode in {0, 7}, applied.stderr + applied.stdout  # a busy machine may lose frames
        verified = lab.run(["nwscan", "verify", "vm1", "--json"], env=nwscan.environment(3.0))
        verdict = json.loads(verified.stdout)["verdict"]
        with exporting(lab, nwscan, "--listen", EXPORTER) as exporter:
            told = got(lab, f"http://{EXPORTER}/metrics")
            exporter.kill()  # and the kernel cleans up
    vm1 = 'domain="vm1"'
    assert line_of(told, "nwscan_rule_hits_total", vm1, 'action="drop"', 'direction="in"') > 100
    for each in ("effective", "no_effect", "harmful", "inconclusive"):
        assert line_of(told, "nwscan_verification_verdict", vm1, f'verdict="{each}"') == (each == verdict)
    assert line_of(told, "nwscan_filter_drift", vm1) == 0
    assert line_of(told, "nwscan_capture_frames", vm1) > 0
    assert line_of(told, "nwscan_capture_lost_frames", vm1) >= 0
    assert 'filter=""' not in next(
        line for line in told.splitlines() if line.startswith("nwscan_card_info") and vm1 in line
    )
    wait_for(lambda: "nwscan-" not in lab.run(["nft", "list", "tables"], check=True).stdout, "the table is gone")
    lab.virsh(f"nwfilter-binding-delete {lab.guest('vm1').tap}")
    with exporting(lab, nwscan, "--listen", EXPORTER):
        told = got(lab, f"http://{EXPORTER}/metrics")
    assert line_of(told, "nwscan_filter_drift", vm1) > 0
