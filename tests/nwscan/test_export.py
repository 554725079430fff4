"""The metrics as values, what ships with them, and what is refused. A real Prometheus scrapes them in tests/lab."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from analyzer.compare import Verdict
from analyzer.errors import HostError
from analyzer.host.meter import MeterReading
from analyzer.host.rule_listings import KernelRule, action_of
from analyzer.model.classes import FrameClass
from analyzer.model.identity import GuestIdentity, Provenance
from nwscan import kept
from nwscan.api.counting import CountedCard, HostCount, TapCount
from nwscan.api.facts import CardFacts, HostFacts, LastWindow
from nwscan.api.tap_counters import CountedBy
from nwscan.cli.export import parse_listen
from nwscan.kept import KeptReport, KeptVerdict
from nwscan.render.metrics import METRICS, HostCollector, reference, registry_of, serve, write_file
from nwscan.render.text import visible
from tests.nwscan.command import nwscan, typed

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "nwscan/dashboards"
REFERENCE = ROOT / "docs/metrics.md"
HOSTILE = 'vm"1\\\n\x1b[2J\u202e'
REFUSED = "the kernel refuses:\n\x1b[31m"
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (prometheus)")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def card(number: int, name: str) -> CountedCard:
    identity = GuestIdentity(
        (0x525400000000 + number,),
        Provenance.LIBVIRT_XML,
        name=name,
        uuid=f"u{number}",
        tap=f"vnet{number}",
        bridge="br0",
    )
    return CountedCard(identity, "nwscan-mac")


def tap(number: int, name: str = HOSTILE) -> TapCount:
    offered = np.arange(12, dtype=np.int64).reshape(6, 2) + 1000 * number
    return TapCount(card(number, name), MeterReading(offered, offered // 2), number, CountedBy.METER)


def facts() -> HostFacts:
    one = CardFacts(
        card(1, HOSTILE),
        {("in", "drop"): 41, ("out", "accept"): 2},
        LastWindow(1_700_000_000_000_000_000, 900, 9),
        KeptVerdict("effective", 1_700_000_001_000_000_000),
    )
    unknown = CardFacts(card(2, "vm2"), {}, LastWindow(None, 0, None), None)
    return HostFacts(1_700_000_002.0, (one, unknown), {(HOSTILE, "vnet1"): 0, ("vm2", ""): 3})


def collector(count: HostCount | None = None, found: HostFacts | None = None) -> HostCollector:
    count = count or HostCount(1.0, (tap(1), tap(2, "vm2")), (card(9, "aside"),), fallback=REFUSED)
    return HostCollector(lambda: count, lambda: found or facts())


def text_of(given: HostCollector) -> str:
    return generate_latest(registry_of(given)).decode()


def samples_of(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    (found,) = (number for (one, theirs), number in samples.items() if one == name and set(labels.items()) <= theirs)
    return found


def test_counts_are_told_by_side_direction_and_class_with_names_made_visible() -> None:
    samples = samples_of(text_of(collector()))
    where = {"domain": visible(HOSTILE), "source_bridge": "br0", "target_device": "vnet1"}
    for kind in FrameClass:
        if kind is FrameClass.UNCLASSIFIED:
            continue
        labels = {**where, "class": kind.key, "direction": "out" if kind is FrameClass.FROM_GUEST else "in"}
        assert value(samples, "nwscan_offered_frames_total", **labels) == 1000 + 2 * kind
        assert value(samples, "nwscan_offered_bytes_total", **labels) == 1000 + 2 * kind + 1
        assert value(samples, "nwscan_delivered_frames_total", **labels) == 500 + kind
    assert value(samples, "nwscan_tap_dropped_frames_total", **where) == 1
    assert value(samples, "nwscan_card_info", **where, filter="nwscan-mac", mac_address="52:54:00:00:00:01") == 1
    assert value(samples, "nwscan_card_info", **where, counted_by="meter") == 1
    assert value(samples, "nwscan_counting_fallback", reason=visible(REFUSED)) == 1
    assert value(samples, "nwscan_uncounted_cards") == 1
    assert value(samples, "nwscan_following_up") == 1
    for name, labels in samples:
        assert all(text.isprintable() for _, text in labels), name


def test_facts_are_told_and_unknown_is_missing_rather_than_nought() -> None:
    samples = samples_of(text_of(collector()))
    one = {"domain": visible(HOSTILE), "target_device": "vnet1"}
    assert value(samples, "nwscan_rule_hits_total", **one, direction="in", action="drop") == 41
    assert value(samples, "nwscan_filter_drift", **one) == 0
    assert value(samples, "nwscan_filter_drift", domain="vm2", target_device="") == 3
    assert value(samples, "nwscan_capture_lost_frames", **one) == 9
    assert value(samples, "nwscan_capture_end_timestamp_seconds", **one) == 1.7e9
    verdicts = {str(each): value(samples, "nwscan_verification_verdict", **one, verdict=str(each)) for each in Verdict}
    assert verdicts == {"effective": 1, "no_effect": 0, "harmful": 0, "inconclusive": 0}
    told_of_vm2 = {name for (name, labels) in samples if ("domain", "vm2") in labels}
    assert not told_of_vm2 & {"nwscan_capture_lost_frames", "nwscan_verification_verdict", "nwscan_rule_hits_total"}


def test_what_cannot_be_read_is_told_as_down_and_the_rest_is_there() -> None:
    def refuse() -> HostCount:
        raise HostError("the meter's table is gone")

    gone = samples_of(text_of(HostCollector(refuse, lambda: HostFacts(error=HostError("libvirt is away")))))
    assert value(gone, "nwscan_counting_up") == 0
    assert value(gone, "nwscan_facts_up") == 0
    assert not [name for name, _ in gone if name.startswith(("nwscan_offered", "nwscan_facts_time"))]
    away = samples_of(text_of(collector(HostCount(1.0, (), (), HostError("libvirt is away")))))
    assert value(away, "nwscan_following_up") == 0
    assert not [name for name, _ in away if name == "nwscan_counting_fallback"]


def families() -> dict[str, set[str]]:
    """The names that the exporter really gives, with their labels."""
    found: dict[str, set[str]] = {}
    for name, labels in samples_of(text_of(collector())):
        found.setdefault(name, set()).update(label for label, _ in labels)
    return found


def test_the_table_of_metrics_is_what_the_exporter_has() -> None:
    real = families()
    assert {one.sample: set(one.labels) for one in METRICS} == {
        name: labels for name, labels in real.items() if not name.startswith("process_")
    }
    assert {name for name in real if name.startswith("process_")} >= {"process_cpu_seconds_total"}


def test_the_generated_table_of_metrics_is_up_to_date() -> None:
    before, mark, _ = REFERENCE.read_text(encoding="utf-8").partition("<!-- generated -->\n")
    assert mark
    if os.environ.get("NWSCAN_REGENERATE") == "1":
        REFERENCE.write_text(before + mark + reference(), encoding="utf-8")
    assert REFERENCE.read_text(encoding="utf-8") == before + mark + reference()


def expressions() -> Iterator[str]:
    """Every query in the dashboard and in the rules."""
    dashboard: dict[str, Any] = json.loads((SHIPPED / "grafana.json").read_text(encoding="utf-8"))
    yield from (target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    yield from (one["query"] for one in dashboard["templating"]["list"] if one["type"] == "query")
    rules = (SHIPPED / "alerts.yml").read_text(encoding="utf-8")
    yield from re.findall(r"expr: (?:>-\n)?(.*?)\n +(?:for|labels):", rules, re.DOTALL)


OF_PROMETHEUS = {"instance", "job"}


def test_dashboard_and_rules_ask_for_metrics_and_labels_that_are_there() -> None:
    real, asked = families(), list(expressions())
    assert len(asked) > 20
    for query in asked:
        names = re.findall(r"nwscan_\w+", query)
        assert names, query
        assert set(names) <= set(real), query
        known = OF_PROMETHEUS | set.union(*(real[name] for name in names))
        grouped = {word.strip() for words in re.findall(r"(?:by|on) \(([^)]*)\)", query) for word in words.split(",")}
        selected = set(re.findall(r"[{,](\w+)(?:=~?|!=|!~)\"", query))
        assert grouped | selected <= known, query
        for name, selector in re.findall(r"(nwscan_\w+)\{([^}]*)\}", query):
            assert set(re.findall(r"(\w+)=", selector)) <= real[name] | OF_PROMETHEUS, query


def test_every_panel_has_its_place_and_the_dashboard_names_its_data_source() -> None:
    dashboard = json.loads((SHIPPED / "grafana.json").read_text(encoding="utf-8"))
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [
        (x, y)
        for one in places
        for x in range(one["x"], one["x"] + one["w"])
        for y in range(one["y"], one["y"] + one["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(one["x"] + one["w"] <= 24 for one in places)
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"${datasource}"}


def promtool(*words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *map(str, words)], input=stdin, capture_output=True, text=True, check=False)


@needs_promtool
def test_promtool_finds_nothing_to_say_of_the_metrics() -> None:
    done = promtool("check", "metrics", stdin=text_of(collector()))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


RULES_TEST = """\
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'nwscan_delivered_frames_total{{instance="h",domain="vm1",target_device="vnet0",class="{foreign}"}}'
        values: '0+120000x60'
      - series: 'nwscan_offered_frames_total{{instance="h",domain="vm1",target_device="vnet0",class="{foreign}"}}'
        values: '0+240000x60'
      - series: 'nwscan_verification_verdict{{instance="h",domain="vm1",target_device="vnet0",verdict="effective"}}'
        values: '1x60'
      - series: 'nwscan_filter_drift{{instance="h",domain="vm2",target_device="vnet1"}}'
        values: '0x20 2x40'
      - series: 'nwscan_counting_up{{instance="h"}}'
        values: '1x60'
    alert_rule_test:
      - eval_time: 30m
        alertname: NwscanGuestFlooded
        exp_alerts:
          - exp_labels: {{severity: warning, instance: h, domain: vm1, target_device: vnet0}}
            exp_annotations:
              summary: "vm1 gets 2k foreign frames a second"
              description: "See why with: nwscan explain vm1"
      - eval_time: 30m
        alertname: NwscanFilterLeaks
        exp_alerts:
          - exp_labels: {{severity: warning, instance: h, domain: vm1, target_device: vnet0}}
            exp_annotations:
              summary: "The filter of vm1 was effective and lets 50% through now"
              description: "See what changed with: nwscan status"
      - eval_time: 15m
        alertname: NwscanFilterDrift
        exp_alerts: []
      - eval_time: 30m
        alertname: NwscanFilterDrift
        exp_alerts:
          - exp_labels: {{severity: warning, instance: h, domain: vm2, target_device: vnet1}}
            exp_annotations:
              summary: "The filter of vm2 is not as nwscan left it"
              description: "See what is otherwise with: nwscan status"
      - eval_time: 30m
        alertname: NwscanNotCounting
        exp_alerts: []
"""


@needs_promtool
def test_the_rules_are_valid_and_fire_when_they_should(tmp_path: Path) -> None:
    done = promtool("check", "rules", SHIPPED / "alerts.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "test.yml").write_text(RULES_TEST.format(rules=SHIPPED / "alerts.yml", foreign="foreign_unicast"))
    done = promtool("test", "rules", tmp_path / "test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_ships_is_printed_as_it_is() -> None:
    assert nwscan("export", "--alerts").stdout == (SHIPPED / "alerts.yml").read_text(encoding="utf-8")
    assert nwscan("export", "--dashboard").stdout == (SHIPPED / "grafana.json").read_text(encoding="utf-8")
    assert "one of them" in nwscan("export", "--alerts", "--dashboard").error(2)["do"]


@pytest.mark.parametrize(
    "text", ["", "9879", ":9879", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "a:b", "h:\uff11"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert "127.0.0.1:9879" in nwscan("export", "--listen", text).error(2)["do"]


def test_addresses_are_read() -> None:
    assert parse_listen("[::1]:9879") == ("::1", 9879)
    assert parse_listen("0.0.0.0:1") == ("0.0.0.0", 1)  # noqa: S104 - an address that a person may want


def test_a_file_where_none_can_be_is_refused_before_anything_is_counted(tmp_path: Path) -> None:
    assert nwscan("export", "--textfile", tmp_path / "no" / "a.prom").error(4)["where"].endswith("a.prom")
    with pytest.raises(HostError, match="cannot write"):
        write_file(registry_of(collector()), tmp_path / "no" / "a.prom")


def test_a_device_is_never_replaced() -> None:
    assert nwscan("export", "--textfile", "/dev/full").error(2)["where"] == "--textfile /dev/full"
    assert Path("/dev/full").is_char_device()


def test_a_file_is_replaced_in_one_step_and_readable_to_the_node_exporter(tmp_path: Path) -> None:
    path = tmp_path / "nwscan.prom"
    path.write_text("before")
    with path.open() as reader:
        write_file(registry_of(collector()), path)
        assert reader.read() == "before"
    assert value(samples_of(path.read_text()), "nwscan_counting_up") == 1
    assert [one.name for one in tmp_path.iterdir()] == ["nwscan.prom"]


def test_without_its_library_it_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['prometheus_client'] = None\n")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(typed("export"), env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'nwscan[export]'" in done.stderr


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HostError, match="cannot listen: Address already in use"):
            serve(registry_of(collector()), "127.0.0.1", port)


def test_what_a_rule_does_is_one_of_four() -> None:
    def rule(text: str) -> KernelRule:
        return KernelRule(text, 1, 1, "chain", "table", to_guest=True)

    assert action_of(rule("-d 52:54:00:00:00:01 -j RETURN")) == "return"
    assert action_of(rule("-p IPv4 -j ACCEPT")) == "accept"
    assert action_of(rule("-j DROP")) == "drop"
    assert action_of(rule("ether daddr 52:54:00:00:00:01 counter reject")) == "drop"
    assert action_of(rule("-j O-vnet0-mac")) == "continue"


def test_the_last_verdict_is_kept_beside_its_window_and_read_again(tmp_path: Path) -> None:
    identity = card(1, "vm1").identity
    assert kept.latest_verdict(tmp_path, identity) is None
    folder = kept.new_window_folder(tmp_path, identity)
    path = folder / kept.REPORT_NAME
    path.write_text("{}")
    kept.add_verdict(KeptReport(path, None), "effective")  # type: ignore[arg-type] - the path is all that counts
    found = kept.latest_verdict(tmp_path, identity)
    assert found is not None
    assert found.verdict == "effective"
    later = kept.new_window_folder(tmp_path, identity)
    (later / kept.VERDICT_NAME).write_text("not one")
    assert kept.latest_verdict(tmp_path, identity) == found
    path.unlink()
    kept.add_verdict(KeptReport(path, None), "harmful")  # type: ignore[arg-type] - the window is gone
    assert kept.latest_verdict(tmp_path, identity) == found
