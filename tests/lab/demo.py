"""The main job of nwscan, typed in a lab: measure a real guest, filter it, prove it, undo it."""

import subprocess
import sys
import time

from tests.lab.lab import Lab
from tests.lab.schedule import Schedule

WINDOW_S = 5
COMMANDS = (
    "nwscan list",
    "nwscan capture vnet0",
    "nwscan suggest --apply vm1 --yes",
    "nwscan verify vm1",
    "nwscan rollback vm1 --yes",
)
# Two minutes at most: what the demo needs is under one, and the traffic ends with the demo.
TRAFFIC = Schedule(foreign=60_000, own=24_000, multicast=6_000, broadcast=3_600, rate_fps=800)


def run_demo(commands: tuple[str, ...] = COMMANDS) -> int:
    """Type the commands in a lab with foreign traffic; 0 if every one of them succeeded."""
    start = time.monotonic()
    _say(
        "Starting a lab: a libvirtd of its own, two guests, two hosts, one bridge. Nothing of this machine is touched."
    )
    failed = []
    with Lab() as lab:
        _say(
            f"Up after {time.monotonic() - start:.1f} s. The bridge has forgotten where hostb is, so what hosta sends"
            " to hostb\nis flooded to every port, and both guests have to look at it."
        )
        with lab.sending(TRAFFIC):
            environment = lab.environment({"NWSCAN_DURATION": str(WINDOW_S)})
            for command in commands:
                _say(f"\n# {command}" if not sys.stdout.isatty() else f"\n\x1b[1m# {command}\x1b[0m")
                done = subprocess.run(lab.command(command.split()), env=environment, check=False)
                if done.returncode != 0:
                    failed.append(f"{command} (exit {done.returncode})")
    if failed:
        _say(f"\nThe demo failed: {', '.join(failed)}")
        return 1
    _say(
        f"\nDone in {time.monotonic() - start:.0f} s, and the lab is gone. make lab-shell starts one to look around in."
    )
    return 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the demo speaks to a person
