"""The libvirt hook that does a bridge remedy again when a card's guest starts: its name and its text.

libvirt (6.5 and later) runs every executable file in ``hooks/qemu.d``, with the guest's XML on standard input. Each
card's hook is a file of its own, so nobody else's is ever touched. The script asks no libvirt (libvirt forbids that),
ends with 0 whatever happens (a hook that fails ends the guest's start), and does nothing where the tap is not on the
bridge that the remedy was made for.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from analyzer.host.bridge_words import entry_words, flood_words, typed_words
from analyzer.model.addresses import parse_mac

if TYPE_CHECKING:
    from collections.abc import Sequence

HOOKS: Final = "/etc/libvirt/hooks/qemu.d"
"""libvirt, hooks.html: scripts of the QEMU driver."""

RELOAD: Final = "systemctl reload libvirtd (or virtqemud)"
"""libvirt looks for hooks when it starts, and when it is told to reload."""

_MARK: Final = "# made by nwscan:"

_SCRIPT: Final = """\
#!/bin/sh
{mark} no flooding to the card {card} of guest {guest}, at each start of it
# Undone with: nwscan rollback {guest}
PATH=/usr/sbin:/usr/bin:/sbin:/bin
case "$2" in started|reconnect) ;; *) exit 0 ;; esac
xml=$(sed '/^  <metadata>/,/^  <\\/metadata>/d')
case "$xml" in *'<uuid>{guest}</uuid>'*) ;; *) exit 0 ;; esac
tap=$(printf '%s\\n' "$xml" | awk -v quote="'" '
  /^    <interface / {{ mine = 0; tap = "" }}
  index($0, "      <mac address=" quote "{card}" quote "/>") == 1 {{ mine = 1 }}
  /^      <target dev=/ {{ split($0, part, quote); tap = part[2] }}
  /^    <\\/interface>/ {{ if (mine && tap != "") {{ print tap; exit }} }}')
case "$tap" in ''|-*|*[!A-Za-z0-9_.@+=-]*) exit 0 ;; esac
case $(ip -o link show dev "$tap" 2>/dev/null) in *' master '{bridge}' '*) ;; *) exit 0 ;; esac
{{
{commands}
}} </dev/null >/dev/null 2>&1 || logger -t nwscan "could not stop the flooding to $tap of guest {guest}"
exit 0
"""


def hook_name(guest: str, card: str) -> str:
    """Give the name of the hook's file: one a card, ``guest`` by its uuid."""
    return f"nwscan-{guest}-{card.replace(':', '')}"


def hook_text(guest: str, card: str, bridge: str, macs: Sequence[str]) -> str:
    """Give the script. The arguments were checked: a uuid, unicast MACs, the name of an interface."""
    words = [*(entry_words(parse_mac(mac), "TAP", "static") for mac in macs), flood_words("TAP", is_on=False)]
    lines = [typed_words(each).replace(" TAP ", ' "$tap" ') for each in words]
    return _SCRIPT.format(
        mark=_MARK,
        card=card,
        guest=guest,
        bridge=shlex.quote(bridge),
        commands=" &&\n".join(f"  timeout 10 {line}" for line in lines),
    )


def is_our_hook(text: str) -> bool:
    """Say whether a file is a hook that nwscan made."""
    return text.startswith(f"#!/bin/sh\n{_MARK}")
