"""A state folder as captures leave it, made from the bundled captures."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import nwscan
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.report.report import FramesFile, Report
from analyzer.report.store import encode
from nwscan import kept

if TYPE_CHECKING:
    from pathlib import Path

UUID = "6e777363-616e-4c61-8b00-000000000001"
HOSTILE = "vm\x1b[31m\x1b]0;owned\x07<img src=x onerror=alert(1)>\u202e'\"&amp;"


@functools.cache
def _report(capture: Path, identity: GuestIdentity) -> Report:
    return nwscan.analyze([str(capture)], identity)


def keep_window(state: Path, capture: Path, name: str = "vm1", uuid: str = UUID) -> Path:
    """Keep a window that saw the frames of ``capture`` and give the path of its report."""
    identity = GuestIdentity((0x525400000001,), Provenance.LIBVIRT_XML, name, uuid, 0, "vnet0")
    folder = kept.new_window_folder(state / "reports", identity)
    frames = folder / kept.FRAMES_NAME
    frames.write_bytes(capture.read_bytes())
    known = FramesFile(str(frames), hashlib.sha256(frames.read_bytes()).hexdigest(), 1.0)
    report = replace(_report(capture, identity), frames_file=known)
    return kept.keep(folder, encode(report)).path
