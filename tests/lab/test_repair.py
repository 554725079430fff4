"""What drifts on a real host is named, put right by one command, and undone with all else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from generator.deploy.plan import encode
from tests.lab import layout
from tests.lab.deploy_bench import Bench, is_started, kill_libvirtd
from tests.lab.paused_guest import NAME, cards, paused_guest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json, Nwscan

DRIFTED = 1
PARENT = "nwscan-8f31c0de-0"


def tap(lab: Lab) -> str:
    return next(line.split()[0] for line in lab.virsh(f"domiflist '{NAME}'").splitlines() if line.strip())


def flush(lab: Lab) -> None:
    lab.run(["ebtables", "-t", "nat", "-F"], check=True)


def delete_binding(lab: Lab) -> None:
    lab.virsh(f"nwfilter-binding-delete {tap(lab)}")


def edit_filter(lab: Lab) -> None:
    text = lab.virsh(f"nwfilter-dumpxml {PARENT}-mac").replace("action='drop'", "action='return'")
    lab.write(f"{layout.ROOT}/edited.xml", text)
    lab.virsh(f"nwfilter-define {layout.ROOT}/edited.xml")


def restart_without(lab: Lab) -> None:
    """Another program defines the guest as it was, and starts it anew."""
    text = lab.virsh(f"dumpxml --inactive '{NAME}'")
    begin, rest = text.split("<filterref", 1)
    lab.write(f"{layout.ROOT}/without.xml", begin + rest.split("/>", 1)[1])
    lab.virsh(f"define {layout.ROOT}/without.xml; destroy '{NAME}'; start '{NAME}' --paused")


DRIFTS: dict[str, tuple[Callable[[Lab], None], set[str]]] = {
    "the firewall is flushed": (flush, {"firewall_reloaded"}),
    "the binding is deleted": (delete_binding, {"binding_deleted"}),
    "the filter is edited": (edit_filter, {"filter_edited"}),
    "the guest is restarted without it": (restart_without, {"guest_restarted", "card_changed"}),
}


def card_of(nwscan: Nwscan, code: int = 0) -> Json:
    (card,) = [one for one in nwscan.run("status", "--json", code=code).document["cards"] if one["guest"] == NAME]
    return dict(card)


def rules(lab: Lab) -> list[str]:
    return sorted(line for line in lab.run(["ebtables-save"], check=True).stdout.splitlines() if tap(lab) in line)


@pytest.mark.parametrize("drift", DRIFTS)
def test_drift_is_named_and_put_right(lab: Lab, nwscan: Nwscan, tmp_path: Path, drift: str) -> None:
    act, causes = DRIFTS[drift]
    with paused_guest(lab, cards(), cards()):
        before = lab.virsh("nwfilter-list")
        plan = tmp_path / "plan.json"
        applied(lab, nwscan, plan)
        intended = len(rules(lab))
        assert intended
        act(lab)
        card = card_of(nwscan, DRIFTED)
        assert {one["cause"] for one in card["causes"]} == causes
        assert all(one["can_repair"] for one in card["causes"])
        repaired = nwscan.run("status", "--repair", "--yes")
        assert f"repaired {NAME}" in repaired.stderr
        if drift in {"the firewall is flushed", "the binding is deleted"}:
            assert "anew took" in repaired.stderr
        card = card_of(nwscan)
        assert (card["drift"], card["live"], card["inactive"], card["binding"]) == ([], PARENT, PARENT, PARENT)
        assert len(rules(lab)) == intended
        nwscan.run("rollback", NAME, "--yes")
        assert rules(lab) == []
        assert lab.virsh("nwfilter-list") == before
        assert "<filterref" not in lab.virsh(f"dumpxml --inactive '{NAME}'")


def applied(lab: Lab, nwscan: Nwscan, plan: Path) -> None:
    """Put our filter on the guest, whose window is too short for any verdict: the plan is what counts here."""
    bench = Bench(lab, nwscan.state / "unused")
    made = bench.plan()
    plan.write_bytes(encode(made).replace(bench.uri.encode(), lab.uri.encode()))
    nwscan.run("apply", plan, "--yes", "--confirm-within", "0", code=7, duration_s=0.3)


def test_chains_that_libvirt_has_half_made_are_told(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    """A libvirtd that is killed amid a redefinition leaves such, and may not start with them: test_faults.py."""
    with paused_guest(lab, cards(), cards()):
        applied(lab, nwscan, tmp_path / "plan.json")
        root, chain = f"libvirt-O-{tap(lab)}", f"P-{tap(lab)}-mac-nwscan"
        kill_libvirtd(lab)
        lab.run(["ebtables", "-t", "nat", "-N", chain], check=True)
        lab.run(["ebtables", "-t", "nat", "-A", root, "-p", "ARP", "-j", chain], check=True)
        (told,) = [one for one in nwscan.run("doctor", "--json", code=1).document["checks"] if one["name"] == "libvirt"]
        assert f"it ended amid redefining a filter and left {chain}" in told["found"]
        (commands,) = re.findall(r"ebtables -t nat -D .*; done", told["hint"])
        lab.run(["sh", "-ec", commands], check=True)
        assert chain not in lab.run(["ebtables-save"], check=True).stdout
        assert is_started(lab)
        nwscan.run("rollback", NAME, "--yes")
        assert rules(lab) == []
