"""`nwscan explain` against real causes: each is made, named on the live tap, and cured by the commands it prints."""

import contextlib
import json
import shlex
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.lab import frames
from tests.lab.counted import frames_of
from tests.lab.lab import Lab
from tests.lab.layout import BRIDGE, GUESTS, HOSTS
from tests.lab.nwscan_run import Ended, Json, Nwscan, wait_for
from tests.lab.schedule import Schedule

HOSTB = HOSTS["hostb"]
VM1, VM2 = GUESTS["vm1"], GUESTS["vm2"]
SENT = Schedule(foreign=200, own=40)
HELLO = frames.ethernet(frames.BROADCAST, HOSTB.mac, frames.ETHERTYPE_EXPERIMENTAL, b"hello", ())
DEFAULT_AGEING = 30_000
SHORT_AGEING = 200
"""Two seconds, in the hundredths of ip-link(8)."""


def do(lab: Lab, *commands: str) -> None:
    for command in commands:
        lab.run(["sh", "-ec", command], check=True)


def speak(lab: Lab) -> None:
    """Let hostb speak once, and wait until the frame has been through the bridge."""
    with lab.host("hostb").open_packet_socket() as door:
        door.send(HELLO)


@contextlib.contextmanager
def speaking(lab: Lab) -> Iterator[None]:
    """Let hostb speak again and again while the with block runs."""
    ended = threading.Event()

    def speak_on() -> None:
        with lab.host("hostb").open_packet_socket() as door:
            while not ended.wait(0.05):
                door.send(HELLO)

    thread = threading.Thread(target=speak_on, name="hostb speaks")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def is_known(lab: Lab, mac: str) -> bool:
    entries = json.loads(lab.run(["bridge", "-j", "fdb", "show", "br", BRIDGE], check=True).stdout)
    return any(entry["mac"] == mac for entry in entries)


def explained(lab: Lab, nwscan: Nwscan, *, meanwhile: Callable[[], object] | None = None) -> Json:
    """The document of a window in which the schedule is sent, after what happens `meanwhile`."""
    with nwscan.start("explain", "vm1", "--json") as running:
        if meanwhile is not None:
            meanwhile()
        lab.send_unsettled(SENT)
        ended = running.interrupt()
    assert ended.code == 0, str(ended)
    return ended.document


def delivered(lab: Lab, nwscan: Nwscan, schedule: Schedule = SENT) -> tuple[int, int]:
    """Foreign and own frames on the tap of vm1, of those that are sent now."""
    with nwscan.start("capture", lab.guest("vm1").tap, "--json") as running:
        lab.send_unsettled(schedule)
        counts = frames_of(running.interrupt().document)
    return counts["foreign_unicast"], counts["unicast_to_guest"]


def the_cause(document: Json, name: str) -> Json:
    """The one cause, which explains each foreign frame."""
    assert [cause["name"] for cause in document["causes"]] == [name], document
    (cause,) = document["causes"]
    assert cause["frames"] == document["foreign"]["frames"] == SENT.foreign
    assert cause["share"] == 1.0
    assert [each["mac"] for each in cause["destinations"]] == [HOSTB.mac]
    return dict(cause)


def remedy_of(cause: Json, name: str) -> Json:
    return next(remedy for remedy in cause["remedies"] if remedy["name"] == name)


def assert_cured(lab: Lab, nwscan: Nwscan, remedy: Json, *, speaks: bool = False) -> None:
    """The printed commands end the foreign frames and lose no own one; the printed way back leads back."""
    do(lab, *remedy["commands"])
    try:
        if speaks:
            speak(lab)
            wait_for(lambda: is_known(lab, HOSTB.mac), "hostb is learnt")
        assert delivered(lab, nwscan) == (0, SENT.own), remedy["commands"]
    finally:
        do(lab, *remedy["undo"])


@pytest.fixture
def ageing(lab: Lab) -> Iterator[Callable[[int], None]]:
    """Sets the ageing time; it is the usual one again after the test."""
    yield lambda hundredths: do(lab, f"ip link set dev {BRIDGE} type bridge ageing_time {hundredths}")
    do(lab, f"ip link set dev {BRIDGE} type bridge ageing_time {DEFAULT_AGEING}")


def test_an_entry_that_was_deleted(lab: Lab, nwscan: Nwscan) -> None:
    document = explained(lab, nwscan)
    cause = the_cause(document, "never_learnt")
    assert (document["schema"], document["bridge_at_fault"]) == ("nwscan.explain/1", False)
    assert cause["certainty"] == "likely"  # an entry that was there before the first look left no trace
    assert "aged out, before" in cause["limits"][0]
    assert [remedy["name"] for remedy in cause["remedies"]] == ["filter", "flood_off"]
    assert_cured(lab, nwscan, remedy_of(cause, "flood_off"))
    lab.settle()
    assert delivered(lab, nwscan) == (SENT.foreign, SENT.own)  # undone is undone


def test_the_filter_that_is_advised(lab: Lab, nwscan: Nwscan) -> None:
    (command,) = remedy_of(the_cause(explained(lab, nwscan), "never_learnt"), "filter")["commands"]
    with lab.sending(Schedule(foreign=120_000, own=60_000, rate_fps=2000)):
        nwscan.run(*shlex.split(command)[1:], "--yes", "--force", duration_s=2.0)  # the window was short
    lab.settle()
    assert delivered(lab, nwscan) == (0, SENT.own)
    nwscan.run("rollback", "vm1", "--yes")


def test_an_entry_that_is_deleted_while_we_look(lab: Lab, nwscan: Nwscan) -> None:
    do(lab, f"bridge fdb replace {HOSTB.mac} dev {HOSTB.port} master dynamic")
    document = explained(lab, nwscan, meanwhile=lambda: lab.forget("hostb"))
    cause = the_cause(document, "flushed")
    assert cause["certainty"] == "certain"
    assert cause["destinations"][0]["port"] == HOSTB.port
    assert_cured(lab, nwscan, remedy_of(cause, "static_entry"))


def test_aged_out_behind_a_silent_host(lab: Lab, nwscan: Nwscan, ageing: Callable[[int], None]) -> None:
    ageing(SHORT_AGEING)
    with contextlib.ExitStack() as hostb:
        hostb.enter_context(speaking(lab))

        def fall_silent() -> None:
            hostb.close()
            wait_for(lambda: not is_known(lab, HOSTB.mac), "hostb has aged out")

        document = explained(lab, nwscan, meanwhile=fall_silent)
    cause = the_cause(document, "aged_out")
    assert (cause["certainty"], document["bridge_at_fault"]) == ("certain", False)
    assert cause["destinations"][0]["port"] == HOSTB.port
    assert "the ageing time is 2 s" in cause["evidence"][0]
    assert cause["remedies"][0]["name"] == "static_entry"
    assert_cured(lab, nwscan, cause["remedies"][0])
    assert_cured(lab, nwscan, remedy_of(cause, "ageing"), speaks=True)


def test_a_silent_guest_has_aged_out(lab: Lab, nwscan: Nwscan) -> None:
    assert lab.host("hosta").ping(VM2.ipv4, count=1) == 1
    lab.settle()
    do(lab, f"bridge fdb del {VM2.mac} dev {lab.guest('vm2').tap} master")
    with nwscan.start("explain", "vm1", "--json") as running:
        lab.send_unsettled(Schedule(foreign=200, foreign_mac=VM2.mac))
        document = running.interrupt().document
    (cause,) = document["causes"]
    assert (cause["name"], cause["certainty"]) == ("aged_out", "likely")
    assert cause["destinations"][0]["guest"] == "vm2"
    assert f"vm2's card at {lab.guest('vm2').tap}" in cause["evidence"][0]


@pytest.mark.parametrize("remedy", ["ageing", "flood_off"])
def test_the_bridge_is_a_hub(lab: Lab, nwscan: Nwscan, ageing: Callable[[int], None], remedy: str) -> None:
    ageing(0)
    document = explained(lab, nwscan, meanwhile=lambda: speak(lab))
    cause = the_cause(document, "hub")
    assert (cause["certainty"], cause["bridge_at_fault"], document["bridge_at_fault"]) == ("certain", True, True)
    assert cause["sentence"].startswith(f"{BRIDGE} is a hub: its ageing time is 0")
    assert "it spoke from vhostb in the window and was not learnt" in cause["evidence"][0]
    assert cause["remedies"][0]["name"] == "ageing"
    assert_cured(lab, nwscan, remedy_of(cause, remedy), speaks=remedy == "ageing")


@pytest.fixture
def deaf(lab: Lab) -> Iterator[str]:
    """The ports of the hosts do not learn."""
    ports = [host.port for host in HOSTS.values()]
    do(lab, *(f"bridge link set dev {port} learning off" for port in ports))
    yield HOSTB.port
    do(lab, *(f"bridge link set dev {port} learning on" for port in ports))


@pytest.mark.parametrize("remedy", ["learning_on", "static_entry"])
def test_learning_is_off_where_the_host_speaks(lab: Lab, nwscan: Nwscan, deaf: str, remedy: str) -> None:
    document = explained(lab, nwscan, meanwhile=lambda: speak(lab))
    cause = the_cause(document, "learning_off")
    assert (cause["certainty"], cause["bridge_at_fault"]) == ("certain", True)
    assert cause["destinations"][0]["spoke_from"] == [deaf]
    assert cause["remedies"][0]["commands"] == [f"bridge link set dev {deaf} learning on"]
    assert_cured(lab, nwscan, remedy_of(cause, remedy), speaks=remedy == "learning_on")
    do(lab, f"bridge fdb del {HOSTB.mac} dev {deaf} master 2> /dev/null || true")


def test_learning_is_off_and_the_host_is_silent(lab: Lab, nwscan: Nwscan, deaf: str) -> None:
    cause = the_cause(explained(lab, nwscan), "learning_off")
    assert cause["certainty"] == "likely"
    assert deaf in cause["limits"][0]


def test_the_guest_itself_speaks_from_it(lab: Lab, nwscan: Nwscan) -> None:
    tap, other = lab.guest("vm1").tap, "02:aa:00:00:00:77"
    do(lab, f"bridge fdb replace {other} dev {tap} master dynamic")
    with nwscan.start("explain", "vm1", "--json") as running:
        lab.send_unsettled(Schedule(foreign=50, foreign_mac=other))
        document = running.interrupt().document
    do(lab, f"bridge fdb del {other} dev {tap} master")
    (cause,) = document["causes"]
    assert (cause["name"], cause["certainty"]) == ("behind_guest", "likely")


def test_the_headline_comes_first_and_the_report_keeps_the_cause(
    lab: Lab, nwscan: Nwscan, ageing: Callable[[int], None]
) -> None:
    ageing(0)
    with nwscan.start("explain", "vm1") as running:
        lab.send_unsettled(SENT)
        ended = running.interrupt()
    said = ended.stdout
    assert ended.code == 0, str(ended)
    assert said.startswith("vm1: the bridge is at fault: br0 is a hub")
    assert "    ip link set dev br0 type bridge ageing_time 30000\n" in said
    (kept,) = nwscan.state.glob("reports/*/*/*/report.json")
    (cause,) = json.loads(kept.read_bytes())["causes"]
    assert (cause["name"], cause["frames"]) == ("hub", SENT.foreign)
    assert lab.run(["nft", "list", "tables"], check=True).stdout.count("nwscan") == 0


def test_nothing_to_explain(lab: Lab, nwscan: Nwscan) -> None:
    document = own_alone(lab, nwscan, "--json").document
    assert (document["causes"], document["bridge_at_fault"], document["foreign"]["frames"]) == ([], False, 0)
    assert "there is nothing to explain" in own_alone(lab, nwscan).stdout


def own_alone(lab: Lab, nwscan: Nwscan, *options: str) -> Ended:
    """An explanation of a window in which nothing but own frames came."""
    with nwscan.start("explain", "vm1", *options) as running:
        lab.send_unsettled(Schedule(foreign=0, own=20))
        ended = running.interrupt()
    assert ended.code == 0, str(ended)
    return ended


def test_a_window_without_a_frame_gives_no_answer(lab: Lab, nwscan: Nwscan) -> None:
    lab.settle()
    assert "not one frame was seen" in nwscan.run("explain", "vm1", duration_s=0.5, code=7).stdout
