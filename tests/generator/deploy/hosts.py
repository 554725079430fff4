"""Hosts to try changes on, one for each way in which a guest can be there."""

from __future__ import annotations

from generator.deploy.door import EntryLook, PortLook
from tests.generator.deploy.file_door import GuestState, HostState

GUEST = "6e777363-616e-4c61-8b00-000000000001"
OTHER = "0b7c2d11-616e-4c61-8b00-000000000002"
MACS = ("52:54:00:00:00:01", "52:54:00:00:00:11")
PARAMETERS = (("IP", "192.0.2.101"), ("IP", "192.0.2.102"))

STOCK = """\
<filter name='clean-traffic' chain='root'>
  <uuid>6f1a3c5e-0000-4000-8000-000000000001</uuid>
  <filterref filter='no-ip-spoofing'/>
</filter>
"""
STOCK_CHILD = """\
<filter name='no-ip-spoofing' chain='ipv4-ip-spoofing' priority='-710'>
  <uuid>6f1a3c5e-0000-4000-8000-000000000002</uuid>
  <rule action='return' direction='out' priority='100'>
    <ip srcipaddr='$IP'/>
  </rule>
  <rule action='drop' direction='out' priority='1000'/>
</filter>
"""


def interface(mac: str, *, live: bool, filterref: tuple[tuple[str, str], ...] | None = None) -> str:
    """Give an element as libvirt prints it, behind clean-traffic with these parameters or (None) without a filter."""
    lines = ["<interface type='bridge'>", f"<mac address='{mac}'/>", "<source bridge='br0'/>"]
    lines += [f"<target dev='vnet{mac[-2:]}'/>"] if live else []
    lines += ["<model type='virtio'/>"]
    if filterref == ():
        lines += ["<filterref filter='clean-traffic'/>"]
    elif filterref is not None:
        lines += ["<filterref filter='clean-traffic'>"]
        lines += [f"  <parameter name='{name}' value='{value}'/>" for name, value in filterref]
        lines += ["</filterref>"]
    lines += ["<alias name='net0'/>"] if live else []
    lines += ["<address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>"]
    return "\n".join([lines[0], *(f"      {line}" for line in lines[1:]), "    </interface>"])


def host(
    macs: tuple[str, ...] = MACS[:1],
    *,
    running: bool = True,
    persistent: bool = True,
    live: tuple[tuple[str, str], ...] | None = None,
    inactive: tuple[tuple[str, str], ...] | None = None,
) -> HostState:
    """Give a host with the guest vm1, and a bystander whose card has a filter of its own."""
    guest = GuestState(
        "vm1",
        {mac: interface(mac, live=True, filterref=live) for mac in macs} if running else None,
        {mac: interface(mac, live=False, filterref=inactive) for mac in macs} if persistent else None,
    )
    mac = "52:54:00:00:00:99"
    bystander = GuestState(
        "vm2",
        {mac: interface(mac, live=True, filterref=PARAMETERS)},
        {mac: interface(mac, live=False, filterref=PARAMETERS)},
    )
    ports = {f"vnet{one[-2:]}": PortLook(7 + number, "br0", flood=True) for number, one in enumerate((*macs, mac))}
    return HostState(
        {"no-ip-spoofing": STOCK_CHILD, "clean-traffic": STOCK},
        {GUEST: guest, OTHER: bystander},
        ports=ports,
        fdb={macs[0]: EntryLook(f"vnet{macs[0][-2:]}", "dynamic")} if running else {},
        hooks={"somebody-elses": "#!/bin/sh\n"},
    )


HOSTS = {
    "no filter": host(),
    "clean-traffic": host(live=PARAMETERS, inactive=PARAMETERS),
    "only what runs is filtered": host(live=PARAMETERS),
    "only the next start is filtered": host(inactive=PARAMETERS),
    "off": host(running=False, inactive=PARAMETERS),
    "transient": host(persistent=False, live=PARAMETERS),
    "two cards": host(MACS, live=PARAMETERS, inactive=PARAMETERS),
}
