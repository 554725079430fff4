"""Run a command inside a lab, as if it had been started where the caller stands.

argv: the PID of the lab's init, the host whose network to use ("-" for the bridge's), the user to become ("-" for
none), then the command. Signals sent to this process reach the command; SIGKILL does too, since the command dies with
this process; and this process ends the way the command ended.
"""

import contextlib
import os
import pwd
import signal
import sys
from pathlib import Path

from tests.lab import kernel_calls as kernel
from tests.lab.layout import NETWORK_NAMESPACES

FORWARDED = {
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT,
}  # fmt: skip


def main() -> None:
    """Enter, run, wait, end alike."""
    init, host, user, *command = sys.argv[1:]
    folder = Path.cwd()
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED | {signal.SIGCHLD})
    for kind in ("pid", "ipc", "net", "mnt"):  # mnt last: behind it, /proc shows the lab
        kernel.enter_namespace(f"/proc/{init}/ns/{kind}")
    os.chdir(folder)
    if host != "-":
        kernel.enter_namespace(f"{NETWORK_NAMESPACES}/{host}")
    child = os.fork()
    if child == 0:
        _become(command, user, old_mask)
    _end_like(_follow(child))


def _become(command: list[str], user: str, mask: set[signal.Signals | int]) -> None:
    try:
        if user != "-":
            entry = pwd.getpwnam(user)
            os.setgroups([])
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
        kernel.die_with_parent()  # after the change of user, which would clear it
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _follow(child: int) -> int:
    """The wait status of the child; until it ends, what is sent here by a process is passed on.

    What a terminal sends (si_code above 0) reaches the child by itself.
    """
    while True:
        received = signal.sigwaitinfo(FORWARDED | {signal.SIGCHLD})
        if received.si_signo != signal.SIGCHLD and received.si_code <= 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, received.si_signo)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended == child:
            return status


def _end_like(status: int) -> None:
    code = os.waitstatus_to_exitcode(status)
    if code < 0 and -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)
