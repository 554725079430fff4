"""The expression of what a filter drops, against tcpdump: it shows exactly the frames that the evaluator drops."""

from __future__ import annotations

import shutil
import struct
import subprocess
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings

from analyzer.classify.decode import decode
from analyzer.errors import InputError, UsageError
from analyzer.model.addresses import parse_mac
from generator.evaluate.expression import expression_of
from generator.evaluate.fields import Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.program import instantiate
from tests.nwfilter_values import VARIABLES, frame, trees
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from pathlib import Path

    from generator.nwfilter.model import Filter

FRAMES = [frame(Random(7 + number), number) for number in range(300)]  # noqa: S311 - test frames
BATCH = decode(raw_frames(FRAMES))
MAC = parse_mac(VARIABLES["MAC"][0])


def write_pcap(path: Path, frames: list[bytes]) -> None:
    """Write a pcap whose i-th frame has the time i."""
    records = (struct.pack("<IIII", i, 0, len(each), len(each)) + each for i, each in enumerate(frames))
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(records))


def shown(path: Path, expression: str) -> list[int]:
    """Give the numbers of the frames that tcpdump shows."""
    done = subprocess.run(["tcpdump", "-r", path, "-w", "-", expression], capture_output=True, timeout=60, check=False)
    if b"expression rejects all packets" in done.stderr:  # that ends with 1
        return []
    assert done.returncode == 0, (done.stderr, expression)
    numbers, at = [], 24
    while at < len(done.stdout):
        number, _, captured, _ = struct.unpack_from("<IIII", done.stdout, at)
        numbers.append(number)
        at += 16 + captured
    return numbers


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("tcpdump"):
        pytest.skip("tcpdump is missing")
    path = tmp_path_factory.mktemp("expression") / "frames.pcap"
    write_pcap(path, FRAMES)
    return path


@given(tree=trees(("mac", "mac", "vlan", "ip", "ipv6", "arp")))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_tcpdump_shows_what_is_dropped(capture: Path, tree: tuple[Filter, dict[str, Filter]]) -> None:
    try:
        program = instantiate(*tree, VARIABLES)
        matcher = Matcher(program)
    except (InputError, UsageError):
        return
    found = expression_of(program, (MAC,))
    event(f"expression: {found.text is not None}")
    verdicts = matcher.run(BATCH, np.asarray(BATCH.src != MAC))
    dropped = np.flatnonzero(verdicts.verdict == Verdict.DROP).tolist()
    if found.text is not None:
        assert shown(capture, found.text) == dropped, found.text
    elif found.why == "it drops nothing":
        assert dropped == []
    elif found.why == "it drops every frame":
        assert len(dropped) == len(FRAMES)
