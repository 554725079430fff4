"""A bridge with two taps in a network namespace of its own, to ask the real kernel what becomes of frames.

The guest's tap carries the rules; the peer's tap is the rest of the network. Whatever is written to one tap comes out
of the other, or does not: the bridge is a hub (ageing 0), without snooping, STP, IPv6 or a call to iptables.
Everything runs in one thread, which lives in the namespace; when it ends, nothing is left.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import select
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from generator.evaluate.program import Program

T = TypeVar("T")
GUEST_TAP = "tapg"
PEER_TAP = "tapp"
TUNSETIFF = 0x400454CA
IFF_TAP_NO_PI = 0x1002
CLONE_NEWNET = 0x40000000
CLONE_NEWNS = 0x00020000
DEADLINE_S = 5.0


def _tap(name: str) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TAP_NO_PI))
    return tap


def _run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}\n{text or ''}")
    return done.stdout


class KernelBridge:
    """Use as a context manager; every method runs in the namespace."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._taps: tuple[int, int] = (-1, -1)

    def __enter__(self) -> Self:
        self._call(self._set_up)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for tap in self._taps:
            if tap >= 0:
                os.close(tap)
        self._thread.shutdown()

    def _call(self, function: Callable[[], T]) -> T:
        return self._thread.submit(function).result()

    def _set_up(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET | CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "unshare")
        self._taps = (_tap(GUEST_TAP), _tap(PEER_TAP))
        for setting in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{setting}/disable_ipv6").write_text("1")
        _run("ip", "link", "add", "brk", "type", "bridge", "ageing_time", "0", "stp_state", "0", "mcast_snooping", "0")
        for name in (GUEST_TAP, PEER_TAP):
            _run("ip", "link", "set", name, "address", f"02:00:00:00:ff:0{1 + (name == PEER_TAP)}")
            _run("ip", "link", "set", name, "master", "brk", "up")
        _run("ip", "link", "set", "brk", "address", "02:00:00:00:ff:01", "up")
        for name in ("iptables", "ip6tables", "arptables"):
            knob = Path(f"/proc/sys/net/bridge/bridge-nf-call-{name}")
            if knob.exists():
                knob.write_text("0")
        self._wait_until_it_forwards()

    def _wait_until_it_forwards(self) -> None:
        deadline = time.monotonic() + DEADLINE_S
        probe = bytes.fromhex("ffffffffffff0200000000aa88b5") + b"probe" * 10
        while time.monotonic() < deadline:
            os.write(self._taps[1], probe)
            if select.select([self._taps[0]], [], [], 0.05)[0]:
                self._drain()
                return
        raise RuntimeError("the bridge does not forward")

    def _drain(self) -> None:
        while select.select(self._taps, [], [], 0.05)[0]:
            for tap in self._taps:
                try:
                    os.read(tap, 65536)
                except BlockingIOError:
                    continue

    def install(self, program: Program) -> None:
        """Put the ebtables commands of ``program`` in, in place of all that was there."""
        self._call(lambda: self._install(program))

    def _install(self, program: Program) -> None:
        _run("nft", "flush", "ruleset")
        commands = [line.removeprefix("ebtables --concurrent -t nat ") for line in program.ebtables(GUEST_TAP)]
        chains = dict.fromkeys(line.split()[1] for line in commands)
        for line in commands:
            chains[line.rsplit(maxsplit=1)[1]] = None
        for target in ("ACCEPT", "DROP", "RETURN", "CONTINUE"):
            chains.pop(target, None)
        lines = ["*nat", ":PREROUTING ACCEPT", ":OUTPUT ACCEPT", ":POSTROUTING ACCEPT"]
        lines += [f"-N {chain}" for chain in chains]
        lines += [line.replace("'!'", "!") for line in commands]
        for chain, hook, flag in (
            (f"libvirt-I-{GUEST_TAP}", "PREROUTING", "-i"),
            (f"libvirt-O-{GUEST_TAP}", "POSTROUTING", "-o"),
        ):
            if chain in chains:
                lines.append(f"-A {hook} {flag} {GUEST_TAP} -j {chain}")
        _run("ebtables-restore", "--noflush", text="\n".join([*lines, "COMMIT", ""]))

    def send(self, frames: Sequence[bytes], to_guest: Sequence[bool]) -> list[bool]:
        """Send ``frames`` and say for each whether it came out at the other end.

        The last four octets of a frame must be its number, big-endian.
        """
        return self._call(lambda: self._send(frames, to_guest))

    def _send(self, frames: Sequence[bytes], to_guest: Sequence[bool]) -> list[bool]:
        passed = [False] * len(frames)
        for number, (frame, inwards) in enumerate(zip(frames, to_guest, strict=True)):
            os.write(self._taps[inwards], frame)
            if number % 100 == 99:
                self._collect(passed)
        self._collect(passed)
        return passed

    def _collect(self, passed: list[bool]) -> None:
        """Read what has come out; a bridge forwards within the write, so that what is not there now never comes."""
        for tap in self._taps:
            while True:
                try:
                    frame = os.read(tap, 65536)
                except BlockingIOError:
                    break
                number = int.from_bytes(frame[-4:], "big")
                if number < len(passed):
                    passed[number] = True

    def counters(self, program: Program) -> list[int]:
        """Give the frames that each ebtables command of ``program`` has counted, in the order of its commands."""
        return self._call(lambda: self._counters(program))

    def _counters(self, program: Program) -> list[int]:
        listed: dict[str, list[int]] = {}
        for line in _run("ebtables-save", "-c").splitlines():
            found = re.match(r"\[(\d+):\d+\] -A (\S+)", line)
            if found:
                listed.setdefault(found.group(2), []).append(int(found.group(1)))
        return [listed[line.split()[5]].pop(0) for line in program.ebtables(GUEST_TAP)]
