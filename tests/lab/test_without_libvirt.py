"""A filter from a capture file, made where there is no libvirt, installed by hand with exactly the printed commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.lab.domain import interface_xml
from tests.lab.nwscan_run import Ended
from tests.lab.paused_guest import MACS, NAME, cards, paused_guest
from tests.lab.schedule import Schedule
from tests.lab.test_main_job_filter import WINDOW_S, metered

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json, Nwscan

MAC = MACS[0]
NO_LIBVIRT = "import sys\nsys.modules['libvirt'] = None\n"
"""As sitecustomize.py: `import libvirt` fails as it does where it is not installed, in the worker as well."""
EDITOR = """#!/usr/bin/env python3
import pathlib, re, sys
told, path = pathlib.Path(sys.argv[1]).read_text(), pathlib.Path(sys.argv[2])
card = re.compile(r"(<interface [^>]*>\\s*<mac address='MAC'/>.*?)(</interface>)", re.DOTALL)
path.write_text(card.sub(lambda found: found.group(1) + told + found.group(2), path.read_text(), count=1))
"""
"""What a person does in `virsh edit`: put the element where the comment says."""


def without_libvirt(lab: Lab, nwscan: Nwscan, tmp_path: Path, *words: object) -> Ended:
    """Run nwscan where neither libvirt's module nor its daemon is there."""
    folder = tmp_path / "without"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(NO_LIBVIRT)
    path = lab.environment().get("PYTHONPATH", "")
    env = nwscan.environment(WINDOW_S) | {
        "PYTHONPATH": f"{folder}:{path}",
        "NWSCAN_CONNECT": "qemu+unix:///system?socket=/run/lab/nobody-listens",
        "LIBVIRT_DEFAULT_URI": "",
    }
    texts = tuple(map(str, words))
    done = lab.run(["nwscan", *texts], env=env)
    return Ended(texts, done.returncode, done.stdout, done.stderr)


def verdict(lab: Lab, nwscan: Nwscan, code: int) -> dict[str, tuple[int, int]]:
    """What was offered to the guest and what was delivered, by class."""
    with nwscan.start("verify", NAME, "--json") as verify:
        lab.send(Schedule(foreign=1000, multicast=100, broadcast=60))
        ended = verify.interrupt()
    assert ended.code == code, str(ended)
    offered, delivered = metered(ended.document, "offered"), metered(ended.document, "delivered")
    return {kind: (offered[kind], delivered[kind]) for kind in ("foreign_unicast", "multicast", "broadcast")}


def test_the_printed_commands_install_what_a_file_suggests(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    with paused_guest(lab, None, cards()):
        lab.virsh(f"start '{NAME}' --paused")
        (tap,) = (one["tap"] for one in nwscan.run("list", "--json").document["taps"] if one["mac"] == MAC)
        frames = tmp_path / "tap.pcap"  # as tcpdump writes it: nothing in it says whose it is
        with lab.sending(Schedule(foreign=60_000, multicast=6_000, broadcast=3_600, rate_fps=800)):
            nwscan.run("capture", tap, "-w", tmp_path / "tap.pcapng", duration_s=WINDOW_S)
        lab.run(["tshark", "-F", "pcap", "-r", tmp_path / "tap.pcapng", "-w", frames], check=True)

        folder = tmp_path / "filters"
        words = ("suggest", "--from", frames, "--mac", MAC)
        ended = without_libvirt(lab, nwscan, tmp_path, *words, "--xml", folder)
        assert ended.code == 0, str(ended)
        said = ended.stdout
        assert "drop unicast to any other MAC" in said
        recipe = json.loads(without_libvirt(lab, nwscan, tmp_path, *words, "--json").stdout)["by_hand"]
        assert [file["name"] for file in recipe["files"]] == sorted(
            (file.name for file in folder.iterdir()), key=len, reverse=True
        )
        for file in recipe["files"]:
            assert (folder / file["name"]).read_text() == file["text"]
            assert file["text"] in said
        for line in (*recipe["install"], *recipe["undo"]):
            assert f"\n  {line}\n" in said

        before = verdict(lab, nwscan, code=1)
        assert before == {"foreign_unicast": (1000, 1000), "multicast": (100, 100), "broadcast": (60, 60)}
        install(lab, tmp_path, folder, recipe["install"])
        lab.virsh(f"destroy '{NAME}'")
        lab.virsh(f"start '{NAME}' --paused")  # "it acts from the guest's next start"
        after = verdict(lab, nwscan, code=0)
        assert after == {"foreign_unicast": (1000, 0), "multicast": (100, 100), "broadcast": (60, 60)}

        lab.virsh(f"destroy '{NAME}'")
        lab.write("/run/lab/paused-before.xml", interface_xml(MAC))
        undefine = [line for line in recipe["undo"] if "nwfilter-undefine" in line]
        assert len(undefine) == len(recipe["files"])
        lab.virsh(f"update-device '{NAME}' /run/lab/paused-before.xml --config")
        for line in undefine:
            lab.run(["sh", "-ec", line], check=True)


def install(lab: Lab, tmp_path: Path, folder: Path, lines: list[str]) -> None:
    """Do what the lines say: type the commands, and in the editor put in what the comments show."""
    told = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    element = "\n".join(line for line in told if line.lstrip().startswith("<"))
    assert element.lstrip().startswith("<filterref ")
    (tmp_path / "element.xml").write_text(element)
    editor = tmp_path / "editor.py"
    editor.write_text(EDITOR.replace("MAC", MAC))
    editor.chmod(0o755)
    for line in lines:
        if not line.startswith("#"):
            command = line.replace("GUEST", f"'{NAME}'")
            env = {"VISUAL": f"{editor} {tmp_path}/element.xml", "EDITOR": f"{editor} {tmp_path}/element.xml"}
            lab.run(["sh", "-ec", f"cd {folder}; {command}"], env=env, check=True)


def test_a_filter_from_a_file_is_not_applied(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    with lab.sending(Schedule(foreign=6_000, rate_fps=800)):
        nwscan.run("capture", "vm1", "-w", tmp_path / "vm1.pcapng", duration_s=WINDOW_S)
    before = lab.state()
    words = ("suggest", "--from", tmp_path / "vm1.pcapng", "--mac", "52:54:00:00:00:01", "--apply", "--yes")
    for ended in (nwscan.run(*words, code=4), without_libvirt(lab, nwscan, tmp_path, *words)):
        assert (ended.code, ended.stdout) == (4, "")
        assert ended.stderr.startswith("error: a filter made from a file alone is not applied")
    assert before.differences(lab.state()) == []


def test_a_file_for_a_guest_of_this_host(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    """Whose frames they are, libvirt tells; the file says nothing of it."""
    guest = lab.guest("vm1")
    with nwscan.start("capture", guest.tap, "-w", tmp_path / "vm1.pcapng") as capture:
        lab.send_unsettled(Schedule(foreign=100, own=40))
        capture.interrupt()
    frames = tmp_path / "vm1.pcap"
    lab.run(["tshark", "-F", "pcap", "-r", tmp_path / "vm1.pcapng", "-w", frames], check=True)

    def suggested(*words: object) -> Json:
        """What is suggested, or refused since the window is short."""
        command = ["nwscan", "suggest", *map(str, words), "--from", str(frames), "--json"]
        document: Json = json.loads(lab.run(command, env=nwscan.environment(WINDOW_S)).stdout)
        return document

    named, stated = suggested("vm1"), suggested("--mac", guest.address.mac)
    assert (named["guest"]["name"], named["guest"]["macs"]) == ("vm1", [guest.address.mac])
    assert named["prediction"]["classes"]["foreign_unicast"]["drop"]["frames"] == 100
    assert named["prediction"]["classes"] == stated["prediction"]["classes"]
    assert nwscan.run("suggest", "nobody", "--from", frames, code=4).stdout == ""
    assert "--mac" in nwscan.run("suggest", "vm1", "--from", frames, "--mac", guest.address.mac, code=2).stderr


def test_what_needs_libvirt_says_how_to_get_it(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    for words in (("list",), ("capture", "vm1"), ("suggest", "vm1"), ("verify", "vm1"), ("status",)):
        ended = without_libvirt(lab, nwscan, tmp_path, *words)
        assert (ended.code, ended.stdout) == (4, ""), str(ended)
        for word in ("libvirt-dev", "pkg-config", "gcc", "pip install 'nwscan[libvirt]'"):
            assert word in ended.stderr
