"""``nwscan filters``: one filter in full from files, and the host's filters as a libvirt that stands in tells them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import pytest

from analyzer.host.guests import Binding, GuestCard
from analyzer.model.identity import GuestIdentity, Provenance
from nwscan.cli.main import main

STOCK = Path("/etc/libvirt/nwfilter")
NOWHERE = ("--connect", "qemu+unix:///system?socket=/nonexistent")
Json = dict[str, Any]
HOST = {
    "base": "<filter name='base'><rule action='drop' direction='in'><mac dstmacaddr='$X'/></rule></filter>",
    "top": "<filter name='top' chain='root'><filterref filter='base'/><filterref filter='gone'/></filter>",
    "odd": "<filter name='odd'><rule action='explode' direction='in'/></filter>",
    "\x1b[31mred": "<filter name='red'/>",
}


def card(name: str, **values: Any) -> GuestCard:  # noqa: ANN401 whatever the card has
    identity = GuestIdentity((0x525400000001,), Provenance.LIBVIRT_XML, name=name, card=0, tap=values.pop("tap", None))
    known = {"interface_type": "bridge", "model": "virtio", "filterref": None, "persistent": True, "running": False}
    return GuestCard(identity=identity, **{**known, "live_xml": None, "inactive_xml": None, **values})


CARDS = [
    card("vm1", tap="vnet0", running=True, filterref=("base", (("X", "02:00:00:00:00:01"),))),
    card("vm2", running=False, filterref=("top", ()), inactive_filterref=("top", ())),
    card("vm3", running=True, tap="vnet2", filterref=("lost", ()), inactive_filterref=("base", ())),
]


class FakeHost:
    """What LibvirtReader answers, without libvirt."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def filter_names(self) -> tuple[str, ...]:
        return tuple(sorted(HOST))

    def filter_xml(self, name: str) -> str:
        return HOST[name]

    def cards(self) -> list[GuestCard]:
        return CARDS

    def bindings(self) -> tuple[Binding, ...]:
        return (Binding("vnet0", "base", (("X", "02:00:00:00:00:01"), ("X", "02:00:00:00:00:02"))),)

    def resolve(self, target: str, *, need_tap: bool = True) -> tuple[GuestCard, ...]:
        assert not need_tap
        return tuple(one for one in CARDS if one.identity.name == target)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwscan.api.filters.LibvirtReader", FakeHost)
    monkeypatch.setattr("nwscan.api.filter_tree.LibvirtReader", FakeHost)


def document(capsys: pytest.CaptureFixture[str], *words: str) -> Json:
    assert main(["filters", *words, "--json"]) == 0
    found: Json = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.usefixtures("host")
def test_who_refers_to_whom_and_who_uses_what(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys)
    assert found["schema"] == "nwscan.filters/1"
    rows = {row["name"]: row for row in found["filters"]}
    assert set(rows) == {*HOST, "gone", "lost"}
    base = rows["base"]
    assert (base["chain"], base["priority"], base["rules"], base["referenced_by"]) == ("root", 0, 1, ["top"])
    uses = [(use["guest"], use["card"], use["tap"], use["live"], use["inactive"]) for use in base["uses"]]
    assert uses == [("vm1", 0, "vnet0", True, False), ("vm3", 0, "vnet2", False, True)]
    assert rows["top"]["references"] == ["base", "gone"]
    assert [(use["guest"], use["live"], use["inactive"]) for use in rows["top"]["uses"]] == [("vm2", False, True)]
    assert (rows["gone"]["error"], rows["gone"]["referenced_by"], rows["gone"]["rules"]) == ("missing", ["top"], None)
    assert rows["lost"]["error"] == "missing"
    assert "explode" in rows["odd"]["error"]


@pytest.mark.usefixtures("host")
def test_the_table_escapes_names_and_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["filters"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "6 nwfilters, 3 of them on a guest's card" in text
    assert "gone: missing (named by top)" in text
    assert "vm1:0 (now only)" in " ".join(text.split())


@pytest.mark.usefixtures("host")
def test_one_filter_with_the_parameters_that_act_on_a_guest_now(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "base", "--guest", "vm1")
    assert found["guest"] == {"name": "vm1", "card": 0, "tap": "vnet0"}
    assert found["variables"] == {"MAC": ["52:54:00:00:00:01"], "X": ["02:00:00:00:00:01", "02:00:00:00:00:02"]}
    assert found["commands"] == [
        f"ebtables --concurrent -t nat -A libvirt-O-vnet0 -d 02:00:00:00:00:0{number} -j DROP" for number in (1, 2)
    ]
    told = document(capsys, "base", "--guest", "vm1", "-p", "X=02:00:00:00:00:07")
    assert [step["condition"] for step in told["order"]] == ["-d 02:00:00:00:00:07"]


@pytest.mark.usefixtures("host")
def test_without_a_guest_variables_stand_as_they_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "base")
    assert found["lacking"] == ["X"]
    assert [step["condition"] for step in found["order"]] == ["-d $X"]


@pytest.mark.usefixtures("host")
def test_a_tree_that_is_not_complete_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "top", "-p", "X=02:00:00:00:00:07")
    assert found["order"] is None
    assert found["commands"] is None
    assert [(row["depth"], row["name"], row["place"]) for row in found["tree"]] == [
        (0, "top", "libvirt"),
        (1, "base", "libvirt"),
        (1, "gone", None),
    ]
    assert any(each["effect"] == "fails" and "gone" in each["what"] for each in found["findings"])
    assert main(["filters", "top"]) == 0
    assert "missing" in capsys.readouterr().out


@pytest.mark.usefixtures("host")
def test_wrong_words(capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in ((("nosuch",), "there is no filter nosuch"), (("--guest", "vm1"), "of which filter?")):
        assert main(["filters", *words]) == 2
        assert expected in capsys.readouterr().err


def test_the_order_is_that_of_the_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    if not STOCK.is_dir():
        pytest.skip("libvirt's filters are not installed (libvirt-daemon-config-nwfilter)")
    words = ("clean-traffic", "--library", str(STOCK), "-p", "IP=192.0.2.20", "-p", "MAC=52:54:00:00:00:01")
    found = document(capsys, *words)
    inwards = [(step["chain"], step["action"], step["origin"]) for step in found["order"] if step["to_guest"]]
    assert inwards == [
        ("root", "chain ipv4", None),
        ("ipv4", "accept", "allow-incoming-ipv4#1"),
        ("root", "accept", "clean-traffic#6"),
        ("root", "chain rarp", None),
        ("rarp", "accept", "qemu-announce-self-rarp#2"),
        ("rarp", "drop", "no-other-rarp-traffic#1"),
        ("root", "drop", "no-other-l2-traffic#1"),
    ]
    depths = {row["name"]: row["depth"] for row in found["tree"]}
    assert (depths["clean-traffic"], depths["no-arp-spoofing"], depths["no-arp-ip-spoofing"]) == (0, 1, 2)
    assert main([*NOWHERE, "filters", *words]) == 0
    text = capsys.readouterr().out
    assert text.index("Frames to the guest") < text.index("Frames from the guest") < text.index("It becomes, on TAP")


def test_every_rule_stands_once_in_the_order(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "all.xml"
    path.write_text(
        "<filter name='all' chain='root'>"
        "<rule action='accept' direction='inout' priority='5'><mac protocolid='arp'/></rule>"
        "<rule action='drop' direction='in' priority='9'><tcp dstportstart='22'/></rule>"
        "<rule action='drop' direction='inout' priority='7'><ipv6 protocol='udp'/></rule></filter>"
    )
    found = document(capsys, str(path))
    assert len(found["order"]) == len(found["commands"])
    assert [step["program"] for step in found["order"] if step["to_guest"]] == ["ebtables", "ebtables", "iptables"]
    assert main(["filters", str(path)]) == 0
    assert "iptables -p tcp" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("leaf", ["", "<rule action='drop' direction='in'/>"])
def test_a_tree_that_doubles_with_each_level_ends(
    leaf: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(30):
        inner = f"<filterref filter='f{number + 1}'/>" * 2 if number < 29 else leaf
        (tmp_path / f"f{number}.xml").write_text(f"<filter name='f{number}'>{inner}</filter>")
    found = document(capsys, str(tmp_path / "f0.xml"))
    assert found["order"] is None
    assert len(found["tree"]) <= 500
    assert any("along more than" in each["what"] for each in found["findings"])


def test_names_stay_whole_in_a_pipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root, child = "nwscan-6f3c1b2a-0", "nwscan-6f3c1b2a-0-allow-ipv4"
    mac = "<mac dstmacaddr='01:00:00:00:00:00' dstmacmask='$M'/>"
    (tmp_path / "c.xml").write_text(f"<filter name='{child}'><rule action='drop' direction='in'>{mac}</rule></filter>")
    (tmp_path / "r.xml").write_text(f"<filter name='{root}'><filterref filter='{child}'/></filter>")
    words = ["filters", str(tmp_path / "r.xml"), "--library", str(tmp_path), "-p", "M=01:00:00:00:00:00"]
    assert main([*NOWHERE, *words]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert f"{child}#1" in [line.split()[-1] for line in lines if line]
    assert any("01:00:00:00:00:00/01:00:00:00:00:00" in line for line in lines)
    assert any(line.startswith(child) for line in lines)


@pytest.mark.usefixtures("host")
def test_what_the_hosts_filters_refer_to_stands_below_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "nwscan-6f3c1b2a-0-allow-ipv4"
    monkeypatch.setitem(HOST, "top2", f"<filter name='top2'><filterref filter='{name}'/></filter>")
    monkeypatch.setitem(HOST, name, f"<filter name='{name}' chain='ipv4-nws' priority='-705'/>")
    assert main(["filters"]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert [name] in lines
    assert [name, "ipv4-nws", "-705", "0", "-"] in lines
    assert max(map(len, out.splitlines())) <= 80
