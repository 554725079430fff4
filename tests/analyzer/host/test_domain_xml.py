"""Interfaces as libvirt prints them, and documents that no libvirt would print."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from analyzer.errors import InputError
from analyzer.host.domain_xml import KEEP_URI, for_update, interfaces, keep_mark, read_binding

BRIDGED = """<interface type='bridge'>
      <mac address='52:54:00:00:00:01'/>
      <source bridge='br0'/>
      <target dev='vnet0'/>
      <model type='virtio'/>
      <filterref filter='clean-traffic'>
        <parameter name='IP' value='192.0.2.101'/>
        <parameter name='IP' value='192.0.2.102'/>
        <parameter name='CTRL_IP_LEARNING' value='none'/>
      </filterref>
      <alias name='net0'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </interface>"""
NETWORK = """<interface type='network'>
      <mac address='52:54:00:00:00:02'/>
      <source network='default' portid='f00' bridge='virbr0'/>
      <target dev='vnet1'/>
      <virtualport type='openvswitch'>
        <parameters interfaceid='00000000-0000-0000-0000-000000000000'/>
      </virtualport>
    </interface>"""
METADATA = """  <description>&lt;interface type='bridge'&gt;
    <![CDATA[
    <interface type='trap'>
    </interface>
    ]]></description>
  <metadata>
    <app:interface xmlns:app="urn:app" type="bridge">
      <mac address="02:00:00:00:00:99"/>
    </app:interface>
    <interface xmlns="urn:other" type="bridge">
    </interface>
  </metadata>
"""


def domain(*elements: str, metadata: str = "") -> str:
    devices = "".join(f"    {element}\n" for element in elements)
    return f"<domain type='kvm' id='1'>\n  <name>vm1</name>\n{metadata}  <devices>\n{devices}  </devices>\n</domain>\n"


def marked(attributes: str = "", why: str = "") -> str:
    mark = f"<nwscan:keep xmlns:nwscan='{KEEP_URI}'{attributes}>{why}</nwscan:keep>"
    return domain(BRIDGED, NETWORK, metadata=f"  <metadata>\n    {mark}\n  </metadata>\n")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (domain(BRIDGED, metadata=METADATA), (None, None)),
        (marked(), ("", "")),
        (marked(why="\n  intrusion\n  detection "), ("intrusion detection", "intrusion detection")),
        (marked(" mac='52:54:00:00:00:01'", "x"), ("x", None)),
        (marked(" mac='52:54:00:00:00:02 02:00:00:00:00:09'", "x"), (None, "x")),
        (marked(" mac='the first'", "x"), ("x", "x")),
        (marked(why="a" * 5000), ("a" * 200, "a" * 200)),
        (domain(BRIDGED, metadata="<metadata><keep xmlns='urn:other'>no</keep></metadata>"), (None, None)),
    ],
)
def test_whether_a_card_is_marked_to_keep_its_foreign_unicast(
    document: str, expected: tuple[str | None, str | None]
) -> None:
    assert (keep_mark(document, 0x525400000001), keep_mark(document, 0x525400000002)) == expected


def test_what_a_card_says() -> None:
    card, other = interfaces(domain(BRIDGED, "<disk type='file'/>", NETWORK))
    assert (card.index, card.type, card.mac, card.model, card.tap) == (0, "bridge", 0x525400000001, "virtio", "vnet0")
    assert (card.bridge, card.network, card.virtualport) == ("br0", None, None)
    assert card.filterref == (
        "clean-traffic",
        (("IP", "192.0.2.101"), ("IP", "192.0.2.102"), ("CTRL_IP_LEARNING", "none")),
    )
    assert (other.index, other.type, other.mac, other.model, other.tap) == (1, "network", 0x525400000002, None, "vnet1")
    assert (other.bridge, other.network, other.virtualport) == ("virbr0", "default", "openvswitch")
    assert other.filterref is None


def test_the_text_is_the_element_octet_for_octet() -> None:
    cards = interfaces(domain(BRIDGED, NETWORK, metadata=METADATA))
    assert [card.text for card in cards] == [BRIDGED, NETWORK]


@pytest.mark.parametrize(
    "element",
    [
        "<interface type='user'/>",
        "<interface type='user'><mac address='52:54:00:00:00:01'/></interface>",
        "<interface\n  type='user'>\n    </interface>",
        "<interface type='user'><x>\n    </x></interface>",
        "<interface type='user'>\n    <a/></interface><interface type='user'>\n    </interface>",
    ],
)
def test_an_element_that_is_not_laid_out_as_libvirt_does_is_written_anew(element: str) -> None:
    for card in interfaces(domain(element, BRIDGED)):
        assert etree.fromstring(card.text).tag == "interface"
    first = etree.fromstring(domain(element)).find("devices/interface")
    assert first is not None
    first.tail = None
    read = etree.fromstring(interfaces(domain(element))[0].text)
    assert etree.tostring(read, method="c14n") == etree.tostring(first, method="c14n")


def test_an_element_without_a_canonical_form_is_read() -> None:
    relative = BRIDGED.replace("</interface>", "<x xmlns='arp-x'/></interface>").replace("<x", "  <x")
    (card,) = interfaces(domain(relative))
    assert "xmlns='arp-x'" in card.text.replace('"', "'")


def test_a_guest_without_cards() -> None:
    assert interfaces(domain()) == ()
    assert interfaces("<domain/>") == ()


def test_a_card_that_says_nothing() -> None:
    (card,) = interfaces(domain("<interface/>"))
    assert (card.type, card.mac, card.model, card.tap, card.bridge, card.network) == ("", None, None, None, None, None)


def test_the_declaration_of_another_encoding_does_not_matter() -> None:
    text = "<?xml version='1.0' encoding='ISO-8859-1'?>\n" + domain(BRIDGED.replace("br0", "brü"))
    assert interfaces(text)[0].bridge == "brü"


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\u2029"])
def test_separators_in_names_do_not_shift_the_lines(separator: str) -> None:
    text = domain(BRIDGED).replace("<name>vm1</name>", f"<name>vm{separator}1</name>")
    assert interfaces(text)[0].text == BRIDGED


HOSTILE = {
    "empty": "",
    "no XML": "vm1",
    "cut": domain(BRIDGED)[:200],
    "another document": "<filter name='x'/>",
    "a document type": "<!DOCTYPE domain><domain/>",
    "entities": "<!DOCTYPE domain [<!ENTITY a 'b'>]><domain><name>&a;</name></domain>",
    "many laughs": "<!DOCTYPE domain [<!ENTITY a 'ha'>"
    + "".join(f"<!ENTITY a{n} '{'&a' + str(n - 1) + ';' if n else '&a;'}{'&a;' * 10}'>" for n in range(10))
    + "]><domain>&a9;</domain>",
    "a file": "<!DOCTYPE domain [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><domain><name>&a;</name></domain>",
    "depth": "<domain>" * 5000 + "</domain>" * 5000,
    "size": "<domain><name>" + "a" * (17 << 20) + "</name></domain>",
    "a MAC that is none": domain("<interface type='bridge'>\n      <mac address='52:54:00'/>\n    </interface>"),
    "a name of no namespace": domain("<interface><:x/><y xmlns='arp'/></interface>"),
    "a lone surrogate": domain().replace("vm1", "\ud800"),
    "a control character": domain().replace("vm1", "\x1b"),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_documents_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        interfaces(text)


@given(st.text(alphabet="<>/='& \n!?[]abinterfacdovs\u2028", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for candidate in (text, domain(text), domain(f"<interface type='user'>{text}</interface>")):
        try:
            interfaces(candidate)
        except InputError:
            continue


def test_a_binding() -> None:
    binding = read_binding(
        "<filterbinding>\n  <owner>\n    <name>vm1</name>\n    <uuid>6e777363</uuid>\n  </owner>\n"
        "  <portdev name='vnet0'/>\n  <mac address='52:54:00:00:00:01'/>\n"
        "  <filterref filter='nwscan-6e777363-0'>\n    <parameter name='MAC' value='52:54:00:00:00:01'/>\n"
        "  </filterref>\n</filterbinding>\n"
    )
    assert (binding.tap, binding.mac, binding.owner) == ("vnet0", 0x525400000001, "vm1")
    assert binding.filterref == ("nwscan-6e777363-0", (("MAC", "52:54:00:00:00:01"),))


@pytest.mark.parametrize("inside", ["", "<portdev name='vnet0'/>", "<filterref filter='x'/>"])
def test_half_a_binding_is_refused(inside: str) -> None:
    with pytest.raises(InputError, match="without a tap or a filter"):
        read_binding(f"<filterbinding>{inside}</filterbinding>")


@pytest.mark.parametrize(
    ("printed", "sent"),
    [
        ("<interface type='bridge'><source network='n' portid='p' bridge='b'/></interface>", "network"),
        ('<interface trustGuestRxFilters="no" type="bridge">\n<source network="n"/></interface>', "network"),
        ("<interface type='network'><source network='n' portid='p' bridge='b'/></interface>", "network"),
        ("<interface type='bridge'><source bridge='network'/></interface>", "bridge"),
        ("<interface type='direct'><source network='n' dev='eth0' mode='bridge'/></interface>", "direct"),
        ("<interface type='ethernet'><target dev='tap0'/></interface>", "ethernet"),
    ],
)
def test_what_is_sent_back_leaves_the_card_on_its_network(printed: str, sent: str) -> None:
    given = for_update(printed)
    assert given in {
        printed,
        printed.replace("type='bridge'", f"type='{sent}'").replace('type="bridge"', f'type="{sent}"'),
    }
    assert interfaces(f"<domain><devices>{given}</devices></domain>")[0].type == sent
