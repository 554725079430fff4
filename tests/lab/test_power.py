"""A real drop is called effective, in every window in which there was enough to drop."""

from __future__ import annotations

import os
import shutil

import pytest

from analyzer.compare import Verdict
from analyzer.compare.judgement import MINIMUM_OFFERED
from analyzer.model.classes import FrameClass
from tests.lab.power import DESTINATIONS, windows

if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "ebtables"))):
    pytest.skip("real drops need root, iproute2, nftables and ebtables", allow_module_level=True)

WINDOWS = 60
FOREIGN = FrameClass.FOREIGN_UNICAST


@pytest.mark.slow
def test_a_real_drop_is_called_effective() -> None:
    effective = 0
    for drawn, reading, comparison in windows(WINDOWS):
        sent = drawn.sum(axis=0)
        for row in DESTINATIONS:
            assert reading.offered[row, 0] == sent[row]
            assert reading.delivered[row, 0] == (0 if row is FOREIGN else sent[row])
        is_enough = sent[FOREIGN] >= MINIMUM_OFFERED
        assert (comparison.verdict is Verdict.EFFECTIVE) == is_enough, comparison.why
        effective += comparison.verdict is Verdict.EFFECTIVE
    assert effective > 0.95 * WINDOWS
