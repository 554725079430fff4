"""What a process may do, as the kernel tells of it in /proc; and a program that is confined and tries its chains."""

from __future__ import annotations

import re
from pathlib import Path

ESCAPES = {
    "open a file": "open('/etc/passwd')",
    "open a file for writing": "open('/tmp/nwscan-escaped', 'w')",
    "list a folder": "os.listdir('/')",
    "look at a path": "os.lstat('/etc/passwd')",
    "import a module": "importlib.import_module('sched')",
    "make a socket": "socket.socket()",
    "make a packet socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)",
    "make a pair of sockets": "socket.socketpair()",
    "connect": "sock.connect('/run/libvirt/libvirt-sock')",
    "fork": "os.fork()",
    "start a thread": "threading.Thread(target=int).start()",
    "run a program": "os.execv('/bin/true', ['true'])",
    "spawn a program": "os.posix_spawn('/bin/true', ['true'], {})",
    "become root": "os.setresuid(0, 0, 0)",
    "become root's group": "os.setresgid(0, 0, 0)",
    "join groups": "os.setgroups([0])",
    "signal its parent": "os.kill(os.getppid(), 0)",
    "signal all": "os.kill(-1, 0)",
    "trace its parent": "call('ptrace', 16, parent, 0, 0)",
    "read its parent's memory": "call('process_vm_readv', parent, 0, 0, 0, 0, 0)",
    "get capabilities": "call('capset', header, full)",
    "get new privileges": "call('prctl', 38, 0, 0, 0, 0)",
    "be traced again": "call('prctl', 4, 1, 0, 0, 0)",
    "make a namespace": "call('unshare', 0x10000000)",
    "mount": "call('mount', b'none', b'/mnt', b'tmpfs', 0, 0)",
    "go to another root": "os.chroot('/')",
    "have memory that is run": "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "use io_uring": "call('syscall', 425, 1, 0)",
    "load a BPF program": "call('syscall', 321, 0, 0, 0)",
    "open a perf counter": "call('syscall', 298, 0, 0, 0, 0, 0)",
    "send keystrokes to a terminal": "fcntl.ioctl(0, 0x5412, b'x')",
    "have a signal sent": "fcntl.fcntl(sock, fcntl.F_SETOWN, parent)",
    "make the limits larger": "resource.setrlimit(resource.RLIMIT_NPROC, (9, 9))",
}
"""What a worker that a frame has taken over would try; all of it must fail."""

PROGRAM = f"""
import ctypes, fcntl, importlib, mmap, os, resource, socket, sys, threading
from analyzer.two_threads import Helper
from nwscan.worker.confine import confine

libc = ctypes.CDLL(None, use_errno=True)
header, full = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
parent, sock = os.getppid(), socket.socket(socket.AF_UNIX)
escapes = {ESCAPES!r}

def call(name, *words):
    if getattr(libc, name)(*words) < 0:
        raise OSError(ctypes.get_errno(), name)

def escape():
    for what, code in escapes.items():
        try:
            eval(code)
        except (OSError, ImportError, RuntimeError, ValueError):
            continue
        print("escaped:", what, flush=True)
    done.set()

for what, code in escapes.items():
    compile(code, what, "eval")
helper, done = Helper() if "helper" in sys.argv else None, threading.Event()
confine(helper)
print("confined", flush=True)
sys.stdin.readline()
helper.do(escape) if helper else escape()
done.wait()
print("done", flush=True)
"""
_NOTHING = "0000000000000000"


def status(pid: int | str) -> dict[str, str]:
    """/proc/PID/status, as fields."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def free_threads(pid: int, *, as_root: bool = True) -> list[str]:
    """What any thread of the process still has of its privileges; empty where it is confined."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        fields = status(f"{pid}/task/{thread.name}")
        wanted = {"NoNewPrivs": "1", "Seccomp": "2", "CapInh": _NOTHING, "CapPrm": _NOTHING, "CapEff": _NOTHING}
        wanted["CapAmb"] = _NOTHING
        if as_root:
            wanted |= {"CapBnd": _NOTHING, "Groups": ""}
            users = {*fields["Uid"].split(), *fields["Gid"].split()}
            if len(users) != 1 or not 61184 <= int(users.pop()) < 65520:
                found.append(f"Uid {fields['Uid']} Gid {fields['Gid']}")
        found += [f"{name} {fields[name]}" for name, value in wanted.items() if fields[name] != value]
    return found


def descriptors(pid: int) -> dict[int, str]:
    """What the process has open: number and what it is."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def mapped(pid: int) -> set[str]:
    """What the process has mapped; a ring is ``socket:[INODE]``."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {fields[5] for fields in (line.split(maxsplit=5) for line in lines) if len(fields) > 5}


def packet_sockets(pid: int) -> set[str]:
    """The AF_PACKET sockets of the process's network namespace, as they stand among descriptors and maps."""
    rows = Path(f"/proc/{pid}/net/packet").read_text().splitlines()[1:]
    return {f"socket:[{row.split()[8]}]" for row in rows}


def processes_of(first: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = re.sub(r".*\) ", "", (folder / "stat").read_text()).split()[1]
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(parent), []).append(int(folder.name))
    found = [first]
    for pid in found:
        found += children.get(pid, [])
    return found


def is_worker(pid: int) -> bool:
    """Say whether the process is a measuring worker."""
    return b"nwscan.worker.child" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
