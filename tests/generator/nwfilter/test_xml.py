from __future__ import annotations

import pytest

from analyzer.errors import InputError, UsageError
from generator.nwfilter.model import Filter, FilterRef
from generator.nwfilter.xml import RNG_PATH, read_filter, read_filterref, validate_rng, with_filterref, write_filter


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no well-formed XML"),
        ("<filter", "no well-formed XML"),
        ("<filter name='a'><:rule/><all xmlns='arp'/></filter>", "Failed to parse QName"),
        ("<domain/>", "root element is <domain>"),
        ("<filter/>", "a filter without a name"),
        ("<!DOCTYPE filter [<!ENTITY a 'b'>]><filter name='&a;'/>", "document type declaration"),
        (
            "<filter name='f'><rule direction='in'/><rule action='x' direction='y'/></filter>",
            "a rule without an action",
        ),
        ("<filter name='f'><rule direction='in'/><rule action='x' direction='y'/></filter>", "unknown direction 'y'"),
        ("<filter name='f'><filterref/></filter>", "a filterref without a filter"),
        ("<filter name='f'>" + "<a>" * 100 + "</a>" * 100 + "</filter>", "nested deeper"),
        (" " * (5 * 1024 * 1024), "longer than"),
        ("<filter name='\x00'/>", "no well-formed XML"),
    ],
)
def test_what_is_no_filter_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(InputError) as refused:
        read_filter(text)
    assert words in str(refused.value)


def test_entities_are_never_expanded() -> None:
    bomb = "<!DOCTYPE f [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]><filter name='f'><x>&b;</x></filter>"
    with pytest.raises(InputError):
        read_filter(bomb)


def test_a_character_that_xml_cannot_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot hold"):
        write_filter(Filter("a\x01b"))


def test_the_schema_says_what_it_does_not_take() -> None:
    if not RNG_PATH.exists():
        pytest.skip("libvirt's schemas are not installed (libvirt0)")
    assert validate_rng("<filter name='f'/>") == ()
    wrong = validate_rng("<filter name='f'>\n<rule action='drop' direction='in'>\n<mac x='1'/></rule></filter>")
    assert wrong


def test_without_a_schema_nothing_is_claimed() -> None:
    assert validate_rng("<filter name='f'/>", RNG_PATH.with_name("absent.rng")) is None


def test_all_but_the_filterref_stays_octet_for_octet() -> None:
    text = (
        "<interface type='network'>\n"
        '  <mac address="52:54:00:00:00:01"/>  <!-- keep > me -->\n'
        "  <filterref filter='old'>\n    <parameter name='IP' value='10.0.0.1'/>\n  </filterref>\n"
        "\t<model   type='virtio' />\n</interface>"
    )
    assert read_filterref(text) == FilterRef("old", (("IP", "10.0.0.1"),))
    new = with_filterref(text, FilterRef("new"))
    assert new == text.replace(
        "<filterref filter='old'>\n    <parameter name='IP' value='10.0.0.1'/>\n  </filterref>",
        "<filterref filter='new'/>",
    )
    assert with_filterref(text, None) == (
        "<interface type='network'>\n"
        '  <mac address="52:54:00:00:00:01"/>  <!-- keep > me -->\n'
        "\t<model   type='virtio' />\n</interface>"
    )


@pytest.mark.parametrize("text", ["<interface", "<disk/>", "<interface><filterref/></interface>"])
def test_what_is_no_interface_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_filterref(text)


def test_a_name_that_only_libxml2_takes_is_told_as_such() -> None:
    text = "<interface><x\u071b\u06db/></interface>"
    with pytest.raises(InputError, match="cannot be taken apart: not well-formed"):
        with_filterref(text, None)
