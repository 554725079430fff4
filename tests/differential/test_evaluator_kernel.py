"""What the evaluator says a filter does to a frame, against what the kernel's bridge and ebtables do to it."""

from __future__ import annotations

import os
import shutil
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from analyzer.classify.decode import decode
from analyzer.errors import InputError, UsageError
from generator.evaluate.fields import Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.program import instantiate
from generator.nwfilter.model import Filter
from tests.differential.kernel_bridge import GUEST_TAP, KernelBridge
from tests.nwfilter_values import VARIABLES, every_single_condition, frame, trees
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAMES = 100
# about a quarter of the trees cannot be installed and are passed over, so that 200 and more are tried
FILTERS = int(os.environ.get("NWSCAN_KERNEL_FILTERS", "300"))

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def bridge() -> Iterator[KernelBridge]:
    missing = [name for name in ("ebtables-restore", "nft", "ip") if shutil.which(name) is None]
    if os.geteuid() or missing or not os.path.exists("/dev/net/tun"):  # noqa: PTH110
        reason = f"needs root, /dev/net/tun and {', '.join(missing) or 'programs that are here'}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with KernelBridge() as made:
        yield made


@given(tree=trees(), seed=st.integers(0, 2**32))
@settings(
    max_examples=FILTERS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_fate_and_deciding_rules_equal_the_kernels(
    bridge: KernelBridge, tree: tuple[Filter, dict[str, Filter]], seed: int
) -> None:
    root, library = tree
    try:
        program = instantiate(root, library, VARIABLES)
        matcher = Matcher(program)
    except (InputError, UsageError) as refused:
        event(f"refused: {refused.what[:40]}")
        return
    random = Random(seed)  # noqa: S311 - test frames
    frames = [frame(random, number) for number in range(FRAMES)]
    to_guest = [random.random() < 0.6 for _ in frames]
    bridge.install(program)
    passed = bridge.send(frames, to_guest)
    counted = bridge.counters(program)
    batch = decode(raw_frames(frames))
    verdicts = matcher.run(batch, np.array(to_guest))
    wrong = [
        (frames[i].hex(), to_guest[i], Verdict(verdicts.verdict[i]).name, program.lines(GUEST_TAP)[verdicts.rule[i]])
        for i in range(FRAMES)
        if (verdicts.verdict[i] == Verdict.ACCEPT) != passed[i] or verdicts.verdict[i] == Verdict.UNKNOWN
    ]
    lines = "\n".join(
        f"{ours} {theirs} {line}"
        for ours, theirs, line in zip(matcher.hits[:, 0], counted, program.ebtables(GUEST_TAP), strict=True)
    )
    assert not wrong, f"{wrong[:3]}\n{lines}"
    assert matcher.hits[:, 0].tolist() == counted, lines


def test_every_single_condition_counts_as_the_kernel_counts(bridge: KernelBridge) -> None:
    possible = []
    for rule in every_single_condition():
        try:
            Matcher(instantiate(Filter("one", entries=(rule,)), {}, VARIABLES))
        except (InputError, UsageError):
            continue
        possible.append(rule)
    assert len(possible) > 500
    program = instantiate(Filter("all", entries=tuple(possible)), {}, VARIABLES)
    matcher = Matcher(program)
    random = Random(1)  # noqa: S311 - test frames
    frames = [frame(random, number) for number in range(4000)]
    to_guest = [random.random() < 0.5 for _ in frames]
    bridge.install(program)
    assert all(bridge.send(frames, to_guest))
    matcher.run(decode(raw_frames(frames)), np.array(to_guest))
    counted = bridge.counters(program)
    wrong = [
        (ours, theirs, line)
        for ours, theirs, line in zip(matcher.hits[:, 0].tolist(), counted, program.ebtables(GUEST_TAP), strict=True)
        if ours != theirs
    ]
    assert not wrong, wrong[:5]
    assert sum(bool(count) for count in counted) > len(counted) * 0.6
