"""The site of the documentation: it is built without a warning, has every page, and fetches nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import site

ROOT = Path(__file__).parents[1]
ELSEWHERE = re.compile(r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert site.build(folder) == 0
    return folder


def test_every_page_is_on_the_site(built: Path) -> None:
    pages = [place for place in site.sources().values() if place.endswith(".md")]
    names = [re.sub(r"README\.md$", "index.md", page) for page in pages]
    assert len(names) > 20
    assert [name for name in names if not (built / name).with_suffix(".html").exists()] == []
    assert (built / "schemas/report-1.json").read_text() == (ROOT / "nwscan/schemas/report-1.json").read_text()


def test_nothing_is_fetched_from_elsewhere(built: Path) -> None:
    fetched = {url for page in built.rglob("*.html") for url in ELSEWHERE.findall(page.read_text(encoding="utf-8"))}
    assert fetched == set()


def test_blocks_and_links_are_those_of_the_site() -> None:
    places = {"README.md": "index.md", "docs/causes.md": "causes.md", "docs/adr/README.md": "adr/README.md"}
    text = (
        "[a](docs/causes.md#rules) [b](docs/adr) [c](LICENSE) ![d](docs/causes.md) [e](causes:x)\n```console lab\n```\n"
    )
    expected = "[a](causes.md#rules) [b](adr/README.md) c ![d](causes.md) [e](causes:x)\n```console\n```\n"
    assert site.adapted(text, "README.md", places) == expected
    assert site.adapted("[a](../../README.md)\n", "docs/adr/README.md", places) == "[a](../index.md)\n"


def test_a_link_that_leads_nowhere_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(site, "adapted", lambda text, *_: f"{text}\n[gone](no-such-page.md)\n")
    assert site.build(tmp_path / "site") != 0
    assert "no-such-page.md" in capfd.readouterr().err


def test_lists_are_lists_for_the_builder_too() -> None:
    """Python-Markdown wants four blanks before a list in a list, and an empty line before any list."""
    wrong = []
    for source in (source for source in site.sources() if source.endswith(".md")):
        text = re.sub(r"^```.*?^```$", "", (ROOT / source).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        item = r"(?:[-*]|\d+\.) "
        wrong += [f"{source}: {found}" for found in re.findall(rf"^ {{1,3}}{item}.*$", text, re.MULTILINE)]
        starts = re.findall(rf"^(?!{item}|\s|#)\S.*\n({item}.*)$", text, re.MULTILINE)
        wrong += [f"{source}: {found}" for found in starts]
    assert wrong == []
