from __future__ import annotations

import shlex
from dataclasses import replace

from generator.nwfilter.model import Filter
from generator.nwfilter.xml import read_filter, read_filterref
from generator.suggest.by_hand import by_hand, virsh_commands
from generator.suggest.profiles import mac_profile
from tests.generator.suggest.cases import BARE, CARD, CARD_WITH_OLD, GUEST, INTERFACE

OLD = Filter("old", "0b2a0d2e-5f7c-4f5b-b1a5-7b8d0a2f0001")
ROOT = "nwscan-6f3c1b2a-0"


def test_with_a_card() -> None:
    recipe = by_hand(mac_profile(CARD_WITH_OLD, library={"old": OLD}), card=CARD_WITH_OLD)
    assert recipe.install == (
        f"virsh nwfilter-define --validate {ROOT}-mac.xml",
        f"virsh nwfilter-define --validate {ROOT}.xml",
        f"virsh update-device vm1 {ROOT}-live.xml --live",
        f"virsh update-device vm1 {ROOT}-config.xml --config",
    )
    assert recipe.undo == (
        f"virsh update-device vm1 before-{ROOT}-live.xml --live",
        f"virsh update-device vm1 before-{ROOT}-config.xml --config",
        f"virsh nwfilter-undefine {ROOT}",
        f"virsh nwfilter-undefine {ROOT}-mac",
    )
    files = dict(recipe.files)
    assert files[f"before-{ROOT}-live.xml"] == INTERFACE
    reference = read_filterref(files[f"{ROOT}-config.xml"])
    assert reference is not None
    assert reference.filter == ROOT
    assert read_filter(files[f"{ROOT}.xml"]).filter.references[1].filter == "old"


def test_every_file_that_is_named_is_given() -> None:
    recipe = by_hand(mac_profile(CARD_WITH_OLD, library={"old": OLD}), card=CARD_WITH_OLD)
    named = {word for line in (*recipe.install, *recipe.undo) for word in shlex.split(line) if word.endswith(".xml")}
    assert named == {name for name, _ in recipe.files}


def test_without_a_card() -> None:
    lines = virsh_commands(mac_profile(BARE))
    assert lines[:3] == [
        "virsh nwfilter-define --validate nwscan-00000001-0-mac.xml",
        "virsh nwfilter-define --validate nwscan-00000001-0.xml",
        "virsh edit GUEST",
    ]
    assert "<mac address='52:54:00:00:00:01'/>" in lines[3]
    assert "#   <filterref filter='nwscan-00000001-0'/>" in lines
    assert all(line.startswith(("virsh", "#")) for line in lines)
    undo = virsh_commands(mac_profile(BARE), undo=True)
    assert undo[0] == "virsh edit GUEST"
    assert undo[-2:] == ["virsh nwfilter-undefine nwscan-00000001-0", "virsh nwfilter-undefine nwscan-00000001-0-mac"]


def test_what_is_attached_is_only_defined_again() -> None:
    first = mac_profile(CARD_WITH_OLD, library={"old": OLD})
    library = {"old": OLD, **{each.name: each for each in first.filters}}
    text, ref = INTERFACE.replace("'old'", f"'{ROOT}'"), (first.reference.filter, first.reference.parameters)
    card = replace(CARD_WITH_OLD, filterref=ref, inactive_filterref=ref, live_xml=text, inactive_xml=text)
    recipe = by_hand(mac_profile(card, (0x02,), library=library), card=card, library=library)
    assert [line.split()[1] for line in recipe.install] == ["nwfilter-define", "nwfilter-define"]
    assert recipe.undo == (
        f"virsh nwfilter-define --validate before-{ROOT}.xml",
        f"virsh nwfilter-define --validate before-{ROOT}-mac.xml",
    )
    assert read_filter(dict(recipe.files)[f"before-{ROOT}-mac.xml"]).filter == first.filters[0]


def test_hostile_names_stay_one_word() -> None:
    for name in ("a b; rm -rf /", "--help", "it's $(me)"):
        line = virsh_commands(mac_profile(CARD), card=replace(CARD_WITH_OLD, identity=replace(GUEST, name=name)))[2]
        words = shlex.split(line)
        assert len(words) == 5
        assert words[2] in (name, f"--domain={name}")
        assert words[2] != "--help"


def test_connection() -> None:
    lines = virsh_commands(mac_profile(CARD), "vm2", connect="qemu+ssh://host/system?a=b&c")
    assert lines[0].startswith("virsh -c 'qemu+ssh://host/system?a=b&c' nwfilter-define")
    assert lines[2].endswith("edit vm2")


def test_a_card_that_is_attached_now_and_not_at_the_next_start() -> None:
    first = mac_profile(CARD_WITH_OLD, library={"old": OLD})
    library = {"old": OLD, **{each.name: each for each in first.filters}}
    live = INTERFACE.replace("'old'", f"'{ROOT}'")
    card = replace(CARD_WITH_OLD, live_xml=live, filterref=(first.reference.filter, first.reference.parameters))
    lines = virsh_commands(mac_profile(card, library=library), card=card, library=library)
    assert lines[2:] == [f"virsh update-device vm1 {ROOT}-config.xml --config"]
