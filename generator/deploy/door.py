"""What a transaction needs of the host, as protocols; the real ones are libvirt_writer.py and bridge_writer.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from analyzer.host.bridge_words import EntryState


class PortLook(NamedTuple):
    """A port of a bridge as it is now; ``ifindex`` tells it from a later one of its name."""

    ifindex: int
    bridge: str
    flood: bool


class EntryLook(NamedTuple):
    """An entry of a bridge's FDB as it is now; ``state`` is bridge(8)'s, ``permanent`` included."""

    port: str
    state: str


class BridgeDoor(Protocol):
    """Each call is one change, or one look. Raises HostError where the kernel or the file system refuses."""

    def port(self, name: str) -> PortLook | None:
        """Look at a port; None where there is none."""

    def entry(self, bridge: str, mac: int) -> EntryLook | None:
        """Look up an address in a bridge's FDB; None where it is not known."""

    def set_flood(self, port: str, *, is_on: bool) -> None:
        """Turn the flooding of unknown unicast to a port on or off."""

    def set_entry(self, mac: int, port: str, state: EntryState | None) -> None:
        """Make the entry of an address at a port, or remove it (None)."""

    def hook(self, name: str) -> str | None:
        """Give the text of a hook, None where there is none."""

    def write_hook(self, name: str, text: str) -> None:
        """Make a hook that is not there yet."""

    def remove_hook(self, name: str) -> None:
        """Remove a hook."""


class WriterDoor(Protocol):
    """Each call is one change, or one look. Raises HostError where libvirt refuses."""

    uri: str

    @property
    def bridge(self) -> BridgeDoor:
        """Give the door to the bridges."""

    def filter_xml(self, name: str) -> str | None:
        """Give a filter's XML as libvirt prints it, None where there is none."""

    def filter_users(self, name: str) -> tuple[str, ...]:
        """Give who refers to a filter, in words: guests, running or defined, and other filters."""

    def define_filter(self, xml: str) -> None:
        """Define or redefine a filter, with libvirt's own validation."""

    def undefine_filter(self, name: str) -> None:
        """Remove a filter. Raises HostError where it is in use."""

    def interface_xml(self, guest: str, mac: str, *, live: bool) -> str | None:
        """Give a card's element, None where the guest is not there, not running (live) or not persistent."""

    def update_interface(self, guest: str, xml: str, *, live: bool) -> None:
        """Replace a card's element."""

    def bound_filter(self, guest: str, mac: str) -> str | None:
        """Name the filter that acts on a running card now, None where none does."""

    def has_stray_rules(self, guest: str, mac: str) -> bool:
        """Say whether the kernel holds rules of a running card for which libvirt has no filter: it died amid them."""
