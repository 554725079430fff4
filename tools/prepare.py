"""Make this machine ready for nwscan's build, tests and lab: `python3 tools/prepare.py`, or `make setup`.

It installs Debian packages only as root and only when agreed to (YES=1 agrees beforehand), starts no service, and never
talks to a libvirtd. What is there already is left alone; the second run takes a moment.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> int:
    """Prepare; gives the exit code. A machine that cannot have the lab is still prepared for the rest."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what tells it
        print(f"nwscan needs Python 3.11 or newer, and python3 here is {sys.version.split()[0]}.")
        return 1
    from tools import debian_packages, environment  # noqa: PLC0415 - younger syntax than the check above

    lacking = debian_packages.missing_packages() if debian_packages.is_debian_like() else []
    if lacking and os.geteuid() != 0:
        print(f"Only root can install these Debian packages, so they stay missing: {' '.join(lacking)}.")
    elif lacking:
        if debian_packages.agreed(lacking):
            debian_packages.install(lacking)
        else:
            print("Nothing was installed.")
            return 1
    if not environment.make_environment():
        print(
            "libvirt-python was left out, since it is built from source and needs libvirt-dev, pkg-config and gcc:"
            " analyze, replay and demo work without it."
        )
    return _fetch_guest_kernel()


def _fetch_guest_kernel() -> int:
    from tests.lab.guest_image import GuestImageError, fetch_kernel, kernel_folder  # noqa: PLC0415 - as above
    from tools.debian_packages import is_debian_like  # noqa: PLC0415 - as above

    if kernel_folder() is None and is_debian_like() and os.geteuid() == 0:
        print("Fetching a kernel for the lab's guests ...", flush=True)
        try:
            fetch_kernel()
        except GuestImageError as error:
            print(f"No kernel for the lab's guests: {error}.")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
