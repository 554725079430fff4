"""What a plan rests on besides what it changes is looked at again before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analyzer.errors import HostError
from tests.lab import layout
from tests.lab.deploy_bench import CLEAN, Bench
from tests.lab.paused_guest import cards, filterref, paused_guest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab


def test_what_a_plan_rests_on_is_looked_at_again(lab: Lab, tmp_path: Path) -> None:
    """A filter that ours stands before is edited behind our back; and a clone takes ours along."""
    bench = Bench(lab, tmp_path / "journal")
    stock = lab.virsh("nwfilter-dumpxml no-mac-spoofing")
    with paused_guest(lab, cards(reference=CLEAN), cards(reference=CLEAN)):
        plan, before = bench.plan(), bench.texts()
        lab.write(f"{layout.ROOT}/edited.xml", stock.replace("priority='500'", "priority='501'", 1))
        lab.virsh(f"nwfilter-define {layout.ROOT}/edited.xml")
        try:
            with pytest.raises(HostError, match="filter no-mac-spoofing has changed since the plan was made"):
                bench.apply(plan)
        finally:
            lab.write(f"{layout.ROOT}/edited.xml", stock)
            lab.virsh(f"nwfilter-define {layout.ROOT}/edited.xml")
        clone = cards(("52:54:00:00:08:0c",), filterref(plan.filters[-1]))
        with (
            paused_guest(lab, None, clone, name="clone", uuid="8f31c0de-616e-4c61-8b00-0000000000cc"),
            pytest.raises(HostError, match=r"others refer to filter .* \(now guest clone \(next start\)\)"),
        ):
            bench.apply(plan)
        assert bench.texts() == before
        bench.apply(plan)
        bench.rollback()
        assert bench.texts() == before
