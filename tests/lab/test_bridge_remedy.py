"""A bridge remedy on a live tap: the flood ends, no own frame is lost, and the way back leads to the very flags."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from tests.lab import layout
from tests.lab.counted import frames_of
from tests.lab.nwscan_run import wait_for
from tests.lab.paused_guest import MACS, NAME, UUID, cards, paused_guest
from tests.lab.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json, Nwscan

VM1 = layout.GUESTS["vm1"]
INCONCLUSIVE, REFUSED, CHANGED, DRIFTED = 7, 1, 4, 1
WINDOW_S = 2.2
FLOOD = Schedule(foreign=60_000, own=24_000, multicast=2_000, broadcast=2_000, rate_fps=400)
SENT = Schedule(foreign=300, own=100, rate_fps=1000)
HOOK = f"/etc/libvirt/hooks/qemu.d/nwscan-{UUID}-{MACS[0].replace(':', '')}"


def bridge_of(lab: Lab, tap: str) -> tuple[Json, list[str]]:
    """The flags of a port, and the entries of the bridge less their age."""
    (port,) = json.loads(lab.run(["bridge", "-j", "-d", "link", "show", "dev", tap], check=True).stdout)
    entries = json.loads(lab.run(["bridge", "-j", "fdb", "show", "br", layout.BRIDGE], check=True).stdout)
    kept = sorted(f"{one['mac']} {one['ifname']} {one.get('state', '')}" for one in entries)
    return dict(port), [line for line in kept if line.startswith(("52:54", "02:aa"))]


def delivered(lab: Lab, nwscan: Nwscan) -> tuple[int, int]:
    with nwscan.start("capture", lab.guest("vm1").tap, "--json") as running:
        lab.send_unsettled(SENT)
        counts = frames_of(running.interrupt().document)
    return counts["foreign_unicast"], counts["unicast_to_guest"]


def test_the_flood_ends_and_comes_back(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    plan, tap = tmp_path / "plan.json", lab.guest("vm1").tap
    lab.settle()
    before = bridge_of(lab, tap)
    with lab.sending(FLOOD):
        words = ("suggest", "vm1", "--remedy", "flood_off", "-o", plan, "--json", "--force")
        document, reach = nwscan.run(*words, duration_s=WINDOW_S).documents
        assert all(one["can_force"] for one in document["refusals"])  # a busy machine loses frames of the capture
        removes = document["removes"]
        assert removes["of"] == removes["at_least"] == removes["at_most"]
        assert removes["of"]["frames"] > 0
        assert reach["guests"][0]["ports"] == [f"{tap} of {layout.BRIDGE}"]
        done = nwscan.run("apply", plan, "--yes", "--confirm-within", "0", code=INCONCLUSIVE, duration_s=WINDOW_S)
    assert done.stdout.splitlines()[-1] == "To undo it: nwscan rollback vm1"
    port, entries = bridge_of(lab, tap)
    assert (port["flood"], before[0]["flood"]) == (False, True)
    assert f"{VM1.mac} {tap} static" in entries
    assert document["commands"] == [
        f"bridge fdb replace {VM1.mac} dev {tap} master static",
        f"bridge link set dev {tap} flood off",
    ]
    lab.forget("hostb")
    assert delivered(lab, nwscan) == (0, SENT.own)
    assert nwscan.run("status", "--json").document["cards"][0]["has_remedy"]
    nwscan.run("rollback", "vm1", "--yes")
    lab.settle()
    assert bridge_of(lab, tap) == before
    assert delivered(lab, nwscan) == (SENT.foreign, SENT.own)


def test_a_plan_is_refused_where_the_bridge_has_changed(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    plan, tap = tmp_path / "plan.json", lab.guest("vm1").tap
    with lab.sending(FLOOD):
        nwscan.run("suggest", "vm1", "--remedy", "flood_off", "-o", plan, "--force", duration_s=WINDOW_S)
    nwscan.run("apply", plan, "--check")
    lab.run(["bridge", "link", "set", "dev", tap, "flood", "off"], check=True)
    try:
        refused = nwscan.run("apply", plan, "--check", code=CHANGED)
        assert f"the flooding to {tap} has been changed since the plan was made" in refused.stderr
    finally:
        lab.run(["bridge", "link", "set", "dev", tap, "flood", "on"], check=True)
    own = ["bridge", "fdb", "replace", VM1.mac, "dev", tap, "master"]
    lab.run([*own, "static"], check=True)
    try:
        refused = nwscan.run("apply", plan, "--yes", code=CHANGED)
        assert f"somebody changed the entry of {VM1.mac}" in refused.stderr
    finally:
        lab.run([*own, "dynamic"], check=True)
    nwscan.run("apply", plan, "--check")
    assert nwscan.run("status", "--json").document["cards"] == []


@pytest.fixture
def a_hook_of_somebody_else(lab: Lab) -> Iterator[Path]:
    """There is one already; whatever happens, nobody touches it."""
    folder = lab.outside(HOOK).parent
    folder.mkdir(parents=True)
    other = folder / "somebody-elses"
    other.write_text("#!/bin/sh\nexit 0\n")
    other.chmod(0o755)
    yield other
    assert other.read_text() == "#!/bin/sh\nexit 0\n"
    other.unlink()
    assert list(folder.iterdir()) == []
    folder.rmdir()
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def tap_of(lab: Lab) -> str:
    return next(line.split()[0] for line in lab.virsh(f"domiflist '{NAME}'").splitlines() if line.strip())


def test_the_hook_does_it_again_when_the_guest_starts(
    lab: Lab, nwscan: Nwscan, tmp_path: Path, a_hook_of_somebody_else: Path
) -> None:
    plan = tmp_path / "plan.json"
    with paused_guest(lab, cards(), cards()):
        with lab.sending(FLOOD):
            words = ("suggest", NAME, "--remedy", "flood_off", "--hook", "-o", plan, "--force")
            told = nwscan.run(*words, duration_s=WINDOW_S).stdout
            assert "systemctl reload" in told
            assert "#!/bin/sh" in told
            nwscan.run("apply", plan, "--yes", "--confirm-within", "0", code=INCONCLUSIVE, duration_s=WINDOW_S)
        assert a_hook_of_somebody_else.with_name(lab.outside(HOOK).name).stat().st_mode & 0o777 == 0o755
        first = tap_of(lab)
        lab.run(["sh", "-c", f"kill -HUP $(cat {layout.LIBVIRTD_PID})"], check=True)

        def is_done_again() -> bool:
            lab.virsh(f"destroy '{NAME}'; start '{NAME}'; suspend '{NAME}'")
            return not bridge_of(lab, tap_of(lab))[0]["flood"]

        wait_for(is_done_again, "libvirt runs the hook")
        now = tap_of(lab)
        assert f"{MACS[0]} {now} static" in bridge_of(lab, now)[1]
        assert (now != first, nwscan.run("status", "--json").document["cards"][0]["drift"]) == (True, [])
        undone = nwscan.run("rollback", NAME, "--yes").stdout
        assert "removed the hook" in undone
        assert bridge_of(lab, now)[0]["flood"]
        assert f"{MACS[0]} {now} static" not in bridge_of(lab, now)[1]
        assert not lab.outside(HOOK).exists()


def test_without_the_hook_a_restart_is_told_and_repaired(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    with paused_guest(lab, cards(), cards()):
        with lab.sending(FLOOD):
            nwscan.run("suggest", NAME, "--remedy", "flood_off", "-o", plan, "--force", duration_s=WINDOW_S)
            nwscan.run("apply", plan, "--yes", "--confirm-within", "0", code=INCONCLUSIVE, duration_s=WINDOW_S)
        lab.virsh(f"destroy '{NAME}'; start '{NAME}' --paused")
        (card,) = nwscan.run("status", "--json", code=DRIFTED).document["cards"]
        assert {one["cause"] for one in card["causes"]} == {"guest_restarted"}
        nwscan.run("status", "--repair", "--yes")
        assert not bridge_of(lab, tap_of(lab))[0]["flood"]
        nwscan.run("rollback", NAME, "--yes")
        port, entries = bridge_of(lab, tap_of(lab))
        assert port["flood"]
        assert not any(line.startswith(MACS[0]) and line.endswith("static") for line in entries)
