"""What the parent and the measuring worker say to each other: typed messages, nothing else.

Values only; both ends validate what they receive. Descriptors travel beside a message, in the order that its docstring
states.
"""

from __future__ import annotations

import msgspec

from analyzer.capture.rotation import RotationRules
from analyzer.model.identity import GuestIdentity
from analyzer.report.findings import UsedMac


class CardCapture(msgspec.Struct, frozen=True):
    """One card to capture.

    Descriptors, in this order: packet socket, counts of the guest's own if any, tables of flows if any,
    kept frames if any, ``-w`` file if any.
    """

    identity: GuestIdentity
    tap: str
    snaplen: int
    block_octets: int
    blocks: int
    retire_ms: int
    keep_path: str | None = None
    """Where the headers are kept, as the report is to say; None keeps none (and no descriptor is sent)."""
    keep_octets: int = 0
    write: bool = False
    write_name: str = ""
    """What notes call the ``-w`` file."""
    rotation: RotationRules | None = None
    filter: str | None = None
    notes: tuple[str, ...] = ()
    """What the report is to say of how the capture was asked for."""
    counts_own: bool = False
    """Whether the socket keeps nothing of the guest's own, which the kernel counts."""
    flow_slots: int = 0
    """How many flows a table holds into which the kernel counts plain frames; 0 where it does not."""


class Capture(msgspec.Struct, frozen=True, tag=True):
    """Capture on live taps until a stop rule holds or Stop comes."""

    cards: tuple[CardCapture, ...]
    duration_s: float | None
    frames: int | None
    more: bool = False
    """Whether further cards may come (NewCard), so that the end of these is not the end."""


class NewTap(msgspec.Struct, frozen=True, tag=True):
    """A card has got another tap: go on there.

    Descriptors: its packet socket, of the card's geometry, then the tables of flows if any.
    """

    card: int
    tap: str
    flow_slots: int = 0
    """As that of CardCapture, for this tap."""


class NewCard(msgspec.Struct, frozen=True, tag=True):
    """One more card to capture, with its descriptors; its report comes behind those of the cards before."""

    card: CardCapture


class NeedFile(msgspec.Struct, frozen=True, tag=True):
    """The worker waits for the next ``-w`` file, which begins at ``start_ns``; ``by_time``: time ended the last."""

    card: int
    start_ns: int
    by_time: bool


class File(msgspec.Struct, frozen=True, tag=True):
    """The answer to NeedFile. Descriptor: the file; none where ``error`` says why there is none."""

    error: str | None = None


class Analyze(msgspec.Struct, frozen=True, tag=True):
    """Measure files, one descriptor each in the order of ``names``.

    Without an identity, files of nwscan's own name theirs; others yield Candidates.
    """

    names: tuple[str, ...]
    identity: GuestIdentity | None = None
    captured_on: str | None = None
    threads: int = 2
    """Threads that share the measuring, 1 or 2; the report is the same."""
    is_part: bool = False
    """Other files belong to it, so that none of these needs to have Ethernet frames."""


class Predict(msgspec.Struct, frozen=True, tag=True):
    """Say what a filter would have done to one file of frames.

    Descriptors: the file, then with ``export`` where the dropped frames are written. Without an identity, a file of
    nwscan's own names its own; others yield Candidates. Without a variable MAC it is the identity's first one.
    """

    name: str
    identity: GuestIdentity | None
    filters: tuple[str, ...]
    """The XML of the root filter and of every filter it refers to; the first is the root."""
    variables: dict[str, tuple[str, ...]]
    captured_on: str | None = None
    export: bool = False


class Export(msgspec.Struct, frozen=True, tag=True):
    """Write the frames of one class that files of nwscan's own hold.

    Descriptors: the files, one for each of ``names`` and ``sha256s`` (what each is to be), then where to write.
    """

    names: tuple[str, ...]
    sha256s: tuple[str, ...]
    identity: GuestIdentity
    frame_class: int


class CountVital(msgspec.Struct, frozen=True, tag=True):
    """Count one file's frames to the guest by the kinds of analyzer.model.guards. Descriptor: the file."""

    name: str
    identity: GuestIdentity


class VitalCounts(msgspec.Struct, frozen=True, tag=True):
    """The frames of each kind of which there were any; a kind is named by its value."""

    counts: tuple[tuple[str, int], ...]


class NeedText(msgspec.Struct, frozen=True, tag=True):
    """The worker waits for the descriptions of frames that begin with ``heads``; the answer is Described."""

    heads: tuple[bytes, ...]


class Describe(msgspec.Struct, frozen=True, tag=True):
    """Describe frames by their first octets, for another worker."""

    heads: tuple[bytes, ...]


class Described(msgspec.Struct, frozen=True, tag=True):
    """One line on each frame that was asked for; what a worker that described gives, and one that asked gets."""

    texts: tuple[str, ...]


class Stop(msgspec.Struct, frozen=True, tag=True):
    """End now and report what was measured."""


class Started(msgspec.Struct, frozen=True, tag=True):
    """Every source is open and counting: what happens from here on is measured."""


class Ended(msgspec.Struct, frozen=True, tag=True):
    """Every window has ended; the reports are being made."""


class Progress(msgspec.Struct, frozen=True, tag=True):
    """How far it is. ``share`` is the part of the input that was read, None where that is not known."""

    frames: int
    classes: tuple[int, ...]
    lost: int | None
    share: float | None = None


class Measured(msgspec.Struct, frozen=True, tag=True):
    """The reports (JSON documents of nwscan.report/1), one a card or one for all the files."""

    reports: tuple[bytes, ...]


class Candidate(msgspec.Struct, frozen=True):
    """A unicast MAC of a file and how many frames name it as source and as destination."""

    mac: int
    sent: int
    received: int


class Candidates(msgspec.Struct, frozen=True, tag=True):
    """Nobody said whose traffic the files hold: these are the MACs that it could be."""

    candidates: tuple[Candidate, ...]


class DroppedTalker(msgspec.Struct, frozen=True):
    """The frames of one class from ``src`` to ``dst`` that the filter drops; of ``error`` more it is not known."""

    frame_class: int
    src: int
    dst: int
    frames: int
    octets: int
    error: int


class Predicted(msgspec.Struct, frozen=True, tag=True):
    """The prediction and the report of the same frames, as their JSON documents, and who sent what is dropped.

    A pair that ``talkers`` (most frames first) lacks had at most ``talkers_error`` frames of a class. ``used`` are the
    foreign MACs whose frames the guest answers or sends on.
    ``sha256`` is that of the file of dropped frames, None where none was asked for.
    """

    document: bytes
    report: bytes
    talkers: tuple[DroppedTalker, ...] = ()
    talkers_error: int = 0
    sha256: str | None = None
    used: tuple[UsedMac, ...] = ()


class Exported(msgspec.Struct, frozen=True, tag=True):
    """How many frames were read and written, and the SHA-256 of what was written."""

    frames_read: int
    frames_written: int
    sha256: str


class Failed(msgspec.Struct, frozen=True, tag=True):
    """An error of the kind NwscanError, on its way to the parent."""

    what: str
    where: str
    hint: str
    exit_code: int


Request = Capture | NewTap | NewCard | File | Analyze | Predict | Export | CountVital | Describe | Described | Stop
Reply = (
    Started
    | Ended
    | Progress
    | NeedFile
    | NeedText
    | Measured
    | Candidates
    | Predicted
    | Exported
    | VitalCounts
    | Described
    | Failed
)
