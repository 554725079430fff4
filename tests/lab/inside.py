"""The first process of a lab: it makes the namespaces, is the init of everything in them, and takes it all with it.

It runs as PID 1 of a PID namespace, so that when it ends, for whatever reason, the kernel kills every process of the
lab; the mounts, the network namespaces and the files (all on a tmpfs of its own mount namespace) go with the last of
them. It ends when its standard input does, or when the process that started it dies.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.lab import kernel_calls as kernel
from tests.lab.layout import (
    BRIDGE,
    CONSOLES,
    HOSTS,
    LIBVIRT_SOCKET,
    LIBVIRTD_LOG,
    LIBVIRTD_PID,
    ROOT,
    STATE,
)

LIBVIRTD_TIMEOUT_S = 20.0
STOCK_FILTERS = Path("/usr/share/libvirt/nwfilter")

# No namespaces for qemu (/dev/kvm is masked), nothing that would reach the machine outside: no cgroups, no AppArmor.
QEMU_CONF = """\
namespaces = []
cgroup_controllers = []
security_driver = "none"
stdio_handler = "file"
"""
LIBVIRTD_CONF = f"""\
unix_sock_dir = "{Path(LIBVIRT_SOCKET).parent}"
unix_sock_rw_perms = "0777"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:stderr"
"""


def main() -> None:
    """Start a lab; argv: its name, then the descriptor of the lifeline and of the reports.

    Reports are lines: `pid N`, then `up`, or `failed` and the reason.
    """
    lifeline, reports = (int(word) for word in sys.argv[2:4])
    kernel.die_with_parent()
    kernel.unshare(kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC)
    child = os.fork()
    if child == 0:
        kernel.die_with_parent()
        code = 1
        try:
            _run_init(lifeline, reports)
            code = 0
        except Exception as error:  # noqa: BLE001 - the last stop of a process: it becomes the reason that is told
            _tell(reports, f"failed {error!r}")
        finally:
            os._exit(code)
    _tell(reports, f"pid {child}")
    os.close(lifeline)
    os.close(reports)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)


def _tell(reports: int, line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(reports, line.replace("\n", " ").encode() + b"\n")


def _run_init(lifeline: int, reports: int) -> None:
    for descriptor in (lifeline, reports):
        os.set_inheritable(descriptor, False)
    _make_mounts()
    _make_network()
    daemon = _start_libvirtd()
    reaped: list[int] = []

    def reap(*_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                reaped.append(ended)

    signal.signal(signal.SIGCHLD, reap)
    reap()
    _wait_for_libvirtd(daemon, reaped)
    _tell(reports, "up")
    os.read(lifeline, 1)  # comes back when the other end is closed, or says that it is time


def _make_mounts() -> None:
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    kernel.mount("sysfs", "/sys", "sysfs", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    kernel.mount("tmpfs", "/run", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755")
    for folder in (ROOT, STATE, CONSOLES, "/run/lock", "/run/libvirt", "/run/netns", str(Path(LIBVIRT_SOCKET).parent)):
        Path(folder).mkdir(parents=True, exist_ok=True)
    Path(CONSOLES).chmod(0o777)  # qemu runs as a user of its own and makes its sockets here
    for place in ("/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt"):
        if not Path(place).is_dir():
            raise FileNotFoundError(f"{place} is not there: libvirt-daemon-system is not installed")
        own = Path(ROOT, place.strip("/").replace("/", "-"))
        own.mkdir()
        kernel.mount(str(own), place, flags=kernel.MS_BIND)
    Path("/var/lib/libvirt/qemu").mkdir()
    shutil.copytree(STOCK_FILTERS, "/etc/libvirt/nwfilter")
    Path("/etc/libvirt/qemu.conf").write_text(QEMU_CONF)
    Path("/etc/libvirt/libvirt.conf").write_text("")
    Path(ROOT, "libvirtd.conf").write_text(LIBVIRTD_CONF)
    for name in ("libvirt-sock", "libvirt-sock-ro"):  # so that qemu:///system is the lab's own as well
        Path("/run/libvirt", name).symlink_to(Path(LIBVIRT_SOCKET).with_name(name))
    if Path("/dev/kvm").exists():
        # the guests run on any machine; where KVM is there but does not work, libvirt would probe it for a minute
        mask = Path(ROOT, "no-kvm")
        mask.touch(mode=0)
        kernel.mount(str(mask), "/dev/kvm", flags=kernel.MS_BIND)


def _make_network() -> None:
    off = ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    _do("sysctl", "-q", "-w", *off)
    _do("ip", "link", "set", "lo", "up")
    quiet = ("stp_state", "0", "mcast_snooping", "0", "mcast_querier", "0", "forward_delay", "0")
    _do("ip", "link", "add", BRIDGE, "type", "bridge", *quiet)
    _do("ip", "link", "set", BRIDGE, "up")
    for host in HOSTS.values():
        _do("ip", "netns", "add", host.name)
        _do("ip", "netns", "exec", host.name, "sysctl", "-q", "-w", *off)
        peer = ("peer", "name", "eth0", "address", host.mac, "netns", host.name)
        _do("ip", "link", "add", host.port, "type", "veth", *peer)
        _do("ip", "link", "set", host.port, "master", BRIDGE, "up")
        _do("ip", "-n", host.name, "link", "set", "lo", "up")
        _do("ip", "-n", host.name, "address", "add", f"{host.ipv4}/24", "dev", "eth0")
        _do("ip", "-n", host.name, "link", "set", "eth0", "up")


def _do(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def _start_libvirtd() -> int:
    with Path(LIBVIRTD_LOG).open("wb") as log:
        command = ["libvirtd", "-f", f"{ROOT}/libvirtd.conf", "-p", LIBVIRTD_PID]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True).pid


def _wait_for_libvirtd(daemon: int, reaped: list[int]) -> None:
    deadline = time.monotonic() + LIBVIRTD_TIMEOUT_S
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as door, contextlib.suppress(OSError):
            door.connect(LIBVIRT_SOCKET)
            return
        if daemon in reaped:
            break
        time.sleep(0.02)
    raise OSError(f"libvirtd did not come up: {Path(LIBVIRTD_LOG).read_text()[-2000:]}")
