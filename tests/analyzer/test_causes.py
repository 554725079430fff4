"""The decision rules over made-up observations: every cause, what the values cannot tell, and the exact remedies."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.causes.document import to_document
from analyzer.causes.explanation import SHOWN, Explained, Explanation, explain, report_causes
from analyzer.causes.observation import Look, Observation
from analyzer.causes.rules import RULES, CauseName, Certainty
from analyzer.host.bridge import BridgeState, FdbEntry, PortState, parse_received
from analyzer.host.speakers import parse_speakers
from analyzer.model.classes import CLASS_COUNT, DirectionSource, FrameClass
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.report.report import Report
from analyzer.report.store import from_document
from analyzer.report.store import to_document as report_document
from analyzer.report.talkers import Entry, Hitters

if TYPE_CHECKING:
    from analyzer.causes.remedies import Remedy

DOCUMENT = Path(__file__).parents[2] / "docs/causes.md"
S = 1_000_000_000
START_NS = 1_700_000_000 * S
TAP, UPLINK, OTHER_TAP = "vnet0", "eth0", "vnet1"
OWN, SOURCE, HOST, OTHER_GUEST = 0x525400000001, 0x02AA0000000A, 0x02AA0000000B, 0x525400000002
VRRP, NLB = 0x00005E000107, 0x02BF01020304

BRIDGE = BridgeState("br0", 1, 300.0, False, False, False, False, False)
PORT = PortState(UPLINK, "br0", 2, "forwarding", None, True, True, True, True, False, False, False)
PORTS = (PORT, replace(PORT, name=TAP, kind="tun"), replace(PORT, name=OTHER_TAP, kind="tun"))
VM1 = GuestIdentity((OWN,), Provenance.LIBVIRT_XML, name="vm1", uuid="u1", card=0, tap=TAP)
VM2 = GuestIdentity((OTHER_GUEST,), Provenance.LIBVIRT_XML, name="vm2", uuid="u2", card=0, tap=OTHER_TAP)


def entry(mac: int = HOST, port: str = UPLINK, age_s: float = 10.0, state: str = "dynamic") -> FdbEntry:
    return FdbEntry(mac, port, state, None, age_s)


def look(at_s: float, *fdb: FdbEntry, bridge: BridgeState = BRIDGE, ports: tuple[PortState, ...] = PORTS) -> Look:
    return Look(START_NS + int(at_s * S), bridge, ports, fdb)


def report(*talkers: tuple[int, int], foreign: int | None = None) -> Report:
    """The report of a window in which so many frames went to each destination."""
    entries = [Entry(SOURCE, mac, frames, frames * 100, START_NS + S, START_NS + 5 * S) for mac, frames in talkers]
    total = sum(frames for _, frames in talkers) if foreign is None else foreign
    counts = [(0, 0)] * CLASS_COUNT
    counts[FrameClass.FOREIGN_UNICAST] = (total, total * 100)
    window = CaptureWindow(TAP, START_NS, START_NS + 10 * S, total, 0, 128)
    return Report(VM1, DirectionSource.PACKET_TYPE, (window,), tuple(counts), talkers=Hitters(tuple(sorted(entries))))


def observe(*looks: Look, mac: int = HOST, **values: object) -> Observation:
    """Two empty looks, 200 frames to one destination, all heard by the meter, nobody but the source speaks."""
    made = Observation(
        VM1,
        report((mac, 200)),
        looks or (look(-0.5), look(10.5)),
        frozenset({(SOURCE, UPLINK)}),
        (VM1, VM2),
        {UPLINK: 5000, TAP: 10, OTHER_TAP: 77},
        200,
        200,
    )
    return replace(made, **values)  # type: ignore[arg-type]


def the_cause(seen: Observation) -> Explained:
    (cause,) = explain(seen).causes
    return cause


def decided(seen: Observation) -> tuple[CauseName, Certainty]:
    cause = the_cause(seen)
    return cause.name, cause.certainty


def remedy(cause: Explained, name: str) -> Remedy:
    return next(one for one in cause.remedies if one.name == name)


def with_learning_off(*names: str) -> tuple[PortState, ...]:
    return tuple(replace(port, learning=False) if port.name in names else port for port in PORTS)


def test_no_entry_and_not_a_word_is_never_learnt_as_far_as_can_be_told() -> None:
    cause = the_cause(observe())
    assert (cause.name, cause.certainty) == (CauseName.NEVER_LEARNT, Certainty.LIKELY)
    assert not cause.is_bridge_at_fault
    assert "aged out, before" in cause.limits[0]
    assert "02:aa:00:00:00:0b: 200 frames from 02:aa:00:00:00:0a at eth0, 1.0 s to 5.0 s" in cause.evidence[0]
    assert "nobody listened" in the_cause(observe(speakers=None)).limits[0]


def test_learnt_in_the_window_is_certain() -> None:
    seen = observe(look(-0.5), look(4), look(10.5, entry(age_s=2)))
    assert decided(seen) == (CauseName.NEVER_LEARNT, Certainty.CERTAIN)
    assert "it was found at eth0 at 10.5 s" in the_cause(seen).evidence[0]


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [(298.0, CauseName.AGED_OUT), (310.0, CauseName.AGED_OUT), (297.0, CauseName.FLUSHED), (1.0, CauseName.FLUSHED)],
)
def test_an_entry_that_goes_is_of_age_or_was_deleted(age_s: float, expected: CauseName) -> None:
    seen = observe(look(-0.5, entry(age_s=age_s - 1)), look(0.5, entry(age_s=age_s)), look(1.5), look(10.5))
    assert decided(seen) == (expected, Certainty.CERTAIN)
    assert the_cause(seen).cases[0][1].port == UPLINK


def test_an_entry_without_an_age_that_goes_is_not_guessed_at() -> None:
    seen = observe(look(-0.5, replace(entry(), age_s=None)), look(10.5))
    assert decided(seen) == (CauseName.UNKNOWN, Certainty.UNKNOWN)


def test_a_silent_guest_that_has_sent_before_has_probably_aged_out() -> None:
    seen = observe(mac=OTHER_GUEST)
    assert decided(seen) == (CauseName.AGED_OUT, Certainty.LIKELY)
    assert "(vm2)" in the_cause(seen).sentence
    never = replace(seen, received={OTHER_TAP: 0})
    assert decided(never) == (CauseName.NEVER_LEARNT, Certainty.LIKELY)


def test_a_bridge_without_ageing_is_a_hub_and_at_fault() -> None:
    flat = replace(BRIDGE, ageing_time_s=0.0)
    seen = observe(look(-0.5, bridge=flat), look(10.5, bridge=flat), speakers=frozenset({(HOST, UPLINK)}))
    cause = the_cause(seen)
    assert (cause.name, cause.certainty, cause.is_bridge_at_fault) == (CauseName.HUB, Certainty.CERTAIN, True)
    assert cause.remedies[0].commands == ("ip link set dev br0 type bridge ageing_time 30000",)
    assert cause.remedies[0].undo == ("ip link set dev br0 type bridge ageing_time 0",)


def test_learning_off_is_certain_where_the_address_was_heard_and_likely_where_it_was_not() -> None:
    deaf = with_learning_off(UPLINK)
    looks = (look(-0.5, ports=deaf), look(10.5, ports=deaf))
    heard = observe(*looks, speakers=frozenset({(HOST, UPLINK)}))
    assert decided(heard) == (CauseName.LEARNING_OFF, Certainty.CERTAIN)
    assert the_cause(heard).remedies[0].commands == ("bridge link set dev eth0 learning on",)
    assert remedy(the_cause(heard), "static_entry").commands == (
        "bridge fdb replace 02:aa:00:00:00:0b dev eth0 master static",
    )
    silent = observe(*looks)
    assert decided(silent) == (CauseName.LEARNING_OFF, Certainty.LIKELY)
    assert "cannot be told" in the_cause(silent).limits[0]


def test_learning_off_elsewhere_explains_nothing() -> None:
    deaf = with_learning_off(OTHER_TAP)
    looks = (look(-0.5, ports=deaf), look(10.5, ports=deaf))
    assert decided(observe(*looks))[0] is CauseName.NEVER_LEARNT  # vm2 is there, and has another MAC
    assert decided(observe(*looks, mac=OTHER_GUEST)) == (CauseName.LEARNING_OFF, Certainty.CERTAIN)
    deaf = with_learning_off(TAP)
    assert decided(observe(look(-0.5, ports=deaf), look(10.5, ports=deaf)))[0] is CauseName.NEVER_LEARNT


@pytest.mark.parametrize(("mac", "kind"), [(VRRP, "VRRP or CARP"), (NLB, "Network Load Balancing")])
def test_virtual_macs_that_nobody_sends_from(mac: int, kind: str) -> None:
    cause = the_cause(observe(mac=mac))
    assert (cause.name, cause.certainty) == (CauseName.VIRTUAL_MAC, Certainty.CERTAIN)
    assert kind in cause.sentence
    assert "--also-mac" in cause.remedies[0].risk
    assert decided(observe(mac=mac, speakers=frozenset({(mac, UPLINK)})))[0] is not CauseName.VIRTUAL_MAC


def test_a_moved_mac_and_one_that_the_guest_uses() -> None:
    here, there = entry(port=TAP), entry(port=UPLINK, age_s=1)
    moved = observe(look(-0.5, here), look(10.5, there))
    assert decided(moved) == (CauseName.MOVED_MAC, Certainty.CERTAIN)
    stale = observe(look(-0.5, entry(OTHER_GUEST, TAP)), look(10.5, entry(OTHER_GUEST, TAP)), mac=OTHER_GUEST)
    assert decided(stale) == (CauseName.MOVED_MAC, Certainty.CERTAIN)
    assert the_cause(stale).remedies[0].commands == ("bridge fdb del 52:54:00:00:00:02 dev vnet0 master",)
    used = observe(look(-0.5, here), look(10.5, here), speakers=frozenset({(HOST, TAP)}))
    assert decided(used) == (CauseName.BEHIND_GUEST, Certainty.CERTAIN)
    assert decided(observe(look(-0.5, here), look(10.5, entry(port=TAP, age_s=21)))) == (
        CauseName.BEHIND_GUEST,
        Certainty.LIKELY,
    )


def test_a_mirror_is_what_the_bridge_did_not_forward() -> None:
    known = (look(-0.5, entry()), look(5, entry()), look(10.5, entry()))
    assert decided(observe(metered_foreign=0)) == (CauseName.MIRROR, Certainty.CERTAIN)
    assert decided(observe(*known, metered_foreign=0)) == (CauseName.MIRROR, Certainty.CERTAIN)
    assert decided(observe(*known, metered_foreign=None)) == (CauseName.MIRROR, Certainty.LIKELY)
    assert decided(observe(*known)) == (CauseName.UNKNOWN, Certainty.UNKNOWN)  # the meter saw the bridge forward them
    assert "nwscan suggest" not in str(the_cause(observe(metered_foreign=0)).remedies)


def test_a_port_that_is_not_flooded_to_gets_a_mirror_s_frames() -> None:
    quiet = tuple(replace(port, flood=False) if port.name == TAP else port for port in PORTS)
    looks = (look(-0.5, ports=quiet), look(10.5, ports=quiet))
    assert decided(observe(*looks, metered_foreign=None)) == (CauseName.MIRROR, Certainty.LIKELY)


def test_entries_of_some_vlan_do_not_make_a_mirror() -> None:
    tagged = replace(entry(), vlan=7)
    seen = observe(look(-0.5, tagged), look(10.5, tagged), metered_foreign=None)
    assert decided(seen) == (CauseName.UNKNOWN, Certainty.UNKNOWN)
    assert "VLAN" in the_cause(seen).limits[0]


def test_who_speaks_and_is_not_learnt_by_a_port_that_learns_is_unknown() -> None:
    assert decided(observe(speakers=frozenset({(HOST, UPLINK)}))) == (CauseName.UNKNOWN, Certainty.UNKNOWN)


def test_the_bridge_s_fault_is_told_first_and_shares_are_of_all_foreign_frames() -> None:
    deaf = with_learning_off(UPLINK)
    seen = observe(
        look(-0.5, ports=deaf),
        look(10.5, ports=deaf),
        report=report((HOST, 100), (NLB, 300), foreign=500),
        speakers=frozenset({(HOST, UPLINK)}),
        metered_foreign=500,
    )
    explanation = explain(seen)
    assert [(cause.name, cause.frames, explanation.share(cause)) for cause in explanation.causes] == [
        (CauseName.LEARNING_OFF, 100, 0.2),
        (CauseName.VIRTUAL_MAC, 300, 0.6),
        (CauseName.UNKNOWN, 100, 0.2),
    ]
    assert "100 frames went to addresses beyond" in explanation.causes[2].limits[0]
    assert explanation.is_bridge_at_fault


def test_no_flooding_needs_an_entry_of_each_mac_and_never_a_permanent_one() -> None:
    two = replace(VM1, macs=(OWN, OWN + 16))
    off = remedy(the_cause(observe(identity=two)), "flood_off")
    assert off.commands == (
        "bridge fdb replace 52:54:00:00:00:01 dev vnet0 master static",
        "bridge fdb replace 52:54:00:00:00:11 dev vnet0 master static",
        "bridge link set dev vnet0 flood off",
    )
    assert off.undo[0] == "bridge link set dev vnet0 flood on"
    kept = observe(look(-0.5), look(10.5, entry(OWN, TAP, state="static")))
    assert remedy(the_cause(kept), "flood_off").undo == ("bridge link set dev vnet0 flood on",)


def test_isolation_is_a_remedy_only_between_guests() -> None:
    assert all(one.name != "isolation" for one in the_cause(observe()).remedies)
    among_guests = the_cause(observe(speakers=frozenset({(SOURCE, OTHER_TAP)})))
    assert remedy(among_guests, "isolation").commands == (
        "bridge link set dev vnet0 isolated on",
        "bridge link set dev vnet1 isolated on",
    )


def test_libvirt_s_own_table_is_a_remedy_on_its_networks_only() -> None:
    assert all(one.name != "mac_table_manager" for one in the_cause(observe()).remedies)
    assert "net-define" in str(remedy(the_cause(observe(network="my net")), "mac_table_manager").commands)


def test_names_of_guests_stay_words_of_the_shell() -> None:
    seen = observe(identity=replace(VM1, name="a; rm -rf ~", uuid=None))
    assert the_cause(seen).remedies[0].commands == ("nwscan suggest --apply 'a; rm -rf ~'",)


def test_without_foreign_frames_there_is_nothing_to_explain() -> None:
    assert explain(observe(report=report())).causes == ()


def test_what_a_filter_dropped_and_what_was_lost_is_told() -> None:
    notes = explain(observe(offered_foreign=900, metered_foreign=200)).notes
    assert "dropped 700 more foreign frames" in notes[0]


def test_the_causes_fit_a_report_and_its_document() -> None:
    seen = observe()
    told = replace(seen.report, causes=report_causes(explain(seen)))
    assert from_document(report_document(told)) == told
    assert told.causes[0].remedy == "nwscan suggest --apply vm1"


def test_what_ports_received_is_read_from_ip() -> None:
    text = '[{"ifname":"eth0","stats64":{"rx":{"packets":7}}},{"ifname":"vnet0"},{}]'
    assert parse_received(text) == {"eth0": 7}
    assert parse_received("") == {}


def test_who_spoke_is_read_from_nft() -> None:
    text = (
        'table bridge t {\n set speakers {\n elements = { 02:aa:00:00:00:0b . "eth0",\n 52:54:00:00:00:01 . "vnet 0" }'
    )
    assert parse_speakers(text) == {(HOST, "eth0"), (OWN, "vnet 0")}


_looks = st.lists(
    st.tuples(
        st.lists(
            st.tuples(st.sampled_from([HOST, OTHER_GUEST, VRRP]), st.sampled_from([TAP, UPLINK]), st.floats(0, 400))
        ),
        st.sampled_from([0.0, 2.0, 300.0]),
        st.sampled_from([(), (UPLINK,), (OTHER_TAP,), (TAP, UPLINK)]),
    ),
    min_size=1,
    max_size=4,
)


@given(
    _looks,
    st.one_of(st.none(), st.frozensets(st.tuples(st.sampled_from([HOST, VRRP]), st.sampled_from([TAP, UPLINK])))),
    st.one_of(st.none(), st.integers(0, 700)),
    st.integers(600, 700),
)
def test_each_foreign_frame_has_exactly_one_cause_with_a_remedy_and_nothing_permanent(
    looks: list[tuple[list[tuple[int, str, float]], float, tuple[str, ...]]],
    speakers: frozenset[tuple[int, str]] | None,
    metered: int | None,
    foreign: int,
) -> None:
    seen = observe(
        *(
            look(
                2 * number,
                *(entry(mac, port, age_s) for mac, port, age_s in fdb),
                bridge=replace(BRIDGE, ageing_time_s=ageing_s),
                ports=with_learning_off(*deaf),
            )
            for number, (fdb, ageing_s, deaf) in enumerate(looks)
        ),
        report=report((HOST, 100), (OTHER_GUEST, 200), (VRRP, 300), foreign=foreign),
        speakers=speakers,
        metered_foreign=metered,
    )
    explanation = explain(seen)
    assert sum(cause.frames for cause in explanation.causes) == foreign
    assert sum(len(cause.cases) for cause in explanation.causes) == 3
    for cause in explanation.causes:
        assert cause.remedies or not cause.cases
        commands = " ".join(line for one in cause.remedies for line in (*one.commands, *one.undo))
        assert "permanent" not in commands
        assert (cause.certainty is Certainty.UNKNOWN) == (cause.name is CauseName.UNKNOWN)
        assert cause.certainty is Certainty.CERTAIN or cause.limits or cause.name is CauseName.UNKNOWN
    assert_is_a_document(explanation)


def assert_is_a_document(explanation: Explanation) -> None:
    document = to_document(explanation)
    assert document["schema"] == "nwscan.explain/1"
    assert sum(cause["share"] for cause in document["causes"]) == pytest.approx(1)


def test_the_document_for_people_names_every_cause_and_holds_every_rule() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [str(name) for name in CauseName]
    assert all(rule.holds in text and rule.source in text for rule in RULES)


def test_an_age_in_whole_seconds_is_no_word_spoken_in_the_window() -> None:
    before, after = entry(age_s=0), entry(age_s=10)
    assert observe(look(0, before), look(10.9, after), speakers=None).ports_of(HOST) == ()
    assert observe(look(0, before), look(11.1, after), speakers=None).ports_of(HOST) == (UPLINK,)
    slow = replace(look(0, before), took_ns=S)
    assert observe(slow, look(11.1, after), speakers=None).ports_of(HOST) == ()


def test_more_destinations_than_are_shown_are_counted() -> None:
    talkers = tuple((0x02AA00000100 + number, 10) for number in range(SHOWN + 3))
    seen = replace(observe(), report=report(*talkers))
    (cause,) = explain(seen).causes
    assert len(cause.evidence) == SHOWN + 1
    assert cause.evidence[-1] == "and 3 more destinations"
    assert cause.frames == 10 * (SHOWN + 3)


def test_what_fits_no_rule_is_said_to_be_unknown() -> None:
    """A static entry has no age: who took it away, and when, is told by nothing."""
    seen = observe(look(-0.5, entry(state="static")), look(10.5))
    assert decided(seen) == (CauseName.UNKNOWN, Certainty.UNKNOWN)
    assert "2 looks at the FDB fit no rule" in the_cause(seen).evidence[0]


def test_what_the_kernel_lost_of_the_capture_is_told() -> None:
    made = report((HOST, 200))
    lossy = replace(made, windows=(replace(made.windows[0], frames_lost=1234),))
    assert "the kernel dropped 1,234 frames of the capture" in explain(observe(report=lossy)).notes[0]
