"""The lab as its user holds it: up, run, send, guests, hosts, down.

    with Lab() as lab:
        lab.send(Schedule(foreign=5000, own=2000))
        print(lab.run(["virsh", "list"]).stdout)

The lab is a child of the process that made it and cannot outlive it, not even a kill -9.
"""

import contextlib
import importlib.util
import json
import os
import re
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab import guest_image, layout
from tests.lab.domain import domain_xml
from tests.lab.guest import Guest
from tests.lab.host import Host
from tests.lab.schedule import Schedule, Sending, Truth
from tests.lab.state import LabState, read_state, restore_state

_BEGINS_S = 60.0
"""How long a schedule may take to be drawn up before its first frame, on a machine that does other things too."""

PROGRAMS = (
    "libvirtd", "virsh", "qemu-system-x86_64", "ip", "bridge", "sysctl", "ebtables", "iptables", "nft", "tcpdump",
    "tshark", "busybox", "dnsmasq",
)  # fmt: skip
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UP_TIMEOUT_S = 60.0


class LabError(Exception):
    """The lab could not do what it was asked; the text says what and shows the log where there is one."""


def missing() -> str | None:
    """One sentence that says what this machine lacks for the lab, or None."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return "the lab needs Linux on x86-64"
    if os.geteuid() != 0:
        return "the lab needs root (it makes namespaces, a bridge and a libvirtd of its own)"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=SYSTEM_PATH) is None]
    lacking += [] if importlib.util.find_spec("libvirt") else ["libvirt-python"]
    if lacking:
        return f"the lab needs programs that are not installed: {', '.join(lacking)} (make setup installs them)"
    if not Path("/dev/net/tun").exists():
        return "the lab needs /dev/net/tun, for the taps of its guests"
    if guest_image.kernel_folder() is None:
        return "the lab needs a kernel for its guests (make setup downloads one)"
    return None


class Lab:
    """A running lab; `up` and `down`, or a with statement, bound its life."""

    def __init__(self, purpose: str = "own") -> None:
        self._purpose = purpose  # shown in the process list
        self.uri = layout.URI
        self.guests = {name: Guest(self, address) for name, address in layout.GUESTS.items()}
        self.hosts = {name: Host(self, address) for name, address in layout.HOSTS.items()}
        self.init_pid = 0
        self._keeper: subprocess.Popen[bytes] | None = None
        self._lifeline = -1

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @classmethod
    def attach(cls, init_pid: int) -> Self:
        """A lab that another process holds, as `python -m tests.lab` uses to enter one."""
        lab = cls()
        lab.init_pid = init_pid
        return lab

    def __reduce__(self) -> tuple[Callable[[int], Self], tuple[int]]:
        """Let another process have it as `attach` gives it."""
        return self.attach, (self.init_pid,)

    def up(self, guests: Sequence[str] = ("vm1", "vm2")) -> None:
        """Bring up bridge, hosts, libvirtd and the guests, and wait until each guest has booted."""
        try:
            self._start_init()
            self._start_guests(guests)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End everything; when this returns, no process of the lab is left."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        if self._keeper is not None:
            try:
                self._keeper.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()
            self._keeper = None
        self.init_pid = 0

    def wait(self) -> None:
        """Wait until the lab ends, by whatever hand."""
        if self._keeper is not None:
            self._keeper.wait()

    def _start_init(self) -> None:
        lifeline, self._lifeline = os.pipe()
        reports, reports_end = os.pipe()
        try:
            command = python_command("inside", f"nwscan-lab-{self._purpose}", lifeline, reports_end)
            self._keeper = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=(lifeline, reports_end),
                start_new_session=True,
                env={"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"},
            )
        finally:
            os.close(lifeline)
            os.close(reports_end)
        with os.fdopen(reports, "rb", buffering=0) as lines:
            for line in _lines_until(lines.fileno(), UP_TIMEOUT_S):
                word, _, rest = line.partition(" ")
                if word == "pid":
                    self.init_pid = int(rest)
                elif word == "up":
                    return
                else:
                    raise LabError(f"the lab did not come up: {rest}")
        raise LabError("the lab ended before it was up")

    def _start_guests(self, names: Sequence[str]) -> None:
        kernel = guest_image.fetch_kernel()
        shutil.copy(kernel / "vmlinuz", self.outside(f"{layout.ROOT}/vmlinuz"))
        busybox = Path(shutil.which("busybox", path=SYSTEM_PATH) or "/bin/busybox")
        guest_image.write_initramfs(kernel, self.outside(f"{layout.ROOT}/initramfs"), busybox)
        for name in names:
            self.write(f"{layout.ROOT}/{name}.xml", domain_xml(layout.GUESTS[name]))
        commands = [f"define {layout.ROOT}/{name}.xml" for name in names] + [f"start {name}" for name in names]
        if commands:
            self.virsh("; ".join(commands))
        for name in names:
            self.guests[name].wait_until_ready(UP_TIMEOUT_S)

    # Places and processes

    def outside(self, path: str) -> Path:
        """Where this process finds a file of the lab."""
        return Path(f"/proc/{self.init_pid}/root{path}")

    def write(self, path: str, text: str) -> None:
        """Write a file of the lab."""
        self.outside(path).write_text(text)

    @property
    def outside_uri(self) -> str:
        """The lab's libvirtd for this process, which is outside of the lab."""
        return f"qemu+unix:///system?socket={self.outside(layout.LIBVIRT_SOCKET)}"

    @property
    def network(self) -> Path:
        """The network namespace of the bridge and the taps, for `kernel_calls.call_in_network`."""
        return Path(f"/proc/{self.init_pid}/ns/net")

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a command in the lab sees: the caller's environment, aimed at the lab's libvirtd."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("LIBVIRT_", "VIRSH_"))}
        path = f"{Path(sys.executable).parent}:{SYSTEM_PATH}:{os.environ.get('PATH', '')}"
        aims = {"LIBVIRT_DEFAULT_URI": self.uri, "NWSCAN_CONNECT": self.uri, "NWSCAN_STATE": layout.STATE}
        return own | {"PATH": path} | aims | dict(extra or {})

    def command(self, command: Sequence[str | Path], *, host: str | None = None, user: str | None = None) -> list[str]:
        """The command as it has to be started out here to run in the lab."""
        return [*python_command("enter", self.init_pid, host or "-", user or "-"), *map(str, command)]

    def popen(
        self,
        command: Sequence[str | Path],
        *,
        host: str | None = None,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        **options: object,
    ) -> subprocess.Popen[str]:
        """Start a command in the lab; kill and send_signal reach it, and it cannot outlive the lab."""
        full = self.command(command, host=host, user=user)
        return subprocess.Popen(full, env=self.environment(env), text=True, **options)  # type: ignore[call-overload, no-any-return]

    def run(
        self,
        command: Sequence[str | Path],
        *,
        host: str | None = None,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        timeout_s: float = 60.0,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the lab's namespaces (on a host's network if named) and collect what it says."""
        done = subprocess.run(
            self.command(command, host=host, user=user),
            env=self.environment(env),
            text=True,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
        )
        if check and done.returncode != 0:
            raise LabError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr}{done.stdout}")
        return done

    def virsh(self, commands: str) -> str:
        """What virsh says to one or several commands, separated by semicolons."""
        return self.run(["virsh", "-q", "-c", self.uri, commands], check=True).stdout

    def guest(self, name: str) -> Guest:
        """A guest by its name."""
        return self.guests[name]

    def host(self, name: str) -> Host:
        """A host by its name."""
        return self.hosts[name]

    # Traffic

    def forget(self, host: str = "hostb") -> None:
        """Delete the host's entry from the bridge's FDB: frames to it are flooded until it speaks again."""
        address = layout.HOSTS[host]
        entries = self.run(["bridge", "-j", "fdb", "show", "br", layout.BRIDGE, "brport", address.port], check=True)
        if any(entry["mac"] == address.mac for entry in json.loads(entries.stdout)):
            self.run(["bridge", "fdb", "del", address.mac, "dev", address.port, "master"], check=True)

    def settle(self) -> None:
        """Make the bridge know where everybody is, but hostb, and nothing else, and let nobody have a reason to speak.

        Neighbour tables are emptied, so that no host or guest probes an old neighbour while frames are counted: whoever
        counts to the frame settles (again) before the capture starts, since what was on its way is captured as well.
        """
        known = [(layout.HOSTS["hosta"].mac, layout.HOSTS["hosta"].port)]
        for name, tap in self._running().items():
            self.guests[name].shell("ip neigh flush dev eth0 2> /dev/null; true")
            known.append((self.guests[name].address.mac, tap))
        unknown = layout.HOSTS["hostb"]
        script = [f"ip -n {host} neigh flush all" for host in layout.HOSTS]
        script += [
            f"bridge fdb flush dev {port} master dynamic" for port in (unknown.port, *(each[1] for each in known))
        ]
        script += [f"bridge fdb replace {mac} dev {port} master dynamic" for mac, port in known]
        self.run(["sh", "-ec", "\n".join(script)], check=True)

    def _running(self) -> dict[str, str]:
        """The tap of each of the lab's guests that runs; a test may have others running, too."""
        import libvirt  # noqa: PLC0415 - missing() tells who lacks it

        with contextlib.closing(libvirt.openReadOnly(self.outside_uri)) as connection:
            domains = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            texts = {domain.name(): domain.XMLDesc(0) for domain in domains if domain.name() in self.guests}
        taps = {name: re.search(r"<target dev='(vnet[0-9]+)'/>", text) for name, text in texts.items()}
        return {name: found[1] for name, found in taps.items() if found is not None}

    def send(self, schedule: Schedule, *, host: str = "hosta") -> Truth:
        """Settle the lab, send the schedule from a host, and say what was sent."""
        self.settle()
        return self.send_unsettled(schedule, host=host)

    def send_unsettled(self, schedule: Schedule, *, host: str = "hosta") -> Truth:
        """Send the schedule into the lab as it is: what is foreign is flooded only if the bridge has forgotten it."""
        return Sending(schedule, self.hosts[host].open_packet_socket()).run()

    @contextlib.contextmanager
    def sending(self, schedule: Schedule, *, host: str = "hosta") -> Iterator[Sending]:
        """Send a schedule in the background while the with block runs; leaving the block stops it."""
        self.settle()
        sending = Sending(schedule, self.hosts[host].open_packet_socket())
        thread = threading.Thread(target=sending.run, name="sending")
        thread.start()
        try:
            if not sending.begun.wait(_BEGINS_S):
                raise LabError(f"nothing was sent within {_BEGINS_S:.0f} s")
            yield sending
        finally:
            sending.stop()
            thread.join()

    # State

    def state(self) -> LabState:
        """What a test can change and must put back: filters, guests, rules, bridge ports, processes."""
        return read_state(self)

    def restore(self, state: LabState) -> None:
        """Put filters and guests back to a state read before; whoever needs to know compares again."""
        restore_state(self, state)


def python_command(module: str, *arguments: object) -> list[str]:
    """How a module of the lab is started as a process of its own, wherever the caller stands."""
    start = f"import sys; sys.path.insert(0, {str(guest_image.PROJECT)!r}); from tests.lab.{module} import main; main()"
    return [sys.executable, "-I", "-S", "-c", start, *map(str, arguments)]


def _lines_until(descriptor: int, timeout_s: float) -> Iterator[str]:
    deadline = time.monotonic() + timeout_s
    rest = b""
    while select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
        received = os.read(descriptor, 4096)
        if not received:
            return
        *lines, rest = (rest + received).split(b"\n")
        yield from (line.decode() for line in lines)
    raise LabError(f"the lab did not come up within {timeout_s:.0f} s")
