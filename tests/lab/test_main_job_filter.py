"""The second half of the main job: a filter through the real libvirt, proof on both of its sides, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab import layout
from tests.lab.counted import frames_of, sent, whole_schedule
from tests.lab.frames import Kind
from tests.lab.nwscan_run import wait_for
from tests.lab.schedule import Schedule
from tests.lab.tap_capture import tcpdump

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Ended, Json, Nwscan
    from tests.lab.schedule import Truth

EFFECTIVE, NO_EFFECT, INCONCLUSIVE = 0, 1, 7
VM1 = layout.GUESTS["vm1"]
FILTER = f"nwscan-{VM1.uuid[:8]}-0"
WINDOW_S = 2.2
"""A filter is suggested from two seconds at least."""


def suggest_and_apply(lab: Lab, nwscan: Nwscan) -> Ended:
    """The whole loop, while foreign traffic goes on."""
    with lab.sending(Schedule(foreign=60_000, own=24_000, multicast=6_000, broadcast=3_600, rate_fps=800)):
        return nwscan.run("suggest", "--apply", VM1.name, "--yes", duration_s=WINDOW_S)


def verified(lab: Lab, nwscan: Nwscan, tmp_path: Path, arriving: dict[Kind, int]) -> tuple[Truth, Ended, Json]:
    """Verify while the schedule is sent; tcpdump waits on vnet1 (no filter there) and on vnet0 for what arrives.

    Gives what was sent, how verify ended, and the report that it kept.
    """
    with (
        tcpdump(lab, lab.guest("vm1").tap, tmp_path / "vm1.pcap") as at_vm1,
        tcpdump(lab, lab.guest("vm2").tap, tmp_path / "vm2.pcap") as at_vm2,
        nwscan.start("verify", VM1.name, "--json") as verify,
    ):
        truth = lab.send(whole_schedule())
        to_vm2 = truth.frames | {Kind.OWN: 0}
        assert at_vm2.wait_for(truth, to_vm2) == to_vm2
        assert at_vm1.wait_for(truth, arriving) == arriving
        ended = verify.interrupt()
    newest = max((nwscan.state / "reports").rglob("report.json"))
    return truth, ended, nwscan.run("analyze", newest.with_name("frames.pcapng"), "--json").document


def metered(verdict: Json, side: str) -> dict[str, int]:
    return {row["class"]: row[side]["frames"] for row in verdict["classes"]}


def guards(verdict: Json) -> dict[str, tuple[int, int]]:
    return {guard["name"]: (guard["offered"], guard["delivered"]) for guard in verdict["guards"]}


WANTED = {"own unicast": (2000, 2000), "multicast": (500, 500), "broadcast": (300, 300)}


def test_without_a_filter_verify_says_not_effective(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    truth, ended, seen = verified(lab, nwscan, tmp_path, whole_schedule().counts)
    assert ended.code == NO_EFFECT, str(ended)
    verdict = ended.document
    assert verdict["schema"] == "nwscan.verdict/1"
    assert verdict["verdict"] == "no_effect"
    assert metered(verdict, "offered") == metered(verdict, "delivered") == frames_of(seen) == sent(truth)
    assert guards(verdict) == WANTED


def test_the_filter_drops_what_is_foreign_and_nothing_else(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    applied = suggest_and_apply(lab, nwscan)
    assert "\nvm1: effective: 0 of " in applied.stdout
    assert applied.stdout.splitlines()[-1] == "To undo it: nwscan rollback vm1"
    guest = lab.guest("vm1")
    guest.set_promiscuous(on=True)  # so that its card counts whatever reaches it
    before = guest.counters()["rx_packets"]

    wanted = whole_schedule().counts | {Kind.FOREIGN: 0}
    truth, ended, seen = verified(lab, nwscan, tmp_path, wanted)
    assert ended.code == EFFECTIVE, str(ended)
    verdict = ended.document
    assert verdict["verdict"] == "effective"
    assert (
        verdict["meter"] | {"foreign_offered": 5000, "foreign_delivered": 0, "foreign_bypassed": 0} == verdict["meter"]
    )
    assert metered(verdict, "offered") == sent(truth)
    assert metered(verdict, "delivered") == frames_of(seen) == sent(truth, foreign_unicast=0)
    assert guards(verdict) == WANTED
    wait_for(lambda: guest.counters()["rx_packets"] - before >= sum(wanted.values()), "all wanted frames are in vm1")
    assert guest.counters()["rx_packets"] - before == sum(wanted.values())
    guest.set_promiscuous(on=False)

    lab.settle()  # the filter is still there; what it would drop is not
    quiet = nwscan.run("verify", VM1.name, "--json", code=INCONCLUSIVE).document
    assert (quiet["verdict"], quiet["meter"]["foreign_offered"]) == ("inconclusive", 0)
    assert quiet["why"].startswith("0 frames of foreign unicast were offered")
    nwscan.run("rollback", VM1.name, "--yes")


def test_rollback_leaves_everything_as_it_was(lab: Lab, nwscan: Nwscan) -> None:
    guest = lab.guest("vm1")

    def written() -> tuple[str, str, str]:
        return guest.domain_xml(), guest.domain_xml(inactive=True), lab.virsh("nwfilter-list")

    nothing = nwscan.run("status").stdout
    assert nothing == "no guest has a filter, and nothing of nwscan is in force\n"
    before, state = written(), lab.state()
    suggest_and_apply(lab, nwscan)
    live, inactive, filters = written()
    assert f"<filterref filter='{FILTER}'/>" in live
    assert f"<filterref filter='{FILTER}'/>" in inactive
    assert {FILTER, f"{FILTER}-mac"} <= set(filters.split())
    (card,) = nwscan.run("status", "--json").document["cards"]
    assert {card[key] for key in ("intended", "live", "inactive", "binding")} == {FILTER}
    assert (card["guest"], card["mac"], card["drift"]) == ("vm1", VM1.mac, [])
    assert card["rules"] > 0

    undone = nwscan.run("rollback", VM1.name, "--yes")
    assert "undone: " in undone.stdout
    assert written() == before
    assert state.differences(lab.state()) == []
    assert nwscan.run("status").stdout == nothing
    again = nwscan.run("rollback", VM1.name, "--yes")
    assert again.stdout == "nothing to undo on vm1\n"
    assert written() == before
    assert nwscan.run("rollback", "--all", "--yes").stdout == "nothing to undo\n"
