"""What the profiles generate, given to a real libvirtd: valid by its schema and by itself, stored as it was meant."""

import contextlib
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from analyzer.host.guests import GuestCard, LibvirtReader
from analyzer.model.identity import Address, GuestIdentity, Provenance
from generator.evaluate.program import instantiate
from generator.nwfilter.model import Filter
from generator.nwfilter.normalise import normalise
from generator.nwfilter.xml import read_filter, validate_rng, write_filter
from generator.suggest.profiles import PROFILES, FilterSet, profile_filters
from generator.suggest.suggestion import interface_variables
from tests.lab.lab import Lab

CASES = 60
octets = st.integers(0, 255)
macs = st.integers(1, 2**48 - 1).map(lambda mac: mac & ~(1 << 40) or 2)
ipv4s = st.tuples(st.integers(1, 223), octets, octets, st.integers(1, 254)).map(lambda four: ".".join(map(str, four)))
ipv6s = st.lists(st.integers(1, 0xFFFF), min_size=6, max_size=6).map(
    lambda words: "2001:db8:" + ":".join(f"{word:x}" for word in words)
)
kinds = st.sampled_from(("vrrp", "carp", "nlb", "mdns", "llmnr", "ssdp", "ptp", "ospf", "multicast", "239.1.2.3"))


@st.composite
def cards(draw: st.DrawFn) -> tuple[GuestCard, tuple[int, ...], tuple[str, ...]]:
    """Give a card, further MACs and what is to be kept."""
    addresses = (*draw(st.lists(ipv4s, min_size=1, max_size=4, unique=True)), *draw(st.lists(ipv6s, max_size=3)))
    uuid = f"{draw(st.integers(0, 2**32 - 1)):08x}-0000-4000-8000-000000000001"
    identity = GuestIdentity(
        (draw(macs),),
        Provenance.LIBVIRT_XML,
        name="generated",
        uuid=uuid,
        card=draw(st.integers(0, 12)),
        tap="vnet77",
        addresses=tuple(Address(each, Provenance.COMMAND_LINE, trusted=True) for each in addresses),
        groups=tuple(draw(st.lists(st.sampled_from((0x01005E010203, 0x333300010003)), unique=True))),
    )
    previous = draw(st.sampled_from((None, ("clean-traffic", (("IP", addresses[0]),)))))
    card = GuestCard(
        identity=identity,
        interface_type="bridge",
        model="virtio",
        filterref=previous,
        persistent=True,
        running=True,
        live_xml=None,
        inactive_xml=None,
        inactive_filterref=previous,
    )
    further = tuple(mac for mac in draw(st.lists(macs, max_size=3, unique=True)) if mac != identity.macs[0])
    return card, further, tuple(draw(st.lists(kinds, max_size=3, unique=True)))


@pytest.fixture
def door(lab: Lab) -> Iterator[Any]:
    libvirt.registerErrorHandler(lambda *_: None, None)
    opened = libvirt.open(lab.outside_uri)
    yield opened
    opened.close()


@pytest.fixture
def library(lab: Lab) -> dict[str, Filter]:
    with LibvirtReader(lab.outside_uri) as reader:
        return {name: read_filter(reader.filter_xml(name)).filter for name in reader.filter_names()}


@contextlib.contextmanager
def defined(door: Any, filters: FilterSet) -> Iterator[dict[str, Filter]]:  # noqa: ANN401 - libvirt has no types
    """Define the filters, with validation, and give them as libvirt tells them; they are gone afterwards."""
    done: list[str] = []
    try:
        for each in filters.filters:
            text = write_filter(each)
            assert validate_rng(text) == (), text
            door.nwfilterDefineXMLFlags(text, libvirt.VIR_NWFILTER_DEFINE_VALIDATE)
            done.append(each.name)
        yield {name: read_filter(door.nwfilterLookupByName(name).XMLDesc()).filter for name in done}
    finally:
        for name in reversed(done):
            door.nwfilterLookupByName(name).undefine()


@pytest.mark.parametrize("profile", PROFILES)
def test_libvirt_takes_what_is_generated_and_means_it(door: Any, library: dict[str, Filter], profile: str) -> None:  # noqa: ANN401
    tried = []

    @settings(
        max_examples=CASES // len(PROFILES),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(drawn=cards())
    def takes(drawn: tuple[GuestCard, tuple[int, ...], tuple[str, ...]]) -> None:
        card, further, keep = drawn
        filters = profile_filters(card, profile, further, keep, library=library)
        variables = interface_variables(card.identity, filters)
        written = {each.name: each for each in filters.filters}
        with defined(door, filters) as stored:
            for name, each in written.items():
                assert normalise(stored[name]).filter == normalise(each).filter, write_filter(each)
            ours = instantiate(filters.root, library | written, variables)
            theirs = instantiate(stored[filters.root.name], library | stored, variables)
        assert ours.lines("vnet77") == theirs.lines("vnet77")
        tried.append(len(written))

    takes()
    assert len(tried) >= CASES // len(PROFILES)


def test_validation_by_libvirt_is_on(door: Any) -> None:  # noqa: ANN401
    """What it would leave out without a word it refuses then: that no filter above was refused says something."""
    wrong = "<filter name='nwscan-wrong'><rule action='drop' direction='in'><ip dstipfrom='10.0.0.1'/></rule></filter>"
    with pytest.raises(libvirt.libvirtError):
        door.nwfilterDefineXMLFlags(wrong, libvirt.VIR_NWFILTER_DEFINE_VALIDATE)
    assert validate_rng(wrong) not in ((), None)
    assert "nwscan-wrong" not in door.listNWFilters()
