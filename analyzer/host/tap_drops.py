"""What taps dropped: frames that came through the filter and that the guest did not take in time.

Read from /proc/net/dev, one small file for all interfaces: whoever counts for days asks every second. Source:
proc(5), and ``tun_net_xmit`` of the kernel, which counts a frame as dropped where the tap's queue is full.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from analyzer.errors import HostError

_TABLE: Final = Path("/proc/thread-self/net/dev")
_TRANSMIT_DROPPED: Final = 11
"""Position behind the interface's name: eight fields of what was received, then octets, packets, errors, dropped."""
_FIELDS: Final = 16


def dropped_frames() -> dict[str, int]:
    """Give how many frames each interface dropped on their way to its guest. Raises HostError without /proc."""
    try:
        return parse_dropped(_TABLE.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError as error:
        raise HostError(f"cannot read the interfaces' counts: {error.strerror}", str(_TABLE), "mount /proc") from error


def parse_dropped(text: str) -> dict[str, int]:
    """Read the text of /proc/net/dev: frames dropped by interface, of those lines that are of the known form."""
    found = {}
    for line in text.splitlines():
        name, colon, rest = line.rpartition(":")
        fields = rest.split()
        if colon and len(fields) == _FIELDS and fields[_TRANSMIT_DROPPED].isdigit():
            found[name.strip()] = int(fields[_TRANSMIT_DROPPED])
    return found
