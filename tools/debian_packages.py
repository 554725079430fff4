"""The Debian packages that the project needs, and how they come onto this machine without starting anything.

Only the standard library: this runs before anything else is there.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_SAVED = Path("/usr/sbin/policy-rc.d.before-nwscan")
OUR_MARK = "# written by nwscan's set-up for the time of one installation"

# What the build of nwscan and of libvirt-python needs, then what the lab and the tests that compare need.
PACKAGES = {
    "python3-venv": "the virtual environment",
    "python3-dev": "compiled modules",
    "gcc": "compiled modules",
    "libc6-dev": "compiled modules",
    "pkg-config": "libvirt-python",
    "libvirt-dev": "libvirt-python",
    "libpcap0.8": "capture filters",
    "libbpf1": "counting by eBPF",
    "clang": "tests of the eBPF object",
    "llvm": "tests of the eBPF object",
    "linux-libc-dev": "tests of the eBPF object",
    "nftables": "the meter, the lab",
    "libvirt-daemon-system": "the lab",
    "libvirt-clients": "the lab",
    "qemu-system-x86": "the lab",
    "ebtables": "the lab",
    "iptables": "the lab",
    "iproute2": "the lab",
    "procps": "the lab",
    "dnsmasq-base": "the lab",
    "busybox-static": "the lab",
    "tmux": "the lab's terminals",
    "prometheus": "tests of the exporter",
    "tcpdump": "the lab, comparing tests",
    "tshark": "comparing tests",
    "libxml2-utils": "comparing tests",
    "chromium": "the HTML report in a browser",
}


def missing_packages() -> list[str]:
    """Those of the packages that are not installed, in the order of the table."""
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *PACKAGES]
    said = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    installed = {line.split()[0] for line in said.splitlines() if line.endswith(" installed")}
    return [name for name in PACKAGES if name not in installed]


def is_debian_like() -> bool:
    """Whether packages are managed by dpkg and apt here."""
    return all(shutil.which(name) for name in ("dpkg-query", "apt-get"))


def agreed(packages: list[str]) -> bool:
    """Show what would be installed and ask; YES=1 agrees beforehand."""
    print("Debian packages to install (none of their services is started):")
    for name in packages:
        print(f"  {name:24} {PACKAGES[name]}")
    if os.environ.get("YES") == "1":
        return True
    if not sys.stdin.isatty():
        print("Not a terminal, so nobody can agree: say YES=1 to install them.")
        return False
    return input("Install them? [y/N] ").strip().lower() in ("y", "yes")


def install(packages: list[str]) -> None:
    """Install the packages, without recommended ones and without starting a service."""
    quiet = ["-qq", "-o=Dpkg::Use-Pty=0", "-o=DPkg::Lock::Timeout=120"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    with no_service_starts():
        subprocess.run(["apt-get", *quiet, "update"], env=environment, check=True)
        command = ["apt-get", *quiet, "install", "--yes", "--no-install-recommends", *packages]
        done = subprocess.run(command, env=environment, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        print(done.stdout)
        raise SystemExit(f"apt-get could not install the packages (exit {done.returncode}).")


@contextlib.contextmanager
def no_service_starts() -> Iterator[None]:
    """Forbid packages to start services meanwhile (Debian's policy-rc.d), and put back what was there."""
    restore_policy()  # an earlier run may have been killed
    if POLICY.exists() or POLICY.is_symlink():
        POLICY.rename(POLICY_SAVED)
    POLICY.write_text(f"#!/bin/sh\n{OUR_MARK}\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        restore_policy()


def restore_policy() -> None:
    """Take our policy away and put back the one from before, if there are such."""
    if POLICY.is_file() and OUR_MARK in POLICY.read_text(errors="replace"):
        POLICY.unlink()
    if POLICY_SAVED.exists() or POLICY_SAVED.is_symlink():
        POLICY_SAVED.rename(POLICY)
