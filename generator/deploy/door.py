"""What a transaction needs of libvirt, as a protocol; the real one is libvirt_writer.py."""

from __future__ import annotations

from typing import Protocol


class WriterDoor(Protocol):
    """Each call is one change, or one look. Raises HostError where libvirt refuses."""

    uri: str

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
