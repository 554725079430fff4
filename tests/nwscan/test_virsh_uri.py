"""What virsh has to be told to reach the libvirt that nwscan asked."""

from __future__ import annotations

import os

import pytest

from nwscan.config import settings_for

SYSTEM = "qemu:///system"


@pytest.mark.parametrize(
    ("connect", "environment", "user", "expected"),
    [
        (None, {}, 0, None),
        (SYSTEM, {}, 0, None),
        (None, {}, 1000, SYSTEM),  # there virsh goes to the session
        ("qemu+ssh://host/system", {}, 0, "qemu+ssh://host/system"),
        (None, {"LIBVIRT_DEFAULT_URI": "qemu+ssh://host/system"}, 0, None),
        (SYSTEM, {"LIBVIRT_DEFAULT_URI": "qemu+ssh://host/system"}, 0, SYSTEM),
        (None, {"NWSCAN_CONNECT": "qemu+ssh://host/system"}, 0, "qemu+ssh://host/system"),
        (SYSTEM, {"VIRSH_DEFAULT_CONNECT_URI": SYSTEM, "LIBVIRT_DEFAULT_URI": "test:///default"}, 1000, None),
    ],
)
def test_it_is_told_where_it_would_go_elsewhere(
    connect: str | None, environment: dict[str, str], user: int, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NWSCAN_CONNECT", "LIBVIRT_DEFAULT_URI", "VIRSH_DEFAULT_CONNECT_URI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert settings_for(connect).virsh_uri == expected
