from __future__ import annotations

from generator.nwfilter.model import Action, Filter, FilterRef, Match, Rule, RuleDirection
from generator.suggest.tree import closure, read_tree

DROP_IP = Rule(Action.DROP, RuleDirection.IN, 500, Match("ip", (("dstipaddr", "$IP"),)))
SECOND_IP = Rule(Action.DROP, RuleDirection.IN, 500, Match("ip", (("dstipaddr", "$IP[1]"),)))


def library(*filters: Filter) -> dict[str, Filter]:
    return {each.name: each for each in filters}


def test_names_absent_and_lacking() -> None:
    known = library(
        Filter("a", entries=(FilterRef("b", (("IP", "192.0.2.1"),)), FilterRef("gone"), DROP_IP)),
        Filter("b", chain="ipv4", entries=(SECOND_IP,)),
    )
    found = read_tree("a", known, {}, -950)
    assert found.names == ("a", "b", "gone")
    assert found.absent == ("gone",)
    assert found.lacking == ("IP", "IP[1]")
    assert read_tree("a", known, {"IP": ("192.0.2.2", "192.0.2.3")}, -950).lacking == ()


def test_early_filters() -> None:
    accept = Rule(Action.ACCEPT, RuleDirection.INOUT, -1000)
    known = library(
        Filter("a", entries=tuple(map(FilterRef, ("root", "chain", "late", "out", "drops")))),
        Filter("root", entries=(accept,)),
        Filter("chain", chain="mac-x", priority=-960, entries=(accept,)),
        Filter("late", chain="mac-y", priority=-900, entries=(accept,)),
        Filter("out", entries=(Rule(Action.ACCEPT, RuleDirection.OUT, -1000),)),
        Filter("drops", entries=(Rule(Action.DROP, RuleDirection.IN, -1000),)),
    )
    assert read_tree("a", known, {}, -950).early == ("root", "chain")


def test_loops_and_many_ways_end() -> None:
    assert read_tree("a", library(Filter("a", entries=(FilterRef("a"),))), {}, 0).names == ("a",)
    layers = [
        Filter(f"f{depth}{side}", entries=(FilterRef(f"f{depth + 1}a"), FilterRef(f"f{depth + 1}b")))
        for depth in range(40)
        for side in "ab"
    ]
    assert read_tree("f0a", library(*layers), {}, 0).names[0] == "f0a"


def test_closure_gives_roots_first_and_each_once() -> None:
    root, child = Filter("r", entries=(FilterRef("c"), FilterRef("x"), FilterRef("gone"))), Filter("c")
    other = Filter("x", entries=(FilterRef("c"), FilterRef("r")))
    known = library(Filter("r", uuid="stale"), other, Filter("unused"))
    assert [each.name for each in closure((root, child), known)] == ["r", "c", "x"]
    assert closure((root, child), known)[0] == root
