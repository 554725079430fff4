"""Who waits for a libvirt that hangs: nobody for longer than told, and whoever looks on is told that it does."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from analyzer.errors import HostError
from analyzer.host import libvirt_connection
from analyzer.host.question import Question, answer_within
from analyzer.model.identity import GuestIdentity, Provenance
from nwscan.api import card_lookup, facts, tap_watch
from nwscan.api.card_lookup import CardLookup
from nwscan.api.counting import CountedCard
from nwscan.api.facts import FactsWatch, HostFacts
from nwscan.api.tap_watch import TapWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_S = 20.0
VM1 = GuestIdentity((0x525400000001,), Provenance.LIBVIRT_XML, name="vm1", uuid="u1", tap="vnet0")
CARD = CountedCard(VM1)


def wait_for(claim: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not claim():
        assert time.monotonic() < end_s, what
        time.sleep(0.005)


class Libvirt:
    """Answers, is away, or hangs until it is let go."""

    def __init__(self) -> None:
        self.is_away = False
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.asked = 0

    def _answer(self) -> None:
        self.asked += 1
        self.goes_on.wait(DEADLINE_S)
        if self.is_away:
            raise HostError("libvirt is away")

    def cards(self) -> list[CountedCard]:
        self._answer()
        return [CARD]

    def identities(self) -> list[GuestIdentity]:
        self._answer()
        return [VM1]

    def knock(self) -> None:
        self._answer()


@pytest.fixture
def libvirt() -> Iterator[Libvirt]:
    fake = Libvirt()
    yield fake
    fake.goes_on.set()


def test_a_question_gives_its_answer_or_its_error_once() -> None:
    question: Question[int] = Question("q")
    assert (question.is_asked, question.is_answered(), question.out_s) == (False, False, None)
    for _ in range(2):
        question.ask(lambda: 7)
        assert question.is_answered(DEADLINE_S)
        assert (question.is_asked, question.out_s, question.take()) == (True, None, 7)
    with pytest.raises(ZeroDivisionError):
        answer_within(DEADLINE_S, "q", lambda: 1 // 0)
    assert not question.is_asked


def test_who_does_not_answer_is_not_waited_for(libvirt: Libvirt) -> None:
    libvirt.goes_on.clear()
    with pytest.raises(TimeoutError):
        answer_within(0.01, "q", libvirt.knock)
    question: Question[None] = Question("q")
    question.ask(libvirt.knock)
    with pytest.raises(RuntimeError):
        question.ask(libvirt.knock)
    assert (question.out_s or 0) > 0
    libvirt.goes_on.set()
    assert question.is_answered(DEADLINE_S)


def test_a_connection_that_nobody_answers_is_an_error(libvirt: Libvirt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt_connection, "CONNECT_S", 0.01)
    libvirt.goes_on.clear()
    with pytest.raises(HostError, match="cannot reach libvirt: no answer within 0 s") as caught:
        libvirt_connection.connect(SimpleNamespace(libvirtError=OSError), lambda _: libvirt.knock(), "qemu:///system")
    assert (caught.value.where, caught.value.hint) == ("qemu:///system", libvirt_connection.HANGS)


def test_silence_of_libvirt_is_told_and_its_end_noticed(libvirt: Libvirt, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SILENT_S", "_KNOCK_EVERY_S", "_PATIENCE_S"):
        monkeypatch.setattr(card_lookup, name, 0.01)
    monkeypatch.setattr(card_lookup, "_AFTER_CHANGE_S", (0.0,))
    lookup = CardLookup(libvirt.cards, libvirt.knock)
    assert lookup.first() == (CARD,)
    wait_for(lambda: lookup.look() is None and libvirt.asked > 3, "it is knocked at")
    assert lookup.trouble is None
    libvirt.goes_on.clear()
    wait_for(lambda: lookup.look() is None and lookup.trouble is not None, "silence is told")
    assert str(lookup.trouble).startswith("libvirt has not answered for 0 s")
    libvirt.goes_on.set()
    wait_for(lambda: lookup.look() == (CARD,), "it is asked what happened meanwhile")
    assert lookup.trouble is None
    libvirt.is_away = True
    wait_for(lambda: lookup.look() is None and lookup.trouble is not None, "that it is away is told")
    assert str(lookup.trouble) == "libvirt is away"
    libvirt.is_away = False
    wait_for(lambda: lookup.look() == (CARD,), "it is back")
    assert lookup.trouble is None


def test_without_libvirt_from_the_start_there_is_an_error(libvirt: Libvirt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_lookup, "CONNECT_S", 0.01)
    libvirt.goes_on.clear()
    lookup = CardLookup(libvirt.cards, libvirt.knock)
    with pytest.raises(HostError, match="has not answered"):
        lookup.first()
    libvirt.goes_on.set()
    wait_for(lambda: lookup.look() == (CARD,), "a late answer is taken")


def test_facts_that_nobody_tells_are_not_those_of_now(libvirt: Libvirt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "REFRESH_S", 0.01)
    monkeypatch.setattr(facts, "_AGAIN_S", 0.01)

    def host_facts(*_: object) -> HostFacts:
        libvirt.knock()
        return HostFacts(at_s=float(libvirt.asked))

    monkeypatch.setattr(facts, "host_facts", host_facts)
    with FactsWatch(tuple) as watch:
        wait_for(lambda: watch.current().at_s > 0, "facts are there")
        assert watch.current().error is None
        libvirt.goes_on.clear()
        monkeypatch.setattr(facts, "SILENT_S", 0.05)
        wait_for(lambda: watch.current().error is not None, "nobody told them for a while")
        assert watch.current().at_s > 0
        monkeypatch.setattr(facts, "SILENT_S", DEADLINE_S)
        libvirt.is_away = True
        libvirt.goes_on.set()
        wait_for(lambda: str(watch.current().error) == "libvirt is away", "the reason is told")
        libvirt.is_away = False
        wait_for(lambda: watch.current().error is None, "it has recovered")


def test_a_capture_does_not_wait_for_libvirt(libvirt: Libvirt, monkeypatch: pytest.MonkeyPatch) -> None:
    interfaces = {"vnet0": 1}
    monkeypatch.setattr(tap_watch, "_interfaces", lambda: dict(interfaces))
    monkeypatch.setattr(tap_watch, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(tap_watch, "_LOOK_EVERY_S", 0.0)
    watch = TapWatch([VM1], libvirt.identities, everything=False)
    libvirt.goes_on.clear()
    interfaces["vnet0"] = 2  # the guest has started again
    assert [watch.changes() for _ in range(50)] == [[]] * 50
    assert libvirt.asked == 1
    libvirt.is_away = True
    monkeypatch.setattr(tap_watch, "_LOOK_FOR_S", 0.3)
    libvirt.goes_on.set()
    end_s = time.monotonic() + 0.5
    wait_for(lambda: watch.changes() == [] and time.monotonic() > end_s, "time passes in which it is away")
    libvirt.is_away = False
    wait_for(lambda: watch.changes() == [(0, VM1)], "it is followed as soon as libvirt is back")
    assert watch.changes() == []
