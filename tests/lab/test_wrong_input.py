"""Wrong input on a real host: one clear error with its exit code, nothing changed, nothing left behind."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.lab import layout
from tests.lab.nwscan_run import Ended
from tests.lab.paused_guest import MACS, UUID, cards, paused_guest
from tests.lab.schedule import Schedule
from tests.lab.test_main_job_ends import leftovers
from tests.lab.test_main_job_filter import WINDOW_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Nwscan

USAGE, HOST = 2, 4
OFF, OFF_MAC = "vm 8", MACS[0]
SPEAKING = Schedule(foreign=60_000, own=24_000, multicast=6_000, broadcast=3_600, rate_fps=800)
APPLY = ("suggest", "--apply", "vm1", "--yes")
NO_CAPABILITIES = ("setpriv", "--bounding-set=-all")
"""Root without any privilege, as a service that was given none; it may read all that the tests may."""


def fields_of(ended: Ended) -> dict[str, str]:
    """The fields of the one error, after the line that says that a window has begun; nothing stands on stdout."""
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("capturing on ")]
    fields = {name.strip(): text.strip() for name, _, text in (line.partition(": ") for line in lines)}
    assert list(fields) == ["error", "where", "do"], str(ended)
    assert (ended.stdout, len(lines)) == ("", 3), str(ended)
    return fields


def run_as(lab: Lab, nwscan: Nwscan, *words: str, uri: str = layout.URI, duration_s: float = WINDOW_S) -> Ended:
    """Run a command line of any kind with nwscan's environment."""
    done = lab.run(words, env=nwscan.environment(duration_s) | {"NWSCAN_CONNECT": uri})
    return Ended(words, done.returncode, done.stdout, done.stderr)


@contextmanager
def small_disk(lab: Lab, nwscan: Nwscan, options: str) -> Iterator[None]:
    """A file system of its own under the state folder."""
    nwscan.state.mkdir(exist_ok=True)
    lab.run(["mount", "-t", "tmpfs", "-o", options, "small", nwscan.state], check=True)
    try:
        yield
    finally:
        lab.run(["umount", nwscan.state], check=True)


def kept_files(lab: Lab, nwscan: Nwscan) -> list[str]:
    """What is in the state folder as the lab sees it, but for the lock of the journal and what fills the disk."""
    found = lab.run(["find", nwscan.state, "-type", "f", "-printf", "%f\n"]).stdout.splitlines()
    return [name for name in found if name not in {"lock", "full"}]


NOT_THERE = {
    "a tap": ("capture", "vnet99"),
    "a tap, with its MAC told": ("capture", "vnet99", "--mac", OFF_MAC),
    "a card that is no tap": ("capture", "lo"),
    "a guest": ("verify", "vm99"),
    "a guest to suggest for": ("suggest", "vm99"),
    "a guest to apply to": ("suggest", "--apply", "vm99", "--yes"),
    "a guest to roll back": ("rollback", "vm99", "--yes"),
}


@pytest.mark.parametrize("what", NOT_THERE)
def test_what_is_not_there(lab: Lab, nwscan: Nwscan, what: str) -> None:
    fields = fields_of(nwscan.run(*NOT_THERE[what], code=HOST))
    assert NOT_THERE[what][1].split(":")[0] in fields["error"] or "vm99" in fields["error"]
    assert kept_files(lab, nwscan) == leftovers(lab, nwscan) == []


@pytest.mark.parametrize("card", ["7", "52:54:00:99:99:99"])
def test_a_card_that_the_guest_has_not(lab: Lab, nwscan: Nwscan, card: str) -> None:
    fields = fields_of(nwscan.run("capture", f"vm1:{card}", code=USAGE))
    assert fields["error"] == f"guest vm1 has no card {card}"
    assert fields["do"] == "its cards are vm1:0"
    assert kept_files(lab, nwscan) == leftovers(lab, nwscan) == []


@pytest.mark.parametrize("command", ["capture", "verify", "suggest", "suggest --apply --yes"])
def test_a_guest_that_is_off(lab: Lab, nwscan: Nwscan, command: str) -> None:
    with paused_guest(lab, None, cards()):
        fields = fields_of(nwscan.run(*command.split(), OFF, code=HOST))
    assert fields["error"] == f"guest {OFF} is off"
    assert fields["do"] == f"start it: virsh start '{OFF}'"
    assert kept_files(lab, nwscan) == leftovers(lab, nwscan) == []


METER_REFUSED = "cannot put the meter in: nftables refused: operation not permitted"
UNPRIVILEGED = {
    "capture": (("capture", "vnet0"), "cannot capture on vnet0: operation not permitted", "CAP_NET_RAW"),
    "verify": (("verify", "vm1"), METER_REFUSED, "CAP_NET_ADMIN"),
    "suggest": (("suggest", "vm1"), METER_REFUSED, "CAP_NET_ADMIN"),
    "apply": (APPLY, METER_REFUSED, "CAP_NET_ADMIN"),
}


@pytest.mark.parametrize("command", UNPRIVILEGED)
def test_no_permission(lab: Lab, nwscan: Nwscan, command: str) -> None:
    words, error, do = UNPRIVILEGED[command]
    ended = run_as(lab, nwscan, *NO_CAPABILITIES, "nwscan", *words)
    assert ended.code == HOST, str(ended)
    fields = fields_of(ended)
    assert fields["error"] == error
    assert do in fields["do"]
    assert kept_files(lab, nwscan) == leftovers(lab, nwscan) == []


def test_who_has_no_permission_is_told_what_is_missing(lab: Lab, nwscan: Nwscan) -> None:
    doctor = run_as(lab, nwscan, *NO_CAPABILITIES, "nwscan", "doctor")
    assert doctor.code == 1
    assert "missing CAP_NET_RAW, CAP_NET_ADMIN" in doctor.stdout
    assert doctor.stderr == ""
    assert run_as(lab, nwscan, *NO_CAPABILITIES, "nwscan", "list").code == 0


@pytest.mark.parametrize("words", [("list",), ("capture", "vm1"), ("verify", "vm1"), APPLY, ("status",)])
def test_libvirtd_is_not_there(lab: Lab, nwscan: Nwscan, words: tuple[str, ...]) -> None:
    uri = "qemu+unix:///system?socket=/run/lab/nobody-listens"
    ended = run_as(lab, nwscan, "nwscan", *words, uri=uri)
    assert ended.code == HOST
    fields = fields_of(ended)
    assert fields["error"].startswith("cannot reach libvirt: ")
    assert fields["where"] == uri
    assert kept_files(lab, nwscan) == leftovers(lab, nwscan) == []


def test_a_full_disk_loses_no_measurement_and_applies_nothing(lab: Lab, nwscan: Nwscan) -> None:
    before = lab.state()
    with small_disk(lab, nwscan, "size=4k"), lab.sending(SPEAKING):
        measured = " ".join(nwscan.run("capture", "vm1", duration_s=WINDOW_S).stdout.split())
        assert "cannot write frames: No space left on device; make room" in measured
        assert "This report is not kept: cannot write: No space left on device." in measured
        fields = fields_of(nwscan.run(*APPLY, code=HOST, duration_s=WINDOW_S))
        assert fields["error"] == "the window could not be kept"
        assert kept_files(lab, nwscan) == leftovers(lab, nwscan) == []
    assert before.differences(lab.state()) == []


def test_a_full_disk_under_the_journal(lab: Lab, nwscan: Nwscan) -> None:
    with small_disk(lab, nwscan, "size=256k"), lab.sending(SPEAKING):
        nwscan.run("capture", "vm1", "--no-keep", duration_s=WINDOW_S)
        lab.run(["sh", "-c", f"cat /dev/zero > {nwscan.state}/full"])
        before = lab.state()
        refused = nwscan.run(*APPLY, code=HOST)
        assert "error: cannot write the journal: No space left on device\n" in refused.stderr
        assert before.differences(lab.state()) == []
        assert kept_files(lab, nwscan) == ["report.json"]
        assert leftovers(lab, nwscan) == []
        assert nwscan.run("rollback", "vm1", "--yes").stdout == "nothing to undo on vm1\n"


def test_a_state_folder_that_cannot_be_written(lab: Lab, nwscan: Nwscan) -> None:
    with small_disk(lab, nwscan, "ro"):
        for words in (("capture", "vm1"), ("verify", "vm1"), APPLY):
            fields = fields_of(nwscan.run(*words, code=HOST))
            assert fields["error"] == "cannot make the folder: Read-only file system"
            assert "--state" in fields["do"]
        assert nwscan.run("status").code == 0
        assert nwscan.run("list").code == 0
    assert leftovers(lab, nwscan) == []


def test_a_full_disk_under_the_file_of_w(lab: Lab, nwscan: Nwscan) -> None:
    with lab.sending(SPEAKING):
        measured = nwscan.run("capture", "vnet0", "-w", "/dev/full", "--no-keep", duration_s=WINDOW_S)
    assert "Writing -w /dev/full ended after 0 frames: cannot write frames: No space left" in measured.stdout
    assert kept_files(lab, nwscan) == ["report.json"]
    assert leftovers(lab, nwscan) == []
    assert lab.run(["stat", "-c", "%F", "/dev/full"]).stdout == "character special file\n"


HOSTILE = "evil\u009b31m \u202egnp; $(reboot) [red]x"
"""Control sequences, a change of direction, a shell command, markup: whatever XML 1.0 lets stand in a name."""


def test_a_hostile_name_does_not_reach_the_terminal(lab: Lab, nwscan: Nwscan) -> None:
    with paused_guest(lab, cards(), None, name=HOSTILE), lab.sending(SPEAKING):
        (tap,) = (one for one in nwscan.run("list", "--json").document["taps"] if one["mac"] == OFF_MAC)
        kept = nwscan.run("capture", tap["tap"], "--json", duration_s=WINDOW_S).document
        outputs = [
            nwscan.run("list"),
            nwscan.run("capture", tap["tap"]),
            nwscan.run("suggest", HOSTILE, duration_s=WINDOW_S),
            nwscan.run("suggest", "--apply", HOSTILE, "--yes", duration_s=WINDOW_S),
            nwscan.run("status"),
            nwscan.run("verify", HOSTILE, duration_s=WINDOW_S),
            nwscan.run("rollback", UUID, "--yes"),
            nwscan.run("rollback", HOSTILE, "--yes"),
            nwscan.run("capture", f"{HOSTILE}:9", code=USAGE),
        ]
    assert (tap["guest"], kept["guest"]["name"]) == (HOSTILE, HOSTILE)
    for ended in outputs:
        assert (ended.stdout + ended.stderr).replace("\n", "").isprintable(), str(ended)
    assert outputs[3].stdout.splitlines()[-1] == f"To undo it: nwscan rollback {UUID}"
    assert "evil\\x9b31m\\u202egnp;$(reboot)[red]x" in "".join(outputs[1].stdout.split())


COMMANDS_WITH_JSON = {
    "list": (("list", "--json"), 0, ["nwscan.list/1"]),
    "status": (("status", "--json"), 0, ["nwscan.status/1"]),
    "doctor": (("doctor", "--json"), 0, ["nwscan.doctor/1"]),
    "capture": (("capture", "vm1", "--json"), 0, ["nwscan.report/1"]),
    "capture all": (("capture", "--all", "--json"), 0, ["nwscan.report/1"] * 2),
    "suggest": (("suggest", "vm1", "--json"), 0, ["nwscan.suggestion/1"]),
    "verify": (("verify", "vm1", "--json"), 1, ["nwscan.verdict/1"]),
    "apply": ((*APPLY, "--json"), 0, ["nwscan.suggestion/1", "nwscan.verdict/1"]),
}


def test_json_is_all_that_stands_on_stdout(lab: Lab, nwscan: Nwscan) -> None:
    with lab.sending(SPEAKING):
        for words, code, schemas in COMMANDS_WITH_JSON.values():
            ended = nwscan.run(*words, code=code, duration_s=WINDOW_S)
            assert [document["schema"] for document in ended.documents] == schemas, str(ended)
    nwscan.run("rollback", "vm1", "--yes")


def test_tables_fit_a_terminal_and_a_pipe_has_no_escapes(lab: Lab, nwscan: Nwscan) -> None:
    outputs = []
    with lab.sending(SPEAKING):
        for words, code, _ in COMMANDS_WITH_JSON.values():
            plain = [word for word in words if word != "--json"]
            outputs.append(nwscan.run(*plain, code=code, duration_s=WINDOW_S).stdout)
    outputs.append(nwscan.run("status").stdout)
    nwscan.run("rollback", "vm1", "--yes")
    lines = [line for output in outputs for line in output.splitlines()]
    assert "\x1b" not in "".join(lines)
    # only what is to be copied as it stands (XML, its diff, commands, paths) is never broken
    copied = (" " * 4, "+", "-", "@", "  virsh", "  /")
    assert [line for line in lines if len(line) > 80 and not line.startswith(copied)] == []
