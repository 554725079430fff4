"""The HTML report, in a real browser: it renders by itself, fits, says in words what it draws, and runs nothing."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from tests.nwscan.browser import Page, browser, is_installed
from tests.nwscan.command import AFTER, BEFORE, MAC, VLAN, nwscan
from tests.nwscan.kept_state import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.nwscan.command import Ended

INPUT, HOST = 3, 4
MARKUP = "</td><script>alert(1)</script><img src=http://192.0.2.1/x onerror=alert(1)><style>*{display:none}</style>"


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with everything that a page can show."""
    folder = tmp_path_factory.mktemp("documents")
    for name, capture in (("before", BEFORE), ("after", AFTER)):
        assert nwscan("analyze", capture, "-o", folder / f"{name}.json").code == 0
    write(folder / "suggestion.json", nwscan("suggest", "--from", BEFORE, "--json"))
    pair = ("--before", folder / "before.json", "--after", folder / "after.json")
    write(folder / "verdict.json", nwscan("verify", *pair, "--json"))
    return folder


def write(path: Path, ended: Ended) -> None:
    path.write_text(ended.stdout)


def made(folder: Path, *names: str, page: str = "page.html") -> Path:
    path = folder / page
    ended = nwscan("report", *(folder / name for name in names), "--html", path)
    assert (ended.code, ended.stdout) == (0, ""), str(ended)
    return path


def hostile(value: Any, text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Give a document in which every string that may hold anything holds ``text``."""
    if isinstance(value, list):
        return [hostile(item, text) for item in value]
    if not isinstance(value, dict):
        return value
    free = {"name", "tap", "bridge", "text", "sentence", "remedy", "risk", "why", "reason", "hint", "profile"}
    free |= {"xml", "state", "stopped_early"}
    lists = {"notes", "evidence", "risks", "remarks", "not_compared", "install", "undo"}
    return {
        key: text
        if key in free and isinstance(item, str)
        else [text, text]
        if key in lists and all(isinstance(each, str) for each in item)
        else hostile(item, text)
        for key, item in value.items()
    }


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if not is_installed():
        pytest.skip("chromium is not installed")
    with browser() as running:
        yield Page(running)


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width_px", [1280, 400])
def test_it_renders_by_itself_and_fits(page: Page, documents: Path, width_px: int, *, dark: bool) -> None:
    path = made(documents, "before.json", "suggestion.json", "verdict.json")
    page.show(path, width_px, dark=dark)
    assert page.complaints() == []
    assert page.requests() == [path.as_uri()]
    assert page.value("document.documentElement.scrollWidth") == width_px
    assert page.value(OUTSIDE) == []
    shown = "[...document.querySelectorAll('svg')].filter(e => e.checkVisibility()).map(e => e.viewBox.baseVal.width)"
    assert set(page.value(shown)) == {680 if width_px == 1280 else 340}
    assert len(page.value(shown)) == 3
    light, ink = ([int(number) for number in re.findall(r"\d+", page.value(colour))[:3]] for colour in COLOURS)
    assert (sum(light) < sum(ink)) == dark
    assert page.screenshot().startswith(b"\x89PNG")


OUTSIDE = (
    "[...document.querySelectorAll('main *')].filter(e => e.checkVisibility() && !e.closest('.hidden, thead') &&"
    " (r => r.width && (r.left < 0 || r.right > innerWidth))(e.getBoundingClientRect())).map(e => e.outerHTML)"
)
COLOURS = (
    "getComputedStyle(document.body).backgroundColor",
    "getComputedStyle(document.querySelector('svg text')).fill",
)


@pytest.mark.slow
def test_it_says_in_words_what_it_draws(page: Page, documents: Path) -> None:
    page.show(made(documents, "before.json", "suggestion.json", "verdict.json"), 1280)
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    named = {
        kind: [
            (node["name"]["value"], node.get("description", {}).get("value", ""))
            for node in nodes
            if kind in roles(node)
        ]
        for kind in ("image", "table", "heading")
    }
    assert [name for name, _ in named["image"]] == [f"{title} {text}" for title, text in page.value(DESCRIBED)]
    assert any("foreign unicast 600 (69.3 %)" in name for name, _ in named["image"])
    tables = [name for name, _ in named["table"]]
    assert {"The classes, in figures", "Who floods whom", "Before and after, in figures"} <= set(tables)
    assert named["heading"][0][0].startswith("vm1 sees 69.3 % traffic that is not its own")


DESCRIBED = (
    "[...document.querySelectorAll('svg')].filter(e => e.checkVisibility())"
    ".map(e => [e.querySelector('title').textContent, e.querySelector('desc').textContent])"
)


def roles(node: dict[str, Any]) -> set[str]:
    role = {"img": "image"}.get(node.get("role", {}).get("value"), node.get("role", {}).get("value"))
    return set() if node.get("ignored") else {role}


@pytest.mark.slow
def test_it_prints_light_on_few_sheets(page: Page, documents: Path) -> None:
    page.show(made(documents, "before.json", "suggestion.json", "verdict.json"), 1280, dark=True)
    printed = page.pdf()
    assert printed.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 8
    page.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", [MARKUP, HOSTILE, "x" * 3000, "{{ 7 * 7 }}{% raw %}"], ids=["markup", "escapes", "long", "template"]
)
def test_hostile_names_stay_text_and_fit(page: Page, documents: Path, text: str) -> None:
    names = ["before.json", "suggestion.json", "verdict.json"]
    for name in names:
        document = hostile(json.loads((documents / name).read_text()), text)
        for window in document.get("windows", []):
            window["source"] = text
        (documents / f"hostile-{name}").write_text(json.dumps(document))
    path = made(documents, *(f"hostile-{name}" for name in names), page="hostile.html")
    written = path.read_text()
    assert written.replace("\n", "").isprintable()
    for width_px in (1280, 400):
        page.show(path, width_px)
        assert page.complaints() == []
        assert page.requests() == [path.as_uri()]
        assert page.value("document.documentElement.scrollWidth") == width_px
        assert page.value("document.querySelectorAll('script, img, iframe, object, link, form').length") == 0
        assert page.value("document.querySelectorAll('style').length") == 1
    assert "49" not in page.value("document.querySelector('h1').textContent")
    shown = text.encode("unicode_escape").decode() if text == HOSTILE else text
    assert shown[:40] in page.value("document.body.textContent")


def largest(value: Any, most: int) -> Any:  # noqa: ANN401 - any JSON value
    """Give a document in which every number is as large as it may be."""
    if isinstance(value, list):
        return [largest(item, most) for item in value]
    if isinstance(value, dict):
        return {key: largest(item, most) for key, item in value.items()}
    return most if isinstance(value, int | float) and not isinstance(value, bool) else value


@pytest.mark.slow
def test_the_largest_numbers_fit(page: Page, documents: Path) -> None:
    report, most = json.loads((documents / "before.json").read_text()), 2**56
    report |= {key: largest(report[key], most // 8) for key in ("foreign_talkers", "groups")}
    report["classes"] = {kind: {"frames": most // 8, "octets": most} for kind in report["classes"]}
    report["windows"][0] |= {"frames_seen": most // 8 * 6, "frames_lost": most}
    report["subclasses"] = []
    (documents / "large.json").write_text(json.dumps(report))
    verdict = json.loads((documents / "verdict.json").read_text())
    verdict["classes"] = largest(verdict["classes"], most)
    for row in verdict["classes"]:
        row |= {key: {"frames": most, "octets": most} for key in ("offered", "delivered")}
    (documents / "large-verdict.json").write_text(json.dumps(verdict))
    path = made(documents, "large.json", "large-verdict.json", page="large.html")
    for width_px in (1280, 400):
        page.show(path, width_px)
        assert page.value("document.documentElement.scrollWidth") == width_px
        assert page.value(OUTSIDE) == []


class Tags(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_same_documents_give_the_same_page_and_nothing_is_loaded(documents: Path) -> None:
    names = ("before.json", "suggestion.json", "verdict.json")
    one = made(documents, *names).read_text()
    assert made(documents, *names, page="again.html").read_text() == one
    tags = Tags()
    tags.feed(one)
    policy = next(attrs["content"] for tag, attrs in tags.found if attrs.get("http-equiv") == "Content-Security-Policy")
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'", policy or ""
    )
    assert {tag for tag, _ in tags.found} & {"script", "img", "link", "iframe", "object", "embed", "form"} == set()
    assert [attrs for _, attrs in tags.found if "style" in attrs or any(name.startswith("on") for name in attrs)] == []
    identifiers = [attrs["id"] for _, attrs in tags.found if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))
    assert not re.search(r"url\((?!#)|@import|@font-face", one)


def test_a_page_has_what_the_documents_have(documents: Path) -> None:
    whole = made(documents, "before.json", "suggestion.json", "verdict.json").read_text()
    for words in (
        "vm1 sees 69.3 % traffic that is not its own",
        "600 of 600 foreign frames",
        "Who floods whom",
        "Multicast groups",
        "0.00 (0.00..0.01)",
        "inconclusive",
        "drop unicast to any other MAC",
        "&lt;filter name=",
        "virsh nwfilter-define",
    ):
        assert words in whole
    alone = made(documents, "verdict.json", page="alone.html").read_text()
    assert "The proof" in alone
    assert "Who floods whom" not in alone
    (documents / "causes.json").write_text(
        json.dumps(
            json.loads((documents / "before.json").read_text())
            | {
                "causes": [
                    {"name": "x", "sentence": "the bridge forgot", "evidence": ["no entry"], "remedy": "add it"}
                    | {"risk": "none", "frames": 567, "octets": 1}
                ]
            }
        )
    )
    assert "94.5 % of the foreign frames" in made(documents, "causes.json", page="causes.html").read_text()


def test_many_cards_begin_with_who_suffers_most(documents: Path) -> None:
    calm = json.loads((documents / "after.json").read_text())
    calm["guest"] |= {"macs": ["52:54:00:00:00:02"], "name": "calm"}
    (documents / "calm.json").write_text(json.dumps(calm))
    text = made(documents, "calm.json", "before.json", page="many.html").read_text()
    assert "<h1>Of 2 cards, vm1 sees 69.3 % traffic that is not its own: 30.0 frames/s, 115 kbit/s</h1>" in text
    assert text.index('data-name="guest">vm1') < text.index('data-name="guest">calm')


def test_an_empty_report_has_a_page(documents: Path) -> None:
    report = json.loads(nwscan("analyze", VLAN, "--mac", MAC, "--json").stdout)
    report["classes"] = {kind: {"frames": 0, "octets": 0} for kind in report["classes"]}
    report |= {
        key: [] for key in ("windows", "timeline", "foreign_talkers", "groups", "senders", "subclasses", "samples")
    }
    (documents / "empty.json").write_text(json.dumps(report))
    assert "not one frame was seen" in made(documents, "empty.json", page="empty.html").read_text()


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("verdict.json", {"classes": [{"class": "frob"}]}),
        ("verdict.json", {"why": 7}),
        ("suggestion.json", {"prediction": {"schema": "x"}}),
        ("suggestion.json", {"evidence": [{"text": "x", "frames": -1}]}),
        ("before.json", {"schema": "nwscan.frob/1"}),
    ],
)
def test_a_document_of_another_shape_is_refused(documents: Path, name: str, keys: dict[str, Any]) -> None:
    path = documents / "edited.json"
    path.write_text(json.dumps(json.loads((documents / name).read_text()) | keys))
    assert nwscan("report", path, "--html", documents / "none.html").error(INPUT)["where"] == str(path)
    assert not (documents / "none.html").exists()


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_the_extra_it_says_what_to_install(
    documents: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    error = nwscan("report", documents / "before.json", "--html", documents / "none.html").error(HOST)
    assert "nwscan[html]" in error["do"]
