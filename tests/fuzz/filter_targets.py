"""Filters, the XML of libvirt, and the evaluator: each target takes any octets and fails where a promise is broken.

The promises: XML is refused with one clear error, or read; what was read survives being written; what libvirt stores it
would store again; a reference to a filter goes in and out of a card without a trace; a program of any filters gives
every frame a verdict, the same by the compiled and the interpreted engine, whatever frames are beside it, and no other
where the frame is whole than where it is cut, unless that one was unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from lxml import etree

from analyzer.classify.decode import decode
from analyzer.errors import InputError, NwscanError
from analyzer.host import domain_xml
from generator.evaluate.fields import Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.program import Program, instantiate
from generator.evaluate.tree_lint import lint_tree
from generator.nwfilter.lint import lint_filter
from generator.nwfilter.model import Effect, Filter, FilterRef
from generator.nwfilter.normalise import normalise
from generator.nwfilter.xml import read_filter, read_filterref, with_filterref, write_filter
from tests.fuzz.capture_targets import frames_of
from tests.interpreted import load_interpreted
from tests.nwfilter_values import VARIABLES
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from analyzer.model.frames import FrameBatch

_REFERENCE: Final = FilterRef("nwscan-fuzz", (("MAC", "52:54:00:00:00:01"), ("A", "<'\"&>")))
_MAC: Final = 0x525400000001
_ALONE: Final = 2
_FEW_COMMANDS: Final = 100
"""What the interpreted engine runs in no time."""
_KEPT_OCTETS: Final = 40
"""Of a cut frame: between the headers of the network and of what it carries."""


def read_filters(octets: bytes) -> None:
    """Read a filter."""
    try:
        reading = read_filter(_text(octets))
    except NwscanError as error:
        _clear(error)
        return
    _check_filter(reading.filter)
    lint_filter(reading.filter)
    lint_tree(reading.filter, {}, VARIABLES)


def _check_filter(value: Filter) -> None:
    written = write_filter(value)
    assert read_filter(written).filter == value
    done = normalise(value)
    if not any(
        finding.effect is Effect.REJECTED or "libvirtd starts again" in finding.what for finding in done.findings
    ):
        again = normalise(done.filter)
        assert again.filter == done.filter
        assert not again.findings


def read_cards(octets: bytes) -> None:
    """Read a domain with its cards, the text of a card, and a binding."""
    text = _text(octets)
    try:
        cards = domain_xml.interfaces(text)
        domain_xml.keep_mark(text, _MAC)
    except NwscanError as error:
        _clear(error)
        cards = ()
    for card in cards:
        domain_xml.for_update(card.text)
        _check_card(card.text)
    try:
        domain_xml.read_binding(text)
    except NwscanError as error:
        _clear(error)
    try:
        read_filterref(text)
    except NwscanError as error:
        _clear(error)
    else:
        _check_card(text)


def _check_card(text: str) -> None:
    """Hold that a reference goes in and out, and changes nothing else."""
    try:
        before = read_filterref(text)
        bare = with_filterref(text, None)
        put = with_filterref(text, _REFERENCE)
    except NwscanError as error:
        _clear(error)
        return
    assert read_filterref(bare) is None
    assert read_filterref(put) == _REFERENCE
    back = with_filterref(put, None)
    assert back == bare or (bare.rstrip().endswith("/>") and etree.canonicalize(back) == etree.canonicalize(bare))
    assert before is not None or bare == text


def evaluate(octets: bytes) -> None:
    """Run a tree of filters over frames: XML up to a NUL, the filters one in another's ``<filters>``, then frames."""
    written, _, rest = octets.partition(b"\0")
    program = _program(written)
    if program is None:
        return
    try:
        compiled = Matcher(program)
    except InputError as error:
        _clear(error)
        return
    frames, direction, tag, _ = frames_of(rest)
    whole, to_guest = _batch(frames, frames, tag), np.full(len(frames), direction != 1)
    ours = compiled.run(whole, to_guest)
    hits = compiled.hits.tolist()
    assert set(ours.verdict.tolist()) <= set(Verdict)
    assert set(ours.rule.tolist()) <= set(range(-1, len(program.commands)))
    part = compiled.run(_batch([one[:_KEPT_OCTETS] for one in frames], frames, tag), to_guest)
    known = part.verdict != Verdict.UNKNOWN
    assert (part.verdict[known] == ours.verdict[known]).all()
    for number, one in enumerate(frames[:_ALONE]):
        alone = compiled.run(_batch([one], [one], tag), to_guest[:1])
        assert (alone.verdict[0], alone.rule[0]) == (ours.verdict[number], ours.rule[number])
    if len(program.commands) <= _FEW_COMMANDS:
        twin = Matcher(program, engine=load_interpreted("generator.evaluate.engine").Engine)
        theirs = twin.run(whole, to_guest)
        for name in ("verdict", "rule", "reason"):
            assert getattr(ours, name).tolist() == getattr(theirs, name).tolist(), name
        assert twin.hits.tolist() == hits


def _program(octets: bytes) -> Program | None:
    """Give the program of the first filter, which may refer to the others; None where there is none."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
    root = etree.fromstring(octets, parser) if octets.strip() else None
    if root is None:
        return None
    found: list[Filter] = []
    for element in root.iterchildren("filter"):
        try:
            found.append(read_filter(etree.tostring(element, encoding="unicode", with_tail=False)).filter)
        except NwscanError as error:
            _clear(error)
        except UnicodeDecodeError:  # read though it is no UTF-8, and some versions of lxml cannot write it
            continue
    if not found:
        return None
    try:
        return instantiate(found[0], {each.name: each for each in found}, VARIABLES)
    except NwscanError as error:
        _clear(error)
        return None


def _batch(kept: list[bytes], frames: list[bytes], tag: int) -> FrameBatch:
    return decode(raw_frames(kept, original=[len(one) for one in frames], tag=[tag] * len(frames)))


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def _clear(error: NwscanError) -> None:
    assert error.what
