"""What a test can change in a lab, as a value: to compare, and to put back."""

import contextlib
import difflib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab.layout import BRIDGE, GUESTS

if TYPE_CHECKING:
    from tests.lab.lab import Lab

_MARK = "--- next ---"
_PORT_FLAGS = ("learning", "flood", "mcast_flood", "bcast_flood", "isolated", "hairpin", "guard", "locked")


@dataclass(frozen=True, slots=True)
class LabState:
    """A lab at one moment. All fields map a name to a text; an entry that is not there is a missing key."""

    filters: dict[str, str]
    live: dict[str, str]
    inactive: dict[str, str]
    kernel: dict[str, str]
    processes: dict[str, str]

    def differences(self, other: "LabState") -> list[str]:
        """What `other` has otherwise, as unified diffs; nothing if they are the same."""
        found: list[str] = []
        for name in ("filters", "live", "inactive", "kernel", "processes"):
            mine: dict[str, str] = getattr(self, name)
            theirs: dict[str, str] = getattr(other, name)
            for key in sorted(mine.keys() | theirs.keys()):
                before, after = mine.get(key, ""), theirs.get(key, "")
                if before != after:
                    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), f"{name} {key}", lineterm="")
                    found.append("\n".join(lines))
        return found


def read_state(lab: "Lab") -> LabState:
    """The state of the lab now. Read after each test, so by few processes and one connection."""
    import libvirt  # noqa: PLC0415 - lab.missing() tells who lacks it

    with contextlib.closing(libvirt.openReadOnly(lab.outside_uri)) as connection:
        filters = {found.name(): found.XMLDesc(0) for found in connection.listAllNWFilters()}
        domains = connection.listAllDomains()
        live = {domain.name(): domain.XMLDesc(0) for domain in domains if domain.isActive()}
        inactive = {
            domain.name(): domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            for domain in domains
            if domain.isPersistent()
        }
        bindings = sorted(f"{one.portDev()} {one.filterName()}" for one in connection.listAllNWFilterBindings())
    return LabState(
        filters=_stripped(filters),
        live=_stripped(live),
        inactive=_stripped(inactive),
        kernel={**_kernel(lab), "bindings": "\n".join(bindings)},
        processes=_processes(lab),
    )


def _stripped(texts: dict[str, str]) -> dict[str, str]:
    """Without what libvirt keeps of metadata that was removed."""
    return {name: text.replace("  <metadata/>\n", "").strip() for name, text in texts.items()}


def _kernel(lab: "Lab") -> dict[str, str]:
    """Rules on taps, tables of nwscan, static FDB entries, the flags of the bridge and of its ports."""
    script = (
        "ebtables-save; iptables-save; ip6tables-save; nft list tables;"
        f"echo '{_MARK}'; bridge -j -d link show; echo '{_MARK}'; ip -j -d link show {BRIDGE};"
        f"echo '{_MARK}'; bridge -j fdb show br {BRIDGE}"
    )
    rules, ports, bridge, fdb = lab.run(["sh", "-c", script], check=True).stdout.split(_MARK)
    lines = rules.split("\n")
    flags = {port["ifname"]: {name: port.get(name) for name in _PORT_FLAGS} for port in json.loads(ports)}
    options = json.loads(bridge)[0]["linkinfo"]["info_data"]
    static = [entry for entry in json.loads(fdb) if entry.get("state") == "static"]
    return {
        "rules": "\n".join(line for line in lines if line.startswith("-A") and "vnet" in line),
        "tables": "\n".join(line for line in lines if line.startswith("table ") and "nwscan" in line),
        "ports": json.dumps(flags, indent=1),
        "bridge": json.dumps({name: options[name] for name in options if not name.endswith("timer")}, indent=1),
        "fdb": json.dumps(sorted(f"{entry['mac']} {entry['ifname']}" for entry in static), indent=1),
    }


def _processes(lab: "Lab") -> dict[str, str]:
    """The command of each process in the lab, counted."""
    found: dict[str, int] = {}
    for folder in lab.outside("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        name = command[:120]
        if name:
            found[name] = found.get(name, 0) + 1
    return {name: str(count) for name, count in found.items()}


def restore_state(lab: "Lab", state: LabState) -> None:
    """Put filters, guests' cards, our tables and bridge ports back; what cannot be put back stays different."""
    now = read_state(lab)
    for name, xml in state.filters.items():
        if now.filters.get(name) != xml:
            lab.write("/run/lab/restored.xml", xml)
            lab.virsh("nwfilter-define /run/lab/restored.xml")
    for name in GUESTS:
        _restore_guest(lab, name, state, now)
    _undefine(lab, [name for name in now.filters if name not in state.filters])
    for line in now.kernel["tables"].split("\n"):
        if line and line not in state.kernel["tables"]:
            lab.run(["nft", "delete", *line.split()], check=True)


def _restore_guest(lab: "Lab", name: str, state: LabState, now: LabState) -> None:
    for scope, before, after in (("live", state.live, now.live), ("config", state.inactive, now.inactive)):
        if name in before and name in after and before[name] != after[name]:
            found = re.search(r"<interface .*?</interface>", before[name], re.DOTALL)
            lab.write("/run/lab/restored.xml", found.group(0) if found else "")
            lab.virsh(f"update-device {name} /run/lab/restored.xml --{scope}")


def _undefine(lab: "Lab", names: list[str]) -> None:
    """Undefine filters that may refer to each other: those that nobody refers to first."""
    while names:
        left = [name for name in names if lab.run(["virsh", "nwfilter-undefine", name]).returncode != 0]
        if len(left) == len(names):
            return
        names = left
