"""`top` on a real terminal in the lab: what it shows is what was sent, keys do what they say, nothing is left."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.lab import layout
from tests.lab.frames import Kind
from tests.lab.lab import Lab
from tests.lab.nwscan_run import Nwscan, wait_for
from tests.lab.schedule import Schedule
from tests.lab.terminal import Terminal

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
CLASS_OF = {
    Kind.OWN: "unicast_to_guest",
    Kind.MULTICAST: "multicast",
    Kind.BROADCAST: "broadcast",
    Kind.FOREIGN: "foreign_unicast",
}
FLOOD = Schedule(foreign=200_000, own=40_000, multicast=20_000, broadcast=20_000, rate_fps=700)


def tables(lab: Lab) -> str:
    return lab.run(["nft", "list", "tables"], check=True).stdout


def row_of(shown: str, guest: str) -> list[str]:
    return next((line.split() for line in shown.splitlines() if re.match(rf"^[> ] {guest} ", line)), [])


def drop_foreign(lab: Lab, tap: str, mac: str) -> None:
    """Rules as a MAC filter has them, in a chain of the test's own."""
    rules = ("-N nwscan-test", f"-A nwscan-test -d {mac} -j RETURN", "-A nwscan-test -d Multicast -j RETURN",
             "-A nwscan-test -j DROP", f"-A POSTROUTING -o {tap} -j nwscan-test")  # fmt: skip
    lab.run(["sh", "-ec", "\n".join(f"ebtables -t nat {rule}" for rule in rules)], check=True)


def undo_drop(lab: Lab, tap: str) -> None:
    rules = (f"-D POSTROUTING -o {tap} -j nwscan-test", "-F nwscan-test", "-X nwscan-test")
    lab.run(["sh", "-ec", "\n".join(f"ebtables -t nat {rule}" for rule in rules)], check=True)


def test_a_snapshot_holds_exactly_what_was_sent(lab: Lab, nwscan: Nwscan) -> None:
    drop_foreign(lab, lab.guest("vm2").tap, layout.GUESTS["vm2"].mac)
    words = ["nwscan", "top", "--json", "--interval", "6"]
    with lab.popen(words, env=nwscan.environment(1), stdout=-1) as running:
        try:
            wait_for(lambda: "nwscan-" in tables(lab), "counting has begun")
            truth = lab.send(Schedule(foreign=900, own=400, multicast=70, broadcast=30))
            document = json.loads(running.communicate(timeout=60)[0])
        finally:
            undo_drop(lab, lab.guest("vm2").tap)
    assert running.returncode == 0
    assert document["schema"] == "nwscan.top/1"
    one, two = document["taps"]
    assert (one["guest"], one["tap"], one["mac"]) == ("vm1", lab.guest("vm1").tap, layout.GUESTS["vm1"].mac)
    for kind, key in CLASS_OF.items():
        frames = one["classes"][key]["delivered"]["frames_per_s"] * document["interval_s"]
        assert round(frames, 3) == truth.frames[kind]
    foreign = two["classes"]["foreign_unicast"]
    to_other_guest = truth.frames[Kind.FOREIGN] + truth.frames[Kind.OWN]
    assert round(foreign["offered"]["frames_per_s"] * document["interval_s"], 3) in {
        truth.frames[Kind.FOREIGN],  # the bridge knows where vm1 is
        to_other_guest,
    }
    assert foreign["delivered"]["frames_per_s"] == 0
    assert "nwscan-" not in tables(lab)


@needs_tmux
def test_the_view_on_a_terminal(lab: Lab, nwscan: Nwscan) -> None:
    command = ["nwscan", "top", "--interval", "0.5"]
    with lab.sending(FLOOD), Terminal(lab, command, env=nwscan.environment(1)) as terminal:
        shown = terminal.wait_until(lambda now: len(row_of(now, "vm1")) > 4, "vm1 has rates")
        assert max(map(len, shown.splitlines())) <= 80
        assert "guests on 2 taps see" in shown
        assert "█" in shown
        assert "█ foreign" in shown
        assert "q: quit" in shown
        assert "\x1b[31m" in terminal.shown(colours=True)
        terminal.press("n")
        terminal.wait_until(lambda now: ", sorted by name" in now, "it is sorted by name")
        terminal.press("p")
        terminal.wait_until(lambda now: "PAUSED" in now, "it is paused")
        terminal.press("Down")
        terminal.wait_until(lambda now: "> vm2" in now, "vm2 is chosen")
        terminal.press("Enter")
        terminal.wait_until(lambda now: "vm2 on vnet" in now and "listening" in now, "it listens to vm2")
        host_a, host_b = layout.HOSTS["hosta"].mac, layout.HOSTS["hostb"].mac
        pair = re.compile(rf"{host_a}\s+{host_b}\s+[1-9]")
        shown = terminal.wait_until(lambda now: pair.search(now) is not None, "the talkers of vm2")
        assert "frames captured on vnet" in shown
        terminal.press("Escape")
        terminal.wait_until(lambda now: "> vm2" in now, "all guests again")
        terminal.resize(120, 30)
        terminal.wait_until(lambda now: any(len(line) > 100 for line in now.splitlines()), "it is wider")
        terminal.press("q")
        terminal.wait_until(lambda now: "ended with 0" in now, "it has ended")
        assert "q: quit" not in terminal.shown()  # what was there before is back
    assert "nwscan-" not in tables(lab)
    assert not Path(nwscan.state).exists()


def pid_of_top(lab: Lab) -> str:
    """The live view's PID in the lab: it has the terminal."""
    words = ("nwscan", "top")
    found = [
        folder.name
        for folder in lab.outside("/proc").glob("[0-9]*")
        if tuple(Path(word).name for word in (folder / "cmdline").read_text().split("\0")[1:3]) == words
    ]
    (pid,) = found
    return pid


@needs_tmux
@pytest.mark.parametrize("name", ["TERM", "HUP"])
def test_a_signal_ends_the_view_and_leaves_the_terminal_as_it_was(lab: Lab, nwscan: Nwscan, name: str) -> None:
    command = ["sh", "-c", "stty -g | cksum; nwscan top --interval 0.5; echo it ended with $?; stty -g | cksum"]
    with Terminal(lab, command, env=nwscan.environment(1)) as terminal:
        terminal.wait_until(lambda now: len(row_of(now, "vm1")) > 3, "vm1 has rates")
        lab.run(["kill", f"-{name}", pid_of_top(lab)], check=True)
        shown = terminal.wait_until(lambda now: "\nended with 0" in now, "the view has ended")
        before, ended, after = shown.split("\n")[:3]
        assert ended == "it ended with 0"
        assert before == after
        assert terminal.cursor_is_shown()
        assert "q: quit" not in shown
    assert "nwscan-" not in tables(lab)


@needs_tmux
def test_the_view_without_colour_and_its_end_by_signal(lab: Lab, nwscan: Nwscan) -> None:
    env = {**nwscan.environment(1), "NO_COLOR": "1"}
    with Terminal(lab, ["nwscan", "top", "--interval", "0.5"], env=env) as terminal:
        terminal.wait_until(lambda now: len(row_of(now, "vm1")) > 3, "vm1 has rates")
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.shown(colours=True))
        terminal.press("Enter")
        terminal.wait_until(lambda now: "listening" in now, "it listens")
        terminal.press("C-c")
        terminal.wait_until(lambda now: "ended with 0" in now, "Ctrl-C is a normal end, also while it listens")
    assert "nwscan-" not in tables(lab)
