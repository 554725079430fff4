from __future__ import annotations

import json

import pytest

from analyzer.errors import HostError
from analyzer.host.neighbours import neighbours, parse_neighbours


def test_neighbours_that_answered() -> None:
    rows = [
        {"dst": "192.0.2.101", "dev": "br0", "lladdr": "52:54:00:00:00:01", "state": ["REACHABLE"]},
        {"dst": "2001:DB8::1", "dev": "br0", "lladdr": "52:54:00:00:00:01", "router": None, "state": ["STALE"]},
        {"dst": "192.0.2.9", "dev": "br0", "state": ["FAILED"]},
        {"dst": "192.0.2.8", "dev": "br0", "lladdr": "52:54:00:00:00:08", "state": ["INCOMPLETE"]},
        {"dst": "ff02::1", "dev": "br0", "lladdr": "33:33:00:00:00:01", "state": ["NOARP"]},
        {"dst": "nonsense", "lladdr": "52:54:00:00:00:07"},
        {"dst": "192.0.2.7", "lladdr": "nonsense"},
        "nonsense",
    ]
    assert parse_neighbours(json.dumps(rows)) == ((0x525400000001, "192.0.2.101"), (0x525400000001, "2001:db8::1"))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null"])
def test_nobody(text: str) -> None:
    assert parse_neighbours(text) == ()


def test_what_is_no_json_is_an_error() -> None:
    with pytest.raises(HostError, match="cannot read"):
        parse_neighbours("[{")


def test_the_table_of_this_host_can_be_read() -> None:
    assert isinstance(neighbours(), tuple)
