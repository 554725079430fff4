"""What the doors say where the kernel, a program or libvirt refuses, is not there, or tells something else."""

from __future__ import annotations

import errno
import json
import struct
import threading
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from analyzer.errors import HostError
from analyzer.host import bridge, nft_counters, nftables, packet_socket, rules, tap_drops
from analyzer.host.filter_users import read_filter_users
from analyzer.host.nft_counters import NftCounters
from analyzer.host.nftables import NftContext, NftRefusedError
from analyzer.host.packet_socket import RingGeometry, open_packet_socket, send_frames
from analyzer.host.programs import ProgramFailedError
from analyzer.host.question import Question, answer_within
from analyzer.host.speakers import Speakers
from analyzer.host.tap_address import guessed_guest_mac, tap_address

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Bridges: what iproute2 says


def failing(said: str) -> Callable[..., str]:
    def run(*_: str) -> str:
        raise ProgramFailedError("ip failed", "ip link", "", said)

    return run


@pytest.mark.parametrize("said", ['Device "vnet0" does not exist.', "Cannot find device vnet0", "No such device"])
def test_an_interface_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(bridge, "run_program", failing(said))
    with pytest.raises(HostError, match="vnet0") as told:
        bridge.port("vnet0")
    assert not isinstance(told.value, ProgramFailedError)


def test_another_refusal_of_ip_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "run_program", failing("RTNETLINK answers: Operation not permitted"))
    with pytest.raises(ProgramFailedError, match="ip failed"):
        bridge.port("vnet0")


def test_an_empty_listing_is_an_interface_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "run_program", lambda *_: "[]")
    with pytest.raises(HostError, match="vnet0"):
        bridge.port("vnet0")


def test_what_is_no_bridge_has_no_settings_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "run_program", lambda *_: json.dumps([{"ifname": "lo", "ifindex": 1}]))
    with pytest.raises(HostError, match="lo"):
        bridge.bridge_state("lo")
    assert bridge.port("lo") is None


# libvirt: who refers to which filter


class _Refused(Exception):  # noqa: N818 - as libvirt-python's
    def __init__(self, code: int) -> None:
        super().__init__("libvirt refused")
        self.code = code

    def get_error_code(self) -> int:
        return self.code


LIBVIRT = mock.Mock(libvirtError=_Refused, VIR_ERR_NO_DOMAIN=42, VIR_DOMAIN_XML_INACTIVE=2)
CARD = "<domain><devices><interface type='bridge'><filterref filter='{}'/></interface></devices></domain>"


def domain(name: str, *, is_active: bool = True, is_saved: bool = False, error: int | None = None) -> mock.Mock:
    made = mock.Mock()
    made.name.return_value = name
    made.isActive.return_value = is_active
    made.isPersistent.return_value = not is_saved
    made.hasManagedSaveImage.return_value = is_saved
    made.XMLDesc.side_effect = lambda flags: CARD.format("next" if flags else "live")
    made.managedSaveGetXMLDesc.return_value = CARD.format("saved")
    if error is not None:
        made.isActive.side_effect = _Refused(error)
    return made


def users(*domains: mock.Mock) -> dict[str, tuple[str, ...]]:
    written = mock.Mock()
    written.name.return_value = "parent"
    written.XMLDesc.return_value = "<filter name='parent'><filterref filter='live'/></filter>"
    connection = mock.Mock()
    connection.listAllNWFilters.return_value = [written]
    connection.listAllDomains.return_value = list(domains)
    return dict(read_filter_users(LIBVIRT, connection))


def test_what_runs_what_starts_next_and_what_was_saved_refers_to_filters() -> None:
    assert users(domain("a"), domain("b", is_active=False), domain("c", is_active=False, is_saved=True)) == {
        "live": ("filter parent", "guest a (running)"),
        "next": ("guest a (next start)", "guest b (next start)"),
        "saved": ("guest c (saved state)",),
    }


def test_a_guest_that_goes_away_meanwhile_refers_to_nothing() -> None:
    assert users(domain("a", error=42)) == {"live": ("filter parent",)}
    with pytest.raises(_Refused):
        users(domain("a", error=1))


# nf_tables


def message(kind: int, body: bytes, sequence: int = 1, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def counters(*answers: bytes) -> NftCounters:
    made = NftCounters()
    made.close()
    made._socket = mock.Mock()
    made._socket.recv.side_effect = answers
    return made


def counter(name: str, packets: int, octets: int, sequence: int = 1) -> bytes:
    told = name.encode() + b"\0"
    attributes = struct.pack("=HH", 4 + len(told), 2) + told + bytes(-len(told) % 4)
    data = struct.pack(">4xQ4xQ", octets, packets)
    attributes += struct.pack("=HH", 4 + len(data), 4) + data
    return message((10 << 8) | 18, bytes(4) + attributes, sequence)


DONE = 3


def test_counters_are_read_and_late_answers_to_another_question_are_none() -> None:
    late = counter("old", 9, 9, sequence=77)
    meter = counters(late + counter("in", 3, 180) + counter("", 5, 5), message(DONE, bytes(4)))
    assert meter.read("t") == {"in": (3, 180)}


def test_a_table_that_changed_meanwhile_is_asked_for_again() -> None:
    changed = [message(DONE, bytes(4), number, nft_counters._INTERRUPTED) for number in range(1, 21)]
    assert counters(changed[0], counter("in", 1, 60, 2), message(DONE, bytes(4), 2)).read("t") == {"in": (1, 60)}
    with pytest.raises(HostError, match="changes faster than it can be read"):
        counters(*changed).read("t")


def test_a_kernel_that_refuses_says_why() -> None:
    refusing = counters(message(2, struct.pack("=i", -errno.EPERM)))
    with pytest.raises(HostError, match="cannot read the meter's counters: Operation not permitted"):
        refusing.read("t")


def library(*, context: int | None = 1, buffers: int = 0, failed: int = 0, said: bytes = b"") -> mock.Mock:
    made = mock.Mock()
    made.nft_ctx_new.return_value = context
    made.nft_ctx_buffer_output.return_value = made.nft_ctx_buffer_error.return_value = buffers
    made.nft_run_cmd_from_buffer.return_value = failed
    made.nft_ctx_get_output_buffer.return_value = b"table bridge t"
    made.nft_ctx_get_error_buffer.return_value = said
    return made


def context(monkeypatch: pytest.MonkeyPatch, made: mock.Mock, *, may: bool = True) -> NftContext:
    monkeypatch.setattr(nftables, "_load", lambda: made)
    monkeypatch.setattr(nftables, "_may_administer", lambda: may)
    return NftContext()


def test_a_context_is_made_where_the_kernel_and_the_library_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match="operation not permitted"):
        context(monkeypatch, library(), may=False)
    with pytest.raises(HostError, match="gives no context"):
        context(monkeypatch, library(context=None))
    short = library(buffers=1)
    with pytest.raises(HostError, match="has no memory"):
        context(monkeypatch, short)
    short.nft_ctx_free.assert_called_once_with(1)


def test_a_context_runs_commands_until_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = library()
    nft = context(monkeypatch, made)
    assert nft.run("list tables") == "table bridge t"
    with pytest.raises(ValueError, match="list"):
        nft.run("list\0tables")
    nft.close()
    nft.close()
    made.nft_ctx_free.assert_called_once_with(1)
    with pytest.raises(HostError, match="is closed"):
        nft.run("list tables")


@pytest.mark.parametrize(
    ("said", "what", "hint"),
    [
        (b"", "no reason given", "see whether the kernel"),
        (b"Error: Could not process rule: Operation not permitted\nadd", "Operation not permitted", "run as root"),
        (b"Error: No such file or directory", "No such file or directory", "see whether the kernel"),
    ],
)
def test_what_nft_refuses_is_told_with_its_first_line(
    monkeypatch: pytest.MonkeyPatch, said: bytes, what: str, hint: str
) -> None:
    nft = context(monkeypatch, library(failed=-1, said=said))
    with pytest.raises(NftRefusedError, match=what) as refused:
        nft.run("add table bridge t\nadd chain")
    assert refused.value.where == "add table bridge t"
    assert refused.value.hint.startswith(hint)
    assert refused.value.output == said.decode()
    table = nftables.owned_table("t", ["add table bridge t"], "count", ["vnet0"])
    with pytest.raises(HostError, match="cannot count: nftables refused") as told, table:
        pass
    assert told.value.where == "nft table bridge t for vnet0"


def test_a_table_is_not_left_behind_where_nothing_can_read_its_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    made = library()
    context(monkeypatch, made)
    monkeypatch.setattr(nftables, "NftCounters", mock.Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
    with pytest.raises(HostError, match="cannot count"), nftables.counted_table("t", ["add table bridge t"], "count"):
        pass
    made.nft_ctx_free.assert_called_once_with(1)


def test_a_host_without_any_program_for_rules_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "program_path", lambda _: None)
    with pytest.raises(HostError, match="no program can list bridge rules"):
        rules.kernel_rules("vnet0")
    assert rules.kernel_rules_of(()) == {}


def test_ebtables_that_cannot_list_is_read_through_nft_where_its_table_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    tables: list[str] = ["table bridge nat"]

    def run(name: str, *words: str) -> str:
        asked.append(" ".join((name, *words)))
        if name == "ebtables-save":
            raise ProgramFailedError("ebtables-save failed", "", "", "incompatible")
        return "\n".join(tables) if words[:2] == ("list", "tables") else '{"nftables": []}' if name == "nft" else ""

    monkeypatch.setattr(rules, "program_path", lambda name: None if name.startswith("ip") else f"/usr/sbin/{name}")
    monkeypatch.setattr(rules, "run_program", run)
    assert not rules.kernel_rules("vnet0").present
    assert "nft -j list table bridge nat" in asked
    tables.clear()
    with pytest.raises(ProgramFailedError, match="ebtables-save failed"):
        rules.kernel_rules("vnet0")
    monkeypatch.setattr(rules, "program_path", lambda name: f"/usr/sbin/{name}" if name == "nft" else None)
    assert rules.kernel_rules("vnet0").rules == ()


def test_who_speaks_is_heard_from_entering_on_only() -> None:
    with pytest.raises(HostError, match="nobody listens who speaks"):
        Speakers(["vnet0"]).heard()


# Packet sockets


GEOMETRY = RingGeometry()


def opened(error: OSError | None = None, *, setsockopt: OSError | None = None, kind: int = 1) -> mock.Mock:
    sock = mock.Mock()
    sock.setsockopt.side_effect = setsockopt
    sock.getsockname.return_value = ("vnet0", 3, 0, kind, b"")
    return mock.Mock(side_effect=error, return_value=sock)


@pytest.mark.parametrize(
    ("made", "what", "hint"),
    [
        (opened(PermissionError(errno.EPERM, "x")), "operation not permitted", "CAP_NET_RAW"),
        (opened(OSError(errno.EMFILE, "Too many open files")), "Too many open files", ""),
        (opened(setsockopt=OSError(errno.ENOMEM, "Cannot allocate memory")), "Cannot allocate", "a smaller buffer"),
        (opened(setsockopt=OSError(errno.EPERM, "Operation not permitted")), "not permitted", "CAP_NET_RAW"),
        (opened(setsockopt=OSError(errno.ENODEV, "No such device")), "No such device", "nwscan list"),
    ],
)
def test_a_tap_that_cannot_be_opened_says_why(
    monkeypatch: pytest.MonkeyPatch, made: mock.Mock, what: str, hint: str
) -> None:
    monkeypatch.setattr(packet_socket.socket, "socket", made)
    with pytest.raises(HostError, match=f"cannot capture on vnet0: .*{what}") as refused:
        open_packet_socket("vnet0", snaplen=96, ring=GEOMETRY, bpf=None)
    assert hint in refused.value.hint


def test_an_interface_without_ethernet_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = opened(kind=778)
    monkeypatch.setattr(packet_socket.socket, "socket", made)
    monkeypatch.setattr(packet_socket, "_attach", lambda *_: None)
    monkeypatch.setattr(packet_socket, "_make_ring", lambda *_: None)
    with pytest.raises(HostError, match="vnet0 is no Ethernet interface"):
        open_packet_socket("vnet0", snaplen=96, ring=GEOMETRY, bpf=None)
    made.return_value.close.assert_called_once_with()


@pytest.mark.parametrize("name", ["nosuchtap0", "a\0b"])
def test_frames_cannot_be_sent_where_there_is_no_interface(name: str) -> None:
    with pytest.raises(HostError, match="cannot send on") as refused:
        send_frames(name, [bytes(60)])
    assert refused.value.where == f"AF_PACKET socket on {name}"


# Questions beside the work


def test_a_question_is_asked_once_at_a_time() -> None:
    question = Question[int]("test")
    assert (question.out_s, question.is_asked, question.is_answered()) == (None, False, False)
    question.ask(lambda: 7)
    assert question.is_asked
    with pytest.raises(RuntimeError, match="test"):
        question.ask(lambda: 8)
    assert question.is_answered(60)
    assert question.out_s is None
    assert question.take() == 7
    assert not question.is_asked


def test_an_answer_that_does_not_come_is_waited_for_no_longer(request: pytest.FixtureRequest) -> None:
    let_go = threading.Event()
    request.addfinalizer(let_go.set)
    question = Question[bool]("slow")
    question.ask(let_go.wait)
    assert question.out_s is not None
    assert question.out_s >= 0
    with pytest.raises(TimeoutError):
        answer_within(0.01, "slow", let_go.wait)


def test_what_was_raised_instead_of_an_answer_is_raised_by_whoever_takes_it() -> None:
    def fail() -> int:
        raise HostError("no libvirt")

    with pytest.raises(HostError, match="no libvirt"):
        answer_within(60, "failing", fail)


# Counts and addresses of taps


def test_without_proc_nobody_knows_what_taps_dropped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tap_drops, "_TABLE", tmp_path / "absent")
    with pytest.raises(HostError, match="cannot read the interfaces' counts") as refused:
        tap_drops.dropped_frames()
    assert refused.value.hint == "mount /proc"


@pytest.mark.parametrize("name", ["", "x" * 16, "a\0b", "nosuchtap0"])
def test_what_is_no_interface_has_no_address(name: str) -> None:
    assert tap_address(name) is None


def test_the_address_of_a_card_is_told_from_that_of_its_tap() -> None:
    assert tap_address("lo") == 0
    assert guessed_guest_mac(0xFE5400123456) == 0x525400123456
    assert guessed_guest_mac(0x020000000001) is None
