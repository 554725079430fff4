"""Labs for people: `python -m tests.lab up|shell|run|guest|flood|list|down|demo`."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab import layout
from tests.lab.demo import run_demo
from tests.lab.guest_image import PROJECT
from tests.lab.lab import Lab, missing
from tests.lab.schedule import Schedule

NOTE = f"""\
This shell is inside a lab: its processes, network, mounts and libvirt are its own, and end with it.

  guests   vm1 {layout.GUESTS["vm1"].mac} {layout.GUESTS["vm1"].ipv4}, vm2 {layout.GUESTS["vm2"].mac} {layout.GUESTS["vm2"].ipv4}
  hosts    hosta {layout.HOSTS["hosta"].ipv4}, hostb {layout.HOSTS["hostb"].ipv4} (ip netns exec hosta ...), all on bridge {layout.BRIDGE}
  flood 200000 &    sends so many frames to hostb, which the bridge does not know, and some for vm1: about a minute of
                    it; let it run while nwscan measures
  guest vm1 'ip a'  runs a command in a guest, without touching its network
  virsh, tcpdump, bridge, ebtables and nwscan see this lab only; exit takes the lab down
"""  # noqa: E501 - as wide as the terminal that shows it


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="a lab on this machine")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring a lab up and keep it until Ctrl-C")
    commands.add_parser("shell", help="a shell inside a lab that runs, or inside one of its own")
    commands.add_parser("list", help="the labs that `up` keeps")
    commands.add_parser("down", help="end the labs that `up` keeps")
    commands.add_parser("demo", help="the main job of nwscan, typed in a lab")
    run = commands.add_parser("run", help="run a command inside a lab that runs")
    run.add_argument("words", nargs=argparse.REMAINDER)
    guest = commands.add_parser("guest", help="run a shell command in a guest of the lab")
    guest.add_argument("name", choices=layout.GUESTS)
    guest.add_argument("shell_command")
    flood = commands.add_parser("flood", help="send foreign frames, and some others, to be seen by vm1")
    flood.add_argument("foreign", nargs="?", type=int, default=5000)
    chosen = parser.parse_args(arguments)

    if chosen.command in ("up", "shell", "demo") and (reason := missing()) is not None:
        if chosen.command == "demo":
            return _offline_demo(reason)
        print(f"No lab: {reason}.", file=sys.stderr)  # noqa: T201 - a command line speaks
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _run(chosen)
    except KeyboardInterrupt:
        return 130


def _run(chosen: argparse.Namespace) -> int:
    match chosen.command:
        case "up":
            return _keep_up()
        case "demo":
            return run_demo()
        case "list":
            _say("\n".join(f"pid {pid}" for pid in running_labs()) or "no lab runs")
            return 0
        case "down":
            return _end_all()
        case "shell" if not running_labs():
            with Lab() as lab:
                return _shell(lab)
        case _:
            return _in_running_lab(chosen)


def _end_all() -> int:
    running = running_labs()
    for pid in running:
        os.kill(pid, signal.SIGKILL)  # the init of the lab's PID namespace: all else goes with it
    _say(f"{len(running)} ended")
    return 0


def _in_running_lab(chosen: argparse.Namespace) -> int:
    running = running_labs()
    if not running:
        _say("no lab runs: python -m tests.lab up starts one")
        return 1
    lab = Lab.attach(running[-1])
    if chosen.command == "shell":
        return _shell(lab)
    if chosen.command == "run":
        return subprocess.run(lab.command(chosen.words), env=lab.environment(), check=False).returncode
    if chosen.command == "guest":
        code, output = lab.guest(chosen.name).try_shell(chosen.shell_command)
        _say(output.rstrip("\n"))
        return code
    truth = lab.send(Schedule(foreign=chosen.foreign, own=chosen.foreign // 3, multicast=100, broadcast=60))
    _say(", ".join(f"{count} {kind.name.lower()}" for kind, count in truth.frames.items()) + " frames sent")
    return 0


def running_labs() -> list[int]:
    """The PIDs of the inits of the labs that `up` keeps, the newest last; inside a lab, its own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            status = (folder / "status").read_text()
            started = int((folder / "stat").read_text().rpartition(")")[2].split()[19])
        except OSError:
            continue
        inner_pid = next((line.split()[-1] for line in status.split("\n") if line.startswith("NSpid:")), "")
        if inner_pid == "1" and (b"nwscan-lab-up" in words or (folder.name == "1" and b"nwscan-lab-own" in words)):
            found.append((started, int(folder.name)))
    return [pid for _, pid in sorted(found)]


def _keep_up() -> int:
    start = time.monotonic()
    with Lab("up") as lab:
        _say(f"The lab is up after {time.monotonic() - start:.1f} s, its init is pid {lab.init_pid}.")
        _say(f"  LIBVIRT_DEFAULT_URI={lab.outside_uri}")
        _say("  python -m tests.lab shell   enters it from another terminal; Ctrl-C here takes it down")
        sys.stdout.flush()
        lab.wait()
    return 0


def _shell(lab: Lab) -> int:
    command = f"(cd '{PROJECT}' && '{sys.executable}' -m tests.lab"
    lines = [
        "[ -r ~/.bashrc ] && . ~/.bashrc",
        f'guest() {{ {command} guest "$@"); }}',
        f'flood() {{ {command} flood "$@"); }}',
        f"export PATH='{lab.environment()['PATH']}'",
        "PS1='lab:\\w# '",
        f"cat <<'NOTE'\n\n{NOTE}NOTE",
    ]
    lab.write(f"{layout.ROOT}/bashrc", "\n".join(lines) + "\n")
    shell = lab.command(["bash", "--rcfile", f"{layout.ROOT}/bashrc", "-i"])
    return subprocess.run(shell, env=lab.environment(), check=False).returncode


def _offline_demo(reason: str) -> int:
    _say(f"No lab here: {reason}. So this is the same job offline, on captures that come with nwscan.\n")
    sys.stdout.flush()
    return subprocess.run([Path(sys.executable).parent / "nwscan", "demo"], check=False).returncode


def _say(text: str) -> None:
    print(text)  # noqa: T201 - a command line speaks


if __name__ == "__main__":
    sys.exit(main())
