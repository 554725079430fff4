"""``report --parquet``: a dataset that pandas, DuckDB and Polars read back to the frame."""

from __future__ import annotations

import functools
import json
import stat
import sys
from datetime import date
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import nwscan as api
from analyzer.report.parquet import CARD_COLUMNS
from analyzer.report.table_columns import BY_CLASS, GROUPS, TALKERS, TIMELINE
from tests.nwscan.command import AFTER, BEFORE, MAC, VLAN, nwscan
from tests.nwscan.kept_state import HOSTILE

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.report.table_columns import TableShape

HOST = 4
TABLES = (BY_CLASS, TIMELINE, TALKERS, GROUPS)


@functools.cache
def analyzed(capture: Path) -> str:
    return nwscan("analyze", capture, "--mac", MAC, "--json").stdout


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "before.json"
    document = json.loads(analyzed(BEFORE))
    document["guest"]["name"] = "vm1"
    path.write_text(json.dumps(document))
    return path


def written(folder: Path, *reports: Path, host: str = "hv1") -> Path:
    ended = nwscan("report", *reports, "--parquet", folder, "--host", host)
    assert (ended.code, ended.stdout) == (0, ""), str(ended)
    return folder


@pytest.mark.parametrize("shape", TABLES, ids=lambda shape: shape.name)
def test_pandas_reads_what_the_report_has(tmp_path: Path, report: Path, shape: TableShape) -> None:
    read = pd.read_parquet(written(tmp_path / "set", report) / shape.name)
    expected: pd.DataFrame = getattr(api.load(report), shape.name)()
    names = [each.name for each in shape.columns]
    assert list(read.columns) == [*(each.name for each in CARD_COLUMNS), *names, "host", "guest", "date"]
    for name in names:
        one, other = ([str(value) for value in table[name]] for table in (read, expected))
        assert [text.replace("<NA>", "None") for text in one] == [text.replace("<NA>", "None") for text in other]
    assert set(read["host"]) == {"hv1"}
    assert set(read["guest"]) == {"vm1"}
    assert set(read["mac"]) == {MAC}
    assert read["begin"].iloc[0] == pd.Timestamp("2026-01-01", tz="UTC")


@pytest.mark.parametrize("shape", TABLES, ids=lambda shape: shape.name)
def test_every_column_tells_its_unit_and_meaning(tmp_path: Path, report: Path, shape: TableShape) -> None:
    (file,) = (written(tmp_path / "set", report) / shape.name).rglob("*.parquet")
    schema = pq.read_schema(file)
    for each in (*CARD_COLUMNS, *shape.columns):
        known = schema.field(each.name).metadata
        assert known[b"meaning"].decode() == each.meaning
        assert known.get(b"unit", b"").decode() == (each.unit or "")
    told = json.loads(schema.metadata[b"nwscan.columns"])
    assert told["frames"] == {"unit": "frames", "meaning": "how many"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    asked = "SELECT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = 'nwscan.table'"
    known_to_duckdb = duckdb.execute(asked, [str(file)])
    assert known_to_duckdb.fetchall() == [(shape.name,)]


def test_duckdb_and_polars_agree_over_days_and_guests(tmp_path: Path, report: Path) -> None:
    folder = written(tmp_path / "set", report)
    later = tmp_path / "after.json"
    document = json.loads(analyzed(AFTER).replace("2026-01-01T", "2026-01-02T"))
    document["guest"] |= {"name": "vm 2/a=b", "macs": ["52:54:00:00:00:02"]}
    later.write_text(json.dumps(document))
    written(folder, later, host="hv2")
    expected = [
        ("hv1", "vm1", date(2026, 1, 1), "foreign_unicast", 600),
        ("hv1", "vm1", date(2026, 1, 1), "unicast_to_guest", 160),
        ("hv2", "vm 2/a=b", date(2026, 1, 2), "foreign_unicast", 0),
        ("hv2", "vm 2/a=b", date(2026, 1, 2), "unicast_to_guest", 160),
    ]
    pattern = f"{folder}/by_class/**/*.parquet"
    asked = duckdb.execute(
        "SELECT host, guest, date, class, frames FROM read_parquet(?, hive_partitioning = true)"
        " WHERE class IN ('foreign_unicast', 'unicast_to_guest') ORDER BY host, class",
        [pattern],
    )
    assert asked.fetchall() == expected
    columns = ["host", "guest", "date", "class", "frames"]
    frame = pl.read_parquet(pattern, hive_partitioning=True, try_parse_hive_dates=True)
    chosen = frame.select(columns)
    chosen = chosen.filter(pl.col("class").is_in(["foreign_unicast", "unicast_to_guest"])).sort("host", "class")
    assert chosen.rows() == expected


def test_a_report_that_is_there_already_is_not_there_twice(tmp_path: Path, report: Path) -> None:
    folder = written(tmp_path / "set", report)
    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    assert len(before) == 4
    written(folder, report)
    assert {path: path.read_bytes() for path in folder.rglob("*.parquet")} == before


@pytest.mark.parametrize("name", [HOSTILE, "../../../etc", "..", "a" * 4000, "\U0001f9a0" * 500, "a=b/c%2F", ""])
def test_a_hostile_name_stays_in_its_folder(tmp_path: Path, report: Path, name: str) -> None:
    document = json.loads(report.read_text())
    document["guest"]["name"] = name
    hostile = tmp_path / "hostile.json"
    hostile.write_text(json.dumps(document))
    folder = written(tmp_path / "deep" / "set", hostile, host=name or "hv1")
    files = [path for path in tmp_path.rglob("*.parquet") if path.is_file()]
    assert len(files) == 4
    for path in files:
        inside = path.relative_to(folder).parts
        assert [part.partition("=")[0] for part in inside[1:-1]] == ["host", "guest", "date"]
        assert ".." not in inside
    read = pd.read_parquet(folder / "by_class")
    assert len(read) == 6
    if name and len(name) < 100:
        assert set(read["guest"]) == {name}


def test_tables_without_a_row_and_times_that_nobody_knows(tmp_path: Path, report: Path) -> None:
    document: dict[str, Any] = json.loads(analyzed(VLAN))
    document["windows"][0] |= {"start": None, "end": None}
    document |= {"timeline": [], "foreign_talkers": [], "groups": []}
    path = tmp_path / "bare.json"
    path.write_text(json.dumps(document))
    folder = written(tmp_path / "set", path)
    for shape in TABLES:
        (file,) = (folder / shape.name).rglob("*.parquet")
        read = pd.read_parquet(file, partitioning=None)
        assert len(read) == (6 if shape is BY_CLASS else 0)
        assert list(read.columns)[: len(CARD_COLUMNS)] == [each.name for each in CARD_COLUMNS]
        schema = pq.read_schema(next((folder / shape.name).rglob("*.parquet")))
        assert str(schema.field("begin").type) == "timestamp[ns, tz=UTC]"
    both = pd.read_parquet(written(folder, report) / "by_class").sort_values("begin")
    assert both["begin"].isna().tolist() == [False] * 6 + [True] * 6
    assert both["date"].astype(str).tolist() == ["2026-01-01"] * 6 + ["unknown"] * 6


def test_what_cannot_be_written_is_said(tmp_path: Path, report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    error = nwscan("report", report, "--parquet", tmp_path / "file").error(HOST)
    assert str(tmp_path / "file") in error["where"]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "nwscan[parquet]" in nwscan("report", report, "--parquet", tmp_path / "set").error(HOST)["do"]
