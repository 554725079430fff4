"""Only names that can stand in a rule get through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.errors import UsageError
from analyzer.host.interface_names import checked_interface_name


@pytest.mark.parametrize("name", ["vnet0", "tap12345678901", "eth0.100", "br-int", "qvo12@3", "_x", "a+b=c", "a" * 15])
def test_names_that_hosts_use(name: str) -> None:
    assert checked_interface_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "-batch", "a" * 16, "a b", "a\tb", "a\n", 'a"', "a'", "a*", "*"),
        *("a/b", "a:1", "a\\", "$a", "@{a}", "a;b", "a\0"),
        *("ä", "vnet0\u202e", "{a}", "a,b", "a#b", "vnet%d", "`a`"),
    ],
)
def test_names_that_would_mean_something_else(name: str) -> None:
    with pytest.raises(UsageError, match="not the name of a network interface"):
        checked_interface_name(name)


@given(st.text(max_size=20))
def test_what_gets_through_is_15_harmless_octets_at_most(name: str) -> None:
    try:
        checked = checked_interface_name(name)
    except UsageError:
        return
    assert checked == name
    assert len(name.encode()) <= 15
    assert not set(name) & set(" \t\n\"'\\*/:;{}$#,%<>|&()[]!?`")
    assert not name.startswith("-")
