from pathlib import Path

from tests.lab.frames import Kind
from tests.lab.lab import Lab
from tests.lab.schedule import Schedule
from tests.lab.tap_capture import tcpdump


def test_guests_answer(lab: Lab) -> None:
    for guest in lab.guests.values():
        lab.host("hosta").forget_neighbours()  # ARP from cold
        assert lab.host("hosta").ping(guest.address.ipv4) == 3
        assert lab.host("hostb").echo_tcp(guest.address.ipv4, f"hello {guest.name}") == f"hello {guest.name}"


def test_guests_shell_tells_exit_code_and_output(lab: Lab) -> None:
    guest = lab.guest("vm1")
    assert guest.shell("echo one; echo two >&2") == "one\ntwo\n"
    assert guest.try_shell("cat; exit 3") == (3, "")
    assert lab.guest("vm2").shell("hostname") == "vm2\n"
    assert guest.counters()["tx_errors"] == 0


def test_guest_gets_a_lease(lab: Lab) -> None:
    with lab.host("hosta").dhcp_server(first="192.0.2.150", last="192.0.2.150"):
        assert lab.guest("vm1").request_lease() == "192.0.2.150"
    lab.guest("vm1").shell("ip addr del 192.0.2.150/24 dev eth0")


def test_neighbour_discovery_when_ipv6_is_turned_on(lab: Lab) -> None:
    host, guest = lab.host("hosta"), lab.guest("vm1")
    host.enable_ipv6()
    guest.enable_ipv6()
    assert host.ping(guest.address.ipv6) == 3
    guest.disable_ipv6()
    host.disable_ipv6()
    assert host.ping(guest.address.ipv6, count=1, deadline_s=1) == 0


def test_flood_reaches_the_taps_to_the_frame(lab: Lab, tmp_path: Path) -> None:
    schedule = Schedule(foreign=5000, own=2000, multicast=500, broadcast=300)
    taps = {name: lab.guest(name).tap for name in ("vm1", "vm2")}
    with (
        tcpdump(lab, taps["vm1"], tmp_path / "vm1.pcap") as at_vm1,
        tcpdump(lab, taps["vm2"], tmp_path / "vm2.pcap") as at_vm2,
    ):
        truth = lab.send(schedule)
        to_others = truth.frames | {Kind.OWN: 0}
        assert at_vm1.wait_for(truth, truth.frames) == truth.frames
        assert at_vm2.wait_for(truth, to_others) == to_others
    assert truth.frames == {Kind.FOREIGN: 5000, Kind.OWN: 2000, Kind.MULTICAST: 500, Kind.BROADCAST: 300}
    for name in taps:  # nobody but the sender spoke
        counted = lab.run(["tcpdump", "--count", "-r", tmp_path / f"{name}.pcap"], check=True).stdout
        assert int(counted.split()[0]) == sum((truth.frames if name == "vm1" else to_others).values())


def test_flood_stops_when_the_far_host_has_spoken(lab: Lab, tmp_path: Path) -> None:
    with tcpdump(lab, lab.guest("vm1").tap, tmp_path / "vm1.pcap") as capture:
        first = lab.send(Schedule(foreign=20))
        assert capture.wait_for(first, first.frames)[Kind.FOREIGN] == 20
        lab.settle()
        assert lab.host("hostb").ping(lab.host("hosta").address.ipv4, count=1) == 1
        second = lab.send_unsettled(Schedule(foreign=20, broadcast=1))
        assert capture.wait_for(second, {Kind.BROADCAST: 1}) == second.frames | {Kind.FOREIGN: 0}
